"""The report: one HTML page with inline figures, no script, no outside resource. Inputs are `simulator.capacity.results`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from simulator.capacity.results import Answer, Comparison, Sprint, Summary
from simulator.report import pool_tables, tables, uncertainty_tables
from simulator.report.canvas import VARIABLES, colours
from simulator.report.figures import answer_drawings, run_drawings
from simulator.report.grounds import Footing
from simulator.report.phrases import BASES, QUALITIES, by_tier, finding, number, percent, plain, promise, systems, tier, words
from simulator.report.provenance import Provenance
from simulator.report.section import figure_parts, section_parts
from simulator.report.study_sections import study_sections
from simulator.report.template import template
from simulator.report.uncertainty_figures import uncertainty_drawings


@dataclass(frozen=True)
class Tile:
    """A big number at the head of the report."""

    colour: str
    system: str
    tier: str
    value: str
    detail: str


def render(comparison: Comparison, footings: Sequence[Footing], provenance: Provenance, titles: Mapping[str, str] | None = None) -> str:
    """The report of one or several answers.

    Parameters
    ----------
    comparison : Comparison
        A single answer is a comparison of one.
    footings : sequence of Footing
        The profiles beneath the answers.
    provenance : Provenance
    titles : mapping, optional
        Name of a system or deployment in the answers -> title to print in its place.

    Returns
    -------
    str
        The page; the same bytes for the same input.
    """
    comparison = titled(comparison, titles or {})
    answers = comparison.answers
    groups = by_tier(answers)
    return template("report.html.j2").render(
        kind="answers",
        headlines=[finding(group) for group in groups.values()],
        promises=[(name, promise(group[0].slo)) for name, group in groups.items()],
        tiles=_tiles(answers),
        sheets=[tables.answers_sheet(answers), tables.power_sheet(answers), tables.energy_sheet(answers)],
        ratios=tables.ratio_sheet(comparison) if comparison.ratios else None,
        sprints=tables.sprint_sheet(comparison) if comparison.sprints else None,
        turns=tables.disagreements(comparison),
        inside=[sheet for answer in answers for sheet in pool_tables.inside(answer)],
        uncertain=uncertainty_tables.uncertainty_sheets(comparison),
        studies=[section_parts(section) for section in study_sections(comparison)],
        drawings=figure_parts([*answer_drawings(answers), *uncertainty_drawings(comparison)]),
        limits=[(plain(a.system), tier(a.slo), plain(a.sentence), _edge(a)) for group in groups.values() for a in group],
        quality=_worst([a.quality for a in answers]),
        notes=list(dict.fromkeys(f"{plain(a.deployment)}: {plain(note)}" for a in answers if a.held for note in a.held.notes)),
        **_common(footings, provenance),
    )


def render_run(summary: Summary, footings: Sequence[Footing], provenance: Provenance, titles: Mapping[str, str] | None = None) -> str:
    """The report of one operating point, which has no SLO to hold."""
    named = replace(summary, system=(titles or {}).get(summary.system, summary.system))
    speed, wait = named.output_speed_tok_s["p50"], named.ttft_s["p50"]
    headline = (
        f"{plain(named.system)} serves {named.agents:,} agents with a median TTFT of {number(wait)} s and a median output speed of "
        f"{number(speed)} tok/s, at {number(named.watts_per_gpu.accelerator)} W per GPU of accelerator power."
    )
    return template("report.html.j2").render(
        kind="run",
        headlines=[headline],
        promises=[],
        tiles=[],
        sheets=[tables.run_sheet(named)],
        ratios=None,
        sprints=None,
        turns=[],
        inside=pool_tables.inside_run(named),
        uncertain=[],
        studies=[],
        drawings=figure_parts(run_drawings(named)),
        limits=_why(named),
        quality=plain(named.quality),
        notes=[plain(note) for note in named.notes],
        **_common(footings, provenance),
    )


def _why(summary: Summary) -> list[tuple[str, str, str, str]]:
    """Why the binding pool binds; nothing for a single pool, whose table says all of it."""
    return [(plain(summary.system), tier(summary.slo), f"At {summary.agents:,} agents {plain(summary.why)}.", "")] if summary.why else []


def titled(comparison: Comparison, titles: Mapping[str, str]) -> Comparison:
    """The comparison with every system's and deployment's name replaced by its title."""

    def point(summary: Summary | None) -> Summary | None:
        return replace(summary, system=titles.get(summary.system, summary.system)) if summary else None

    def answer(a: Answer) -> Answer:
        return replace(a, system=titles.get(a.system, a.system), held=point(a.held), broken=point(a.broken))

    def sprint(s: Sprint) -> Sprint:
        return replace(s, system=titles.get(s.system, s.system))

    ratios = tuple(
        {key: titles.get(value, value) if key in ("system", "against") else value for key, value in row.items()}
        for row in comparison.ratios
    )
    studies = tuple(replace(point, system=titles.get(point.system, point.system)) for point in comparison.studies)
    costs = tuple(replace(cost, system=titles.get(cost.system, cost.system)) for cost in comparison.costs)
    contrasts = tuple(
        replace(pair, system=titles.get(pair.system, pair.system), other=titles.get(pair.other, pair.other))
        for pair in comparison.contrasts
    )
    answers, sprints = tuple(map(answer, comparison.answers)), tuple(map(sprint, comparison.sprints))
    found = replace(comparison, answers=answers, sprints=sprints, ratios=ratios)
    return replace(found, studies=studies, costs=costs, contrasts=contrasts)


def _tiles(answers: Sequence[Answer]) -> list[Tile]:
    colour = colours(systems(answers))
    return [
        Tile(
            VARIABLES[colour[a.system]],
            plain(a.system),
            tier(a.slo),
            number(a.agents_per_mw.accelerator),
            f"{a.agents_held:,} agents on {a.gpus} GPUs, {number(a.accelerator_w_per_gpu)} W each",
        )
        for group in by_tier(answers).values()
        for a in group
    ]


def _edge(answer: Answer) -> str:
    """How the held count sits on its curve: the clause that breaks, the knee, the cache, and whether the curve is monotone."""
    if not answer.agents_held:
        return "Not one agent is held."
    parts = [f"{words(answer.binding)[:1].upper()}{words(answer.binding)[1:]} is the clause that breaks first."]
    if answer.knee_agents and answer.knee_reached:
        parts.append(
            f"The knee, from which an added agent brings less than half of what the first ones bring, lies at {answer.knee_agents:,} "
            f"agents; the held count is {number(answer.knee_distance)} times that."
        )
    if answer.held:
        hit, possible = percent(answer.cache_hit), percent(answer.held.cache_hit_possible)
        parts.append(f"At the held count the cache serves {hit} of the prompt tokens, of {possible} possible.")
    if not answer.monotone:
        parts.append("The curve is not monotone: some larger count held after a smaller one broke, so read the interval, not the number.")
    return " ".join(parts)


def _worst(qualities: Sequence[str]) -> str:
    order = list(QUALITIES)
    return max(map(plain, qualities), key=lambda q: order.index(q) if q in order else len(order), default="")


def _common(footings: Sequence[Footing], provenance: Provenance) -> dict[str, Any]:
    return {
        "footings": footings,
        "provenance": provenance,
        "bases": BASES,
        "qualities": QUALITIES,
    }
