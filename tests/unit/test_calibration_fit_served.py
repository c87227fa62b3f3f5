"""What served engines take over their operators: a known one is recovered, and held-back rows stay unseen."""

from dataclasses import replace
from statistics import median

import pytest

from simulator.calibration.evidence import Row, shipped_rows
from simulator.calibration.fit_served import FAMILIES, longer, served_fits, trials_of
from simulator.errors import UserError
from simulator.hardware.load import load_deployment
from simulator.hardware.served import read_served, served


def v4_rows(split: str, most_clients: int = 4096) -> list[Row]:
    return [r for r in shipped_rows() if r.id.startswith("sglang_dsv4") and r.split == split and r.concurrency <= most_clients]


def measured_as(rows: list[Row], factor: float, request_s: float) -> list[Row]:
    """The same rows as an engine would have measured them whose prompts take so much longer than their operators."""
    found = []
    for trial in trials_of(rows):
        played = trial.played(longer(trial.serving.deployment, factor), request_s)
        found.append(replace(trial.row, tpot_ms=played.tpot_ms, ttft_ms=played.ttft_ms))
    return found


def test_a_known_engine_is_recovered() -> None:
    (found,) = served_fits(measured_as(v4_rows("fit", 64), 1.3, 0.02))
    assert found.prefill == 1.3
    assert found.request_s == pytest.approx(0.02, abs=1e-6)
    assert found.rows == 6
    assert max(found.tpot_error, found.ttft_error) < 1e-6


def test_rows_held_back_are_not_seen() -> None:
    rows = v4_rows("fit", 64)
    held = [replace(row, tpot_ms=9 * row.tpot_ms) for row in v4_rows("check", 64)]
    assert served_fits([*rows, *held]) == served_fits(rows)
    assert served_fits(rows[:3]) == []  # too few


def test_every_family_that_is_fitted_ships() -> None:
    """That the table is what its rows give is held by `tests/cli/test_fit.py`."""
    assert [(row.engine, row.family) for row in served()] == list(FAMILIES)


def test_a_bad_table_says_where(tmp_path) -> None:
    path = tmp_path / "served.csv"
    path.write_text("engine,family\nsglang,x\n")
    with pytest.raises(UserError, match="engine,family,prefill,request_s"):
        read_served(path)
    path.write_text("engine,family,prefill,request_s,rows,tpot_error,ttft_error\nsglang,x,long,0,4,0,0\n")
    with pytest.raises(UserError, match=r"sglang/x.*numbers"):
        read_served(path)


def test_the_law_of_the_compared_h200_tells_its_served_rows() -> None:
    """8 x H200, TP8, V4-Pro by SGLang, 64 to 4,096 clients: with its operators alone the law would be up to 24 % short."""
    law = load_deployment("hgx_h200_v4pro_20tps_sglang").pools[0].law
    rows = [r for r in shipped_rows() if r.id.startswith("sglang_dsv4_h200_pro") and r.concurrency >= 64]
    errors = []
    for trial in trials_of(rows):
        deployment = replace(trial.serving.deployment, pools=tuple(replace(pool, law=law) for pool in trial.serving.deployment.pools))
        played = trial.played(deployment, trial.serving.request_s)
        errors.append(played.tpot_ms / trial.row.tpot_ms - 1)
    assert len(errors) == 4
    assert max(map(abs, errors)) < 0.13
    assert median(map(abs, errors)) < 0.08
