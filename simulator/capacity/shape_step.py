"""One step of a worker at a mean load: its time by the step-time law, its watts by the power law, the batch that its memory holds.

Inputs are pools as the engine reads them, so the integers are those of the simulation; loads are means, hence fractions.
"""

import math

from simulator.capacity.shape_demand import Demand
from simulator.engine.world import RESERVE_FULL, RESERVE_RATIO, Fleet, Pool
from simulator.hardware.step_law import FRACTION_BITS
from simulator.units import PS_PER_NS, PS_PER_S

ONE = 1 << FRACTION_BITS


def fixed_ps(pool: Pool, tokens: float) -> float:
    """Floor of a step and streaming of weights, when every rank has so many query tokens."""
    table = pool.law.shared_ps
    return pool.law.floor_ps + int(table[min(math.ceil(pool.ranks * tokens), len(table) - 1)])


def decode_step_ps(pool: Pool, demand: Demand, batch: float, prefill_tokens: float = 0.0) -> float:
    """Time of a step in which each rank decodes ``batch`` calls; prefill tokens count for the streaming of weights only."""
    law, queries = pool.law, batch * (1 + pool.sched.drafts)
    reads = law.seq_ps * batch + law.ctx_fp * batch * demand.context_tokens / ONE
    return fixed_ps(pool, queries + prefill_tokens) + reads + law.decode_token_ps * queries


def batch_room(fleet: Fleet, pool: Pool, demand: Demand) -> float:
    """Calls that the KV memory of a rank holds at once, each with what admission reserves for its answer."""
    reserved = {RESERVE_FULL: pool.sched.max_new_tokens, RESERVE_RATIO: pool.sched.ratio_clip * pool.sched.ratio_min_milli / 1000}
    ahead = reserved.get(pool.sched.admit_reserve, 0.0)
    tokens = demand.context_tokens if not ahead else demand.isl + ahead
    return pool.blocks_per_rank / (tokens / fleet.block_tokens + pool.fixed_blocks)


def step_watts(pool: Pool, demand: Demand, batch: float, calls: float, kept: float, step_s: float) -> float:
    """Watts of a GPU over a step in which its rank decodes ``batch`` calls and computes the prompts of ``calls`` calls."""
    power = pool.power
    queries = batch * (1 + pool.sched.drafts) + calls * demand.new_tokens(kept)
    pairs = calls * demand.pairs(kept)
    table = power.shared_hbm_ps
    hbm_ps = float(table[min(math.ceil(pool.ranks * queries), len(table) - 1)])
    hbm_ps += power.seq_hbm_ps * batch + power.ctx_hbm_fp * batch * demand.context_tokens / ONE
    flop_ps = power.token_flop_ps * queries + power.pair_flop_fp * pairs / (2 * ONE)
    step_ps = step_s * PS_PER_S
    spent = (power.hbm_mw * hbm_ps + power.flop_mw * flop_ps) / PS_PER_NS
    load_mw = spent / (step_ps / PS_PER_NS)
    return min(power.floor_mw + load_mw, power.light_mw + load_mw * power.rise_fp / ONE, power.cap_mw) / 1000


def gpus_of(pool: Pool) -> int:
    """Accelerators of all workers of a pool."""
    return pool.workers * pool.ranks * pool.power.gpus_per_rank


def port_s(pool: Pool, tokens: float) -> float:
    """Time that the KV of so many tokens takes through a port of a pool."""
    return (pool.port_fixed_ps + pool.port_token_fp * tokens / ONE) / PS_PER_S
