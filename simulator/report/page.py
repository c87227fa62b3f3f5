"""A report of sections: tables, figures with their numbers as CSV, and what all rests on. Inputs are finished tables and figures."""

from collections.abc import Sequence

from simulator.report.grounds import Footing
from simulator.report.phrases import BASES, QUALITIES
from simulator.report.provenance import Provenance
from simulator.report.section import Section, section_parts
from simulator.report.template import template


def render_page(
    title: str, headlines: Sequence[str], sections: Sequence[Section], footings: Sequence[Footing], provenance: Provenance, quality: str
) -> str:
    """The page; the same bytes for the same input."""
    return template("page.html.j2").render(
        title=title,
        headlines=list(headlines),
        sections=[section_parts(section) for section in sections],
        footings=footings,
        provenance=provenance,
        quality=quality,
        bases=BASES,
        qualities=QUALITIES,
    )
