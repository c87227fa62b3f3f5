"""Mixed workers on paper: decode steps with prefill let in between. Inputs are a pool of a fleet and the terms of a workload."""

import math
from dataclasses import dataclass

from simulator.capacity.shape_estimate import Estimate, Load, largest
from simulator.capacity.shape_lockstep import Opening
from simulator.capacity.shape_step import batch_room, decode_step_ps, fixed_ps, gpus_of, step_watts
from simulator.capacity.shape_terms import ROUNDS, Terms, Wait
from simulator.engine.world import BATCH_PREFILL_FIRST, Fleet, Pool
from simulator.units import to_s


@dataclass(frozen=True)
class Beat:
    """Steps of mixed workers: time per decode step of a call, from one opening for prefill to the next, and of a step that is open."""

    step_s: float
    period_s: float
    open_s: float
    opening: Opening

    @property
    def waits(self) -> Wait:
        """A call waits for the next opening, evenly spread, and for as many as it takes."""
        mean, tail = (share * self.period_s + self.open_s for share in (0.5, 1.0))
        return Wait(mean + (self.opening.mean - 1) * self.period_s, tail + (self.opening.tail - 1) * self.period_s)


def estimate_mixed(terms: Terms, fleet: Fleet, pool: Pool) -> Estimate:
    """The largest load of mixed workers."""
    memory = batch_room(fleet, pool, terms.demand)
    most, by = (float(pool.sched.max_seqs), "seats") if pool.sched.max_seqs <= memory else (memory, "kv_memory")
    return largest(gpus_of(pool), lambda batch: mixed_load(terms, fleet, pool, batch), most, "mixed", by)


def mixed_load(terms: Terms, fleet: Fleet, pool: Pool, batch: float) -> Load:
    """The load under which each rank decodes ``batch`` calls."""
    demand, ranks, kept = terms.demand, pool.workers * pool.ranks, 1.0
    arrivals = batch / terms.steps  # calls that a rank begins, and ends, per decode step
    free = pool.sched.token_budget - batch * (1 + pool.sched.drafts)
    for _ in range(ROUNDS):
        if arrivals * demand.new_tokens(kept) >= free:
            return Load(kept=kept, broken=("mixed", "token_budget"))
        beat = _beat(terms, pool, batch, arrivals, kept)
        if math.isinf(beat.step_s):
            return Load(kept=kept, broken=("mixed", "token_budget"))
        calls_s = ranks * arrivals / beat.step_s
        cycle_s = terms.tool_s + beat.waits.mean_s + terms.steps * beat.step_s
        load = Load(calls_s * cycle_s / demand.parallel, calls_s, cycle_s, step_s=beat.step_s)
        before, kept = kept, terms.kept(fleet, pool, load, ranks * batch * demand.context_tokens)
        if abs(kept - before) < 1e-3:
            break
    watts = step_watts(pool, demand, batch, arrivals, kept, beat.step_s) * gpus_of(pool)
    load = Load(load.agents, calls_s, cycle_s, 0.0, 0.0, beat.step_s, batch, beat.period_s, kept, watts)
    return terms.judged("mixed", "mixed", load, beat.waits)


def _beat(terms: Terms, pool: Pool, batch: float, arrivals: float, kept: float) -> Beat:
    """Steps when decodes and chunks share them, prefill being let in on every ``prefill_interval``-th."""
    decode_ps = decode_step_ps(pool, terms.demand, batch, arrivals * terms.demand.new_tokens(kept))
    if pool.sched.batch_mode == BATCH_PREFILL_FIRST:
        return _prefill_first(terms, pool, arrivals, kept, decode_ps)
    every, work = pool.sched.prefill_interval, terms.work(pool)
    chunk_ps = terms.chunk_ps(pool, pool.sched.token_budget)
    rule = work.queued if every == 1 else work.flushed
    opening = rule(pool.ranks, every * arrivals, kept, chunk_ps)
    open_ps = decode_ps + opening.slowest_ps
    period_ps = (every - 1) * decode_ps + open_ps
    return _in_seconds(period_ps / every, period_ps, open_ps, opening)


def _prefill_first(terms: Terms, pool: Pool, arrivals: float, kept: float, decode_ps: float) -> Beat:
    """The same where a rank that can prefill holds its decodes back: in such a step each rank does the one or the other."""
    every, held = 1 + pool.sched.decode_interval, 0.0
    for _ in range(ROUNDS):
        calls = arrivals * (every - held)
        held = 1 - math.exp(-calls)
    some = 1 - math.exp(-calls * pool.ranks)
    opening = terms.work(pool).queued(pool.ranks, calls, kept, terms.chunk_ps(pool, pool.sched.token_budget))
    prefill_ps = fixed_ps(pool, arrivals * terms.demand.new_tokens(kept)) + opening.slowest_ps / some
    open_ps = (1 - some) * decode_ps + some * max(decode_ps, prefill_ps)
    period_ps = (every - 1) * decode_ps + open_ps
    return _in_seconds(period_ps / (every - held), period_ps, open_ps, opening)


def _in_seconds(step_ps: float, period_ps: float, open_ps: float, opening: Opening) -> Beat:
    return Beat(to_s(step_ps), to_s(period_ps), to_s(open_ps), opening)
