"""The evidence file: what was measured on which machine, one row a visit to a cell, as CSV under a head of ``# name: value`` lines.

Rows come from a measurement or a file; units stand in the columns' names, and an empty place means that nobody knows.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from simulator.calibration.gpu_cells import KINDS, TYPE_BYTES, parse_size
from simulator.errors import Mistake, UserError

FORMAT = "agentwatt measure-gpu 1"
SAME = ("gpu", "driver", "torch", "cuda", "dry_run")
"""What must agree before a run adds to a file."""

STATUSES = ("ok", "unsupported", "out_of_memory", "failed")


@dataclass(frozen=True)
class Row:
    """One visit to a cell.

    Attributes
    ----------
    cell : str
        The cell's id; with ``visit`` the row's key.
    how : str
        Which PyTorch function ran, and whether from a CUDA graph.
    time_s, time_low_s, time_high_s : float, optional
        Of a call: median, 10th and 90th percentile over the window's chunks.
    calls, window_s
        Calls in the window, and its length by the wall clock.
    flops, bytes : float
        Of a call, at least; ``moved_bytes`` is what this implementation reads and writes.
    watts, watts_how
        Mean over the window, and from which sensor.
    """

    cell: str
    visit: int
    kind: str
    part: str
    model: str
    dtype: str
    size: str
    status: str
    message: str
    how: str
    calls: int | None
    window_s: float | None
    time_s: float | None
    time_low_s: float | None
    time_high_s: float | None
    flops: float
    bytes: float
    moved_bytes: float | None
    bytes_per_s: float | None
    flop_per_s: float | None
    watts: float | None
    watts_how: str
    sm_mhz: float | None
    memory_mhz: float | None
    temperature_c: float | None
    throttle: str
    begun: str

    @property
    def key(self) -> tuple[str, int]:
        """What tells the row from every other."""
        return self.cell, self.visit

    @property
    def sizes(self) -> dict[str, int]:
        """The cell's sizes by name."""
        return parse_size(self.size)


COLUMNS = tuple(column.name for column in fields(Row))
_WORDS = {"cell", "kind", "part", "model", "dtype", "size", "status", "message", "how", "watts_how", "throttle", "begun"}
_WHOLE = {"visit", "calls"}
_NEEDED = {"cell", "visit", "kind", "dtype", "status", "flops", "bytes"}


@dataclass(frozen=True)
class Evidence:
    """A file's head and rows; ``doubles`` counts rows whose key came before, which were dropped."""

    about: Mapping[str, str]
    rows: tuple[Row, ...]
    doubles: int = 0


def evidence_text(about: Mapping[str, str], rows: Iterable[Row]) -> str:
    """The file as text."""
    text = io.StringIO()
    for name, value in {"format": FORMAT, **about}.items():
        text.write(f"# {name}: {' '.join(value.split())}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(_cell_text(getattr(row, name)) for name in COLUMNS)
    return text.getvalue()


def _cell_text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def parse_evidence(text: str, file: str) -> Evidence:
    """Read a file's text.

    Raises
    ------
    UserError
        When it is no such file, or with every row that cannot be read.
    """
    lines = text.splitlines()
    heads = [line for line in lines if line.startswith("#")]
    about = {name.strip(): value.strip() for name, _, value in (line[1:].partition(":") for line in heads)}
    if about.get("format") != FORMAT:
        found = repr(about.get("format", "nothing"))
        raise UserError(Mistake(file, "format", found, repr(FORMAT), "write one with `agentwatt measure-gpu`"))
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    head, body = (next(csv.reader([numbered[0][1]])), numbered[1:]) if numbered else ([], [])
    lacking = [name for name in COLUMNS if name not in head]
    if lacking:
        line = numbered[0][0] if numbered else 0
        raise UserError(Mistake(file, "columns", "without " + ", ".join(lacking), ", ".join(COLUMNS), line=line))
    mistakes: list[Mistake] = []
    rows = [_row(dict(zip(head, next(csv.reader([line])), strict=False)), file, number, mistakes) for number, line in body]
    if mistakes:
        raise UserError(mistakes)
    unique: dict[tuple[str, int], Row] = {}
    for row in filter(None, rows):
        unique.setdefault(row.key, row)
    del about["format"]
    return Evidence(about, tuple(unique.values()), len(rows) - len(unique))


def _row(values: Mapping[str, str], file: str, line: int, mistakes: list[Mistake]) -> Row | None:
    found: dict[str, object] = {}
    before = len(mistakes)
    for name in COLUMNS:
        text = values.get(name, "")
        if name in _NEEDED and not text:
            mistakes.append(Mistake(file, name, "nothing", "a value in every row", line=line))
        elif name in _WORDS:
            found[name] = text
        else:
            found[name] = _number(text, name, file, line, mistakes)
    try:
        parse_size(values.get("size", ""))
    except ValueError:
        mistakes.append(Mistake(file, "size", repr(values.get("size")), "name=number pairs", line=line))
    for name, known in {"status": STATUSES, "kind": KINDS, "dtype": tuple(TYPE_BYTES)}.items():
        if found.get(name) not in known:
            mistakes.append(Mistake(file, name, repr(found.get(name)), ", ".join(known), line=line))
    return Row(**found) if len(mistakes) == before else None  # type: ignore[arg-type]


def _number(text: str, name: str, file: str, line: int, mistakes: list[Mistake]) -> float | int | None:
    if not text:
        return None
    try:
        value = int(text) if name in _WHOLE else float(text)
    except ValueError:
        mistakes.append(Mistake(file, name, repr(text), "a number", line=line))
        return None
    if not 0 <= value < float("inf"):
        mistakes.append(Mistake(file, name, text, "a finite number, at least 0", line=line))
    return value


def refuse_other_machine(about: Mapping[str, str], found: Mapping[str, str], file: str) -> None:
    """Rows of two machines do not go into one file. Raises `UserError`."""
    wrong = [
        Mistake(file, name, repr(found.get(name, "")), repr(about.get(name, "")), "measured elsewhere; name another file with --out")
        for name in SAME
        if found.get(name, "") != about.get(name, "")
    ]
    if wrong:
        raise UserError(wrong)


def ok_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows that hold a measurement."""
    return [row for row in rows if row.status == "ok"]
