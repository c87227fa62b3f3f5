"""The command `agentwatt sweep`: one question over a grid of scenarios. Inputs are a scenario and the fields that vary."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.ask import AsJson, Changes, ScenarioRef

if TYPE_CHECKING:
    from simulator.capacity.point import Progress
    from simulator.capacity.sweep import Sweep
    from simulator.capacity.sweep_plan import SweepPlan
    from simulator.report.grounds import Footing
    from simulator.report.provenance import Provenance

Vary = Annotated[
    list[str] | None,
    typer.Option(
        "--vary",
        "-v",
        metavar="FIELD=VALUES",
        help="A field and its values: slo.speed_tok_s=20,40,60, deployment.workers=1..8, power.cap_w=300..700/10. May be repeated.",
        show_default=False,
    ),
]
Latin = Annotated[
    int | None,
    typer.Option("--latin", metavar="N", min=1, help="N draws of a Latin hypercube in place of the grid.", show_default=False),
]
Dask = Annotated[
    str | None,
    typer.Option("--dask", metavar="ADDRESS", help="Play the points on the Dask cluster of this scheduler.", show_default=False),
]
Jobs = Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Processes here; one for each CPU by default.", show_default=False)]
Out = Annotated[
    Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of sweep.parquet, sweep.csv and report.html; a sweep goes on there.")
]
JOURNAL = "sweep.journal.jsonl"
MOST_KINDS = 6
"""Deployments whose profiles are listed in the report."""
MOST_SHOWN = 60
"""Points in the table on the screen."""


def sweep(
    scenario: ScenarioRef,
    vary: Vary = None,
    changes: Changes = None,
    latin: Latin = None,
    as_json: AsJson = False,
    out: Out = Path("results/sweep"),
    dask: Dask = None,
    jobs: Jobs = None,
) -> None:
    """A grid of any scenario fields, a row for each point; one that was stopped goes on where it was."""
    from simulator.capacity.document import parse_overrides
    from simulator.capacity.sweep_axes import parse_axes
    from simulator.capacity.sweep_plan import plan_sweep
    from simulator.cli.screen import progress, say, show_json, show_sheets
    from simulator.report.sweep_frame import sweep_records
    from simulator.report.sweep_tables import refused_sheet, sweep_sheet

    plan = plan_sweep(scenario, parse_axes(vary or []), parse_overrides(changes or []), latin)
    with progress() as tell:
        found = _played(plan, out, tell, jobs, dask, _command(scenario, vary, changes, latin))
    refused = refused_sheet(found)
    if as_json:
        show_json(sweep_records(found))
    else:
        show_sheets([sweep_sheet(found, MOST_SHOWN), *([refused] if refused else [])])
    if refused:
        say(f"{len(found.refused):,} of {len(found.rows):,} points cannot run; each row says why")
    say(f"written: {out / 'sweep.parquet'}, {out / 'sweep.csv'}, {out / 'report.html'}")


def _played(plan: SweepPlan, out: Path, tell: Progress, jobs: int | None, dask: str | None, command: str) -> Sweep:
    """The sweep, with what an earlier run in the same folder finished, and its files."""
    from simulator.capacity.sweep import play_sweep
    from simulator.cli.files import write_bytes, write_text
    from simulator.cli.screen import say, tell_first_compile
    from simulator.cli.sweep_journal import SweepJournal
    from simulator.report.export import csv_text
    from simulator.report.sweep_frame import finished_rows, parquet_bytes, sweep_frame
    from simulator.report.sweep_page import render_sweep

    journal = SweepJournal(out / JOURNAL)
    try:
        table = out / "sweep.parquet"
        finished = (finished_rows(table.read_bytes()) if table.is_file() else {}) | journal.rows
        tell_first_compile(tell)
        found = play_sweep(plan, finished, tell, jobs, dask, journal.keep)
        write_text(out / "sweep.csv", csv_text(sweep_frame(found)))
        write_text(out / "report.html", render_sweep(found, *_grounds(found, command)))
        write_bytes(table, parquet_bytes(found, command))
    except BaseException:
        journal.close()
        say(f"finished points are kept in {journal.path}; the same command goes on")
        raise
    journal.remove()
    return found


def _grounds(found: Sweep, command: str) -> tuple[list[Footing], Provenance]:
    """The profiles beneath the first few kinds of points, and what made the page."""
    from dataclasses import replace

    from simulator.capacity.sweep_axes import canonical
    from simulator.capacity.sweep_key import digest_of
    from simulator.cli.ask import footings_of
    from simulator.cli.provenance import provenance_of

    points = [point for point in found.plan.points if point.key]
    kinds = {canonical([s.system, s.model, s.deployment]): s for s in (point.scenario for point in points)}
    digest = digest_of([point.key for point in found.plan.points])
    made = replace(provenance_of(points[0].scenario, command), digest=digest)
    return footings_of(list(kinds.values())[:MOST_KINDS])[0], made


def _command(scenario: str, vary: list[str] | None, changes: list[str] | None, latin: int | None) -> str:
    """The command line that asks for the same rows, whoever plays them and wherever they are written."""
    words = [*(word for each in vary or [] for word in ("--vary", each)), *(word for each in changes or [] for word in ("--set", each))]
    return shlex.join(["agentwatt", "sweep", scenario, *words, *(["--latin", str(latin)] if latin else [])])
