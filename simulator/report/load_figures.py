"""Figures of a system under load: what its step time goes to, and batch, cache and watts over time. Inputs are operating points."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Patch
from numpy.typing import NDArray

from simulator.capacity.results import Summary
from simulator.report.canvas import BLOCKED, INK, SURFACE, TERMS, WIDTH_IN, Drawing, draw, text_on
from simulator.report.phrases import grouped, limited_by, number, plain, words

OVER_TIME = """One seed, from the first agent's start: the ramp is on the left. Cache hit is the share of prompt tokens found in
the cache, KV use the share of KV blocks that running calls hold; watts are those of GPU die and HBM. Means over equal stretches of time."""

LIMITS = """Left: terms of the step-time law on the rank that sets each step, and idle time. Right: share of time in which a rank's first
waiting call could not start, by reason."""

STRETCHES = 150
"""Most points of a line over time: more would draw noise."""


def over_time(summaries: Sequence[Summary], colour: dict[str, str], name: str, where: str) -> Drawing:
    """Batch, waiting calls, cache hit, KV use and watts over time, one column an operating point."""

    def paint(figure: Canvas) -> None:
        grid = figure.subplots(4, len(summaries), sharex="col", squeeze=False)
        for column, summary in enumerate(summaries):
            _time_column([row[column] for row in grid], summary, colour[summary.system], first=column == 0)
        top = max(axes.get_ylim()[1] for axes in grid[3])
        for axes in grid[3]:
            axes.set_ylim(0, top)

    parts = [f"{plain(s.system)} draws {number(s.watts_per_gpu.accelerator)} W/GPU at {s.agents:,} agents" for s in summaries]
    title = f"{where}: {', '.join(parts)}" if where else ", ".join(parts)
    return Drawing(name, title, draw(name, (WIDTH_IN, 6.2), paint, title), OVER_TIME)


POOL_LINES = {"prefill": (0, (1, 1.2)), "decode": (0, (6, 1.5, 1.5, 1.5)), "mixed": (0, (3, 1))}
"""Dash pattern of a pool's line, by its role."""


def _time_column(panels: Sequence[Axes], summary: Summary, colour: str, first: bool) -> None:
    series = summary.series
    minutes = stretched(series.time_s) / 60
    levels = (series.decode_batch, series.waiting_calls, 100 * series.cache_hit, series.accelerator_w)
    labels = ("decoding calls\nper rank", "waiting calls\nin all", "share (%)", "W per GPU")
    for axes, level, label in zip(panels, levels, labels, strict=True):
        axes.plot(minutes, stretched(level), color=colour, linewidth=1.4)
        axes.set_ylim(bottom=0)
        if first:
            axes.set_ylabel(label)
    if len(summary.pools) > 1:
        _pool_panels(panels, minutes, summary)
    else:
        panels[2].plot(minutes, stretched(100 * series.kv_used_share), color=INK, linewidth=1.1, linestyle=(0, (4, 2)))
        panels[2].legend(panels[2].get_lines(), ["cache hit", "KV use"], loc="best", fontsize=8, ncols=2, handlelength=1.8)
    panels[2].set_ylim(0, 104)
    panels[0].set_title(f"{plain(summary.system)}: {summary.agents:,} agents on {summary.gpus} GPUs")
    panels[3].set_xlabel("simulated time (min)")


def _pool_panels(panels: Sequence[Axes], minutes: NDArray[np.float64], summary: Summary) -> None:
    """KV use and watts of each pool, with the legends above their panels."""
    names = [plain(pool.name) for pool in summary.pools]
    for pool in summary.pools:
        style: dict[str, Any] = {"color": INK, "linewidth": 1.1, "linestyle": POOL_LINES[pool.role]}
        panels[2].plot(minutes, stretched(100 * pool.series.kv_used_share), **style)
        panels[3].plot(minutes, stretched(pool.series.accelerator_w), **style)
    panels[3].set_ylim(0, 1.06 * max(float(np.nanmax(line.get_ydata())) for line in panels[3].get_lines()))
    for axes, labels in ((panels[2], ["cache hit", *(f"KV use, {name}" for name in names)]), (panels[3], ["all", *names])):
        axes.legend(axes.get_lines(), labels, loc="lower right", bbox_to_anchor=(1, 0.97), fontsize=8, ncols=len(labels),
                    handlelength=2.4, borderpad=0)  # fmt: skip


def stretched(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over equal stretches, at most `STRETCHES` of them; nan where a stretch has no value."""
    width = -(-level.size // STRETCHES) or 1
    whole = np.concatenate([level, np.full(-level.size % width, np.nan)]).reshape(-1, width)
    known = np.isfinite(whole)
    count = known.sum(axis=1)
    total = np.where(known, whole, 0.0).sum(axis=1)
    return np.asarray(np.divide(total, count, out=np.full(count.size, np.nan), where=count > 0), dtype=np.float64)


@dataclass(frozen=True)
class Case:
    """A part of the limits figure: a system, its SLO's tier (empty for none) and the operating point shown, one bar a pool."""

    system: str
    tier: str
    point: Summary

    @property
    def bars(self) -> list[tuple[str, dict[str, float], dict[str, float]]]:
        """Label, shares of the step time and reasons for waiting of each bar."""
        name = plain(self.system)
        if len(self.point.pools) > 1:
            where = f", {self.tier}" if self.tier else ""
            return [(f"{name}\n{plain(p.name)}{where}", p.step_shares, p.blocked_shares) for p in self.point.pools]
        return [(f"{name}\n{self.tier}".strip(), self.point.step_shares, self.point.blocked_shares)]


def limits(cases: Sequence[Case]) -> Drawing:
    """What the step time goes to, and what keeps the first waiting call out, as stacked bars."""
    bars = [bar for case in cases for bar in case.bars]

    def paint(figure: Canvas) -> None:
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2.2, 1.15))
        places = np.arange(len(bars))[::-1]
        _stack(left, places, [step for _, step, _ in bars], TERMS)
        _stack(right, places, [blocked for _, _, blocked in bars], BLOCKED)
        left.set_yticks(places, [label for label, _, _ in bars])
        left.tick_params(axis="y", length=0, labelsize=9, labelcolor=INK)
        right.tick_params(axis="y", length=0)
        _swatches(left, "where the time goes", TERMS)
        _swatches(right, "what holds the first waiting call back", BLOCKED)
        for axes in (left, right):
            axes.set_xlabel("share of time (%)")
        left.set_xlim(0, 100)
        right.set_xlim(0, max(10.0, *(100 * sum(blocked.values()) * 1.1 for _, _, blocked in bars)))

    found = [(limited_by(c.point.limiter, c.point.binding_pool, c.point.pools), plain(c.system), c.tier) for c in cases]
    title = grouped("is the limiter", found)
    return Drawing("limits", title, draw("limits", (WIDTH_IN, 1.2 + 0.5 * len(bars)), paint, title), LIMITS)


def _swatches(axes: Axes, title: str, palette: dict[str, str]) -> None:
    """A panel's title with the names of its colours beneath."""
    handles = [Patch(color=colour, label=words(key)) for key, colour in palette.items()]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.01, 0.98), ncols=len(handles), fontsize=8.0, handlelength=0.8,
                handleheight=0.8, columnspacing=0.65, handletextpad=0.35, borderpad=0)  # fmt: skip
    axes.set_title(title, pad=20)


def _stack(axes: Axes, places: NDArray[np.int64], shares: Sequence[dict[str, float]], palette: dict[str, str]) -> None:
    edge = np.zeros(len(shares))
    for key, colour in palette.items():
        width = np.array([100 * s.get(key, 0.0) for s in shares])
        axes.barh(places, width, left=edge, height=0.62, color=colour, edgecolor=SURFACE, linewidth=0.8)
        for place, start, size in zip(places, edge, width, strict=True):
            if size >= 6 and key not in ("idle", "token_budget"):
                axes.annotate(f"{size:.0f}", (start + size / 2, place), ha="center", va="center", fontsize=8.5, color=text_on(colour))
        edge = edge + width
    axes.grid(axis="y", visible=False)
