"""The host tier behind HBM: what a load from it costs, and that with room for all nothing is ever lost."""

from collections.abc import Callable

import numpy as np
import pytest

from simulator.engine import Output, World, simulate_kernel, simulate_reference
from simulator.hardware.step_law import StepLaw
from simulator.workload.compile import compile_calls
from simulator.workload.trajectory import Call
from tests.theory.worlds import BLOCK, MS, SCHED, US, at, column, constant_law, load_of, pool_of, total, world_of

Engine = Callable[[World], Output]
CACHED = SCHED._replace(max_seqs=6, prefix_cache=1)
ENDLESS = 10**6


@pytest.fixture(params=[simulate_kernel, simulate_reference], ids=["kernel", "reference"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize(("other", "in_hbm"), [(640, 2), (768, 0)])
def test_a_prefix_in_the_host_tier_costs_its_load_and_then_its_own_prefill(engine: Engine, other: int, in_hbm: int) -> None:
    """A prompt of 10 blocks; another takes its place among 12; then it comes back with 10 tokens more.

    The other prompt takes the two blocks that were never used and the last 8 (or all 10) of the first: these come from the host tier.
    """
    law = StepLaw(11 * MS, np.arange(900, dtype=np.int64) * 3 * US, 17 * US, 236 << 10, 80 * US, 62 * US, 170 << 10)
    pool = pool_of(law, CACHED, blocks=12)._replace(host_blocks=ENDLESS, host_fixed_ps=2 * MS, host_token_fp=12_345_678)
    runs = [[Call(0, 640, 1, 5.0), Call(640, 10, 1)], [Call(0, other, 1)]]
    output = engine(world_of(runs, at(0, 1000 * MS), [pool]))
    back = int(np.flatnonzero(column(output, "prompt_tokens") == 650)[0])
    loaded = (10 - in_hbm) * BLOCK
    load_ps = 2 * MS + (12_345_678 * loaded >> 10)
    chunk_ps = 11 * MS + 10 * 3 * US + 10 * 62 * US + 170 * 10 * (2 * 640 + 10) // 2
    assert int((column(output, "first_ps") - column(output, "send_ps"))[back]) == load_ps + chunk_ps
    assert (int(column(output, "cached_tokens")[back]), int(column(output, "host_tokens")[back])) == (640, loaded)
    assert (total(output, "host_loaded_tokens"), total(output, "host_loading_ns")) == (loaded, load_ps // 1000)


def test_without_the_host_tier_the_same_prefix_is_computed_again(engine: Engine) -> None:
    runs = [[Call(0, 640, 1, 5.0), Call(640, 10, 1)], [Call(0, 768, 1)]]
    output = engine(world_of(runs, at(0, 1000 * MS), [pool_of(constant_law(10 * MS, 60 * US), CACHED, blocks=12)]))
    assert column(output, "cached_tokens").tolist() == [0, 0, 0]
    assert int((column(output, "first_ps") - column(output, "send_ps"))[-1]) == 10 * MS + 650 * 60 * US


def test_loads_of_a_rank_queue_first_come_first_served(engine: Engine) -> None:
    """Two prefixes of 4 blocks wait in the host tier; both calls come at 9 s, and the link of the rank brings one after the other."""
    pool = pool_of(constant_law(10 * MS), CACHED, blocks=12)._replace(host_blocks=ENDLESS, host_token_fp=MS << 10)
    runs = [[Call(0, 256, 1, 8.99), Call(256, 10, 1)], [Call(0, 256, 1, 8.49), Call(256, 10, 1)], [Call(0, 768, 1)]]
    output = engine(world_of(runs, at(0, 500 * MS, 4000 * MS), [pool]))
    back = column(output, "prompt_tokens") == 266
    assert sorted(column(output, "send_ps")[back].tolist()) == [9000 * MS] * 2
    assert sorted((column(output, "first_ps")[back] // MS).tolist()) == [9000 + 256 + 10, 9000 + 512 + 10]


@pytest.mark.parametrize("history", ["recorded", "generated"])
def test_infinite_host_tier_hits_what_the_trajectories_share_however_small_hbm_is(history: str) -> None:
    """Every block is in HBM or in the host tier from its first computing on: hits are the compiled reuse, block for block."""
    rng = np.random.default_rng(3)
    runs = []
    for _ in range(6):
        prompt, calls = 0, []
        for _ in range(15):
            kept = prompt if rng.random() < 0.8 else int(rng.integers(0, prompt + 1))
            new = int(rng.integers(90, 700))
            calls.append(Call(kept, new, int(rng.integers(1, 90)), float(rng.random() / 10)))
            prompt = kept + new
        runs.append(calls)
    room = -(-max(call.prompt_tokens + call.output_tokens for run in runs for call in run) // BLOCK) + 2
    pool = pool_of(constant_law(5 * MS, 20 * US), CACHED, blocks=room)._replace(
        host_blocks=ENDLESS, host_fixed_ps=MS, host_token_fp=5 * US << 10
    )
    compiled = compile_calls(load_of(runs), block_tokens=BLOCK, history=history, stops=False)  # type: ignore[arg-type]
    world = world_of(runs, np.arange(6, dtype=np.int64) * MS, [pool])._replace(calls=compiled.calls, tree=compiled.tree)
    output = simulate_kernel(world)
    cold = simulate_kernel(world._replace(fleet=world.fleet._replace(pools=(pool._replace(host_blocks=0),))))
    assert column(output, "cached_tokens").sum() == compiled.reusable_block_tokens
    assert column(output, "host_tokens").sum() > compiled.reusable_block_tokens / 2, "most of it did not stay in HBM"
    assert column(cold, "cached_tokens").sum() < compiled.reusable_block_tokens / 2
    assert total(output, "host_loaded_tokens") >= column(output, "host_tokens").sum()
