"""The figure of the stages in which a call's time passes, before and after its first token. Inputs are answers and operating points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Patch
from numpy.typing import NDArray

from simulator.capacity.results import Answer, Summary
from simulator.report.canvas import INK, MUTED, STAGES, SURFACE, WIDTH_IN, Drawing, draw, text_on
from simulator.report.phrases import number, plain, tier, words

STAGE_BARS = """By the stage in which the time passes. Left: seconds from send to first token; the upright stroke is the SLO's ceiling.
Right: the time from first token to last, which makes the output speed. The upper bar of each pair is the mean over all calls of the steady
window, the lower one that of the calls around the percentile that the SLO judges (within 2.5 points), of the TTFT and of the speed."""

LEAST_LABEL = 0.08
"""Share of a panel's width from which a part carries its number."""


@dataclass(frozen=True)
class Bar:
    """A pair of bars side by side: its label, seconds by stage before and after the first token, and the SLO's ceiling (nan for none)."""

    label: str
    before_s: Mapping[str, float]
    after_s: Mapping[str, float]
    ceiling_s: float = float("nan")


def answer_stages(answers: Sequence[Answer]) -> Drawing | None:
    """The stages at each answer's held and first broken count; None unless some calls move between pools."""
    points = [(answer, name, point) for answer in answers for name, point in (("held", answer.held), ("broken", answer.broken)) if point]
    if not any(point.disaggregated for _, _, point in points):
        return None
    bars = [bar for answer, name, point in points for bar in _bars(point, f"{plain(answer.system)}, {tier(answer.slo)}", name)]
    edges = [(answer, answer.broken or answer.held) for answer in answers]
    return _drawing(bars, [f"{tier(a.slo)}: {_lead(point)}" for a, point in edges if point and point.disaggregated])


def run_stages(summary: Summary) -> Drawing | None:
    """The same of one operating point."""
    return _drawing(_bars(summary, plain(summary.system), "agents"), [_lead(summary)]) if summary.disaggregated else None


def _bars(point: Summary, where: str, name: str) -> list[Bar]:
    ttft, speed = point.slo.get("ttft_percentile", 95), point.slo.get("speed_percentile", 25)
    ceiling = point.slo.get("ttft_s") or float("nan")
    return [
        Bar(f"{where}\n{point.agents:,} {name}: mean", point.ttft_stages_s["mean"], point.speed_stages_s["mean"]),
        Bar(f"P{ttft:g} TTFT, P{speed:g} speed", point.ttft_stages_s["tail"], point.speed_stages_s["tail"], ceiling),
    ]


def _lead(point: Summary) -> str:
    """Where the calls lose most, on the side of the first token that the binding clause judges."""
    before = point.binding == "ttft"
    spent = (point.ttft_stages_s if before else point.speed_stages_s)["tail"]
    whole, slo = sum(spent.values()), point.slo
    lost = {stage: seconds for stage, seconds in spent.items() if stage != "decode" and seconds >= 0.01 * whole} or spent
    stage = max(lost, key=lambda s: lost[s])
    at = f"at {point.agents:,} agents {words(stage)} takes"
    if before:
        return f"{at} {number(spent[stage])} of the {number(whole)} s of a P{slo.get('ttft_percentile', 95):g} TTFT"
    return f"{at} {100 * spent[stage] / whole:.0f} % of a call's time after its first token at P{slo.get('speed_percentile', 25):g} speed"


def _drawing(bars: Sequence[Bar], leads: Sequence[str]) -> Drawing:
    title = "; ".join(leads)
    title = title[:1].upper() + title[1:]
    places = np.array([-i - 0.35 * (i // 2) for i in range(len(bars))], dtype=np.float64)

    def paint(figure: Canvas) -> None:
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.35, 1))
        ceilings = [bar.ceiling_s for bar in bars if bar.ceiling_s == bar.ceiling_s]
        width = 1.12 * max(0.0, *(sum(bar.before_s.values()) for bar in bars), *ceilings)
        ends = _stack(left, places, [bar.before_s for bar in bars], width)
        for place, end, bar in zip(places, ends, bars, strict=True):
            left.annotate(f"{number(end)} s", (end, place), (4, 0), textcoords="offset points", va="center", fontsize=8.5, color=MUTED)
            left.plot([bar.ceiling_s] * 2, [place - 0.46, place + 0.46], color=INK, linewidth=1.4)
        whole = [sum(bar.after_s.values()) or 1.0 for bar in bars]
        _stack(right, places, [{k: 100 * v / total for k, v in bar.after_s.items()} for bar, total in zip(bars, whole, strict=True)], 100.0)
        left.set_yticks(places, [bar.label for bar in bars])
        left.set_ylim(places[-1] - 0.6, places[0] + 0.6)
        _panel(left, "send to first token", "seconds", [bar.before_s for bar in bars])
        _panel(right, "first token to last", "share of the time (%)", [bar.after_s for bar in bars])

    svg = draw("stages", (WIDTH_IN, 1.35 + 0.36 * len(bars)), paint, title)
    return Drawing("stages", title, svg, STAGE_BARS)


def _stack(axes: Axes, places: NDArray[np.float64], spent: Sequence[Mapping[str, float]], width: float) -> NDArray[np.float64]:
    """Stacked bars by stage on an axis of this width; returns where they end."""
    edge = np.zeros(len(spent))
    for key, colour in STAGES.items():
        sizes = np.array([of.get(key, 0.0) for of in spent])
        axes.barh(places, sizes, left=edge, height=0.78, color=colour, edgecolor=SURFACE, linewidth=0.8)
        for place, start, size in zip(places, edge, sizes, strict=True):
            if size >= LEAST_LABEL * width:
                axes.annotate(number(size), (start + size / 2, place), ha="center", va="center", fontsize=8.5, color=text_on(colour))
        edge = edge + sizes
    axes.set_xlim(0, width)
    return edge


def _panel(axes: Axes, title: str, unit: str, spent: Sequence[Mapping[str, float]]) -> None:
    """Title, unit, and the names of the stages that take a visible part."""
    shown = [key for key in STAGES if any(of.get(key, 0.0) >= 0.002 * (sum(of.values()) or 1.0) for of in spent)]
    handles: list[Any] = [Patch(color=STAGES[key], label=words(key)) for key in shown]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.01, 0.98), ncols=len(handles), fontsize=8.0, handlelength=0.8,
                handleheight=0.8, columnspacing=0.65, handletextpad=0.35, borderpad=0)  # fmt: skip
    axes.set_title(title, pad=20)
    axes.set_xlabel(unit)
    axes.tick_params(axis="y", length=0, labelsize=8.5, labelcolor=INK)
    axes.grid(axis="y", visible=False)
