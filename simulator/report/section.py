"""Sections of a page: what is said, tables, and figures that bring their numbers as CSV. Inputs are finished tables and figures."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from simulator.report.canvas import Drawing
from simulator.report.tables import Sheet


@dataclass(frozen=True)
class Section:
    """One part of a page: what it says, its tables and its figures."""

    heading: str
    paragraphs: tuple[str, ...] = ()
    sheets: tuple[Sheet, ...] = ()
    drawings: tuple[Drawing, ...] = ()


def section_parts(section: Section) -> dict[str, Any]:
    """A section for a template."""
    drawings = figure_parts(section.drawings)
    return {"heading": section.heading, "paragraphs": section.paragraphs, "sheets": section.sheets, "drawings": drawings}


def figure_parts(drawings: Sequence[Drawing]) -> list[dict[str, Any]]:
    """Figures for a template; matplotlib escapes the text inside an SVG, so the picture itself is safe markup."""
    return [{"name": d.name, "title": d.title, "caption": d.caption, "svg": Markup(d.svg), "data": data_link(d.data)} for d in drawings]


def data_link(text: str) -> str:
    """CSV as the address of a link that saves it, for a page that stands alone; empty for none."""
    return f"data:text/csv;charset=utf-8;base64,{b64encode(text.encode()).decode()}" if text else ""
