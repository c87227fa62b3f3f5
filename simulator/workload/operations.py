"""Operations on a trajectory set: scale, filter, dedupe, anonymise (`mix.py` joins several). In and out: `TrajectorySet`.

Each is a pure function. What was done stands in the ``operations`` of the new set's provenance, in order.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from simulator.catalog import nearest
from simulator.errors import Mistake, UserError
from simulator.workload.shared import pruned, scaled_prefixes
from simulator.workload.trajectory import Call, Trajectory, TrajectorySet, prefix_depths

THEN = "; then "


def noted(found: TrajectorySet, what: str, trajectories: Sequence[Trajectory], **changes: Any) -> TrajectorySet:
    """The set with other trajectories, and what else changes, and a note of how they came about."""
    before = found.provenance.get("operations")
    provenance = {**found.provenance, "operations": f"{before}{THEN}{what}" if before else what}
    return replace(found, trajectories=tuple(trajectories), provenance=provenance, **changes)


def scale(found: TrajectorySet, tool_time: float = 1.0, prompt: float = 1.0, output: float = 1.0, kept: float = 1.0) -> TrajectorySet:
    """Waits, prompts or answers longer or shorter by a factor; what share of a prompt is kept stays.

    Parameters
    ----------
    tool_time : float
        Factor on every wait: tool time, time in the sandbox, and the delay of sub-agents.
    prompt : float
        Factor on prompts, what they keep and shared prefixes; each is rounded.
    output : float
        Factor on output tokens, at least 1 of which stays.
    kept : float
        Factor from 0 to 1 on the share of a prompt that repeats the prompts before.

    Raises
    ------
    UserError
        When a factor is out of range.
    """
    factors = {"tool_time": tool_time, "prompt": prompt, "output": output, "kept": kept}
    allowed = {"tool_time": "0 or more", "prompt": "more than 0", "output": "more than 0", "kept": "0 to 1"}
    good = {name: math.isfinite(factor) and _allowed(name, factor) for name, factor in factors.items()}
    mistakes = [Mistake("scale", name, f"{factors[name]:g}", allowed[name]) for name in factors if not good[name]]
    if mistakes:
        raise UserError(mistakes)
    prefixes = scaled_prefixes(found.prefixes, prompt)
    depths = prefix_depths(prefixes)
    trajectories = []
    for trajectory in found.trajectories:
        calls = tuple(_scaled(call, tool_time, prompt, output, kept, depths) for call in trajectory.calls)
        agents = tuple(replace(agent, delay_s=_seconds(agent.delay_s, tool_time)) for agent in trajectory.sub_agents)
        trajectories.append(replace(trajectory, calls=calls, sub_agents=agents))
    what = "scale " + ", ".join(f"{name} x {factor:g}" for name, factor in factors.items() if factor != 1)
    shared = round(found.shared_prefix_tokens * prompt)
    return noted(found, what, trajectories, shared_prefix_tokens=shared, prefixes=prefixes)


def _allowed(name: str, factor: float) -> bool:
    """No prompt and no answer is scaled to nothing, and no prompt keeps more than there is."""
    return 0 <= factor <= 1 if name == "kept" else factor > 0 or (factor == 0 and name == "tool_time")


def _scaled(call: Call, tool_time: float, prompt: float, output: float, kept: float, depths: Sequence[int]) -> Call:
    """Lengths are rounded from the beginning of the prompt, so that no prompt keeps more than there is."""
    repeated, length = round(call.kept_tokens * prompt * kept), max(1, round(call.prompt_tokens * prompt))
    return replace(
        call,
        kept_tokens=repeated,
        new_tokens=length - repeated,
        output_tokens=max(1, round(call.output_tokens * output)),
        tool_s=_seconds(call.tool_s, tool_time),
        sandbox_s=None if call.sandbox_s is None else _seconds(call.sandbox_s, tool_time),
        prefix=call.prefix if call.prefix is not None and depths[call.prefix] <= length else None,
    )


def _seconds(value_s: float, factor: float) -> float:
    return value_s if factor == 1 else round(value_s * factor, 6)


@dataclass(frozen=True)
class Bounds:
    """Which trajectories stay, by length. None: no bound.

    Attributes
    ----------
    min_calls, max_calls : int or None
        Of calls, those of sub-agents included.
    min_prompt, max_prompt : int or None
        Of tokens of the longest prompt.
    sub_agents : bool or None
        Only those with sub-agents, or only those without.
    """

    min_calls: int | None = None
    max_calls: int | None = None
    min_prompt: int | None = None
    max_prompt: int | None = None
    sub_agents: bool | None = None

    def admit(self, trajectory: Trajectory) -> bool:
        """Whether a trajectory is within the bounds."""
        longest = max(call.prompt_tokens for call in trajectory.calls)
        return (
            (self.min_calls or 0) <= len(trajectory.calls) <= (math.inf if self.max_calls is None else self.max_calls)
            and (self.min_prompt or 0) <= longest <= (math.inf if self.max_prompt is None else self.max_prompt)
            and self.sub_agents in (None, bool(trajectory.sub_agents))
        )

    def __str__(self) -> str:
        given = {"calls >=": self.min_calls, "calls <=": self.max_calls, "prompt >=": self.min_prompt, "prompt <=": self.max_prompt}
        parts = [f"{name} {value}" for name, value in given.items() if value is not None]
        if self.sub_agents is not None:
            parts.append("with sub-agents" if self.sub_agents else "without sub-agents")
        return ", ".join(parts)


def keep(found: TrajectorySet, labels: Mapping[str, Sequence[str]] | None = None, bounds: Bounds = Bounds()) -> TrajectorySet:
    """The trajectories that have, for each of the names, a label with one of its values, and are within the bounds.

    A label may hold several values, joined by commas: one that matches is enough.

    Raises
    ------
    UserError
        When no trajectory has such a label or value, or none is left.
    """
    wanted = {name: set(values) for name, values in (labels or {}).items()}
    _refuse_unknown_labels(found, wanted)
    left = [
        trajectory
        for trajectory in found.trajectories
        if all(values & set(_values(trajectory, name)) for name, values in wanted.items()) and bounds.admit(trajectory)
    ]
    asked = ", ".join([*(f"{name}={'|'.join(sorted(values))}" for name, values in wanted.items()), *filter(None, [str(bounds)])])
    if not left:
        raise UserError(
            Mistake(found.name, "filter", f"no trajectory of {len(found.trajectories)} with {asked}", "conditions that some meet")
        )
    what = f"filter {asked or 'nothing'} ({len(left)} of {len(found.trajectories)} stay)"
    return pruned(noted(found, what, left))


def _values(trajectory: Trajectory, name: str) -> list[str]:
    return [part.strip() for part in trajectory.labels.get(name, "").split(",")]


def _refuse_unknown_labels(found: TrajectorySet, wanted: Mapping[str, set[str]]) -> None:
    names = sorted({name for trajectory in found.trajectories for name in trajectory.labels})
    mistakes = []
    for name, values in wanted.items():
        if name not in names:
            allowed = ", ".join(names) or "none: its trajectories have no labels"
            mistakes.append(Mistake(found.name, "label", repr(name), allowed, nearest(name, names)))
            continue
        there = Counter(value for trajectory in found.trajectories for value in _values(trajectory, name) if value)
        for value in sorted(values - set(there)):
            allowed = ", ".join(text for text, _ in there.most_common(12)) + (", .." if len(there) > 12 else "")
            mistakes.append(Mistake(found.name, f"label {name}", repr(value), allowed, nearest(value, list(there))))
    if mistakes:
        raise UserError(mistakes)


def dedupe(found: TrajectorySet, times_aside: bool = False) -> TrajectorySet:
    """Each trajectory once: of those with the same numbers, names and labels aside, the first.

    Parameters
    ----------
    times_aside : bool
        Take runs of the same lengths for the same even where their waits differ.
    """
    seen: dict[object, Trajectory] = {}
    for trajectory in found.trajectories:
        seen.setdefault(_content(trajectory, times_aside), trajectory)
    what = f"dedupe{' with times aside' if times_aside else ''} ({len(seen)} of {len(found.trajectories)} stay)"
    return pruned(noted(found, what, list(seen.values())))


def _content(trajectory: Trajectory, times_aside: bool) -> object:
    calls: tuple[object, ...] = trajectory.calls
    agents: tuple[object, ...] = trajectory.sub_agents
    if times_aside:
        calls = tuple(replace(call, tool_s=0.0, sandbox_s=None) for call in trajectory.calls)
        agents = tuple(replace(agent, delay_s=0.0) for agent in trajectory.sub_agents)
    return calls, agents


def anonymise(found: TrajectorySet, name: str = "anonymous", labels: Sequence[str] = ()) -> TrajectorySet:
    """Numbers only, to share: new ids, no name of a tool, no label but those named, no provenance but the quality.

    The trajectories stand in the order of their numbers, which says nothing of how they were named, filed or recorded. Lengths and times
    stay as they are: who knows the length of a run to the token recognises it.

    Parameters
    ----------
    name : str
        Of the new set.
    labels : sequence of str
        Names of labels that stay, with their values as they are.

    Raises
    ------
    UserError
        When no trajectory has such a label.
    """
    _refuse_unknown_labels(found, {label: set() for label in labels})
    bare = [
        replace(
            trajectory,
            id="",
            calls=tuple(replace(call, tool="") for call in trajectory.calls),
            labels={label: trajectory.labels[label] for label in labels if label in trajectory.labels},
        )
        for trajectory in found.trajectories
    ]
    bare.sort(key=lambda trajectory: repr(trajectory))
    width = len(str(len(bare)))
    numbered = tuple(replace(trajectory, id=f"{number:0{width}d}") for number, trajectory in enumerate(bare, start=1))
    quality = found.provenance.get("quality")
    provenance = {"origin": "anonymised", "operations": f"anonymise (labels kept: {', '.join(labels) or 'none'})"}
    return replace(found, name=name, trajectories=numbered, provenance=provenance | ({"quality": quality} if quality else {}))
