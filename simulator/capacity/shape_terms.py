"""What all estimates of one workload and SLO share: demand, prefill work, cache, and the judgement of a load's calls.

Inputs are the demand of a workload, an SLO and pools as the engine reads them; docs/shape.md states every formula.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from simulator.capacity.shape_cache import Returns, returns_of
from simulator.capacity.shape_demand import Demand
from simulator.capacity.shape_estimate import Load
from simulator.capacity.shape_lockstep import PrefillWork
from simulator.capacity.slo import E2E_SPEED, SLO, SPEED, TTFT, Clause
from simulator.engine.world import CACHE_NONE, CACHE_SLOTS, ROLE_PREFILL, Fleet, Pool

USUAL_PERCENTILE = 95.0
"""At which a TTFT is told when the SLO does not judge it."""
ROUNDS = 12
"""Passes in which load, latency and cache hits are made to agree."""


@dataclass(frozen=True)
class Wait:
    """What a call waits for besides its decode steps.

    Attributes
    ----------
    mean_s, tail_s : float
        From send to the end of its prefill: mean, and at the percentile of the SLO.
    late_s, moved_s : float
        After its prefill until a first token that the decode side samples, and until its first decode step begins there.
    """

    mean_s: float = 0.0
    tail_s: float = 0.0
    late_s: float = 0.0
    moved_s: float = 0.0


class Terms:
    """The terms of one workload and SLO; keeps the tables that shapes share.

    Parameters
    ----------
    demand : Demand
    slo : SLO
    """

    def __init__(self, demand: Demand, slo: SLO) -> None:
        self.demand, self.slo = demand, slo
        self.percentile = next((clause.percentile for clause in slo.clauses if clause.quantity == TTFT), USUAL_PERCENTILE)
        self.accepted = {clause: demand.accepted(clause.percentile) for clause in slo.clauses if clause.quantity == SPEED}
        self.steps = max(demand.steps, 1e-6)
        self.tool_s = float(demand.tool_s.mean())
        self.works: dict[tuple[int, int], PrefillWork] = {}
        self.returns: dict[bool, Returns] = {}

    def work(self, pool: Pool) -> PrefillWork:
        """Prefill work of the calls on a rank of a pool."""
        key = pool.law.prefill_token_ps, pool.law.pair_fp
        if key not in self.works:
            hit, miss = (self.demand.prefill_ps(pool.law, found) for found in (True, False))
            self.works[key] = PrefillWork(hit, miss, self.percentile)
        return self.works[key]

    def chunk_ps(self, pool: Pool, tokens: float) -> float:
        """Prefill time of so many tokens at their mean cost."""
        return tokens * self.work(pool).mean_ps(1.0) / self.demand.new_tokens()

    def kept(self, fleet: Fleet, pool: Pool, load: Load, held_tokens: float, away_s: float = 0.0) -> float:
        """Share of the possible reuse that the prefix cache of a pool delivers.

        Parameters
        ----------
        load : Load
            Agents, calls/s and time per decode step.
        held_tokens : float
            Tokens of calls that the pool works on.
        away_s : float
            Time that calls spend between this pool and the first decode step of another one.
        """
        sched, ranks = pool.sched, pool.workers * pool.ranks
        if sched.prefix_cache == CACHE_NONE:
            return 0.0
        if sched.prefix_cache == CACHE_SLOTS:
            return min(1.0, ranks * sched.max_seqs / max(load.agents, 1e-9))
        elsewhere = pool.role == ROLE_PREFILL
        if elsewhere not in self.returns:
            self.returns[elsewhere] = returns_of(self.demand, elsewhere)
        room = ranks * (pool.blocks_per_rank + pool.host_blocks) * fleet.block_tokens - held_tokens
        step_s, stale = (load.step_s, 0.0) if elsewhere else (0.0, self.demand.osl)
        return self.returns[elsewhere].kept(load.calls_s, room, step_s, away_s, stale)

    def judged(self, before: str, after: str, load: Load, wait: Wait) -> Load:
        """The load with what its calls get, and the clause with the least margin if that is below 1.

        Parameters
        ----------
        before, after : str
            Pools to blame for TTFT and for speed.
        """
        values = {clause: self.value(clause, wait, load.step_s) for clause in self.slo.clauses}
        worst = min(values, key=lambda clause: clause.margin(values[clause]))
        speed = next((value for clause, value in values.items() if clause.quantity != TTFT), math.nan)
        pool = before if worst.quantity == TTFT else after
        broken = (pool, worst.quantity) if worst.margin(values[worst]) < 1 else ("", "")
        return replace(load, ttft_s=wait.tail_s + wait.late_s, speed_tok_s=speed, broken=broken)

    def value(self, clause: Clause, wait: Wait, step_s: float) -> float:
        """The percentile that a clause judges."""
        demand = self.demand
        if clause.quantity == TTFT:
            return wait.tail_s + wait.late_s
        if clause.quantity == E2E_SPEED:
            seconds = wait.mean_s + max(wait.late_s, wait.moved_s) + demand.decode_steps * step_s
            return float(np.percentile(demand.output_tokens / seconds, clause.percentile))
        after_s = 0.0 if wait.late_s else wait.moved_s
        if not after_s:
            return self.accepted[clause] / step_s
        tokens, steps = demand.gained
        return float(np.percentile(tokens / (after_s + steps * step_s), clause.percentile)) if steps.size else math.inf
