"""How wrong the fields of a profile may be: what moves an answer, by how much, and which fields move together (docs/uncertainty.md).

Inputs are checked fields. A field moves as its distance from an origin (mostly 0), by a lognormal factor whose logarithm is ``z`` standard
deviations; a positive ``z`` is always the worse end: longer times, more watts, less memory.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from simulator.hardware.quality import Field
from simulator.hardware.schemas import DEPLOYMENT, ENGINE, MODEL, SYSTEM
from simulator.hardware.spec import BARE_SOURCE, Spec

DEFAULT = {"datasheet": 0.0, "measured": 0.03, "fitted": 0.10, "estimated": 0.25, "assumed": 0.35}
"""Relative standard deviation of a field that gives none, by its quality; the reasoning is in docs/uncertainty.md."""

Z95 = 1.6448536269514722
"""95th percentile of the normal distribution: ``low`` and ``high`` of a spread hold nine tenths between them."""

BY_UNIT = {"s": 1, "W": 1, "bytes": 1, "bytes/s": -1, "FLOP/s": -1}
BY_NAME = {"pue": 1, "memory_share": 1, "kv_pool_share": -1, "kv_pool_tokens": -1, "accept_means": -1}
EXACT = ("ttft_ceiling_s", "hbm_bytes", "host_bytes", "host_tier_bytes")
"""Set by people, or read off the device: these move only by a spread of their own."""

ORIGIN = {"pue": 1.0, "memory_share": 1.0, "accept_means": 1.0}
"""What errs is the power *above* that of the IT, the memory *left free*, and the tokens *gained* by drafts."""

NEAREST = 0.01
"""An end of a spread at the very origin counts as a hundredth of the value's distance, for a lognormal never gets there."""

SPECS: Mapping[str, Spec] = {**ENGINE, **MODEL, **SYSTEM, **DEPLOYMENT}

Change = Callable[[str, Field], Field]
"""What becomes of a field of a subject (a system, a model, an engine, or a model on a system) when its profile is loaded."""


class Group(NamedTuple):
    """Fields of one subject that come from one source, and so err together."""

    subject: str
    source: str


def group_of(subject: str, field: Field) -> Group:
    """The group of a field: its source in words, or its own name where a scenario gave the bare value."""
    return Group(subject, field.name if field.source == BARE_SOURCE else field.source)


def key_of(field: Field) -> str:
    """Name of a field in its schema, without that of its pool."""
    return field.name.rpartition(".")[2]


def direction(field: Field) -> int:
    """1 where more is worse, -1 where more is better, 0 for what is chosen or exact and so does not err by itself."""
    key = key_of(field)
    spec = SPECS.get(key)
    if spec is None or spec.kind not in ("number", "count", "numbers"):
        return 0
    if key in BY_NAME:
        return BY_NAME[key]
    if key in EXACT:
        return 0
    if key.endswith("_efficiency"):
        return -1
    return 1 if key.startswith("power_") else BY_UNIT.get(spec.unit, 0)


def deviations(field: Field) -> tuple[float, float]:
    """Standard deviations of the logarithm of a field's distance from its origin, towards the origin and away from it; zeros: no error."""
    own = field.spread
    if own is None:
        relative = DEFAULT[field.quality] if direction(field) else 0.0
    elif own.high:
        origin = ORIGIN.get(key_of(field), 0.0)
        ends = sorted(max(abs(end - origin), NEAREST * abs(field.value - origin)) for end in (own.low, own.high))
        distance = abs(field.value - origin)
        return (math.log(distance / ends[0]) / Z95, math.log(ends[1] / distance) / Z95) if distance else (0.0, 0.0)
    else:
        relative = own.relative
    sigma = math.sqrt(math.log1p(relative**2))
    return sigma, sigma


def factor(field: Field, z: float) -> float:
    """Factor of a field's distance from its origin at ``z`` standard deviations on the bad side."""
    inward, outward = deviations(field)
    signed = z * (direction(field) or 1)
    return math.exp(signed * (outward if signed > 0 else inward))


def moved(field: Field, z: float) -> Field:
    """The field with its value moved, within the range of its schema."""
    by = factor(field, z)
    if by == 1.0:
        return field
    key = key_of(field)
    spec, origin = SPECS[key], ORIGIN.get(key, 0.0)
    if spec.kind == "numbers":
        # Only a draft's gain can err in a list, and no draft gains more than one token.
        by = min(by, 1 / max(field.value[0] - origin, 1e-9))
        return replace(field, value=tuple(origin + (value - origin) * by for value in field.value))
    value = min(max(origin + (field.value - origin) * by, spec.low), spec.high)
    return replace(field, value=round(value) if spec.kind == "count" else value)


def mover(z: Mapping[Group, float]) -> Change:
    """Moves every field by its group's ``z``; groups that are not named stay."""
    return lambda subject, field: moved(field, z.get(group_of(subject, field), 0.0))
