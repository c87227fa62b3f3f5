"""The report of a purchase: one HTML page. Inputs are answers of `size` and the profiles beneath."""

from collections.abc import Sequence

from simulator.capacity.size import SizeAnswer
from simulator.hardware.quality import worst_quality
from simulator.report import tables
from simulator.report.grounds import Footing
from simulator.report.page import render_page
from simulator.report.phrases import plain
from simulator.report.provenance import Provenance
from simulator.report.section import Section
from simulator.report.size_figures import size_drawings
from simulator.report.size_tables import prices, size_sentences, size_sheets, sums_sheet


def render_size(found: SizeAnswer, footings: Sequence[Footing], provenance: Provenance) -> str:
    """The page; the same bytes for the same input."""
    chosen = list({id(plan): plan for plan in (found.cheapest, found.least_power) if plan}.values())
    answers = [*(plan.answer for plan in found.plans), *found.without]
    sheets = size_sheets(found)
    sections = [
        Section("The purchase", sheets=tuple(sheets[:1]), drawings=tuple(size_drawings(found))),
        Section("All plans", (prices(found.demand)[:1].upper() + prices(found.demand)[1:] + ".",), tuple(sheets[1:])),
        Section("By hand", (BY_HAND,) if chosen else (), tuple(sums_sheet(plan, found.demand) for plan in chosen or found.plans[:1])),
        Section("The instances", (INSTANCES,), (tables.answers_sheet(answers), tables.power_sheet(answers))),
    ]
    qualities = [*(plan.answer.quality for plan in found.plans), *(plan.price_quality for plan in found.plans)]
    title = f"size · {plain(provenance.scenario)}"
    return render_page(title, size_sentences(found), sections, footings, provenance, worst_quality(qualities))


BY_HAND = "Every step needs only what the one before gave and fields of the profile; the held count and its watts come from the simulation."
INSTANCES = (
    "An instance is one copy of a deployment. What it holds was sought as `agentwatt capacity` seeks it; "
    "figures per GPU and per MW count the GPUs used."
)
