"""The figures of the studies that seek many edges: frontier, workload and power cap. Inputs are their points."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from simulator.capacity.study import StudyPoint
from simulator.report.canvas import INK, MUTED, WIDTH_IN, Drawing, colours, draw, legend, plain_log_axis
from simulator.report.export import csv_text
from simulator.report.phrases import number, plain, tier, times
from simulator.report.study_tables import AXES, over, points_frame_of

FRONTIER = """Each point is a search of its own: the most agents of which each is promised so many tokens per second (P25 of the output
speed), with the same ceiling on TTFT. A line ends where not one agent holds. Deployments of one system share its colour."""
WORKLOAD = """Agents per MW of accelerator power over those of the load as it is, with one property of the load moved at a time. The
vertical axis is logarithmic; at 1 nothing changes."""
CAP = """Each GPU's power is capped at a share of its TDP, which slows the arithmetic of steps that want more; how much is assumed. The ring
marks the cap with the most."""

Line = tuple[str, str]
"""System and what tells its lines apart."""


def frontier(points: Sequence[StudyPoint]) -> Drawing:
    """Agents per MW against tok/s per agent, on the accelerator and the facility basis."""
    lines = _lines(points, lambda p: (p.system, p.deployment))

    def paint(figure: Canvas) -> None:
        hue = colours(list(dict.fromkeys(p.system for p in points)))
        for axes, basis in zip(figure.subplots(1, 2), ("accelerator", "facility"), strict=True):
            for number_of_line, ((system, _), line) in enumerate(lines.items()):
                _line(axes, [(p.value, p.per_mw(basis)) for p in line if p.agents], hue[system], _dash(lines, number_of_line))
            axes.set_xscale("log")
            axes.set_yscale("log")
            plain_log_axis(axes.xaxis, *_ends([p.value for p in points]))
            _plain_y(axes, [p.per_mw(basis) for p in points if p.agents])
            axes.set_xlabel("tok/s promised to each agent")
            axes.set_ylabel(f"agents per MW, {basis}")
        legend(figure, {plain(system): hue[system] for system in hue})

    title = _frontier_finding(points)
    svg = draw("frontier", (WIDTH_IN, 4.2), paint, title)
    return Drawing("frontier", title, svg, FRONTIER, csv_text(points_frame_of(points)))


def _frontier_finding(points: Sequence[StudyPoint]) -> str:
    """Where the best system changes along the frontier, or that it never does."""
    best: list[tuple[float, str]] = []
    for speed in sorted({p.value for p in points}):
        held = [p for p in points if p.value == speed and p.agents]
        if held:
            best.append((speed, max(held, key=lambda p: p.per_mw("accelerator")).system))
    if not best:
        return "Nobody is held at any of these speeds."
    turns = [(speed, system) for place, (speed, system) in enumerate(best) if place and best[place - 1][1] != system]
    start = f"Of these deployments, that of {plain(best[0][1])} holds the most agents per MW "
    if not turns:
        return f"{start}at every speed from {best[0][0]:g} to {best[-1][0]:g} tok/s per agent"
    return (
        start + f"from {best[0][0]:g} tok/s per agent, " + ", ".join(f"that of {plain(system)} from {speed:g}" for speed, system in turns)
    )


def workload(points: Sequence[StudyPoint]) -> Drawing:
    """How agents per MW follow context, reuse and tool time."""
    bases = {(p.system, p.deployment, tier(p.slo)): p for p in points if p.axis == "as it is"}
    axes_named = [axis for axis in AXES if any(p.axis == axis for p in points) and axis != "as it is"]
    moved = [p for p in points if p.axis != "as it is" and bases[p.system, p.deployment, tier(p.slo)].agents]
    hue = colours(list(dict.fromkeys(p.system for p in points)))

    def paint(figure: Canvas) -> None:
        panels = figure.subplots(1, max(1, len(axes_named)), sharey=True, squeeze=False)[0]
        for axes, axis in zip(panels, axes_named, strict=False):
            for key, base in bases.items():
                line = [
                    (p.value, over(p, base)) for p in moved if (p.system, p.deployment, tier(p.slo)) == key and p.axis == axis and p.agents
                ]
                _line(axes, sorted([*line, (1.0, 1.0)]), hue[key[0]], "-")
            values = [p.value for p in moved if p.axis == axis] + [1.0]
            axes.set_xscale("log")
            axes.set_yscale("log")
            plain_log_axis(axes.xaxis, min(values) / 1.1, max(values) * 1.1)
            axes.set_xticks(sorted(set(values)), [f"{value:g}x" for value in sorted(set(values))])
            axes.axhline(1.0, color=MUTED, linewidth=0.8)
            axes.set_xlabel(AXES[axis])
        _plain_y(panels[0], [over(p, bases[p.system, p.deployment, tier(p.slo)]) for p in moved if p.agents] + [1.0])
        panels[0].set_ylabel("agents per MW over the load as it is")
        legend(figure, {plain(system): hue[system] for system in hue})

    title = _workload_finding(moved, bases)
    svg = draw("workload", (WIDTH_IN, 3.8), paint, title)
    return Drawing("workload", title, svg, WORKLOAD, csv_text(points_frame_of(points)))


def _workload_finding(moved: Sequence[StudyPoint], bases: dict[tuple[str, str, str], StudyPoint]) -> str:
    """Which property moves each system most."""
    said = []
    for key, base in bases.items():
        own = [(over(p, base), p) for p in moved if (p.system, p.deployment, tier(p.slo)) == key]
        if own:
            ratio, p = max(own, key=lambda pair: max(pair[0], 1 / pair[0]) if pair[0] else float("inf"))
            said.append(f"{plain(p.system)} at {tier(p.slo)} most by {AXES[p.axis]} x {p.value:g} ({times(ratio)})")
    return f"What the load moves: {'; '.join(said)}" if said else "No property of the load could be moved"


def power_cap(points: Sequence[StudyPoint]) -> Drawing:
    """Agents held and agents per MW under a cap."""
    lines = _lines(points, lambda p: (p.system, f"{p.deployment} {tier(p.slo)}"))
    hue = colours(list(dict.fromkeys(p.system for p in points)))

    def paint(figure: Canvas) -> None:
        panels = figure.subplots(1, 3)
        for axes, (name, value) in zip(panels, _CAP_PANELS, strict=True):
            for line in lines.values():
                whole = next((p for p in line if p.value == 1 and p.agents), None)
                if whole is None:
                    continue
                path = [(100 * p.value, value(p) / value(whole)) for p in line]
                _line(axes, path, hue[whole.system], "-")
                best = max(path, key=lambda pair: pair[1])
                axes.plot(*best, "o", markersize=9, markerfacecolor="none", color=hue[whole.system])
            axes.axhline(1.0, color=MUTED, linewidth=0.8)
            axes.set_xlabel("cap, % of TDP (100: none)")
            axes.set_ylabel(f"{name}, over no cap")
            axes.set_ylim(0, 1.12 * max(axes.dataLim.y1, 1.0))
        legend(figure, {plain(system): hue[system] for system in hue})

    title = _cap_finding(lines)
    svg = draw("power-cap", (WIDTH_IN, 3.6), paint, title)
    return Drawing("power-cap", title, svg, CAP, csv_text(points_frame_of(points)))


_CAP_PANELS: tuple[tuple[str, Callable[[StudyPoint], float]], ...] = (
    ("agents held", lambda p: float(p.agents)),
    ("agents per MW, accelerator", lambda p: p.per_mw("accelerator")),
    ("agents per MW, facility", lambda p: p.per_mw("facility")),
)


def _cap_finding(lines: dict[Line, list[StudyPoint]]) -> str:
    said = []
    for line in lines.values():
        whole = next((p for p in line if p.value == 1 and p.agents), None)
        if whole:
            best = max(line, key=lambda p: p.per_mw("facility"))
            gain = best.per_mw("facility") / whole.per_mw("facility")
            what = (
                "no cap helps"
                if best is whole or gain < 1.01
                else f"a cap at {best.value:.0%} of the TDP gives {times(gain)} ({number(best.agents)} agents)"
            )
            said.append(f"{plain(whole.system)} at {tier(whole.slo)}: {what}")
    return "Agents per MW at the meter under a cap. " + "; ".join(said) if said else "Nobody is held without a cap"


def _lines(points: Sequence[StudyPoint], key: Callable[[StudyPoint], Line]) -> dict[Line, list[StudyPoint]]:
    found: dict[Line, list[StudyPoint]] = {}
    for point in points:
        found.setdefault(key(point), []).append(point)
    return {name: sorted(line, key=lambda p: p.value) for name, line in found.items()}


def _dash(lines: dict[Line, list[StudyPoint]], place: int) -> str:
    """The first deployment of a system is drawn whole, the others dashed and dotted."""
    system = list(lines)[place][0]
    nth = [name for name, _ in list(lines)[:place]].count(system)
    return ("-", "--", ":", "-.")[nth % 4]


def _line(axes: Axes, path: Sequence[tuple[float, float]], colour: str, style: str) -> None:
    if path:
        axes.plot([x for x, _ in path], [y for _, y in path], style, marker="o", markersize=3.5, color=colour)


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values) / 1.1, max(values) * 1.1


def _plain_y(axes: Axes, values: Sequence[float]) -> None:
    known = [value for value in values if value > 0] or [1.0]
    axes.set_ylim(min(known) / 1.4, max(known) * 1.4)
    plain_log_axis(axes.yaxis, min(known) / 1.4, max(known) * 1.4)
    axes.tick_params(axis="y", labelcolor=INK)
