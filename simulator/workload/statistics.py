"""What a trajectory set looks like in figures, beside the targets it is meant to meet. Input: a `TrajectorySet`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.workload.compile import compile_calls
from simulator.workload.load import load_trajectories
from simulator.workload.reuse import AGENTS, ReuseCurve, reuse_curve
from simulator.workload.trajectory import Call, Marker, TrajectorySet
from simulator.workload.two_sample import growth, tool_s

__all__ = ["AGENTPERF_TARGETS", "Figure", "Target", "cache_curve", "readme_tables", "statistics", "statistics_table"]

BLOCK_TOKENS = 64


@dataclass(frozen=True)
class Target:
    """A published figure and how far a set may be off: a share of it, or any value up to it when `at_most`."""

    value: float
    tolerance: float = 0.0
    at_most: bool = False

    def met(self, value: float) -> bool:
        """Whether a value meets the target."""
        return value <= self.value if self.at_most else abs(value - self.value) <= self.tolerance * self.value


@dataclass(frozen=True)
class Figure:
    """One line of the table. ``target`` is None where nothing is published."""

    name: str
    unit: str
    value: float
    target: Target | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        return None if self.target is None else self.target.met(self.value)


AGENTPERF_TARGETS: Mapping[str, Target] = {
    "ISL min": Target(5_000, 0.10),
    "ISL mean": Target(27_000, 0.05),
    "ISL max": Target(131_072, 0.05),
    "OSL p50": Target(150, 0.10),
    "OSL p95": Target(2_000, 0.10),
    "OSL max": Target(16_384, at_most=True),
    "calls per trajectory mean": Target(38, 0.05),
    "calls per trajectory max": Target(200, at_most=True),
    "tool delay min": Target(0.1, 0.05),
    "tool delay p50": Target(1.0, 0.10),
    "tool delay max": Target(5.0, at_most=True),
}
"""AA-AgentPerf as published in June 2026: ISL ~5K to ~131K with mean ~27K, OSL median ~150 and P95 ~2K (max_tokens 16K), about 38 turns a
trajectory and at most 200, tool delay 0.1 to 5 s with median about 1 s. Tolerances are this project's."""


def statistics(trajectories: TrajectorySet, targets: Mapping[str, Target] | None = None) -> tuple[Figure, ...]:
    """Figures of a set: lengths over calls, calls over trajectories, waits over calls that another call of their thread follows.

    A set with sub-agents has figures of these too; "calls in flight" are those of one play at once: a thread waits while its sub-agents
    run. Growth is by how many tokens a prompt is longer than the one before in its thread. Reuse is what an infinite cache would give with
    recorded history and nothing shared between plays, in tokens and in blocks of 64 (with sub-agents an upper bound, see `Compiled`);
    where prompts of different trajectories begin in common, also with that shared, in blocks.

    Parameters
    ----------
    targets : mapping of figure name to Target, optional
        For example `AGENTPERF_TARGETS`.
    """
    calls = [call for trajectory in trajectories.trajectories for call in trajectory.calls]
    between = [wait_s for trajectory in trajectories.trajectories for wait_s in tool_s(trajectory)]
    grown = [tokens for trajectory in trajectories.trajectories for tokens in growth(trajectory)]
    compiled = compile_calls(trajectories, block_tokens=BLOCK_TOKENS, history="recorded", marker="front")
    rows: list[tuple[str, str, float]] = [
        ("trajectories", "", len(trajectories.trajectories)),
        ("calls", "", len(calls)),
        *_spread("ISL", "tokens", np.array([call.prompt_tokens for call in calls])),
        *_spread("new tokens", "tokens", np.array([call.new_tokens for call in calls])),
        *_spread("OSL", "tokens", np.array([call.output_tokens for call in calls])),
        *_spread("calls per trajectory", "", np.array([len(trajectory.calls) for trajectory in trajectories.trajectories])),
        *(_spread("growth per call", "tokens", np.array(grown)) if grown else []),
        *_spread("tool delay", "s", np.array(between or [0.0])),
        *_sandbox(calls),
        *_sub_agents(trajectories, compiled.threads.most_in_flight),
        ("reusable tokens", "share", compiled.reusable_tokens / compiled.prompt_tokens),
        ("reusable in blocks of 64", "share", compiled.reusable_block_tokens / compiled.prompt_tokens),
        *_between_trajectories(trajectories),
    ]
    return tuple(Figure(name, unit, float(value), (targets or {}).get(name)) for name, unit, value in rows)


def cache_curve(trajectories: TrajectorySet, agents: int = AGENTS) -> ReuseCurve:
    """Reuse against cache size, with recorded history and so many agents at work; what trajectories share, they share."""
    compiled = compile_calls(trajectories, block_tokens=BLOCK_TOKENS, history="recorded", marker=_marker(trajectories))
    return reuse_curve(compiled, BLOCK_TOKENS, agents)


def _marker(trajectories: TrajectorySet) -> Marker:
    return "after_system" if trajectories.prefixes or trajectories.shared_prefix_tokens else "front"


def _between_trajectories(trajectories: TrajectorySet) -> list[tuple[str, str, float]]:
    """Reuse where what trajectories begin with in common is shared too; nothing where there is no such thing."""
    if _marker(trajectories) == "front":
        return []
    compiled = compile_calls(trajectories, block_tokens=BLOCK_TOKENS, history="recorded", marker="after_system")
    return [("reusable with shared prefixes", "share", compiled.reusable_block_tokens / compiled.prompt_tokens)]


def statistics_table(figures: tuple[Figure, ...]) -> str:
    """The figures as a Markdown table, target and verdict beside the value where there is one."""
    lines = ["| figure | unit | value | target | met |", "|---|---|---:|---:|---|"]
    for figure in figures:
        target, verdict = "", ""
        if figure.target is not None:
            goal, tolerance = f"{figure.target.value:,g}", f" +-{figure.target.tolerance:.0%}"
            target = f"at most {goal}" if figure.target.at_most else goal + tolerance
            verdict = "yes" if figure.met else "NO"
        lines.append(f"| {figure.name} | {figure.unit} | {_short(figure.value)} | {target} | {verdict} |")
    return "\n".join(lines) + "\n"


def readme_tables() -> str:
    """The tables of ``trajectories/README.md``, from the shipped files."""
    parts = []
    for name, targets in (("agentperf_like", AGENTPERF_TARGETS), ("agentperf_like_subagents", None), ("agentperf_local", None)):
        parts.append(f"### {name}\n\n{statistics_table(statistics(load_trajectories(name), targets))}")
    return "\n".join(parts)


def _sub_agents(trajectories: TrajectorySet, most_in_flight: int) -> list[tuple[str, str, float]]:
    """Figures of the sub-agents; none where there are none."""
    spawning = [trajectory for trajectory in trajectories.trajectories if trajectory.sub_agents]
    if not spawning:
        return []
    count = len(trajectories.trajectories)
    inside = [len(thread) for trajectory in spawning for thread in trajectory.threads[1:]]
    threads = np.array([1 + len(trajectory.sub_agents) for trajectory in trajectories.trajectories])
    fans = [Counter(agent.spawned_by for agent in trajectory.sub_agents) for trajectory in spawning]
    return [
        ("trajectories with sub-agents", "share", len(spawning) / count),
        *_spread("threads per trajectory", "", threads),
        *_spread("sub-agents per call that spawns", "", np.array([size for fan in fans for size in fan.values()])),
        ("calls in flight max", "", most_in_flight),
        *_spread("calls per sub-agent", "", np.array(inside)),
        ("calls in sub-agents", "share", sum(inside) / sum(len(trajectory.calls) for trajectory in trajectories.trajectories)),
    ]


def _sandbox(calls: list[Call]) -> list[tuple[str, str, float]]:
    """Figures of the time that the tools themselves ran; none where it was not recorded."""
    found = [call.sandbox_s for call in calls if call.sandbox_s is not None]
    if not found:
        return []
    return [("calls with a time in the sandbox", "share", len(found) / len(calls)), *_spread("time in the sandbox", "s", np.array(found))]


def _spread(name: str, unit: str, values: NDArray[np.float64] | NDArray[np.int64]) -> list[tuple[str, str, float]]:
    p50, p95 = np.percentile(values, [50, 95])
    pairs = (("min", values.min()), ("p50", p50), ("mean", values.mean()), ("p95", p95), ("max", values.max()))
    return [(f"{name} {what}", unit, float(value)) for what, value in pairs]


def _short(value: float) -> str:
    if value == int(value) and abs(value) >= 1:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
