"""Figures of a sweep: what is held, and per megawatt, over every field of numbers that varies. Inputs are sweeps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.text import Annotation

from simulator.capacity.sweep import Sweep
from simulator.capacity.sweep_axes import canonical
from simulator.capacity.sweep_row import ANSWERED, Row
from simulator.report.canvas import SYSTEMS, WIDTH_IN, Drawing, colours, draw, legend, plain_log_axis
from simulator.report.export import csv_text
from simulator.report.phrases import number, plain
from simulator.report.sweep_tables import is_number, shown

QUANTITIES = {
    "capacity": {"agents_held": "agents held", "agents_per_mw_accelerator": "agents per MW, accelerator power"},
    "run": {"output_speed_tok_s_p25": "P25 output speed (tok/s)", "ttft_s_p95": "P95 TTFT (s)"},
}
"""Question -> column of each panel and its words."""
WIDE = 20
"""An axis whose largest value is more than so many times its smallest is logarithmic."""
STYLES = ("-", "--", ":")
LABEL_POINTS = 8
PANEL_POINTS = 150
"""About how high a panel is: by it labels at the ends of lines are kept apart."""
MOST_BARS = 40


@dataclass(frozen=True)
class Dot:
    """A point of a sweep that was answered."""

    values: Mapping[str, Any]
    row: Row
    group: str
    """Its values of words, which give it its colour."""


def sweep_drawings(sweep: Sweep) -> list[Drawing]:
    """A figure for each field of numbers; bars where only words vary. None where no point was answered."""
    fields = {axis.field: _distinct([point.values[axis.field] for point in sweep.plan.points]) for axis in sweep.plan.axes}
    numeric = {field: values for field, values in fields.items() if len(values) > 1 and all(map(is_number, values))}
    words = [field for field in fields if field not in numeric and len(fields[field]) > 1]
    dots = [
        Dot(point.values, row, ", ".join(shown(point.values[field]) for field in words))
        for point, row in zip(sweep.plan.points, sweep.rows, strict=True)
        if row["status"] == ANSWERED
    ]
    if not dots:
        return []
    if not numeric:
        return [_bars(sweep.plan.ask, dots)]
    names = [f"sweep-{place}" for place in range(len(numeric))]
    return [_over(name, field, sweep, dots, numeric) for name, field in zip(names, numeric, strict=True)]


def _distinct(values: Sequence[Any]) -> list[Any]:
    found = list({canonical(value): value for value in values}.values())
    return sorted(found) if all(map(is_number, found)) else found


def _over(name: str, field: str, sweep: Sweep, dots: Sequence[Dot], numeric: Mapping[str, Sequence[Any]]) -> Drawing:
    """Panels over one field: lines of a grid, dots of a hypercube."""
    groups = list(dict.fromkeys(dot.group for dot in dots))
    colour = colours(groups)
    others = sorted((other for other in numeric if other != field), key=lambda other: -len(numeric[other]))
    beside = others[0] if others and not sweep.plan.latin else ""
    held = {other: numeric[other][(len(numeric[other]) - 1) // 2] for other in others[1:]}
    kept = dots if sweep.plan.latin else [dot for dot in dots if all(dot.values[other] == value for other, value in held.items())]

    def paint(figure: Canvas) -> None:
        for place, (column, words) in enumerate(QUANTITIES[sweep.plan.ask].items()):
            axes = figure.add_subplot(1, 2, place + 1)
            for group in groups[: len(SYSTEMS)]:
                mine = [dot for dot in kept if dot.group == group]
                if sweep.plan.latin:
                    _scatter(axes, mine, field, column, colour[group])
                else:
                    _lines(axes, mine, field, column, colour[group], beside, numeric.get(beside, ()))
            _scales(axes, [dot.values[field] for dot in kept], [_value(dot, column) for dot in kept])
            _spread(axes)
            axes.set_xlabel(plain(field))
            axes.set_ylabel(words)
        if groups != [""]:
            legend(figure, {group or "–": colour[group] for group in groups[: len(SYSTEMS)]}, columns=2)

    title = f"{' and '.join(QUANTITIES[sweep.plan.ask].values())} over {plain(field)}"
    size_in = (WIDTH_IN, 3.4 + 0.2 * (min(len(groups), len(SYSTEMS)) // 2))
    svg, caption = draw(name, size_in, paint, title), _caption(sweep, beside, held, groups)
    return Drawing(name, title[:1].upper() + title[1:], svg, caption, _data(sweep.plan.ask, kept))


def _lines(axes: Axes, dots: Sequence[Dot], field: str, column: str, colour: str, beside: str, values: Sequence[Any]) -> None:
    """A line, or one each at the lowest, middle and highest value of another field, whose value stands at its end."""
    for value, style in zip(_three(values) if beside else [None], STYLES, strict=False):
        mine = sorted((d for d in dots if not beside or d.values[beside] == value), key=lambda dot: float(dot.values[field]))
        if not mine:
            continue
        places, heights = [dot.values[field] for dot in mine], [_value(dot, column) for dot in mine]
        axes.plot(places, heights, style, marker="o", markersize=3, color=colour)
        if beside:
            end = (places[-1], heights[-1])
            axes.annotate(shown(value), end, (4, 0), textcoords="offset points", va="center", fontsize=LABEL_POINTS, color=colour)


def _spread(axes: Axes) -> None:
    """Moves the labels at the ends of lines apart where they would lie on each other; axes have their limits by now."""
    labels = [text for text in axes.texts if isinstance(text, Annotation)]
    to_points = axes.transScale + axes.transLimits
    places = {text: PANEL_POINTS * float(to_points.transform((axes.get_xlim()[1], text.xy[1]))[1]) for text in labels}
    ordered = sorted((text for text in labels if places[text] == places[text]), key=places.__getitem__)
    below = float("-inf")
    for text in ordered:
        moved = max(places[text], below + LABEL_POINTS)
        text.xyann = (4, moved - places[text])
        below = moved


def _scatter(axes: Axes, dots: Sequence[Dot], field: str, column: str, colour: str) -> None:
    heights = [_value(dot, column) for dot in dots]
    axes.plot([dot.values[field] for dot in dots], heights, "o", markersize=4, mec="none", alpha=0.7, color=colour)


def _three(values: Sequence[Any]) -> list[Any]:
    return list(values) if len(values) <= 3 else [values[0], values[(len(values) - 1) // 2], values[-1]]


def _value(dot: Dot, column: str) -> float:
    value = dot.row[column]
    return float("nan") if value is None else float(value)


def _scales(axes: Axes, places: Sequence[float], heights: Sequence[float]) -> None:
    """Logarithmic where the values span much, else from zero."""
    ways: tuple[tuple[Callable[[str], None], Any, Sequence[float]], ...] = (
        (axes.set_xscale, axes.xaxis, places),
        (axes.set_yscale, axes.yaxis, heights),
    )
    for scale, axis, values in ways:
        above = [value for value in values if value > 0]
        if above and min(values) >= 0 and max(above) > WIDE * min(above):
            scale("log")
            plain_log_axis(axis, min(above) / 1.2, max(above) * 1.2)
        elif axis is axes.yaxis:
            axes.set_ylim(bottom=min(0.0, *(value for value in (*values, 0.0) if value == value)))


def _caption(sweep: Sweep, beside: str, held: Mapping[str, Any], groups: Sequence[str]) -> str:
    parts = ["Each dot is a draw of the hypercube." if sweep.plan.latin else "Each dot is a point of the sweep."]
    if beside:
        parts.append(f"The number at the end of a line is {plain(beside)}: its lowest, a middle one (dashed) and its highest (dotted).")
    if held:
        parts.append(f"Here {', '.join(f'{plain(field)} is {shown(value)}' for field, value in held.items())}.")
    if len(groups) > len(SYSTEMS):
        parts.append(f"The first {len(SYSTEMS)} of {len(groups)} are drawn; the others are in the table.")
    parts.append("A point that cannot run is not drawn, nor is a zero where the axis is logarithmic.")
    return " ".join(parts)


def _bars(ask: str, dots: Sequence[Dot]) -> Drawing:
    """One bar for each point where only words vary."""
    few = list(dots[:MOST_BARS])

    def paint(figure: Canvas) -> None:
        for place, (column, words) in enumerate(QUANTITIES[ask].items()):
            axes = figure.add_subplot(1, 2, place + 1)
            heights = [_value(dot, column) for dot in few]
            axes.barh(range(len(few)), heights, color=SYSTEMS[0], height=0.7)
            for at, height in enumerate(heights):
                axes.annotate(number(height), (0 if height != height else height, at), (4, 0), textcoords="offset points", va="center")
            axes.set_yticks(range(len(few)), [dot.group or "–" for dot in few] if place == 0 else [""] * len(few))
            axes.invert_yaxis()
            axes.set_xlabel(words)
            axes.margins(x=0.15)

    title = " and ".join(QUANTITIES[ask].values())
    caption = "Each bar is a point of the sweep."
    if len(dots) > len(few):
        caption += f" The first {len(few)} of {len(dots):,} are drawn."
    svg = draw("sweep-0", (WIDTH_IN, 1.2 + 0.3 * len(few)), paint, title)
    return Drawing("sweep-0", title[:1].upper() + title[1:], svg, caption, _data(ask, few))


def _data(ask: str, dots: Sequence[Dot]) -> str:
    """What a figure draws, as CSV."""
    rows = [{field: shown(v) if not is_number(v) else v for field, v in dot.values.items()} for dot in dots]
    return csv_text(pd.DataFrame([row | {c: dot.row[c] for c in QUANTITIES[ask]} for row, dot in zip(rows, dots, strict=True)]))
