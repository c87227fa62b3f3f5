"""Errors of a validation, by hand-computed values."""

from dataclasses import replace

import pytest

from simulator.calibration.compare import Pair, Validation, compare, errors, grouped
from simulator.calibration.evidence import DEFAULTS, Row
from simulator.calibration.predict import Prediction, no_prediction
from simulator.report.validation import left_out_sheet, signed, validation_sheets
from simulator.report.validation_html import headlines

PAIR = Pair("a", "s", "m", "e", "agg", "tpot_ms", "check", 10.0, 11.0)


def pairs(*predicted: float) -> list[Pair]:
    return [replace(PAIR, id=f"r{n}", predicted=value) for n, value in enumerate(predicted)]


def test_the_error_is_signed_and_relative() -> None:
    assert PAIR.error == pytest.approx(0.1)
    assert replace(PAIR, predicted=5.0).error == pytest.approx(-0.5)


def test_errors_of_a_group() -> None:
    found = errors(pairs(11.0, 9.0, 6.0, 10.5, 9.5))
    assert (found.count, found.worst_id) == (5, "r2")
    assert found.median == pytest.approx(0.1)
    assert found.bias == pytest.approx(-0.05)
    assert found.worst == pytest.approx(-0.4)
    assert found.p90 == pytest.approx(0.1 + 0.6 * 0.3)  # between the fourth and the fifth of five, at 0.6 of the way


def test_rows_without_a_prediction_are_counted_never_dropped() -> None:
    row = Row(**{**DEFAULTS, "id": "a", "system": "s", "model": "m", "engine": "e", "isl": 1, "osl": 1, "concurrency": 1, "gpus": 1,
                 "source": "x", "tpot_ms": 10.0, "ttft_ms": 100.0, "split": "fit"})  # fmt: skip
    rows = [row, replace(row, id="b"), replace(row, id="c")]
    found = compare(rows, {"a": Prediction(110.0, 9.0, 1.0, 1.0), "b": no_prediction("why"), "c": no_prediction("why")})
    assert [(p.id, p.quantity, round(p.error, 9)) for p in found.pairs] == [("a", "ttft_ms", 0.1), ("a", "tpot_ms", -0.1)]
    assert found.left_out == {"why": 2}
    assert left_out_sheet(found).title == "Not predicted: 2 of 3 rows"
    assert len(found.only(quantity="ttft_ms").pairs) == 1
    assert "Every row here was fitted to." in headlines(found)


def test_groups_come_in_the_usual_order() -> None:
    mixed = [replace(PAIR, quantity=q, split=s) for q in ("watts", "tpot_ms", "ttft_ms") for s in ("check", "fit")]
    assert list(grouped(mixed, "quantity", "split")) == [
        ("ttft_ms", "fit"), ("ttft_ms", "check"), ("tpot_ms", "fit"), ("tpot_ms", "check"), ("watts", "fit"), ("watts", "check"),
    ]  # fmt: skip


def test_a_validation_without_pairs_says_so() -> None:
    empty = Validation(2, (), {"no profile of model x": 2})
    assert [sheet.title for sheet in validation_sheets(empty)] == ["Not predicted: 2 of 2 rows"]
    assert headlines(empty) == ["No row could be predicted."]


def test_signed_percentages() -> None:
    assert (signed(0.123), signed(-0.05), signed(25.0)) == ("+12.3 %", "−5.0 %", "+2,500 %")
