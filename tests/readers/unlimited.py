"""A world with unlimited HBM and one call at a time, in which every prompt reuses all that any earlier one left. Input: compiled calls."""

from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from simulator.engine import Fleet, Sched, Stop, World, simulate_kernel
from simulator.engine.world import CACHE_BLOCKS, CALL_COLUMNS, ROLE_MIXED, ROUTER_LEAST_LOADED, Pool
from simulator.hardware.power import PowerLaw
from simulator.hardware.step_law import StepLaw
from simulator.workload.compile import Compiled

APART_PS = 10**13
SCHED = Sched(1 << 22, 1, 0, 1, 1, 0, 1, CACHE_BLOCKS, 0, 1000, 0)
POWER = PowerLaw(400_000, 0, 0, 700_000, 75_000, 1, np.zeros(2, np.int64), 0, 0, 0, 0)
LAW = StepLaw(1, np.zeros(2, np.int64), 0, 0, 0, 0, 0)


def unlimited_world(compiled: Compiled, block_tokens: int, start_ps: NDArray[np.int64]) -> World:
    """A world in which trajectory ``i`` is played once, by agent ``i`` from its start on."""
    blocks = int(compiled.tree.blocks.sum()) + int(compiled.calls.prompt_tokens.max()) // block_tokens + 1000
    pool = Pool(ROLE_MIXED, 1, 1, blocks, 0, SCHED, LAW, POWER)
    fleet = Fleet((pool,), block_tokens, ROUTER_LEAST_LOADED, start_ps, np.arange(len(compiled.ids), dtype=np.int64))
    return World(compiled.calls, compiled.threads, compiled.tree, fleet, Stop(0, 0, 10**9, 0, 2**62, 1))


def engine_reuse(compiled: Compiled, block_tokens: int) -> int:
    """Prompt tokens that the engine finds in its cache: each trajectory once, the next begins when the one before is over."""
    lasts_ps = [APART_PS + int(compiled.calls.tool_ps[a:b].sum()) for a, b in pairwise(compiled.calls.first)]
    output = simulate_kernel(unlimited_world(compiled, block_tokens, np.array([0, *accumulate(lasts_ps[:-1])], np.int64)))
    assert output.plays_finished == len(compiled.ids)
    return int(output.calls[:, CALL_COLUMNS.index("cached_tokens")].sum())
