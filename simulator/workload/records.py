"""Records of a foreign log, one at a time: checked field by field, skipped when bad only where asked. Inputs: the files of a path."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NoReturn

from simulator.errors import Mistake, UserError
from simulator.workload.source import Limits, Source, parse_json, sources
from simulator.workload.tokens import TokenRule, by_characters

IDLE_CAP_S = 60.0
"""Longest wait replayed after a call. Waits of recordings mix tools and people; longer ones are cut to this (an assumption)."""
MOST_MISTAKES = 50
MOST = 1e19
"""Beyond any number of a log: nanoseconds since 1970 are below it."""
REQUIRED = object()


@dataclass(frozen=True)
class Reading:
    """How to read a foreign log, where its content leaves a choice.

    Attributes
    ----------
    skip_bad : bool
        Skip records that cannot be read, and count them in ``provenance["skipped"]``, instead of refusing the file.
    idle_cap_s : float
        Waits over this many seconds are cut to it.
    block_tokens : int, optional
        Tokens of a hash block, for formats whose files do not say (Dynamo).
    prompts : {"full", "delta"}, optional
        Whether a session's lengths are whole prompts or what each adds, for formats that use one name for both (Dynamo, AIPerf).
    token_rule : TokenRule
        For texts without recorded counts.
    limits : Limits
    """

    skip_bad: bool = False
    idle_cap_s: float = IDLE_CAP_S
    block_tokens: int | None = None
    prompts: Literal["full", "delta"] | None = None
    token_rule: TokenRule = field(default_factory=by_characters)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Row:
    """One record, or an object inside it, with its place for messages."""

    file: str
    line: int
    values: Mapping[str, Any]
    place: str = ""

    def refuse(self, name: str, allowed: str, hint: str = "") -> NoReturn:
        """Raises `UserError` about one field."""
        found = self.values.get(name)
        raise UserError(Mistake(self.file, self.place + name, "nothing" if found is None else repr(found)[:40], allowed, hint, self.line))

    def whole(self, name: str, least: int = 0, default: Any = REQUIRED) -> Any:
        """A whole number of at least `least`; the default where it is absent or null."""
        value = self.values.get(name)
        if value is None and default is not REQUIRED:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**53:
            self.refuse(name, f"a whole number >= {least}")
        return value

    def number(self, name: str, default: Any = REQUIRED, least: float = 0.0) -> Any:
        """A number of at least `least` and below `MOST`; the default where it is absent or null."""
        value = self.values.get(name)
        if value is None and default is not REQUIRED:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < MOST:
            self.refuse(name, f"a number >= {least:g}")
        return float(value)

    def text(self, name: str, default: Any = REQUIRED) -> Any:
        """A text; the default where it is absent, null or empty."""
        value = self.values.get(name)
        if (value is None or value == "") and default is not REQUIRED:
            return default
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value:
            self.refuse(name, "a text")
        return value

    def iso_s(self, name: str) -> float:
        """Seconds since 1970 of an ISO date and time; without a zone it is taken as UTC."""
        try:
            at = datetime.fromisoformat(self.text(name))
        except ValueError:
            self.refuse(name, "a date and time such as 2026-01-31T23:59:58.5Z")
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()

    def inner(self, name: str, default: Any = REQUIRED) -> Any:
        """An object inside, as a `Row`."""
        value = self.values.get(name)
        if value is None and default is not REQUIRED:
            return default
        if not isinstance(value, dict):
            self.refuse(name, "an object")
        return Row(self.file, self.line, value, f"{self.place}{name}.")

    def rows(self, name: str, default: Any = REQUIRED) -> Any:
        """A list of objects, as `Row`."""
        value = self.values.get(name)
        if value is None and default is not REQUIRED:
            return default
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.refuse(name, "a list of objects")
        return [Row(self.file, self.line, item, f"{self.place}{name}[{index}].") for index, item in enumerate(value)]

    def hash_ids(self, name: str = "hash_ids", default: Any = REQUIRED) -> Any:
        """A list of block hashes: whole numbers."""
        value = self.values.get(name)
        if value is None and default is not REQUIRED:
            return default
        if not isinstance(value, list) or not all(type(item) is int for item in value):
            self.refuse(name, "a list of whole numbers")
        return value


class Records:
    """The records of a path while they are read.

    Attributes
    ----------
    counts : Counter
        What the reader counts for its provenance; ``bad`` are records skipped as asked, ``passed over`` files of another kind.
    """

    def __init__(self, path: Path, reading: Reading) -> None:
        self.path, self.reading = path, reading
        self.counts: Counter[str] = Counter()
        self.mistakes: list[Mistake] = []
        self.first_bad = ""

    def sources(self, suffixes: tuple[str, ...], mine: Callable[[list[Any]], bool]) -> Iterator[Source]:
        """Files of the reader's own format; others of a folder or archive are passed over and counted."""
        for source in sources(self.path, suffixes, self.reading.limits):
            found = False
            with self.record():
                found = mine(source.first_rows()) or source.place == str(self.path)
                self.counts["files" if found else "passed over"] += 1
            if found:
                yield source

    def texts(self, suffixes: tuple[str, ...], keys: tuple[bytes, ...]) -> Iterator[tuple[Source, bytes]]:
        """Documents that have some keys, unparsed; others of a folder or archive are passed over and counted."""
        for source in sources(self.path, suffixes, self.reading.limits):
            text = b""
            with self.record():
                text = source.text()
                found = all(key in text for key in keys) or source.place == str(self.path)
                self.counts["files" if found else "passed over"] += 1
                if not found:
                    parse_json(text, source.place, 0)  # damaged files are no other kind
                    text = b""
            if text:
                yield source, text

    def rows(self, source: Source) -> Iterator[Row]:
        """JSON objects, one a line."""
        for line, text in source.lines():
            value: Any = None
            with self.record():
                value = parse_json(text, source.place, line)
                if not isinstance(value, dict):
                    raise UserError(Mistake(source.place, "", type(value).__name__, "one JSON object a line", line=line))
            if isinstance(value, dict):
                yield Row(source.place, line, value)

    def document(self, source: Source) -> Row:
        """A file that is one JSON object."""
        value = source.document()
        if not isinstance(value, dict):
            raise UserError(Mistake(source.place, "", type(value).__name__, "one JSON object"))
        return Row(source.place, 0, value)

    def table(self, source: Source) -> Iterator[Row]:
        """Rows of a CSV file by its header, numbers as numbers."""
        header: list[str] = []
        for line, text in source.lines():
            row = None
            with self.record():
                cells = _csv_cells(text, source.place, line)
                if header and len(cells) != len(header):
                    raise UserError(Mistake(source.place, "", f"{len(cells)} cells", f"{len(header)}, as the header has", line=line))
                row = Row(source.place, line, dict(zip(header, map(_cell, cells), strict=True))) if header else None
                header = header or cells
            if row is not None:
                yield row

    @contextmanager
    def record(self) -> Iterator[None]:
        """What is done with one record: if that shows it to be bad, it is skipped where asked, else the mistake is kept for the end."""
        try:
            yield
        except (UserError, RecursionError) as caught:
            error = (
                caught if isinstance(caught, UserError) else UserError(Mistake(str(self.path), "", "a record that is nested too deeply"))
            )
            if self.reading.skip_bad:
                self.counts["bad"] += 1
                self.first_bad = self.first_bad or str(error.mistakes[0])
                return
            self.mistakes += error.mistakes
            if len(self.mistakes) >= MOST_MISTAKES:
                self.end()

    def end(self) -> None:
        """Raises what was gathered, if anything."""
        if self.mistakes:
            raise UserError(self.mistakes[:MOST_MISTAKES])

    def skipped(self) -> dict[str, str]:
        """Provenance of what was left out; empty when nothing was."""
        found: dict[str, str] = {}
        if self.counts["bad"]:
            found["skipped"] = f"{self.counts['bad']} bad records, as asked; the first: {self.first_bad}"
        if self.counts["passed over"]:
            found["passed_over"] = f"{self.counts['passed over']} files of another kind"
        return found


def _csv_cells(text: bytes, place: str, line: int) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader(io.StringIO(text.decode("utf-8-sig"))))]
    except (UnicodeDecodeError, csv.Error, StopIteration) as error:
        raise UserError(Mistake(place, "", hint=f"not CSV: {error}", line=line)) from error


def _cell(text: str) -> int | float | str | None:
    """A cell as the number it is, else as text; None when empty."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None
