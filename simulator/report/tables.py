"""Tables of answers as plain text, drawn by the terminal (Rich) and the HTML report. Inputs are `simulator.capacity.results`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.capacity.results import Answer, Comparison, Energy, PoolSummary, Summary
from simulator.report.phrases import BASES, by_tier, limited_by, number, percent, plain, span, systems, tier, times, words

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Sheet:
    """A table as text; ``align`` has one letter a column: ``l`` for words (flush left), ``r`` for numbers (flush right)."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str
    note: str = ""


def answers_sheet(answers: Sequence[Answer]) -> Sheet:
    """Agents held by each system at each SLO, what limits it, its badge and the worst quality of the numbers beneath."""
    kinds = "; ".join(dict.fromkeys(plain(a.interval_kind) for a in answers))
    rows = tuple(
        (
            tier(a.slo),
            plain(a.system),
            f"{a.agents_held:,}",
            f"{a.interval[0]:,}–{a.interval[1]:,}",
            f"{a.gpus}",
            number(a.agents_per_gpu),
            percent(a.cache_hit),
            percent(a.goodput_agents / a.agents_held) if a.agents_held else "–",
            limited_by(a.limiter, a.binding_pool, _pools(a)),
            words(a.binding),
            f"{plain(a.badge)},\n{plain(a.quality)}" if a.badge else plain(a.quality),
        )
        for group in by_tier(answers).values()
        for a in group
    )
    columns = (
        "SLO", "system", "agents\nheld", "interval", "GPUs", "agents\n/GPU", "cache\nhit",
        "goodput\nagents", "limited by", "breaks\nfirst", "badge,\nquality",
    )  # fmt: skip
    note = f"interval: {kinds}; goodput agents: the share of the held agents that meet the SLO each for itself"
    busy = [(a, a.held) for a in answers if a.held and a.held.threads > 1]
    if busy:
        counts = ", ".join(f"{number(held.calls_in_flight)} for {a.agents_held:,} ({plain(a.system)})" for a, held in busy)
        note += f"; agents have sub-agents: calls in flight on average at the held count {counts}"
    return Sheet("Agents held", columns, rows, "llrrrrrrlll", note)


def _pools(answer: Answer) -> Sequence[PoolSummary]:
    """The pools at the point that names the limiter."""
    point = answer.broken or answer.held
    return point.pools if point else ()


def power_sheet(answers: Sequence[Answer]) -> Sheet:
    """Agents per MW on the four power bases, the accelerator basis with its interval, and watts per GPU."""
    rows = tuple(
        (
            tier(a.slo),
            plain(a.system),
            number(a.accelerator_w_per_gpu),
            number(a.agents_per_mw.accelerator),
            span(*a.agents_per_mw_interval["accelerator"]) if "accelerator" in a.agents_per_mw_interval else "–",
            number(a.agents_per_mw.tdp),
            number(a.agents_per_mw.nameplate),
            number(a.agents_per_mw.facility),
        )
        for group in by_tier(answers).values()
        for a in group
    )
    columns = ("SLO", "system", "W/GPU", "accelerator", "interval", "TDP", "nameplate", "facility")
    return Sheet("Agents per MW, by power basis", columns, rows, "llrrrrrr", "W/GPU is the mean accelerator draw at the held point")


def ratio_sheet(comparison: Comparison) -> Sheet:
    """Every system against the first of its tier: per GPU, per MW on each basis, and in both sprint tests."""
    keys = ("agents_per_gpu", *(f"agents_per_mw_{basis}" for basis in BASES), "sprint_peak", "sprint_single")
    rows = tuple(
        (
            plain(row["tier"]),
            f"{plain(row['system'])} / {plain(row['against'])}",
            *(times(row[key]) if row.get(key) is not None else "–" for key in keys),
        )
        for row in comparison.ratios
    )
    columns = (
        "SLO", "ratio", "agents\n/GPU", "agents/MW\naccelerator", "agents/MW\nTDP",
        "agents/MW\nnameplate", "agents/MW\nfacility", "sprint\npeak", "sprint\nalone",
    )  # fmt: skip
    return Sheet(
        "Ratios",
        columns,
        rows,
        "llrrrrrrr",
        "sprint peak: output tok/s per GPU at best batch; sprint alone: tok/s of one completion with nothing beside it",
    )


def sprint_sheet(comparison: Comparison) -> Sheet:
    """The sprint tests over the drive cycle, one column a system: what each way of asking says about the same machines."""
    names = systems(comparison.answers)
    sprints = {s.system: s for s in comparison.sprints}
    lines: list[tuple[str, dict[str, float]]] = []
    if sprints:
        lines.append(("sprint: one completion alone, tok/s", {n: s.single_speed_tok_s for n, s in sprints.items()}))
        lines.append(
            ("sprint: one completion alone, 1/TTFT in 1/s", {n: 1 / s.single_ttft_s for n, s in sprints.items() if s.single_ttft_s})
        )
        lines.append(("sprint: peak throughput, tok/s/GPU", {n: s.peak_output_tok_s_per_gpu for n, s in sprints.items()}))
    for name, group in by_tier(comparison.answers).items():
        lines.append((f"drive cycle at {name}: agents/GPU", {a.system: a.agents_per_gpu for a in group}))
        lines.append((f"drive cycle at {name}: agents/MW accelerator", {a.system: a.agents_per_mw.accelerator for a in group}))
    rows = tuple((title, *(_beside(name, names[0], values) for name in names), leader(values)) for title, values in lines)
    return Sheet("Sprint tests beside the drive cycle", ("question", *map(plain, names), "leads"), rows, "l" + "r" * len(names) + "l")


def leader(values: dict[str, float]) -> str:
    """The system with the largest value; ``tie`` within 2 %."""
    ranked = sorted(values.items(), key=lambda item: -item[1])
    if not ranked or ranked[0][1] <= 0:
        return "–"
    if len(ranked) > 1 and ranked[1][1] > 0.98 * ranked[0][1]:
        return "tie"
    return plain(ranked[0][0])


def _beside(name: str, first: str, values: dict[str, float]) -> str:
    """A system's value, and its ratio to the first system's."""
    if name not in values:
        return "–"
    if name == first or not values.get(first):
        return number(values[name])
    return f"{number(values[name])} ({times(values[name] / values[first])})"


def run_sheet(summary: Summary) -> Sheet:
    """One operating point: latency, speed, throughput, memory and energy."""
    s = summary

    def of(values: dict[str, float], unit: str) -> str:
        return ", ".join(f"{key} {number(value)}" for key, value in values.items()) + f" {unit}"

    rows = (
        ("agents, GPUs", f"{s.agents:,} on {s.gpus}"),
        ("calls in flight", f"{number(s.calls_in_flight)} on average" + (f", up to {s.threads} an agent" if s.threads > 1 else "")),
        ("SLO", f"{tier(s.slo)}: {'held' if s.held else 'broken'}, least margin in {words(s.binding)}" if s.slo else "none"),
        (
            "steady window",
            f"{number(s.window_s)} s, {s.requests:,} calls, {s.trajectories:,} trajectories, seeds {', '.join(map(str, s.seeds))}",
        ),
        ("TTFT", of(s.ttft_s, "s")),
        ("output speed", of(s.output_speed_tok_s, "tok/s")),
        ("E2E speed", of(s.e2e_speed_tok_s, "tok/s")),
        ("TPOT", of({k: 1000 * v for k, v in s.tpot_s.items()}, "ms")),
        ("throughput", f"{number(s.output_tok_s)} output tok/s, {number(s.logical_tok_s)} logical tok/s"),
        ("cache hit", f"{percent(s.cache_hit)} of prompt tokens ({percent(s.cache_hit_possible)} possible){_host(s)}"),
        ("decode batch", f"{number(s.decode_batch_per_rank)} sequences per rank, {s.preemptions:,} preemptions"),
        ("accelerator power", f"{number(s.watts_per_gpu.accelerator)} W/GPU, {number(s.energy_j)} J in the window"),
        ("other bases", ", ".join(f"{basis} {number(getattr(s.watts_per_gpu, basis))}" for basis in list(BASES)[1:]) + " W/GPU"),
        *energy_rows(s.energy),
        ("step time", ", ".join(f"{words(k)} {percent(v)}" for k, v in s.step_shares.items())),
        ("head call kept out", ", ".join(f"by {words(k)} {percent(v)}" for k, v in s.blocked_shares.items()) + " of the time"),
        ("limited by", limited_by(s.limiter, s.binding_pool, s.pools)),
        *([("why", plain(s.why))] if s.why else []),
        ("scheduling", plain(s.engine)),
        ("badge", f"{plain(s.badge)}{_because(s)}"),
        ("quality", f"{plain(s.quality)} (worst of the fields beneath)"),
    )
    return Sheet(
        f"{plain(s.system)}, {plain(s.model)}, {plain(s.deployment)}", ("quantity", "value"), rows, "ll", "; ".join(map(plain, s.notes))
    )


ENERGY_WORDS = {
    "call_j": "a call", "trajectory_j": "a trajectory", "million_output_tokens_j": "a million output tokens",
    "million_tokens_j": "a million tokens in all",
}  # fmt: skip


def energy_rows(energy: Energy | None) -> list[tuple[str, str]]:
    """What work costs in energy, idle GPUs included, on the accelerator and the facility basis."""
    if energy is None:
        return []
    return [
        (f"energy, {basis}", ", ".join(f"{joules(getattr(getattr(energy, key), basis))} {word}" for key, word in ENERGY_WORDS.items()))
        for basis in ("accelerator", "facility")
    ]


def energy_sheet(answers: Sequence[Answer]) -> Sheet:
    """Energy per piece of work at the held points, on the accelerator and the facility basis."""
    rows = tuple(
        (tier(a.slo), plain(a.system), basis, *(joules(getattr(getattr(a.held.energy, key), basis)) for key in ENERGY_WORDS))
        for group in by_tier(answers).values()
        for a in group
        if a.held and a.held.energy
        for basis in ("accelerator", "facility")
    )
    columns = ("SLO", "system", "basis", *ENERGY_WORDS.values())
    return Sheet("Energy at the held point, idle GPUs included", columns, rows, "lllrrrr", "of what finished in the steady window")


def joules(energy_j: float) -> str:
    """Joules in J, kJ or MJ."""
    for unit, size in (("MJ", 1e6), ("kJ", 1e3)):
        if energy_j >= size:
            return f"{number(energy_j / size)} {unit}"
    return f"{number(energy_j)} J"


def _because(summary: Summary) -> str:
    """The fields that keep a badge from being better, each name once, the first few."""
    names = list(dict.fromkeys(name.rpartition(".")[2] for name in summary.badge_because))
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f" ({', '.join(map(plain, names[:4]))}{more})" if names else ""


def _host(summary: Summary) -> str:
    return f", {percent(summary.host_hit)} from the host tier" if summary.host_hit else ""


def disagreements(comparison: Comparison) -> list[str]:
    """Where a sprint test and the drive cycle say different things about two systems, in words."""
    said = []
    sprints = {s.system for s in comparison.sprints}
    for row in comparison.ratios:
        drive = row.get("agents_per_mw_accelerator")
        pair = plain(row["system"]), plain(row["against"])
        if not drive or row["system"] not in sprints:
            continue
        for key, test in (("sprint_single", "one completion alone"), ("sprint_peak", "peak throughput per GPU")):
            sprint = row.get(key)
            if not sprint:
                continue
            if (sprint > 1.02 and drive < 0.98) or (sprint < 0.98 and drive > 1.02):
                ahead, behind = pair if sprint > 1 else pair[::-1]
                factor = max(drive, 1 / drive)
                said.append(
                    f"At {plain(row['tier'])} the ranking turns: {test} puts {ahead} ahead ({times(max(sprint, 1 / sprint))}), "
                    f"the drive cycle puts {behind} ahead per MW of accelerator power ({times(factor)})."
                )
            elif max(sprint / drive, drive / sprint) > 1.5:
                ahead = pair[0] if sprint > 1 else pair[1]
                by, over = times(max(sprint, 1 / sprint)), times(max(drive, 1 / drive))
                said.append(
                    f"At {plain(row['tier'])} the order is the same but not the distance: {ahead} leads by {by} in {test}, and by {over} "
                    "in agents per MW of accelerator power."
                )
    return said


def rich_table(sheet: Sheet) -> Table:
    """The sheet as a Rich table; cells are plain text, never markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=Text(sheet.title), title_justify="left", title_style="bold", pad_edge=False)
    table.caption, table.caption_justify = (Text(sheet.note, style="dim") if sheet.note else None), "left"
    for column, align in zip(sheet.columns, sheet.align, strict=True):
        table.add_column(Text(column), justify="left" if align == "l" else "right", overflow="fold")
    for row in sheet.rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
