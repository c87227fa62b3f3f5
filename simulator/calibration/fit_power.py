"""The fit of the power law's coefficients to measured watts. Inputs are the rows of `hardware_profiles/evidence/power.csv`.

``P = min(cap, idle + TDP * rise * L, TDP * (p0 + L))`` with ``L = pm * um + pc * uc``. The least mean absolute error in shares of the TDP
is found by a compass search from fixed starts; every curve (one model and layout on one system) counts once. No row that is marked
``check`` is looked at.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from simulator.calibration.power_rows import PowerModel, PowerRow, utilisation
from simulator.hardware.system import System

Floats = NDArray[np.float64]

NAMES = ("power_floor", "power_hbm", "power_flop", "power_rise")
"""Fields of a system profile, in the order of the coefficients below: ``p0``, ``pm``, ``pc``, ``rise``."""

STARTS = ((0.5, 0.4, 2.0, 3.0), (0.4, 0.7, 1.5, 2.5), (0.6, 0.2, 1.0, 6.0))
FREE = {
    "hgx_h100": ("hgx_h100", NAMES),
    "hgx_b200": ("hgx_b200", NAMES),
    "hgx_h200": ("hgx_h100", ("power_floor", "power_rise")),
    "gb300_nvl72": ("gb300_nvl72", ("power_rise",)),
}
"""What is fitted on each system, and the system from which the other coefficients are taken: its fit, else its profile."""

DIGITS = 3
"""Decimals of a coefficient: rows do not tell more."""

SMALLEST_STEP = 1e-4
"""The compass search ends when steps of this share of a coefficient no longer help."""


@dataclass(frozen=True)
class Errors:
    """Absolute errors of some rows, as shares of the TDP."""

    rows: int
    median: float
    mean: float
    worst: float


@dataclass(frozen=True)
class PowerFit:
    """Coefficients of one system by the name of their field, and the errors on the rows of each split."""

    system: str
    coefficients: Mapping[str, float]
    errors: Mapping[str, Errors]


def fit_power(rows: Sequence[PowerRow], systems: Mapping[str, System], models: Mapping[str, PowerModel]) -> dict[str, PowerFit]:
    """Fit every system of `FREE`, in its order.

    Parameters
    ----------
    rows : sequence of PowerRow
    systems : mapping of str to System
        Those of `FREE`: TDP, idle watts and peaks are used, and the coefficients that are not fitted.
    models : mapping of str to PowerModel
    """
    fits: dict[str, PowerFit] = {}
    for name, (base, free) in FREE.items():
        system, own = systems[name], [row for row in rows if row.system == name]
        fitted = [row for row in own if row.split == "fit"]
        start = fits[base].coefficients if base in fits else {key: float(getattr(systems[base], key)) for key in NAMES}
        found = search(_table(fitted, system, models), _weights(fitted), system.idle_w / system.tdp_w, start, free)
        errors = {split: _errors(found, [row for row in own if row.split == split], system, models) for split in ("fit", "check")}
        fits[name] = PowerFit(name, dict(zip(NAMES, found.tolist(), strict=True)), errors)
    return fits


def watts(system: System, um: float, uc: float) -> float:
    """Watts per GPU that the law of a system profile gives at some utilisations."""
    coefficients = np.array([getattr(system, name) for name in NAMES])
    share = share_of_tdp(coefficients, np.array([um]), np.array([uc]), system.idle_w / system.tdp_w)
    return float(share[0]) * system.tdp_w


def share_of_tdp(coefficients: Floats, um: Floats, uc: Floats, idle: float) -> Floats:
    """The law: shares of the TDP at some utilisations, by coefficients in the order of `NAMES`; ``idle`` is a share too."""
    floor, hbm, flop, rise = coefficients
    load = hbm * um + flop * uc
    share: Floats = np.minimum(1.0, np.minimum(idle + rise * load, floor + load))
    return share


def _table(rows: Sequence[PowerRow], system: System, models: Mapping[str, PowerModel]) -> Floats:
    """Memory and compute utilisation and the measured share of the TDP: shape (3, rows)."""
    return np.array([(*utilisation(row, system, models), row.watts_per_gpu / system.tdp_w) for row in rows]).reshape(-1, 3).T


def _weights(rows: Sequence[PowerRow]) -> Floats:
    """Each row's share of its curve, so that every curve counts once; they sum to 1."""
    curves = [(row.model, row.precision, row.layout) for row in rows]
    size = Counter(curves)
    return np.array([1 / size[curve] for curve in curves]) / len(size)


def _errors(coefficients: Floats, rows: Sequence[PowerRow], system: System, models: Mapping[str, PowerModel]) -> Errors:
    um, uc, share = _table(rows, system, models)
    error = np.abs(share_of_tdp(coefficients, um, uc, system.idle_w / system.tdp_w) - share).tolist()
    return Errors(len(error), median(error), sum(error) / len(error), max(error)) if error else Errors(0, 0.0, 0.0, 0.0)


def search(
    table: Floats,
    weights: Floats,
    idle: float,
    base: Mapping[str, float],
    free: Sequence[str] = NAMES,
    starts: Sequence[Sequence[float]] = STARTS,
) -> Floats:
    """The best of the compass searches, rounded: coefficients in the order of `NAMES`, those not free as in ``base``.

    ``table`` holds memory and compute utilisation and the measured share of the TDP: shape (3, rows).
    """
    um, uc, share = table
    moves = [i for i, name in enumerate(NAMES) if name in free]

    def loss(x: Floats) -> float:
        return float(weights @ np.abs(share_of_tdp(x, um, uc, idle) - share))

    begin = [np.array([start[i] if i in moves else base[name] for i, name in enumerate(NAMES)]) for start in starts]
    return min((np.round(_compass(loss, start, moves), DIGITS) for start in begin), key=loss)


def _compass(loss: Callable[[Floats], float], x: Floats, moves: Sequence[int]) -> Floats:
    """Walk along the axes and the diagonals of pairs of them, each step a share of the coefficient; halve it when none helps."""
    step, least = 0.5, loss(x)
    axes = [{i: a, j: b} for i in moves for j in moves for a in (-1, 1) for b in (-1, 1)]
    while step > SMALLEST_STEP:
        tried = [np.array([value * (1 + step) ** axis.get(i, 0) for i, value in enumerate(x)]) for axis in axes]
        losses = [loss(other) for other in tried]
        if min(losses) < least:
            least, x = min(losses), tried[int(np.argmin(losses))]
        else:
            step /= 2
    return x
