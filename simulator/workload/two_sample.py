"""Whether two trajectory sets look alike: Kolmogorov-Smirnov distances, and how often chance alone gives larger ones. Inputs: two sets.

Calls of one trajectory go together, so the textbook p-value, which takes each call for an independent draw, would call any two sets
different. Here whole trajectories are dealt anew to two hands, many times, and the distance is set beside those of the hands (a
permutation test with clusters).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.workload.trajectory import Trajectory, TrajectorySet

DEALS = 200


@dataclass(frozen=True)
class TwoSample:
    """One quantity of two sets.

    Attributes
    ----------
    name : str
    distance : float
        Largest difference of the two cumulative distributions.
    usual : float
        The distance that 95 % of the dealt hands stay below: what chance alone gives.
    p_value : float
        Share of the deals with a distance at least as large.
    """

    name: str
    distance: float
    usual: float
    p_value: float


def isl(trajectory: Trajectory) -> list[float]:
    """Prompt tokens of each call."""
    return [call.prompt_tokens for call in trajectory.calls]


def osl(trajectory: Trajectory) -> list[float]:
    """Output tokens of each call."""
    return [call.output_tokens for call in trajectory.calls]


def turns(trajectory: Trajectory) -> list[float]:
    """Calls of the main thread."""
    return [len(trajectory.threads[0])]


def growth(trajectory: Trajectory) -> list[float]:
    """From each call to the next one of its thread: by how many tokens the prompt is longer; less than 0 where the context was cut."""
    calls = trajectory.calls
    return [calls[i].prompt_tokens - calls[i - 1].prompt_tokens for thread in trajectory.threads for i in thread[1:]]


def tool_s(trajectory: Trajectory) -> list[float]:
    """Seconds from each call to the next one of its thread."""
    return [trajectory.calls[index].tool_s for thread in trajectory.threads for index in thread[:-1]]


QUANTITIES: tuple[tuple[str, Callable[[Trajectory], list[float]]], ...] = (
    ("ISL", isl),
    ("OSL", osl),
    ("turns", turns),
    ("growth per call", growth),
    ("tool time", tool_s),
)


def compare_sets(one: TrajectorySet, other: TrajectorySet, deals: int = DEALS, seed: int = 0) -> tuple[TwoSample, ...]:
    """Distances of two sets, quantity by quantity.

    Parameters
    ----------
    deals : int
        Permutations of the trajectories.
    seed : int
        Of the permutations.
    """
    pooled = (*one.trajectories, *other.trajectories)
    hands = np.zeros(len(pooled), np.int64)
    hands[: len(one.trajectories)] = 1
    rng = np.random.default_rng([seed, 3])
    dealt = [hands, *(rng.permutation(hands) for _ in range(deals))]
    return tuple(_compared(name, [quantity(trajectory) for trajectory in pooled], dealt) for name, quantity in QUANTITIES)


def _compared(name: str, values: list[list[float]], dealt: list[NDArray[np.int64]]) -> TwoSample:
    flat = np.array([value for own in values for value in own], dtype=float)
    if not flat.size:
        return TwoSample(name, 0.0, 0.0, 1.0)
    owner = np.repeat(np.arange(len(values)), [len(own) for own in values])
    order = np.argsort(flat, kind="stable")
    last = np.append(np.flatnonzero(np.diff(flat[order])), flat.size - 1)  # the last of each run of equal values
    distances = [_distance(hand[owner[order]], last) for hand in dealt]
    chance = np.array(distances[1:] or [0.0])
    return TwoSample(name, distances[0], float(np.percentile(chance, 95)), float((1 + (chance >= distances[0]).sum()) / (1 + chance.size)))


def _distance(hand: NDArray[np.int64], last: NDArray[np.int64]) -> float:
    """Largest difference of the cumulative distributions of ones and zeros, looked at after each run of equal values."""
    ones = np.cumsum(hand)
    total, count = int(ones[-1]), hand.size
    if not 0 < total < count:
        return 1.0
    zeros = np.arange(1, count + 1) - ones
    return float(np.abs(ones[last] / total - zeros[last] / (count - total)).max())
