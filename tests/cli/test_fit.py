"""`agentwatt fit`: coefficients done again beside those in use, and the status of a check."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.calibration import fits
from simulator.calibration.fit_grid import GRIDS, fit_again, rows_of, worker_of
from simulator.calibration.grid import step_rows
from simulator.calibration.refit import Coefficient, Miss, Refit
from simulator.catalog import folder
from tests.cli.conftest import Command


def test_every_coefficient_is_what_its_evidence_gives(command: Command) -> None:
    result = command("fit", "--check")
    assert result.exit_code == 0, result.stdout
    assert "DIFFERS" not in result.stdout
    for words in ("deployments/gb300_nvl72_v4pro_20tps", "prefill_pair_s", "Errors of the laws"):
        assert words in result.stdout


def test_a_difference_is_told_and_fails_a_check(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Refit("x", (Coefficient("floor_s", 1.0, 1.01),), (Miss("decode", "fit", np.array([0.1])),))
    monkeypatch.setattr(fits, "all_fits", lambda: [bad])
    assert "DIFFERS" in command("fit").stdout
    assert command("fit").exit_code == 0
    assert command("fit", "--check").exit_code == 3


def test_a_table_is_written_as_it_ships_and_only_to_a_file(command: Command, tmp_path: Path) -> None:
    assert "only --write FILE writes a table" in command("fit", "--table", "served").stderr
    assert command("fit", "--table", "served", "--write", str(tmp_path / "served.csv")).exit_code == 0
    assert (tmp_path / "served.csv").read_text() == (folder("laws") / "served.csv").read_text()


def test_rounding_is_no_difference() -> None:
    assert not Coefficient("a", 1.0, 1.004).differs
    assert Coefficient("a", 1.0, 1.006).differs
    assert not Coefficient("a", 0.0, 0.0).differs
    assert Coefficient("a", 0.0, 1e-9).differs


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.deployment)
def test_rows_that_move_move_the_fit(grid: Any) -> None:
    """Steps that all take a millisecond longer raise the floor by about that and no other coefficient by much."""
    worker = worker_of(grid)
    rows = rows_of(worker, step_rows())
    before, after = (fit_again(grid, worker, moved) for moved in (rows, [replace(row, ms=row.ms + 1) for row in rows]))
    assert after["floor_s"] - before["floor_s"] == pytest.approx(1e-3, rel=0.25)
    assert after["decode_token_s"] == pytest.approx(before["decode_token_s"], rel=0.08)
