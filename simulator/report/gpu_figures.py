"""Figures of a GPU's measurement: watts against both utilisations, and what GEMMs reach of the datasheet. Inputs are fits."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from simulator.calibration.gpu_fit import Share
from simulator.calibration.gpu_fit_power import GpuPowerFit, PowerPoint
from simulator.report.canvas import INK, MUTED, SURFACE, SYSTEMS, WIDTH_IN, Drawing, count_axis, draw, legend
from simulator.report.export import csv_text
from simulator.report.phrases import percent


def power_drawing(fit: GpuPowerFit, tdp_w: float) -> Drawing:
    """Watts over the share of peak bandwidth and over the share of peak FLOP/s, and the fitted law's watts over the measured ones."""
    kinds = list(dict.fromkeys(point.kind for point in fit.points))
    colour = {kind: SYSTEMS[place % len(SYSTEMS)] for place, kind in enumerate(kinds)}

    def paint(figure: Canvas) -> None:
        memory, compute, law = figure.subplots(1, 3)
        _scatter(memory, fit.points, colour, lambda point: 100 * point.um, lambda point: point.watts)
        _scatter(compute, fit.points, colour, lambda point: 100 * point.uc, lambda point: point.watts)
        _scatter(law, fit.points, colour, lambda point: point.watts, lambda point: point.fitted)
        for axes, label in ((memory, "HBM bytes/s (% of peak)"), (compute, "FLOP/s (% of peak)")):
            axes.axhline(fit.idle_w, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
            axes.axhline(tdp_w, color=MUTED, linewidth=0.9)
            axes.set_xlabel(label)
            axes.set_ylim(0, 1.05 * tdp_w)
        memory.set_ylabel("measured W")
        law.axline((0, 0), slope=1, color=INK, linewidth=0.9)
        law.set_xlim(0, 1.05 * tdp_w)
        law.set_ylim(0, 1.05 * tdp_w)
        law.set_xlabel("measured W")
        law.set_ylabel("fitted law, W")
        legend(figure, colour)

    before = f"the profile as it stands by {percent(fit.check_before)}"
    title = f"The fitted law misses cells held out by {percent(fit.check_error)} of TDP; {before}"
    caption = (
        "One point a cell; open ones were held out of the fit. Solid line: TDP; dashed: idle with memory allocated. Utilisations are means "
        "over the window in which the watts were measured."
    )
    return Drawing("power", title, draw("power", (WIDTH_IN, 4.0), paint, title), caption, csv_text(pd.DataFrame(map(vars, fit.points))))


def _scatter(axes: Axes, points: Sequence[PowerPoint], colour: dict[str, str], x: object, y: object) -> None:
    for kind, hue in colour.items():
        for held in (False, True):
            own = [point for point in points if point.kind == kind and point.held_out is held]
            face = SURFACE if held else hue
            axes.scatter([x(p) for p in own], [y(p) for p in own], s=16, facecolor=face, edgecolor=hue, linewidth=1.0)  # type: ignore[operator]


def gemm_drawing(shares: Sequence[Share]) -> Drawing:
    """Achieved shares of peak bandwidth and peak FLOP/s over tokens, by type."""
    types = list(dict.fromkeys(share.dtype for share in shares))
    colour = {dtype: SYSTEMS[place] for place, dtype in enumerate(types)}

    def paint(figure: Canvas) -> None:
        panels = figure.subplots(1, 2)
        tokens = [share.tokens for share in shares]
        for axes, name, label in zip(panels, ("bandwidth", "flops"), ("HBM bytes/s (% of peak)", "FLOP/s (% of peak)"), strict=True):
            for dtype, hue in colour.items():
                own = [share for share in shares if share.dtype == dtype]
                axes.plot([s.tokens for s in own], [100 * getattr(s, name) for s in own], color=hue, marker="o", markersize=3.5)
            count_axis(axes, min(tokens), max(tokens))
            axes.set_ylim(0, 104)
            axes.set_xlabel("tokens")
            axes.set_ylabel(label)
        legend(figure, colour)

    best = max(shares, key=lambda share: share.bandwidth)
    title = (
        f"GEMMs reach at most {percent(best.bandwidth)} of peak bandwidth ({best.dtype}, {best.tokens:,} tokens), in the median over shapes"
    )
    caption = "Medians over the shapes of all models."
    return Drawing("gemm", title, draw("gemm", (WIDTH_IN, 3.4), paint, title), caption, csv_text(pd.DataFrame(map(vars, shares))))
