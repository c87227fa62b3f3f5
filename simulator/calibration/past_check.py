"""The check of a fit to past runs: the held-out part of each run, simulated with the overlay, beside what was measured.

Inputs are a fit and the cells that it was made from. A run is played whole, for its last part finds the cache and the batch that the parts
before have left; only the held-out requests are compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite, nan
from statistics import median

from simulator.calibration.cell import RequestRow
from simulator.calibration.live_check import Check, Level, measured_of, predicted_of, slo_held, verdict
from simulator.calibration.live_fit import Fit, play_cells
from simulator.calibration.live_overlay import Playing
from simulator.calibration.live_play import CellPlay
from simulator.calibration.live_traits import by_cell
from simulator.calibration.past_cells import PastCells


def check_held(fit: Fit, at: Playing, past: PastCells) -> Check:
    """Levels by requests in flight; runs of as many are one level, in the median."""
    rows = by_cell(past.requests)
    plays = play_cells(at, {cell.cell: past.made[cell.cell] for cell in past.held})
    levels = []
    for lanes in sorted({cell.lanes for cell in past.held}):
        group = [cell for cell in past.held if cell.lanes == lanes]
        measured = [measured_of(cell, rows[cell.cell]) for cell in group]
        predicted = [predicted_of(only(plays[cell.cell], rows[cell.cell]), at.request_s) for cell in group]
        levels.append(Level(lanes, len(group), _middle(measured), _middle(predicted)))
    held = tuple(slo_held(levels))
    return Check(tuple(levels), held, *verdict(fit, levels, held))


def only(play: CellPlay, rows: Sequence[RequestRow]) -> CellPlay:
    """A play of which only some requests are looked at."""
    return replace(play, requests={(row.session, row.turn): play.requests[row.session, row.turn] for row in rows})


def _middle(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each quantity over the runs that tell it."""
    told = {name: [one[name] for one in found if isfinite(one[name])] for name in found[0]}
    return {name: median(values) if values else nan for name, values in told.items()}
