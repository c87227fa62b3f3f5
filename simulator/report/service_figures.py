"""Figures of the service that agents get: the SLO's percentiles by agent count, and their distributions. Inputs are answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from simulator.capacity.results import Answer, Point, Summary
from simulator.report.canvas import BAD, INK, MUTED, SURFACE, WIDTH_IN, Drawing, colours, count_axis, draw, legend, plain_log_axis
from simulator.report.phrases import by_tier, grouped, plain, systems, tier, words

CURVES = """Each dot is one phase of the search at one seed, a small one a short phase that only shows where to look; the line joins the
medians over seeds. The dashed line is the SLO; on its shaded side the promise is broken. The ring marks the held count."""

DISTRIBUTIONS = """Share of the calls at the held point that were at most so fast, or waited at most so long. The dashed line is the SLO's
limit, the dotted one its percentile; a curve that passes through the shaded corner breaks the promise. The ring is the measured one."""

SHARES = np.linspace(0, 100, 201)
"""Percentages of the calls at which a distribution is drawn."""


@dataclass(frozen=True)
class Side:
    """One clause of an SLO as a panel shows it."""

    title: str
    unit: str
    limit: float
    percentile: float
    ceiling: bool
    of_point: Callable[[Point], float]
    of_call: Callable[[Summary], NDArray[np.float64]]

    @property
    def label(self) -> str:
        """``SLO 20 tok/s``."""
        return f"SLO {self.limit:g} {self.unit}"


def sides(answer: Answer) -> list[Side]:
    """The clauses of an answer's SLO, in the order of its panels."""
    slo, panels = answer.slo, []
    if slo.get("speed_tok_s"):
        panels.append(Side("output speed", "tok/s", slo["speed_tok_s"], slo["speed_percentile"], False,
                           lambda p: p.speed_tok_s, lambda s: s.speed_samples_tok_s))  # fmt: skip
    if slo.get("e2e_speed_tok_s"):
        panels.append(Side("E2E speed", "tok/s", slo["e2e_speed_tok_s"], slo["e2e_percentile"], False,
                           lambda p: p.speed_tok_s, lambda s: np.empty(0)))  # fmt: skip
    if slo.get("ttft_s"):
        panels.append(Side("TTFT", "s", slo["ttft_s"], slo["ttft_percentile"], True, lambda p: p.ttft_s, lambda s: s.ttft_samples_s))
    return panels


def curves(answers: Sequence[Answer]) -> Drawing:
    """Agents against the SLO's percentiles, with the SLO lines and the held points."""
    groups, colour = by_tier(answers), colours(systems(answers))

    def paint(figure: Canvas) -> None:
        rows = max(1, len(groups))
        for row, (name, group) in enumerate(groups.items()):
            panels = sides(group[0])
            for place, side in enumerate(panels):
                axes = figure.add_subplot(rows, len(panels), row * len(panels) + place + 1)
                _curve_panel(axes, side, group, colour)
                axes.set_title(f"{name}: P{side.percentile:g} {side.title}")
        gpus = {a.system: a.gpus for a in reversed(answers)}
        legend(figure, {f"{plain(name)} ({gpus[name]} GPUs)": colour[name] for name in colour})

    title = ". ".join(_holding(group) for group in groups.values())
    return Drawing("curves", title, draw("curves", (WIDTH_IN, 0.5 + 2.9 * len(groups)), paint, title), CURVES)


def _holding(group: Sequence[Answer]) -> str:
    """``at 20 tok/s & 10 s: A holds 1,500 agents, B 42``."""
    held = [f"{plain(a.system)} {'holds ' if place == 0 else ''}{a.agents_held:,}" for place, a in enumerate(group)]
    return f"At {tier(group[0].slo)}, {', '.join(held)} agents"


def _curve_panel(axes: Axes, side: Side, group: Sequence[Answer], colour: dict[str, str]) -> None:
    shown: list[float] = [side.limit]
    counts: list[float] = []
    for answer in group:
        sizes, middle, values = _medians(side, answer.points)
        if not sizes.size:
            continue
        for scout, size in ((False, 4.0), (True, 2.0)):
            dots = [(p.agents, side.of_point(p)) for p in answer.points if p.scout is scout]
            axes.plot([x for x, _ in dots], [y for _, y in dots], ".", color=colour[answer.system], markersize=size, alpha=0.6)
        axes.plot(sizes, middle, color=colour[answer.system])
        shown += [*values]
        counts += [*sizes]
        if answer.agents_held:
            at = float(np.interp(answer.agents_held, sizes, middle))
            axes.plot(
                [answer.agents_held],
                [at],
                "o",
                markersize=9,
                markerfacecolor=SURFACE,
                markeredgecolor=colour[answer.system],
                markeredgewidth=2.2,
            )
            axes.annotate(f"{answer.agents_held:,}", (answer.agents_held, at), (7, -12 if side.ceiling else 6), textcoords="offset points",
                          fontsize=9.5, fontweight="bold", color=colour[answer.system])  # fmt: skip
    low, high = min(shown), max(shown)
    if side.ceiling:
        low, high = max(low, side.limit / 300) / 1.3, max(min(high, side.limit * 12), side.limit * 1.5) * 1.3
        axes.set_yscale("log")
        plain_log_axis(axes.yaxis, low, high)
    else:
        low, high = 0.0, high * 1.12
    axes.set_ylim(low, high)
    if counts:
        count_axis(axes, min(counts), max(counts))
    _slo_line(axes, side, high if side.ceiling else low)
    axes.set_ylabel(f"P{side.percentile:g} {side.title} ({side.unit})")
    axes.set_xlabel("concurrent agents")


def _medians(side: Side, points: Sequence[Point]) -> tuple[NDArray[np.float64], NDArray[np.float64], list[float]]:
    """Agent counts with the median over seeds at each, as the answer is one, of full phases where there are some; and every value."""
    found = [(p.agents, p.scout, side.of_point(p)) for p in points if np.isfinite(side.of_point(p))]
    full = {agents for agents, scout, _ in found if not scout}
    kept = [(agents, value) for agents, scout, value in found if not scout or agents not in full]
    sizes = np.unique([float(agents) for agents, _ in kept])
    medians = [np.median([value for agents, value in kept if agents == size]) for size in sizes]
    return sizes, np.array(medians, dtype=np.float64), [value for _, _, value in found]


def _slo_line(axes: Axes, side: Side, edge: float) -> None:
    """The limit as a dashed line with its value, and the broken side shaded."""
    axes.axhline(side.limit, color=INK, linewidth=1.1, linestyle=(0, (5, 3)))
    axes.axhspan(min(side.limit, edge), max(side.limit, edge), color=BAD, alpha=0.06, linewidth=0)
    offset, align, at, side_of = ((0, 3), "bottom", 0.99, "right") if side.ceiling else ((0, -3), "top", 0.01, "left")
    axes.annotate(
        side.label,
        (at, side.limit),
        offset,
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha=side_of,
        va=align,
        fontsize=8.5,
        color=INK,
    )


def distributions(answers: Sequence[Answer]) -> Drawing | None:
    """Cumulative distributions of output speed and TTFT over the calls at the held points; None when nothing was held."""
    groups = {name: [a for a in group if a.held] for name, group in by_tier(answers).items()}
    groups = {name: group for name, group in groups.items() if group}
    if not groups:
        return None
    colour = colours(systems(answers))

    def paint(figure: Canvas) -> None:
        for row, (name, group) in enumerate(groups.items()):
            panels = sides(group[0])
            for place, side in enumerate(panels):
                axes = figure.add_subplot(len(groups), len(panels), row * len(panels) + place + 1)
                series = {a.system: side.of_call(a.held) for a in group if a.held}
                _distribution_panel(axes, side, series, colour)
                axes.set_title(f"{name}: {side.title} of each call")
        legend(figure, {plain(name): colour[name] for name in systems(answers)})

    shown = [(words(a.binding), plain(a.system), tier(a.slo)) for group in groups.values() for a in group]
    title = grouped("breaks first", shown)
    return Drawing("distributions", title, draw("distributions", (WIDTH_IN, 0.5 + 2.8 * len(groups)), paint, title), DISTRIBUTIONS)


def _distribution_panel(axes: Axes, side: Side, series: dict[str, NDArray[np.float64]], colour: dict[str, str]) -> None:
    ends = [side.limit]
    starts = [side.limit]
    for system, samples in series.items():
        known = np.sort(samples[np.isfinite(samples)])
        if not known.size:
            continue
        axes.plot(np.percentile(known, SHARES), SHARES, color=colour[system])
        at = float(np.percentile(known, side.percentile))
        axes.plot([at], [side.percentile], "o", markersize=7, markerfacecolor=SURFACE, markeredgecolor=colour[system], markeredgewidth=2)
        ends.append(float(np.percentile(known, 99.5)))
        starts.append(float(np.percentile(known, 0.5)))
    if side.ceiling:
        low, high = max(min(starts), side.limit / 500) / 1.2, max(max(ends), side.limit * 1.5) * 1.3
        axes.set_xscale("log")
        plain_log_axis(axes.xaxis, low, high)
    else:
        low, high = 0.0, max(ends) * 1.05
    axes.set_xlim(low, high)
    axes.set_ylim(0, 100)
    axes.axvline(side.limit, color=INK, linewidth=1.1, linestyle=(0, (5, 3)))
    axes.axhline(side.percentile, color=MUTED, linewidth=0.9, linestyle=":")
    corner = (side.limit, high, 0, side.percentile) if side.ceiling else (low, side.limit, side.percentile, 100)
    axes.fill_between(corner[:2], corner[2], corner[3], color=BAD, alpha=0.06, linewidth=0)
    _corner_labels(axes, side)
    axes.set_xlabel(f"{side.title} ({side.unit})")
    axes.set_ylabel("calls (%)")


def _corner_labels(axes: Axes, side: Side) -> None:
    """The limit's value along its line inside the shaded corner, where no held curve passes, and the percentile's at its line's end."""
    at, name = (side.limit, 0.04 if side.ceiling else 0.96), f"P{side.percentile:g}"
    axes.annotate(side.label, at, (3 if side.ceiling else -3, 0), xycoords=("data", "axes fraction"), textcoords="offset points",
                  rotation=90,
                  ha="left" if side.ceiling else "right", va="bottom" if side.ceiling else "top", fontsize=8.5, color=INK)  # fmt: skip
    end, lift, align, edge = (0.01, -2, "left", "top") if side.ceiling else (0.995, 2, "right", "bottom")
    axes.annotate(name, (end, side.percentile), (0, lift), xycoords=("axes fraction", "data"), textcoords="offset points",
                  ha=align, va=edge, fontsize=8.5, color=MUTED)  # fmt: skip
