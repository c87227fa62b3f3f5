"""The command `drift` of the panel *Reality*: a short check of an endpoint against an overlay. Inputs are an address and an overlay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.ask import AsJson
from simulator.cli.calibrate import KeyFile, Model, Timeout, Url, Yes

if TYPE_CHECKING:
    from simulator.calibration.cell import Endpoint
    from simulator.cli.live_run import MakePlan, Planned
    from simulator.hardware.deployment import Deployment
    from simulator.probe.run import Rows


def drift(
    url: Url,
    against: Annotated[Path, typer.Option("--against", metavar="OVERLAY", help="The overlay.yaml of a calibration.", show_default=False)],
    model: Model = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FOLDER", help="Where rows and drift.json go; drift/TIME by default.", show_default=False),
    ] = None,
    budget: Annotated[str, typer.Option("--budget", metavar="TIME", help="How long it may take: 1m, 90s.")] = "2m",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the check in the folder.")] = False,
    plan_only: Annotated[bool, typer.Option("--plan", help="Show what would be asked, and leave.")] = False,
    yes: Yes = False,
    key_file: KeyFile = None,
    timeout_s: Timeout = 120.0,
    as_json: AsJson = False,
) -> None:
    """Does an overlay still hold? A minute of cells on the endpoint, beside what it predicts. Status 0: it holds; 3: it does not."""
    from datetime import UTC, datetime

    from simulator.cli.live_run import RunOptions, play_live
    from simulator.cli.reality import seconds_of
    from simulator.hardware.load import load_deployment

    budget_s, overlay = seconds_of(budget, "drift"), load_deployment(against)
    folder = out or Path("drift", datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"))
    also = ("--against", str(against))
    asked = RunOptions("drift", url, model, folder, budget_s, resume, None, plan_only, yes, key_file, timeout_s, also)
    found = play_live(asked, _plan_against(overlay))
    if found is not None:
        _finish(overlay, *found, folder, as_json)


def _plan_against(overlay: Deployment) -> MakePlan:
    from simulator.calibration.live_cells import make_cell
    from simulator.calibration.live_drift import drift_cells, expected_s, next_drift_cells
    from simulator.calibration.live_overlay import playing_deployment
    from simulator.cli.live_run import Expected, Planned
    from simulator.cli.screen import progress, tell_first_compile

    at = playing_deployment(overlay)
    with progress() as tell:
        tell_first_compile(tell)
        expected_s(at, [make_cell("floor", {"prompt": 2, "turns": 1}, 1)])  # so that compiling takes nothing from the budget

    def plan(endpoint: Endpoint, budget_s: float) -> Planned:
        cells = drift_cells(endpoint, at)
        prompt, output = (sum(cell.tokens[kind] for cell in cells) for kind in (0, 1))
        expected = Expected(min(budget_s, expected_s(at, cells)), len(cells), prompt, output)
        return Planned(lambda done, _: next_drift_cells(endpoint, at, done), expected, adapts=False)

    return plan


def _finish(overlay: Deployment, endpoint: Endpoint, rows: Rows, folder: Path, as_json: bool) -> None:
    """A table and a verdict, ``drift.json`` beside the rows, and the status."""
    from simulator.calibration.live_drift import drift_of, settings_changed
    from simulator.calibration.live_json import drift_json
    from simulator.calibration.live_overlay import playing_deployment
    from simulator.cli.exit_codes import ExitCode
    from simulator.cli.files import write_text
    from simulator.cli.screen import json_text, say, show_json, show_sheets
    from simulator.report.live_fit_tables import drift_sheet

    found, settings = drift_of(playing_deployment(overlay), rows.cells, rows.requests), settings_changed(endpoint, overlay)
    document = drift_json(found, settings)
    write_text(folder / "drift.json", json_text(document) + "\n")
    if as_json:
        show_json(document)
    else:
        show_sheets([drift_sheet(found)])
        print(f"\n{found.sentence}")
    for setting in settings:
        say(f"the endpoint tells otherwise than before: {setting}")
    for one in found.excluded:
        say(f"left out: {one.cell}: {one.why}")
    if found.holds is None:
        raise typer.Exit(ExitCode.ENDPOINT_LOST)
    if not found.holds:
        raise typer.Exit(ExitCode.DIFFERS)
