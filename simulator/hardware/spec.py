"""What a field of a profile must be, and the check that one is: every mistake with file, line, field, value, allowed range and remedy."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from simulator.catalog import nearest
from simulator.document import Raw, bare
from simulator.errors import Mistake
from simulator.hardware.quality import QUALITIES, Field, Spread

FIELD_KEYS = ("value", "unit", "source", "quality", "note", "spread")
NO_UNIT = "none"
"""Unit of words and switches."""

MOST_SPREAD = 5.0
"""A value that may be wrong by more than five times itself is no value."""

BARE_SOURCE = "given in the scenario"
"""Source of a bare value."""

SOURCE = "where the value comes from"


@dataclass(frozen=True)
class Spec:
    """What a field must be.

    ``kind`` is ``number``, ``count`` (a whole number), ``numbers`` (a list), ``word`` or ``switch``; ``low`` and ``high`` are inclusive.
    A field with ``optional`` may be left out; one with ``derived`` too, and then it follows from the others (`derive.py`).
    Where ``off_on`` names two of a word's choices, a switch may stand for them.
    """

    kind: str
    unit: str = NO_UNIT
    low: float = 0.0
    high: float = math.inf
    choices: tuple[str, ...] = ()
    optional: bool = False
    off_on: tuple[str, ...] = ()
    derived: bool = False

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.kind == "switch":
            return "true or false"
        if self.kind == "word":
            return ", ".join(self.choices) or "a word"
        bounds = f"{self.low:g} to {self.high:g}" if self.high < math.inf else f"at least {self.low:g}"
        unit = "" if self.unit == "1" else f" {self.unit}"
        return {"number": "a number", "count": "a whole number", "numbers": "a list of numbers"}[self.kind] + f", {bounds}{unit}"


Schema = Mapping[str, Spec]


def missing(file: str, key: str, spec: Spec, reason: str = "", *, place: str = "", line: int = 0) -> Mistake:
    """The mistake of a field that nothing gives, with how to write it; ``reason`` says what asks for it."""
    whole = f"add '{key}: {{value: .., unit: {spec.unit}, source: .., quality: ..}}'"
    return Mistake(file, place or key, "nothing", spec.allowed, f"{reason}: {whole}" if reason else whole, line)


def read_fields(
    raw: Mapping[str, Raw],
    schema: Schema,
    file: str,
    mistakes: list[Mistake],
    *,
    bare_allowed: bool,
    also: Iterable[str] = (),
    place: str = "",
) -> dict[str, Field]:
    """The good fields of a mapping; mistakes are gathered.

    Parameters
    ----------
    bare_allowed : bool
        Whether a bare value (which is then ``assumed``) may stand for a field.
    also : iterable of str
        Keys that stand beside the fields, for hints.
    place : str
        Where the mapping lies in its profile (``pools.decode.``); the names of the fields begin with it.
    """
    fields: dict[str, Field] = {}
    for key, item in raw.items():
        name = place + key
        if key not in schema:
            mistakes.append(Mistake(file, name, "an unknown key", "", nearest(key, [*schema, *also]), item.line))
        elif bare_allowed and not isinstance(item.value, dict):
            if _check_value(name, item, schema[key], file, mistakes):
                value = _value(item, schema[key])
                fields[key] = Field(name, value, schema[key].unit, BARE_SOURCE, "assumed", "", file, item.line)
        elif (field := _field(name, item, schema[key], file, mistakes)) is not None:
            fields[key] = field
    return fields


def _field(key: str, item: Raw, spec: Spec, file: str, mistakes: list[Mistake]) -> Field | None:
    if not isinstance(item.value, dict):
        mistakes.append(Mistake(file, key, repr(bare(item)), "{value, unit, source, quality}", f"unit is {spec.unit}", item.line))
        return None
    parts: dict[str, Raw] = item.value
    before = len(mistakes)
    for part, raw in parts.items():
        if part not in FIELD_KEYS:
            hint = nearest(part, list(FIELD_KEYS))
            mistakes.append(Mistake(file, f"{key}.{part}", "an unknown key", ", ".join(FIELD_KEYS), hint, raw.line))
    good = "value" in parts and _check_value(key, parts["value"], spec, file, mistakes)
    spread = _spread(f"{key}.spread", parts["spread"], bare(parts["value"]), spec, file, mistakes) if good and "spread" in parts else None
    needed = {"value": spec.allowed, "unit": spec.unit, "source": SOURCE, "quality": ", ".join(QUALITIES)}
    for part, allowed in needed.items():
        if part not in parts:
            mistakes.append(Mistake(file, f"{key}.{part}", "nothing", allowed, line=item.line))
        elif part != "value":
            _check_word(f"{key}.{part}", parts[part], part, spec, file, mistakes)
    if len(mistakes) > before:
        return None
    value = _value(parts["value"], spec)
    note = str(parts["note"].value) if "note" in parts else ""
    return Field(key, value, spec.unit, str(parts["source"].value), str(parts["quality"].value), note, file, item.line, spread)


def _value(raw: Raw, spec: Spec) -> Any:
    """A checked value: lists as tuples, and the word for a switch that stands for one."""
    if spec.off_on and isinstance(raw.value, bool):
        return spec.off_on[raw.value]
    return tuple(bare(raw)) if spec.kind == "numbers" else raw.value


def _check_word(name: str, raw: Raw, part: str, spec: Spec, file: str, mistakes: list[Mistake]) -> None:
    word = raw.value
    if part == "unit" and str(word) != spec.unit:
        mistakes.append(Mistake(file, name, repr(word), spec.unit, line=raw.line))
    elif part == "quality" and word not in QUALITIES:
        mistakes.append(Mistake(file, name, repr(word), ", ".join(QUALITIES), nearest(str(word), list(QUALITIES)), raw.line))
    elif part == "source" and not (isinstance(word, str) and word.strip()):
        mistakes.append(Mistake(file, name, repr(word), SOURCE, line=raw.line))


def _check_value(key: str, raw: Raw, spec: Spec, file: str, mistakes: list[Mistake]) -> bool:
    value, problem, hint = bare(raw), False, ""
    if spec.kind == "switch" or (spec.off_on and isinstance(value, bool)):
        problem = not isinstance(value, bool)
    elif spec.kind == "word":
        problem = not isinstance(value, str) or bool(spec.choices and value not in spec.choices)
        hint = nearest(str(value), list(spec.choices)) if problem else ""
    elif spec.kind == "numbers":
        problem = not isinstance(value, list) or not value or not all(_in_range(item, spec) for item in value)
    else:
        problem = not _in_range(value, spec)
        hint = _number_hint(value)
    if problem:
        mistakes.append(Mistake(file, f"{key}.value", repr(value), spec.allowed, hint, raw.line))
    return not problem


def _spread(name: str, raw: Raw, value: Any, spec: Spec, file: str, mistakes: list[Mistake]) -> Spread | None:
    """A relative standard deviation, or ``{low, high}`` around the value; None, with a mistake, for what is neither."""
    given, listed = bare(raw), spec.kind == "numbers"
    ends: list[Any] = [given["low"], given["high"]] if isinstance(given, dict) and set(given) == {"low", "high"} else []
    if spec.kind not in ("number", "count", "numbers"):
        mistakes.append(Mistake(file, name, repr(given), "none: only numbers may be wrong by a share", line=raw.line))
    elif ends and not listed and all(map(_is_number, ends)) and 0 < ends[0] <= value <= ends[1]:
        return Spread(low=float(ends[0]), high=float(ends[1]))
    elif _is_number(given) and 0 <= given <= MOST_SPREAD:
        return Spread(relative=float(given))
    else:
        around = "" if listed else f", or {{low, high}} with 0 < low <= {value} <= high"
        allowed = f"a relative standard deviation, 0 to {MOST_SPREAD:g}{around}"
        mistakes.append(Mistake(file, name, repr(given), allowed, _number_hint(given), raw.line))
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _in_range(value: Any, spec: Spec) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    number = whole if spec.kind == "count" else whole or isinstance(value, float)
    return number and math.isfinite(value) and spec.low <= value <= spec.high


def _number_hint(value: Any) -> str:
    """YAML reads ``1e3`` as a word: say so instead of leaving people puzzled."""
    if not isinstance(value, str):
        return ""
    try:
        number = float(value)
    except ValueError:
        return ""
    return f"YAML reads {value} as a word; write {number!r}" if math.isfinite(number) else ""
