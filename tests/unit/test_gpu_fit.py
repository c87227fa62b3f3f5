"""The fits of measure-gpu: laws that are known are found again from a noisy file, and cells held out are neither seen nor missed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.calibration.gpu_evidence import Row
from simulator.calibration.gpu_fit import by_cell, drift, fit_times, gemm_shares, held_out, relative_least_squares, single, stack_span
from simulator.calibration.gpu_fit_power import GpuPowerFit, fit_gpu_power, refitted, strangers
from simulator.calibration.gpu_overlay import overlay_text
from simulator.errors import UserError
from simulator.hardware.efficiency import efficiencies
from simulator.hardware.load import load_system
from tests.unit.gpu_synthetic import ABOUT, IDLE_W, LINK_BYTES_PER_S, POWER, TIMES, damaged, h200, synthetic

NOISE = 0.02


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return synthetic(NOISE)


def fitted(rows: Sequence[Row]) -> GpuPowerFit:
    return fit_gpu_power(rows, h200(), "e.csv", draws=4)


@pytest.fixture(scope="module")
def power(rows: list[Row]) -> GpuPowerFit:
    return fitted(rows)


@pytest.mark.parametrize("damage", [False, True], ids=["whole", "damaged"])
def test_times_are_found_again(rows: list[Row], damage: bool) -> None:
    """At 2 % noise a GEMM's terms come out within 3 %, those of kinds with few cells within 8 %; held-out cells are missed by noise."""
    fits = {fit.kind: fit for fit in fit_times(damaged(rows) if damage else rows, h200())}
    assert set(fits) == set(TIMES)
    for kind, fit in fits.items():
        found = {term.name: term for term in fit.terms}
        for name, true in TIMES[kind].items():
            if name != "floor_s":
                assert found[name].value == pytest.approx(true, rel=0.03 if kind == "gemm" else 0.08), (kind, name)
            assert found[name].low <= found[name].value <= found[name].high
        assert fit.check_error < 1.5 * NOISE
        assert fit.checked > 0


def test_intervals_hold_the_truth_most_of_the_time() -> None:
    """Over 12 noisy files a 90 % interval holds the true weights term at least 8 times."""
    inside = 0
    for seed in range(12):
        gemm = next(fit for fit in fit_times(synthetic(NOISE, seed), h200()) if fit.kind == "gemm")
        term = next(term for term in gemm.terms if term.name == "weights")
        inside += term.low <= TIMES["gemm"]["weights"] <= term.high
    assert inside >= 8


@pytest.mark.parametrize("damage", [False, True], ids=["whole", "damaged"])
def test_power_law_is_found_again(rows: list[Row], power: GpuPowerFit, damage: bool) -> None:
    fit = fitted(damaged(rows)) if damage else power
    for name, true in POWER.items():
        assert fit.coefficients[name] == pytest.approx(true, rel=0.15), name
    assert fit.idle_w == pytest.approx(IDLE_W["allocated"], rel=0.06)
    assert fit.check_error < 0.02
    assert fit.check_before > 2 * fit.check_error
    assert 0.2 < np.mean([point.held_out for point in fit.points]) < 0.47


def test_without_noise_nothing_is_missed() -> None:
    rows = synthetic(0.0)
    assert all(fit.check_error < 1e-6 for fit in fit_times(rows, h200()))
    assert fitted(rows).check_error < 0.003


def test_held_out_cells_are_not_fitted_to(rows: list[Row], power: GpuPowerFit) -> None:
    """Nonsense in the cells held out changes no coefficient; the errors on them tell it."""
    wrong = [replace(row, time_s=10 * row.time_s, watts=1.0) if held_out(row.cell) and row.time_s else row for row in rows]
    for old, new in zip(fit_times(rows, h200()), fit_times(wrong, h200()), strict=True):
        assert old.terms == new.terms
        assert new.check_error > 0.5
    new_power = fitted(wrong)
    assert power.terms == new_power.terms
    assert new_power.check_error > 0.3


def test_wasteful_kernels_stay_out(power: GpuPowerFit) -> None:
    """Cells that gathered their cache first are not in the fit."""
    assert any("decode/gqa" in point.cell for point in power.points)
    assert not any("shared=1" in point.cell for point in power.points)


def test_too_few_watts_are_refused(rows: list[Row]) -> None:
    bare = [replace(row, watts=None) if row.kind != "copy" else row for row in rows]
    with pytest.raises(UserError, match=r"e\.csv: watts; found 2 cells"):
        fit_gpu_power(bare, h200(), "e.csv")


def test_visits_to_a_cell_are_averaged() -> None:
    first, second = replace(synthetic(0.0)[20], watts=100.0), replace(synthetic(0.0)[20], visit=1, watts=None, time_s=3.0)
    (mean,) = by_cell([first, second, replace(first, visit=2, status="failed", watts=1.0)])
    assert (mean.watts, mean.time_s) == (100.0, pytest.approx((first.time_s + 3.0) / 2))  # type: ignore[operator]


def test_small_figures(rows: list[Row]) -> None:
    assert single(rows, "idle", "bare", "watts") == pytest.approx(IDLE_W["bare"], rel=0.06)
    assert single(rows, "launch", "graph", "time_s") == pytest.approx(1.5e-6, rel=0.06)
    assert single(rows, "idle", "nothing", "watts") is None
    found = drift(rows)
    assert found is not None
    assert 0 < found < 0.15
    assert drift(rows[:3]) is None
    shares = {(share.dtype, share.tokens): share for share in gemm_shares(rows, h200())}
    assert shares["bf16", 1].bandwidth > 0.6 > 0.1 > shares["bf16", 16384].bandwidth
    assert shares["bf16", 16384].flops > 0.6 > 0.1 > shares["bf16", 1].flops


def test_least_squares_are_not_negative() -> None:
    matrix = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 4.0]])
    assert relative_least_squares(matrix, matrix @ np.array([3.0, 2.0])) == pytest.approx([3.0, 2.0])
    assert relative_least_squares(matrix, np.array([4.0, 2.0, 1.0])).tolist()[1] == 0.0


def test_overlay_is_a_good_profile(rows: list[Row], power: GpuPowerFit, tmp_path: Path) -> None:
    path = tmp_path / "measured.yaml"
    path.write_text(overlay_text(h200(), ABOUT, rows, power), encoding="utf-8")
    fit, found, old = power, load_system(path), h200()
    assert found.name == "hgx_h200_measured"
    assert (found.idle_w, found.host_link_bytes_per_s) == (pytest.approx(fit.idle_w, rel=1e-3), pytest.approx(LINK_BYTES_PER_S, rel=0.06))
    assert [getattr(found, name) for name in POWER] == pytest.approx([fit.coefficients[name] for name in POWER], rel=1e-3)
    assert (found.hbm_bytes_per_s, found.nameplate_w) == (old.hbm_bytes_per_s, old.nameplate_w)
    assert found.fields["idle_w"].quality == found.fields["host_link_bytes_per_s"].quality == "measured"
    assert found.fields["power_floor"].quality == "fitted"
    assert "NVIDIA H200 (synthetic)" in found.fields["power_floor"].source
    assert refitted(old, fit).power_floor == fit.coefficients["power_floor"]


def test_overlay_leaves_out_what_was_not_measured(rows: list[Row], tmp_path: Path) -> None:
    path, busy = tmp_path / "measured.yaml", [row for row in rows if row.kind not in ("idle", "host")]
    path.write_text(overlay_text(h200(), ABOUT, busy, None), encoding="utf-8")
    found, old = load_system(path), h200()
    words: dict[str, Any] = {"name": "", "title": "", "quality": "", "notes": (), "fields": {}}
    assert replace(found, **words) == replace(old, **words)


def test_hostile_text_in_a_file_stays_text(rows: list[Row], tmp_path: Path) -> None:
    path = tmp_path / "measured.yaml"
    path.write_text(overlay_text(h200(), {**ABOUT, "gpu": 'a"\nb: {c: \\'}, rows, None), encoding="utf-8")
    assert 'a" b: {c: \\' in load_system(path).fields["idle_w"].source


def test_another_gpu_is_told() -> None:
    assert strangers(ABOUT, h200()) == []
    assert strangers({**ABOUT, "power_cap_w": "700", "power_cap_default_w": "700"}, h200()) == []
    (name,) = strangers({**ABOUT, "gpu": "NVIDIA B200"}, h200())
    assert "is that the one of hgx_h200?" in name
    (cap,) = strangers({**ABOUT, "power_cap_w": "500"}, h200())
    assert "power_cap_w is 500 W where the profile's tdp_w is 700 W" in cap


def test_terms_stand_beside_those_of_served_runs() -> None:
    found = [row.efficiency for row in efficiencies().values() if row.system == "hgx_h200" and row.model == "any"]
    assert stack_span("hgx_h200", "gemm", "weights") == (min(e.weights for e in found), max(e.weights for e in found))
    assert stack_span("hgx_h200", "gemm", "floor_s") is None
    assert stack_span("nowhere", "gemm", "weights") is None
