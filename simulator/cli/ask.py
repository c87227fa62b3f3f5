"""The commands of the panel *Ask*: one operating point, the capacity of one deployment, several side by side. Input is a scenario."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.provenance import provenance_of

if TYPE_CHECKING:
    from simulator.capacity.journal import Journal
    from simulator.capacity.results import Comparison, Summary
    from simulator.capacity.scenario import Scenario
    from simulator.capacity.study import Found
    from simulator.engine.world import Output
    from simulator.hardware.deployment import Deployment
    from simulator.hardware.model_card import ModelCard
    from simulator.hardware.system import System
    from simulator.report.grounds import Footing
    from simulator.report.provenance import Provenance

ScenarioRef = Annotated[str, typer.Argument(help="A shipped scenario's name, or a path to a YAML file.", show_default=False)]
Agents = Annotated[int | None, typer.Option("--agents", "-n", help="Concurrent agents; the scenario's own by default.", show_default=False)]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="PATH=VALUE",
        help="Change a field of the scenario: --set deployment.workers=1. May be repeated.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout in place of the tables.")]
HtmlFile = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write the report, one self-contained page.", show_default=False)
]
CsvDir = Annotated[Path | None, typer.Option("--csv", metavar="DIR", help="Write the rows as CSV files.", show_default=False)]
TimelineFile = Annotated[
    Path | None,
    typer.Option(
        "--timeline", metavar="FILE", help="Write the first seed as a timeline for Perfetto: .json, or .json.gz.", show_default=False
    ),
]
Draws = Annotated[
    int | None,
    typer.Option(
        "--uncertainty",
        metavar="N",
        help="Carry the errors of the profiles into the answer by N draws: intervals, and which fields to measure next.",
        show_default=False,
    ),
]
Attribute = Annotated[
    bool, typer.Option("--attribute", help="What limits: agents held with a tenth more and a tenth less of each resource.")
]
Study = Annotated[
    str | None,
    typer.Option(
        "--study",
        metavar="NAME,..",
        help="Study besides: frontier, workload, power_cap, limits, sprint, cost, or all. Minutes each.",
        show_default=False,
    ),
]
Systems = Annotated[
    str | None, typer.Option("--systems", metavar="NAME,..", help="Compare these systems, at the scenario's tiers.", show_default=False)
]
OutDir = Annotated[
    Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of report.html, answers.csv, points.csv and answers.json.")
]


def run(
    scenario: ScenarioRef,
    agents: Agents = None,
    changes: Changes = None,
    as_json: AsJson = False,
    html: HtmlFile = None,
    csv: CsvDir = None,
    timeline: TimelineFile = None,
) -> None:
    """One operating point: what a number of agents gets from a deployment."""
    from simulator.capacity import run as play
    from simulator.capacity import summary_json
    from simulator.cli.files import refuse_places, write_text
    from simulator.cli.screen import progress, show_json, show_sheets, tell_first_compile
    from simulator.report.pool_tables import inside_run
    from simulator.report.tables import run_sheet

    refuse_places(html, timeline, csv and csv / "summary.csv")
    asked = _scenario(scenario, changes)
    outputs: dict[int, Output] = {}
    with progress() as tell:
        tell_first_compile(tell)
        summary = play(asked, agents, progress=tell, keep=outputs.__setitem__ if csv else None)
    _warn_beyond([summary])
    if csv:
        from simulator.report.export import csv_text
        from simulator.report.frames import calls_frame, flat_frame, pool_series_frame, pools_frame, series_frame

        write_text(csv / "summary.csv", csv_text(flat_frame([summary_json(summary)])))
        write_text(csv / "series.csv", csv_text(series_frame(summary.series, summary.power_w)))
        if len(summary.pools) > 1:
            write_text(csv / "pools.csv", csv_text(pools_frame([summary])))
            write_text(csv / "pool_series.csv", csv_text(pool_series_frame(summary)))
        write_text(csv / "calls.csv", csv_text(calls_frame(outputs[asked.seeds[0]])))
    if timeline:
        _write_timeline(timeline, asked, agents)
    if html:
        from simulator.report.html import render_run

        footings, titles = footings_of([asked])
        command = command_line("run", scenario, changes, *(["--agents", str(agents)] if agents else []), "--html", str(html))
        write_text(html, render_run(summary, footings, provenance_of(asked, command, "run"), titles))
    if as_json:
        show_json(summary_json(summary))
    else:
        show_sheets([run_sheet(summary), *inside_run(summary)])


def capacity(
    scenario: ScenarioRef,
    changes: Changes = None,
    as_json: AsJson = False,
    html: HtmlFile = None,
    csv: CsvDir = None,
    draws: Draws = None,
    attributed: Attribute = False,
) -> None:
    """How many agents one deployment holds at the scenario's SLO, per GPU and per MW."""
    from simulator.capacity import answer_json
    from simulator.capacity import capacity as seek
    from simulator.capacity.results import Comparison
    from simulator.cli.files import refuse_places
    from simulator.cli.screen import progress, show_json, show_sheets, tell_first_compile
    from simulator.report.pool_tables import inside
    from simulator.report.study_tables import attribution_sheets
    from simulator.report.tables import answers_sheet, power_sheet
    from simulator.report.uncertainty_tables import uncertainty_sheets

    refuse_places(html, csv and csv / "answers.csv")
    changes = [*_with_draws(changes, draws), *(["studies=limits"] if attributed else [])]
    asked = _scenario(scenario, changes)
    with progress() as tell:
        tell_first_compile(tell)
        answer = seek(asked, progress=tell)
    _warn_beyond([answer.held or answer.broken])
    if csv:
        _write_rows(csv, Comparison((answer,), (), ()))
    if html:
        command = command_line("capacity", scenario, changes, "--html", str(html))
        _write_report(html, Comparison((answer,), (), ()), [asked], provenance_of(asked, command))
    if as_json:
        show_json(answer_json(answer))
    else:
        uncertain = uncertainty_sheets(Comparison((answer,), (), ()))
        show_sheets([answers_sheet([answer]), power_sheet([answer]), *uncertain, *inside(answer), *attribution_sheets([answer])])
        print(f"\n{answer.sentence}" + (f"\n{answer.attribution.sentence}" if answer.attribution else ""))


def compare(
    scenario: Annotated[str, typer.Argument(help="A shipped scenario's name, or a path to a YAML file.")] = "compare",
    changes: Changes = None,
    as_json: AsJson = False,
    out: OutDir = Path("results"),
    draws: Draws = None,
    study: Study = None,
    systems: Systems = None,
) -> None:
    """Several systems and SLO tiers side by side, with ratios and the sprint tests; writes the report."""
    from simulator.capacity import compare as seek
    from simulator.capacity import comparison_json
    from simulator.capacity.systems import with_systems
    from simulator.cli.files import refuse_places, write_text
    from simulator.cli.screen import json_text, progress, say, show_json, show_sheets, tell_first_compile

    refuse_places(*(out / name for name in ("report.html", "answers.json", "answers.csv", "points.csv", "studies.jsonl")))
    changes = [*_with_draws(changes, draws), *([f"studies={study}"] if study else [])]
    asked = _scenario(scenario, changes)
    if systems:
        asked = with_systems(asked, [name.strip() for name in systems.split(",")])
    with progress() as tell:
        tell_first_compile(tell)
        Thread(target=_load_report).start()
        found = seek(asked, progress=tell, journal=_journal(out) if asked.studies.names else None)
        tell("drawing the report")
        document = comparison_json(found)
        write_text(out / "answers.json", json_text(document) + "\n")
        _write_rows(out, found)
        command = command_line("compare", scenario, changes, *(["--systems", systems] if systems else []), "--out", str(out))
        _write_report(out / "report.html", found, list(asked.cell_scenarios()), provenance_of(asked, command))
    _warn_beyond([answer.held or answer.broken for answer in found.answers])
    if as_json:
        show_json(document)
    else:
        from simulator.report.pool_tables import inside
        from simulator.report.study_tables import study_sheets
        from simulator.report.tables import answers_sheet, power_sheet, ratio_sheet, sprint_sheet
        from simulator.report.uncertainty_tables import uncertainty_sheets

        pools = [sheet for answer in found.answers for sheet in inside(answer)]
        sheets = [answers_sheet(found.answers), power_sheet(found.answers), ratio_sheet(found), sprint_sheet(found)]
        show_sheets([*sheets, *uncertainty_sheets(found), *pools, *study_sheets(found)])
    say(f"report: {out / 'report.html'}")


MOST_GPUS = 100_000
"""As many as a profile may have."""
Gpus = Annotated[
    int | None,
    typer.Option("--gpus", min=1, max=MOST_GPUS, help="GPUs that a shape may use; one system by default.", show_default=False),
]
Widest = Annotated[int | None, typer.Option("--widest", min=1, max=MOST_GPUS, help="GPUs of the widest worker.", show_default=False)]
Attention = Annotated[
    list[str] | None,
    typer.Option("--attention", metavar="dp|tp", help="Attention layouts; the base's by default. May be repeated.", show_default=False),
]


def shape(
    scenario: ScenarioRef,
    changes: Changes = None,
    as_json: AsJson = False,
    gpus: Gpus = None,
    widest: Widest = None,
    finalists: Annotated[int, typer.Option("--finalists", min=1, help="Shapes to simulate; the others are rated on paper.")] = 4,
    by: Annotated[str, typer.Option("--by", metavar="gpu|mw", help="What the best shape holds most agents per.")] = "gpu",
    attention: Attention = None,
) -> None:
    """Which pool sizes and layouts hold most agents, from the scenario's deployment on."""
    from simulator.capacity.shape import find_shape
    from simulator.capacity.shape_json import shape_json
    from simulator.capacity.shape_space import Space
    from simulator.cli.screen import progress, show_json, show_sheets, tell_first_compile
    from simulator.report.shape_tables import shape_sentence, shape_sheets

    asked = _scenario(scenario, changes)
    space = Space(gpus=gpus or 0, widest=widest or 0, attentions=tuple(attention or ()))
    with progress() as tell:
        tell_first_compile(tell)
        found = find_shape(asked, space, by=by, finalists=finalists, progress=tell)
    if as_json:
        show_json(shape_json(found))
    else:
        show_sheets(shape_sheets(found))
        print(f"\n{shape_sentence(found)}")


def _load_report() -> None:
    """Loads what draws the report, half a second, while processes play.

    What fails here, as when Ctrl-C ends the command meanwhile, is told by whoever draws.
    """
    with suppress(Exception):
        import_module("simulator.report.html")


def _warn_beyond(points: Sequence[Summary | None]) -> None:
    """Says once what of some operating points lies beyond what a law was measured at."""
    from simulator.capacity.valid_range import BEYOND
    from simulator.cli.screen import say

    found = {
        f"{point.deployment}: {note}": None for point in points if point is not None for note in point.notes if note.startswith(BEYOND)
    }
    for line in found:
        say(f"warning: {line}")


def _scenario(ref: str, changes: list[str] | None) -> Scenario:
    from simulator.capacity import load_scenario
    from simulator.capacity.document import parse_overrides

    return load_scenario(ref, parse_overrides(changes or []))


def _with_draws(changes: list[str] | None, draws: int | None) -> list[str]:
    """``--uncertainty N`` as the change of the scenario that it stands for."""
    return [*(changes or []), *([] if draws is None else [f"uncertainty.samples={draws}"])]


def _write_timeline(path: Path, asked: Scenario, agents: int | None) -> None:
    """The first seed once more, with its event log; gzip by the file's name. Perfetto shows names as they stand, so nothing is escaped."""
    import gzip
    import json

    from simulator.capacity.point import play_logged
    from simulator.cli.files import write_bytes
    from simulator.report.timeline import timeline

    records = ",\n".join(json.dumps(record, separators=(",", ":"), ensure_ascii=False) for record in timeline(*play_logged(asked, agents)))
    content = f'{{"displayTimeUnit":"ms","traceEvents":[\n{records}\n]}}\n'.encode()
    write_bytes(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def _write_rows(folder: Path, comparison: Comparison) -> None:
    """Answers, every phase of their searches, the pools at the held and broken points where there are several, and what the errors of
    the profiles make of answers and ratios where somebody asked, as CSV."""
    from simulator.capacity import answer_json
    from simulator.cli.files import write_text
    from simulator.report.export import csv_text
    from simulator.report.frames import flat_frame, interval_frame, points_frame, pools_frame, tornado_frame

    answers = comparison.answers
    write_text(folder / "answers.csv", csv_text(flat_frame(map(answer_json, answers))))
    write_text(folder / "points.csv", csv_text(points_frame(answers)))
    points = [point for answer in answers for point in (answer.held, answer.broken) if point and len(point.pools) > 1]
    if points:
        write_text(folder / "pools.csv", csv_text(pools_frame(points)))
    if any(answer.uncertainty for answer in answers):
        write_text(folder / "uncertainty.csv", csv_text(interval_frame(comparison)))
        write_text(folder / "tornado.csv", csv_text(tornado_frame(comparison)))
    _write_studies(folder, comparison)


def _journal(folder: Path) -> Journal:
    """The points and edges of studies that an earlier run left in the folder, and a place for new ones, written as each is found."""
    from simulator.capacity.journal import Journal
    from simulator.capacity.study import point_json, read_points
    from simulator.cli.files import write_text

    path = folder / "studies.jsonl"
    known = read_points(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else {}
    lines = [point_json(key, point) for key, point in known.items()]

    def keep(key: str, point: Found) -> None:
        lines.append(point_json(key, point))
        write_text(path, "\n".join(lines) + "\n")

    return Journal(known, keep)


def _write_studies(folder: Path, comparison: Comparison) -> None:
    """The points of studies, what limits, why rankings differ and what agents cost, each where somebody asked, as CSV."""
    from simulator.cli.files import write_text
    from simulator.report import study_tables as tables
    from simulator.report.export import csv_text

    if comparison.studies:
        write_text(folder / "studies.csv", csv_text(tables.points_frame_of(comparison.studies)))
    if any(answer.attribution for answer in comparison.answers):
        write_text(folder / "limits.csv", csv_text(tables.attribution_frame(comparison.answers)))
    if comparison.contrasts:
        write_text(folder / "contrasts.csv", csv_text(tables.contrast_frame(comparison.contrasts)))
    if comparison.costs:
        write_text(folder / "costs.csv", csv_text(tables.cost_frame(comparison.costs)))


def _write_report(path: Path, comparison: Comparison, scenarios: list[Scenario], provenance: Provenance) -> None:
    from simulator.cli.files import write_text
    from simulator.report.html import render

    footings, titles = footings_of(scenarios)
    write_text(path, render(comparison, footings, provenance, titles))


def footings_of(scenarios: list[Scenario]) -> tuple[list[Footing], dict[str, str]]:
    """The profiles beneath the scenarios, each once, and the titles of their systems."""
    from simulator.report.grounds import footing

    found: dict[tuple[str, str], System | ModelCard | Deployment] = {}
    for scenario in scenarios:
        system, model, deployment = _profiles(scenario)
        found |= {("System", system.name): system, ("Model", model.name): model, ("Deployment", deployment.name): deployment}
    ordered = sorted(found, key=lambda key: ("System", "Model", "Deployment").index(key[0]))
    titles = {name: found[kind, name].title for kind, name in ordered if kind == "System"}
    return [footing(kind, found[kind, name]) for kind, name in ordered], titles


def _profiles(scenario: Scenario) -> tuple[System, ModelCard, Deployment]:
    """System, model and deployment of a scenario; the first two are the deployment's own unless the scenario names others."""
    from simulator.hardware.load import load_deployment, load_model, load_system

    deployment = load_deployment(scenario.one_deployment())
    return load_system(scenario.system or deployment.system), load_model(scenario.model or deployment.model), deployment


def command_line(name: str, scenario: str, changes: list[str] | None, *rest: str) -> str:
    """The command line that was given, for the report's reader."""
    return shlex.join(["agentwatt", name, scenario, *(word for change in changes or [] for word in ("--set", change)), *rest])
