"""SLOs against hand-made calls: which side of a limit counts, which percentile is read, which clause binds."""

import numpy as np
import pytest

from simulator.capacity.slo import E2E_SPEED, SLO, SPEED, TTFT, Clause, grouped_percentile, groups_that_meet


def calls(speed: list[float], ttft: list[float]) -> dict[str, np.ndarray]:
    return {SPEED: np.array(speed), TTFT: np.array(ttft), E2E_SPEED: np.array(speed) / 2}


def test_speed_percentile_is_read_from_below_and_ttft_from_above() -> None:
    speeds = [float(v) for v in range(1, 102)]
    verdict = SLO.speed_and_ttft(26, 96).evaluate(calls(speeds, speeds))
    assert verdict.values == {SPEED: 26.0, TTFT: 96.0}
    assert verdict.held
    assert not SLO.speed_and_ttft(26.01, 96).evaluate(calls(speeds, speeds)).held
    assert not SLO.speed_and_ttft(26, 95.99).evaluate(calls(speeds, speeds)).held


def test_the_clause_with_the_least_margin_binds() -> None:
    verdict = SLO.speed_and_ttft(20, 10).evaluate(calls([30.0, 30.0], [9.0, 9.0]))
    assert verdict.held
    assert verdict.binding == TTFT
    assert verdict.margins == pytest.approx({SPEED: 1.5, TTFT: 10 / 9})
    assert SLO.speed_and_ttft(29, 10).evaluate(calls([30.0], [1.0])).binding == SPEED


def test_calls_without_a_speed_are_left_out_of_its_percentile() -> None:
    assert SLO.speed_and_ttft(20, 10).evaluate(calls([np.nan, 20.0, np.nan], [1.0, 1.0, 1.0])).held


def test_a_clause_without_any_value_is_broken() -> None:
    assert not SLO.speed_and_ttft(20, 10).evaluate(calls([np.nan], [1.0])).held
    assert not SLO.speed_and_ttft(20, 10).evaluate(calls([], [])).held


def test_end_to_end_form() -> None:
    slo = SLO.e2e(15)
    assert slo.evaluate(calls([30.0], [99.0])).held
    assert not slo.evaluate(calls([29.0], [99.0])).held
    assert slo.as_dict() == {"e2e_speed_tok_s": 15, "e2e_percentile": 25}


def test_keys_and_words() -> None:
    slo = SLO.speed_and_ttft(20.0, 10.0)
    assert slo.as_dict() == {"speed_tok_s": 20.0, "speed_percentile": 25, "ttft_s": 10.0, "ttft_percentile": 95}
    assert str(slo) == "P25 speed >= 20 tok/s & P95 TTFT <= 10 s"


def test_single_values_meet_a_limit_on_its_right_side() -> None:
    values = np.array([9.0, 10.0, 11.0, np.nan])
    assert Clause(TTFT, 95, 10).meets(values).tolist() == [True, True, False, True]
    assert Clause(SPEED, 25, 10).meets(values).tolist() == [False, True, True, True]


def test_grouped_percentile_equals_numpy_group_by_group() -> None:
    random = np.random.default_rng(5)
    groups = random.integers(0, 7, 200)
    values = random.random(200)
    values[random.random(200) < 0.2] = np.nan
    for percentile in (0, 25, 50, 95, 100):
        found = grouped_percentile(groups, values, percentile, 9)
        for group in range(7):
            assert found[group] == pytest.approx(np.nanpercentile(values[groups == group], percentile))
        assert np.isnan(found[7:]).all()


@pytest.mark.parametrize("quantity", [SPEED, TTFT])
@pytest.mark.parametrize("percentile", [0, 5, 25, 50, 95, 100])
def test_groups_are_judged_by_counting_as_by_their_percentiles(quantity: str, percentile: float) -> None:
    """Few distinct values, so that many lie on the limit; groups of one, of none, and of nothing but missing values."""
    rng = np.random.default_rng(6)
    groups = rng.integers(0, 40, 300)
    values = np.where(rng.random(300) < 0.1, np.nan, rng.integers(0, 6, 300).astype(np.float64))
    values[groups == 3] = np.nan
    for limit in (-1.0, 2.0, 2.5, 3.0, 6.0):
        clause = Clause(quantity, percentile, limit)
        found = groups_that_meet(groups, values, clause, 42)
        assert found.tolist() == clause.meets(grouped_percentile(groups, values, percentile, 42)).tolist()
        assert found[[3, 41]].all()
