"""When the search stops a phase that has failed or passed: the rule, its looks, and what it counts. Inputs are the calls finished so far.

A phase lasts until the slowest agent has finished its plays, and one that fails takes many times longer over that than one that holds. No
bound on the calls still to come follows from those seen, so the rule is statistical; docs/capacity.md has its error rates.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from simulator.capacity.requests import Requests
from simulator.capacity.slo import SLO, TTFT, Clause, Verdict
from simulator.engine.world import Stop, World

FAILED_AT, PASSED_AT = 2.0, 0.8
"""A clause has failed when its calls miss so many times as often as it allows, and passed when they miss at most so many times as often. To
take a phase for failed is an error of the answer, for passed one that costs a phase."""
FURTHER = 1.25
"""Each look comes this many times later in the window than the one before."""
OPEN, FAILED, PASSED = "open", "failed", "passed"
"""What a look says of a phase."""


def looks_ps(stop: Stop) -> Iterator[int]:
    """When to look: at the end of the shortest window, then ever more rarely. Never where the clock alone ends the phase."""
    window_ps = stop.min_window_ps
    while window_ps > 0 and (stop.min_plays or stop.min_agent_plays) and stop.window_ps + window_ps < stop.max_ps:
        yield stop.window_ps + window_ps
        window_ps = int(window_ps * FURTHER)


class Outlook:
    """What has become of a phase, asked at one look after another.

    It is open until as many plays have ended as the phase asks of all agents together, so that only slow agents are waited for. Then it has
    failed when for one clause of the SLO the calls that miss its limit are at least `FAILED_AT` times as many as the clause allows: among
    all requests of the window, and among those since the look before, where they must be no rarer than among those before that. It has
    passed when for every clause they are at most `PASSED_AT` times as many, among both, and no more frequent since that look than before.
    """

    def __init__(self, world: World, slo: SLO) -> None:
        stop = world.stop
        self.slo, self.requests = slo, Requests(world)
        self.plays = max(stop.min_plays, stop.min_agent_plays * len(world.fleet.start_ps))
        self.counted = np.zeros((len(slo.clauses), 2), np.int64)

    def __call__(self, calls: NDArray[np.int64], plays: int) -> str:
        """Look at the calls that have ended since the look before, and the number of plays so far: `OPEN`, `FAILED` or `PASSED`."""
        parts = self.requests.read(calls)
        before, since = self.counted, np.array([[_missed(clause, samples) for clause in self.slo.clauses] for samples in parts]).sum(axis=0)
        self.counted = before + since
        if plays < self.plays:
            return OPEN
        if any(map(_failed, self.slo.clauses, before, since)):
            return FAILED
        return PASSED if all(map(_passed, self.slo.clauses, before, since)) else OPEN

    @property
    def verdict(self) -> Verdict:
        """What the SLO says of all requests so far."""
        return self.slo.evaluate({clause.quantity: self.requests[clause.quantity] for clause in self.slo.clauses})


def allowed_share(clause: Clause) -> float:
    """Share of the calls that may miss a clause's limit."""
    return (100 - clause.percentile if clause.quantity == TTFT else clause.percentile) / 100


def _missed(clause: Clause, samples: Mapping[str, NDArray[np.float64]]) -> tuple[int, int]:
    """Calls that miss a clause's limit, and all that have its quantity."""
    known = int((~np.isnan(samples[clause.quantity])).sum())
    return int((~clause.meets(samples[clause.quantity])).sum()), known


def _failed(clause: Clause, before: NDArray[np.int64], since: NDArray[np.int64]) -> bool:
    """The rule of a clause that has failed, on the calls that missed and the calls that counted."""
    most = min(1.0, FAILED_AT * allowed_share(clause))
    missed, calls = before + since
    return bool(missed >= most * calls and since[0] >= most * since[1] > 0 and since[0] * before[1] >= before[0] * since[1])


def _passed(clause: Clause, before: NDArray[np.int64], since: NDArray[np.int64]) -> bool:
    """The rule of a clause that has passed, on the same; misses that are few in all and no more frequent since the look are few since."""
    most = PASSED_AT * allowed_share(clause)
    missed, calls = before + since
    return bool(missed <= most * calls and since[1] > 0 and since[0] * before[1] <= before[0] * since[1])
