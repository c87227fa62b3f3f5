"""How much slower or faster an endpoint was at each moment of a run, by cells that were asked again and again. Inputs are observations.

One law cannot meet times of two speeds: the fit divides each time by the pace of its moment. The pace is what repetitions of one experiment
have in common by their moment; it is believed as far as it predicts the repetitions of experiments that it was not fitted to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.calibration.cell import CellRow
from simulator.calibration.live_law import Observation
from simulator.calibration.nnls import Floats

KNOTS = 9
FEWEST = 3 * KNOTS
"""Repeated times without which nothing is said of the pace."""

BELIEVED = 0.6
"""A pace that predicts less than this share of what it says is chance."""

ROUNDS = 4
HUBER = 1.5


@dataclass(frozen=True)
class Pace:
    """Factor on all times, piecewise linear between moments of the run and 1 in its mean; constant before and after.

    Attributes
    ----------
    times_s, factors : float64 arrays, shape (moments,)
    """

    times_s: Floats
    factors: Floats

    def at(self, cell: CellRow) -> float:
        """The factor in the middle of a cell."""
        return float(np.interp(middle_s(cell), self.times_s, self.factors))

    @property
    def change(self) -> float:
        """The slowest moment over the fastest, less one."""
        return float(self.factors.max() / self.factors.min() - 1)


STEADY = Pace(np.zeros(1), np.ones(1))


def middle_s(cell: CellRow) -> float:
    """The middle of a cell, in seconds of the run."""
    return (cell.start_s + cell.end_s) / 2


def pace_of(seen: Sequence[Observation], cells: Mapping[str, CellRow]) -> Pace | None:
    """The pace of a run; steady where repetitions differ by no more than chance, None where there are too few of them."""
    groups: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for one in seen:
        groups.setdefault((one.experiment, one.quantity), []).append((middle_s(cells[one.cell]), float(np.log(one.seconds))))
    repeated = {key: group for key, group in groups.items() if len(group) > 1}
    if len({experiment for experiment, _ in repeated}) < 2 or sum(map(len, repeated.values())) < FEWEST:
        return None
    times, logs = np.array([one for group in repeated.values() for one in group]).T
    sizes = [len(one) for one in repeated.values()]
    group = np.repeat(np.arange(len(repeated)), sizes)
    experiments = np.repeat([experiment for experiment, _ in repeated], sizes)
    knots = np.quantile(times, np.linspace(0, 1, KNOTS))
    hats = np.array([np.interp(times, knots, unit) for unit in np.eye(KNOTS)]).T
    found, weight = common(hats, logs, group)
    log_pace = believed(hats, logs, group, experiments, weight) * found
    mean = np.trapezoid(log_pace, knots) / (knots[-1] - knots[0])
    return Pace(knots, np.exp(log_pace - mean))


def common(hats: Floats, logs: Floats, group: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """The pace's logarithm at the knots, by least squares with each group about a level of its own, and the roots of its Huber weights."""
    weight = np.ones(len(logs))
    for _ in range(ROUNDS):
        matrix = centred(hats, weight, group)
        goal = centred(logs[:, None], weight, group)[:, 0]
        found = np.linalg.lstsq(matrix * weight[:, None], goal * weight, rcond=None)[0]
        off = np.abs(goal - matrix @ found)
        scale = HUBER * max(float(np.median(off)), 1e-6)
        weight = np.sqrt(np.minimum(1.0, scale / np.maximum(off, 1e-12)))
    return np.asarray(found), weight


def centred(values: Floats, weight: Floats, group: NDArray[np.int64]) -> Floats:
    """Columns less the mean of each group, rows counting by the squares of their weights."""
    square = weight**2
    sums = np.zeros((group[-1] + 1, values.shape[1]))
    np.add.at(sums, group, values * square[:, None])
    return np.asarray(values - (sums / np.bincount(group, square)[:, None])[group])


def believed(hats: Floats, logs: Floats, group: NDArray[np.int64], experiments: NDArray[np.str_], weight: Floats) -> float:
    """The share of the pace that shows in an experiment when the pace is fitted to all others: 0 for chance, at most 1."""
    goal, matrix = centred(logs[:, None], weight, group)[:, 0], centred(hats, weight, group)
    said = np.zeros(len(logs))
    for name in np.unique(experiments):
        out = experiments == name
        rest = np.unique(group[~out], return_inverse=True)[1]
        said[out] = matrix[out] @ common(hats[~out], logs[~out], rest)[0]
    size = float(np.sum((weight * said) ** 2))
    share = min(1.0, float(np.sum(weight**2 * said * goal)) / size) if size > 1e-12 else 0.0
    return share if share >= BELIEVED else 0.0
