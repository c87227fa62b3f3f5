"""The page of a GPU's measurement: figures, fits and provenance in one file. Inputs are sheets, drawings and a file's head."""

from collections.abc import Mapping, Sequence

from simulator.report.canvas import Drawing
from simulator.report.phrases import plain
from simulator.report.provenance import Provenance
from simulator.report.section import figure_parts
from simulator.report.tables import Sheet
from simulator.report.template import template


def render_gpu(about: Mapping[str, str], sheets: Sequence[Sheet], drawings: Sequence[Drawing], provenance: Provenance) -> str:
    """The page; the same bytes for the same input."""
    return template("gpu.html.j2").render(
        gpu=plain(about.get("gpu", "a GPU")),
        about=[(plain(name), plain(value)) for name, value in about.items() if value],
        sheets=sheets,
        drawings=figure_parts(drawings),
        provenance=provenance,
        footings=(),
    )
