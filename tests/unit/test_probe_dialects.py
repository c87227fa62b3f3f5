"""Metrics pages written by hand, one for each engine: what is read of them, in one dialect."""

from __future__ import annotations

import pytest

from simulator.calibration.cell import METRICS
from simulator.probe.dialects import DIALECTS, counters_of, dialect_of, gauges_of
from simulator.probe.metrics import gain
from simulator.probe.prometheus import read_samples

VLLM = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 4.0
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.75
vllm:request_prefill_time_seconds_sum{engine="0",model_name="m"} 1.25
vllm:request_prefill_time_seconds_count{engine="0",model_name="m"} 5.0
vllm:request_prefill_time_seconds_sum{engine="1",model_name="m"} 0.75
vllm:request_prefill_time_seconds_bucket{engine="0",le="0.3",model_name="m"} 4.0
vllm:request_decode_time_seconds_sum{engine="0",model_name="m"} 8.0
vllm:request_time_per_output_token_seconds_sum{engine="0",model_name="m"} 0.5
vllm:time_per_output_token_seconds_sum{engine="0",model_name="m"} 99.0
vllm:prompt_tokens_total{engine="0",model_name="m"} 1.5e+03
vllm:generation_tokens_total{engine="0",model_name="m"} 640.0
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 512.0
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 1500.0
vllm:num_preemptions_total{engine="0",model_name="m"} 1.0
vllm:iteration_tokens_total_count{engine="0",model_name="m"} 77.0
"""
SGLANG = """sglang:num_running_reqs{model_name="m"} 6.0
sglang:token_usage{model_name="m"} 0.4
sglang:per_stage_req_latency_seconds_sum{model_name="m",stage="prefill_forward"} 2.5
sglang:per_stage_req_latency_seconds_sum{model_name="m",stage="request_process"} 40.0
sglang:per_stage_req_latency_seconds_count{model_name="m",stage="prefill_forward"} 10.0
sglang:inter_token_latency_seconds_sum{model_name="m"} 3.0
sglang:inter_token_latency_seconds_count{model_name="m"} 300.0
sglang:prompt_tokens_total{model_name="m"} 2000.0
sglang:cached_tokens_total{model_name="m",cache_source="device"} 700.0
sglang:cached_tokens_total{model_name="m",cache_source="host"} 100.0
sglang:num_retracted_requests_total{model_name="m"} 2.0
"""
LLAMACPP = """llamacpp:prompt_tokens_total 1200
llamacpp:prompt_seconds_total 3.75
llamacpp:tokens_predicted_total 400
llamacpp:tokens_predicted_seconds_total 9.5
llamacpp:n_decode_total 450
llamacpp:requests_processing 2
llamacpp:requests_deferred 1
"""
TRTLLM = """trtllm_time_to_first_token_seconds_sum{model_name="m"} 4.0
trtllm_time_to_first_token_seconds_count{model_name="m"} 8.0
trtllm_time_per_output_token_seconds_sum{model_name="m"} 0.16
trtllm_request_queue_time_seconds_sum{model_name="m"} 0.5
trtllm_kv_cache_utilization{model_name="m"} 0.6
"""
DYNAMO = """dynamo_frontend_queued_requests{model="m"} 1
dynamo_frontend_inflight_requests{model="m"} 5
dynamo_frontend_time_to_first_token_seconds_sum{model="m"} 1.5
dynamo_frontend_inter_token_latency_seconds_sum{model="m"} 2.5
dynamo_frontend_inter_token_latency_seconds_count{model="m"} 250
"""
PAGES = {
    "vllm": (
        VLLM,
        {"prefill_s": 2.0, "prefill_count": 5.0, "decode_s": 8.0, "tpot_s": 0.5, "prompt_tokens": 1500.0, "output_tokens": 640.0,
         "cached_tokens": 512.0, "queried_tokens": 1500.0, "preemptions": 1.0, "steps": 77.0},
        {"running": 7.0, "waiting": 2.0, "kv_use": 0.75},
    ),
    "sglang": (
        SGLANG,
        {"prefill_s": 2.5, "prefill_count": 10.0, "tpot_s": 3.0, "tpot_count": 300.0, "prompt_tokens": 2000.0, "queried_tokens": 2000.0,
         "cached_tokens": 800.0, "preemptions": 2.0},
        {"running": 6.0, "kv_use": 0.4},
    ),
    "llamacpp": (
        LLAMACPP,
        {"prefill_s": 3.75, "decode_s": 9.5, "prefilled_tokens": 1200.0, "output_tokens": 400.0, "steps": 450.0},
        {"running": 2.0, "waiting": 1.0},
    ),
    "trtllm": (TRTLLM, {"ttft_s": 4.0, "ttft_count": 8.0, "tpot_s": 0.16, "queue_s": 0.5}, {"kv_use": 0.6}),
    "dynamo": (DYNAMO, {"ttft_s": 1.5, "tpot_s": 2.5, "tpot_count": 250.0}, {"running": 5.0, "waiting": 1.0}),
}  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_an_engine_is_recognised_and_its_page_read(name: str) -> None:
    text, counters, gauges = PAGES[name]
    dialect = dialect_of(text)
    assert dialect is not None
    assert dialect.name == name
    samples = read_samples(text, dialect.names)
    assert counters_of(dialect, samples) == counters
    assert gauges_of(dialect, samples) == gauges


def test_every_dialect_is_tried_and_speaks_one_language() -> None:
    assert {dialect.name for dialect in DIALECTS} == set(PAGES)
    assert {name for dialect in DIALECTS for name in dialect.counters} <= set(METRICS)


def test_an_engine_is_believed_before_a_frontend() -> None:
    found = dialect_of(DYNAMO + VLLM)
    assert found is not None
    assert found.name == "vllm"
    assert dialect_of("python_gc_objects_total 5\n# vllm: none\n") is None


def test_lines_that_are_no_samples_are_passed_over() -> None:
    text = 'a{x="q\\"}, \\\\n",y="é"} 1.5 1700000000\nb NaN\nc +Inf\nd\n{} 5\ne{ 5\nf one\n\x00\ng -2e-3\n'
    found = read_samples(text)
    assert [(s.name, s.value) for s in found] == [("a", 1.5), ("c", float("inf")), ("g", -0.002)]
    assert found[0].labels == {"x": 'q"}, \\n', "y": "é"}


def test_gains() -> None:
    assert gain({"prompt_tokens": 10.0}, {"prompt_tokens": 30.0, "output_tokens": 5.0}, 1, 1).values == {
        "prompt_tokens": 20.0,
        "output_tokens": 5.0,
    }
    assert gain({"ttft_count": 4.0}, {"ttft_count": 6.0}, 2, 2).notes == ()
    assert gain({"ttft_count": 4.0}, {"ttft_count": 6.0}, 2, 1).notes == (), "one that failed was counted"
    assert "somebody else" in gain({"ttft_count": 4.0}, {"ttft_count": 6.0}, 1, 1).notes[0]
    assert "of 3" in gain({"ttft_count": 4.0}, {"ttft_count": 6.0}, 3, 3).notes[0]
    for before, after in (({"steps": 9.0}, {"steps": 1.0}), ({"steps": 9.0}, {})):
        assert gain(before, after, 1, 1).values == {}
        assert "restarted" in gain(before, after, 1, 1).notes[0]
    assert gain(None, {"steps": 1.0}, 1, 1).values == {}
