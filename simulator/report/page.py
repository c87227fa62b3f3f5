"""A report of sections: tables, figures with their numbers as CSV, and what all rests on. Inputs are finished tables and figures."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from simulator.report.canvas import VARIABLES, Drawing
from simulator.report.grounds import Footing
from simulator.report.html import DARK, Provenance
from simulator.report.phrases import BASES, QUALITIES
from simulator.report.tables import Sheet


@dataclass(frozen=True)
class Section:
    """One part of a page: what it says, its tables and its figures."""

    heading: str
    paragraphs: tuple[str, ...] = ()
    sheets: tuple[Sheet, ...] = ()
    drawings: tuple[Drawing, ...] = ()


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


def section_parts(section: Section) -> dict[str, Any]:
    """A section for a template; matplotlib escapes the text inside an SVG, so the picture itself is safe markup."""
    drawings = [
        {"name": d.name, "title": d.title, "caption": d.caption, "svg": Markup(d.svg), "data": data_link(d.data)} for d in section.drawings
    ]
    return {"heading": section.heading, "paragraphs": section.paragraphs, "sheets": section.sheets, "drawings": drawings}


def data_link(text: str) -> str:
    """CSV as the address of a link that saves it, for a page that stands alone; empty for none."""
    return f"data:text/csv;charset=utf-8;base64,{b64encode(text.encode()).decode()}" if text else ""


@cache
def _page() -> Template:
    """Autoescape is on, and a missing name is an error."""
    loader = PackageLoader("simulator.report", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).get_template(
        "page.html.j2"
    )
