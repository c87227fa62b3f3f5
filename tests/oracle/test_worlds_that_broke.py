"""Worlds that once broke an engine, kept by name: drawn by Hypothesis, shrunk, and told in a sentence."""

import numpy as np

from simulator.engine import Fleet, Sched, Stop, World
from simulator.engine.world import ROLE_MIXED, ROUTER_AFFINITY, Pool
from simulator.hardware.power import PowerLaw
from simulator.hardware.step_law import StepLaw
from simulator.workload.arrays import SCOPE_PLAY, SCOPE_TRAJECTORY, Calls, PrefixTree, single_threads
from tests.oracle.schedules import ints
from tests.oracle.test_equal_logs import assert_equal
from tests.oracle.worlds import MS


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
    queries = np.arange(100, dtype=np.int64)
    law = StepLaw(10 * MS, queries * MS // 20, MS // 7, 123_457, MS // 11, MS // 13, 1_234_567)
    power = PowerLaw(400_000, 240_000, 1_200_000, 700_000, 75_000, 8, queries * MS // 25, MS // 9, 98_765, MS // 17, 765_432)
    pool = Pool(ROLE_MIXED, 2, 1, 8, 1, sched, law, power)
    fleet = Fleet((pool,), 8, ROUTER_AFFINITY, ints([2 * MS, 34 * MS, 34 * MS]), ints([0]))
    assert_equal(World(calls, single_threads(first), tree, fleet, Stop(0, 0, 10**9, 0, 10**6 * MS, 2)))
