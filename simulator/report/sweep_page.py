"""The report of a sweep: finding, figures, points, and what all of them share. Inputs are sweeps and the profiles beneath."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from simulator.capacity.sweep import Sweep
from simulator.capacity.sweep_row import ANSWERED
from simulator.hardware.quality import worst_quality
from simulator.report.grounds import Footing
from simulator.report.page import render_page
from simulator.report.phrases import number, plain
from simulator.report.provenance import Provenance
from simulator.report.section import Section
from simulator.report.sweep_figures import sweep_drawings
from simulator.report.sweep_tables import refused_sheet, shown, sweep_sheet
from simulator.report.tables import Sheet

MOST_ROWS = 500
"""Points in the page's table."""
POINTS = "Each point is a question of its own, with the answer that `agentwatt capacity` or `run` gives to it alone."


def render_sweep(sweep: Sweep, footings: Sequence[Footing], provenance: Provenance) -> str:
    """The page; the same bytes for the same input."""
    refused = refused_sheet(sweep)
    sections = [
        Section("The figures", drawings=tuple(sweep_drawings(sweep))),
        Section("The points", (POINTS,), (sweep_sheet(sweep, MOST_ROWS), *([refused] if refused else []))),
        Section("What every point has in common", sheets=(_common_sheet(sweep),)),
    ]
    quality = worst_quality(row["quality"] for row in sweep.rows if row["quality"])
    title = f"sweep · {plain(provenance.scenario)}"
    return render_page(title, [_finding(sweep), _shape(sweep)], sections, footings, provenance, quality)


def _finding(sweep: Sweep) -> str:
    """Where most agents are held per MW; of a sweep of operating points, where P25 output speed is highest."""
    capacity = sweep.plan.ask == "capacity"
    column = "agents_per_mw_accelerator" if capacity else "output_speed_tok_s_p25"
    answered = [(point, row) for point, row in zip(sweep.plan.points, sweep.rows, strict=True) if row["status"] == ANSWERED]
    known = [(row[column], point) for point, row in answered if row[column] is not None]
    if not known:
        return "No point of the sweep can run."
    best, point = max(known, key=lambda pair: float(pair[0]))  # the first of equal ones
    place = ", ".join(f"{plain(field)} = {shown(value)}" for field, value in point.values.items())
    what = "Most agents per MW of accelerator power" if capacity else "Highest P25 output speed in tok/s"
    return f"{what}: {number(best)}, at {place}."


def _shape(sweep: Sweep) -> str:
    plan = sweep.plan
    fields = ", ".join(plain(axis.field) for axis in plan.axes)
    grid = " × ".join(str(len(axis.values)) for axis in plan.axes)
    kind = f"{plan.latin:,} draws of a Latin hypercube over {fields}" if plan.latin else f"a grid of {grid} values of {fields}"
    return f"{len(sweep.rows):,} points: {kind}; {len(sweep.refused):,} of them cannot run."


def _common_sheet(sweep: Sweep) -> Sheet:
    """Every value of the scenario as resolved, and the versions that played it."""
    values = [(field, shown(value)) for field, value in _leaves(sweep.plan.document, "") if field != "notes"]
    versions = [(f"version of {name}", value[:12]) for name, value in sweep.plan.ground.items()]
    return Sheet("The scenario", ("field", "value"), tuple((plain(name), value) for name, value in (*values, *versions)), "ll")


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield place, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, f"{place}.{key}" if place else str(key))
