"""The report's figures, each titled with what it shows: power here, service and load in the files beside. Inputs are answers."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from simulator.capacity.results import Answer, Summary
from simulator.report.canvas import INK, WIDTH_IN, Drawing, colours, draw, legend
from simulator.report.export import csv_text
from simulator.report.figure_frames import bases_frame, distributions_frame, levels_frame, shares_frame, stages_frame, watts_frame
from simulator.report.frames import points_frame
from simulator.report.load_figures import Case, limits, over_time
from simulator.report.phrases import BASES, by_tier, number, plain, systems, tier, times
from simulator.report.power_figures import power_over_time
from simulator.report.service_figures import curves, distributions
from simulator.report.stage_figures import answer_stages, run_stages

ABREAST = 3
"""Operating points whose curves over time have room beside each other; more go into figures of their own."""

PER_MEGAWATT = """Bars are the held count over the power of the whole set-up, on each basis; whiskers carry the interval of the answer."""


def per_megawatt(answers: Sequence[Answer]) -> Drawing:
    """Agents per MW on the four bases, with the accelerator interval and the others' where known."""
    groups, colour = by_tier(answers), colours(systems(answers))

    def paint(figure: Canvas) -> None:
        for row, (name, group) in enumerate(groups.items()):
            axes = figure.add_subplot(1, len(groups), row + 1)
            _bars(axes, group, colour)
            axes.set_title(f"{name}")
            axes.set_ylabel("agents per MW")
        legend(figure, {plain(name): colour[name] for name in systems(answers)})

    title = " ".join(_lead(group) for group in groups.values())
    return Drawing("per_megawatt", title, draw("per_megawatt", (WIDTH_IN, 3.6), paint, title), PER_MEGAWATT)


def _lead(group: Sequence[Answer]) -> str:
    """Who leads on which basis at one tier, and by how much over the next; with one system alone, how far the bases lie apart."""
    if len(group) == 1:
        values = [getattr(group[0].agents_per_mw, basis) for basis in BASES]
        span = f"{number(min(values))} to {number(max(values))} agents per MW"
        return f"At {tier(group[0].slo)}, {plain(group[0].system)} holds {span}, by basis."
    leads: dict[str, list[tuple[float, str]]] = {}
    for basis in BASES:
        ranked = sorted(group, key=lambda a: -getattr(a.agents_per_mw, basis))
        values = [getattr(a.agents_per_mw, basis) for a in ranked]
        if values[0] > 0:
            leads.setdefault(ranked[0].system, []).append((values[0] / values[1] if len(values) > 1 and values[1] else 0.0, basis))
    parts = []
    for system, found in leads.items():
        (least, lower), (most, upper) = min(found), max(found)
        where = "on every basis" if len(found) == len(BASES) else f"on {', '.join(_basis(basis) for _, basis in found)}"
        by = f", by {times(least)} ({_basis(lower)}) to {times(most)} ({_basis(upper)})" if least else ""
        parts.append(f"{plain(system)} holds the most agents per MW {where}{by}")
    return f"At {tier(group[0].slo)}, {'; '.join(parts) or 'nothing is held'}."


def _basis(basis: str) -> str:
    return {"tdp": "TDP"}.get(basis, basis)


def _bars(axes: Axes, group: Sequence[Answer], colour: dict[str, str]) -> None:
    width = 0.8 / len(group)
    top = max((getattr(a.agents_per_mw, basis) for a in group for basis in BASES), default=0.0)
    for place, answer in enumerate(group):
        x = np.arange(len(BASES)) - 0.4 + (place + 0.5) * width
        heights = np.array([getattr(answer.agents_per_mw, basis) for basis in BASES])
        axes.bar(x, heights, width * 0.92, color=colour[answer.system])
        for left, height, basis in zip(x, heights, BASES, strict=True):
            low, high = answer.agents_per_mw_interval.get(basis, (height, height))
            axes.plot([left, left], [low, high], color=INK, linewidth=1.2)
            axes.annotate(number(height), (left, max(high, height)), (0, 3), textcoords="offset points", ha="center", fontsize=8, color=INK)
    axes.set_xticks(range(len(BASES)), [_basis(basis) for basis in BASES])
    axes.tick_params(axis="x", length=0, labelcolor=INK)
    axes.grid(axis="x", visible=False)
    axes.set_ylim(0, top * 1.15 if top else 1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def operating_points(answers: Sequence[Answer]) -> list[Case]:
    """Each answer's first broken operating point, or the held one when nothing broke."""
    found = [(answer, answer.broken or answer.held) for answer in answers]
    return [Case(answer.system, tier(answer.slo), point) for answer, point in found if point is not None]


def answer_drawings(answers: Sequence[Answer]) -> list[Drawing]:
    """Every figure that the answers can fill, in the order of the report."""
    colour = colours(systems(answers))
    cases = operating_points(answers)
    points = [point for answer in answers for point in (answer.held, answer.broken) if point]
    metered = [answer for answer in answers if math.isfinite(answer.agents_per_mw.accelerator)]  # nobody knows watts of an unknown system
    drawings: list[Drawing | None] = [
        with_numbers(per_megawatt(metered), bases_frame(metered)) if metered else None,
        with_numbers(curves(answers), points_frame(answers)),
        with_numbers(distributions(answers), distributions_frame(answers)),
        with_numbers(limits(cases) if cases else None, shares_frame(cases)),
        with_numbers(answer_stages(answers), stages_frame(points)),
    ]
    for place, (name, group) in enumerate(by_tier(answers).items()):
        held = [a.held for a in group if a.held is not None]
        for start in range(0, len(held), ABREAST):
            part = f"-{start // ABREAST}" if start else ""
            shown = held[start : start + ABREAST]
            drawings.append(with_numbers(over_time(shown, colour, f"time{place}{part}", f"At {name}"), levels_frame(shown)))
    return [drawing for drawing in drawings if drawing is not None]


def run_drawings(summary: Summary) -> list[Drawing]:
    """The figures of one operating point, which has no SLO."""
    colour = colours([summary.system])
    case = [Case(summary.system, "", summary)]
    drawings = [
        with_numbers(limits(case), shares_frame(case)),
        with_numbers(run_stages(summary), stages_frame([summary])),
        with_numbers(over_time([summary], colour, "time", ""), levels_frame([summary])),
        with_numbers(power_over_time(summary), watts_frame(summary.series.time_s, summary.power_w)),
    ]
    return [drawing for drawing in drawings if drawing is not None]


def with_numbers(drawing: Drawing | None, frame: pd.DataFrame) -> Drawing | None:
    """The figure with what it draws as CSV."""
    return drawing and replace(drawing, data=csv_text(frame))
