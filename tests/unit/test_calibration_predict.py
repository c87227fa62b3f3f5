"""Rows predicted by simulation: against arithmetic where that is exact, and what cannot be predicted says why."""

from dataclasses import replace

import numpy as np
import pytest

from simulator.calibration.evidence import DEFAULTS, Row, shipped_rows
from simulator.calibration.load import calls_of, compiled_load, load_key
from simulator.calibration.predict import SEED, predict_rows, row_world
from simulator.calibration.serving import serve, serving_key
from simulator.engine import simulate_kernel
from simulator.engine.world import CALL_COLUMNS

ROW = Row(
    **{
        **DEFAULTS, "id": "a", "system": "hgx_h200", "model": "llama_3_1_8b", "weights": "fp8", "engine": "vllm", "isl": 1000, "osl": 100,
        "concurrency": 1, "gpus": 1, "tp": 1, "tpot_ms": 1.0, "source": "made up", "split": "check",
    }
)  # fmt: skip


def test_one_client_alone_is_the_step_law() -> None:
    """One call at a time: a prompt of one chunk, then a token a step with a context that grows by one."""
    serving = serve(serving_key(ROW))
    (pool,) = serving.pools
    law = pool.law
    first = law.floor_ps + law.shared_ps[1000] + 1000 * law.prefill_token_ps + (law.pair_fp * 1000 * 1000 >> 11)
    contexts = 1000 + np.arange(1, 100)
    steps = law.floor_ps + law.shared_ps[1] + law.seq_ps + (law.ctx_fp * contexts >> 10) + law.decode_token_ps
    found = predict_rows([ROW])["a"]
    assert not found.lacks
    assert found.ttft_ms == pytest.approx(first / 1e9 + 1000 * serving.request_s, rel=1e-3)
    assert found.tpot_ms == pytest.approx(steps.mean() / 1e9, rel=1e-3)
    assert found.tok_s_gpu == pytest.approx(1100 / (found.ttft_ms + 99 * found.tpot_ms) * 1e3, rel=1e-3)
    assert 0 < found.watts <= 700


def test_more_clients_wait_longer_and_serve_more() -> None:
    rows = [replace(ROW, id=str(c), concurrency=c) for c in (1, 8, 64)]
    found = list(predict_rows(rows).values())
    for key in ("ttft_ms", "tpot_ms", "tok_s_gpu", "watts"):
        values = [getattr(each, key) for each in found]
        assert values == sorted(values)
        assert values[0] < values[-1]


def test_the_client_sends_ten_calls_each_or_what_the_run_tells() -> None:
    assert calls_of(replace(ROW, concurrency=7)) == 70
    assert calls_of(replace(ROW, concurrency=4, requests=9)) == 8
    assert calls_of(replace(ROW, concurrency=4, requests=1)) == 4


def test_lengths_are_drawn_within_the_ratio_and_alike_at_one() -> None:
    deployment = serve(serving_key(ROW)).deployment
    drawn = compiled_load(load_key(replace(ROW, concurrency=64, length_ratio=0.8), deployment), 10_000, 1).calls
    assert (drawn.prompt_tokens.min(), drawn.prompt_tokens.max()) == pytest.approx((800, 1000), abs=5)
    assert drawn.prompt_tokens.mean() == pytest.approx(900, rel=0.02)
    assert drawn.output_tokens.max() <= 100
    alike = compiled_load(load_key(ROW, deployment), 10_000, 1).calls
    assert set(alike.prompt_tokens) == {1000}
    assert set(alike.output_tokens) == {100}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"system": "hgx_z"}, "no profile of system hgx_z"),
        ({"model": "unknown"}, "no profile of model unknown"),
        ({"engine": "other"}, "no profile of engine other"),
        ({"mode": "disagg"}, "disaggregated"),
        ({"mode": "disagg", "prefill": "²x1/1/1"}, "disaggregated"),
        ({"gpus": 8, "tp": 2, "dp": 4}, "tensor and data parallel attention together"),
        ({"gpus": 2}, "several workers"),
        ({"model": "llama_3_1_405b", "weights": "bf16"}, "room for a KV block"),
        ({"isl": 120_000, "osl": 20_000}, "does not fit"),
    ],
)
def test_what_cannot_be_predicted_says_why(change: dict[str, object], why: str) -> None:
    row = replace(ROW, **change)  # type: ignore[arg-type]
    found = predict_rows([row])["a"]
    assert why in found.lacks
    assert np.isnan([found.ttft_ms, found.tpot_ms, found.tok_s_gpu, found.watts]).all()


def test_the_same_row_twice_is_the_same_prediction() -> None:
    row = replace(ROW, concurrency=16, length_ratio=0.8)
    assert predict_rows([row]) == predict_rows([row])


def test_seats_are_shared_by_the_ranks_and_make_calls_wait() -> None:
    row = replace(ROW, concurrency=16)
    assert serve(serving_key(replace(row, seats=4))).deployment.pools[0].max_seqs == 4
    spread = replace(row, model="deepseek_v4_flash", weights="mxfp4", gpus=4, dp=4, seats=8)
    assert serve(serving_key(spread)).deployment.pools[0].max_seqs == 2
    free, held = (predict_rows([each])["a"] for each in (row, replace(row, seats=4)))
    assert held.tpot_ms < free.tpot_ms
    assert held.ttft_ms > 2 * free.ttft_ms


def test_a_median_leaves_out_the_first_burst() -> None:
    row = replace(ROW, concurrency=16, length_ratio=0.1, requests=64)
    mean, median = (predict_rows([each])["a"] for each in (row, replace(row, statistic="median")))
    assert median.ttft_ms < 0.9 * mean.ttft_ms
    assert (median.tok_s_gpu, median.watts) == (mean.tok_s_gpu, mean.watts)


def test_sglang_shares_the_budget_of_a_step_among_ranks_of_attention_dp() -> None:
    row = replace(ROW, model="deepseek_v4_flash", weights="mxfp4", gpus=4, dp=4, engine="sglang")
    budgets = [
        serve(serving_key(replace(row, **each))).deployment.pools[0].token_budget for each in ({}, {"engine": "vllm"}, {"dp": 1, "tp": 4})
    ]
    assert budgets == [2048, 8192, 8192]


def test_a_client_whose_seed_is_told_sends_its_own_lengths_in_its_own_order() -> None:
    """SGLang's client: all prompt lengths, then all answer lengths, evenly from one token to the nominal length."""
    row = replace(ROW, isl=100, osl=20, concurrency=1, requests=4, length_ratio=0.001, lengths_seed=42)
    serving = serve(serving_key(row))
    client = np.random.RandomState(42)
    prompts, answers = client.randint(1, 101, 4), client.randint(1, 21, 4)
    load = compiled_load(load_key(row, serving.deployment), 1000, SEED)
    output = simulate_kernel(row_world(row, serving, load, SEED))
    calls = dict(zip(CALL_COLUMNS, output.calls.T, strict=True))
    assert calls["prompt_tokens"].tolist() == prompts.tolist()
    assert calls["output_tokens"].tolist() == answers.tolist()


def test_sglangs_v4_rows_are_drawn_from_one_token_as_its_client_does() -> None:
    """`--random-range-ratio` 0: a draw from a higher least length keeps step with the client's for some hundred calls only."""
    rows = [r for r in shipped_rows() if r.lengths_seed]
    row = max(rows, key=lambda r: r.requests)
    client = np.random.RandomState(row.lengths_seed)
    prompts, answers = (client.randint(1, nominal + 1, row.requests) for nominal in (row.isl, row.osl))
    load = compiled_load(load_key(row, serve(serving_key(row)).deployment), 10_000, SEED)
    assert load.calls.prompt_tokens.tolist() == prompts.tolist()
    assert load.calls.output_tokens.tolist() == answers.tolist()


def test_sglangs_v4_rows_tell_half_their_nominal_lengths() -> None:
    """Two rounds of calls with fewer seats than clients: the median wait is clients over rate, less one residence (evidence/README.md)."""
    rows = [r for r in shipped_rows() if r.id.startswith("sglang_dsv4") and r.requests == 2 * r.concurrency == 2048]
    assert len(rows) == 4
    for row in rows:
        nominal = row.isl + row.osl
        rate = row.tok_s_gpu * row.gpus / nominal
        share = row.ttft_ms / 1e3 / (row.concurrency / rate - row.osl * row.tpot_ms / 1e3)
        assert 0.44 < share < 0.51
        assert row.statistic == "median"
        running = row.tok_s_gpu * row.gpus * row.osl / nominal * row.tpot_ms / 1e3
        assert running == pytest.approx(row.seats, rel=0.02)


def test_gb200_pools_meet_the_rows_not_fitted() -> None:
    """vLLM of May 2026, 8K/1K without drafts, 8 to 24 prefill GPUs and 8 decode GPUs: the shipped deployment, played in a closed loop."""
    rows = [row for row in shipped_rows() if row.id.startswith("gb200_v4pro_8k1k")]
    found = predict_rows(rows)
    known = [row for row in rows if not found[row.id].lacks]
    assert [row.id for row in rows if found[row.id].lacks] == ["gb200_v4pro_8k1k_8p32d_c512"]
    for row in known:
        assert found[row.id].tpot_ms == pytest.approx(row.tpot_ms, rel=0.08)
        assert found[row.id].tok_s_gpu == pytest.approx(row.tok_s_gpu, rel=0.08)
