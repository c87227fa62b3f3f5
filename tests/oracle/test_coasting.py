"""Steps in which nobody joins and nobody leaves, which the kernel takes in runs: how many they are, and that nothing else is different."""

import pytest

from simulator.engine import World, simulate_kernel
from simulator.engine.kernel import COASTED, advanced, flat, new_state
from simulator.engine.world import RESERVE_CHUNK
from simulator.workload.trajectory import Call
from tests.oracle.test_edges import LAW
from tests.oracle.test_equal_logs import assert_equal
from tests.theory.worlds import MS, SCHED, at, column, pool_of, world_of

TOGETHER = SCHED._replace(max_seqs=2, admit_reserve=RESERVE_CHUNK)


def coasted(world: World, logging: bool = True) -> tuple[int, int]:
    """Steps that the kernel took in runs, and all its steps."""
    state = advanced(flat(world), new_state(world, logging))
    return int(state.clock[COASTED]), int(state.series[:, :, 0].sum())


@pytest.mark.parametrize("logging", [False, True])
def test_a_call_alone_coasts_from_its_second_decode_step_on(logging: bool) -> None:
    world = world_of([[Call(0, 100, 50)]], at(0), [pool_of(LAW)])
    assert coasted(world, logging) == (48, 50)  # prefill and the first decode step are looked at in full
    assert_equal(world)


def test_runs_end_where_somebody_sends_and_where_somebody_leaves() -> None:
    world = world_of([[Call(0, 100, 50)], [Call(0, 100, 20)]], at(0, 200 * MS), [pool_of(LAW, TOGETHER)])
    some, steps = coasted(world)
    assert steps - some == 5  # either prefill and the step after it, and the one after the shorter call has left
    assert_equal(world)


def test_runs_end_where_a_growing_call_finds_no_block() -> None:
    world = world_of([[Call(0, 100, 80)], [Call(0, 100, 80)]], at(0, 0), [pool_of(LAW, TOGETHER, blocks=5)])
    some, steps = coasted(world)
    assert column(simulate_kernel(world), "preemptions").sum() == 1
    assert some > steps // 2
    assert_equal(world)


def test_the_hard_end_cuts_a_run() -> None:
    world = world_of([[Call(0, 100, 50)]], at(0), [pool_of(LAW)])
    for end_ps in range(10**11, 6 * 10**11, 37 * 10**9):
        assert_equal(world._replace(stop=world.stop._replace(max_ps=end_ps)))


@pytest.mark.parametrize("window_ps", range(0, 5 * 10**12, 7 * 10**11))
def test_a_run_is_booked_in_the_bins_and_the_window_in_which_its_steps_begin(window_ps: int) -> None:
    world = world_of([[Call(0, 100, 400)]], at(0), [pool_of(LAW, blocks=40)])
    world = world._replace(stop=world.stop._replace(window_ps=window_ps))
    output = simulate_kernel(world)
    assert (output.series[0, :, 0] > 0).sum() >= 4, "the one run of the call lies in several bins"
    assert_equal(world)
