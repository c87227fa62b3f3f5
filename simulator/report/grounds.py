"""What an answer stands on: the fields of its system, model and deployment, with source and quality. Inputs are profiles."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from simulator.capacity.point import engine_words
from simulator.report.phrases import number, plain

WEAK = ("assumed", "estimated")
"""Qualities that a reader must know of before trusting a result."""


class Field(Protocol):
    """A profile field as `simulator.hardware` keeps it."""

    @property
    def name(self) -> str: ...
    @property
    def value(self) -> Any: ...
    @property
    def unit(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def quality(self) -> str: ...
    @property
    def note(self) -> str: ...


class Profile(Protocol):
    """A system, a model card or a deployment."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def quality(self) -> str: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def fields(self) -> Mapping[str, Field]: ...


@dataclass(frozen=True)
class Ground:
    """One field of one profile, as text."""

    name: str
    value: str
    unit: str
    quality: str
    source: str
    note: str


@dataclass(frozen=True)
class Footing:
    """One profile beneath the answers: its weak fields in full, and how many fields it has of each quality."""

    kind: str
    name: str
    title: str
    notes: tuple[str, ...]
    weak: tuple[Ground, ...]
    counts: tuple[tuple[str, int], ...]
    engine: str = ""
    """Whose scheduling a deployment imitates or is inspired by."""


def footing(kind: str, profile: Profile) -> Footing:
    """The weak fields of a profile, worst quality first, and its fields counted by quality."""
    fields = list(profile.fields.values())
    weak = tuple(ground(f) for quality in WEAK for f in fields if f.quality == quality)
    found = [f.quality for f in fields]
    counts = tuple(
        (quality, found.count(quality)) for quality in ("datasheet", "measured", "fitted", "estimated", "assumed") if quality in found
    )
    notes = tuple(map(plain, profile.notes))
    return Footing(kind, plain(profile.name), plain(profile.title), notes, weak, counts, plain(scheduling(profile)))


def scheduling(profile: object) -> str:
    """The engine that a deployment imitates, or is inspired by when it sets options of the preset otherwise; empty for other profiles."""
    imitates, inspired = getattr(profile, "imitates", ""), getattr(profile, "inspired", ())
    return engine_words(imitates, inspired) if imitates else ""


def ground(field: Field) -> Ground:
    """One field as text; what has no unit (words, switches, plain shares) shows none."""
    unit = "" if field.unit in ("none", "1") else plain(field.unit)
    return Ground(plain(field.name), written(field.value), unit, plain(field.quality), plain(field.source), plain(field.note))


def written(value: Any) -> str:
    """A field's value as people write it: large and small floats shortened, sequences with commas."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, float):
        return f"{value:.4g}" if value and not 1e-3 <= abs(value) < 1e6 else number(value) if value >= 1000 else f"{value:g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Iterable) and not isinstance(value, (str, Mapping)):
        return ", ".join(map(written, value))
    return plain(value)
