"""The power law from a GPU's evidence: watts against the achieved shares of peak bandwidth and peak FLOP/s.

Inputs are evidence rows. Form and search are those of `fit_power.py`; here the utilisations are measured. A third of the cells is held out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.calibration.fit_power import NAMES, search, share_of_tdp, watts
from simulator.calibration.gpu_evidence import Row
from simulator.calibration.gpu_fit import INTERVAL, Term, by_cell, held_out, lean, single
from simulator.calibration.power_rows import PowerModel, PowerRow, utilisation
from simulator.errors import Mistake, UserError
from simulator.hardware.system import System

Floats = NDArray[np.float64]

BUSY = ("launch", "copy", "gemm", "experts", "decode", "prefill", "duty")
"""Kinds of cells whose watts the law is held against."""

DRAWS = 40
CAP_TOLERANCE = 0.02
FEWEST_CELLS = 12


@dataclass(frozen=True)
class PowerPoint:
    """A cell with watts: its utilisations, what was measured and what the fitted law says, in watts."""

    cell: str
    kind: str
    um: float
    uc: float
    watts: float
    fitted: float
    before: float
    """What the system's profile says as it stands."""
    held_out: bool


@dataclass(frozen=True)
class GpuPowerFit:
    """The law of one GPU: coefficients by profile field, idle watts, and mean and worst absolute error as shares of the TDP."""

    idle_w: float
    terms: tuple[Term, ...]
    points: tuple[PowerPoint, ...]
    error: float
    check_error: float
    check_worst: float
    check_before: float
    """Mean error of the profile as it stands on the cells held out."""

    @property
    def coefficients(self) -> Mapping[str, float]:
        """Profile field -> value."""
        return {term.name: term.value for term in self.terms}


def fit_gpu_power(rows: Sequence[Row], system: System, file: str, *, seed: int = 0, draws: int = DRAWS) -> GpuPowerFit:
    """Fit the law.

    Parameters
    ----------
    rows : sequence of Row
        All of a file's; visits to a cell are averaged, and cells that failed, lack watts or wasted bytes are left out.
    system : System
        Its rates and TDP are what utilisations and watts are shares of.
    file : str
        For messages.
    draws : int
        How often the cells are drawn again for the intervals.

    Raises
    ------
    UserError
        When too few cells have watts.
    """
    cells = [row for row in by_cell(rows) if row.kind in BUSY and row.watts is not None and lean(row)]
    check = np.array([held_out(row.cell) for row in cells], dtype=bool)
    if (~check).sum() < FEWEST_CELLS or not check.any():
        found = f"{len(cells)} cells with watts whose bytes are known"
        raise UserError(
            Mistake(file, "watts", found, f"at least {FEWEST_CELLS} to fit and some to hold out", "was the energy counter read?")
        )
    idle_w = single(rows, "idle", "allocated", "watts") or system.idle_w
    table = np.array([_point(row, system) for row in cells]).T
    own, idle = table[:, ~check], idle_w / system.tdp_w
    base = {name: float(getattr(system, name)) for name in NAMES}
    alike, random = np.full(own.shape[1], 1 / own.shape[1]), np.random.default_rng(seed)
    law = search(own, alike, idle, base)
    drawn = [own[:, random.integers(own.shape[1], size=own.shape[1])] for _ in range(draws)]
    spread = np.array([search(table_drawn, alike, idle, base, starts=[law.tolist()]) for table_drawn in drawn])
    low, high = np.percentile(spread, INTERVAL, axis=0)
    terms = tuple(Term(name, float(law[i]), float(low[i]), float(high[i]), "x TDP") for i, name in enumerate(NAMES))
    after = share_of_tdp(law, table[0], table[1], idle)
    before = share_of_tdp(np.array(list(base.values())), table[0], table[1], system.idle_w / system.tdp_w)
    errors, old = np.abs(after - table[2]), np.abs(before - table[2])
    numbers = np.array([*table[:2], *(system.tdp_w * np.array([table[2], after, before]))]).T.tolist()
    points = tuple(
        PowerPoint(row.cell, row.kind, um, uc, measured_w, fitted_w, old_w, held)
        for row, (um, uc, measured_w, fitted_w, old_w), held in zip(cells, numbers, check.tolist(), strict=True)
    )
    return GpuPowerFit(idle_w, terms, points, _mean(errors[~check]), _mean(errors[check]), float(errors[check].max()), _mean(old[check]))


def _point(row: Row, system: System) -> tuple[float, float, float]:
    """Shares of peak bandwidth and of the operands' peak FLOP/s over the window, and of the TDP."""
    bandwidth = (row.bytes_per_s or 0.0) / system.hbm_bytes_per_s
    return bandwidth, (row.flop_per_s or 0.0) / system.flops(row.dtype or "bf16"), (row.watts or 0.0) / system.tdp_w


def _mean(errors: Floats) -> float:
    return float(errors.mean())


def refitted(system: System, fit: GpuPowerFit) -> System:
    """The system with the fitted law in place of its own."""
    changes: dict[str, Any] = {"idle_w": fit.idle_w, **fit.coefficients}
    return replace(system, **changes)


@dataclass(frozen=True)
class Beside:
    """A row of measured watts that ships, and what the system's profile says of it before and after the fit."""

    id: str
    split: str
    watts: float
    before: float
    after: float


def beside(rows: Sequence[PowerRow], models: Mapping[str, PowerModel], system: System, fit: GpuPowerFit) -> list[Beside]:
    """Old and new predictions on the rows of the system."""
    new = refitted(system, fit)
    own = [(row, *utilisation(row, system, models)) for row in rows if row.system == system.name]
    return [Beside(row.id, row.split, row.watts_per_gpu, watts(system, um, uc), watts(new, um, uc)) for row, um, uc in own]


def strangers(about: Mapping[str, str], system: System) -> list[str]:
    """What makes a file's GPU look like another system's, in words: its name, or its power cap."""
    said = []
    words = [word for word in about.get("gpu", "").lower().replace("-", " ").split() if any(c.isdigit() for c in word)]
    if words and not any(word in f"{system.name} {system.title}".lower() for word in words):
        said.append(f"the file's GPU is {about['gpu']!r}; is that the one of {system.name}?")
    for field in ("power_cap_default_w", "power_cap_w"):
        cap_w = about.get(field, "")
        try:
            near = not cap_w or abs(float(cap_w) / system.tdp_w - 1) <= CAP_TOLERANCE
        except ValueError:
            near = False
        if not near:
            said.append(
                f"{field} is {cap_w} W where the profile's tdp_w is {system.tdp_w:g} W: the fit takes watts as shares of the latter"
            )
    return said
