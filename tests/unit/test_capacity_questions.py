"""The questions end to end on a small load: consistent answers, the same answer twice and in any number of processes."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simulator.capacity.answers_json import answer_json, comparison_json, rounded, summary_json
from simulator.capacity.build import build_world, prepare
from simulator.capacity.comparison import best_sprints, compare, ratios, tier_name
from simulator.capacity.hold import BASES, answer, capacity
from simulator.capacity.point import play, play_window, run
from simulator.capacity.results import Answer, Sprint
from simulator.capacity.scenario import Scenario
from simulator.capacity.scenario_file import load_scenario
from simulator.capacity.seed_search import search_seed
from simulator.capacity.stages import before_first, stage_names, stage_ps
from simulator.engine.world import CALL_COLUMNS, Output
from simulator.errors import UserError
from simulator.units import PS_PER_S

SHORT = {"ramp_s": 10, "warmup_s": 10, "min_window_s": 120, "min_trajectories": 0, "min_agent_trajectories": 0}
ASKED: dict[str, Any] = {
    "name": "small",
    "deployment": "hgx_h200_v4pro_20tps",
    "workload": {"kind": "trajectories", "source": "agentperf_like"},
    "slo": {"speed_tok_s": 80, "ttft_s": 10},
    "seeds": [1, 2],
    "phase": SHORT,
    "search": {"scout_s": 20},
}


def asked(**changes: Any) -> Scenario:
    return load_scenario(ASKED, {key.replace("__", "."): value for key, value in changes.items()})


@pytest.fixture(scope="module")
def found() -> Answer:
    return capacity(asked(), jobs=1)


def test_one_point(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    summary = run(asked(), agents=3, progress=told.append)
    assert len(told) == 2
    assert capsys.readouterr().out == ""
    assert (summary.agents, summary.gpus, summary.seeds) == (3, 8, (1, 2))
    assert summary.window_s == pytest.approx(240, rel=0.05)
    assert summary.energy_j == pytest.approx(summary.watts_per_gpu.accelerator * 8 * summary.window_s)
    assert sum(summary.step_shares.values()) == pytest.approx(1)
    assert summary.tpot_s["p50"] == pytest.approx(1 / summary.output_speed_tok_s["p50"], rel=0.02)
    assert summary.ttft_s["p50"] <= summary.ttft_s["p90"] <= summary.ttft_s["p95"]
    assert 0 < summary.goodput_agents <= 3
    assert len(summary.ttft_samples_s) == summary.requests


def test_a_run_keeps_what_play_returns() -> None:
    kept: dict[int, Output] = {}
    summary = run(asked(), agents=3, keep=kept.__setitem__)
    assert list(kept) == [1, 2]
    assert kept[2].calls.tolist() == play(asked(), agents=3, seed=2).calls.tolist() != kept[1].calls.tolist()
    assert kept[1].calls.tolist() == play(asked(agents=3)).calls.tolist()
    assert sum(len(output.calls) for output in kept.values()) > summary.requests


def test_the_answer_is_consistent(found: Answer) -> None:
    assert found.held is not None
    assert found.broken is not None
    assert found.held.agents == found.agents_held
    assert found.broken.agents > found.agents_held
    assert found.interval[0] <= found.agents_held <= found.interval[1]
    assert found.agents_per_gpu == found.agents_held / found.gpus
    assert found.agents_per_mw.accelerator == pytest.approx(found.agents_per_gpu / found.accelerator_w_per_gpu * 1e6)
    for basis in BASES:
        low, high = found.agents_per_mw_interval[basis]
        assert low <= getattr(found.agents_per_mw, basis) <= high
    assert found.binding in ("speed", "ttft")
    assert str(found.broken.agents) in found.sentence
    assert found.held.output_speed_tok_s["p25"] >= 80
    assert {p.seed for p in found.points} == {1, 2}


def test_the_same_bytes_every_time_and_in_any_number_of_processes(found: Answer) -> None:
    text = json.dumps(answer_json(found))
    assert json.dumps(answer_json(capacity(asked(), jobs=1))) == text
    assert json.dumps(answer_json(capacity(asked(), jobs=2))) == text


def test_scouts_change_the_way_not_the_answer(found: Answer) -> None:
    plain = capacity(asked(search__scout_s=0), jobs=1)
    assert not any(p.scout for p in plain.points)
    assert any(p.scout for p in found.points)
    assert (plain.agents_held, plain.interval) == (found.agents_held, found.interval)


def test_nothing_holds() -> None:
    none = capacity(asked(slo__speed_tok_s=100_000, seeds=[1]), jobs=1)
    assert (none.agents_held, none.interval, none.held) == (0, (0, 0), None)
    assert none.agents_per_mw.facility == 0
    assert none.binding == "speed"
    assert none.limiter
    assert answer_json(none)["accelerator_w_per_gpu"] is None


def test_everything_holds_up_to_the_ceiling() -> None:
    all_held = capacity(asked(slo__speed_tok_s=0.001, slo__ttft_s=100_000, seeds=[1], search__ceiling=3, search__scout_s=0), jobs=1)
    assert all_held.agents_held == 3
    assert (all_held.limiter, all_held.binding, all_held.broken) == ("", "", None)
    assert "the ceiling of the search" in all_held.sentence


def test_a_phase_that_cannot_end_in_time_does_not_hold() -> None:
    late = capacity(asked(phase__min_trajectories=10**6, phase__max_s=400, seeds=[1], slo__speed_tok_s=0.1), jobs=1)
    assert late.agents_held == 0
    assert "phase.max_s" in late.sentence
    assert late.broken is not None
    assert any("hard end" in note for note in late.broken.notes)


def test_the_median_seed_speaks_for_the_answer() -> None:
    one = search_seed(asked(), 1)
    seeds = [replace(one, seed=i, bracket=replace(one.bracket, held=held)) for i, held in enumerate((9, 4, 7))]
    assert (answer(seeds).agents_held, answer(seeds).interval) == (7, (4, 9))
    assert answer(seeds[:2]).agents_held == 4
    assert answer(seeds).seeds == (0, 1, 2)


def test_no_call_in_the_window_is_said() -> None:
    with pytest.raises(UserError, match="no call finished"):
        run(asked(phase__min_window_s=0.001, phase__warmup_s=0, phase__ramp_s=0), agents=1)


def test_end_to_end_speed_form() -> None:
    scenario = load_scenario({**ASKED, "slo": {"e2e_speed_tok_s": 40}, "seeds": 1})
    found = capacity(scenario, jobs=1)
    assert found.binding == "e2e_speed"
    assert list(answer_json(found)["slo"]) == ["e2e_speed_tok_s", "e2e_percentile"]
    assert found.held is not None
    assert found.held.e2e_speed_tok_s["p25"] >= 40


def test_comparison_of_one_system_with_itself() -> None:
    cells = [{"deployment": "hgx_h200_v4pro_20tps"}, {"deployment": {"extends": "hgx_h200_v4pro_20tps", "name": "twin"}}]
    comparison = compare(load_scenario({**ASKED, "seeds": 1, "cells": cells, "deployment": None}), jobs=1)
    first, twin = comparison.answers
    assert (twin.deployment, twin.agents_held) == ("twin", first.agents_held)
    (row,) = comparison.ratios
    assert {value for key, value in row.items() if key not in ("tier", "system", "against")} == {1.0}
    (sprint,) = comparison.sprints
    assert sprint.single_speed_tok_s > 0
    assert sprint.peak_output_tok_s > sprint.single_speed_tok_s
    assert sprint.peak_concurrency > 1
    assert list(comparison_json(comparison)) == ["answers", "sprints", "ratios"]


MOVED: dict[str, Any] = {
    **ASKED,
    "name": "moved",
    "deployment": {"extends": "gb300_nvl72_v4pro_60tps_pd", "name": "moved"},
    "slo": {"speed_tok_s": 60, "ttft_s": 5},
    "seeds": 1,
}


@pytest.mark.parametrize("engine", ["trtllm", "sglang", "vllm"])
def test_pools_and_stages_of_calls_that_move(engine: str) -> None:
    """Three orders of seat, prefill, link and first token; the counters of the pools and the stages of the calls tell the same story."""
    scenario = load_scenario(MOVED, {"deployment.engine": engine, "agents": 200, "phase.min_window_s": 480})
    window = play_window(prepare(scenario, 1), 200)
    column = dict(zip(CALL_COLUMNS, play(scenario).calls.T, strict=True))
    fleet = build_world(prepare(scenario, 1), 200).fleet
    assert stage_ps(fleet, column).sum(axis=1).tolist() == (column["last_ps"] - column["send_ps"]).tolist()
    assert window.stages == stage_names(fleet)
    assert before_first(window.stage_s, window.ttft_s).sum(axis=1) == pytest.approx(window.ttft_s)
    prefill, decode = window.pools
    # Levels between 20 s and 80 s: nearly every call that decoded then is over at 500 s, so that its row tells of it.
    landed = column["last_ps"] - stage_ps(fleet, column)[:, [name in ("first_decode", "decode") for name in window.stages]].sum(axis=1)
    told = (np.minimum(column["last_ps"], 80 * PS_PER_S) - np.maximum(landed, 20 * PS_PER_S)).clip(0).sum() / (60 * PS_PER_S)
    shown = decode.series.decode_batch[(decode.series.time_s > 20) & (decode.series.time_s < 80)].mean() * decode.ranks
    assert shown == pytest.approx(told, rel=0.03), "levels of the pool and stages of the calls"
    assert (prefill.totals["decode_seq_ns"], prefill.decode_batch_per_rank) == (0, 0)
    for pool in window.pools:
        shares = (pool.busy_share, pool.kv_used_share, pool.kv_peak_share, pool.lockstep_wait_share, pool.link_share)
        assert all(0 <= share <= 1 for share in shares)
        assert pool.link_share > 0
    summary = run(scenario)
    assert [pool.name for pool in summary.pools] == ["prefill", "decode"]
    assert summary.energy_j == pytest.approx(sum(p.watts_per_gpu * p.gpus for p in summary.pools) * summary.window_s)
    assert sum(s["mean"] for s in summary.stages_s.values()) == pytest.approx(float(window.stage_s.sum(axis=1).mean()))
    assert summary.why.startswith(f"the {summary.binding_pool} pool binds by its ")
    assert summary.engine.startswith(f"imitates {engine}@")


def test_too_few_decode_slots_bind_in_the_decode_pool() -> None:
    """With the first token from the prefill side the wait for a slot is lost output speed; after or before the prefill it is lost TTFT."""
    few = {"deployment.pools.decode.max_seqs": 2, "agents": 120}
    for engine, clause, stage in (("trtllm", "speed", "decode_slot"), ("vllm", "ttft", "decode_slot"), ("sglang", "ttft", "decode_seat")):
        summary = run(load_scenario(MOVED, {**few, "deployment.engine": engine}))
        assert not summary.held
        assert (summary.binding, summary.binding_pool, summary.limiter) == (clause, "decode", "batch_slots")
        spent = summary.speed_stages_s if clause == "speed" else summary.ttft_stages_s
        assert max(spent["tail"], key=lambda s: spent["tail"][s]) == stage


def test_too_little_prefill_binds_in_the_prefill_pool() -> None:
    summary = run(load_scenario(MOVED, {"deployment.pools.prefill.workers": 1, "agents": 600}))
    assert (summary.held, summary.binding, summary.binding_pool) == (False, "ttft", "prefill")
    assert summary.pools[0].utilisation > 0.95


def test_json_of_pools(found: Answer) -> None:
    document = answer_json(found)
    assert found.held is not None
    assert document["binding_pool"] == "mixed"
    assert [pool["name"] for pool in document["pools"]] == ["mixed"]
    assert list(document["stages_s"]) == ["prefill_queue", "prefill", "decode"]
    assert list(document["stages_s"]["prefill"]) == ["p50", "p95", "mean"]
    assert document["calls_in_flight"] == pytest.approx(found.held.calls_in_flight, rel=1e-5)
    assert 0 < document["calls_in_flight"] < found.agents_held
    assert "series" not in document["pools"][0]
    assert document["engine"].startswith("imitates vllm@")
    json.dumps(document, allow_nan=False)


def test_each_sprint_takes_the_best_deployment() -> None:
    fast = Sprint("s", "fast", 0.1, 200.0, 50.0, 5.0, 4, "fast")
    wide = Sprint("s", "wide", 0.2, 100.0, 900.0, 90.0, 64, "wide")
    assert best_sprints([fast, wide]) == (Sprint("s", "wide", 0.1, 200.0, 900.0, 90.0, 64, "fast"),)
    assert str(fast) == "fast: one completion 200 tok/s, peak 50 tok/s"


def test_ratios_are_within_a_tier_and_against_its_first(found: Answer) -> None:
    half = replace(found, system="other", agents_per_gpu=found.agents_per_gpu / 2)
    elsewhere = replace(found, slo={"speed_tok_s": 60, "ttft_s": 5})
    (row,) = ratios([found, half, elsewhere], ())
    assert (row["system"], row["against"], row["agents_per_gpu"]) == ("other", found.system, 0.5)
    assert tier_name(elsewhere.slo) == "60 tok/s & 5 s"


def test_json_keys_of_the_issue(found: Answer) -> None:
    assert list(answer_json(found))[:15] == [
        "system", "model", "deployment", "slo", "agents_held", "interval", "gpus", "agents_per_gpu", "agents_per_mw",
        "accelerator_w_per_gpu", "cache_hit", "limiter", "binding", "quality", "seeds",
    ]  # fmt: skip
    assert list(answer_json(found)["slo"]) == ["speed_tok_s", "speed_percentile", "ttft_s", "ttft_percentile"]
    assert list(answer_json(found)["agents_per_mw"]) == ["accelerator", "tdp", "nameplate", "facility"]
    assert found.held is not None
    keys = {"ttft_s", "output_speed_tok_s", "tpot_s", "output_tok_s", "logical_tok_s", "requests", "preemptions", "energy_j"}
    assert keys <= set(summary_json(found.held))
    point = summary_json(found.held)
    assert set(list(answer_json(found))[:15]) <= set(point), "a point has every key of an answer"
    assert point["agents_held"] == point["agents"] == found.agents_held
    assert found.broken is not None
    assert summary_json(found.broken)["agents_held"] == 0


def test_rounding() -> None:
    assert rounded({"a": [1.23456789, float("nan")], "b": (float("inf"), 3, "x", True)}) == {
        "a": [1.23457, None],
        "b": [None, 3, "x", True],
    }
