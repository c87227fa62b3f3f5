"""Shape search: the paper's parts against sums done by hand, what is refused and why, the order of the shapes, and a search end to end."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_answers import answer
from typer.testing import CliRunner

from simulator.capacity.build import prepare
from simulator.capacity.results import Answer, PowerBases
from simulator.capacity.scenario_file import load_scenario
from simulator.capacity.shape import ShapeAnswer, Tried, find_shape
from simulator.capacity.shape_base import Base, base_of
from simulator.capacity.shape_cache import returns_of
from simulator.capacity.shape_candidates import candidates
from simulator.capacity.shape_demand import Demand, demand_of
from simulator.capacity.shape_estimate import Estimate, Load
from simulator.capacity.shape_json import shape_json
from simulator.capacity.shape_lockstep import PrefillWork, flushing, queueing
from simulator.capacity.shape_paper import estimate
from simulator.capacity.shape_space import PoolShape, Refused, Shape, Space, fits_budget, widths
from simulator.capacity.shape_split import decode_rate, prefill_rate
from simulator.capacity.shape_terms import Terms
from simulator.capacity.slo import SLO
from simulator.cli.main import app
from simulator.engine.world import ROLE_DECODE, ROLE_MIXED, ROLE_PREFILL, Fleet, Pool, Sched
from simulator.errors import UserError
from simulator.hardware.load import load_deployment, load_model, load_system
from simulator.hardware.power import PowerLaw
from simulator.hardware.step_law import StepLaw
from simulator.report.shape_tables import finalists_sheet, refused_sheet, runners_up_sheet, shape_sentence, shape_sheets

MS = 10**9
NONE = np.zeros(1, np.int64)
MIXED_BASE, SPLIT_BASE = "gb300_nvl72_v4pro_20tps", "gb300_nvl72_v4pro_20tps_pd"

# 1,000 new prompt tokens at 0.1 ms, 11 answer tokens in 10 steps, 1 s of tool: sums that can be done by hand.
CALLS = Demand(
    prompt_tokens=np.full(50, 1000),
    output_tokens=np.full(50, 11),
    decode_steps=np.full(50, 10),
    reusable_tokens=np.zeros(50, np.int64),
    tool_s=np.ones(50),
    returns=np.zeros(50, np.bool_),
    plays=50,
)
TIER = SLO.speed_and_ttft(20, 10)


def pool(role: int = ROLE_MIXED, workers: int = 1, ranks: int = 1, max_seqs: int = 64, blocks: int = 100_000, interval: int = 1) -> Pool:
    """A step takes 10 ms, 1 ms more for each decoding call and 0.1 ms for each prompt token; a GPU draws 500 W when it steps."""
    law = StepLaw(10 * MS, NONE, 0, 0, MS, MS // 10, 0)
    power = PowerLaw(500_000, 0, 0, 1_000_000, 100_000, 1, NONE, 0, 0, 0, 0)
    sched = Sched(8_192, max_seqs, 0, interval, 0, 0, 1, 1, 0, 1_000, 0)
    return Pool(role, workers, ranks, blocks, 0, sched, law, power)


def fleet(*pools: Pool, **options: int) -> Fleet:
    return Fleet(pools, 16, 0, NONE, NONE, **options)


def rated(*pools: Pool, demand: Demand = CALLS, slo: SLO = TIER, **options: int) -> Estimate:
    found = estimate(Terms(demand, slo), fleet(*pools, **options))
    assert found is not None
    return found


# ------------------------------------------------------------------------------------------------------------- by hand


def test_mixed_workers_by_hand() -> None:
    """A rank that decodes b calls begins b / 10 of them per step: 10 + b + 100 * b / 10 = 50 ms at 20 tok/s, so b = 40 / 11."""
    found = rated(pool())
    batch = 40 / 11
    calls_s = batch / (10 * 0.050)
    cycle_s = 1 + 0.5 * 0.050 + 0.050 + 10 * 0.050  # tool, half a step's wait, the step that prefills, ten that decode
    assert (found.pool, found.by, found.gpus) == ("mixed", "speed", 1)
    assert found.load.batch == pytest.approx(batch, rel=1e-4)
    assert found.load.step_s == pytest.approx(0.050, rel=1e-4)
    assert found.load.calls_s == pytest.approx(calls_s, rel=1e-4)
    assert found.load.cycle_s == pytest.approx(cycle_s, rel=0.01)
    assert found.agents == int(calls_s * cycle_s) == 11
    assert found.load.watts == pytest.approx(500)
    assert found.agents_per_mw == pytest.approx(11 / 500 * 1e6)


def test_mixed_workers_scale_and_bind_by_their_seats() -> None:
    few = rated(pool(workers=10, max_seqs=2))
    calls_s = 10 * 2 / (10 * 0.032)  # 10 + 2 + 20 ms a step
    assert (few.pool, few.by) == ("mixed", "seats")
    assert few.load.calls_s == pytest.approx(calls_s)
    assert few.agents == pytest.approx(calls_s * (1 + 1.5 * 0.032 + 0.32), abs=1)


def test_mixed_workers_bind_by_their_memory() -> None:
    """A call of 1,005.5 tokens takes 62.8 blocks of 16; 126 blocks hold two."""
    found = rated(pool(blocks=126))
    assert (found.pool, found.by) == ("mixed", "kv_memory")
    assert found.load.batch == pytest.approx(126 / (1005.5 / 16))


def test_rates_by_hand() -> None:
    terms = Terms(CALLS, TIER)
    assert decode_rate(terms, pool(ROLE_DECODE, 2, 4), 40) == pytest.approx(2 * 4 * 40 / (10 * 0.050))
    calls = 8.192 * 0.985  # chunks that are full but for 1.5 %
    assert prefill_rate(terms, pool(ROLE_PREFILL, 3, 2)) == pytest.approx(3 * 2 * calls / (0.010 + 0.1 * calls))


def test_prefill_and_decode_workers_by_hand() -> None:
    """Four seats at 14 ms a step end 28.6 calls/s; of 16 prefill ranks each gets 1.79, far from what it can do."""
    prefill, decode = pool(ROLE_PREFILL, workers=16), pool(ROLE_DECODE, max_seqs=4)
    found = rated(prefill, decode, prealloc=1)
    calls_s = 4 / (10 * 0.014)
    cycle_s = 1 + 1.5 * 0.110 + 0.007 + 0.14  # tool, half a prefill's wait and the prefill, half a step's wait, ten steps
    assert (found.pool, found.by, found.gpus) == ("decode", "seats", 17)
    assert found.load.calls_s == pytest.approx(calls_s)
    assert found.load.cycle_s == pytest.approx(cycle_s, rel=1e-3)
    assert found.agents == int(calls_s * cycle_s) == 37
    idle = math.exp(-calls_s / 16 * (0.010 / (1 - 0.1 * calls_s / 16)))  # nobody came in the step before
    assert found.load.watts == pytest.approx(500 + 16 * (500 - 400 * idle), rel=0.01)


def test_agents_may_wait_for_a_slot_as_long_as_the_speed_holds() -> None:
    """Ten tokens in 0.14 s are 71 tok/s; at 20 tok/s a call has 0.5 s for them: half a step to join, and 0.353 s to wait for a slot."""
    waiting = rated(pool(ROLE_PREFILL, workers=16), pool(ROLE_DECODE, max_seqs=4))
    taken = rated(pool(ROLE_PREFILL, workers=16), pool(ROLE_DECODE, max_seqs=4), prealloc=1)
    assert waiting.load.cycle_s - taken.load.cycle_s == pytest.approx(0.353, abs=0.001)
    assert waiting.load.calls_s == taken.load.calls_s


def test_a_slow_link_binds() -> None:
    decode = pool(ROLE_DECODE)._replace(port_fixed_ps=MS, port_token_fp=MS // 10 * 1024)  # 1 + 100 ms a call
    found = rated(pool(ROLE_PREFILL, workers=16), decode)
    assert (found.pool, found.by) == ("link", "rate")
    assert found.load.calls_s == pytest.approx(1 / 0.101)


def test_few_prefill_workers_break_the_ttft() -> None:
    found = rated(pool(ROLE_PREFILL), pool(ROLE_DECODE, workers=4), slo=SLO.speed_and_ttft(20, 1))
    assert found.pool == "prefill"
    assert 0.9 < found.load.ttft_s <= 1
    tighter = rated(pool(ROLE_PREFILL), pool(ROLE_DECODE, workers=4), slo=SLO.speed_and_ttft(20, 0.3))
    assert 0 < tighter.agents < found.agents


def test_no_agent_holds_what_one_alone_breaks() -> None:
    assert rated(pool(), slo=SLO.speed_and_ttft(1000, 10)).agents == 0
    assert rated(pool(), slo=SLO.speed_and_ttft(20, 0.01)).agents == 0


def test_the_end_to_end_form() -> None:
    """11 tokens at 10 tok/s end to end are 1.1 s for waiting, prefill and steps."""
    found = rated(pool(), slo=SLO.e2e(10))
    assert found.by == "e2e_speed"
    assert found.load.cycle_s - 1 == pytest.approx(1.1, rel=0.01)


def test_other_sets_of_pools_have_no_estimate() -> None:
    terms = Terms(CALLS, TIER)
    assert estimate(terms, fleet(pool(), pool())) is None
    assert estimate(terms, fleet(pool(ROLE_PREFILL), pool(ROLE_PREFILL), pool(ROLE_DECODE))) is None


# ------------------------------------------------------------------------------------------------------------ lockstep


def poisson(mean: float, most: int = 60) -> np.ndarray:
    return np.array([math.exp(-mean) * mean**n / math.factorial(n) for n in range(most)])


@pytest.mark.parametrize("ranks", [1, 2, 8, 32])
@pytest.mark.parametrize("calls", [0.05, 1.0, 6.0])
def test_the_slowest_of_equal_calls_is_the_largest_of_poisson_counts(ranks: int, calls: float) -> None:
    """With calls of 100 ms the work of a rank is 100 ms times a Poisson count."""
    work = np.full(7, 100.0 * MS)
    expected = (1 - np.cumsum(poisson(calls)) ** ranks).sum() * 100 * MS
    shares = np.full(7, 1 / 7)
    assert flushing(ranks, calls, work, shares, 1e6 * MS, 95).slowest_ps == pytest.approx(expected, rel=0.01)
    assert queueing(calls, work, shares, 1e4 * MS, 95).opening(ranks).slowest_ps == pytest.approx(expected, rel=0.02)


def test_a_queue_does_all_that_comes_and_no_more_than_a_chunk() -> None:
    work, shares = np.array([50.0, 100.0, 400.0]) * MS, np.array([0.5, 0.4, 0.1])
    settled = queueing(2.0, work, shares, 250.0 * MS, 95)
    mean = 2.0 * (work * shares).sum()  # 210 ms of 250
    assert (1 - settled.below).sum() * settled.width_ps == pytest.approx(mean, rel=0.005)
    assert mean < settled.opening(4).slowest_ps < settled.opening(16).slowest_ps <= 250 * MS
    assert 1 < settled.mean < settled.tail
    lighter = queueing(0.5, work, shares, 250.0 * MS, 95)
    assert lighter.tail < settled.tail


def test_a_queue_by_simulation() -> None:
    """Lindley's recursion played with random numbers gives the same slowest rank."""
    rng = np.random.default_rng(5)
    work, shares, chunk, ranks = np.array([50.0, 100.0, 400.0]), np.array([0.5, 0.4, 0.1]), 250.0, 4
    queue, slowest = np.zeros(ranks), []
    for _ in range(20_000):
        queue = queue + [rng.choice(work, n, p=shares).sum() for n in rng.poisson(1.8, ranks)]
        done = np.minimum(queue, chunk)
        slowest.append(done.max())
        queue -= done
    assert queueing(1.8, work * MS, shares, chunk * MS, 95).opening(ranks).slowest_ps == pytest.approx(np.mean(slowest) * MS, rel=0.01)


def test_long_calls_come_in_pieces_unless_others_wait() -> None:
    work, shares = np.array([100.0, 1000.0]) * MS, np.array([0.9, 0.1])
    rare, often = (flushing(8, calls, work, shares, 100.0 * MS, 99) for calls in (0.01, 3.0))
    whole_rare, whole_often = (flushing(8, calls, work, shares, 1e6 * MS, 99) for calls in (0.01, 3.0))
    assert rare.slowest_ps < 1.01 * whole_rare.slowest_ps  # nobody else prefills: pieces take together what the whole took
    assert 0.8 < often.slowest_ps / whole_often.slowest_ps <= 1
    assert rare.tail == 10


def test_the_table_is_near_what_it_stands_for() -> None:
    rng = np.random.default_rng(2)
    hit, miss = rng.lognormal(4, 1, 500) * MS, rng.lognormal(6, 0.5, 500) * MS
    work = PrefillWork(hit, miss, 95)
    values, shares = np.concatenate((hit, miss)), np.repeat((0.93 / 500, 0.07 / 500), (500, 500))
    chunk = 2000.0 * MS
    direct = queueing(5.0, values, shares, chunk, 95).opening(8)
    table = work.queued(8, 5.0, 0.93, chunk)
    assert table.slowest_ps == pytest.approx(direct.slowest_ps, rel=0.03)
    assert work.queued(1, 5.0, 0.93, chunk).slowest_ps == pytest.approx(5 * work.mean_ps(0.93))
    assert work.flushed(8, 1.3, 0.93, chunk).slowest_ps == pytest.approx(flushing(8, 1.3, values, shares, chunk, 95).slowest_ps, rel=0.03)
    assert math.isinf(work.queued(8, 1000.0, 1.0, chunk).slowest_ps)


# -------------------------------------------------------------------------------------------------- workload and cache


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"workload.marker": "after_system"},
        {"workload.marker": "none"},
        {"workload.history": "generated"},
        {"workload.source": "agentperf_like_subagents"},
        {"deployment": "hgx_h200_v4pro_20tps"},
    ],
)
def test_reuse_adds_up_to_what_an_infinite_cache_serves(changes: dict[str, Any]) -> None:
    prepared = prepare(load_scenario("capacity_gb300_pd_20tps", changes), 1)
    demand = demand_of(prepared, 0.1)
    assert demand.reusable_tokens.sum() / demand.prompt_tokens.sum() == pytest.approx(prepared.cache_hit_possible, rel=2e-3)
    assert (demand.reusable_tokens < demand.prompt_tokens).all()
    assert (demand.parallel > 1.2) == ("subagents" in prepared.scenario.workload.source)


def followed(count: int = 400) -> Demand:
    """Plays of 4 calls of 10,000 tokens, of which a call reuses what the one before it had; every other call decodes ten times as long."""
    first = np.arange(count) % 4 == 0
    return Demand(
        prompt_tokens=np.full(count, 10_000),
        output_tokens=np.full(count, 101),
        decode_steps=np.where(np.arange(count) % 2 == 0, 20, 200),
        reusable_tokens=np.where(first, 0, 9_000),
        tool_s=np.ones(count),
        returns=np.arange(count) % 4 != 3,
        plays=count // 4,
    )


def test_the_cache_keeps_what_returns_first() -> None:
    demand = followed()
    found = returns_of(demand, decoding_elsewhere=True)
    rooms = [found.kept(10, room, 0.1, 0.0, 0.0) for room in (0, 1e5, 1e6, 3e6, 1e7)]
    assert rooms[0] == 0
    assert rooms == sorted(rooms)
    assert rooms[-1] == pytest.approx(1)
    # Calls of 20 steps come back after 3 s, those of 200 after 21 s: at 10 calls/s the first alone need 10 * 10,000 * 3 tokens.
    assert found.kept(10, 3.1e5, 0.1, 0.0, 0.0) == pytest.approx(2 / 3)  # two of the three that reuse follow a short one
    assert found.kept(10, 2.9e5, 0.1, 0.0, 0.0) < 2 / 3


def test_misses_cost_agents() -> None:
    demand = followed()
    slo = SLO.speed_and_ttft(5, 10)
    wide, narrow = (rated(pool(ROLE_PREFILL, blocks=blocks), pool(ROLE_DECODE, 8), demand=demand, slo=slo) for blocks in (10**6, 3_000))
    assert wide.load.kept == pytest.approx(1)
    assert narrow.load.kept < 0.9
    assert narrow.agents < wide.agents


def test_step_and_prefill_are_those_of_the_engines_law() -> None:
    """The paper reads the integers of `StepLaw`: one call of the workload costs what the law says."""
    prepared = prepare(load_scenario("capacity_gb300_pd_20tps"), 1)
    demand, law = demand_of(prepared, 0.1), prepared.pools[0].law
    new, reused = int(demand.prompt_tokens[1] - demand.reusable_tokens[1]), int(demand.reusable_tokens[1])
    whole = law.prefill_token_ps * new + (law.pair_fp * new * (2 * reused + new) >> 11)
    assert demand.prefill_ps(law, True)[1] == pytest.approx(whole, rel=1e-9)
    assert demand.prefill_ps(law, True).mean() < demand.prefill_ps(law, False).mean()


# ----------------------------------------------------------------------------------------------------- shapes and bases


def based(ref: Any) -> Base:
    deployment = load_deployment(ref)
    return base_of(ref, deployment, load_system(deployment.system), load_model(deployment.model))


def split(prefills: int = 3, width: int = 8, decodes: int = 2, seats: int = 384) -> Shape:
    return Shape((PoolShape("prefill", prefills, width, "dp", 128, 16_384), PoolShape("decode", decodes, 8, "dp", seats, 4 * seats)))


def mixed(workers: int = 9, width: int = 8, attention: str = "dp") -> Shape:
    return Shape((PoolShape("mixed", workers, width, attention, 192, 4096),))


def test_names_and_sizes() -> None:
    assert str(split()) == "3 x DEP8 P + 2 x DEP8 D"
    assert str(mixed(2, 4, "tp")) == "2 x TP4 mixed"
    assert (split().gpus, split().seats, split().kind, mixed().kind) == (40, 384, "prefill/decode", "mixed")
    assert split(1).family == split(5).family != split(5, 4).family
    system = load_system("gb300_nvl72")
    assert widths(system, 72) == [1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 32, 36, 64, 72]
    assert widths(system, 8) == [1, 2, 3, 4, 6, 8]
    assert [fits_budget(n, 144, system) for n in (72, 73, 144, 216)] == [True, False, True, False]


@pytest.mark.parametrize("ref", [MIXED_BASE, SPLIT_BASE, {"extends": SPLIT_BASE, "pools": {"prefill": {"workers": 3}}}])
@pytest.mark.parametrize("shape", [mixed(), split()])
def test_a_shape_changes_sizes_and_keeps_the_rest(ref: Any, shape: Shape) -> None:
    base = based(ref)
    made = load_deployment(base.mapping(shape))
    assert [(p.role, p.workers, p.gpus_per_worker, p.ranks) for p in made.pools] == [
        (p.role, p.workers, p.gpus_per_worker, p.ranks) for p in shape.pools
    ]
    assert (made.engine, made.drafts, made.kv_link, made.name) == (base.deployment.engine, base.deployment.drafts, "scale_up", str(shape))
    assert {pool.law for pool in made.pools} == {base.deployment.pools[0].law}
    assert made.inspired == base.deployment.inspired


def test_the_base_made_of_its_own_shape_is_the_base() -> None:
    for ref in (MIXED_BASE, SPLIT_BASE):
        base = based(ref)
        shape = base.shape()
        assert shape is not None
        assert load_deployment(base.mapping(shape)).pools == base.deployment.pools


def test_another_attention_shares_a_ranks_compute() -> None:
    made = load_deployment(based(MIXED_BASE).mapping(mixed(9, 8, "tp")))
    law, own = made.pools[0].law, load_deployment(MIXED_BASE).pools[0].law
    assert law.prefill_token_s == pytest.approx(own.prefill_token_s / 8)
    assert (law.floor_s, law.kv_efficiency) == (own.floor_s, own.kv_efficiency)
    assert "shared by 8" in made.fields["pools.mixed.prefill_token_s"].source


def test_a_measured_pool_is_that_of_its_layout_only() -> None:
    base = based("hgx_h200_v4pro_20tps")
    (own,) = base.deployment.pools
    assert 0.01 < base.pool_share["mixed"] < 0.1
    assert load_deployment(base.mapping(mixed(1, 8, "tp"))).pools[0].blocks_per_rank == own.blocks_per_rank
    with pytest.raises(UserError, match="room for a KV block"):
        load_deployment(base.mapping(mixed(1, 8, "dp")))


def test_more_than_a_rack_moves_its_kv_over_the_network() -> None:
    made = load_deployment(based(SPLIT_BASE).mapping(split(14, 8, 4)))
    assert (made.gpus, made.kv_link) == (144, "scale_out")


def terms_of(name: str, **changes: Any) -> tuple[Base, Terms]:
    prepared = prepare(load_scenario("capacity_gb300_pd_20tps", {"deployment": name, **changes}), 1)
    return base_of(name, prepared.deployment, prepared.system, prepared.model), Terms(demand_of(prepared, 0.1), prepared.slo)


def test_what_does_not_fit_is_refused_with_the_reason() -> None:
    base, terms = terms_of(SPLIT_BASE)
    found = candidates(base, load_model("deepseek_v4_pro"), terms, Space(gpus=18, most_decode_workers=1), "gpu")
    reasons = {(refused.role, refused.layout): refused.reason for refused in found.refused}
    for role in ("mixed", "prefill", "decode"):
        assert "447 GB of weights per GPU" in reasons[role, "DEP2"]
        assert "384 experts do not share out evenly over 9 GPUs" in reasons[role, "DEP9"]
    families = {candidate.shape.family for candidate in found.found}
    assert (("prefill", "DEP4"), ("decode", "DEP8")) in families
    assert not any("DEP2" in layout or "DEP9" in layout for family in families for _, layout in family)
    assert all(candidate.shape.gpus <= 18 for candidate in found.found)


def test_a_rank_too_small_for_the_longest_call_is_refused() -> None:
    base, terms = terms_of(SPLIT_BASE)
    longest = int((terms.demand.prompt_tokens + terms.demand.output_tokens).max())
    small = {"extends": SPLIT_BASE, "kv_pool_share": 0.41 * longest / 2 / (15_223 * 128)}
    base = based(small)
    found = candidates(base, load_model("deepseek_v4_pro"), terms, Space(gpus=8, most_decode_workers=1), "gpu")
    assert any(refused.layout == "DEP4" and f"the longest call has {longest:,} tokens" in refused.reason for refused in found.refused)
    assert all(pool.gpus_per_worker > 4 for candidate in found.found for pool in candidate.shape.pools)


def test_a_shape_is_rated_once_and_the_best_comes_first() -> None:
    base, terms = terms_of(MIXED_BASE)
    found = candidates(base, load_model("deepseek_v4_pro"), terms, Space(gpus=16, widest=8), "gpu").found
    assert len({str(candidate.shape) for candidate in found}) == len(found)
    scores = [candidate.paper.agents_per_gpu for candidate in found]
    assert scores == sorted(scores, reverse=True)
    seats = {c.shape.seats for c in found if c.shape.kind != "mixed"}
    assert seats <= {48, 96, 192, 384, 768}
    by_mw = candidates(base, load_model("deepseek_v4_pro"), terms, Space(gpus=16, widest=8), "mw").found
    scores = [candidate.paper.agents_per_mw for candidate in by_mw]
    assert scores == sorted(scores, reverse=True)


# ---------------------------------------------------------------------------------------------------------- the answer


def tried(name: str, per_gpu: float, per_mw: float, paper: int = 0, shape: Shape | None = None) -> Tried:
    """An invented finalist on 10 GPUs."""
    agents = round(10 * per_gpu)
    found: Answer = replace(answer(), agents_held=agents, gpus=10, agents_per_gpu=per_gpu, agents_per_mw=PowerBases(per_mw, 1.0, 1.0, 1.0))
    rating = Estimate(paper, 10, Load(watts=100.0), "decode", "seats") if paper else None
    return Tried(name, shape, 10, rating, found, {"extends": "x"})


def searched(*finalists: Tried, base: Tried, by: str = "gpu", **changes: Any) -> ShapeAnswer:
    whole = ShapeAnswer(
        "gb300_nvl72", "deepseek_v4_pro", {"speed_tok_s": 20, "ttft_s": 10}, "imitates x", by, 72, (1,), 99, finalists, base, (), (), ()
    )
    return replace(whole, **changes)


def test_dominated_shapes_are_told() -> None:
    best, other, worse, base = tried("best", 9, 50), tried("other", 8, 60), tried("worse", 8, 50), tried("base", 5, 70)
    found = searched(best, other, worse, base=base)
    assert [found.dominated(each) for each in (best, other, worse, base)] == [False, False, True, False]
    assert found.best is best
    assert searched(best, other, worse, base=base, by="mw").best is base
    twins = tried("a", 9, 50), tried("b", 9, 50)
    assert [searched(*twins, base=base).dominated(each) for each in twins] == [False, False]


def test_the_gap_between_paper_and_simulation() -> None:
    found = searched(tried("a", 9, 50, paper=99), tried("b", 8, 50, paper=76), base=tried("base", 5, 70))
    assert found.gap == pytest.approx((0.95, 1.1))
    assert math.isnan(searched(base=tried("base", 5, 70)).gap[0])


def test_tables_tell_best_dominated_and_why_not() -> None:
    shape, up = split(), Tried("up", split(2), 32, Estimate(700, 32, Load(watts=9e4), "link", "rate"), None, {})
    refused = (Refused("prefill", "DEP2", "too small"), Refused("decode", "DEP2", "too small"), Refused("mixed", "DEP9", "uneven"))
    first, second, base = tried(str(shape), 9, 50, 99, shape), tried("second", 4, 40, 30), tried("gb300", 5, 45)
    found = searched(first, second, base=base, runners_up=(up,), refused=refused, cautions=("mind the width",))
    sheet = finalists_sheet(found)
    assert [row[-1] for row in sheet.rows] == ["best", "dominated", "dominated"]
    assert sheet.rows[0][:5] == ("3 x DEP8 P + 2 x DEP8 D", "384", "10", "99", "90")
    assert sheet.rows[2][0] == "base: gb300"
    assert "mind the width" in sheet.note
    assert runners_up_sheet(found).rows[0][-1] == "rate (link)"
    assert refused_sheet(found).rows == (("DEP2", "prefill, decode", "too small"), ("DEP9", "mixed", "uneven"))
    assert len(shape_sheets(searched(first, base=base))) == 1
    assert "1.80× the base" in shape_sentence(found)
    assert "gb300 holds most" in shape_sentence(searched(base=base))
    text = json.dumps(shape_json(found))
    assert json.loads(text)["runners_up"][0]["held"] is None


SMALL: dict[str, Any] = {
    "name": "small",
    "deployment": SPLIT_BASE,
    "workload": {"kind": "trajectories", "source": "agentperf_like"},
    "slo": {"speed_tok_s": 60, "ttft_s": 5},
    "seeds": [1],
    "phase": {"ramp_s": 20, "warmup_s": 10, "min_window_s": 60, "min_trajectories": 0, "min_agent_trajectories": 0, "max_s": 250},
    "search": {"share": 0.05, "scout_s": 20},
}


@pytest.fixture(scope="module")
def found() -> ShapeAnswer:
    told: list[str] = []
    result = find_shape(load_scenario(SMALL), Space(gpus=12, widest=8), finalists=2, progress=told.append, jobs=1)
    assert any("shapes rated" in line for line in told)
    return result


def test_a_search_end_to_end(found: ShapeAnswer) -> None:
    assert len(found.finalists) == 2
    assert {each.shape.kind for each in found.finalists if each.shape} == {"mixed", "prefill/decode"}
    scores = [each.score("gpu") for each in found.finalists]
    assert scores == sorted(scores, reverse=True)
    assert all(each.answer and each.answer.gpus == each.gpus <= 12 for each in found.finalists)
    assert found.base.name == SPLIT_BASE
    assert str(found.base.shape) == "6 x DEP4 P + 1 x DEP8 D"
    low, high = found.gap
    assert 0.75 < low <= high < 1.3
    assert "DEP2" in {refused.layout for refused in found.refused}
    for each in found.finalists:
        made = load_deployment(each.deployment)
        assert made.gpus == each.gpus


def test_the_answer_does_not_depend_on_the_processes(found: ShapeAnswer) -> None:
    again = find_shape(load_scenario(SMALL), Space(gpus=12, widest=8), finalists=2, jobs=2)
    assert json.dumps(shape_json(again)) == json.dumps(shape_json(found))


def test_bad_arguments_are_told() -> None:
    scenario = load_scenario(SMALL)
    with pytest.raises(UserError, match="gpu, mw"):
        find_shape(scenario, by="watt")
    with pytest.raises(UserError, match="dp, tp"):
        find_shape(scenario, Space(attentions=("ep",)))
    with pytest.raises(UserError, match=r"no shape fits 2 GPUs.*447 GB"):
        find_shape(scenario, Space(gpus=2))


def test_the_command(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(json.dumps(SMALL), encoding="utf-8")
    words = ["shape", str(file), "--gpus", "8", "--widest", "4", "--finalists", "1", "-s", "search.ceiling=200", "-s", "search.share=0.2"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.stderr
    assert "Shapes of up to 8 GPUs of gb300_nvl72" in result.stdout
    assert "Layouts that do not fit" in result.stdout
    assert "wall time" in result.stderr
    document = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert document["finalists"][0]["held"]["agents"] > 0
    assert document["finalists"][0]["deployment"]["extends"] == SPLIT_BASE
    assert {"best", "paper_over_simulation", "base", "runners_up", "refused", "cautions"} <= set(document)
    bad = CliRunner().invoke(app, ["shape", str(file), "--by", "watt"])
    assert bad.exit_code != 0
    assert "gpu, mw" in bad.stderr
