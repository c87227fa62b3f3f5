"""The tornado: what each group of uncertain fields alone does to agents per MW, and to the ratio between systems. Inputs are answers."""

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from simulator.capacity.results import Comparison, Uncertainty
from simulator.report.canvas import BAD, INK, MUTED, SYSTEMS, WIDTH_IN, Drawing, draw, legend, plain_log_axis
from simulator.report.export import csv_text
from simulator.report.frames import tornado_frame
from simulator.report.phrases import number, plain, tier, times
from simulator.report.uncertainty_tables import fields

BARS = 6
SHOWN = "agents_per_mw_accelerator"

CAPTION = """Each bar moves one group of profile fields alone, from its better to its worse end (10th and 90th percentile of its spread),
and shows agents per MW of accelerator power. The line is the answer; in the shaded band nine draws in ten of all fields together fall
(P5 to P95). The widest bar is the field to measure next. PUE and the watts beside the accelerators move only the facility basis, which
is in the tables."""


def uncertainty_drawings(comparison: Comparison) -> list[Drawing]:
    """One figure for the answers and one for the ratios; none where nobody asked."""
    answers = [(f"{plain(a.system)} at {tier(a.slo)}", a.uncertainty) for a in comparison.answers if a.uncertainty]
    ratios = [
        (f"{plain(row['system'])} / {plain(row['against'])} at {plain(row['tier'])}", found)
        for row, found in zip(comparison.ratios, comparison.uncertainty, strict=False)
        if found
    ]
    named = (("tornado", answers, "agents per MW"), ("tornado_ratio", ratios, "ratio of agents per MW"))
    frame = tornado_frame(comparison)
    return [
        replace(tornado(name, panels, quantity), data=csv_text(frame[frame["of"].isin([found.of for _, found in panels])]))
        for name, panels, quantity in named
        if panels
    ]


def tornado(name: str, panels: Sequence[tuple[str, Uncertainty]], quantity: str) -> Drawing:
    """A panel of bars for each answer or ratio."""

    def paint(figure: Canvas) -> None:
        rows = -(-len(panels) // 2)
        for place, (title, found) in enumerate(panels):
            axes = figure.add_subplot(rows, min(2, len(panels)), place + 1)
            _bars(axes, found, ratio=name != "tornado")
            axes.set_title(title)
            axes.set_xlabel(quantity)
        legend(figure, {"better end": SYSTEMS[0], "worse end": SYSTEMS[1]})

    title = ". ".join(_finding(title, found) for title, found in panels)
    return Drawing(name, title, draw(name, (WIDTH_IN, 0.6 + 2.6 * -(-len(panels) // 2)), paint, title), CAPTION)


def _finding(title: str, found: Uncertainty) -> str:
    widest = next((swing for swing in found.swings if len(set(swing.values[SHOWN])) > 1), None)
    return f"{title}: measure {fields(widest)} next" if widest else f"{title}: no field moves it"


def _bars(axes: Axes, found: Uncertainty, ratio: bool) -> None:
    nominal, interval = found.nominal[SHOWN], found.intervals[SHOWN]
    shown = sorted(found.swings, key=lambda s: abs(s.values[SHOWN][0] - s.values[SHOWN][1]), reverse=True)[:BARS]
    for place, swing in enumerate(shown):
        for end, colour in zip(swing.values[SHOWN], SYSTEMS[:2], strict=True):
            if end < float("inf"):
                axes.barh(place, end - nominal, left=nominal, height=0.66, color=colour)
    ends = [end for swing in shown for end in swing.values[SHOWN]] + [interval.p5, interval.p95, nominal]
    known = [end for end in ends if 0 < end < float("inf")]
    axes.axvspan(interval.p5, min(interval.p95, 1.15 * max(known, default=0.0)), color=MUTED, alpha=0.12, linewidth=0)
    axes.axvline(nominal, color=INK, linewidth=1.1)
    written = times(nominal) if ratio else number(nominal)
    axes.annotate(written, (nominal, 1), (3, -2), xycoords=("data", "axes fraction"), textcoords="offset points", va="top", fontsize=8.5)
    axes.set_yticks(range(len(shown)), [f"{fields(swing)}\n{plain(swing.profile)}" for swing in shown], fontsize=7.5)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    if known and max(known) > 3 * min(known):
        axes.set_xscale("log")
        axes.set_xlim(min(known) / 1.15, max(known) * 1.15)
        plain_log_axis(axes.xaxis, min(known) / 1.15, max(known) * 1.15)
    if len(known) < len(ends):
        axes.annotate("some end holds not one agent", (0.01, 0.01), xycoords="axes fraction", fontsize=7.5, color=BAD)
