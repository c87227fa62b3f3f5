"""Rankings beside each other: one completion, peak throughput, agents per GPU and per MW, and what agents cost. Inputs are comparisons."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from simulator.capacity.cost import Cost
from simulator.capacity.demand import PRICES
from simulator.capacity.results import Comparison
from simulator.report.canvas import INK, WIDTH_IN, Drawing, colours, draw, legend, plain_log_axis
from simulator.report.export import csv_text
from simulator.report.phrases import by_tier, number, plain, systems, tier, times
from simulator.report.study_tables import contrast_sentences, cost_frame

RANKS = """Every column is one way of asking; a system's height is its value over the best in that column, on a logarithmic axis. Lines
that cross are rankings that turn."""
COSTS = """An agent's share of the GPUs used, at the prices of the system's profile and of the site. Dots on one line are one answer under
three prices; the axis is logarithmic."""


def rankings(comparison: Comparison) -> Drawing:
    """Each system over the best, in sprints and drive cycles."""
    columns = _columns(comparison)
    names = systems(comparison.answers)
    hue = colours(names)

    def paint(figure: Canvas) -> None:
        axes = figure.add_subplot()
        for name in names:
            path = [(place, column[name] / max(column.values())) for place, column in enumerate(columns.values()) if column.get(name)]
            axes.plot([x for x, _ in path], [y for _, y in path], "-", marker="o", markersize=5, color=hue[name])
        axes.set_yscale("log")
        shares = [value / max(column.values()) for column in columns.values() for value in column.values() if value]
        axes.set_ylim(min(shares) / 1.4, 1.25)
        plain_log_axis(axes.yaxis, min(shares) / 1.4, 1.25)
        axes.set_xticks(range(len(columns)), list(columns), fontsize=8.5)
        axes.set_xlim(-0.3, len(columns) - 0.2)
        axes.set_ylabel("over the best system")
        legend(figure, {plain(name): hue[name] for name in names})

    title = contrast_sentences(comparison.contrasts)[0]
    frame = pd.DataFrame(
        [{"question": name.replace("\n", " "), "system": s, "value": v} for name, c in columns.items() for s, v in c.items()]
    )
    return Drawing("rankings", title, draw("rankings", (WIDTH_IN, 4.0), paint, title), RANKS, csv_text(frame))


def _columns(comparison: Comparison) -> dict[str, dict[str, float]]:
    """Question -> system -> value; of several deployments the best."""
    columns = {
        "one completion\nalone, tok/s": {s.system: s.single_speed_tok_s for s in comparison.sprints},
        "peak tok/s\nper GPU": {s.system: s.peak_output_tok_s_per_gpu for s in comparison.sprints},
    }
    for name, group in by_tier(comparison.answers).items():
        for words, key in (
            ("agents\nper GPU", "gpu"),
            ("agents per MW,\naccelerator", "accelerator"),
            ("agents per MW,\nfacility", "facility"),
        ):
            column: dict[str, float] = {}
            for a in group:
                value = a.agents_per_gpu if key == "gpu" else getattr(a.agents_per_mw, key)
                column[a.system] = max(column.get(a.system, 0.0), value)
            if any(column.values()):
                columns[f"{words}\n{name}"] = column
    return columns


def cost_drawing(costs: Sequence[Cost]) -> Drawing:
    """USD per agent-hour by each price."""
    marks = dict(zip(PRICES, ("o", "s", "^"), strict=True))
    hue = colours(list(dict.fromkeys(cost.system for cost in costs)))

    def paint(figure: Canvas) -> None:
        axes = figure.add_subplot()
        known = [usd for cost in costs for usd in cost.usd_per_agent_hour.values() if usd > 0]
        for place, cost in enumerate(costs):
            _dots(axes, place, cost, marks, hue[cost.system])
        axes.set_yticks(range(len(costs)), [f"{plain(c.system)}\n{tier(c.slo)}" for c in costs], fontsize=8)
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.set_xlim(min(known) / 1.6, max(known) * 1.6)
        plain_log_axis(axes.xaxis, min(known) / 1.6, max(known) * 1.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("USD per agent-hour (circle: owning, square: renting, triangle: buying)")

    title = _cost_finding(costs)
    return Drawing("cost", title, draw("cost", (WIDTH_IN, 1.1 + 0.45 * len(costs)), paint, title), COSTS, csv_text(cost_frame(costs)))


def _dots(axes: Axes, place: int, cost: Cost, marks: dict[str, str], colour: str) -> None:
    values = [(price, usd) for price, usd in cost.usd_per_agent_hour.items() if usd > 0]
    if values:
        axes.plot([min(u for _, u in values), max(u for _, u in values)], [place, place], color=colour, linewidth=1.0)
    for price, usd in values:
        axes.plot(usd, place, marks[price], color=colour, markersize=7)
        axes.annotate(number(usd), (usd, place), (0, 7), textcoords="offset points", ha="center", fontsize=7.5, color=INK)


def _cost_finding(costs: Sequence[Cost]) -> str:
    said = []
    for name in dict.fromkeys(tier(cost.slo) for cost in costs):
        ranked = sorted(
            (c for c in costs if tier(c.slo) == name and c.usd_per_agent_hour["own"] > 0), key=lambda c: c.usd_per_agent_hour["own"]
        )
        if ranked:
            own = ranked[0].usd_per_agent_hour["own"]
            next_best = next((c for c in ranked if c.system != ranked[0].system), None)
            more = f", {times(next_best.usd_per_agent_hour['own'] / own)} that on {plain(next_best.system)}" if next_best else ""
            said.append(f"At {name} an agent-hour costs {number(own)} USD by owning on {plain(ranked[0].system)}{more}")
    return ". ".join(said) or "No system has a price"
