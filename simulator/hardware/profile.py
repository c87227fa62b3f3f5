"""The reader of profiles: a YAML file (or an inline mapping) and a schema in, checked fields out, every mistake reported at once.

A profile is a mapping. Its keys are ``name``, ``title``, ``extends`` (a shipped name or a path, whose fields are taken over), ``notes``
(sentences), the fields of its schema, each ``{value, unit, source, quality}`` with an optional ``note``, and for deployments ``pools``, a
mapping of names to such fields; the whole is described in `hardware_profiles/README.md`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from simulator.document import INLINE, Raw, bare, read, wrap
from simulator.errors import Mistake, UserError
from simulator.hardware.quality import Field, worst_quality
from simulator.hardware.schemas import LAW, LAYOUT
from simulator.hardware.spec import Schema, Spec, missing, read_fields

PLAIN_KEYS = ("name", "title", "extends", "notes")
POOLS = "pools"


@dataclass(frozen=True)
class PoolFields:
    """What a pool of a deployment says for itself, and where."""

    fields: Mapping[str, Field]
    file: str = ""
    line: int = 0


@dataclass(frozen=True)
class Profile:
    """A checked profile: its name, its notes, its fields by name, and those of its pools."""

    name: str
    title: str
    file: str
    notes: tuple[str, ...]
    fields: Mapping[str, Field]
    pools: Mapping[str, PoolFields] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Any:
        return self.fields[key].value

    def get(self, key: str, default: Any) -> Any:
        """Value of an optional field, or ``default``."""
        return self.fields[key].value if key in self.fields else default

    @property
    def quality(self) -> str:
        """Worst quality among the fields."""
        return worst_quality(field.quality for field in self.fields.values())

    def mapped(self, change: Callable[[Field], Field]) -> "Profile":
        """The profile with every field, those of its pools too, replaced by what a function makes of it."""
        pools = {name: replace(pool, fields={k: change(f) for k, f in pool.fields.items()}) for name, pool in self.pools.items()}
        return replace(self, fields={k: change(f) for k, f in self.fields.items()}, pools=pools)


EMPTY = Profile("", "", "", (), {})


def parse(
    ref: str | Path | Mapping[str, Any],
    schema: Schema,
    kind: str,
    overrides: Mapping[str, Any] | None = None,
    pool_schema: Schema | None = None,
    given: Mapping[str, Field] | None = None,
) -> Profile:
    """Read and check one profile.

    Parameters
    ----------
    ref : str, Path or mapping
        Name of a shipped profile, path to a YAML file, or the mapping itself.
    schema : mapping of str to Spec
    kind : str
        ``systems``, ``models``, ``deployments`` or ``engines``: where shipped names are looked up.
    overrides : mapping, optional
        Fields to replace, whole or by their bare value (which is then ``assumed``).
    pool_schema : mapping of str to Spec, optional
        What a pool may say for itself; without it a profile has no pools.
    given : mapping of str to Field, optional
        Fields of a profile that extends nothing, unless it gives them itself.

    Raises
    ------
    UserError
        With every mistake found, in file order.
    """
    mistakes: list[Mistake] = []
    reader = _Reader(schema, kind, pool_schema, mistakes, replace(EMPTY, fields=dict(given or {})))
    profile = reader.build(ref, ())
    if overrides:
        profile = reader.changed(profile, {key: wrap(value) for key, value in overrides.items()}, "overrides", bare_allowed=True)
    if mistakes:
        raise UserError(mistakes)
    return profile


@dataclass(frozen=True)
class _Reader:
    """Reads profiles of one kind, gathering mistakes."""

    schema: Schema
    kind: str
    pool_schema: Schema | None
    mistakes: list[Mistake]
    bare: Profile

    def build(self, ref: str | Path | Mapping[str, Any], seen: tuple[str, ...]) -> Profile:
        """A profile with what it extends."""
        file, raw = read(ref, self.kind, self.mistakes)
        if file != INLINE and file in seen:
            raise UserError(Mistake(file, "extends", " -> ".join((*seen, file)), "no circle"))
        base = self._base(raw, file, (*seen, file)) if "extends" in raw else self.bare
        name = _text(raw, "name", file, self.mistakes) or base.name or Path(file).stem
        title = _text(raw, "title", file, self.mistakes) or base.title or name
        notes = _notes(raw, file, self.mistakes)
        own = {key: value for key, value in raw.items() if key not in PLAIN_KEYS}
        derives = any(spec.derived for spec in self.schema.values())
        profile = self.changed(base, own, file, bare_allowed=file == INLINE and (derives or "extends" in raw))
        if "extends" not in raw or base.file:
            self._refuse_missing(profile, own, file)
        return replace(profile, name=name, title=title, file=file, notes=base.notes + notes)

    def changed(self, base: Profile, own: Mapping[str, Raw], file: str, *, bare_allowed: bool) -> Profile:
        """The profile with fields and pools of its own over those it has."""
        raw = {key: value for key, value in own.items() if key != POOLS or self.pool_schema is None}
        also = PLAIN_KEYS if self.pool_schema is None else (*PLAIN_KEYS, POOLS)
        fields = {**base.fields, **read_fields(raw, self.schema, file, self.mistakes, bare_allowed=bare_allowed, also=also)}
        pools = dict(base.pools)
        if self.pool_schema is not None and POOLS in own:
            self._change_pools(pools, own[POOLS], self.pool_schema, file, bare_allowed)
        return replace(base, fields={key: fields[key] for key in self.schema if key in fields}, pools=pools)

    def _change_pools(self, pools: dict[str, PoolFields], raw: Raw, schema: Schema, file: str, bare_allowed: bool) -> None:
        """Merges pools by name; a pool that is ``null`` goes."""
        if not isinstance(raw.value, dict) or not raw.value:
            self.mistakes.append(Mistake(file, POOLS, repr(bare(raw)), "a mapping of pool names to fields", line=raw.line))
            return
        for name, item in raw.value.items():
            place = f"{POOLS}.{name}"
            if item.value is None and name in pools:
                del pools[name]
            elif not isinstance(item.value, dict) or not re.fullmatch(r"\w+", name):
                allowed = "a mapping of fields, under a name of letters, digits and _"
                self.mistakes.append(Mistake(file, place, repr(bare(item)), allowed, line=item.line))
            else:
                shared = [key for key in item.value if key in self.schema and key not in schema]
                for key in shared:
                    raw, where = item.value[key], f"{place}.{key}"
                    hint = f"give it beside `{POOLS}`"
                    self.mistakes.append(Mistake(file, where, repr(bare(raw)), "one value for all pools", hint, raw.line))
                own = {key: value for key, value in item.value.items() if key not in shared}
                fields = read_fields(own, schema, file, self.mistakes, bare_allowed=bare_allowed, place=place + ".")
                before = pools.get(name, PoolFields({}, file, item.line))
                pools[name] = replace(before, fields={**before.fields, **fields})

    def _refuse_missing(self, profile: Profile, own: Mapping[str, Raw], file: str) -> None:
        """What no level gives: a field of the schema, or one that a pool lacks and the deployment does not give for it."""
        for key, spec in self.schema.items():
            lacking = [name for name, pool in profile.pools.items() if key not in pool.fields]
            if spec.optional or key in profile.fields or key in own or (profile.pools and not lacking):
                continue
            partly = len(lacking) < len(profile.pools)
            if spec.derived and (key in LAW or not partly) and not (profile.pools and key in LAYOUT):
                continue
            for name in lacking if partly else [""]:
                self._refuse_lack(profile, name, key, spec, file)
        for key, spec in (self.pool_schema or {}).items():
            for name in () if key in self.schema or spec.optional else profile.pools:
                if key not in profile.pools[name].fields:
                    self._refuse_lack(profile, name, key, spec, file)

    def _refuse_lack(self, profile: Profile, pool: str, key: str, spec: Spec, file: str) -> None:
        place, line = (f"{POOLS}.{pool}.{key}", profile.pools[pool].line) if pool else (key, 0)
        if not any(mistake.field.startswith(place) for mistake in self.mistakes):
            self.mistakes.append(missing(file, key, spec, place=place, line=line))

    def _base(self, raw: Mapping[str, Raw], file: str, seen: tuple[str, ...]) -> Profile:
        """The profile that ``extends`` names (a path is taken from the folder of the file that says so); an empty one after a mistake."""
        parent = _text(raw, "extends", file, self.mistakes)
        if not parent:
            if raw["extends"].value == "":
                self.mistakes.append(Mistake(file, "extends", "''", "a profile's name, or a path", line=raw["extends"].line))
            return EMPTY
        if parent.endswith((".yaml", ".yml")) and file != INLINE:
            return self.build(Path(file).parent / parent, seen)
        try:
            return self.build(parent, seen)
        except UserError as error:
            first = error.mistakes[0]
            if first.value != repr(parent):
                raise
            self.mistakes.append(replace(first, file=file, field="extends", line=raw["extends"].line))
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
