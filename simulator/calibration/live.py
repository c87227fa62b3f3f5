"""A calibration out of rows: read, fit, check, and ask whether it still holds. Input is a folder that `agentwatt calibrate` wrote."""

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulator.calibration.cell import CellRow, Endpoint, RequestRow
from simulator.calibration.cell_file import read_cells, read_endpoint, read_requests
from simulator.calibration.live_cells import cells_as_sent
from simulator.calibration.live_check import VERDICTS, Check, check
from simulator.calibration.live_drift import Drift, drift_of
from simulator.calibration.live_fit import Fit, at_pace, fit_rows, observe_cells
from simulator.calibration.live_law import Observation
from simulator.calibration.live_overlay import playing
from simulator.calibration.live_pace import STEADY
from simulator.calibration.live_traits import by_cell
from simulator.errors import Mistake, UserError

__all__ = ["Calibrated", "LiveRun", "calibrate_rows", "drift_from", "read_run"]


@dataclass(frozen=True)
class LiveRun:
    """What a run on an endpoint left: what it is, a row for each cell and one for each request."""

    endpoint: Endpoint
    cells: Sequence[CellRow]
    requests: Sequence[RequestRow]


@dataclass(frozen=True)
class Calibrated:
    """A run with the law fitted to it and the check on agents that were held out."""

    run: LiveRun
    fit: Fit
    check: Check

    @property
    def verdict(self) -> str:
        """How far to trust it, in a sentence; ``check.sentences`` say why."""
        return VERDICTS[self.check.word]

    def unseen(self, *kinds: str) -> list[tuple[Observation, float]]:
        """Times of cells of these kinds, to which nothing was fitted, with the signed relative error of the law on each."""
        cells = [cell for cell in self.run.cells if cell.kind in kinds]
        rows = by_cell(self.run.requests)
        seen, _ = observe_cells(playing(self.fit.measured), cells, rows, cells_as_sent(cells, rows))
        seen = at_pace(seen, cells, self.fit.pace or STEADY)
        return list(zip(seen, self.fit.law.predict(seen).tolist(), strict=True))


def read_run(folder: str | Path) -> LiveRun:
    """The rows of a run: ``endpoint.json``, ``cells.jsonl`` and ``requests.jsonl``, each packed (``.gz``) or not.

    Raises
    ------
    UserError
        When a file is not there, or is not what a calibration writes.
    """
    path = Path(folder)
    endpoint = read_endpoint(_text(path / "endpoint.json"), str(path / "endpoint.json"))
    cells = read_cells(_text(path / "cells.jsonl"), str(path / "cells.jsonl"))
    return LiveRun(endpoint, cells, read_requests(_text(path / "requests.jsonl"), str(path / "requests.jsonl")))


def calibrate_rows(run: LiveRun, progress: Callable[[str], None] | None = None) -> Calibrated:
    """The law of a run's endpoint, and the check of it; ``progress`` is told before each.

    Raises
    ------
    UserError
        When too few cells are usable.
    """
    tell = progress or (lambda _: None)
    rows = by_cell(run.requests)
    made = cells_as_sent(run.cells, rows)
    tell("fitting")
    fit = fit_rows(run.endpoint, run.cells, run.requests, made=made)
    tell("simulating the replay")
    return Calibrated(run, fit, check(fit, playing(fit.measured), run.cells, rows, made))


def drift_from(found: Calibrated, run: LiveRun) -> Drift:
    """Whether a calibration still holds for the cells of another run."""
    return drift_of(playing(found.fit.measured), run.cells, run.requests)


def _text(path: Path) -> str:
    packed = path.with_name(f"{path.name}.gz")
    try:
        return gzip.decompress(packed.read_bytes()).decode() if packed.exists() else path.read_text(encoding="utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UserError(Mistake(str(path), "", "a file that cannot be read", "what a calibration wrote", str(error))) from error
