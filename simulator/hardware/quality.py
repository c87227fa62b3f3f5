"""Where a number comes from: a profile field with its unit, source and quality, and the rule that results inherit the worst quality."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

QUALITIES = ("datasheet", "measured", "fitted", "estimated", "assumed")
"""From best to worst: printed by the vendor, measured, fitted to measurements, derived from cited figures, our own judgement."""


@dataclass(frozen=True)
class Spread:
    """How wrong a value may be, as its author wrote it (docs/uncertainty.md).

    Attributes
    ----------
    relative : float
        Relative standard deviation of a lognormal distribution about the value; 0 where ``low`` and ``high`` are given.
    low, high : float
        What the true value lies between nine times in ten; 0 where ``relative`` is given.
    """

    relative: float = 0.0
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class Field:
    """One value of a profile, as its author wrote it; ``line`` is 1-based, 0 when it was not read from a file.

    ``spread`` is None where the author gave none: the quality then stands for it (`simulator.hardware.spread`).
    """

    name: str
    value: Any
    unit: str
    source: str
    quality: str
    note: str = ""
    file: str = ""
    line: int = 0
    spread: Spread | None = None


def worst_quality(qualities: Iterable[str]) -> str:
    """The worst of some quality words; ``datasheet`` when there are none."""
    return max(qualities, key=QUALITIES.index, default=QUALITIES[0])
