"""What a calibration makes of its rows: the fit, and the profile as an overlay. Inputs are an endpoint, its rows, and a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.calibration.cell import Endpoint
    from simulator.probe.run import Rows

OVERLAY = "overlay.yaml"


def conclude(endpoint: Endpoint, rows: Rows, out: Path) -> None:
    """Fits the rows and writes what comes of it.

    Raises
    ------
    UserError
        When too few cells are usable.
    """
    from datetime import UTC, datetime

    from simulator.calibration.live_fit import fit_rows
    from simulator.calibration.live_overlay import overlay_text
    from simulator.cli.files import write_text
    from simulator.cli.screen import say

    fit = fit_rows(endpoint, rows.cells, rows.requests)
    where = f"{endpoint.model} on {endpoint.dialect} {endpoint.version or ''}".rstrip() + f", {datetime.now(UTC):%Y-%m-%d}"
    write_text(out / OVERLAY, overlay_text(fit.measured, out.resolve().name, where, endpoint.notes))
    for excluded in fit.excluded:
        say(f"left out: {excluded.cell}: {excluded.why}")
    say(f"written: {out / OVERLAY}")
