"""The steady window by hand-made rows: which calls are requests, what each figure is, and how phases pool."""

import numpy as np
import pytest

from simulator.capacity.metrics import describe, goodput, measure, pool, thinned
from simulator.capacity.slo import SLO
from simulator.engine.world import CALL_COLUMNS, SERIES_COLUMNS, TOTAL_COLUMNS, Fleet, Output, Sched, Stop, World
from simulator.hardware.power import PowerLaw
from simulator.hardware.step_law import StepLaw
from simulator.units import PS_PER_S
from simulator.workload.arrays import Calls, PrefixTree

NONE = np.zeros(0, np.int64)
WINDOW_S, END_S, MAX_S = 100, 200, 1_000


def world(agents: int = 2, workers: int = 2, ranks: int = 4) -> World:
    return World(
        calls=Calls(*(NONE for _ in Calls._fields)),
        tree=PrefixTree(*(NONE for _ in PrefixTree._fields)),
        fleet=Fleet(workers, ranks, 1_000, 16, 0, 0, np.zeros(agents, np.int64), NONE),
        sched=Sched(8_192, 64, 0, 1, 0, 0, 1, 1, 0, 1_000, 0),
        law=StepLaw(0, NONE, 0, 0, 0, 0, 0),
        power=PowerLaw(0, 0, 0, 0, 100_000, 1, NONE, 0, 0, 0, 0),
        stop=Stop(WINDOW_S * PS_PER_S, 0, 0, 0, MAX_S * PS_PER_S, 0),
    )


def row(agent: int, send: float, first: float, last: float, prompt: int = 1_000, cached: int = 900, out: int = 11) -> list[int]:
    values = dict.fromkeys(CALL_COLUMNS, 0) | {
        "agent": agent,
        "send_ps": round(send * PS_PER_S),
        "first_ps": round(first * PS_PER_S),
        "last_ps": round(last * PS_PER_S),
        "prompt_tokens": prompt,
        "cached_tokens": cached,
        "output_tokens": out,
    }
    return [values[name] for name in CALL_COLUMNS]


def output(*rows: list[int], end_s: float = END_S, **totals: int) -> Output:
    counters = dict.fromkeys(TOTAL_COLUMNS, 0) | totals
    series = np.zeros((int(end_s) + 1, len(SERIES_COLUMNS)), np.int64)
    return Output(
        calls=np.array(rows, np.int64).reshape(-1, len(CALL_COLUMNS)),
        series=series,
        bin_ps=PS_PER_S,
        totals=np.array([counters[name] for name in TOTAL_COLUMNS], np.int64),
        events=np.zeros((0, 8), np.int64),
        end_ps=round(end_s * PS_PER_S),
        plays_finished=3,
        calls_issued=len(rows),
    )


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


def test_pooling_adds_windows_and_keeps_agents_apart() -> None:
    one = measure(world(), output(row(1, 100, 101, 111), preemptions=2))
    two = measure(world(), output(row(0, 100, 103, 113), preemptions=3))
    both = pool([one, two])
    assert both.agent.tolist() == [1, 2]
    assert both.ttft_s.tolist() == [1.0, 3.0]
    assert both.window_s == 200
    assert both.totals["preemptions"] == 5
    assert both.energy_j == pytest.approx(one.energy_j + two.energy_j)
    assert both.accelerator_w == pytest.approx(one.accelerator_w)


def test_goodput_judges_each_agent_and_each_call() -> None:
    """Agent 0: speeds 5 and 50 (P25 16.25); agent 1: 50, TTFT 20 s; agent 2 sent nothing."""
    rows = [row(0, 100, 101, 103), row(0, 110, 111, 111.2), row(1, 110, 130, 130.2)]
    window = measure(world(agents=3), output(*rows))
    assert goodput(window, SLO.speed_and_ttft(16, 10)) == (pytest.approx(1), pytest.approx(11 / 100))
    assert goodput(window, SLO.speed_and_ttft(17, 10)) == (0, pytest.approx(11 / 100))
    assert goodput(window, SLO.speed_and_ttft(5, 20)) == (pytest.approx(2), pytest.approx(33 / 100))
    assert goodput(pool([window, window]), SLO.speed_and_ttft(16, 10)) == (pytest.approx(1), pytest.approx(11 / 100))


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
    out.series[0, columns["busy_ns"]] = 10**9
    out.series[0, columns["energy_uj"]] = 800 * 10**6
    out.series[0, columns["decode_seq_ns"]] = 16 * 10**9
    out.series[0, columns["used_block_ns"]] = 4_000 * 10**9
    out.series[0, columns["cached_tokens"]] = 300
    out.series[0, columns["prefill_tokens"]] = 100
    series = measure(world(), out).series
    assert series.time_s.tolist() == [0.5, 1.5]
    assert series.decode_batch.tolist() == [2.0, 0.0]
    assert series.kv_used_share.tolist() == [0.5, 0.0]
    assert series.cache_hit[0] == 0.75
    assert np.isnan(series.cache_hit[1])
    assert series.accelerator_w.tolist() == [100 + 50, 100]
