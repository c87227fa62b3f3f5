"""A power cap by hand: which steps it slows, by how much, and what they draw; in both engines."""

import numpy as np
import pytest

from simulator.engine import Output, World, simulate_kernel, simulate_reference
from simulator.engine.world import EVENT_STEP
from simulator.hardware.power import FULL_CLOCK, PowerLaw, slowing
from simulator.hardware.step_law import StepLaw
from simulator.workload.trajectory import Call
from tests.theory.worlds import SCHED, at, pool_of, world_of

MS, TDP_W = 10**9, 700.0
NONE = np.zeros(2, np.int64)
LAW = StepLaw(10 * MS, NONE, 0, 0, 10 * MS, MS, 0)
"""A step takes 10 ms, 10 ms more for each decoding call and 1 ms for each prompt token."""
DRAW = PowerLaw(200_000, 0, 1_000_000, 700_000, 75_000, 1, NONE, 0, 0, MS // 2, 0)
"""A token's arithmetic takes 0.5 ms at peak: a prefill of 90 tokens, in 100 ms, wants 200 + 1,000 * 45 / 100 = 650 W."""
PROMPT, ANSWER = 90, 4


def capped(cap_w: float, ranks: int = 1) -> World:
    """One call of 90 prompt and 4 answer tokens for each rank; ranks of one worker step together."""
    power = DRAW._replace(cap_mw=round(1000 * cap_w), slow_fp=slowing(cap_w, TDP_W))
    pool = pool_of(LAW, SCHED, ranks=ranks)._replace(power=power)
    runs = [[Call(0, PROMPT * (1 + i), ANSWER, 0.0)] for i in range(ranks)]
    return world_of(runs, at(*[0] * ranks), [pool])


def steps(world: World) -> list[tuple[int, int]]:
    """Duration and energy of each step, as both engines tell it."""
    kernel, reference = simulate_kernel(world, events=True), simulate_reference(world)
    assert np.array_equal(kernel.events, reference.events)
    own = kernel.events[kernel.events[:, 1] == EVENT_STEP]
    return [(int(row[5]), int(row[6])) for row in own]


def end_of(world: World) -> Output:
    return simulate_kernel(world)


def test_without_a_cap_the_steps_take_their_time():
    prefill, *decodes = steps(capped(TDP_W))
    assert prefill == (100 * MS, 650 * 100_000)
    assert decodes == [(20 * MS, 225 * 20_000)] * (ANSWER - 1)


def test_a_cap_slows_the_arithmetic_of_steps_that_want_more():
    """Of 650 W wanted 450: the clock falls to (0.3929 / 0.6786) ** (1 / 2.4) = 0.7963, so 90 ms become 90 * 1286 / 1024 = 113.0."""
    prefill, *decodes = steps(capped(450.0))
    assert slowing(450.0, TDP_W)[650] == 1286
    duration_ps = 10 * MS + (90 * MS * 1286 >> 10)
    assert prefill == (duration_ps, 450_000 * (duration_ps // 1000) // 10**6)
    assert decodes == [(20 * MS, 225 * 20_000)] * (ANSWER - 1), "a decode step wants 225 W: it is not slowed"


def test_each_rank_is_slowed_by_its_own_demand_and_the_slowest_sets_the_step():
    """The other rank prefills 180 tokens: 190 ms at full clock, where 90 tokens want 437 W and 180 want 674. Only the longer is slowed."""
    (duration_ps, energy_uj), *_ = steps(capped(450.0, ranks=2))
    assert duration_ps == 10 * MS + (180 * MS * int(slowing(450.0, TDP_W)[673]) >> 10)
    duration_ns = duration_ps // 1000
    assert energy_uj == (200_000 * duration_ns + 45 * 10**12) // 10**6 + 450_000 * duration_ns // 10**6


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_table_that_slows_nothing_changes_nothing(ranks: int):
    world = capped(TDP_W, ranks)
    pool = world.fleet.pools[0]
    idle_table = pool.power._replace(slow_fp=np.full(701, int(FULL_CLOCK[0]), np.int64))
    same = world._replace(fleet=world.fleet._replace(pools=(pool._replace(power=idle_table),)))
    assert steps(same) == steps(world)


def test_a_lower_cap_is_never_faster_and_never_draws_more():
    ends = [end_of(capped(cap_w)).end_ps for cap_w in (700.0, 650.0, 600.0, 500.0, 400.0, 300.0, 200.0)]
    assert ends == sorted(ends)
    assert ends[0] == ends[1] < ends[2] < ends[-1]
    for cap_w in (600.0, 400.0, 200.0):
        assert all(energy_uj <= cap_w * duration_ps / 10**6 for duration_ps, energy_uj in steps(capped(cap_w)))
