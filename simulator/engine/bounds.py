"""Whether the integers of a world stay within 64 bits for as long as it may run. Inputs are a `World`.

The engines add and multiply int64 without looking. So before the first event everything that could grow large is bounded from above, in
Python's integers: the longest step, the latest time that is ever written down, and what is summed over the whole run.
"""

from collections.abc import Iterator

import numpy as np

from simulator.engine.world import ROLE_PREFILL, SERIES_BINS, Pool, World
from simulator.errors import Mistake, UserError
from simulator.units import PS_PER_S, to_s

MOST = int(np.iinfo(np.int64).max)


def refuse_beyond_64_bits(world: World, file: str = "world") -> None:
    """Raises `UserError` when some quantity of a world could outgrow 64 bits before its hard end ``Stop.max_ps``."""
    for what, bound in bounds(world):
        if bound > MOST:
            found = f"{to_s(world.stop.max_ps):,.0f} s, in which the {what} may reach 2^{bound.bit_length() - 1}"
            hint = "lower phase.max_s, the agents, or what makes one step or one tool so long"
            raise UserError(Mistake(file, "phase.max_s", found, "what 64 bits hold, below 2^63", hint))


def bounds(world: World) -> Iterator[tuple[str, int]]:
    """(quantity, the most that it can reach), pool by pool and for the whole run."""
    calls, fleet = world.calls, world.fleet
    lanes = len(fleet.start_ps) * world.threads.width
    longest = int((calls.prompt_tokens + calls.output_tokens).max(initial=1))
    latest_ps = delay_ps = max(int(times.max(initial=0)) for times in (calls.tool_ps, world.threads.delay_ps, fleet.start_ps))
    for number, pool in enumerate(fleet.pools):
        place = f" of pool {number}" if len(fleet.pools) > 1 else ""
        parts, step_ps = step_bounds(pool, lanes, longest)
        yield from ((f"{what}{place}", bound) for what, bound in parts)
        carried_ps = lanes * (port_ps(pool, longest) + host_ps(pool, longest)) + fleet.link_latency_ps
        latest_ps = max(latest_ps, delay_ps + step_ps + carried_ps)
        blocks = 2 * longest // fleet.block_tokens * (1 + pool.sched.drafts) + 2 + pool.fixed_blocks  # of one call, and some
        yield from ((f"{what}{place}", bound) for what, bound in sums(pool, world.stop.max_ps + step_ps, lanes, blocks))
        bin_ps = max(PS_PER_S, 2 * world.stop.max_ps // SERIES_BINS)
        yield f"waiting time{place} in one bin", lanes * (bin_ps + step_ps) // 1000
    yield "clock", world.stop.max_ps + latest_ps


def step_bounds(pool: Pool, lanes: int, longest: int) -> tuple[list[tuple[str, int]], int]:
    """(product in the step-time or power law, its most), and the longest step in ps, of ``lanes`` calls of ``longest`` tokens."""
    law, power, sched = pool.law, pool.power, pool.sched
    seqs, chunk = min(sched.max_seqs, lanes), min(sched.token_budget, lanes * longest)
    context, verified, pairs = seqs * longest, seqs * (1 + sched.drafts), chunk * 2 * longest
    slow_fp = int(power.slow_fp.max())
    compute_ps = law.decode_token_ps * verified + law.prefill_token_ps * chunk + (law.pair_fp * pairs >> 11)
    step_ps = law.floor_ps + int(law.shared_ps.max()) + law.seq_ps * seqs + (law.ctx_fp * context >> 10) + (compute_ps * slow_fp >> 10)
    hbm_ps = int(power.shared_hbm_ps.max()) + power.seq_hbm_ps * seqs + (power.ctx_hbm_fp * context >> 10)
    flop_ps = power.token_flop_ps * (verified + chunk) + (power.pair_flop_fp * pairs >> 11)
    load_pj = power.hbm_mw * (hbm_ps // 1000) + power.flop_mw * (flop_ps // 1000)
    widest_mw = max(power.floor_mw, power.light_mw, power.gpus_per_rank * power.cap_mw)
    parts = [
        ("time of a step", step_ps),
        ("read time of a step", max(law.ctx_fp, power.ctx_hbm_fp) * context),
        ("prefill time of a step", max(law.pair_fp, power.pair_flop_fp) * pairs),
        ("slowed time of a step", compute_ps * slow_fp),
        ("energy of a step", widest_mw * (step_ps // 1000) + load_pj + (load_pj >> 10) * power.rise_fp),
        ("reservation", seqs * (longest + sched.max_new_tokens + 20) * 10**6),
    ]
    return parts, step_ps


def sums(pool: Pool, run_ps: int, lanes: int, blocks: int) -> Iterator[tuple[str, int]]:
    """What is summed over a run of ``run_ps``, with ``lanes`` calls of at most so many blocks."""
    ranks = pool.workers * pool.ranks
    yield "energy", ranks * pool.power.gpus_per_rank * pool.power.cap_mw * (run_ps // 1000) // 10**6
    yield "time of all ranks", ranks * (run_ps // 1000)
    yield "time of all calls", (min(lanes, ranks * pool.sched.max_seqs) if pool.role != ROLE_PREFILL else 0) * (run_ps // 1000)
    yield "time of all blocks", min(lanes * blocks, ranks * pool.blocks_per_rank) * (run_ps // 10**6)


def port_ps(pool: Pool, tokens: int) -> int:
    """Time that a call's KV takes through a port."""
    return pool.port_fixed_ps + (pool.port_token_fp * tokens >> 10)


def host_ps(pool: Pool, tokens: int) -> int:
    """Time that a call's KV takes from the host tier."""
    return pool.host_fixed_ps + (pool.host_token_fp * tokens >> 10) if pool.host_blocks else 0
