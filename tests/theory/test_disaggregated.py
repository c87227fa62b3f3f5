"""A call that moves from a prefill to a decode pool, alone and in a crowd: times to the picosecond, ports by hand, tokens conserved."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from simulator.capacity.fleet import engine_fleet, engine_pools
from simulator.engine import Output, Stop, World, simulate_kernel, simulate_reference
from simulator.engine.world import (
    EVENT_COLUMNS,
    EVENT_MOVE,
    FIRST_BY_DECODE,
    FIRST_BY_PREFILL,
    FIRST_TOKENS,
    ROLE_DECODE,
    ROLE_PREFILL,
    ROUTER_LEAST_LOADED,
    ROUTER_ROUND_ROBIN,
    TRANSFER_CHUNK,
    TRANSFER_END,
    TRANSFERS,
    Fleet,
    Pool,
)
from simulator.hardware.load import load_deployment, load_model, load_system
from simulator.hardware.step_law import StepLaw
from simulator.workload.compile import compile_calls
from simulator.workload.trajectory import Call
from tests.theory.worlds import BLOCK, FAR, MS, SCHED, US, at, column, constant_law, load_of, pool_of, total, world_of

Engine = Callable[[World], Output]


@pytest.fixture(params=[simulate_kernel, simulate_reference], ids=["kernel", "reference"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.param  # type: ignore[no-any-return]


class Course(NamedTuple):
    """When a call alone in its fleet reaches each stage, from its sending on."""

    prefilled_ps: int
    moved_ps: int
    landed_ps: int
    first_ps: int
    last_ps: int


def chunk_ps(law: StepLaw, tokens: int, before: int) -> int:
    """A step that prefills ``tokens`` behind ``before`` computed ones, and nothing else."""
    shared = int(law.shared_ps[min(tokens, len(law.shared_ps) - 1)])
    return law.floor_ps + shared + law.prefill_token_ps * tokens + (law.pair_fp * tokens * (2 * before + tokens) >> 11)


def decode_ps(pool: Pool, prompt: int, step: int) -> int:
    """The decode step number ``step`` (from 0) of one call alone: it reads its prompt and what it has emitted, in the mean."""
    law, queries = pool.law, 1 + pool.sched.drafts
    context = ((prompt + 1) * 1000 + step * pool.sched.accept_milli) // 1000
    shared = int(law.shared_ps[min(queries, len(law.shared_ps) - 1)])
    return law.floor_ps + shared + law.seq_ps + (law.ctx_fp * context >> 10) + law.decode_token_ps * queries


def course(fleet: Fleet, prompt: int, decode_steps: int) -> Course:
    """The law's own sum: prefill chunks, the transfer where the fleet puts it, perhaps one prompt token again, decode steps."""
    prefill, decode = fleet.pools
    unit = prefill.sched.token_budget // prefill.sched.chunk_round * prefill.sched.chunk_round
    fixed_ps = max(prefill.port_fixed_ps, decode.port_fixed_ps)
    token_fp = max(prefill.port_token_fp, decode.port_token_fp)
    now = port_free = sent = 0
    for before in range(0, prompt, unit):
        tokens = min(unit, prompt - before)
        now += chunk_ps(prefill.law, tokens, before)
        last = before + tokens == prompt
        if last or fleet.transfer == TRANSFER_CHUNK:
            moved = max(now, port_free)
            port_free = moved + (token_fp * (before + tokens - sent) >> 10) + (fixed_ps if last else 0)
            sent = before + tokens
    prefilled, landed = now, port_free + fleet.link_latency_ps
    by_decode = fleet.first_token == FIRST_BY_DECODE
    began = landed + (chunk_ps(decode.law, 1, prompt - 1) if by_decode else 0)
    end = began + sum(decode_ps(decode, prompt, step) for step in range(decode_steps))
    return Course(prefilled, moved, landed, began if by_decode else prefilled, end)


def course_of(output: Output) -> Course:
    assert len(output.calls) == 1
    return Course(*(int((column(output, name) - column(output, "send_ps"))[0]) for name in Course._fields))


PRESETS = {"vllm": ("decode", "end", False), "sglang": ("prefill", "chunk", True), "trtllm": ("prefill", "end", False)}
"""Who samples the first token, when the KV moves, and whether the decode seat is taken before the prefill (docs/engines.md)."""


@pytest.mark.parametrize("budget", [16_384, 5_000])
@pytest.mark.parametrize("preset", PRESETS)
def test_zero_load_call_of_a_preset_is_the_law_s_own_sum(engine: Engine, preset: str, budget: int) -> None:
    """One call in a shipped fleet of prefill and decode pools, with its real laws, link and drafts, as each preset orders its stages."""
    pools = {"prefill": {"token_budget": budget}}
    deployment = load_deployment({"extends": "gb300_nvl72_v4pro_20tps_pd", "name": "theory", "engine": preset, "pools": pools})
    assert (deployment.first_token, deployment.kv_transfer, deployment.decode_prealloc) == PRESETS[preset]
    system, model = load_system(deployment.system), load_model(deployment.model)
    prompt, starts_ps = 40_000, at(5 * MS)
    compiled = compile_calls(
        load_of([[Call(0, prompt, 300)]]),
        block_tokens=deployment.block_tokens,
        accept_pmf=deployment.accept_pmf,
        drafts=deployment.drafts,
        stops=False,
    )
    fleet = engine_fleet(deployment, engine_pools(system, model, deployment), starts_ps, np.zeros(1, np.int64))
    assert fleet.link_latency_ps > 0
    assert all(min(pool.port_fixed_ps, pool.port_token_fp) > 0 for pool in fleet.pools)
    world = World(compiled.calls, compiled.threads, compiled.tree, fleet, Stop(0, 0, 10**9, 0, FAR, 1))
    output = simulate_kernel(world) if engine is simulate_kernel else simulate_reference(world, verify=False)
    assert course_of(output) == course(fleet, prompt, int(compiled.calls.decode_steps[0]))
    assert column(output, "moved_tokens").tolist() == [prompt]


@pytest.mark.parametrize("latency_ps", [0, 3 * MS])
@pytest.mark.parametrize("slow", ["prefill", "decode"])
@pytest.mark.parametrize(("transfer", "prealloc"), [(TRANSFER_END, 0), (TRANSFER_END, 1), (TRANSFER_CHUNK, 1)])
@pytest.mark.parametrize("first", FIRST_TOKENS)
def test_zero_load_call_is_the_law_s_own_sum(  # type: ignore[no-untyped-def]
    engine: Engine, first: str, transfer: int, prealloc: int, slow: str, latency_ps: int
) -> None:
    """Every order of stages; a transfer so slow that chunks queue behind each other; the slower of the two ports sets the time."""
    law = StepLaw(11 * MS, np.arange(5000, dtype=np.int64) * 3 * US, 17 * US, 236 << 10, 80 * US, 62 * US, 170 << 10)
    quick = pool_of(law._replace(floor_ps=7 * MS), SCHED._replace(token_budget=400, chunk_round=32), role=ROLE_PREFILL)
    big = pool_of(law, role=ROLE_DECODE)
    port = {"port_fixed_ps": 2 * MS, "port_token_fp": 123_456_789_123}
    pools = [pool._replace(**port) if name == slow else pool for name, pool in (("prefill", quick), ("decode", big))]
    order = {"first_token": FIRST_TOKENS[first], "transfer": transfer, "prealloc": prealloc, "link_latency_ps": latency_ps}
    world = world_of([[Call(0, 1_000, 40)]], at(5 * MS), pools, **order)
    got = course_of(engine(world))
    assert got == course(world.fleet, 1_000, 39)
    assert [transfer == TRANSFERS["chunk"], first == "decode"] == [got.moved_ps > got.prefilled_ps, got.first_ps > got.landed_ps]


def test_a_call_of_one_token_does_not_move_when_prefill_samples_it(engine: Engine) -> None:
    pools = [pool_of(constant_law(10 * MS), role=ROLE_PREFILL), pool_of(constant_law(7 * MS), role=ROLE_DECODE)]
    run = [[Call(0, 500, 1)]]
    alone, moved = (engine(world_of(run, at(0), pools, first_token=first)) for first in (FIRST_BY_PREFILL, FIRST_BY_DECODE))
    assert (int(column(alone, "last_ps")[0]), int(column(alone, "moved_tokens")[0])) == (10 * MS, 0)
    assert int(column(moved, "last_ps")[0]) == (10 + 7) * MS + 1, "a transfer takes at least a picosecond"


def moves(output: Output) -> list[tuple[int, int, int, int]]:
    """(lane, tokens, start, landing) of each transfer in the order of asking, times in ms."""
    names = [EVENT_COLUMNS.index(name) for name in ("lane", "a", "b", "c")]
    rows = output.events[output.events[:, EVENT_COLUMNS.index("kind")] == EVENT_MOVE][:, names]
    assert (rows[:, 2:] % MS == 0).all()
    return [(lane, tokens, start // MS, landing // MS) for lane, tokens, start, landing in rows.tolist()]


def logged(engine: Engine, world: World) -> Output:
    return simulate_kernel(world, events=True) if engine is simulate_kernel else engine(world)


@pytest.mark.parametrize(
    ("shared", "expected"),
    [
        (0, [(0, 100, 10, 35), (1, 200, 10, 55), (2, 300, 10, 75)]),
        (1, [(0, 100, 10, 35), (1, 200, 30, 75), (2, 300, 70, 135)]),
    ],
)
def test_transfers_queue_first_come_first_served_on_a_shared_port(engine: Engine, shared: int, expected: list[tuple[int, ...]]) -> None:
    """Three ranks of a prefill worker end together at 10 ms; KV takes 0.2 ms a token and 5 ms of latency after the port is free again.

    Ports of their own: 10 + 20, 10 + 40, 10 + 60, each + 5. One port: it is busy until 30, 70, 130.
    """
    prefill = pool_of(constant_law(10 * MS), role=ROLE_PREFILL, ranks=3)._replace(shared_port=shared)
    prefill = prefill._replace(port_token_fp=MS // 5 << 10)
    decode = pool_of(constant_law(1 * MS), role=ROLE_DECODE, ranks=3)
    runs = [[Call(0, 100 * (i + 1), 2)] for i in range(3)]
    world = world_of(runs, at(0, 0, 0), [prefill, decode], link_latency_ps=5 * MS)
    output = logged(engine, world)
    assert moves(output) == expected
    assert sorted((column(output, "landed_ps") // MS).tolist()) == sorted(landing for *_, landing in expected)
    assert total(output, "moved_tokens", 0) == total(output, "moved_tokens", 1) == 600
    assert total(output, "moving_ns", 0) * 1000 == 120 * MS, "the time on the port, without the wait for it and the latency"


def test_a_transfer_waits_for_both_of_its_ports(engine: Engine) -> None:
    """Two prefill workers, one decode port: the second waits for the decode side; a third, from the first worker, for both.

    Ready at 10 (agent 0), 12 (agent 1), 20 (agent 2, on worker 0 again); 100 tokens take 20 ms: 10-30, 30-50, 50-70.
    """
    prefill = pool_of(constant_law(10 * MS), role=ROLE_PREFILL, workers=2)._replace(port_token_fp=MS // 5 << 10)
    decode = pool_of(constant_law(1 * MS), SCHED._replace(max_seqs=4), role=ROLE_DECODE)
    world = world_of([[Call(0, 100, 2)]], at(0, 2 * MS, 10 * MS), [prefill, decode], router=ROUTER_ROUND_ROBIN)
    output = logged(engine, world)
    assert moves(output) == [(0, 100, 10, 30), (1, 100, 30, 50), (2, 100, 50, 70)]
    assert column(output, "entry_worker").tolist() == [0, 1, 0]


@pytest.mark.parametrize("transfer", [TRANSFER_END, TRANSFER_CHUNK])
@pytest.mark.parametrize("cache", [0, 1])
def test_what_many_prefill_workers_send_is_what_one_decode_rank_gets(engine: Engine, cache: int, transfer: int) -> None:
    """Moved tokens, counted on both sides, call by call and move by move; with a cache at the decode rank only what is new there moves."""
    rng = np.random.default_rng(11)
    runs = []
    for _ in range(5):
        prompt, calls = 0, []
        for _ in range(6):
            new = int(rng.integers(1, 500))
            calls.append(Call(prompt, new, int(rng.integers(2, 60)), float(rng.random() / 10)))
            prompt += new
        runs.append(calls)
    both = SCHED._replace(token_budget=300, max_seqs=3, prefix_cache=1)
    prefill = pool_of(constant_law(5 * MS, 20 * US), both, role=ROLE_PREFILL, workers=3)._replace(port_token_fp=30 * US << 10)
    decode = pool_of(constant_law(5 * MS), both._replace(prefix_cache=cache), role=ROLE_DECODE)
    order = {"transfer": transfer, "prealloc": int(transfer == TRANSFER_CHUNK)}
    output = logged(engine, world_of(runs, np.arange(5, dtype=np.int64) * MS, [prefill, decode], **order, router=ROUTER_LEAST_LOADED))
    tokens = output.events[output.events[:, EVENT_COLUMNS.index("kind")] == EVENT_MOVE][:, EVENT_COLUMNS.index("a")]
    moved = column(output, "moved_tokens")
    assert len(moved) == 30
    assert tokens.sum() == moved.sum() == total(output, "moved_tokens", 0) == total(output, "moved_tokens", 1)
    if cache:
        resident = column(output, "prompt_tokens") - moved
        assert (resident % BLOCK == 0).all()
        reusable = compile_calls(load_of(runs), block_tokens=BLOCK, stops=False).reusable_block_tokens
        assert resident.sum() == reusable > 0, "a play has one decode rank here, and it forgets nothing"
    else:
        assert (moved == column(output, "prompt_tokens")).all()
