"""Schedules of prefill and decode pools, and the choices of routers, worked out by hand, in both engines.

``P2: A40`` means that worker P computed 40 tokens of A in the second second; ``A1`` is a decode step, ``-C`` a preemption, ``f29`` the
blocks free after scheduling; blocks of 32 tokens, steps of a second. At a decode worker a chunk of one token, ``A1`` too, computes the last
prompt token again.
"""

from collections.abc import Sequence

import pytest

from simulator.engine import World
from simulator.engine.world import (
    FIRST_BY_DECODE,
    FIRST_BY_PREFILL,
    ROLE_DECODE,
    ROLE_PREFILL,
    ROUTER_AFFINITY,
    ROUTER_LEAST_LOADED,
    ROUTER_PREFIX,
    ROUTER_ROUND_ROBIN,
    ROUTER_WORKER_AFFINITY,
    TRANSFER_CHUNK,
    TRANSFER_END,
)
from simulator.units import PS_PER_S
from simulator.workload.compile import compile_calls
from simulator.workload.trajectory import Call, Trajectory, TrajectorySet
from tests.oracle.schedules import Request, world_of
from tests.oracle.timeline import ENGINES, Engine, assert_timeline, by_agent, pool_like, stages, with_pools

A_SECOND = {"port_fixed_ps": PS_PER_S}
"""Every transfer takes a second on its ports."""


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]


def pd_world(  # type: ignore[no-untyped-def]
    requests: Sequence[Request], *, prefill=None, decode=None, texts=None, budget: int = 256, **fleet: int
) -> World:
    """One prefill and one decode worker of 32 blocks, changed as the two mappings say."""
    plain = world_of(requests, 32, budget, texts)
    pools = (pool_like(plain, **({"role": role} | (own or {}))) for role, own in ((ROLE_PREFILL, prefill), (ROLE_DECODE, decode)))
    return with_pools(plain, *pools, **fleet)


# ------------------------------------------------------------------------------------------------------- seats and memory

THREE = [Request("A", 40, 3), Request("B", 40, 3), Request("C", 40, 3), Request("E", 40, 1, at=2)]


def test_fewer_decode_seats_than_agents(engine: Engine) -> None:
    """All are prefilled at once; B and C keep their blocks at the prefill rank until a seat is free and their KV has moved.

    E ends with its first token and needs no seat.
    """
    world = pd_world(THREE, prefill=A_SECOND, decode={"max_seqs": 1})
    expected = """
        P1: A40 B40 C40 f26
        P2: E40 f24
        D3-4: A1 f30
        D6-7: B1 f30
        D9-10: C1 f30
    """
    output = engine(world)
    assert_timeline(world, output, THREE, expected, "PD")
    assert stages(output, "prefilled", "claim", "moved", "landed", "first") == {
        0: (1, 1, 1, 2, 1),
        1: (1, 4, 4, 5, 1),
        2: (1, 7, 7, 8, 1),
        3: (2, -1, -1, -1, 2),
    }


def test_with_prealloc_the_queue_stands_in_front_of_prefill(engine: Engine) -> None:
    """The same calls: nobody is prefilled before it has its decode seat, E, which will not need it, last of all."""
    world = pd_world(THREE, prefill=A_SECOND, decode={"max_seqs": 1}, prealloc=1)
    expected = """
        P1: A40 f30
        D3-4: A1 f30
        P5: B40 f30
        D7-8: B1 f30
        P9: C40 f30
        D11-12: C1 f30
        P13: E40 f30
    """
    output = engine(world)
    assert_timeline(world, output, THREE, expected, "PD")
    assert stages(output, "claim", "admit", "prefilled", "landed") == {
        0: (0, 0, 1, 2),
        1: (4, 4, 5, 6),
        2: (8, 8, 9, 10),
        3: (12, 12, 13, -1),
    }


def test_a_decode_seat_needs_blocks_too(engine: Engine) -> None:
    """4 blocks hold two prompts of 60; the third claims when both are gone (each takes a third block only after its last step)."""
    requests = [Request("A", 60, 3), Request("B", 60, 3), Request("C", 60, 3)]
    world = pd_world(requests, decode={"blocks": 4}, link_latency_ps=PS_PER_S)
    expected = """
        P1: A60 B60 C60 f26
        D3-4: A1 B1 f0
        D6-7: C1 f2
    """
    output = engine(world)
    assert_timeline(world, output, requests, expected, "PD")
    assert stages(output, "claim", "landed")[2] == (4, 5)


def test_who_gives_way_at_a_decode_rank_is_computed_again_there(engine: Engine) -> None:
    """5 blocks. In their third decode step both need a block and one is left: B gives way, with 3 tokens out and 64 in full blocks.

    It does not fit (2 blocks that it left and a third) before A is gone; then it computes one token and goes on.
    """
    requests = [Request("A", 62, 6), Request("B", 62, 6)]
    world = pd_world(requests, decode={"blocks": 5}, link_latency_ps=PS_PER_S)
    expected = """
        P1: A62 B62 f28
        D3-4: A1 B1 f1
        D5: A1 -B f2
        D6-7: A1 f2
        D8-10: B1 f2
    """
    output = engine(world)
    assert_timeline(world, output, requests, expected, "PD")
    assert by_agent(output, "preemptions") == [0, 1]
    assert by_agent(output, "moved_tokens") == [62, 62], "it does not move again"


# --------------------------------------------------------------------------------------- when KV moves, who samples first

SLOWLY = {"port_token_fp": (PS_PER_S // 32) << 10}
"""64 tokens take two seconds."""


@pytest.mark.parametrize(
    ("transfer", "moved", "landed"), [(TRANSFER_CHUNK, 5, 6), (TRANSFER_END, 3, 8)], ids=["chunk by chunk", "at the end"]
)
def test_chunks_that_move_at_once_queue_at_the_port(engine: Engine, transfer: int, moved: int, landed: int) -> None:
    """A's chunks are there at 1, 2 and 3 s and take 2, 2 and 1 s: 1-3, 3-5, 5-6. All at the end: 3-8."""
    requests = [Request("A", 160, 3)]
    world = pd_world(requests, prefill=SLOWLY, budget=64, prealloc=1, transfer=transfer)
    expected = f"""
        P1: A64 f30
        P2: A64 f28
        P3: A32 f27
        D{landed + 1}: A1 f26
        D{landed + 2}: A1 f26
    """
    output = engine(world)
    assert_timeline(world, output, requests, expected, "PD")
    assert stages(output, "prefilled", "moved", "landed", "first", "last")[0] == (3, moved, landed, 3, landed + 2)


@pytest.mark.parametrize(("first", "at"), [(FIRST_BY_PREFILL, (1, 4)), (FIRST_BY_DECODE, (3, 5))])
def test_who_samples_the_first_token(engine: Engine, first: int, at: tuple[float, float]) -> None:
    """By the prefill rank at 1 s; by the decode rank after it has computed the last prompt token again: a step later in all."""
    requests = [Request("A", 40, 3)]
    world = pd_world(requests, prefill=A_SECOND, first_token=first)
    output = engine(world)
    assert_timeline(world, output, requests, f"P1: A40 f30\nD3-{at[1]}: A1 f30", "PD")
    assert stages(output, "landed", "first", "last")[0] == (2, *at)


@pytest.mark.parametrize(("cache", "moved"), [(1, [80, 16]), (0, [80, 80])])
def test_only_what_the_decode_rank_has_not_got_moves(engine: Engine, cache: int, moved: list[int]) -> None:
    requests = [Request("A", 80, 2, text="X"), Request("B", 80, 2, at=10, text="X")]
    world = pd_world(requests, prefill=SLOWLY, decode={"prefix_cache": cache}, texts={"X": 2})
    output = engine(world)
    assert by_agent(output, "moved_tokens") == moved
    assert by_agent(output, "cached_tokens") == [0, 64], "the prefill rank keeps its own"
    lengths = [landed - start for start, landed in stages(output, "moved", "landed").values()]
    assert lengths == [tokens / 32 for tokens in moved]


# ------------------------------------------------------------------------------------------------------------------ routers


def routed(engine: Engine, requests: Sequence[Request], texts: dict[str, int], **fleet: int) -> list[int]:
    """The workers, of two with one rank each, that took the calls."""
    plain = world_of(requests, 400, 4096, texts)
    return by_agent(engine(with_pools(plain, pool_like(plain, workers=2), **fleet)), "entry_worker")


def test_prefix_aware_ties_go_to_the_lighter_rank_then_to_the_first(engine: Engine) -> None:
    """All calls last. A: nothing is cached and loads are equal: 0. B, at the same instant: X is not cached yet, so the lighter: 1.

    C: both have X, loads 1 1: 0. D: both have X, loads 2 1: 1. E, F the same. G has no prefix anywhere, loads 3 3: 0.
    """
    requests = [Request(name, 160, 99, at, text="X") for name, at in zip("ABCDEF", (1, 1, 2, 3, 4, 5), strict=True)]
    requests.append(Request("G", 160, 99, at=6))
    assert routed(engine, requests, {"X": 4}, router=ROUTER_PREFIX) == [0, 1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize(("prompt", "worker"), [(448, 0), (480, 1)])
def test_prefix_aware_goes_by_load_when_the_match_is_a_small_share(engine: Engine, prompt: int, worker: int) -> None:
    """Rank 0 has the 4 blocks of X: 0.3 of 13 full blocks is less, of 14 (4.2) more. A still runs there, so rank 1 is the lighter one."""
    requests = [Request("A", 160, 99, text="X"), Request("B", prompt, 1, at=2, text="X")]
    assert routed(engine, requests, {"X": 4}, router=ROUTER_PREFIX) == [0, worker]


@pytest.mark.parametrize(("calls", "milli", "worker"), [(2, 1500, 0), (1, 1500, 1), (1, 3000, 0), (1, 2999, 1)])
def test_prefix_aware_goes_by_load_when_loads_differ_too_much(engine: Engine, calls: int, milli: int, worker: int) -> None:
    """Rank 0 runs A, B, C, which share X, and rank 1 runs D: 3 against 1 is 2 calls more, and three times as many."""
    requests = [Request(name, 160, 99, at, text="X") for name, at in zip("ABC", (1, 2, 4), strict=True)]
    requests[2:2] = [Request("D", 160, 99, at=3)]
    requests.append(Request("E", 160, 1, at=5, text="X"))
    limits = {"balance_calls": calls, "balance_milli": milli}
    assert routed(engine, requests, {"X": 4}, router=ROUTER_PREFIX, **limits) == [0, 0, 1, 0, worker]


@pytest.mark.parametrize(
    ("router", "first", "second"),
    [
        (ROUTER_AFFINITY, [(0, 0), (0, 1), (1, 0), (1, 1)], [(0, 0), (0, 1), (1, 0), (1, 1)]),
        (ROUTER_WORKER_AFFINITY, [(0, 0), (1, 0), (0, 1), (1, 1)], [(0, 1), (1, 1), (0, 0), (1, 0)]),
        (ROUTER_LEAST_LOADED, [(0, 0), (0, 1), (1, 0), (1, 1)], [(1, 1), (1, 0), (0, 1), (0, 0)]),
        (ROUTER_ROUND_ROBIN, [(0, 0), (0, 1), (1, 0), (1, 1)], [(1, 1), (1, 0), (0, 1), (0, 0)]),
    ],
    ids=["rank affinity", "worker affinity", "least loaded", "round robin"],
)
def test_affinity_keeps_the_rank_or_the_worker(
    engine: Engine, router: int, first: list[tuple[int, int]], second: list[tuple[int, int]]
) -> None:
    """Four agents with two calls each on two workers of two ranks. First calls come together and end at 4, 3, 2, 1 s; tools take 4 s, so
    second ones come at 8, 7, 6, 5 s, when all are idle, and last: agent 3 is first, agent 0 last.

    Rank affinity binds agents to the ranks in order. Worker affinity binds 0 and 2 to the first worker, 1 and 3 to the other, where a call
    takes the lighter rank. By load alone it is the first of equals, and the next in turn has come round to it as well.
    """
    runs = [[Call(0, 64, 4 - i, 4.0), Call(64, 64, 99)] for i in range(4)]
    load = TrajectorySet("routed", "recorded", 0, tuple(Trajectory(f"t{i}", tuple(run)) for i, run in enumerate(runs)))
    compiled = compile_calls(load, block_tokens=32, stops=False)
    plain = world_of([Request(str(i), 64, 1) for i in range(4)], 400, 4096)
    plain = plain._replace(calls=compiled.calls, threads=compiled.threads, tree=compiled.tree)
    output = engine(with_pools(plain, pool_like(plain, workers=2, ranks=2), router=router))
    places = [list(zip(by_call(output, "entry_worker", i), by_call(output, "entry_rank", i), strict=True)) for i in (0, 1)]
    assert places == [first, second]


def by_call(output, name: str, call: int) -> list[int]:  # type: ignore[no-untyped-def]
    """A column of the calls with this index, in the order of agents."""
    return by_agent(output._replace(calls=output.calls[output.calls[:, 4] == call]), name)
