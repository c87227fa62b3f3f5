"""The search for the held agent count: double until the SLO breaks, then close in. Inputs come from a probe that judges one agent count."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import numpy as np

CLIFF = 20.0
"""Where margins fall by more than this power of the agents there is a cliff between two counts, and no smooth curve."""
BEYOND_MIDDLE = 0.6
"""Where to look for a cliff, as a share of the way from held to broken: a phase that breaks is stopped and costs about half of one that
holds, so the dearer outcome shall leave less to search."""

TRUSTED = 0.1
"""Share of a count within which its margin alone tells where the edge is."""

Probe = Callable[[int], float]
"""Margin of the SLO at an agent count: 1 or more when it holds; how far below 1 tells how badly it broke, 0 that nothing is known."""
Curve = Mapping[int, float]
"""Margins by agent count, such as scouts found: the shape of another curve."""
NO_CURVE: Curve = MappingProxyType({})


@dataclass(frozen=True)
class Resolution:
    """How finely a search ends, and where it gives up.

    Attributes
    ----------
    exact_below : int
        Below this count the answer is the exact integer.
    share : float
        From there on, the held and the broken count differ by at most this share.
    ceiling : int
        Largest count that is tried.
    """

    exact_below: int = 64
    share: float = 0.01
    ceiling: int = 65_536

    def step(self, agents: int) -> int:
        """Width of a bracket that needs no further bisection."""
        return 1 if agents < self.exact_below else max(1, int(agents * self.share))


@dataclass(frozen=True)
class Bracket:
    """Where the SLO breaks: the largest count found to hold below the smallest found broken.

    ``held`` is 0 when not even one agent holds; ``broken`` is 0 when the ceiling holds.
    """

    held: int
    broken: int


def search(probe: Probe, resolution: Resolution, first: int = 2) -> Bracket:
    """The benchmark's protocol: double from ``first`` agents until the SLO breaks, then close in on the edge.

    When ``first`` does not hold, smaller counts are tried down to one. ``probe`` is called once for each count.
    """
    margins = _Margins(probe)
    held, broken = 0, min(first, resolution.ceiling)
    while margins[broken] >= 1:
        held = broken
        if held == resolution.ceiling:
            return Bracket(held, 0)
        broken = min(2 * held, resolution.ceiling)
    return _close_in(margins, held, broken, resolution)


def search_near(probe: Probe, guess: int, resolution: Resolution, like: Curve = NO_CURVE, wary: bool = False) -> Bracket:
    """The same answer from a good guess: leap to where the SLO should break until held and broken enclose the edge, then close in.

    Where it should break is told by the margin of the last count, on a curve ``like`` the one asked about. Who is ``wary`` takes a margin
    that puts the edge beyond `TRUSTED` for that of a cliff, which tells nothing, and goes on by one step, each time twice as far. On a
    curve that is not monotone it may find another edge than `search`, the one nearest to the guess.
    """
    margins = _Margins(probe)
    at = min(max(1, guess), resolution.ceiling)
    least = resolution.step(at)
    holds = margins[at] >= 1
    end, way = (resolution.ceiling, 1) if holds else (1, -1)
    while at != end:
        distance = _distance(at, margins[at], like)
        if math.isinf(distance):
            distance = 0 if wary else TRUSTED * at
        ahead = at + way * min(max(least, round(distance + resolution.step(at) / 2)), abs(end - at))
        if (margins[ahead] >= 1) != holds:
            return _close_in(margins, min(at, ahead), max(at, ahead), resolution)
        at, least = ahead, 2 * least
    return Bracket(at, 0) if holds else Bracket(0, at)


def search_around(probe: Probe, near: Bracket, resolution: Resolution) -> Bracket:
    """The same answer from where another search found it: two probes when the edge is still there, else leaps away from it, small ones
    beyond a cliff, for what moved it is chance."""
    margins = _Margins(probe)
    if not 0 < near.held < near.broken:
        return search_near(margins.__getitem__, max(near.held, near.broken), resolution)
    if margins[near.held] >= 1 > margins[near.broken]:
        return _close_in(margins, near.held, near.broken, resolution)
    return search_near(margins.__getitem__, near.broken if margins[near.held] >= 1 else near.held, resolution, wary=True)


def _distance(at: int, margin: float, like: Curve) -> float:
    """How far from a count with so much margin the margin should be 1; infinite where that cannot be trusted.

    On the straight line (of logarithms) to the next point at which a curve, raised or lowered to that margin, lies on the other side of 1:
    a slope over a narrow gap is mostly noise. Where there is none, output speed falls about as the 0.6th power of the agents.
    """
    forth, above = margin >= 1, math.log(margin) if 0 < margin < math.inf else math.copysign(1.0, margin - 1)
    known = sorted((n, math.log(m)) for n, m in like.items() if 0 < m < math.inf)
    if known and known[0][0] <= at <= known[-1][0]:
        counts, heights = zip(*known, strict=True)
        shift = above - float(np.interp(math.log(at), np.log(counts), heights))
        for n, height in known if forth else known[::-1]:
            if (n > at if forth else n < at) and (height + shift >= 0) != forth:
                return abs(at * float((n / at) ** (above / (above - height - shift))) - at)
    share = abs(math.exp(min(max(above / 0.6, -1.0), 1.0)) - 1)
    return at * share if share <= TRUSTED else math.inf


class _Margins(dict[int, float]):
    """Margins by agent count, each probed when first asked for."""

    def __init__(self, probe: Probe) -> None:
        super().__init__()
        self.probe = probe

    def __missing__(self, agents: int) -> float:
        self[agents] = self.probe(agents)
        return self[agents]


def _close_in(margins: _Margins, held: int, broken: int, resolution: Resolution) -> Bracket:
    """Bisect, but at the count where the margin crosses 1 on the straight line (of logarithms) between both ends.

    Margins are smooth where their verdicts are not, so few phases are needed. Where they fall off a cliff the line tells nothing: every
    other probe goes `BEYOND_MIDDLE`. When two probes in a row fail to halve the bracket, the middle is taken, so that the worst case is
    three times the phases of bisection. Within two steps one probe ends it, whatever it says.
    """
    slow, leapt = 0, False
    while broken - held > (step := resolution.step(held)):
        width = broken - held
        leapt = not leapt and slow < 2 and _is_cliff(margins, held, broken)
        if width <= 2 * step:
            probe = held + step
        elif leapt:
            probe = held + max(step, int(BEYOND_MIDDLE * width))
        else:
            probe = (held + broken) // 2 if slow > 1 else _crossing(margins, held, broken, step)
        if margins[probe] >= 1:
            held = probe
        else:
            broken = probe
        slow = 0 if 2 * (broken - held) <= width or slow > 1 else slow + 1
    return Bracket(held, broken)


def _is_cliff(margins: _Margins, held: int, broken: int) -> bool:
    """Whether the margins of both ends are known and lie further apart than on a smooth curve."""
    if held == 0 or margins[broken] <= 0 or math.isinf(margins[held]):
        return False
    return math.log(margins[held] / margins[broken]) > CLIFF * math.log(broken / held)


def _crossing(margins: _Margins, held: int, broken: int, step: int) -> int:
    """Where to probe next: at the expected crossing, or one step beyond the end that already lies within a step of it."""
    if held == 0 or margins[broken] <= 0 or math.isinf(margins[held]):
        return (held + broken) // 2
    above, below = math.log(margins[held]), -math.log(margins[broken])
    crossing = float(held * (broken / held) ** (above / (above + below)))
    if crossing - held < step:
        return held + step
    if broken - crossing < step:
        return broken - step
    return min(max(round(crossing), held + 1), broken - 1)


def is_monotone(points: Sequence[tuple[int, bool]]) -> bool:
    """Whether no count of ``(agents, held)`` held above one that broke."""
    held = [agents for agents, ok in points if ok]
    broken = [agents for agents, ok in points if not ok]
    return not held or not broken or max(held) < min(broken)


def knee(points: Sequence[tuple[int, float]], spacing: float = 1.25) -> tuple[int, bool]:
    """Agent count at which an added agent brings half of what the first ones bring.

    Parameters
    ----------
    points : sequence of (agents, output tokens/s)
        Of one seed, in any order.
    spacing : float
        Points closer than this ratio to the one before are left out: a slope over a narrow gap is mostly noise.

    Returns
    -------
    agents : int
        Linear between the middles of neighbouring gaps; the largest count when the slope never halves.
    reached : bool
        False when the slope never fell below half.
    """
    spaced: list[tuple[int, float]] = []
    for agents, rate in sorted(points):
        if not spaced or agents >= spacing * spaced[-1][0]:
            spaced.append((agents, rate))
    if not spaced or spaced[0][1] <= 0:
        return (spaced[-1][0] if spaced else 0), False
    per_agent = spaced[0][1] / spaced[0][0]
    middle, share = float(spaced[0][0]), 1.0
    for (n0, x0), (n1, x1) in pairwise(spaced):
        next_middle, next_share = (n0 + n1) / 2, (x1 - x0) / (n1 - n0) / per_agent
        if next_share < 0.5:
            return round(middle + (next_middle - middle) * (share - 0.5) / (share - next_share)), True
        middle, share = next_middle, next_share
    return spaced[-1][0], False
