"""Words and number formats: three digits, safe names, sentences that name the basis."""

import pytest
from fake_answers import answer, comparison

from simulator.report.phrases import by_tier, finding, number, plain, promise, span, systems, tier, times, words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-12.34, "-12.3"),
        (0.1234, "0.123"),
        (1.234, "1.23"),
        (9.996, "10.0"),
        (99.96, "100"),
        (1234.5, "1,234"),
        (float("nan"), "–"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_small_ratios_keep_two_decimals() -> None:
    assert (times(float("nan")), span(float("nan"), float("nan")), span(1.0, 2.0)) == ("–", "–", "1.00–2.00"), "unknown watts: one dash"
    assert [times(x) for x in (0.0123, 0.2, 2.4, 12.34)] == ["0.012×", "0.20×", "2.40×", "12.3×"]


def test_names_lose_control_characters() -> None:
    assert plain("a\x1b[31mb\nc\u202e") == "a\ufffd[31mb\ufffdc\ufffd"


def test_unknown_keys_are_opened() -> None:
    assert words("some_new_term") == "some new term"


def test_both_slo_forms_have_names() -> None:
    assert tier({"speed_tok_s": 20.0, "speed_percentile": 25, "ttft_s": 10.0, "ttft_percentile": 95}) == "20 tok/s & 10 s"
    e2e = {"e2e_speed_tok_s": 30.0, "e2e_percentile": 25}
    assert tier(e2e) == "30 tok/s E2E"
    assert "P25" in promise(e2e)
    assert "30 tok/s" in promise(e2e)


def test_finding_names_best_first_with_basis_and_factor() -> None:
    found = comparison()
    group = by_tier(found.answers)["20 tok/s & 10 s"]
    text = finding(group[::-1])
    assert text.startswith("At 20 tok/s & 10 s, GB300 NVL72 holds 52,083 agents per MW of accelerator power")
    assert "4.76× (4.35× to 5.21×) the 10,938 of HGX H200" in text


def test_finding_when_nothing_is_held() -> None:
    from dataclasses import replace

    from simulator.capacity.results import PowerBases

    none = replace(answer(), agents_held=0, agents_per_mw=PowerBases(0, 0, 0, 0))
    assert "none of these systems" in finding([none])
    assert "HGX H200 holds" in finding([none, answer("HGX H200")])
    assert "GB300 NVL72 does not hold one agent" in finding([none, answer("HGX H200")])


def test_groups_keep_order() -> None:
    answers = comparison().answers
    assert list(by_tier(answers)) == ["20 tok/s & 10 s", "60 tok/s & 5 s"]
    assert systems(answers) == ["GB300 NVL72", "HGX H200"]
