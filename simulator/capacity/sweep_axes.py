"""The fields that a sweep varies and the values that each takes, and the points they make: a grid, or a Latin hypercube.

Inputs are texts as ``--vary power.cap_w=300..700/10`` has them, or the ``vary`` mapping of a scenario's ``sweep`` block.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any
from zlib import crc32

import numpy as np

from simulator.document import read_value
from simulator.errors import Mistake, UserError
from simulator.units import whole_number

MOST_POINTS = 100_000
RANGE = re.compile(r"\s*(-?[\d.]+(?:e[-+]?\d+)?)\.\.(-?[\d.]+(?:e[-+]?\d+)?)(?:/(\d+))?\s*", re.IGNORECASE)
FIELD = re.compile(r"\w+(\.\w+)*")
ALLOWED = "values with commas between them, a range of whole numbers as in 1..8, or evenly spaced numbers as in 300..700/10"

Point = dict[str, Any]
"""Dotted field -> value."""


@dataclass(frozen=True)
class Axis:
    """One field that varies.

    Attributes
    ----------
    field : str
        Dotted path into the scenario.
    values : tuple
        In the order given; empty for a range that only a Latin hypercube can draw from.
    span : (low, high) or None
        A range given without a number of values. Between whole ends a Latin hypercube draws whole numbers.
    """

    field: str
    values: tuple[Any, ...]
    span: tuple[float, float] | None = None

    def at(self, share: float) -> Any:
        """The value at a share from 0 to below 1 of the axis."""
        if self.span is None:
            return self.values[int(share * len(self.values))]
        low, high = self.span
        if isinstance(low, int) and isinstance(high, int):
            return low + int(share * (high - low + 1))
        return _short(low + share * (high - low))


def parse_axes(texts: Sequence[str]) -> tuple[Axis, ...]:
    """``field=values`` texts as axes; values are read as YAML. Raises `UserError` with every mistake in them."""
    found: dict[str, Any] = {}
    mistakes = []
    for text in texts:
        field, equals, values = text.partition("=")
        if not equals or field.strip() in found:
            mistakes.append(Mistake("--vary", text, "a field twice" if equals else "no values", f"field=values: {ALLOWED}"))
            continue
        given = read_value(f"[{values}]", field.strip())
        found[field.strip()] = given if isinstance(given, list) else values.split(",")
    if mistakes:
        raise UserError(mistakes)
    return read_axes(found, "--vary")


def read_axes(vary: Mapping[str, Any], file: str) -> tuple[Axis, ...]:
    """Axes of a mapping of fields to a value, a range, or a list of them. Raises `UserError` with every mistake in it."""
    mistakes: list[Mistake] = []
    axes = [_axis(str(field), given, file, mistakes) for field, given in vary.items()]
    if mistakes:
        raise UserError(mistakes)
    return tuple(axes)


def _axis(field: str, given: Any, file: str, mistakes: list[Mistake]) -> Axis:
    items = given if isinstance(given, list) else [given]
    if not FIELD.fullmatch(field) or field.split(".")[0] in ("sweep", "cells"):
        mistakes.append(Mistake(file, field, "no field that a sweep can vary", "a dotted path as in slo.speed_tok_s"))
        return Axis(field, ())
    spans = [RANGE.fullmatch(item) if isinstance(item, str) else None for item in items]
    values: list[Any] = []
    for item, span in zip(items, spans, strict=True):
        values += [item] if span is None else _spaced(span, file, field, mistakes, alone=len(items) == 1)
    names = [canonical(value) for value in values]
    if len(set(names)) < len(names) or not items:
        mistakes.append(Mistake(file, field, "a value twice" if items else "no values", ALLOWED))
    alone = spans[0] if len(spans) == 1 else None
    return Axis(field, tuple(values), _ends(alone) if alone and not alone[3] else None)


def _spaced(span: re.Match[str], file: str, field: str, mistakes: list[Mistake], alone: bool) -> list[Any]:
    """The values of a range; none for one between numbers that are not whole, from which only a hypercube can draw."""
    low, high = _ends(span)
    whole = isinstance(low, int) and isinstance(high, int)
    count = whole_number(span[3]) or 0 if span[3] else int(high - low) + 1 if whole else 0
    if not low < high or count > MOST_POINTS or (span[3] and count < 2) or (not count and not alone):
        mistakes.append(Mistake(file, field, repr(span[0].strip()), ALLOWED))
        return []
    if whole and count and int(high - low) % (count - 1) == 0:
        return [int(low) + step * (int(high - low) // (count - 1)) for step in range(count)]
    return [_short(low + (high - low) * step / (count - 1)) for step in range(count)]


def _ends(span: re.Match[str]) -> tuple[float, float]:
    """Both ends of a range, or ends that are none where they are no numbers."""
    try:
        return _number(span[1]), _number(span[2])
    except ValueError:
        return 1, 0


def _number(text: str) -> float:
    """A whole number where it is written as one."""
    return int(text) if re.fullmatch(r"-?\d+", text) else float(text)


def _short(value: float) -> float:
    """Six significant digits: what people can type to ask for the point alone."""
    return float(f"{value:.6g}")


def canonical(value: Any) -> str:
    """A value as JSON with its keys sorted, the same for equal values; 1 and 1.0 are equal."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)


def points_of(axes: Sequence[Axis], latin: int, seed: int, file: str) -> list[Point]:
    """All points, in order: of the grid the last axis fastest, or the draws of a Latin hypercube.

    Parameters
    ----------
    latin : int
        Draws of the hypercube; 0 for the grid.
    seed : int
        Of the draws. Those of a field follow from the seed, its name and the number of draws alone.
    """
    if not axes:
        raise UserError(Mistake(file, "sweep.vary", "nothing", f"field=values: {ALLOWED}", "as in --vary slo.speed_tok_s=20,40"))
    endless = [axis.field for axis in axes if not axis.values]
    if endless and not latin:
        hint = "say how many, as in 0.5..2.0/4, or draw with --latin N"
        raise UserError([Mistake(file, field, "a range without a number of values", ALLOWED, hint) for field in endless])
    count = latin or prod(len(axis.values) for axis in axes)
    if count > MOST_POINTS:
        raise UserError(Mistake(file, "sweep", f"{count:,} points", f"at most {MOST_POINTS:,}", "fewer values, or --latin N"))
    if not latin:
        return [dict(zip((axis.field for axis in axes), values, strict=True)) for values in product(*(axis.values for axis in axes))]
    columns = {axis.field: [axis.at(share) for share in _shares(axis.field, latin, seed)] for axis in axes}
    return [{field: column[row] for field, column in columns.items()} for row in range(latin)]


def _shares(field: str, samples: int, seed: int) -> list[float]:
    """One share of 0 to 1 from each of ``samples`` equal slices, in random order."""
    rng = np.random.default_rng([seed, crc32(field.encode())])
    shares: list[float] = ((rng.permutation(samples) + rng.random(samples)) / samples).tolist()
    return shares
