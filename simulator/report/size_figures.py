"""The figures of a purchase: power and money of every plan against the limits. Inputs are answers of `size`."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from simulator.capacity.demand import PRICES
from simulator.capacity.plan import Plan, bases
from simulator.capacity.size import SizeAnswer
from simulator.report.canvas import BAD, INK, MUTED, SURFACE, WIDTH_IN, Drawing, colours, draw
from simulator.report.export import csv_text
from simulator.report.phrases import number, plain
from simulator.report.size_tables import PRICE_WORDS, size_sentences

CAPTION = """Every plan serves the same demand; a hollow dot breaks a limit. The red line is the limit on this quantity, where there is one.
Axes are logarithmic."""


def size_drawings(found: SizeAnswer) -> list[Drawing]:
    """One figure; none without plans."""
    return [purchase(found)] if found.plans else []


def purchase(found: SizeAnswer) -> Drawing:
    """Megawatts on the limit's basis, money by the price asked for, and racks or nodes, a dot for each plan."""
    own, price = found.demand.limits, found.demand.price
    hue = colours(list(dict.fromkeys(plan.answer.system for plan in found.plans)))
    panels = (
        (f"MW, {own.power_basis}", [getattr(p.bill.power_mw, own.power_basis) for p in found.plans], own.power_mw),
        (f"USD per hour, {PRICE_WORDS[price]}", [p.bill.usd_per_hour[price] for p in found.plans], own.usd_per_hour),
        ("racks or nodes", [float(p.bill.systems) for p in found.plans], own.systems),
    )

    def paint(figure: Canvas) -> None:
        all_axes = figure.subplots(1, len(panels), sharey=True)
        for axes, (name, values, limit) in zip(all_axes, panels, strict=True):
            _dots(axes, found.plans, values, limit, hue, whole=name == "racks or nodes")
            axes.set_xlabel(name)
        all_axes[0].set_yticks(range(len(found.plans)), [_name(plan) for plan in found.plans], fontsize=8)
        all_axes[0].set_ylim(len(found.plans) - 0.4, -0.6)

    title = size_sentences(found)[0]
    svg = draw("purchase", (WIDTH_IN, 1.2 + 0.42 * len(found.plans)), paint, title)
    return Drawing("purchase", "What each purchase takes", svg, CAPTION, csv_text(plans_frame(found.plans)))


def _name(plan: Plan) -> str:
    return plain(plan.answer.deployment)


def _dots(axes: Axes, plans: Sequence[Plan], values: list[float], limit: float | None, hue: dict[str, str], whole: bool) -> None:
    known = [value for value in [*values, limit or 0.0] if value > 0]
    low, high = min(known, default=1.0) / 3, max(known, default=1.0) * 4
    for place, (plan, value) in enumerate(zip(plans, values, strict=True)):
        if value > 0:
            colour = hue[plan.answer.system]
            axes.plot([low, value], [place, place], color=colour, linewidth=1.0)
            axes.plot([value], [place], "o", color=colour, markersize=8, markerfacecolor=colour if plan.fits else SURFACE)
            said = f"{value:,.0f}" if whole else number(value)
            axes.annotate(said, (value, place), (7, 0), textcoords="offset points", va="center", fontsize=8, color=INK)
        else:
            axes.annotate("no price", (low, place), (4, 0), textcoords="offset points", va="center", fontsize=8, color=MUTED)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    decades = [10.0**e for e in range(-3, 9) if low <= 10.0**e <= high]
    axes.set_xticks(decades, [f"{tick:,g}" for tick in decades])
    axes.set_xticks([], minor=True)
    axes.grid(axis="y", visible=False)
    if limit is not None:
        axes.axvline(limit, color=BAD, linewidth=1.4)
        axes.annotate("limit", (limit, 1.0), (3, 2), xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=8, color=BAD)


def plans_frame(plans: Sequence[Plan]) -> pd.DataFrame:
    """One row for each plan: what is bought, its power on each basis and its cost by each price."""
    return pd.DataFrame(
        [
            {"system": p.answer.system, "deployment": p.answer.deployment, "fits": p.fits, "exceeded": " ".join(p.exceeded)}
            | {"agents": p.agents, "agents_held": p.agents_held, "agents_per_instance": p.answer.agents_held, "needed": p.needed}
            | {key: getattr(p.bill, key) for key in ("instances", "systems", "gpus", "gpus_used")}
            | {f"power_mw_{basis}": value for basis, value in bases(p.bill.power_mw).items()}
            | {"capital_usd": p.bill.capital_usd}
            | {f"usd_per_hour_{price}": p.bill.usd_per_hour[price] for price in PRICES}
            | {"usd_per_agent_hour": p.usd_per_agent_hour, "usd_per_trajectory": p.usd_per_trajectory}
            | {"most_instances": p.most_instances, "most_agents": p.most_agents, "binds": p.binds}
            | {"quality": p.answer.quality, "price_quality": p.price_quality}
            for p in plans
        ],
        dtype=object,
    )


def growth_frame(plans: Sequence[Plan]) -> pd.DataFrame:
    """One row for each year of each plan."""
    return pd.DataFrame(
        [
            {"system": p.answer.system, "deployment": p.answer.deployment, "year": year, "agents": agents, "systems": bill.systems}
            | {f"power_mw_{basis}": value for basis, value in bases(bill.power_mw).items()}
            | {"capital_usd": bill.capital_usd}
            | {f"usd_per_hour_{price}": bill.usd_per_hour[price] for price in PRICES}
            for p in plans
            for year, agents, bill in p.growth
        ]
    )
