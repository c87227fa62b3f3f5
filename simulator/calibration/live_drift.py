"""Whether an overlay still holds: a few cells on the endpoint, predicted by the overlay, beside what they measure now.

Inputs are a loaded overlay and rows of the cells that `drift_cells` asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.calibration.cell import Cell, CellRow, Endpoint, RequestRow
from simulator.calibration.live_cells import cell_of, make_cell
from simulator.calibration.live_fit import noise, observe_cells, play_cells, step_seconds
from simulator.calibration.live_law import Observation
from simulator.calibration.live_overlay import TOLD, Playing
from simulator.calibration.live_rows import Excluded
from simulator.calibration.live_traits import by_cell
from simulator.hardware.deployment import Deployment

TOLERANCE = 0.15
"""Median change of prefill or of decode times up to which an overlay holds, unless the endpoint's own noise is larger."""

REPETITIONS = 3
USUAL_CONTEXT, LONGEST_PROMPT, LARGEST_BATCH = 8192, 4096, 16

PREFILL, DECODE = "prefill", "decode"


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

    @property
    def part(self) -> str:
        """The part of a request that it times: ``prefill`` or ``decode``."""
        return DECODE if self.quantity == "decode" else PREFILL


@dataclass(frozen=True)
class Drift:
    """A short check against an overlay.

    Attributes
    ----------
    holds : bool or None
        None when no cell could be used.
    allowed : float
        The change up to which a part holds, relative.
    changes : dict of str to float
        Median change of each part of a request, signed and relative.
    experiments : tuple of Drifted
    noise : float
        Of repetitions, relative; nan without any.
    excluded : tuple of Excluded
    sentence : str
        The verdict in words.
    """

    holds: bool | None
    allowed: float
    changes: dict[str, float]
    experiments: tuple[Drifted, ...]
    noise: float
    excluded: tuple[Excluded, ...]
    sentence: str


def drift_cells(endpoint: Endpoint, at: Playing) -> list[Cell]:
    """The short check: a floor, two prompts, one batch and several, three times each, all within what the overlay was fitted to."""
    context = min(endpoint.max_context_tokens or USUAL_CONTEXT, at.law.valid_context_tokens or USUAL_CONTEXT)
    longest = max(16, min(LONGEST_PROMPT, context - context // 8))
    batch = max(1, min(LARGEST_BATCH, at.pool.sched.max_seqs, at.law.valid_seqs or LARGEST_BATCH))
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


def expected_s(at: Playing, cells: Sequence[Cell]) -> float:
    """Seconds that cells take by the overlay."""
    plays = play_cells(at, {cell.id: cell for cell in cells})
    return sum(max(one.last_s for one in play.requests.values()) for play in plays.values())


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
    parts = {part: [one for one in found if one.part == part] for part in (PREFILL, DECODE)}
    changes = {part: float(np.median([one.error for one in own])) for part, own in parts.items() if own}
    holds = all(abs(change) <= allowed for change in changes.values()) if found else None
    far = [one for one in found if abs(one.error) > allowed]
    return Drift(holds, allowed, changes, found, spread, tuple(excluded), _sentence(holds, changes, far, allowed))


def _drifted(experiment: str, quantity: str, own: Sequence[Observation], at: Playing) -> Drifted:
    predicted = own[0].weights @ step_seconds(at.law, own[0].steps) + own[0].requests * at.request_s
    return Drifted(experiment, quantity, len(own), float(np.median([one.seconds for one in own])), float(predicted))


def _sentence(holds: bool | None, changes: dict[str, float], far: Sequence[Drifted], allowed: float) -> str:
    if holds is None:
        return "No cell could be used, so nothing can be said of the overlay."
    times = " and ".join(f"{part} by {round(change, 3) + 0.0:+.1%}" for part, change in changes.items())
    if holds:
        beside = f"; single experiments beyond it: {', '.join(dict.fromkeys(one.experiment for one in far))}" if far else ""
        return f"The overlay holds: times differ in {times}, within the {allowed:.0%} allowed{beside}."
    changed = " and ".join(
        f"{part} takes {abs(change):.0%} {'longer' if change > 0 else 'less'}" for part, change in changes.items() if abs(change) > allowed
    )
    still = [part for part, change in changes.items() if abs(change) <= allowed]
    rest = f", {still[0]} is as it was" if still else ""
    return f"The overlay does not hold: {changed} than it says{rest} (allowed: {allowed:.0%}). Calibrate again."


TOLD_FIELDS = ("max_context_tokens", "max_seqs", "block_tokens", "token_budget")


def settings_changed(endpoint: Endpoint, overlay: Deployment) -> tuple[str, ...]:
    """What the endpoint tells of itself now and told otherwise when the overlay was made, in words."""
    fields = {name: overlay.fields[name] for name in TOLD_FIELDS if name in overlay.fields and TOLD in overlay.fields[name].source}
    now = {name: getattr(endpoint, name) for name in fields}
    changed = [name for name, value in now.items() if value not in (None, fields[name].value)]
    return tuple(f"{name} was {fields[name].value} and is {now[name]}" for name in changed)
