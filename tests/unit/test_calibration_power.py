"""The fit of the power law: the coefficients of the profiles come out of it, on rows it has not seen it stays within its bound."""

from dataclasses import replace

import pytest

from simulator.calibration.fit_power import FREE, NAMES, PowerFit, fit_power, watts
from simulator.calibration.power_rows import PowerRow, power_models, power_rows, utilisation
from simulator.hardware.load import load_system

ROWS, MODELS = power_rows(), power_models()
SYSTEMS = {name: load_system(name) for name in FREE}


@pytest.fixture(scope="module")
def fits() -> dict[str, PowerFit]:
    return fit_power(ROWS, SYSTEMS, MODELS)


@pytest.mark.parametrize("name", FREE)
def test_the_profiles_hold_what_the_fit_gives(name: str, fits: dict[str, PowerFit]) -> None:
    assert dict(fits[name].coefficients) == {key: getattr(SYSTEMS[name], key) for key in NAMES}


@pytest.mark.parametrize(("name", "rows"), [("hgx_h100", 110), ("hgx_b200", 63)])
def test_curves_not_fitted_lie_within_eight_percent_of_the_tdp(name: str, rows: int, fits: dict[str, PowerFit]) -> None:
    errors = fits[name].errors["check"]
    assert errors.rows == rows
    assert errors.median <= 0.08
    assert errors.worst <= 0.30


def test_no_curve_lies_on_both_sides_of_the_split() -> None:
    sides: dict[tuple[str, ...], set[str]] = {}
    for row in ROWS:
        sides.setdefault((row.system, row.model, row.precision, row.layout, row.source), set()).add(row.split)
    assert all(len(found) == 1 for found in sides.values())
    assert {row.split for row in ROWS} == {"fit", "check"}


def test_watts_of_check_rows_move_no_coefficient() -> None:
    few = [row for row in ROWS if row.system != "hgx_b200"]
    false = [replace(row, watts_per_gpu=1.0) if row.split == "check" else row for row in few]
    some = {name: SYSTEMS[name] for name in FREE}
    b200 = [row for row in ROWS if row.system == "hgx_b200" and row.split == "fit"][:3]
    ours, theirs = fit_power(few + b200, some, MODELS), fit_power(false + b200, some, MODELS)
    assert {name: fit.coefficients for name, fit in ours.items()} == {name: fit.coefficients for name, fit in theirs.items()}
    assert ours["hgx_h100"].errors["check"] != theirs["hgx_h100"].errors["check"]


def test_utilisation_by_hand() -> None:
    """8 sequences of Qwen3-8B behind 800 tokens in 10 ms on one H100: 16.4 GB of weights and 0.94 GB of KV; 131 GFLOP."""
    row = PowerRow("x", "hgx_h100", "qwen3_8b", "bf16", 1, "tp1", 8, 800, 10.0, 0, 0, 400, "", "", "fit")
    um, uc = utilisation(row, SYSTEMS["hgx_h100"], MODELS)
    assert um == pytest.approx((16.38e9 + 8 * 800 * 147_456) / 3.35e10, rel=1e-6)
    assert uc == pytest.approx(2 * 8.19e9 * 8 / 989e10, rel=1e-6)


def test_the_law_of_a_profile_has_three_pieces() -> None:
    """H200: 115 W doing nothing, a steep line, a flatter one from 53 % of the TDP, and the TDP."""
    h200 = SYSTEMS["hgx_h200"]
    assert watts(h200, 0.0, 0.0) == 115
    assert watts(h200, 0.2, 0.0) == pytest.approx(115 + 700 * 2.211 * 0.391 * 0.2)
    assert watts(h200, 0.4, 0.1) == pytest.approx(700 * (0.53 + 0.391 * 0.4 + 2.072 * 0.1))
    assert watts(h200, 0.5, 0.5) == 700
