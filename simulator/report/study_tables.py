"""Tables of the studies beside a comparison: frontier, workload, power cap, limits, sprint and cost. Inputs are comparisons."""

from collections.abc import Sequence

import pandas as pd

from simulator.capacity.contrast import Contrast
from simulator.capacity.cost import Cost
from simulator.capacity.demand import PRICES
from simulator.capacity.results import Answer, Comparison, PowerBases
from simulator.capacity.study import StudyPoint
from simulator.report.phrases import BASES, number, percent, plain, tier, times, words
from simulator.report.tables import Sheet

AXES = {
    "as it is": "the load as it is",
    "prompt_scale": "context",
    "kept_scale": "reuse",
    "tool_delay_scale": "tool time",
    "speed_tok_s": "tok/s",
    "cap_share": "cap",
}
"""Axes of the studies as people say them."""


def study_sheets(comparison: Comparison) -> list[Sheet]:
    """Every table that was asked for, for a terminal."""
    named = {name: [p for p in comparison.studies if p.study == name] for name in ("frontier", "workload", "power_cap")}
    sheets = [frontier_sheet(named["frontier"])] if named["frontier"] else []
    sheets += [workload_sheet(named["workload"])] if named["workload"] else []
    sheets += [cap_sheet(named["power_cap"])] if named["power_cap"] else []
    sheets += attribution_sheets(comparison.answers)
    sheets += [contrast_sheet(comparison.contrasts)] if comparison.contrasts else []
    return sheets + ([cost_sheet(comparison.costs)] if comparison.costs else [])


def frontier_sheet(points: Sequence[StudyPoint]) -> Sheet:
    """Agents held and per MW by the speed that each agent is promised, a column for each deployment."""
    machines = list(dict.fromkeys((p.system, p.deployment) for p in points))
    found = {(p.value, p.deployment, p.system): p for p in points}
    speeds = sorted({p.value for p in points})
    rows = tuple((f"{speed:g}", *(_held(found.get((speed, name, system))) for system, name in machines)) for speed in speeds)
    ceiling = points[0].slo.get("ttft_s", float("nan"))
    columns = ("tok/s per\nagent", *(f"{plain(system)}\n{plain(name)}" for system, name in machines))
    note = f"agents per MW of accelerator power (agents held), and what limits; TTFT at most {ceiling:g} s throughout; one seed"
    return Sheet("Frontier: agents per MW against tok/s per agent", columns, rows, "r" * len(columns), note)


def _held(point: StudyPoint | None) -> str:
    if point is None or not point.agents:
        return "nobody"
    return f"{number(point.per_mw('accelerator'))} ({point.agents:,})\n{words(point.limiter)}"


def workload_sheet(points: Sequence[StudyPoint]) -> Sheet:
    """What another load would make of every answer: agents per MW over those of the load as it is."""
    bases = {_cell(p): p for p in points if p.axis == "as it is"}
    rows = tuple(
        (
            tier(p.slo),
            plain(p.system),
            AXES[p.axis],
            "–" if p.axis == "as it is" else f"{p.value:g}",
            f"{p.agents:,}",
            number(p.per_mw("accelerator")),
            times(ratio) if (ratio := over(p, bases[_cell(p)])) == ratio else "–",
            percent(p.cache_hit),
            words(p.limiter),
        )
        for p in points
    )
    columns = ("SLO", "system", "moved", "factor", "agents\nheld", "per MW,\naccelerator", "of as\nit is", "cache\nhit", "limited by")
    note = "one property of the load at a time: tokens of prompts, what prompts repeat of the ones before, tool delays; one seed"
    return Sheet("Workload: what another load would hold", columns, rows, "lllrrrrrl", note)


def _cell(point: StudyPoint) -> tuple[str, str, str]:
    return point.system, point.deployment, tier(point.slo)


def over(point: StudyPoint, base: StudyPoint, basis: str = "accelerator") -> float:
    """Agents per MW over those of another point; nan where that holds nobody."""
    return point.per_mw(basis) / base.per_mw(basis) if base.agents else float("nan")


def cap_sheet(points: Sequence[StudyPoint]) -> Sheet:
    """Agents held and per MW under power caps."""
    rows = tuple(
        (
            tier(p.slo),
            plain(p.system),
            "none" if p.value == 1 else percent(p.value),
            f"{p.agents:,}",
            number(p.watts_per_gpu.accelerator) if p.watts_per_gpu else "–",
            number(p.per_mw("accelerator")),
            number(p.per_mw("facility")),
            words(p.limiter),
        )
        for p in points
    )
    columns = ("SLO", "system", "cap, of\nTDP", "agents\nheld", "W/GPU", "per MW,\naccelerator", "per MW,\nfacility", "limited by")
    note = "how much a cap slows steps is assumed (docs/power.md); one seed"
    return Sheet("Power cap: what lower clocks hold", columns, rows, "llrrrrrl", note)


def attribution_sheets(answers: Sequence[Answer]) -> list[Sheet]:
    """For each answer what more and less of every resource would hold."""
    return [attribution_sheet(answer) for answer in answers if answer.attribution]


def attribution_sheet(answer: Answer) -> Sheet:
    """One answer's resources, those that give most first."""
    found = answer.attribution
    assert found is not None
    rows = tuple(
        (plain(gain.words), *(cell for agents in (gain.more, gain.less) for cell in (number(agents), signed(agents / found.agents - 1))))
        for gain in found.gains
    )
    by = f"{found.reach:.0%}"
    columns = ("resource", f"agents with\n{by} more", "change", f"agents with\n{by} less", "change")
    note = f"{plain(found.sentence)} One resource at a time, the same load and seed; changes below {percent(found.noise)} tell nothing"
    return Sheet(f"What limits {plain(answer.system)} at {tier(answer.slo)}", columns, rows, "lrrrr", note)


def signed(share: float) -> str:
    """A change with its sign: +4.1 %; ``0`` for one that rounds to nothing."""
    return "0" if abs(share) < 0.0005 else f"{100 * share:+.1f} %"


def contrast_sheet(contrasts: Sequence[Contrast]) -> Sheet:
    """Why two systems lie further apart, or the other way round, per MW than in a sprint."""
    rows = tuple(
        (
            tier(c.slo),
            f"{plain(c.system)} / {plain(c.other)}",
            times(c.peak),
            times(c.held_of_peak),
            times(c.watts),
            times(c.agents_per_mw),
            "yes" if c.turns else "no",
            f"{words(c.limiter)}, {percent(c.cache_hit)}",
            f"{words(c.other_limiter)}, {percent(c.other_cache_hit)}",
        )
        for c in contrasts
    )
    columns = (
        "SLO", "systems", "peak\ntok/s/GPU", "x agents held\nper peak tok/s", "x watts\nsaved", "= agents\nper MW", "ranking\nturns",
        "first: limited by,\ncache hit", "other: limited by,\ncache hit",
    )  # fmt: skip
    note = "the sprint's peak, times the agents that the SLO leaves of it, times what watts save, is the ratio in agents/MW (accelerator)"
    return Sheet("Sprint against drive cycle: why the rankings differ", columns, rows, "llrrrrlll", note)


FAR = 1.5
"""Factor between two ways of asking from which their distance is worth a sentence."""


def contrast_sentences(contrasts: Sequence[Contrast]) -> list[str]:
    """For every pair that turns, or lies much further apart than the sprint says, in words."""
    said = [_contrast(c) for c in contrasts if c.turns or max(c.agents_per_mw / c.peak, c.peak / c.agents_per_mw) > FAR]
    return said or ["Peak throughput and agents per MW rank these systems alike, and by and large at the same distances."]


def _contrast(c: Contrast) -> str:
    one, other = plain(c.system), plain(c.other)
    by = f"{times(c.held_of_peak)} the agents per token/s of its peak, and {times(c.watts)} from the watts"
    ends = f"{other} is limited by {words(c.other_limiter)} there, {one} by {words(c.limiter)}; a sprint reuses nothing."
    if c.turns:
        ahead = f"peak tok/s per GPU puts {other} ahead ({times(1 / c.peak)}), agents per MW {one} ({times(c.agents_per_mw)})"
        return f"At {tier(c.slo)} the ranking turns: {ahead}, by {by}. {ends}"
    far = f"{times(c.peak)} in peak tok/s per GPU is {times(c.agents_per_mw)} in agents per MW"
    return f"At {tier(c.slo)}, {one} over {other}: {far}, by {by}. {ends}"


def cost_sheet(costs: Sequence[Cost]) -> Sheet:
    """Money for each answer by each price."""
    rows = tuple(
        (
            tier(c.slo),
            plain(c.system),
            *(number(c.usd_per_gpu_hour[p]) for p in PRICES),
            *(number(c.usd_per_agent_hour[p]) for p in PRICES),
            number(c.usd_per_trajectory["own"]),
            number(c.capital_usd_per_agent),
            ", ".join(dict.fromkeys(c.quality.values())),
        )
        for c in costs
    )
    columns = (
        "SLO", "system", "USD/GPU-h,\nown", "\nrent", "\nbuy", "USD/agent-h,\nown", "\nrent", "\nbuy", "USD per\ntrajectory, own",
        "capital per\nagent, USD",         "quality of\nthe prices",
    )  # fmt: skip
    note = "by the GPUs used; own, rent: the profile's rates; buy: capital written off and electricity. Whole racks: `agentwatt size`"
    return Sheet("Cost", columns, rows, "llrrrrrrrrl", note)


def points_frame_of(points: Sequence[StudyPoint]) -> pd.DataFrame:
    """One row for each point of the studies."""

    def watts(found: PowerBases | None) -> dict[str, float]:
        return {f"watts_per_gpu_{basis}": getattr(found, basis) if found else float("nan") for basis in BASES}

    return pd.DataFrame(
        [
            {"study": p.study, "axis": p.axis, "value": p.value, "system": p.system, "deployment": p.deployment, "slo": tier(p.slo)}
            | {
                "gpus": p.gpus,
                "agents": p.agents,
                **{f"agents_per_mw_{basis}": p.per_mw(basis) for basis in BASES},
                **watts(p.watts_per_gpu),
            }
            | {"cache_hit": p.cache_hit, "limiter": p.limiter, "binding": p.binding, "quality": p.quality}
            for p in points
        ]
    )


def attribution_frame(answers: Sequence[Answer]) -> pd.DataFrame:
    """One row for each resource of each answer."""
    return pd.DataFrame(
        [
            {"system": a.system, "deployment": a.deployment, "slo": tier(a.slo), "resource": g.resource, "reach": a.attribution.reach}
            | {"agents": a.attribution.agents, "agents_with_more": g.more, "agents_with_less": g.less}
            for a in answers
            if a.attribution
            for g in a.attribution.gains
        ]
    )


def contrast_frame(contrasts: Sequence[Contrast]) -> pd.DataFrame:
    """One row for each pair of systems."""
    return pd.DataFrame([{**vars(c), "slo": tier(c.slo)} for c in contrasts])


def cost_frame(costs: Sequence[Cost]) -> pd.DataFrame:
    """One row for each answer."""
    keys = ("usd_per_gpu_hour", "usd_per_agent_hour", "usd_per_trajectory", "quality")
    return pd.DataFrame(
        [
            {"system": c.system, "deployment": c.deployment, "slo": tier(c.slo), "capital_usd_per_agent": c.capital_usd_per_agent}
            | {f"{key}_{price}": getattr(c, key)[price] for key in keys for price in PRICES}
            for c in costs
        ]
    )
