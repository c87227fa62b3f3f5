"""Small worlds drawn by Hypothesis: every scheduling option, pools, tiers, routers, sub-agents, chains and branches, tight memory."""

import numpy as np
from hypothesis import strategies as st

from simulator.engine.growth import most_blocks
from simulator.engine.world import (
    BATCH_PREFILL_FIRST,
    CACHE_BLOCKS,
    CACHE_NONE,
    CACHE_SLOTS,
    ROLE_DECODE,
    ROLE_MIXED,
    ROLE_PREFILL,
    ROUTER_PREFIX,
    TRANSFER_CHUNK,
    Fleet,
    Pool,
    Sched,
    Stop,
    World,
)
from simulator.hardware.power import PowerLaw, slowing
from simulator.hardware.step_law import StepLaw
from simulator.workload.compile import compile_calls
from simulator.workload.trajectory import Call, SubAgent, Trajectory, TrajectorySet
from tests.unit.drawn_trajectories import trajectory_sets

MS = 10**9


@st.composite
def trajectories(draw: st.DrawFn, block: int) -> TrajectorySet:
    shared = draw(st.sampled_from([0, 0, block - 1, 2 * block, 3 * block + 5]))
    runs = []
    for number in range(draw(st.integers(1, 3))):
        calls, sub_agents = draw(threads(block, shared))
        runs.append(Trajectory(f"t{number}", tuple(calls), {}, tuple(sub_agents)))
    return TrajectorySet("drawn", "recorded", shared, tuple(runs), {})


@st.composite
def threads(draw: st.DrawFn, block: int, shared: int) -> tuple[list[Call], list[SubAgent]]:
    """A main thread, and perhaps sub-agents, some of them with sub-agents of their own; a call extends earlier ones of its thread."""
    calls: list[Call] = []
    sub_agents: list[SubAgent] = []
    spawning = draw(st.sampled_from([0, 0, 1, 2]))
    grow(draw, calls, block, shared, draw(st.integers(1, 5)))
    spawner = 0
    while spawner < len(calls) and len(sub_agents) < 2 * spawning:
        if draw(st.booleans()):
            for _ in range(draw(st.integers(1, 2))):
                sub_agents.append(SubAgent(spawner, len(calls), draw(st.sampled_from([0.0, 0.001, 0.03]))))
                grow(draw, calls, block, shared, draw(st.integers(1, 2)))
        spawner += 1
    return calls, sub_agents


def grow(draw: st.DrawFn, calls: list[Call], block: int, shared: int, count: int) -> None:
    first = len(calls)
    for index in range(count):
        extends = first + draw(st.integers(0, index - 1)) if index else None
        kept = 0
        if extends is not None:
            base = calls[extends].prompt_tokens
            kept = base if draw(st.booleans()) else draw(st.integers(0, base))
        new = draw(st.one_of(st.integers(1, 3 * block), st.sampled_from([block, 2 * block])))
        if index == 0:
            new += shared
        tool_s = draw(st.sampled_from([0.0, 0.0, 0.001, 0.0105, 0.02, 0.05, 0.2]))
        calls.append(Call(kept, new, draw(st.integers(1, 2 * block + 3)), tool_s, extends))


@st.composite
def scheds(draw: st.DrawFn, block: int, role: int, cache: int, drafts: int, accept_milli: int) -> Sched:
    seats, steps = draw(st.integers(1, 6)), draw(st.sampled_from([1, 1, 1, 8]))
    return Sched(
        token_budget=seats * (1 + drafts) + draw(st.integers(steps, 6 * block)),
        max_seqs=seats,
        long_prefill_cap=draw(st.sampled_from([0, 0, 3, block])),
        prefill_interval=draw(st.sampled_from([1, 1, 2, 3])),
        admit_reserve=draw(st.sampled_from([0, 1, 1, 2, 3])),
        watermark_blocks=draw(st.sampled_from([0, 0, 1, 3])),
        pipeline_depth=draw(st.sampled_from([1, 2])),
        prefix_cache=cache,
        drafts=drafts,
        accept_milli=accept_milli,
        lookahead=draw(st.sampled_from([0, drafts])),
        batch_mode=draw(st.sampled_from([0, 0, BATCH_PREFILL_FIRST])),
        decode_interval=draw(st.sampled_from([0, 0, 1, 2])),
        chunk_round=steps,
        max_new_tokens=draw(st.sampled_from([1, 2 * block, 5 * block])),
        ratio_clip=draw(st.sampled_from([1, block, 4 * block])),
        ratio_steps=draw(st.sampled_from([1, 7, 600])),
        victim=draw(st.sampled_from([0, 0, 1])),
        requeue=draw(st.sampled_from([0, 0, 1])),
        visible=draw(st.sampled_from([0, 0, 1])),
        similarity_milli=draw(st.sampled_from([0, 100, 600])),
    )


@st.composite
def pools(draw: st.DrawFn, block: int, role: int, drafts: int, accept_milli: int) -> Pool:
    """A pool whose KV memory is not sized yet."""
    caches = [CACHE_BLOCKS, CACHE_BLOCKS, CACHE_BLOCKS, CACHE_NONE] + ([CACHE_SLOTS] if role == ROLE_MIXED else [])
    cache = draw(st.sampled_from(caches))
    sched = draw(scheds(block, role, cache, drafts, accept_milli))
    queries = np.arange(draw(st.sampled_from([100, 200])), dtype=np.int64)
    speed = draw(st.sampled_from([11, 13, 29]))
    experts_ps = draw(st.sampled_from([0, 0, MS // 37, MS // 13]))
    law = StepLaw(10 * MS, queries * MS // 20, MS // 7, 123_457, MS // speed, MS // 13, 1_234_567, experts_ps)
    power = PowerLaw(400_000, 240_000, 1_200_000, 700_000, 75_000, 8, queries * MS // 25, MS // 9, 98_765, MS // 17, 765_432)
    power = power._replace(light_mw=draw(st.sampled_from([75_000, 75_000, 10**8])), rise_fp=draw(st.sampled_from([1100, 3000, 20_000])))
    cap_w = draw(st.sampled_from([700, 700, 120, 300, 450]))
    if cap_w < 700:
        power = power._replace(cap_mw=cap_w * 1000, slow_fp=slowing(cap_w, 700.0))
    tier = draw(st.sampled_from(["none", "none", "host", "tails"])) if cache == CACHE_BLOCKS else "none"
    return Pool(
        role=role,
        workers=draw(st.integers(1, 2)),
        ranks=draw(st.integers(1, 3)),
        blocks_per_rank=1,
        fixed_blocks=draw(st.sampled_from([0, 0, 1, 2])),
        sched=sched,
        law=law,
        power=power,
        port_fixed_ps=draw(st.sampled_from([0, 0, MS, 30 * MS])),
        port_token_fp=draw(st.sampled_from([0, MS, 500 * MS])),
        shared_port=draw(st.sampled_from([0, 1])),
        host_blocks=draw(st.sampled_from([1, 4, 12, 60])) if tier == "host" and role != ROLE_DECODE else 0,
        host_fixed_ps=draw(st.sampled_from([0, 2 * MS])),
        host_token_fp=draw(st.sampled_from([0, 100 * MS])),
        tails=draw(st.sampled_from([1, 2, 5])) if tier == "tails" else 0,
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    block = draw(st.sampled_from([4, 8, 16]))
    drafts = draw(st.sampled_from([0, 0, 1, 3]))
    pmf = (1.0,) if drafts == 0 else tuple(np.full(drafts + 1, 1 / (drafts + 1)))
    mean_milli = 1000 if drafts == 0 else 1000 * (drafts + 2) // 2
    compiled = compile_calls(
        draw(st.one_of(trajectories(block), trajectories(block), trajectory_sets())),
        block_tokens=block,
        history=draw(st.sampled_from(["recorded", "generated"])),
        marker=draw(st.sampled_from(["front", "after_system", "none"])),
        accept_pmf=pmf,
        drafts=drafts,
        seed=draw(st.integers(0, 3)),
        stops=draw(st.booleans()),
    )
    roles = draw(st.sampled_from([[0], [0], [0, 0], [1, 2], [1, 2], [2, 1], [1, 2, 0], [1, 1, 2], [2, 1, 2]]))
    kinds = [
        draw(pools(block, role, drafts if role != ROLE_PREFILL else 0, mean_milli if role != ROLE_PREFILL else 1000)) for role in roles
    ]
    prealloc = draw(st.sampled_from([0, 1]))
    agents = draw(st.integers(1, 6))
    starts = [draw(st.integers(0, 40)) * MS for _ in range(agents)]
    fleet = Fleet(
        pools=tuple(kinds),
        block_tokens=block,
        router=draw(st.sampled_from([0, 0, 1, 2, 3, ROUTER_PREFIX])),
        start_ps=np.array(starts, np.int64),
        order=np.array(draw(st.permutations(range(len(compiled.ids)))), np.int64),
        decode_router=draw(st.sampled_from([0, 1, 2, 3])),
        first_token=draw(st.sampled_from([0, 1])),
        transfer=TRANSFER_CHUNK if prealloc and draw(st.booleans()) else 0,
        prealloc=prealloc,
        link_latency_ps=draw(st.sampled_from([0, MS // 10, 20 * MS])),
        balance_calls=draw(st.sampled_from([0, 1, 64])),
        match_milli=draw(st.sampled_from([0, 300, 800])),
    )
    stop = Stop(
        window_ps=draw(st.sampled_from([0, 30 * MS, 200 * MS])),
        min_window_ps=draw(st.sampled_from([0, 100 * MS])),
        min_plays=draw(st.sampled_from([0, 3, 10**6])),
        min_agent_plays=draw(st.sampled_from([0, 1, 2])),
        max_ps=draw(st.sampled_from([500 * MS, 10**6 * MS])),
        max_plays_per_agent=draw(st.sampled_from([1, 2, 3])),
        max_plays=draw(st.sampled_from([0, 0, 1, 4, 9])),
    )
    world = World(compiled.calls, compiled.threads, compiled.tree, fleet, stop)
    return world._replace(fleet=fleet._replace(pools=tuple(sized(draw, world, pool) for pool in kinds)))


def sized(draw: st.DrawFn, world: World, pool: Pool) -> Pool:
    """The pool with memory for any call, and little or much more."""
    needed = int(most_blocks(world, pool).max())
    if pool.sched.prefix_cache == CACHE_SLOTS:
        needed *= pool.sched.max_seqs
    return pool._replace(blocks_per_rank=needed + draw(st.sampled_from([0, 0, 1, 3, 10, 60])))
