"""What the command shows: results on stdout, progress and wall time on stderr. Inputs are finished tables and lines of progress."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.report.tables import Sheet

PLAIN_WIDTH = 132
"""Columns of a table that goes to a file or a pipe, so that its bytes do not follow some terminal's width."""


LEAST_WIDTH = 100
"""A table is never squeezed below this: a narrower terminal wraps its lines, which loses nothing."""


def show_sheets(sheets: Iterable[Sheet]) -> None:
    """Tables on stdout: in the terminal's width and colours, or `PLAIN_WIDTH` columns of plain text when it is none."""
    from rich.console import Console

    from simulator.report.tables import rich_table

    _survive_narrow_encodings()
    terminal = sys.stdout.isatty()
    width = max(LEAST_WIDTH, get_terminal_size().columns) if terminal else PLAIN_WIDTH
    console = Console(file=sys.stdout, width=width, force_terminal=terminal, highlight=False)
    for place, sheet in enumerate(sheets):
        if place:
            console.print()
        console.print(rich_table(sheet))


def show_json(value: Any) -> None:
    """One JSON document on stdout; missing numbers are null, as JSON has no NaN."""
    print(json_text(value))


def json_text(value: Any) -> str:
    """The document as text, keys in the order given."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=True, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def _survive_narrow_encodings() -> None:
    """A stdout that cannot write a dash shows a question mark instead of failing."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")


def say(line: str) -> None:
    """One line on stderr."""
    print("".join(c if c.isprintable() else " " for c in line), file=sys.stderr, flush=True)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A function that shows one line of progress on stderr, a spinner on a terminal; wall time at the end."""
    started = time.perf_counter()
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.text import Text

        with Console(stderr=True).status("starting") as status:
            yield lambda line: status.update(Text(line))
    else:
        yield say
    say(f"wall time {time.perf_counter() - started:.1f} s")


def tell_first_compile(tell: Callable[[str], None]) -> None:
    """Says so when the kernel has to be compiled first, which no later run waits for where its files can be kept."""
    from simulator.engine.kept import is_kept
    from simulator.engine.kernel import advance

    if not is_kept(advance):
        tell("compiling the kernel, once on this machine, about 30 s")
