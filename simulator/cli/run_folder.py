"""The folder of a calibration: what the endpoint is, what was planned, and rows as they come. Input is a path, and what is to be kept.

Rows are appended a cell at a time and flushed to the disk: first its requests, then the cell, so that a cell that is there is whole. A run
that goes on drops the requests of cells that are not there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.calibration.cell import CellRow, Endpoint, RequestRow
    from simulator.probe.run import Rows

ENDPOINT, PLAN, REQUESTS, CELLS = "endpoint.json", "plan.json", "requests.jsonl", "cells.jsonl"


class RunFolder:
    """A folder that a run writes to.

    Parameters
    ----------
    path : Path
    epoch_s : float
        The wall clock's time when the run's clock began.
    """

    def __init__(self, path: Path, epoch_s: float = 0.0) -> None:
        self.path, self.epoch_s = path, epoch_s

    @property
    def used(self) -> bool:
        """Whether rows are there."""
        return (self.path / CELLS).exists()

    @property
    def files(self) -> tuple[Path, ...]:
        """What is written before the first cell and with each."""
        return tuple(self.path / name for name in (ENDPOINT, PLAN, REQUESTS, CELLS))

    def begin(self, endpoint: Endpoint, plan_text: str, rows: Rows) -> None:
        """Writes what is known before the first cell, and the rows that are gone on from."""
        from simulator.calibration.cell_file import cell_line, endpoint_text, request_line
        from simulator.cli.files import write_text

        write_text(self.path / ENDPOINT, endpoint_text(endpoint))
        write_text(self.path / PLAN, plan_text)
        write_text(self.path / REQUESTS, "".join(request_line(row, self.epoch_s) for row in rows.requests))
        write_text(self.path / CELLS, "".join(cell_line(row) for row in rows.cells))

    def keep(self, requests: Sequence[RequestRow], cell: CellRow) -> None:
        """A cell that has ended."""
        from simulator.calibration.cell_file import cell_line, request_line

        _append(self.path / REQUESTS, "".join(request_line(row, self.epoch_s) for row in requests))
        _append(self.path / CELLS, cell_line(cell))

    def endpoint(self) -> Endpoint:
        """What the run before found out."""
        from simulator.calibration.cell_file import read_endpoint

        return read_endpoint(_text(self.path / ENDPOINT), str(self.path / ENDPOINT))

    def rows(self) -> Rows:
        """The rows that can be gone on from."""
        from simulator.calibration.cell_file import read_cells, read_requests
        from simulator.probe.run import resumable

        cells = read_cells(_text(self.path / CELLS), str(self.path / CELLS))
        return resumable(cells, read_requests(_text(self.path / REQUESTS), str(self.path / REQUESTS)))


def _append(path: Path, text: str) -> None:
    from simulator.errors import Mistake, UserError

    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(Mistake(str(path), "", "a place that cannot be written", hint=error.strerror or "")) from error


def _text(path: Path) -> str:
    from simulator.errors import Mistake, UserError

    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        raise UserError(Mistake(str(path), "", "a file that cannot be read", "the folder of a calibration", str(error))) from error
