"""What a calibration makes of its rows: fit, check, overlay and report. Inputs are an endpoint, its rows, a folder, and names of cards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.calibration.cell import Endpoint
    from simulator.cli.live_fit import Cards
    from simulator.probe.run import Rows


def conclude(endpoint: Endpoint, rows: Rows, out: Path, cards: Cards) -> None:
    """Fits the rows, simulates the replay, and writes what comes of it.

    Raises
    ------
    UserError
        When too few cells are usable.
    """
    from simulator.cli.live_fit import finish

    finish(out, endpoint, rows.cells, rows.requests, cards)


def cards_of(system: str | None, card: str | None) -> Cards:
    """The cards that somebody names, looked at before anything is run; unknown where nobody does. Raises `UserError`."""
    from simulator.cli.live_fit import Cards
    from simulator.hardware.load import load_model, load_system
    from simulator.hardware.unknown import UNKNOWN

    if system is not None:
        load_system(system)
    if card is not None:
        load_model(card)
    return Cards(system or UNKNOWN, card or UNKNOWN)
