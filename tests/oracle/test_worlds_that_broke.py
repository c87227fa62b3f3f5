"""Worlds that once broke an engine, kept by name: drawn by Hypothesis, shrunk, and told in a sentence."""

import numpy as np

from simulator.engine import Fleet, Sched, Stop, World
from simulator.engine.world import ROLE_DECODE, ROLE_MIXED, ROLE_PREFILL, ROUTER_AFFINITY, Pool
from simulator.hardware.power import PowerLaw
from simulator.hardware.step_law import StepLaw
from simulator.workload.arrays import SCOPE_PLAY, SCOPE_TRAJECTORY, Calls, PrefixTree, Threads, single_threads
from tests.oracle.schedules import ints
from tests.oracle.test_equal_logs import assert_equal
from tests.oracle.worlds import MS

QUERIES = np.arange(100, dtype=np.int64)
LAW = StepLaw(10 * MS, QUERIES * MS // 20, MS // 7, 123_457, MS // 11, MS // 13, 1_234_567)
POWER = PowerLaw(400_000, 240_000, 1_200_000, 700_000, 75_000, 8, QUERIES * MS // 25, MS // 9, 98_765, MS // 17, 765_432)


def test_a_root_slot_hangs_below_the_slot_that_its_path_runs_through() -> None:
    """With no marker and generated history, plays of one trajectory share answers.

    A cached run that stood in the list of roots kept its parent after the run above had grown and been split, so the kernel found another
    prefix than the reference.
    """
    first, output = ints([0, 4]), ints([10, 5, 15, 1])
    calls = Calls(
        first=first,
        prompt_tokens=ints([17, 24, 25, 25]),
        output_tokens=output,
        decode_steps=output - 1,
        tool_ps=ints([0, 200 * MS, 200 * MS, 200 * MS]),
        stops=ints([1, 1, 1, 1]),
        leaf=ints([0, 0, 1, 1]),
        answer=ints([1, -1, 2, -1]),
    )
    tree = PrefixTree(ints([-1, 0, 1]), ints([0, 2, 3]), ints([3, 1, 1]), ints([SCOPE_TRAJECTORY, SCOPE_PLAY, SCOPE_PLAY]))
    sched = Sched(
        token_budget=44,
        max_seqs=6,
        long_prefill_cap=8,
        prefill_interval=2,
        admit_reserve=1,
        watermark_blocks=1,
        pipeline_depth=2,
        prefix_cache=1,
        drafts=0,
        accept_milli=1000,
        lookahead=0,
    )
    pool = Pool(ROLE_MIXED, 2, 1, 8, 1, sched, LAW, POWER)
    fleet = Fleet((pool,), 8, ROUTER_AFFINITY, ints([2 * MS, 34 * MS, 34 * MS]), ints([0]))
    assert_equal(World(calls, single_threads(first), tree, fleet, Stop(0, 0, 10**9, 0, 10**6 * MS, 2)))


def test_a_decode_seat_given_back_wakes_an_idle_worker_whose_queue_it_was_too_small_for() -> None:
    """Seats are taken before the prefill, and a call that gave way waits at its decode rank for blocks which another call has claimed.

    That other call ended with its first token and gave its claim back: the reference let the idle worker sleep on.
    """
    output = ints([1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1])
    calls = Calls(
        first=ints([0, 11]),
        prompt_tokens=ints([4, 5, 1, 5, 1, 4, 4, 4, 5, 4, 4]),
        output_tokens=output,
        decode_steps=output - 1,
        tool_ps=0 * output,
        stops=0 * output,
        leaf=ints([0, 0, -1, 0, -1, 1, 2, 3, 3, 4, 5]),
        answer=ints(11 * [-1]),
    )
    threads = Threads(
        ints([0, 6]), ints([0, 5, 6, 7, 9, 10, 11]), ints(6 * [0]), ints([-1, -1, 1, 3, -1, -1, -1, 4, -1, -1, -1]),
        ints([0, 0, 2, 1, 0, 0, 0, 2, 0, 0, 0]),
    )  # fmt: skip
    tree = PrefixTree(ints(6 * [-1]), ints(6 * [0]), ints(6 * [1]), ints(6 * [SCOPE_PLAY]))
    entry, decode = Sched(2, 1, 0, 1, 0, 0, 1, 1, 0, 1000, 0), Sched(4, 3, 0, 1, 0, 0, 1, 1, 0, 1000, 0)
    pools = (Pool(ROLE_PREFILL, 1, 1, 2, 0, entry, LAW, POWER), Pool(ROLE_DECODE, 1, 1, 3, 0, decode, LAW, POWER))
    fleet = Fleet(pools, 4, ROUTER_AFFINITY, ints([0, 0]), ints([0]), decode_router=ROUTER_AFFINITY, prealloc=1)
    assert_equal(World(calls, threads, tree, fleet, Stop(0, 0, 10**6, 0, 10**6 * MS, 1)))


def test_a_call_that_queues_for_a_seat_wakes_an_idle_decode_worker_whose_head_fits_beside_it() -> None:
    """A call that gave way waits at its decode rank for the blocks of its first chunk.

    When another call queues behind it, for a seat, it is no longer alone, its chunk is the capped one, and that fits: the reference let the
    idle worker sleep on.
    """
    output = ints([12, 1, 6, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2])
    calls = Calls(
        first=ints([0, 3, 15]),
        prompt_tokens=ints([1, 1, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 12]),
        output_tokens=output,
        decode_steps=output - 1,
        tool_ps=0 * output,
        stops=0 * output,
        leaf=ints([-1, -1, 1, *11 * [-1], 3]),
        answer=ints([0, -1, 2, *12 * [-1]]),
    )
    threads = Threads(
        ints([0, 1, 5]), ints([0, 3, 6, 9, 12, 15]), ints(5 * [0]), ints([-1, -1, -1, 2, *11 * [-1]]), ints([0, 0, 0, 3, *11 * [0]])
    )
    tree = PrefixTree(ints([-1, -1, 1, -1]), ints([0, 0, 2, 0]), ints([3, 2, 1, 3]), ints(4 * [SCOPE_PLAY]))
    entry, decode = Sched(9, 1, 0, 1, 0, 0, 1, 0, 0, 1000, 0), Sched(5, 3, 1, 1, 0, 0, 1, 1, 0, 1000, 0)
    fleet = Fleet(
        (
            Pool(ROLE_PREFILL, 1, 3, 3, 0, entry, LAW, POWER, port_fixed_ps=30 * MS),
            Pool(ROLE_DECODE, 1, 1, 6, 0, decode, LAW, POWER),
            Pool(ROLE_MIXED, 1, 1, 6, 0, entry._replace(token_budget=2, prefix_cache=1), LAW, POWER),
        ),
        4,
        ROUTER_AFFINITY,
        ints([0, 0, 0]),
        ints([0, 1]),
        decode_router=ROUTER_AFFINITY,
    )
    assert_equal(World(calls, threads, tree, fleet, Stop(0, 0, 10**6, 0, 10**6 * MS, 1)))


def test_a_host_tier_that_takes_in_blocks_before_a_run_which_it_has_counts_each_once() -> None:
    """No engine ever broke here: a mistake put into the kernel on purpose (docs/mutations.md) went unnoticed before this world was kept.

    What HBM evicts begins before a run of names that the host tier has still; names must be counted as many as there are.
    """
    output = ints(6 * [1])
    calls = Calls(
        first=ints([0, 4, 6]),
        prompt_tokens=ints([4, 5, 8, 5, 1, 4]),
        output_tokens=output,
        decode_steps=output - 1,
        tool_ps=0 * output,
        stops=0 * output,
        leaf=ints([0, 0, 0, 1, -1, 2]),
        answer=ints(6 * [-1]),
    )
    tree = PrefixTree(ints(3 * [-1]), ints(3 * [0]), ints([2, 1, 1]), ints(3 * [SCOPE_TRAJECTORY]))
    entry, decode = Sched(5, 1, 0, 1, 0, 0, 1, 1, 0, 1000, 0), Sched(2, 1, 0, 1, 0, 0, 1, 1, 0, 1000, 0)
    pools = (Pool(ROLE_PREFILL, 1, 1, 2, 0, entry, LAW, POWER, host_blocks=2), Pool(ROLE_DECODE, 1, 1, 3, 0, decode, LAW, POWER))
    fleet = Fleet(pools, 4, ROUTER_AFFINITY, ints([0, 0, 0]), ints([0, 1]), decode_router=ROUTER_AFFINITY)
    assert_equal(World(calls, single_threads(calls.first), tree, fleet, Stop(0, 0, 10**6, 0, 8000 * MS, 3)))
