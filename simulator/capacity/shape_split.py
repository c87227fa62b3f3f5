"""Prefill and decode workers on paper: their rates, the link between them, and the load that suits both. Inputs are pools as the engine
reads them and the terms of a workload."""

import math

from simulator.capacity.shape_estimate import Estimate, Load, bisect, estimated, largest
from simulator.capacity.shape_lockstep import FULL, Opening
from simulator.capacity.shape_step import batch_room, decode_step_ps, fixed_ps, gpus_of, port_s, step_watts
from simulator.capacity.shape_terms import ROUNDS, Terms, Wait
from simulator.capacity.slo import TTFT
from simulator.engine.world import FIRST_BY_DECODE, Fleet, Pool
from simulator.units import to_s

JOIN = 0.5
"""Steps, on average, that a call whose KV has arrived waits for the step under way to end."""


def estimate_split(terms: Terms, fleet: Fleet, prefill: Pool, decode: Pool) -> Estimate:
    """The largest load of a prefill and a decode pool: rates are matched, then the load is lowered until the SLO holds."""
    gpus = gpus_of(prefill) + gpus_of(decode)
    most, pool, by = min(_limits(terms, fleet, prefill, decode))
    found = largest(gpus, lambda calls_s: split_load(terms, fleet, prefill, decode, calls_s), most, pool, by)
    if found.by not in ("seats", "kv_memory") or fleet.prealloc or fleet.first_token == FIRST_BY_DECODE:
        return found
    # Calls that wait for a decode slot have had their first token: agents beyond the slots cost output speed until that breaks.
    slot_s = bisect(lambda wait: not split_load(terms, fleet, prefill, decode, most, wait).broken[1], found.load.cycle_s)
    return estimated(gpus, split_load(terms, fleet, prefill, decode, most, slot_s), pool, by)


def _limits(terms: Terms, fleet: Fleet, prefill: Pool, decode: Pool) -> list[tuple[float, str, str]]:
    """Calls/s that each part can pass, whatever the SLO."""
    room, by = decode_room(terms, fleet, decode)
    limits = [(prefill_rate(terms, prefill), "prefill", "rate"), (decode_rate(terms, decode, room), "decode", by)]
    for pool in (prefill, decode):
        seconds, ports = port_s(pool, terms.demand.isl), pool.workers * (1 if pool.shared_port else pool.ranks)
        limits.append((ports / seconds if seconds else math.inf, "link", "rate"))
    return limits


def prefill_rate(terms: Terms, pool: Pool, kept: float = 1.0) -> float:
    """Calls/s of a prefill pool whose ranks all do full chunks: none waits for another, and nearly so long is the queue."""
    calls = pool.sched.token_budget / terms.demand.new_tokens(kept) * FULL[-1]
    full_s = to_s(fixed_ps(pool, float(pool.sched.token_budget)) + calls * terms.work(pool).mean_ps(kept))
    return pool.workers * pool.ranks * calls / full_s


def decode_rate(terms: Terms, pool: Pool, batch: float) -> float:
    """Calls/s that a decode pool ends when each rank decodes ``batch`` of them."""
    return pool.workers * pool.ranks * batch / (terms.steps * to_s(decode_step_ps(pool, terms.demand, batch)))


def decode_room(terms: Terms, fleet: Fleet, pool: Pool) -> tuple[float, str]:
    """Largest batch of a decode rank by its seats or its KV memory, and by which."""
    memory = batch_room(fleet, pool, terms.demand)
    return (float(pool.sched.max_seqs), "seats") if pool.sched.max_seqs <= memory else (memory, "kv_memory")


def largest_batch(terms: Terms, fleet: Fleet, pool: Pool) -> float:
    """Largest batch of a decode rank by the speed that the SLO asks for and by its KV memory, whatever its seats."""
    floors = [clause for clause in terms.slo.clauses if clause.quantity != TTFT]

    def fast(batch: float) -> bool:
        step_s = to_s(decode_step_ps(pool, terms.demand, batch))
        return all(clause.margin(terms.value(clause, Wait(moved_s=JOIN * step_s), step_s)) >= 1 for clause in floors)

    return bisect(fast, batch_room(fleet, pool, terms.demand))


def split_load(terms: Terms, fleet: Fleet, prefill: Pool, decode: Pool, calls_s: float, slot_s: float = 0.0) -> Load:
    """The load of ``calls_s`` calls/s through a prefill pool, a link and a decode pool, for whose slots they wait ``slot_s``."""
    demand, work, kept = terms.demand, terms.work(prefill), 1.0
    batch = _batch_at(terms, decode, calls_s)
    step_s = to_s(decode_step_ps(decode, demand, batch))
    moved_s = max(port_s(pool, demand.isl) for pool in (prefill, decode)) + to_s(fleet.link_latency_ps) + slot_s
    moved_s += JOIN * step_s
    late_s = moved_s + step_s if fleet.first_token == FIRST_BY_DECODE else 0.0
    for _ in range(ROUNDS):
        arrivals, opening = _opening_at(terms, prefill, calls_s, kept)
        if math.isinf(arrivals):
            return Load(kept=kept, broken=("prefill", TTFT))  # its queue grows without end
        open_s = to_s(max(_open_ps(terms, prefill, arrivals, kept, opening), fixed_ps(prefill, 0.0) + work.mean_ps(kept)))
        mean_s = (0.5 + opening.mean) * open_s
        cycle_s = terms.tool_s + mean_s + moved_s + terms.steps * step_s
        load = Load(calls_s * cycle_s / demand.parallel, calls_s, cycle_s, step_s=step_s)
        before, kept = kept, min(kept, terms.kept(fleet, prefill, load, calls_s * mean_s * demand.isl, moved_s))
        if before - kept < 1e-3:
            break
    watts = step_watts(decode, demand, batch, 0.0, 1.0, step_s) * gpus_of(decode)
    busy = 1 - math.exp(-arrivals * prefill.ranks)  # some call came during the step before
    busy_w, idle_w = step_watts(prefill, demand, 0.0, arrivals, kept, open_s), prefill.power.idle_mw / 1000
    watts += (busy * busy_w + (1 - busy) * idle_w) * gpus_of(prefill)
    load = Load(load.agents, calls_s, cycle_s, 0.0, 0.0, step_s, batch, open_s, kept, watts)
    wait = Wait(mean_s, (terms.percentile / 100 + opening.tail) * open_s, late_s, moved_s)
    return terms.judged("prefill", "decode", load, wait)


def _batch_at(terms: Terms, pool: Pool, calls_s: float) -> float:
    """Batch of a decode rank at a rate; the rate grows with it."""
    high = 1.0
    while decode_rate(terms, pool, high) < calls_s and high < 1e6:
        high *= 2
    return bisect(lambda batch: decode_rate(terms, pool, batch) <= calls_s, high)


def _opening_at(terms: Terms, pool: Pool, calls_s: float, kept: float) -> tuple[float, Opening]:
    """Calls that come to a prefill rank from one step to the next, and what the step takes; infinite when the pool cannot keep up."""
    rate, work, chunk_ps = calls_s / (pool.workers * pool.ranks), terms.work(pool), terms.chunk_ps(pool, pool.sched.token_budget)

    def too_few(calls: float) -> bool:
        opening = work.queued(pool.ranks, calls, kept, chunk_ps)
        return calls < rate * to_s(_open_ps(terms, pool, calls, kept, opening))

    most = FULL[-1] * chunk_ps / work.mean_ps(kept)
    calls = bisect(too_few, most)
    return (math.inf if calls == most else calls), work.queued(pool.ranks, calls, kept, chunk_ps)


def _open_ps(terms: Terms, pool: Pool, calls: float, kept: float, opening: Opening) -> float:
    """Time of a prefill step in which ``calls`` calls come to each rank."""
    return fixed_ps(pool, min(calls * terms.demand.new_tokens(kept), pool.sched.token_budget)) + opening.slowest_ps
