"""The page of a sweep: finding, figures, table, what cannot run, and what made it. Inputs are sweeps and the command that asked."""

from functools import cache

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from simulator.capacity.sweep import Sweep
from simulator.capacity.sweep_row import ANSWERED
from simulator.report.canvas import VARIABLES
from simulator.report.html import DARK, worst
from simulator.report.phrases import QUALITIES, number, plain
from simulator.report.sweep_figures import sweep_drawings
from simulator.report.sweep_tables import refused_sheet, shown, sweep_sheet

MOST_ROWS = 500
"""Points in the page's table."""


def render_sweep(sweep: Sweep, command: str) -> str:
    """The page; the same bytes for the same input."""
    plan = sweep.plan
    refused = refused_sheet(sweep)
    quality = worst([row["quality"] for row in sweep.rows if row["quality"]])
    return _page().render(
        name=plain(plan.name),
        headline=_finding(sweep),
        shape=_shape(sweep),
        quality=quality,
        qualities=QUALITIES,
        notes=plain(plan.document.get("notes") or ""),
        drawings=[{"name": d.name, "title": d.title, "caption": d.caption, "svg": Markup(d.svg)} for d in sweep_drawings(sweep)],
        sheets=[sweep_sheet(sweep, MOST_ROWS), *([refused] if refused else [])],
        scenario="\n".join(plain(line) for line in yaml.safe_dump(dict(plan.document), sort_keys=False, allow_unicode=True).splitlines()),
        command=plain(command),
        versions=[(name, value[:12]) for name, value in plan.ground.items()],
        light={name: colour for colour, name in VARIABLES.items()},
        dark=DARK,
    )


def _finding(sweep: Sweep) -> str:
    """Where most agents are held per MW; of a sweep of operating points, where P25 output speed is highest."""
    column = "agents_per_mw_accelerator" if sweep.plan.ask == "capacity" else "output_speed_tok_s_p25"
    answered = [(point, row) for point, row in zip(sweep.plan.points, sweep.rows, strict=True) if row["status"] == ANSWERED]
    known = [(row[column], point) for point, row in answered if row[column] is not None]
    if not known:
        return "No point of the sweep can run."
    best, point = max(known, key=lambda pair: pair[0])  # the first of equal ones
    place = ", ".join(f"{plain(field)} = {shown(value)}" for field, value in point.values.items())
    if sweep.plan.ask == "capacity":
        return f"Most agents per MW of accelerator power: {number(best)}, at {place}."
    return f"Highest P25 output speed: {number(best)} tok/s, at {place}."


def _shape(sweep: Sweep) -> str:
    plan = sweep.plan
    kind = f"{plan.latin:,} draws of a Latin hypercube over" if plan.latin else " × ".join(str(len(axis.values)) for axis in plan.axes)
    fields = ", ".join(plain(axis.field) for axis in plan.axes)
    words = f"{kind} {fields}" if plan.latin else f"a grid of {kind} values of {fields}"
    return f"{len(sweep.rows):,} points: {words}; {len(sweep.refused):,} of them cannot run."


@cache
def _page() -> Template:
    """Autoescape is on, and a missing name is an error."""
    loader = PackageLoader("simulator.report", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).get_template(
        "sweep.html.j2"
    )
