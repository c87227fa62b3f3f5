"""The steady window by hand-made rows: which calls are requests, what each figure is, how pools add up and how phases join."""

import numpy as np
import pytest
from hand_made import END_S, MAX_S, WINDOW_S, output, pool, row, world

from simulator.capacity import requests
from simulator.capacity.metrics import Window, describe, goodput, joined, measure, thinned, window_of
from simulator.capacity.requests import Requests
from simulator.capacity.slo import SLO
from simulator.engine.world import FIRST_BY_DECODE, ROLE_DECODE, ROLE_PREFILL, SERIES_COLUMNS


def test_requests_are_sent_in_the_window_and_rates_count_what_finished_in_it() -> None:
    before = row(0, 10, 11, 99, prompt=7, out=7)
    across = row(0, 90, 95, 110, prompt=100, out=50)
    inside = row(1, 100, 102, 104)
    window = measure(world(), output(before, across, inside))
    assert window.window_s == END_S - WINDOW_S
    assert window.agent.tolist() == [1]
    assert window.finished_output_tokens == 50 + 11
    assert window.finished_tokens == 50 + 11 + 100 + 1_000
    assert (window.prompt_tokens, window.cached_tokens) == (1_000, 900)


def test_each_figure_of_a_call() -> None:
    window = measure(world(), output(row(0, 100, 102, 104, out=11)))
    assert window.ttft_s.tolist() == [2.0]
    assert window.speed_tok_s.tolist() == [10 / 2]
    assert window.e2e_speed_tok_s.tolist() == [11 / 4]


def test_a_single_token_has_no_output_speed() -> None:
    window = measure(world(), output(row(0, 100, 102, 102, out=1)))
    assert np.isnan(window.speed_tok_s).all()
    assert window.e2e_speed_tok_s.tolist() == [0.5]


def test_calls_read_a_few_at_a_time_make_the_same_window(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = output(*(row(i % 2, 90 + 2 * i, 95 + 3 * i, 95 + 4 * i, prompt=100 + i, cached=i, out=1 + 3 * i) for i in range(9)))
    window, some = measure(world(), ended), Requests(world())
    monkeypatch.setattr(requests, "BLOCK", 2)
    for first, last in ((0, 0), (0, 1), (1, 6), (6, 6), (6, 9)):
        rows = ended.calls[first:last].copy()
        some.read(rows)
        rows[:] = -7  # they may be overwritten
    found = window_of(world(), ended, some)
    for name in Window.__dataclass_fields__:
        if name not in ("pools", "series"):
            np.testing.assert_array_equal(getattr(found, name), getattr(window, name))
    assert 0 < window.agent.size < window.finished_calls < 9


def test_watts_are_step_energy_and_idle_watts_in_between() -> None:
    """8 GPUs over 100 s; both workers busy half the time; steps draw 160 kJ; idle GPUs draw 100 W."""
    window = measure(world(), output(busy_ns=100 * 10**9, energy_uj=160_000 * 10**6))
    assert window.busy_share == 0.5
    assert window.energy_j == pytest.approx(160_000 + 8 * 50 * 100)
    assert window.accelerator_w == pytest.approx(250)


def test_shares_of_the_step_and_of_blocking() -> None:
    terms = {"floor_ns": 10, "shared_ns": 20, "context_ns": 30, "decode_ns": 25, "prefill_ns": 15}
    window = measure(world(), output(busy_ns=100 * 10**9, blocked_memory_ns=80 * 10**9, **terms))
    shares = window.step_shares
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["idle"] == 0.5
    assert shares["kv_read"] == pytest.approx(0.15)
    assert window.blocked_shares == {"kv_memory": pytest.approx(80 / (100 * 8)), "seats": 0, "token_budget": 0}


def test_decode_batch_is_per_rank_over_busy_time() -> None:
    window = measure(world(), output(busy_ns=50 * 10**9, decode_seq_ns=600 * 10**9))
    assert window.decode_batch_per_rank == pytest.approx(600 / (50 * 4))


def test_a_phase_that_met_its_hard_end_is_not_complete() -> None:
    asked = world()
    asked = asked._replace(stop=asked.stop._replace(min_agent_plays=3))
    assert measure(asked, output()).complete
    assert not measure(asked, output(end_s=MAX_S)).complete
    assert measure(world(), output(end_s=MAX_S)).complete


def test_joining_adds_windows_and_keeps_agents_apart() -> None:
    one = measure(world(), output(row(1, 100, 101, 111), preemptions=2, peak_used_blocks=700))
    two = measure(world(), output(row(0, 100, 103, 113), preemptions=3, peak_used_blocks=600))
    both = joined([one, two])
    assert both.agent.tolist() == [1, 2]
    assert both.ttft_s.tolist() == [1.0, 3.0]
    assert both.window_s == 200
    assert both.preemptions == 5
    assert both.pools[0].kv_peak_share == 0.7, "a peak is the largest, not a sum"
    assert both.calls_in_flight == pytest.approx(2 / 200 * 12)
    assert both.energy_j == pytest.approx(one.energy_j + two.energy_j)
    assert both.accelerator_w == pytest.approx(one.accelerator_w)


def test_goodput_judges_each_agent_and_each_call() -> None:
    """Agent 0: speeds 5 and 50 (P25 16.25); agent 1: 50, TTFT 20 s; agent 2 sent nothing."""
    rows = [row(0, 100, 101, 103), row(0, 110, 111, 111.2), row(1, 110, 130, 130.2)]
    window = measure(world(agents=3), output(*rows))
    assert goodput(window, SLO.speed_and_ttft(16, 10)) == (pytest.approx(1), pytest.approx(11 / 100))
    assert goodput(window, SLO.speed_and_ttft(17, 10)) == (0, pytest.approx(11 / 100))
    assert goodput(window, SLO.speed_and_ttft(5, 20)) == (pytest.approx(2), pytest.approx(33 / 100))
    assert goodput(joined([window, window]), SLO.speed_and_ttft(16, 10)) == (pytest.approx(1), pytest.approx(11 / 100))


def test_percentiles_are_numpys_and_skip_missing_values() -> None:
    values = np.array([np.nan, *range(101)])
    assert describe(values, 25, 90) == {"p25": 25.0, "p90": 90.0, "mean": 50.0}
    assert np.isnan(describe(np.array([np.nan]), 50)["p50"])


def test_thinning_is_even_and_keeps_both_ends() -> None:
    values = np.arange(1_000.0)
    kept = thinned(values, most=10)
    assert len(kept) == 10
    assert kept[0] == 0
    assert kept[-1] == 999
    assert thinned(values).size == 1_000


def test_series_are_levels() -> None:
    out = output(end_s=2)
    columns = {name: i for i, name in enumerate(SERIES_COLUMNS)}
    out.series[0, 0, columns["busy_ns"]] = 10**9
    out.series[0, 0, columns["energy_uj"]] = 800 * 10**6
    out.series[0, 0, columns["decode_seq_ns"]] = 16 * 10**9
    out.series[0, 0, columns["used_block_us"]] = 4_000 * 10**6
    out.series[0, 0, columns["cached_tokens"]] = 300
    out.series[0, 0, columns["prefill_tokens"]] = 100
    series = measure(world(), out).series
    assert series.time_s.tolist() == [0.5, 1.5]
    assert series.decode_batch.tolist() == [2.0, 0.0]
    assert series.kv_used_share.tolist() == [0.5, 0.0]
    assert series.cache_hit[0] == 0.75
    assert np.isnan(series.cache_hit[1])
    assert series.accelerator_w.tolist() == [100 + 50, 100]


SECOND_NS = 10**9


def two_pools() -> tuple[tuple[object, ...], dict[str, object]]:
    """6 prefill GPUs (3 workers of 2 ranks) and 8 decode GPUs (one worker of 4 ranks of 2 GPUs) over 100 s."""
    prefill = pool(ROLE_PREFILL, workers=3, ranks=2, blocks=100)
    decode = pool(ROLE_DECODE, workers=1, ranks=4, gpus_per_rank=2, blocks=200)._replace(shared_port=1)
    counters = (
        {
            "busy_ns": 150 * SECOND_NS, "energy_uj": 90_000 * 10**6, "prefill_ns": 1, "moving_ns": 30 * SECOND_NS,
            "blocked_seats_ns": 60 * SECOND_NS,
        },
        {
            "busy_ns": 80 * SECOND_NS, "energy_uj": 320_000 * 10**6, "context_ns": 3, "shared_ns": 1, "moving_ns": 40 * SECOND_NS,
            "decode_seq_ns": 3_200 * SECOND_NS, "used_block_us": 32_000 * SECOND_NS // 1000, "peak_used_blocks": 150,
            "lockstep_wait_ns": 80 * SECOND_NS, "host_loading_ns": 100 * SECOND_NS, "preemptions": 4,
        },
    )  # fmt: skip
    return (prefill, decode), {"pools": counters}


def test_pools_are_measured_apart() -> None:
    pools, counted = two_pools()
    prefill, decode = measure(world(*pools), output(row(0, 100, 102, 104), **counted)).pools  # type: ignore[arg-type]
    assert (prefill.role, prefill.workers, prefill.ranks, prefill.gpus) == ("prefill", 3, 6, 6)
    assert (decode.role, decode.workers, decode.ranks, decode.gpus) == ("decode", 1, 4, 8)
    assert (prefill.busy_share, decode.busy_share) == (0.5, 0.8)
    assert prefill.energy_j == pytest.approx(90_000 + 6 * 50 * 100)
    assert decode.accelerator_w == pytest.approx((320_000 + 8 * 20 * 100) / 800)
    assert prefill.blocked_shares["seats"] == pytest.approx(60 / 600)
    assert decode.step_shares == pytest.approx(
        {"launch_floor": 0, "weights": 0.2, "kv_read": 0.6, "decode_compute": 0, "prefill_compute": 0, "idle": 0.2}
    )
    assert decode.decode_batch_per_rank == pytest.approx(3_200 / (80 * 4))
    assert decode.kv_used_share == pytest.approx(32_000 / (80 * 4) / 200)
    assert decode.kv_peak_share == 0.75
    assert decode.lockstep_wait_share == pytest.approx(80 / (80 * 4))
    assert prefill.link_share == pytest.approx(30 / (100 * 6)), "six ranks, six ports"
    assert decode.link_share == pytest.approx(40 / 100), "one worker, one shared port"
    assert decode.host_share == pytest.approx(100 / 400)


def test_the_fleet_is_the_sum_of_its_pools() -> None:
    pools, counted = two_pools()
    window = measure(world(*pools), output(row(0, 100, 102, 104), **counted))  # type: ignore[arg-type]
    prefill, decode = window.pools
    assert window.gpus == 14
    assert window.energy_j == pytest.approx(prefill.energy_j + decode.energy_j)
    assert window.accelerator_w == pytest.approx((6 * prefill.accelerator_w + 8 * decode.accelerator_w) / 14)
    assert window.busy_share == pytest.approx((6 * 0.5 + 8 * 0.8) / 14)
    assert sum(window.step_shares.values()) == pytest.approx(1)
    assert window.blocked_shares["seats"] == pytest.approx(60 / 1_000)
    assert window.decode_batch_per_rank == decode.decode_batch_per_rank, "only ranks that decode have a decode batch"
    assert window.preemptions == 4


def test_series_of_the_fleet_add_up() -> None:
    pools, counted = two_pools()
    out = output(row(0, 100, 102, 104), **counted)  # type: ignore[arg-type]
    column = {name: i for i, name in enumerate(SERIES_COLUMNS)}
    second = SECOND_NS
    out.series[:, 0, column["energy_uj"]] = [600 * 10**6, 2_000 * 10**6]
    out.series[:, 0, column["busy_ns"]] = [3 * second, second // 2]
    out.series[:, 0, column["decode_seq_ns"]] = [0, 40 * second]
    out.series[:, 0, column["used_block_us"]] = [300 * second // 1000, 400 * second // 1000]
    out.series[:, 0, column["waiting_ns"]] = [5 * second, 2 * second]
    out.series[:, 0, column["prefill_tokens"]] = [100, 1]
    out.series[:, 0, column["cached_tokens"]] = [300, 999]
    window = measure(world(*pools), out)
    prefill, decode = (p.series for p in window.pools)
    assert (prefill.accelerator_w[0], decode.accelerator_w[0]) == (100, 250 + 50)
    assert window.series.accelerator_w[0] == pytest.approx((6 * 100 + 8 * 300) / 14)
    assert (decode.decode_batch[0], window.series.decode_batch[0]) == (10, 10)
    assert window.series.waiting_calls[0] == 7
    assert window.series.kv_used_share[0] == pytest.approx(700 / (600 + 800))
    assert window.series.cache_hit[0] == 0.75, "prompts are counted where they are prefilled"


def test_calls_in_flight_are_rate_times_time() -> None:
    """Two calls of 100 s and 10 s finish in 100 s; a third was over before."""
    window = measure(world(), output(row(0, 10, 20, 90), row(0, 50, 60, 150), row(1, 120, 125, 130)))
    assert window.calls_in_flight == pytest.approx(2 / 100 * 55)


def test_a_call_that_moves_keeps_its_stages() -> None:
    pools, counted = two_pools()
    call = row(0, 100, 112, 122, admit=103, prefilled=105, claim=106, moved=108, landed=111)
    window = measure(world(*pools, first_token=FIRST_BY_DECODE), output(call, **counted))  # type: ignore[arg-type]
    named = dict(zip(window.stages, window.stage_s[0].tolist(), strict=True))
    assert named == {
        "prefill_queue": 3, "prefill": 2, "decode_slot": 1, "link_queue": 2, "transfer": 3, "first_decode": 1, "decode": 10,
    }  # fmt: skip
