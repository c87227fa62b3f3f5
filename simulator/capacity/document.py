"""A YAML document that remembers the line of every key, and checked access to its values. Inputs come from a file or a mapping."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.catalog import nearest
from simulator.document import Raw, bare, read, read_value, wrap
from simulator.errors import Mistake, UserError
from simulator.units import MOST_COUNT, MOST_S, whole_number

Place = tuple[str, ...]
REQUIRED: Any = object()
"""Default of a key that must be given."""


@dataclass(frozen=True)
class Document:
    """Plain YAML values, the file they come from and the line of each key (0 when not from a file)."""

    file: str
    data: dict[str, Any]
    lines: Mapping[Place, int] = field(default_factory=dict)


def read_document(path: Path) -> Document:
    """Reads one YAML mapping.

    Raises
    ------
    UserError
        When the file cannot be read, is no YAML mapping, or has a key twice.
    """
    mistakes: list[Mistake] = []
    file, top = read(path, "scenarios", mistakes)
    if mistakes:
        raise UserError(mistakes)
    whole = Raw(top, 1)
    return Document(file, bare(whole), dict(_lines(whole, ())))


def _lines(raw: Raw, place: Place) -> Iterator[tuple[Place, int]]:
    yield place, raw.line
    inner = raw.value if isinstance(raw.value, dict) else dict(enumerate(raw.value)) if isinstance(raw.value, list) else {}
    for key, item in inner.items():
        yield from _lines(item, (*place, str(key)))


def with_overrides(document: Document, overrides: Mapping[str, Any]) -> Document:
    """The document with values replaced at dotted paths (``deployment.workers``; a list index counts as a key).

    A path into a profile that is given by name makes it ``{extends: name}`` with that field changed.
    """
    data = bare(wrap(document.data))  # a copy
    lines = dict(document.lines)
    for dotted, value in overrides.items():
        keys = dotted.split(".")
        at: Any = data
        for i, key in enumerate(keys[:-1]):
            if isinstance(at, list):
                index: Any = whole_number(key)
                if index is None or index >= len(at):
                    raise UserError(Mistake("override", dotted, f"index {key!r}", f"0 to {len(at) - 1}"))
                inner = at[index]
            else:
                index, inner = key, at.get(key)
            if isinstance(inner, str):
                inner = {"extends": inner}
            elif inner is None:
                inner = {}
            elif not isinstance(inner, dict | list):
                raise UserError(Mistake("override", dotted, f"{'.'.join(keys[: i + 1])} is {inner!r}", "a path into a mapping"))
            at[index] = inner
            at = inner
        if isinstance(at, list):
            raise UserError(Mistake("override", dotted, "a list item", "a key of a mapping"))
        at[keys[-1]] = value
        lines.pop(tuple(keys), None)
    return Document(document.file, data, lines)


def parse_overrides(texts: Sequence[str]) -> dict[str, Any]:
    """``path=value`` texts as a mapping; values are read as YAML."""
    found: dict[str, Any] = {}
    mistakes = []
    for text in texts:
        key, equals, value = text.partition("=")
        found[key.strip()] = read_value(value, key.strip())
        if not equals or not re.fullmatch(r"[\w]+(\.[\w]+)*", key.strip()):
            mistakes.append(Mistake("override", text, "", "path=value, as in deployment.workers=1"))
    if mistakes:
        raise UserError(mistakes)
    return found


class Section:
    """One mapping of a document, read key by key; mistakes are gathered, and what is wrong reads as its default.

    Parameters
    ----------
    mistakes : list of Mistake
        Shared by all sections of a document; the caller raises them in the end.
    """

    def __init__(self, document: Document, mistakes: list[Mistake], place: Place = ()) -> None:
        self.document, self.mistakes, self.place = document, mistakes, place
        values: Any = document.data
        for key in place:
            values = values[int(key)] if isinstance(values, list) else values[key]
        self.values: dict[str, Any] = values

    def refuse(self, key: str, found: str, allowed: str = "", hint: str = "") -> None:
        """Notes a mistake at a key."""
        place = (*self.place, key) if key else self.place
        line = next((self.document.lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in self.document.lines), 0)
        self.mistakes.append(Mistake(self.document.file, ".".join(place), found, allowed, hint, line))

    def only(self, *known: str) -> None:
        """Refuses every key that is not known."""
        for key in self.values:
            if key not in known:
                self.refuse(key, "an unknown key", "" if nearest(key, list(known)) else ", ".join(known), nearest(key, list(known)))

    def section(self, key: str) -> "Section | None":
        """The mapping under a key; None when there is none."""
        value = self.values.get(key)
        if value is None or isinstance(value, dict):
            return None if value is None else Section(self.document, self.mistakes, (*self.place, key))
        self.refuse(key, repr(value), "a mapping")
        return None

    def number(self, key: str, default: Any = REQUIRED, low: float = 0, high: float = math.inf, above: bool = False) -> float:
        """A number from ``low`` (itself excluded with ``above``) to ``high``; of seconds at most `MOST_S`."""
        unit = next((u for suffix, u in (("tok_s", "tok/s"), ("_s", "s")) if key.endswith(suffix)), "")
        value = self._given(key, default, f"a number {_range(low, high, above)} {unit}".strip())
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if good and unit == "s" and value > MOST_S:
            high = min(high, MOST_S)
        if value is default or (good and low <= value <= high and not (above and value == low)):
            return float(value) if isinstance(value, int | float) else float("nan")
        self.refuse(key, repr(value), f"a number {_range(low, high, above)} {unit}".strip(), _unit_hint(key, value))
        return float("nan") if default is REQUIRED or default is None else float(default)

    def count(self, key: str, default: Any = REQUIRED, low: int = 0, high: int = MOST_COUNT) -> int:
        """A whole number from ``low`` to ``high``."""
        value = self._given(key, default, f"a whole number >= {low}")
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is default or (whole and low <= value <= high):
            return value  # type: ignore[no-any-return]
        allowed = f"a whole number from {low} to {high:,}" if whole and value > high else f"a whole number >= {low}"
        self.refuse(key, repr(value), allowed, _unit_hint(key, value))
        return low if default is REQUIRED or default is None else int(default)

    def word(self, key: str, choices: Sequence[str] = (), default: Any = REQUIRED) -> str:
        """A word, one of the choices when there are some."""
        allowed = ", ".join(choices) or "a word"
        value = self._given(key, default, allowed)
        if value is default or (isinstance(value, str) and (not choices or value in choices)):
            return value
        self.refuse(key, repr(value), allowed, nearest(str(value), list(choices)))
        return str(choices[0] if choices else value)

    def switch(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            self.refuse(key, repr(value), "true or false")
        return bool(value)

    def _given(self, key: str, default: Any, allowed: str) -> Any:
        if self.values.get(key) is None and default is REQUIRED:
            self.refuse(key, "nothing", allowed)
            return REQUIRED
        value = self.values.get(key)
        return default if value is None else value


def _range(low: float, high: float, above: bool) -> str:
    floor = f"> {low:g}" if above else f">= {low:g}"
    return floor if high == math.inf else f"{floor} and <= {high:,.10g}" if above else f"from {low:g} to {high:,.10g}"


def _unit_hint(key: str, value: Any) -> str:
    """What to write instead of ``10 s`` or ``1e3``, which YAML reads as words."""
    number = re.match(r"\s*([-+]?\d+\.?\d*(?:[eE][-+]?\d+)?)\s*(.*)$", value) if isinstance(value, str) else None
    if not number:
        return ""
    unit = "; the unit is in the key's name" if number[2] else ""
    return f"write {key}: {float(number[1]):g}{unit}"
