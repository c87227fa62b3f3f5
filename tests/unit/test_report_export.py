"""CSV rows: no formula from a hostile name, one row a phase, nested keys flattened."""

import csv
import io
from dataclasses import replace

import pytest
from fake_answers import answer

from simulator.report.export import csv_text, flat, point_rows, same_columns, series_rows


@pytest.mark.parametrize("name", ["=1+1", "+cmd|x", "-2", "@SUM(A1)", "\t=1", "  =1", "\r=1"])
def test_formulas_are_disarmed(name: str) -> None:
    cell = next(csv.reader(io.StringIO(csv_text([{"system": name}]).split("\n", 1)[1])))[0]
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))


def test_numbers_stay_numbers() -> None:
    assert csv_text([{"a": -1.5, "b": 3, "c": float("nan"), "d": None}]) == "a,b,c,d\n-1.5,3,,\n"


def test_quotes_and_commas_survive() -> None:
    text = csv_text([{"n": 'a "b", c'}])
    assert next(csv.DictReader(io.StringIO(text)))["n"] == 'a "b", c'


def test_points_have_a_row_each() -> None:
    one = answer()
    rows = point_rows([one, replace(one, system="=x")])
    assert len(rows) == 2 * len(one.points)
    assert "\n'=x," in csv_text(rows)


def test_nested_keys_are_flattened() -> None:
    assert flat({"slo": {"ttft_s": 5}, "interval": (1, 2), "a": 1}) == {"slo_ttft_s": 5, "interval": "1 2", "a": 1}


def test_rows_of_both_slo_forms_share_columns() -> None:
    assert same_columns([{"a": 1}, {"b": 2}]) == [{"a": 1, "b": None}, {"a": None, "b": 2}]


def test_series_rows_follow_the_bins() -> None:
    held = answer().held
    assert held is not None
    rows = series_rows(held.series)
    assert len(rows) == len(held.series.time_s)
    assert rows[3]["accelerator_w"] == held.series.accelerator_w[3]
