"""The report of a validation: one HTML page with scatter plots and tables. Inputs are `simulator.calibration.compare`."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from simulator.calibration.compare import Pair, Validation, errors, grouped
from simulator.report.canvas import INK, MUTED, WIDTH_IN, Drawing, colours, draw, legend, plain_log_axis
from simulator.report.export import csv_text
from simulator.report.phrases import plain
from simulator.report.provenance import Provenance
from simulator.report.section import figure_parts
from simulator.report.template import template
from simulator.report.validation import NAMES, PAIR, share, signed, validation_sheets

UNITS = {"ttft_ms": "ms", "tpot_ms": "ms", "tok_s_gpu": "tok/s per GPU", "watts": "W per GPU"}
BAND = 1.25
"""Within this factor of measured lies the band beside the diagonal."""


def render_validation(found: Validation, provenance: Provenance, source: str) -> str:
    """The page; the same bytes for the same input."""
    drawings = [scatter(quantity, pairs) for (quantity,), pairs in grouped(found.pairs, "quantity").items()]
    return template("validation.html.j2").render(
        headlines=headlines(found),
        source=plain(source),
        provenance=provenance,
        footings=(),
        sheets=validation_sheets(found),
        drawings=figure_parts(drawings),
    )


def headlines(found: Validation) -> list[str]:
    """The finding: median error of each quantity on the rows that nothing was fitted to."""
    said = []
    for (quantity,), pairs in grouped(found.pairs, "quantity").items():
        check = [p for p in pairs if p.split == "check"]
        if check:
            e = errors(check)
            said.append(
                f"{NAMES[quantity]} is missed by {share(e.median)} in the median of {e.count:,} rows not fitted (bias {signed(e.bias)})."
            )
    return said or ["No row could be predicted." if not found.pairs else "Every row here was fitted to."]


def scatter(quantity: str, pairs: Sequence[Pair]) -> Drawing:
    """Predicted over measured on logarithmic axes, one panel for each split, coloured by engine."""
    engines = sorted({p.engine for p in pairs})
    colour, limits = colours(engines), _limits(pairs)

    def paint(figure: Canvas) -> None:
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        for axes, split in zip(panels, ("check", "fit"), strict=True):
            _panel(axes, [p for p in pairs if p.split == split], colour, quantity, limits)
            axes.set_title(f"{split}: {'nothing was fitted to these' if split == 'check' else 'coefficients may rest on these'}")
        panels[0].set_ylabel(f"predicted {NAMES[quantity]}, {UNITS[quantity]}")
        legend(figure, colour)

    e = errors(pairs)
    title = f"{NAMES[quantity]}: {share(e.median)} median error over {e.count:,} rows"
    alt = f"Predicted against measured {NAMES[quantity]}, by engine, on logarithmic axes."
    svg = draw(f"scatter-{quantity.replace('_', '-')}", (WIDTH_IN, 4.9), paint, alt)
    caption = f"A point is a measured row. On the line the prediction is right; the dashed lines are {BAND} times too much and too little."
    rows = [{key: getattr(pair, key) for key in PAIR} for pair in pairs]
    return Drawing(f"scatter-{quantity}", title, svg, caption, csv_text(pd.DataFrame(rows)))


def _panel(axes: Axes, pairs: Sequence[Pair], colour: dict[str, str], quantity: str, limits: tuple[float, float]) -> None:
    for engine, hue in colour.items():
        mine = [p for p in pairs if p.engine == engine]
        axes.plot([p.measured for p in mine], [p.predicted for p in mine], "o", ms=3, mec="none", alpha=0.55, color=hue)
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = limits
    line = np.array(limits)
    axes.plot(line, line, color=INK, lw=1)
    for factor in (BAND, 1 / BAND):
        axes.plot(line, line * factor, color=MUTED, lw=0.8, ls="--")
    for axis in (axes.xaxis, axes.yaxis):
        plain_log_axis(axis, low, high)
    axes.set_xlabel(f"measured {NAMES[quantity]}, {UNITS[quantity]}")


def _limits(pairs: Sequence[Pair]) -> tuple[float, float]:
    values = [v for p in pairs for v in (p.measured, p.predicted)]
    return min(values) / 1.2, max(values) * 1.2
