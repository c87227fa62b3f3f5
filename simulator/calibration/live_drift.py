"""Whether an overlay still holds: a few cells on the endpoint, predicted by the overlay, beside what they measure now.

Inputs are a loaded overlay and rows of the cells that `drift_cells` asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.calibration.cell import Cell, CellRow, Endpoint, RequestRow
from simulator.calibration.live_cells import cell_of, make_cell
from simulator.calibration.live_fit import noise, observe_cells, step_seconds
from simulator.calibration.live_law import Observation
from simulator.calibration.live_overlay import Playing
from simulator.calibration.live_rows import Excluded
from simulator.calibration.live_traits import by_cell

TOLERANCE = 0.15
"""Median error of a kind of cell up to which an overlay holds, unless the endpoint's own noise is larger."""

REPETITIONS = 3


@dataclass(frozen=True)
class Drifted:
    """One experiment: seconds measured (median) and predicted, and how many cells."""

    experiment: str
    quantity: str
    cells: int
    measured_s: float
    predicted_s: float

    @property
    def error(self) -> float:
        """Signed: how much longer it takes now than the overlay says."""
        return self.measured_s / self.predicted_s - 1


@dataclass(frozen=True)
class Drift:
    """The whole: whether the overlay holds, its experiments, noise of repetitions, what was left out, and a sentence."""

    holds: bool
    experiments: tuple[Drifted, ...]
    noise: float
    excluded: tuple[Excluded, ...]
    sentence: str


def drift_cells(endpoint: Endpoint, at: Playing) -> list[Cell]:
    """The short check: a floor, two prompts, one batch and several, three times each: seconds on most endpoints."""
    context = endpoint.max_context_tokens or 8192
    longest = max(16, min(4096, context - context // 8))
    batch = max(1, min(16, at.pool.sched.max_seqs))
    experiments = [
        ("floor", {"prompt": 2, "turns": 4}),
        ("prefill", {"prompt": longest // 4, "turns": 2}),
        ("prefill", {"prompt": longest, "turns": 2}),
        ("decode", {"batch": 1, "context": 64, "output": 32}),
        ("decode", {"batch": batch, "context": 64, "output": 32}),
        ("context", {"batch": min(4, batch), "context": longest // 2, "output": 24}),
    ]
    return [make_cell(kind, params, number) for number in range(1, REPETITIONS + 1) for kind, params in experiments]


def next_drift_cells(endpoint: Endpoint, at: Playing, cells: Sequence[CellRow]) -> list[Cell]:
    """What of the short check has no rows yet."""
    done = {cell.cell for cell in cells}
    return [cell for cell in drift_cells(endpoint, at) if cell.id not in done]


def drift_of(at: Playing, cells: Sequence[CellRow], requests: Sequence[RequestRow]) -> Drift:
    """Compares what was measured with what the overlay says."""
    rows = by_cell(requests)
    seen, excluded = observe_cells(at, cells, rows, {cell.cell: cell_of(cell) for cell in cells})
    groups: dict[tuple[str, str], list[Observation]] = {}
    for one in seen:
        groups.setdefault((one.experiment, one.quantity), []).append(one)
    found = tuple(_drifted(experiment, quantity, own, at) for (experiment, quantity), own in groups.items())
    spread = noise(seen)
    allowed = max(TOLERANCE, 3 * spread) if np.isfinite(spread) else TOLERANCE
    errors = [one.error for one in found]
    middle = float(np.median(errors)) if errors else float("nan")
    far = [one for one in found if abs(one.error) > allowed]
    holds = bool(found) and abs(middle) <= allowed and 2 * len(far) <= len(found)
    return Drift(holds, found, spread, tuple(excluded), _sentence(holds, found, far, middle, allowed))


def _drifted(experiment: str, quantity: str, own: Sequence[Observation], at: Playing) -> Drifted:
    predicted = own[0].weights @ step_seconds(at.law, own[0].steps) + own[0].requests * at.request_s
    return Drifted(experiment, quantity, len(own), float(np.median([one.seconds for one in own])), float(predicted))


def _sentence(holds: bool, found: Sequence[Drifted], far: Sequence[Drifted], middle: float, allowed: float) -> str:
    if not found:
        return "No cell could be used, so nothing can be said."
    times = f"{middle:+.0%} in the median over {len(found)} times"
    if holds:
        beside = f"; beyond {allowed:.0%} lie {', '.join(one.experiment for one in far)}" if far else ""
        return f"The overlay still holds: measured times differ by {times}{beside}."
    return f"The overlay no longer holds: measured times differ by {times}, {len(far)} of them by more than {allowed:.0%}. Calibrate again."
