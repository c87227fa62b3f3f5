"""Frames and their CSV: no formula from a hostile name, one row a phase and a call, nested keys flattened."""

import csv
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_answers import answer

from simulator.engine.world import CALL_COLUMNS, Output
from simulator.report.export import csv_text
from simulator.report.frames import calls_frame, flat_frame, points_frame, series_frame


def text_of(*rows: dict[str, Any]) -> str:
    return csv_text(flat_frame(rows))


@pytest.mark.parametrize("name", ["=1+1", "+cmd|x", "-2", "@SUM(A1)", "\t=1", "  =1", "\r=1"])
def test_formulas_are_disarmed(name: str) -> None:
    for text in (text_of({"system": name}), csv_text(pd.DataFrame({"system": [name]}))):
        cell = next(csv.reader(io.StringIO(text.split("\n", 1)[1])))[0]
        assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert csv_text(pd.DataFrame({name: [1]})) not in ("", f"{name}\n1\n")


def test_numbers_stay_numbers() -> None:
    assert text_of({"a": -1.5, "b": 3, "c": float("nan"), "d": None, "e": True}) == "a,b,c,d,e\n-1.5,3,,,1\n"
    assert csv_text(pd.DataFrame({"a": [-1.5, np.nan], "b": [3, 4], "c": [0.1, 1e-7], "d": [True, False]})) == (
        "a,b,c,d\n-1.5,3,0.1,1\n,4,1e-07,0\n"
    )
    assert csv_text(pd.DataFrame()) == ""


def test_quotes_and_commas_survive() -> None:
    text = text_of({"n": 'a "b", c'})
    assert next(csv.DictReader(io.StringIO(text)))["n"] == 'a "b", c'


def test_points_have_a_row_each() -> None:
    one = answer()
    frame = points_frame([one, replace(one, system="=x")])
    assert len(frame) == 2 * len(one.points)
    assert frame.held.sum() == 2 * sum(p.held for p in one.points)
    assert "\n'=x," in csv_text(frame)


def test_nested_keys_are_flattened() -> None:
    row = {"slo": {"ttft_s": 5}, "interval": (1, 2), "a": 1}
    assert text_of(row) == "slo_ttft_s,interval,a\n5,1 2,1\n"


def test_rows_of_both_slo_forms_share_columns() -> None:
    assert text_of({"a": 1}, {"b": 2}) == "a,b\n1,\n,2\n"


def test_series_have_the_power_of_the_whole_set_up_when_asked() -> None:
    held = answer().held
    assert held is not None
    frame = series_frame(held.series, {"accelerator": np.full(60, 1e4), "facility": np.full(60, 2e4)})
    assert list(frame.columns[-2:]) == ["power_accelerator_w", "power_facility_w"]
    assert set(frame.power_facility_w) == {2e4}
    assert "power_accelerator_w" not in series_frame(held.series)


def test_series_rows_follow_the_bins() -> None:
    held = answer().held
    assert held is not None
    series = replace(held.series, cache_hit=np.where(held.series.time_s == 10, np.nan, held.series.cache_hit))
    frame = series_frame(series)
    assert len(frame) == len(series.time_s)
    assert frame.accelerator_w[3] == series.accelerator_w[3]
    assert [row["cache_hit"] for row in csv.DictReader(io.StringIO(csv_text(frame)))][:3] == ["0.94", "", "0.94"]


def test_calls_in_seconds() -> None:
    two = {name: [7, 8] for name in CALL_COLUMNS}
    two |= {"send_ps": [10**12, 0], "admit_ps": [15 * 10**11, 0], "first_ps": [2 * 10**12, 5 * 10**11], "last_ps": [6 * 10**12, 5 * 10**11]}
    two |= {"output_tokens": [9, 1], "claim_ps": [-1, 0]}
    none = np.zeros((0, 0), dtype=np.int64)
    frame = calls_frame(Output(np.array(list(two.values())).T, none, 1, none, none, 0, 0, 0))
    assert list(frame) == [*(name.replace("_ps", "_s") for name in CALL_COLUMNS), "ttft_s", "queue_s", "output_speed_tok_s"]
    assert frame.iloc[0][["send_s", "admit_s", "ttft_s", "queue_s", "output_speed_tok_s", "agent"]].tolist() == [1, 1.5, 1, 0.5, 2, 7]
    assert np.isnan(frame.output_speed_tok_s[1])
    assert np.isnan(frame.claim_s[0]), "what never happened has no time"
    assert frame.claim_s[1] == 0
    assert csv_text(frame).splitlines()[2].endswith(",1,8,0.5,0.0,")
