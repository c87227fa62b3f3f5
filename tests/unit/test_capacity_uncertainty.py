"""Errors of profiles carried into answers: stratified draws, known answers, and what must hold between intervals."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import yaml

from simulator.capacity.answers_json import answer_json
from simulator.capacity.build import prepare
from simulator.capacity.hold import capacity
from simulator.capacity.results import Interval, Uncertainty
from simulator.capacity.scenario import Sampling, Scenario
from simulator.capacity.scenario_file import load_scenario
from simulator.capacity.uncertainty import _interval, _over, carry
from simulator.capacity.uncertainty_draws import Z90, latin_hypercube, moving_groups
from simulator.capacity.uncertainty_edge import find_edge, moved_edge
from simulator.catalog import find_data
from simulator.errors import UserError
from simulator.hardware.spread import Group

GROUPS = [Group("a system", "one fit"), Group("a system", "another"), Group("a model", "one fit")]


def exact(kind: str, name: str, **changes: Any) -> dict[str, Any]:
    """A shipped profile in which nothing errs, with parts of some fields changed: ``idle_w={"spread": 0.1}``."""
    profile = yaml.safe_load(find_data(kind, name).read_text(encoding="utf-8"))
    for key, field in profile.items():
        if isinstance(field, dict) and "quality" in field:
            number = isinstance(field["value"], int | float | list) and not isinstance(field["value"], bool)
            profile[key] = {**field, **({"spread": 0} if number else {}), **changes.get(key, {})}
    return profile


def scenario(system: dict[str, Any] | None = None, samples: int = 8, **changes: Any) -> Scenario:
    """One server that only prefills: calls of one token out, of which one runs at a time, so its agents see ``agents`` times one prefill.

    A prefill of 1,024 tokens at 1 ms a token is all but 1 % of a step, so the number of agents within the E2E limit goes as 1 over that
    millisecond.
    """
    one_at_a_time = {"token_budget": {"value": 1024}, "max_seqs": {"value": 1}, "drafts": {"value": 0}}
    law = {"floor_s": {"value": 0.0}, "host_s": {"value": 0.0}, "prefill_pair_s": {"value": 0.0}, "prefill_token_s": {"value": 1e-3}}
    parts = {key: {**one_at_a_time, **law}.get(key, {}) | changes.get(key, {}) for key in {**one_at_a_time, **law, **changes}}
    asked = {
        "name": "one server",
        "system": system or exact("systems", "hgx_h200"),
        "model": exact("models", "deepseek_v4_pro"),
        "deployment": exact("deployments", "hgx_h200_v4pro_20tps", **parts),
        "workload": {"kind": "fixed", "isl": 1024, "osl": 1},
        "slo": {"e2e_speed_tok_s": 0.0322, "e2e_percentile": 25},
        "seeds": [1],
        "phase": {"ramp_s": 40, "warmup_s": 40, "min_window_s": 200, "min_trajectories": 0, "min_agent_trajectories": 0},
        "search": {"scout_s": 0},
        "uncertainty": {"samples": samples},
    }
    return load_scenario(asked)


def uncertainty(asked: Scenario) -> Uncertainty:
    found = capacity(asked, jobs=1).uncertainty
    assert found is not None
    return found


def width(interval: Interval) -> float:
    return math.log(interval.p90 / interval.p10)


@pytest.mark.parametrize("samples", [2, 16, 37])
def test_each_slice_of_probability_holds_one_score_of_each_group(samples: int) -> None:
    rows = latin_hypercube(GROUPS, samples, seed=3)
    assert len(rows) == samples
    for group in GROUPS:
        slices = sorted(int(NormalDist().cdf(row[group]) * samples) for row in rows)
        assert slices == list(range(samples))


def test_draws_follow_from_group_and_seed_alone() -> None:
    alone, beside = latin_hypercube(GROUPS[:1], 8, 1), latin_hypercube(GROUPS, 8, 1)
    assert [row[GROUPS[0]] for row in alone] == [row[GROUPS[0]] for row in beside]
    assert [row[GROUPS[1]] for row in beside] != [row[GROUPS[0]] for row in beside] != [row[GROUPS[2]] for row in beside]
    assert latin_hypercube(GROUPS, 8, 2) != beside


def test_without_spreads_the_interval_is_the_answer() -> None:
    answer = capacity(scenario(), jobs=1)
    assert answer.uncertainty is not None
    assert answer.agents_held > 20
    for key, interval in answer.uncertainty.intervals.items():
        assert set(vars(interval).values()) == {answer.uncertainty.nominal[key]}
    assert answer.uncertainty.nominal["agents_held"] == answer.agents_held
    assert answer.uncertainty.nominal["agents_per_mw_facility"] == pytest.approx(answer.agents_per_mw.facility)
    assert answer.uncertainty.swings == ()


def test_agents_follow_the_one_coefficient_that_sets_them() -> None:
    """Agents go as 1 / prefill_token_s, so every percentile is the answer times exp of that many standard deviations."""
    found = uncertainty(scenario(samples=16, prefill_token_s={"spread": 0.2}))
    sigma = math.sqrt(math.log(1 + 0.2**2))
    agents = found.nominal["agents_held"]
    (swing,) = found.swings
    assert swing.fields == ("prefill_token_s",)
    assert swing.factors == pytest.approx((math.exp(-Z90 * sigma), math.exp(Z90 * sigma)))
    good, bad = swing.values["agents_held"]
    assert good / agents == pytest.approx(math.exp(Z90 * sigma), rel=0.02)
    assert bad / agents == pytest.approx(math.exp(-Z90 * sigma), rel=0.02)
    scores = sorted(row[group] for row in latin_hypercube([_prefill_group()], 16, 1) for group in row)
    middle = (scores[7] + scores[8]) / 2
    assert found.intervals["agents_held"].p50 / agents == pytest.approx(math.exp(-middle * sigma), rel=0.02)
    assert width(found.intervals["agents_held"]) == pytest.approx(2 * Z90 * sigma, rel=0.25)


def _prefill_group() -> Group:
    (moving,) = [m for m in moving_groups(scenario(prefill_token_s={"spread": 0.2})) if m.fields[0].name == "prefill_token_s"]
    return moving.group


def test_facility_watts_alone_move_the_facility_basis_alone_and_play_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = scenario(system=exact("systems", "hgx_h200", pue={"spread": {"low": 1.14, "high": 1.56}}))
    base = prepare(asked, 1)
    nominal = find_edge(base, 30)
    monkeypatch.setattr("simulator.capacity.uncertainty_edge.play_window", None)
    (group,) = [m.group for m in moving_groups(asked) if m.fields[0].name == "pue"]
    worse = moved_edge(base, nominal, {group: 1.0}, 30)
    assert (worse.agents, worse.accelerator_w) == (nominal.agents, nominal.accelerator_w)
    assert worse.system.pue > 1.28


def test_power_law_moves_watts_and_not_agents() -> None:
    asked = scenario(system=exact("systems", "hgx_h200", power_hbm={"spread": 0.1}))
    found = uncertainty(asked)
    (swing,) = found.swings
    assert set(swing.values["agents_held"]) == {found.nominal["agents_held"]}
    good, bad = swing.values["agents_per_mw_accelerator"]
    assert good > found.nominal["agents_per_mw_accelerator"] > bad
    assert found.intervals["agents_per_mw_tdp"].p5 == found.intervals["agents_per_mw_tdp"].p95


def test_a_wider_spread_never_narrows() -> None:
    narrow, wide = (uncertainty(scenario(prefill_token_s={"spread": spread})) for spread in (0.1, 0.3))
    for key in narrow.intervals:
        one, other = narrow.intervals[key], wide.intervals[key]
        assert other.p5 <= one.p5 <= one.p10
        assert one.p90 <= one.p95 <= other.p95
    assert width(wide.intervals["agents_held"]) > 2 * width(narrow.intervals["agents_held"])


def test_an_error_that_both_share_cancels_in_their_ratio() -> None:
    """Two deployments on one system, one with a shorter limit to answer: the same prefill error moves both alike."""
    one = scenario(prefill_token_s={"spread": 0.2})
    other = load_scenario_like(one, 0.0161)
    answers = [capacity(each, jobs=1) for each in (one, other)]
    carried, (ratio,) = carry([one, other], answers, [(1, 0)], jobs=1)
    assert ratio is not None
    intervals = [a.uncertainty.intervals["agents_per_gpu"] for a in carried if a.uncertainty]
    independent = math.hypot(*map(width, intervals))
    assert independent > 0.5
    assert width(ratio.intervals["agents_per_gpu"]) < 0.1 * independent
    assert ratio.nominal["agents_per_gpu"] == pytest.approx(2, rel=0.06)
    assert ratio.swings[0].values["agents_per_gpu"] == pytest.approx((ratio.nominal["agents_per_gpu"],) * 2, rel=0.03)


def test_a_ratio_over_nobody_is_infinite_and_does_not_hide_the_other_draws() -> None:
    assert (_over(3.0, 2.0), _over(3.0, 0.0), _over(0.0, 2.0)) == (1.5, math.inf, 0.0)
    assert math.isnan(_over(0.0, 0.0))
    found = _interval([4.0, math.inf, 1.0, math.nan, 2.0, 3.0, math.inf])
    assert found == Interval(1.25, 1.5, 3.5, math.inf, math.inf)
    assert vars(_interval([5.0, 1.0, 4.0])) == pytest.approx(
        dict(zip(("p5", "p10", "p50", "p90", "p95"), np.percentile([5.0, 1.0, 4.0], (5, 10, 50, 90, 95)), strict=True))
    )


def load_scenario_like(one: Scenario, e2e_speed_tok_s: float) -> Scenario:
    from dataclasses import replace

    from simulator.capacity.slo import SLO

    return replace(one, slo=SLO.e2e(e2e_speed_tok_s))


def test_weights_that_no_longer_fit_hold_nobody() -> None:
    """With nine tenths of HBM the card's 151 GB hold 108 GB of weights; with a third they do not."""
    asked = scenario(memory_share={"value": 0.88, "spread": 0.5}, kv_pool_tokens={"value": 0})
    base = prepare(asked, 1)
    nominal = find_edge(base, 30)
    (group,) = [m.group for m in moving_groups(asked) if m.fields[0].name == "memory_share"]
    assert moved_edge(base, nominal, {group: 5.0}, 30).agents == 0
    assert moved_edge(base, nominal, {group: 0.1}, 30).agents == pytest.approx(nominal.agents, rel=0.02)


def test_the_answer_is_the_same_in_any_number_of_processes_and_without_asking_there_is_none() -> None:
    asked = scenario(samples=2, prefill_token_s={"spread": 0.2})
    assert answer_json(capacity(asked, jobs=1)) == answer_json(capacity(asked, jobs=2))
    plain = capacity(_unasked(asked), jobs=1)
    assert plain.uncertainty is None
    assert answer_json(plain)["uncertainty"] is None


def _unasked(asked: Scenario) -> Scenario:
    from dataclasses import replace

    return replace(asked, uncertainty=None)


def test_nobody_held_has_no_interval() -> None:
    asked = load_scenario_like(scenario(samples=2), 50.0)
    answer = capacity(asked, jobs=1)
    assert (answer.agents_held, answer.uncertainty) == (0, None)


def test_json_has_intervals_and_tornado() -> None:
    found: dict[str, Any] = answer_json(capacity(scenario(samples=2, prefill_token_s={"spread": 0.2}), jobs=1))["uncertainty"]
    assert (found["samples"], found["seed"]) == (2, 1)
    assert list(found["agents_held"]) == ["nominal", "p5", "p10", "p50", "p90", "p95"]
    (row,) = found["tornado"]
    assert row["fields"] == ["prefill_token_s"]
    assert len(row["agents_per_mw_accelerator"]) == 2


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"samples": 0}, "uncertainty.samples"), ({"samples": 1}, "uncertainty.samples"), ({"samples": 2.5}, "uncertainty.samples"),
     ({"seed": -1}, "uncertainty.seed"), ({"scout_s": -1}, "uncertainty.scout_s"), ({"draws": 4}, "uncertainty.draws")],
)  # fmt: skip
def test_bad_sampling_is_told(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(UserError) as caught:
        load_scenario("capacity_h200", {f"uncertainty.{key}": value for key, value in changes.items()})
    assert [mistake.field for mistake in caught.value.mistakes] == [field]


def test_a_scenario_says_how_to_sample() -> None:
    assert load_scenario("capacity_h200").uncertainty is None
    assert load_scenario("capacity_h200", {"uncertainty.samples": 4}).uncertainty == Sampling(samples=4, seed=1, scout_s=0.0)
