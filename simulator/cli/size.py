"""``agentwatt size``: what to buy for a number of agents. Inputs are scenarios with a ``size`` section."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.ask import AsJson, Changes, CsvDir, HtmlFile, command_line, footings_of
from simulator.cli.provenance import provenance_of

if TYPE_CHECKING:
    from simulator.capacity.scenario import Scenario
    from simulator.capacity.size import SizeAnswer

Demanded = Annotated[int | None, typer.Option("--agents", "-n", help="Agents at work at once.", show_default=False)]
Megawatts = Annotated[float | None, typer.Option("--mw", help="Megawatts at most, on size.power_basis.", show_default=False)]
Racks = Annotated[int | None, typer.Option("--racks", help="Racks or nodes at most.", show_default=False)]
PerHour = Annotated[float | None, typer.Option("--usd-per-hour", help="Money per hour at most, by size.price.", show_default=False)]
Spare = Annotated[int | None, typer.Option("--spare", help="Instances beyond those needed: 1 for N+1.", show_default=False)]
Price = Annotated[str | None, typer.Option("--price", metavar="own|rent|buy", help="What an hour is paid by.", show_default=False)]


def size(
    scenario: Annotated[str, typer.Argument(help="A shipped scenario's name, or a path to a YAML file.")] = "size",
    changes: Changes = None,
    agents: Demanded = None,
    mw: Megawatts = None,
    racks: Racks = None,
    usd_per_hour: PerHour = None,
    spare: Spare = None,
    price: Price = None,
    as_json: AsJson = False,
    html: HtmlFile = None,
    csv: CsvDir = None,
) -> None:
    """What to buy for so many agents: racks, MW and money on each system, the cheapest and the least-power plan."""
    from simulator.capacity import load_scenario
    from simulator.capacity.document import parse_overrides
    from simulator.capacity.size import size as seek
    from simulator.capacity.size_json import size_json
    from simulator.cli.files import refuse_places
    from simulator.cli.screen import progress, show_json, show_sheets, tell_first_compile
    from simulator.report.size_tables import size_sentences, size_sheets, sums_sheet

    refuse_places(html, csv and csv / "plans.csv")
    flags = {"agents": agents, "power_mw": mw, "systems": racks, "usd_per_hour": usd_per_hour, "spare": spare, "price": price}
    changes = [*(changes or []), *(f"size.{key}={value}" for key, value in flags.items() if value is not None)]
    asked = load_scenario(scenario, parse_overrides(changes))
    with progress() as tell:
        tell_first_compile(tell)
        found = seek(asked, progress=tell)
    document = size_json(found)
    if csv:
        _write_rows(csv, found)
    if html:
        _write_page(html, found, asked, command_line("size", scenario, changes, "--html", str(html)))
    if as_json:
        show_json(document)
        return
    chosen = [plan for place, plan in enumerate((found.cheapest, found.least_power)) if plan and not (place and plan is found.cheapest)]
    show_sheets([*size_sheets(found), *(sums_sheet(plan, found.demand) for plan in chosen)])
    print("\n" + "\n".join(size_sentences(found)))


def _write_rows(folder: Path, found: SizeAnswer) -> None:
    from simulator.cli.files import write_text
    from simulator.report.export import csv_text
    from simulator.report.size_figures import growth_frame, plans_frame

    write_text(folder / "plans.csv", csv_text(plans_frame(found.plans)))
    if any(plan.growth for plan in found.plans):
        write_text(folder / "growth.csv", csv_text(growth_frame(found.plans)))


def _write_page(path: Path, found: SizeAnswer, asked: Scenario, command: str) -> None:
    from simulator.cli.files import write_text
    from simulator.report.size_html import render_size

    footings, _ = footings_of(list(asked.cell_scenarios()) if asked.cells else [asked])
    write_text(path, render_size(found, footings, provenance_of(asked, command)))
