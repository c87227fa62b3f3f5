"""A report of sections: tables, figures with their numbers as CSV, and what all rests on. Inputs are finished tables and figures."""

from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from simulator.report.canvas import VARIABLES
from simulator.report.grounds import Footing
from simulator.report.html import DARK, Provenance
from simulator.report.phrases import BASES, QUALITIES
from simulator.report.section import Section, section_parts


def render_page(
    title: str, headlines: Sequence[str], sections: Sequence[Section], footings: Sequence[Footing], provenance: Provenance, quality: str
) -> str:
    """The page; the same bytes for the same input."""
    return _page().render(
        title=title,
        headlines=list(headlines),
        sections=[section_parts(section) for section in sections],
        footings=footings,
        provenance=provenance,
        quality=quality,
        bases=BASES,
        qualities=QUALITIES,
        light={name: colour for colour, name in VARIABLES.items()},
        dark=DARK,
    )


@cache
def _page() -> Template:
    """Autoescape is on, and a missing name is an error."""
    loader = PackageLoader("simulator.report", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).get_template(
        "page.html.j2"
    )
