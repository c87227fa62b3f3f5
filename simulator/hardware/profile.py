"""The reader of profiles: a YAML file (or an inline mapping) and a schema in, checked fields out, every mistake reported at once.

A profile is a mapping. Its keys are ``name``, ``title``, ``extends`` (a shipped name or a path, whose fields are taken over), ``notes``
(sentences), and the fields of its schema, each ``{value, unit, source, quality}`` with an optional ``note``; the whole is described in
`hardware_profiles/README.md`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from simulator.catalog import nearest
from simulator.document import INLINE, Raw, bare, read, wrap
from simulator.errors import Mistake, UserError
from simulator.hardware.quality import QUALITIES, Field, worst_quality

PLAIN_KEYS = ("name", "title", "extends", "notes")
FIELD_KEYS = ("value", "unit", "source", "quality", "note")
NO_UNIT = "none"
"""Unit of words and switches."""

SOURCE = "where the value comes from"


@dataclass(frozen=True)
class Spec:
    """What a field must be.

    ``kind`` is ``number``, ``count`` (a whole number), ``numbers`` (a list), ``word`` or ``switch``; ``low`` and ``high`` are inclusive.
    A field with ``optional`` may be left out.
    """

    kind: str
    unit: str = NO_UNIT
    low: float = 0.0
    high: float = math.inf
    choices: tuple[str, ...] = ()
    optional: bool = False

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


@dataclass(frozen=True)
class Profile:
    """A checked profile: its name, its notes and its fields by name."""

    name: str
    title: str
    file: str
    notes: tuple[str, ...]
    fields: Mapping[str, Field]

    def __getitem__(self, key: str) -> Any:
        return self.fields[key].value

    def get(self, key: str, default: Any) -> Any:
        """Value of an optional field, or ``default``."""
        return self.fields[key].value if key in self.fields else default

    @property
    def quality(self) -> str:
        """Worst quality among the fields."""
        return worst_quality(field.quality for field in self.fields.values())


EMPTY = Profile("", "", "", (), {})


def parse(ref: str | Path | Mapping[str, Any], schema: Schema, kind: str, overrides: Mapping[str, Any] | None = None) -> Profile:
    """Read and check one profile.

    Parameters
    ----------
    ref : str, Path or mapping
        Name of a shipped profile, path to a YAML file, or the mapping itself.
    schema : mapping of str to Spec
    kind : str
        ``systems``, ``models`` or ``deployments``: where shipped names are looked up.
    overrides : mapping, optional
        Fields to replace, whole or by their bare value (which is then ``assumed``).

    Raises
    ------
    UserError
        With every mistake found, in file order.
    """
    mistakes: list[Mistake] = []
    profile = _build(ref, schema, kind, mistakes, ())
    if overrides:
        raw = {key: wrap(value) for key, value in overrides.items()}
        changed = _fields(raw, schema, "overrides", mistakes, bare_allowed=True)
        profile = replace(profile, fields={**profile.fields, **changed})
    if mistakes:
        raise UserError(mistakes)
    return profile


def _build(ref: str | Path | Mapping[str, Any], schema: Schema, kind: str, mistakes: list[Mistake], seen: tuple[str, ...]) -> Profile:
    file, raw = read(ref, kind, mistakes)
    if file != INLINE and file in seen:
        raise UserError(Mistake(file, "extends", " -> ".join((*seen, file)), "no circle"))
    base = EMPTY
    if "extends" in raw:
        base = _base(raw, file, schema, kind, mistakes, (*seen, file))
    name = _text(raw, "name", file, mistakes) or base.name or Path(file).stem
    title = _text(raw, "title", file, mistakes) or base.title or name
    notes = _notes(raw, file, mistakes)
    own = {key: value for key, value in raw.items() if key not in PLAIN_KEYS}
    fields = {**base.fields, **_fields(own, schema, file, mistakes, bare_allowed=file == INLINE and "extends" in raw)}
    lost = "extends" in raw and not base.file
    for key, spec in schema.items():
        if not lost and not spec.optional and key not in fields and key not in own:
            whole = f"add '{key}: {{value: .., unit: {spec.unit}, source: .., quality: ..}}'"
            mistakes.append(Mistake(file, key, "nothing", spec.allowed, whole))
    return Profile(name, title, file, base.notes + notes, {key: fields[key] for key in schema if key in fields})


def _base(raw: Mapping[str, Raw], file: str, schema: Schema, kind: str, mistakes: list[Mistake], seen: tuple[str, ...]) -> Profile:
    """The profile that ``extends`` names (a path is taken from the folder of the file that says so); an empty one after a mistake."""
    parent = _text(raw, "extends", file, mistakes)
    if not parent:
        return EMPTY
    if parent.endswith((".yaml", ".yml")) and file != INLINE:
        return _build(Path(file).parent / parent, schema, kind, mistakes, seen)
    try:
        return _build(parent, schema, kind, mistakes, seen)
    except UserError as error:
        first = error.mistakes[0]
        if first.value != repr(parent):
            raise
        mistakes.append(replace(first, file=file, field="extends", line=raw["extends"].line))
        return EMPTY


def _text(raw: Mapping[str, Raw], key: str, file: str, mistakes: list[Mistake]) -> str:
    if key not in raw:
        return ""
    if not isinstance(raw[key].value, str):
        mistakes.append(Mistake(file, key, repr(bare(raw[key])), "a word", line=raw[key].line))
        return ""
    return str(raw[key].value)


def _notes(raw: Mapping[str, Raw], file: str, mistakes: list[Mistake]) -> tuple[str, ...]:
    if "notes" not in raw:
        return ()
    notes = bare(raw["notes"])
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        mistakes.append(Mistake(file, "notes", repr(notes), "a list of sentences", line=raw["notes"].line))
        return ()
    return tuple(notes)


def _fields(raw: Mapping[str, Raw], schema: Schema, file: str, mistakes: list[Mistake], *, bare_allowed: bool) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    for key, item in raw.items():
        if key not in schema:
            mistakes.append(Mistake(file, key, "an unknown key", "", nearest(key, [*schema, *PLAIN_KEYS]), item.line))
        elif bare_allowed and not isinstance(item.value, dict):
            if _check_value(key, item, schema[key], file, mistakes):
                fields[key] = Field(key, bare(item), schema[key].unit, "given in the scenario", "assumed", "", file, item.line)
        elif (field := _field(key, item, schema[key], file, mistakes)) is not None:
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
    if "value" in parts:
        _check_value(key, parts["value"], spec, file, mistakes)
    needed = {"value": spec.allowed, "unit": spec.unit, "source": SOURCE, "quality": ", ".join(QUALITIES)}
    for part, allowed in needed.items():
        if part not in parts:
            mistakes.append(Mistake(file, f"{key}.{part}", "nothing", allowed, line=item.line))
        elif part != "value":
            _check_word(f"{key}.{part}", parts[part], part, spec, file, mistakes)
    if len(mistakes) > before:
        return None
    value = tuple(bare(parts["value"])) if spec.kind == "numbers" else parts["value"].value
    note = str(parts["note"].value) if "note" in parts else ""
    return Field(key, value, spec.unit, str(parts["source"].value), str(parts["quality"].value), note, file, item.line)


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
    if spec.kind == "switch":
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
