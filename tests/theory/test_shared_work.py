"""Work that ranks share, and plays that agents share, by hand: experts of one rank's prompt, and one queue of plays; in both engines."""

import numpy as np
import pytest

from simulator.engine import Output, World, simulate_kernel, simulate_reference
from simulator.engine.world import EVENT_STEP
from simulator.hardware.step_law import StepLaw
from simulator.workload.trajectory import Call
from tests.theory.worlds import MS, SCHED, US, at, column, constant_law, pool_of, world_of

EXPERTS = StepLaw(10 * MS, np.zeros(2, np.int64), 0, 0, 0, 100 * US, 0, expert_ps=80 * US)
"""A step takes 10 ms; a prompt token 100 us of its rank, of which 80 us are spread over all ranks."""


def both(world: World) -> Output:
    kernel, reference = simulate_kernel(world, events=True), simulate_reference(world)
    assert np.array_equal(kernel.events, reference.events)
    return kernel


def step_ms(world: World) -> list[float]:
    events = both(world).events
    return [row[5] / MS for row in events[events[:, 1] == EVENT_STEP]]


@pytest.mark.parametrize(("ranks", "alone_ms"), [(1, 110), (2, 70), (4, 50), (8, 40)])
def test_a_rank_that_prefills_alone_pays_its_share_of_the_experts(ranks, alone_ms):
    """1,000 tokens: 20 ms of its own, and 80 ms of experts over all ranks, which idle ranks do too."""
    world = world_of([[Call(0, 1000, 1, 0.0)]], at(0), [pool_of(EXPERTS, ranks=ranks)])
    assert step_ms(world) == [alone_ms]


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_ranks_that_are_as_busy_as_each_other_pay_the_whole(ranks):
    runs = [[Call(0, 1000, 1, 0.0)]] * ranks
    assert step_ms(world_of(runs, at(*[0] * ranks), [pool_of(EXPERTS, ranks=ranks)])) == [110]


def test_the_rank_with_most_of_its_own_sets_the_step():
    runs = [[Call(0, 1000, 1, 0.0)], [Call(0, 500, 1, 0.0)]]
    assert step_ms(world_of(runs, at(0, 0), [pool_of(EXPERTS, ranks=2)])) == [10 + 20 + 80 * 0.75]


def test_agents_take_the_next_play_that_is_left():
    """Answers of 9, 1, 1, 1, 1 tokens in steps of 10 ms: while one agent has the long one, the other has all others."""
    runs = [[Call(0, 10, tokens, 0.0)] for tokens in (9, 1, 1, 1, 1)]
    pool = pool_of(constant_law(10 * MS), SCHED._replace(max_seqs=2))
    world = world_of(runs, at(0, 0), [pool], plays=0)
    output = both(world._replace(stop=world.stop._replace(max_plays=5)))
    assert column(output, "agent").tolist().count(1) == 4
    assert sorted(column(output, "trajectory")) == [0, 1, 2, 3, 4]
    assert column(output, "last_ps").max() == 90 * MS


def test_no_more_plays_begin_than_there_are():
    runs = [[Call(0, 10, 2, 0.0)]] * 3
    world = world_of(runs, at(0, 0, 0, 0), [pool_of(constant_law(MS), SCHED._replace(max_seqs=4))], plays=0)
    output = both(world._replace(stop=world.stop._replace(max_plays=3)))
    assert len(output.calls) == 3
