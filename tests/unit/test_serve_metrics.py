"""Counts, histograms, watts and sessions of a served fleet whose calls are few enough to know all about."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
import pytest

from simulator.engine import Fleet
from simulator.engine.world import CACHE_BLOCKS, ROUTER_AFFINITY, ROUTER_LEAST_LOADED
from simulator.serve.fleet import OutsideCall, ServedFleet
from simulator.serve.histogram import Histogram, sample
from simulator.serve.keys import block_keys
from simulator.serve.metrics import Metrics
from simulator.serve.watts import WorkerMeter
from simulator.units import PS_PER_S
from tests.theory.worlds import BLOCK, MS, SCHED, constant_law, pool_of

NONE = np.zeros(0, np.int64)
CACHING = SCHED._replace(max_seqs=4, prefix_cache=CACHE_BLOCKS)


def fleet_of(ranks: int = 1, router: int = ROUTER_LEAST_LOADED) -> ServedFleet:
    """Steps of 10 ms and 1 ms more a prompt token, of GPUs that draw 75 W idle and 400 W in a step."""
    return ServedFleet(Fleet((pool_of(constant_law(10 * MS, MS), CACHING, blocks=100, ranks=ranks),), BLOCK, router, NONE, NONE))


def call_of(fleet: ServedFleet, lane: int, ids: Sequence[int], output: int, session: str | None = None) -> OutsideCall:
    keys = block_keys(array("q", [*ids, *range(10**6, 10**6 + output - 1)]), BLOCK)
    return OutsideCall(lane, 0, 0, 0, lane, len(ids), output, output - 1, 0, keys, fleet.env.event(), (), session=session)


def play(fleet: ServedFleet, *calls: tuple[int, OutsideCall], metrics: Metrics | None = None) -> None:
    for time_ps, call in calls:
        fleet.arrive(call, time_ps)
    for instant in fleet.advance(10**16):
        if metrics:
            metrics.observe(instant)


def values(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}


def test_two_calls_with_a_common_prefix() -> None:
    fleet = fleet_of()
    metrics = Metrics(fleet, "tiny", "gpu")
    prompt = range(130)
    play(fleet, (0, call_of(fleet, 0, prompt, 3)), (PS_PER_S, call_of(fleet, 1, prompt, 3)), metrics=metrics)
    found = values(metrics.text(2 * PS_PER_S, {"lag": ("gauge", 0.5, "Late.")}))

    def of(name: str, **labels: str) -> float:
        return found[sample(name, metrics.labels(0, **labels), 0).rsplit(" ", 1)[0]]

    assert of("vllm:prompt_tokens_total") == 260
    assert of("vllm:generation_tokens_total") == 6
    assert of("vllm:prefix_cache_queries_total") == 260
    assert of("vllm:prefix_cache_hits_total") == 128, "two whole blocks of 64"
    assert of("vllm:request_success_total", finished_reason="length") == 2
    assert of("vllm:request_prefill_time_seconds_sum") == pytest.approx(0.010 + 0.130 + 0.010 + 0.002)
    assert of("vllm:request_prefill_time_seconds_bucket", le="0.02") == 1
    assert of("vllm:request_prefill_time_seconds_bucket", le="+Inf") == 2
    assert of("vllm:request_decode_time_seconds_sum") == pytest.approx(2 * 0.020)
    assert of("vllm:inter_token_latency_seconds_count") == 4
    assert of("vllm:request_time_per_output_token_seconds_sum") == pytest.approx(0.020)
    assert of("vllm:iteration_tokens_total_count") == 6, "two prefill and four decode steps"
    assert of("vllm:iteration_tokens_total_sum") == 130 + 2 + 4
    assert of("vllm:cache_config_info", block_size="64", num_gpu_blocks="100", enable_prefix_caching="True") == 1
    assert of("vllm:num_requests_running") == of("vllm:kv_cache_usage_perc") == 0
    busy_s = 0.160 + 0.032
    (joules,) = (value for name, value in found.items() if name.startswith("DCGM_FI_DEV_TOTAL_ENERGY"))
    assert joules == pytest.approx(1000 * (400 * busy_s + 75 * (2 - busy_s)))
    (watts,) = (value for name, value in found.items() if name.startswith("DCGM_FI_DEV_POWER"))
    assert watts == pytest.approx(400 * 0.032 + 75 * 0.968)
    assert found["agentwatt:lag"] == 0.5


def test_energy_at_any_time() -> None:
    meter = WorkerMeter(idle_w=100.0)
    meter.step(PS_PER_S, PS_PER_S, 500.0)
    assert [meter.joules(half * PS_PER_S // 2) for half in range(7)] == [0, 50, 100, 350, 600, 650, 700]
    assert meter.watts(PS_PER_S * 3 // 2) == 50 + 250
    for second in range(2, 5000):
        meter.step(second * PS_PER_S, PS_PER_S, 300.0)
    assert len(meter.past) < 10, "only the last second is kept"
    assert meter.joules(5000 * PS_PER_S) == 600 + 4998 * 300


def test_histograms() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.observe(value)
    lines = histogram.lines("x", {"a": 'q"\n'})
    assert lines[0] == 'x_bucket{a="q\\"\\n",le="1.0"} 2'
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["2", "3", "4", "12.0", "4"]


def test_sessions_stay_where_they_began() -> None:
    fleet = fleet_of(ranks=2, router=ROUTER_AFFINITY)
    first = range(100)
    calls = [
        call_of(fleet, 0, first, 2),
        call_of(fleet, 1, range(500, 600), 2),
        call_of(fleet, 2, [*first, *range(900, 1000)], 2),
        call_of(fleet, 3, range(700, 800), 2, session="named"),
        call_of(fleet, 4, range(300, 400), 2),
        call_of(fleet, 5, range(800, 900), 2, session="named"),
    ]
    play(fleet, *((place * PS_PER_S, call) for place, call in enumerate(calls)))
    assert [call.entry.number for call in calls] == [0, 1, 0, 0, 1, 0]
    assert calls[2].cached == 64, "a prompt that extends another goes where that one is cached"
    assert [rank.plays for rank in fleet.ranks] == [2, 2]
    fleet.end_session("named")
    assert [rank.plays for rank in fleet.ranks] == [1, 2]


def test_sessions_end_when_nothing_comes() -> None:
    fleet = fleet_of(ranks=2, router=ROUTER_AFFINITY)
    play(fleet, (0, call_of(fleet, 0, range(100), 2)), (4000 * PS_PER_S, call_of(fleet, 1, range(200), 2)))
    assert len(fleet.sessions) == 1
    assert [rank.plays for rank in fleet.ranks] == [1, 0]
