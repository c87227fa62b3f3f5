"""What `calibrate` makes of rows: fit, check, overlay and report. Inputs are an endpoint, its rows and where to write."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.calibration.cell import CellRow, Endpoint, RequestRow
    from simulator.calibration.live_check import Check
    from simulator.calibration.live_fit import Fit
    from simulator.report.provenance import Provenance


@dataclass(frozen=True)
class Cards:
    """What the endpoint runs on and serves, as whoever calibrates names it; ``unknown`` where nobody does."""

    system: str = "unknown"
    model: str = "unknown"
    gpus: int = 1


def cards_of(system: str | None, card: str | None) -> Cards:
    """The cards that somebody names, looked at before anything is run; unknown where nobody does. Raises `UserError`."""
    from simulator.hardware.load import load_model, load_system
    from simulator.hardware.unknown import UNKNOWN

    if system is not None:
        load_system(system)
    if card is not None:
        load_model(card)
    return Cards(system or UNKNOWN, card or UNKNOWN)


def finish(
    out: Path,
    endpoint: Endpoint,
    cells: Sequence[CellRow],
    requests: Sequence[RequestRow],
    cards: Cards = Cards(),
    command: str = "agentwatt calibrate",
) -> Check:
    """Fit, check, and write ``fit.json``, ``overlay.yaml``, ``report.json`` and ``report.html`` beside the rows; tables on stdout.

    Raises
    ------
    UserError
        When too little of the rows can be used, or a card is not known.
    """
    from simulator.calibration.live import LiveRun, calibrate_rows
    from simulator.cli.provenance import provenance_of_rows
    from simulator.cli.screen import progress

    with progress() as tell:
        found = calibrate_rows(LiveRun(endpoint, cells, requests), tell)
    fit = replace(found.fit, endpoint=replace(endpoint, notes=(*endpoint.notes, *draw_notes(cells))))
    about = {"cells": f"{len(cells)}", "requests": f"{len(requests)}"}
    where = provenance_of_rows("endpoint", f"{endpoint.model} ({engine_of(endpoint)})", command, endpoint, list(cells), list(requests))
    publish(out, fit, found.check, about, cards, where)
    return found.check


def publish(out: Path, fit: Fit, found: Check, about: Mapping[str, str], cards: Cards, where: Provenance) -> None:
    """Writes what was found, and tells it; ``about`` says what it was found in."""
    from simulator.calibration.live_check import VERDICTS
    from simulator.calibration.live_json import check_json, fit_json
    from simulator.cli.files import write_text
    from simulator.cli.screen import say, show_sheets
    from simulator.report.live_fit_tables import fit_sheets
    from simulator.report.live_page import render_calibration

    text = overlay_of(fit, found, cards)
    sheets = fit_sheets(fit, found)
    about = {"model": fit.endpoint.model, "engine": engine_of(fit.endpoint), **about}
    write_text(out / "fit.json", _json(fit_json(fit)))
    write_text(out / "overlay.yaml", text)
    write_text(out / "report.json", _json({"check": check_json(found), "fit": fit_json(fit)}))
    write_text(out / "report.html", render_calibration(fit, found, sheets, about, where))
    show_sheets(sheets)
    say(VERDICTS[found.word])
    for sentence in found.sentences:
        say(f"- {sentence}")
    say(f"written: {out / 'overlay.yaml'}, {out / 'report.html'}; try it: agentwatt profiles check {out / 'overlay.yaml'}")


def draw_notes(cells: Sequence[CellRow]) -> tuple[str, ...]:
    """What cells that lasted drew, in words; none where nobody read watts."""
    from simulator.calibration.live_plan import STEADY_S

    watts = sorted(cell.watts for cell in cells if cell.watts is not None and cell.end_s - cell.start_s >= STEADY_S)
    if not watts:
        return ()
    return (f"{len(watts)} cells of {STEADY_S:g} s and more drew {watts[0]:.0f} to {watts[-1]:.0f} W; no law of watts is fitted to them",)


def overlay_of(fit: Fit, found: Check, cards: Cards) -> str:
    """The overlay's text, once it is a good deployment."""
    from datetime import UTC, datetime

    import yaml

    from simulator.calibration.live_check import VERDICTS
    from simulator.calibration.live_overlay import overlay_text
    from simulator.hardware.load import load_deployment

    measured = replace(fit.measured, system=cards.system, model=cards.model, gpus=cards.gpus)
    endpoint, date = fit.endpoint, datetime.now(UTC).date().isoformat()
    kinds = ", ".join(dict.fromkeys(one.kind for one in fit.law.observations))
    where = f"endpoint {endpoint.model} ({engine_of(endpoint)}), {date}, {len({one.cell for one in fit.law.observations})} cells ({kinds})"
    notes = [
        VERDICTS[found.word] + " " + "; ".join(found.sentences) + ".",
        f"Measured up to {measured.valid_seqs} sequences side by side and {measured.valid_context_tokens:,} tokens of context; "
        "what lies beyond is an extrapolation.",
        "A client's TTFT has request_s in it, the simulated one has not.",
        *(f"{note[0].upper()}{note[1:]}." for note in endpoint.notes),
    ]
    spans = {one.name: (one.low, one.high) for one in fit.coefficients}
    name = "".join(c if c.isalnum() else "_" for c in endpoint.model).strip("_") or "endpoint"
    text = overlay_text(measured, name, where, notes, spans)
    load_deployment(yaml.safe_load(text))
    return text


def engine_of(endpoint: Endpoint) -> str:
    """Dialect and version in words."""
    return "unknown engine" if endpoint.dialect == "none" else f"{endpoint.dialect} {endpoint.version or ''}".strip()


def _json(value: object) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"
