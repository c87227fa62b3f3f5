"""Figures of trajectory sets: lengths, growth, waits, context over a run, reuse by cache size. Inputs: sets to draw over each other."""

import io
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import SymmetricalLogLocator

from simulator.report.canvas import SURFACE, WIDTH_IN, Drawing, canvas, colours, draw, legend
from simulator.report.export import csv_text
from simulator.report.phrases import number, percent, plain
from simulator.report.profiles import statistics_sheet
from simulator.report.provenance import Provenance
from simulator.report.section import figure_parts
from simulator.report.set_tables import set_sheet
from simulator.report.template import template
from simulator.workload.reuse import ReuseCurve
from simulator.workload.statistics import cache_curve, statistics
from simulator.workload.trajectory import Trajectory, TrajectorySet
from simulator.workload.two_sample import growth, isl, osl, tool_s, turns

SIZE_IN = (WIDTH_IN, 8.2)
PNG_DPI = 150
CAPTION = """Cumulative shares: of the calls (prompt, answer), of the trajectories (calls), and of the steps from a call to the next one of
its thread (growth, wait; growth below 0 is a context that was cut). Over a run: median prompt by call number, with the middle half of the
runs that are still going. Reuse: prompt tokens served by one LRU cache of that size, exact, no block pinned."""

Quantity = Callable[[Trajectory], list[float]]


def set_page(sets: Sequence[TrajectorySet], agents: int, provenance: Provenance) -> str:
    """One HTML page with the figure inline, no script, no outside resource; the same bytes for the same sets."""
    title = f"{' and '.join(dict.fromkeys(plain(found.name) for found in sets))}: what agents ask"
    frames: list[pd.DataFrame] = []

    def paint(figure: Canvas) -> None:
        _painter(sets, agents)(figure)
        frames.append(_drawn(figure))

    svg = draw("sets", SIZE_IN, paint, f"{title}. {CAPTION}")
    figure = Drawing("sets", "Lengths, growth, waits and reuse", svg, CAPTION, csv_text(frames[0]))
    sheets = [sheet for found in sets for sheet in (set_sheet(found), statistics_sheet(found.name, statistics(found)))]
    drawings = figure_parts([figure])
    return template("sets.html.j2").render(title=title, drawings=drawings, sheets=sheets, provenance=provenance, footings=())


def _drawn(figure: Canvas) -> pd.DataFrame:
    """One row for each point of each line, under its panel and its set."""
    rows = [
        {"panel": axes.get_title(loc="left"), "set": line.get_label(), "x": x, "y": y}
        for axes in figure.axes
        for line in axes.get_lines()
        for x, y in zip(np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), strict=True)
    ]
    return pd.DataFrame(rows)


def set_png(sets: Sequence[TrajectorySet], agents: int) -> bytes:
    """The figure as a PNG image."""
    with canvas(*SIZE_IN) as figure:
        _painter(sets, agents)(figure)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=PNG_DPI, facecolor=SURFACE, metadata={"Software": None})
    return content.getvalue()


def _painter(sets: Sequence[TrajectorySet], agents: int) -> Callable[[Canvas], None]:
    names = [plain(found.name) for found in sets]
    names = [name if names.count(name) == 1 else f"{name} ({place})" for place, name in enumerate(names, start=1)]
    colour = colours(names)

    @cache
    def curve(place: int) -> ReuseCurve:
        return cache_curve(sets[place], agents)

    def paint(figure: Canvas) -> None:
        grid = figure.add_gridspec(3, 3)
        panels: tuple[tuple[str, str, Quantity, str], ...] = (
            ("prompt of a call (ISL)", "tokens, ", isl, "log"),
            ("answer of a call (OSL)", "tokens, ", osl, "log"),
            ("calls of a trajectory", "", turns, "log"),
            ("growth from call to call", "tokens, ", growth, "symlog"),
            ("wait between calls", "s, ", tool_s, "symlog"),
        )
        for place, (title, unit, quantity, axis) in enumerate(panels):
            axes = figure.add_subplot(grid[divmod(place, 3)])
            medians = [_cumulative(axes, found, quantity, name, colour[name], axis) for found, name in zip(sets, names, strict=True)]
            axes.set_title(title)
            axes.set_xlabel(f"{unit}median {' / '.join(medians)}")
            axes.set_ylim(0, 1)
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        axes = figure.add_subplot(grid[1, 2])
        for found, name in zip(sets, names, strict=True):
            _over_a_run(axes, found, name, colour[name])
        axes.set_title("prompt over a run")
        axes.set_xlabel("call")
        axes.set_ylabel("tokens")
        axes.yaxis.set_major_formatter(lambda value, _: _short(value))
        axes = figure.add_subplot(grid[2, :])
        for place, name in enumerate(names):
            _reuse(axes, curve(place), name, colour[name])
        most = " / ".join(percent(curve(place).most) for place in range(len(sets)))
        axes.set_title(f"prompt tokens reused with {agents} agents at work: at most {most}")
        axes.set_xlabel("cache, tokens")
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        legend(figure, {name: colour[name] for name in names})

    return paint


def _cumulative(axes: Axes, found: TrajectorySet, quantity: Quantity, name: str, colour: str, axis: str) -> str:
    """Draws a cumulative distribution of at most 400 points and returns the median."""
    values = np.sort([value for trajectory in found.trajectories for value in quantity(trajectory)] or [0.0])
    shares = np.linspace(0, 1, min(400, values.size + 1))
    axes.plot(np.quantile(values, shares, method="inverted_cdf"), shares, color=colour, drawstyle="steps-post", label=name)
    if axis == "log":
        axes.set_xscale("log")
    else:
        linear = 1.0 if quantity is tool_s else 100.0  # around 0 the axis is not logarithmic
        axes.set_xscale("symlog", linthresh=linear)
        axes.xaxis.set_major_locator(SymmetricalLogLocator(base=10 if quantity is tool_s else 100, linthresh=linear))
    axes.xaxis.set_major_formatter(lambda value, _: _short(value))
    return number(float(np.median(values)))


def _over_a_run(axes: Axes, found: TrajectorySet, name: str, colour: str) -> None:
    """Median and middle half of prompts by call number, as far as a tenth of the runs go."""
    runs = [[trajectory.calls[index].prompt_tokens for index in trajectory.threads[0]] for trajectory in found.trajectories]
    lengths = sorted(map(len, runs))
    reach = lengths[int(0.9 * (len(lengths) - 1))]
    low, middle, high = np.array([np.percentile([run[n] for run in runs if len(run) > n], [25, 50, 75]) for n in range(reach)]).T
    numbers = np.arange(1, reach + 1)
    axes.fill_between(numbers, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(numbers, middle, color=colour, label=name)
    axes.set_ylim(bottom=0)


def _reuse(axes: Axes, curve: ReuseCurve, name: str, colour: str) -> None:
    sizes = np.geomspace(1024, max(2048, 2 * curve.enough_tokens), 160)
    axes.plot(sizes, [curve.share(size) for size in sizes], color=colour, label=name)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: _short(value))


def _short(value: float) -> str:
    """A tick: 500, 10k, 2M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
