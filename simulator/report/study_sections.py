"""The studies of a comparison as sections of its report: what was asked, a table and a figure each. Inputs are comparisons."""

from simulator.capacity.results import Comparison
from simulator.report import study_tables as tables
from simulator.report.limit_figures import attribution_drawing
from simulator.report.section import Section
from simulator.report.sprint_figures import cost_drawing, rankings
from simulator.report.study_figures import frontier, power_cap, workload

FRONTIER = "How many agents a megawatt holds depends on how fast each is to be served: the same machines along the whole range of speeds."
WORKLOAD = "Agents differ: longer contexts, harnesses that rewrite their history and so reuse less of it, slower or faster tools."
CAP = "A hall short of power can cap each GPU and run more of them."
LIMITS = "Beyond the held point: what a tenth more of each resource would hold, and what a tenth less would cost."
SPRINT = "The same systems, ranked by sprints and by drive cycles, and why the two differ."
COST = "What an agent costs by the hour. Prices are third parties' estimates, capital is assumed: put your quotes in their place."


def study_sections(comparison: Comparison) -> list[Section]:
    """The sections that were asked for."""
    named = {name: [p for p in comparison.studies if p.study == name] for name in ("frontier", "workload", "power_cap")}
    found = []
    if points := named["frontier"]:
        found.append(Section("Frontier", (FRONTIER,), (tables.frontier_sheet(points),), (frontier(points),)))
    if points := named["workload"]:
        found.append(Section("Other loads", (WORKLOAD,), (tables.workload_sheet(points),), (workload(points),)))
    if points := named["power_cap"]:
        found.append(Section("Power cap", (CAP,), (tables.cap_sheet(points),), (power_cap(points),)))
    if sheets := tables.attribution_sheets(comparison.answers):
        sentences = [f"{a.system}: {a.attribution.sentence}" for a in comparison.answers if a.attribution]
        found.append(Section("What would hold more", (LIMITS, *sentences), tuple(sheets), (attribution_drawing(comparison.answers),)))
    if comparison.contrasts:
        said = (SPRINT, *tables.contrast_sentences(comparison.contrasts))
        found.append(Section("Sprint against drive cycle", said, (tables.contrast_sheet(comparison.contrasts),), (rankings(comparison),)))
    if comparison.costs:
        found.append(Section("Cost", (COST,), (tables.cost_sheet(comparison.costs),), (cost_drawing(comparison.costs),)))
    return found
