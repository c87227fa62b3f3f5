"""Small worlds drawn by Hypothesis: every scheduling option, every router, chains and branches, tight memory, odd tools."""

import numpy as np
from hypothesis import strategies as st

from simulator.engine.growth import most_blocks
from simulator.engine.world import Fleet, Sched, Stop, World
from simulator.hardware.power import PowerLaw
from simulator.hardware.step_law import StepLaw
from simulator.workload.compile import compile_calls
from simulator.workload.trajectory import Call, Trajectory, TrajectorySet

MS = 10**9


@st.composite
def trajectories(draw: st.DrawFn, block: int) -> TrajectorySet:
    shared = draw(st.sampled_from([0, 0, block - 1, 2 * block, 3 * block + 5]))
    runs = []
    for number in range(draw(st.integers(1, 3))):
        calls: list[Call] = []
        for index in range(draw(st.integers(1, 5))):
            extends = draw(st.integers(0, index - 1)) if index else None
            kept = 0
            if extends is not None:
                base = calls[extends].prompt_tokens
                kept = base if draw(st.booleans()) else draw(st.integers(0, base))
            new = draw(st.one_of(st.integers(1, 3 * block), st.sampled_from([block, 2 * block])))
            if index == 0:
                new += shared
            tool_s = draw(st.sampled_from([0.0, 0.0, 0.001, 0.0105, 0.02, 0.05, 0.2]))
            calls.append(Call(kept, new, draw(st.integers(1, 2 * block + 3)), tool_s, extends))
        runs.append(Trajectory(f"t{number}", tuple(calls), {}))
    return TrajectorySet("drawn", "recorded", shared, tuple(runs), {})


@st.composite
def worlds(draw: st.DrawFn) -> World:
    block = draw(st.sampled_from([4, 8, 16]))
    drafts = draw(st.sampled_from([0, 0, 1, 3]))
    pmf = (1.0,) if drafts == 0 else tuple(np.full(drafts + 1, 1 / (drafts + 1)))
    mean_milli = 1000 if drafts == 0 else 1000 * (drafts + 2) // 2
    compiled = compile_calls(
        draw(trajectories(block)),
        block_tokens=block,
        history=draw(st.sampled_from(["recorded", "generated"])),
        marker=draw(st.sampled_from(["front", "after_system", "none"])),
        accept_pmf=pmf,
        drafts=drafts,
        seed=draw(st.integers(0, 3)),
        stops=draw(st.booleans()),
    )
    seats = draw(st.integers(1, 6))
    sched = Sched(
        token_budget=seats * (1 + drafts) + draw(st.integers(1, 6 * block)),
        max_seqs=seats,
        long_prefill_cap=draw(st.sampled_from([0, 0, 3, block])),
        prefill_interval=draw(st.sampled_from([1, 1, 2, 3])),
        admit_reserve=draw(st.sampled_from([0, 1])),
        watermark_blocks=draw(st.sampled_from([0, 0, 1, 3])),
        pipeline_depth=draw(st.sampled_from([1, 2])),
        prefix_cache=draw(st.sampled_from([1, 1, 1, 0])),
        drafts=drafts,
        accept_milli=mean_milli,
        lookahead=draw(st.sampled_from([0, drafts])),
    )
    agents = draw(st.integers(1, 6))
    starts = [draw(st.integers(0, 40)) * MS for _ in range(agents)]
    fleet = Fleet(
        workers=draw(st.integers(1, 2)),
        ranks=draw(st.integers(1, 3)),
        blocks_per_rank=1,
        block_tokens=block,
        fixed_blocks=draw(st.sampled_from([0, 0, 1, 2])),
        router=draw(st.sampled_from([0, 0, 1, 2])),
        start_ps=np.array(starts, np.int64),
        order=np.array(draw(st.permutations(range(len(compiled.ids)))), np.int64),
    )
    queries = np.arange(200, dtype=np.int64)
    law = StepLaw(10 * MS, queries * MS // 20, MS // 7, 123_457, MS // 11, MS // 13, 1_234_567)
    power = PowerLaw(400_000, 240_000, 1_200_000, 700_000, 75_000, 8, queries * MS // 25, MS // 9, 98_765, MS // 17, 765_432)
    stop = Stop(
        window_ps=draw(st.sampled_from([0, 30 * MS, 200 * MS])),
        min_window_ps=draw(st.sampled_from([0, 100 * MS])),
        min_plays=draw(st.sampled_from([0, 3, 10**6])),
        min_agent_plays=draw(st.sampled_from([0, 1, 2])),
        max_ps=draw(st.sampled_from([500 * MS, 10**6 * MS])),
        max_plays_per_agent=draw(st.sampled_from([1, 2, 3])),
    )
    world = World(compiled.calls, compiled.tree, fleet, sched, law, power, stop)
    needed = int(most_blocks(world).max())
    return world._replace(fleet=fleet._replace(blocks_per_rank=needed + draw(st.sampled_from([0, 0, 1, 3, 10, 60]))))
