"""The figure of an excerpt: agents as lanes over a rank's batch, KV use and watts. Input: an excerpt."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from simulator.capacity.scenario import Scenario
from simulator.report.canvas import GRID, INK, STAGES, SYSTEMS, WIDTH_IN, Drawing, draw, legend
from simulator.report.export import csv_text
from simulator.report.phrases import number, plain
from simulator.ui.excerpt import Excerpt, excerpt_of

PHASES = {
    "tool": GRID,
    "queue": STAGES["prefill_queue"],
    "prefill": STAGES["prefill"],
    "move KV": STAGES["transfer"],
    "decode": STAGES["decode"],
}
"""Phases of an agent in the figure, and their colours; names of the timeline that only begin alike are one."""


def phase_of(name: str) -> str:
    """The figure's phase of one of the timeline."""
    if "KV" in name and not name.startswith("queue"):
        return "move KV"
    return name.split(" ")[0]


def excerpt_drawing(scenario: Scenario, agents: int, title: str, name: str) -> Drawing:
    """Plays the excerpt of a held point and draws it."""
    found = excerpt_of(scenario, agents)
    said = f"{plain(title)} with {agents:,} agents: {_finding(found)}"
    caption = (
        f"Seconds {found.begin_s:g} to {found.end_s:g} of the run at the held point. Agents: the first {len(found.lanes)} of {agents:,}; "
        f"the levels are those of rank 0 of the first {found.role} worker, the watts that worker's per GPU, averaged over half-seconds."
    )
    return Drawing(name, said, draw(name, (WIDTH_IN, 5.4), lambda figure: _paint(figure, found), said), caption, csv_text(_frame(found)))


def _finding(found: Excerpt) -> str:
    shares = {phase: sum(e - b for lane in found.lanes for n, b, e in lane if phase_of(n) == phase) for phase in PHASES}
    whole = sum(shares.values()) or 1.0
    said = ", ".join(f"{100 * seconds / whole:.0f} % {phase}" for phase, seconds in shares.items() if seconds >= 0.005 * whole)
    batch, kv = found.batch.mean(), found.kv_percent.mean()
    return f"these agents spend {said}; a rank decodes {number(batch)} calls at once with {number(kv)} % of its KV pool in use"


def _paint(figure: Canvas, found: Excerpt) -> None:
    lanes, *levels = figure.subplots(4, 1, sharex=True, height_ratios=(2.6, 1, 1, 1))
    for place, lane in enumerate(found.lanes):
        for name, begin, end in lane:
            lanes.broken_barh([(begin, end - begin)], (place - 0.36, 0.72), color=PHASES.get(phase_of(name), INK), linewidth=0)
    lanes.set_yticks(range(len(found.lanes)), [f"agent {place + 1}" for place in range(len(found.lanes))])
    lanes.invert_yaxis()
    lanes.grid(axis="y", visible=False)
    lanes.tick_params(axis="y", length=0, labelcolor=INK)
    rows = (
        (found.batch, "calls decoding on the rank"),
        (found.kv_percent, "KV pool in use, %"),
        (found.watts_per_gpu, "accelerator watts per GPU"),
    )
    for axes, (values, words) in zip(levels, rows, strict=True):
        _level(axes, found, values, words)
    levels[1].set_ylim(0, 100)
    levels[-1].set_xlabel("seconds of the run")
    levels[-1].set_xlim(found.begin_s, found.end_s)
    legend(figure, PHASES)


def _level(axes: Axes, found: Excerpt, values: np.ndarray, words: str) -> None:
    axes.stairs(values, found.bins_s, fill=True, color=SYSTEMS[0], alpha=0.22)
    axes.stairs(values, found.bins_s, color=SYSTEMS[0], linewidth=1.0)
    axes.set_ylim(0, 1.15 * max(float(values.max()), 1.0))
    axes.set_title(words, fontsize=8.5, fontweight="normal")


def _frame(found: Excerpt) -> pd.DataFrame:
    levels = {"batch": found.batch, "kv_percent": found.kv_percent, "watts_per_gpu": found.watts_per_gpu}
    return pd.DataFrame({"begin_s": found.bins_s[:-1], "end_s": found.bins_s[1:], **levels})
