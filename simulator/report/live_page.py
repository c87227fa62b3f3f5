"""The page of a calibration: verdict, figures, tables and provenance in one file. Inputs are a fit, a check and their tables."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from simulator.calibration.live_check import VERDICTS, Check
from simulator.calibration.live_fit import Fit
from simulator.report.canvas import INK, MUTED, SYSTEMS, WIDTH_IN, Drawing, draw, legend, plain_log_axis
from simulator.report.export import csv_text
from simulator.report.phrases import percent, plain
from simulator.report.provenance import Provenance
from simulator.report.section import figure_parts
from simulator.report.tables import Sheet
from simulator.report.template import template


def render_calibration(fit: Fit, check: Check, sheets: Sequence[Sheet], about: Mapping[str, str], provenance: Provenance) -> str:
    """The page; the same bytes for the same input."""
    drawings = [law_drawing(fit), *([replay_drawing(check)] if check.levels else [])]
    return template("calibration.html.j2").render(
        title=plain(about.get("model", "an endpoint")),
        verdict=VERDICTS[check.word],
        sentences=[plain(sentence) for sentence in check.sentences],
        about=[(plain(name), plain(value)) for name, value in about.items() if value],
        sheets=sheets,
        drawings=figure_parts(drawings),
        provenance=provenance,
        footings=(),
    )


def law_drawing(fit: Fit) -> Drawing:
    """Measured against fitted time of every cell, and the errors when its experiment is left out."""
    kinds = list(dict.fromkeys(one.kind for one in fit.law.observations))
    colour = {kind: SYSTEMS[place % len(SYSTEMS)] for place, kind in enumerate(kinds)}
    measured = fit.law.seconds

    def paint(figure: Canvas) -> None:
        times, errors = figure.subplots(1, 2)
        for kind, hue in colour.items():
            own = np.array([one.kind == kind for one in fit.law.observations])
            fitted = measured[own] * (1 + fit.law.errors[own])
            times.scatter(measured[own] * 1e3, fitted * 1e3, s=14, facecolor="none", edgecolor=hue, linewidth=1.0)
            errors.scatter(measured[own] * 1e3, 100 * fit.law.left_out[own], s=14, facecolor="none", edgecolor=hue, linewidth=1.0)
        times.axline((1, 1), (10, 10), color=INK, linewidth=0.9)
        times.set_xscale("log")
        times.set_yscale("log")
        times.set_ylabel("fitted ms")
        errors.axhline(0, color=MUTED, linewidth=0.9)
        errors.set_xscale("log")
        for axis in (times.xaxis, times.yaxis, errors.xaxis):
            plain_log_axis(axis, *axis.get_view_interval())
        errors.set_ylabel("error when left out (%)")
        for axes in (times, errors):
            axes.set_xlabel("measured ms")
        legend(figure, {plain(kind): hue for kind, hue in colour.items()})

    median = float(np.median(np.abs(fit.law.left_out)))
    title = f"Experiments left out of the fit are met within {percent(median)} in the median"
    caption = "One point for each prefill and decode time of a cell. Right: the law fitted to all other experiments."
    return Drawing("law", title, draw("law", (WIDTH_IN, 3.8), paint, title), caption, csv_text(law_frame(fit)))


def law_frame(fit: Fit) -> pd.DataFrame:
    """One row for each time of a cell: measured, fitted, and the relative error when its experiment is left out."""
    seen = fit.law.observations
    fitted = fit.law.seconds * (1 + fit.law.errors)
    names = {key: [getattr(one, key) for one in seen] for key in ("cell", "kind", "quantity")}
    return pd.DataFrame({**names, "measured_s": fit.law.seconds, "fitted_s": fitted, "error_left_out": fit.law.left_out})


def replay_drawing(check: Check) -> Drawing:
    """Throughput, TPOT and TTFT of the replay by agents: measured and predicted."""
    agents = [level.agents for level in check.levels]
    panels = (("output_tok_s", "output tok/s", 1.0), ("tpot_p50_s", "median TPOT (ms)", 1e3), ("ttft_p95_s", "p95 TTFT (ms)", 1e3))
    colour = {"measured": SYSTEMS[0], "predicted": SYSTEMS[1]}

    def paint(figure: Canvas) -> None:
        for axes, (quantity, label, scale) in zip(figure.subplots(1, 3), panels, strict=True):
            for kind, hue in colour.items():
                values = [getattr(level, kind)[quantity] * scale for level in check.levels]
                axes.plot(agents, values, color=hue, marker="o", markersize=4)
            axes.set_xlabel("agents")
            axes.set_ylabel(label)
            axes.set_ylim(bottom=0)
        legend(figure, colour)

    worst = max((abs(level.error("output_tok_s")) for level in check.levels), default=0.0)
    title = f"The hold-out replay is predicted within {percent(worst)} in throughput"
    caption = "Agents with tools replay drawn trajectories; nothing was fitted to them."
    return Drawing("replay", title, draw("replay", (WIDTH_IN, 3.4), paint, title), caption, csv_text(replay_frame(check)))


def replay_frame(check: Check) -> pd.DataFrame:
    """One row for each quantity of each number of agents: measured and predicted."""
    return pd.DataFrame(
        [
            {"agents": level.agents, "quantity": quantity, "measured": measured, "predicted": level.predicted[quantity]}
            for level in check.levels
            for quantity, measured in level.measured.items()
        ]
    )
