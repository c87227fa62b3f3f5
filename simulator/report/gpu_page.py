"""The page of a GPU's measurement: figures, fits and provenance in one file. Inputs are sheets, drawings and a file's head."""

from collections.abc import Mapping, Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from simulator.report.canvas import VARIABLES, Drawing
from simulator.report.html import DARK
from simulator.report.phrases import plain
from simulator.report.tables import Sheet


def render_gpu(about: Mapping[str, str], sheets: Sequence[Sheet], drawings: Sequence[Drawing], version: str) -> str:
    """The page; the same bytes for the same input."""
    return _page().render(
        gpu=plain(about.get("gpu", "a GPU")),
        about=[(plain(name), plain(value)) for name, value in about.items() if value],
        sheets=sheets,
        drawings=[{"name": d.name, "title": d.title, "caption": d.caption, "svg": Markup(d.svg)} for d in drawings],
        version=version,
        light={name: colour for colour, name in VARIABLES.items()},
        dark=DARK,
    )


@cache
def _page() -> Template:
    """Autoescape is on, and a missing name is an error."""
    loader = PackageLoader("simulator.report", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).get_template(
        "gpu.html.j2"
    )
