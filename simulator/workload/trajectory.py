"""Trajectories: recorded agent runs as numbers only. They come from a native file, a foreign log, a generator or a fixed shape.

A prompt is described by what it shares, not by its text: ``kept_tokens`` leading tokens are those of an earlier prompt of the same
trajectory, ``new_tokens`` follow. No content is ever held.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from simulator.errors import Mistake, UserError
from simulator.units import MOST_S, MOST_TOKENS

History = Literal["recorded", "generated"]
Marker = Literal["front", "after_system", "none"]
HISTORIES: tuple[History, ...] = ("recorded", "generated")
MARKERS: tuple[Marker, ...] = ("front", "after_system", "none")
SECONDS = f"seconds from 0 to {MOST_S:,}"
TOKENS = f"1 to {MOST_TOKENS:,}"
QUALITIES = ("datasheet", "measured", "fitted", "estimated", "assumed")
"""What ``provenance["quality"]`` may say, best first: the words of a profile field, since a result inherits the worst it rests on."""


@dataclass(frozen=True, slots=True)
class Call:
    """One LLM request of a trajectory, and the wait after it.

    Attributes
    ----------
    kept_tokens : int
        Leading tokens of this prompt that are also the leading tokens of the prompt of call `extends`; 0 for a first call.
    new_tokens : int
        Prompt tokens that follow; with recorded history this is the recorded answer as kept in the history plus the tool result.
    output_tokens : int
        Generated tokens, reasoning included; at least 1.
    tool_s : float
        Seconds between the last token of this call (where it spawned sub-agents: the end of the last of them) and the next call of its
        thread.
    extends : int or None
        Index in the trajectory of the call whose prompt this one shares most with, which must be over before this one is sent; None for the
        call before of the same thread (for nothing, in the first call of a thread).
    prefix : int or None
        Index of the set's prefix with which this prompt begins, given where that is longer than `kept_tokens`: what it shares with other
        trajectories.
    sandbox_s : float or None
        Seconds that the tools themselves ran within the wait; None where only the wall gap (`tool_s`) was recorded.
    tool : str
        Names of the tools that ran after this call, sorted and joined by commas; empty where unknown or none.
    """

    kept_tokens: int
    new_tokens: int
    output_tokens: int
    tool_s: float = 0.0
    extends: int | None = None
    prefix: int | None = None
    sandbox_s: float | None = None
    tool: str = ""

    @property
    def prompt_tokens(self) -> int:
        """Full prompt, the shared part included."""
        return self.kept_tokens + self.new_tokens


@dataclass(frozen=True, slots=True)
class Prefix:
    """A run of tokens with which prompts of several trajectories begin, or go on after those of another prefix: a node of a tree.

    Attributes
    ----------
    tokens : int
        Length of the run.
    parent : int
        Index in the set of the prefix directly before it, which is listed earlier; -1 for none.
    """

    tokens: int
    parent: int = -1


@dataclass(frozen=True, slots=True)
class SubAgent:
    """A thread of calls that one call of another thread spawns when it ends; it runs beside that call's other sub-agents.

    Attributes
    ----------
    spawned_by : int
        Index in the trajectory of the spawning call.
    first : int
        Index of its own first call. Its calls are consecutive, up to the first of the next sub-agent or the end of the trajectory.
    delay_s : float
        Seconds from the end of the spawning call to its first call.
    """

    spawned_by: int
    first: int
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A recorded run: threads of calls, each call waiting for the one before it in its thread and for the sub-agents which that spawned.

    Attributes
    ----------
    id : str
    calls : tuple of Call
        The calls of the main thread, then those of each sub-agent.
    labels : mapping
        Texts to filter and compare by; readers use ``harness``, ``model``, ``language`` and ``tool``, several values joined by commas.
    sub_agents : tuple of SubAgent
        In the order of their calls and of the calls that spawn them: siblings stand side by side, after their parent. All that a call
        spawned are over before the next call of its thread is sent, and before that thread itself is over.
    arrival_s : float or None
        Seconds from the start of the recording to its first call; None where unknown. In a set whose trajectories all have one the
        recording may be played open loop.
    """

    id: str
    calls: tuple[Call, ...]
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    sub_agents: tuple[SubAgent, ...] = ()
    arrival_s: float | None = None

    @property
    def threads(self) -> tuple[range, ...]:
        """Indices of each thread's calls: the main thread, then the sub-agents."""
        starts = [0, *(agent.first for agent in self.sub_agents), len(self.calls)]
        return tuple(range(start, end) for start, end in pairwise(starts))

    def thread(self, index: int) -> int:
        """Number of the thread that call `index` belongs to: 0 for the main one, ``i + 1`` for ``sub_agents[i]``."""
        return bisect_right(self.sub_agents, index, key=lambda agent: agent.first) if self.sub_agents else 0

    def base(self, index: int) -> int:
        """Index of the call whose prompt call `index` extends; -1 for none, as in the first call."""
        extends = self.calls[index].extends
        return self.before(index) if extends is None else extends

    def before(self, index: int) -> int:
        """Index of the call before call `index` in its thread; -1 for the first of a thread."""
        thread = self.thread(index)
        return -1 if thread and self.sub_agents[thread - 1].first == index else index - 1

    def over(self, earlier: int, index: int) -> bool:
        """Whether call `earlier` is certainly over when call `index` is sent.

        So are the earlier calls of its thread and, in each thread above, those up to the spawning call; and whatever the sub-agents did
        that have been joined by then, those of the calls before these.
        """
        if not self.sub_agents:
            return earlier < index
        thread = self.thread(index)
        limits = {thread: (index, index)}  # by thread: its own calls before the one, sub-agents of its calls before the other
        while thread:
            spawned_by = self.sub_agents[thread - 1].spawned_by
            thread = self.thread(spawned_by)
            limits[thread] = (spawned_by + 1, spawned_by)
        call, inside = earlier, False
        while (thread := self.thread(call)) not in limits:
            call, inside = self.sub_agents[thread - 1].spawned_by, True
        return call < limits[thread][inside]

    def place(self, index: int) -> str:
        """Where a file has call `index`, for messages."""
        thread = self.thread(index)
        inside = f"sub_agents[{thread - 1}].calls[{index - self.sub_agents[thread - 1].first}]" if thread else f"calls[{index}]"
        return f"{self.id}.{inside}"


def recorded_order(calls: int, sub_agents: Sequence[SubAgent]) -> list[int]:
    """Indices of a trajectory's calls such that each stands after all that are over before it: a call, what it spawned, the next call."""
    if not sub_agents:
        return list(range(calls))
    ends = [*(agent.first for agent in sub_agents), calls]
    spawned: dict[int, list[int]] = {}
    for number, agent in enumerate(sub_agents):
        spawned.setdefault(agent.spawned_by, []).append(number)
    order: list[int] = []
    pending = [iter(range(ends[0]))]
    while pending:
        index = next(pending[-1], None)
        if index is None:
            pending.pop()
            continue
        order.append(index)
        pending += [iter(range(sub_agents[number].first, ends[number + 1])) for number in reversed(spawned.get(index, []))]
    return order


@dataclass(frozen=True)
class TrajectorySet:
    """Trajectories of one origin.

    Attributes
    ----------
    name : str
    history : {"recorded", "generated"}
        Whether the prompts carry the answers of the recording or those generated in the replay; a scenario may override it.
    shared_prefix_tokens : int
        Tokens with which every prompt of every trajectory begins (system prompt and tool definitions); 0 when unknown or none.
    trajectories : tuple of Trajectory
        Ids are unique.
    provenance : mapping
        Where the numbers come from: origin, licence, method, what a reader cut or dropped; ``quality`` is one of `QUALITIES`.
    prefixes : tuple of Prefix
        What prompts of different trajectories begin with in common, as a tree; `Call.prefix` names its nodes. Empty when unknown, none, or
        said by `shared_prefix_tokens`.

    Raises
    ------
    UserError
        When a number is out of range, an id is used twice or nothing is left to play; all mistakes at once.
    """

    name: str
    history: History
    shared_prefix_tokens: int
    trajectories: tuple[Trajectory, ...]
    provenance: Mapping[str, str] = field(default_factory=dict, hash=False)
    prefixes: tuple[Prefix, ...] = ()

    @property
    def has_arrivals(self) -> bool:
        """Whether every trajectory says when it began."""
        return all(trajectory.arrival_s is not None for trajectory in self.trajectories)

    def __post_init__(self) -> None:
        mistakes = set_mistakes(self)
        if mistakes:
            raise UserError(mistakes)


def prefix_depths(prefixes: Sequence[Prefix]) -> list[int]:
    """By prefix: tokens from the beginning of a prompt to its end."""
    depths: list[int] = []
    for prefix in prefixes:
        depths.append(prefix.tokens + (depths[prefix.parent] if prefix.parent >= 0 else 0))
    return depths


def set_mistakes(found: TrajectorySet) -> list[Mistake]:
    """Everything wrong with a set, in order."""
    mistakes: list[Mistake] = []
    if found.history not in HISTORIES:
        mistakes.append(Mistake(found.name, "history", repr(found.history), " or ".join(HISTORIES)))
    if found.shared_prefix_tokens < 0:
        mistakes.append(Mistake(found.name, "shared_prefix_tokens", str(found.shared_prefix_tokens), "a whole number >= 0"))
    quality = found.provenance.get("quality")
    if quality is not None and quality not in QUALITIES:
        mistakes.append(Mistake(found.name, "provenance.quality", repr(quality), ", ".join(QUALITIES)))
    if not found.trajectories:
        mistakes.append(Mistake(found.name, "trajectories", "none", "at least one"))
    if wrong := _prefix_mistakes(found):
        return mistakes + wrong
    depths = prefix_depths(found.prefixes)
    seen: set[str] = set()
    for trajectory in found.trajectories:
        if trajectory.id in seen:
            mistakes.append(Mistake(found.name, "id", repr(trajectory.id), "an id that no other trajectory of the set has"))
        seen.add(trajectory.id)
        if not trajectory.calls:
            mistakes.append(Mistake(found.name, f"{trajectory.id}.calls", "none", "at least one call"))
        else:
            mistakes += trajectory_mistakes(trajectory, found.name)
            mistakes += _named_prefix_mistakes(trajectory, depths, found.name)
    return mistakes


def _prefix_mistakes(found: TrajectorySet) -> list[Mistake]:
    mistakes: list[Mistake] = []
    for index, prefix in enumerate(found.prefixes):
        if prefix.tokens < 1:
            mistakes.append(Mistake(found.name, f"prefixes[{index}].tokens", str(prefix.tokens), "at least 1"))
        if not -1 <= prefix.parent < index:
            mistakes.append(
                Mistake(found.name, f"prefixes[{index}].parent", str(prefix.parent), f"an earlier prefix, or -1: below {index}")
            )
    if found.prefixes and found.shared_prefix_tokens:
        hint = "make what every prompt begins with the first prefix"
        mistakes.append(Mistake(found.name, "shared_prefix_tokens", str(found.shared_prefix_tokens), "0 beside prefixes", hint))
    return mistakes


def _named_prefix_mistakes(trajectory: Trajectory, depths: Sequence[int], file: str) -> list[Mistake]:
    mistakes: list[Mistake] = []
    for index, call in enumerate(trajectory.calls):
        if call.prefix is None:
            continue
        place = f"{trajectory.place(index)}.prefix"
        if not 0 <= call.prefix < len(depths):
            mistakes.append(Mistake(file, place, str(call.prefix), f"one of the {len(depths)} prefixes of the set, from 0"))
        elif depths[call.prefix] > call.prompt_tokens:
            allowed = f"a prefix of at most {call.prompt_tokens} tokens, the prompt"
            mistakes.append(Mistake(file, place, f"one of {depths[call.prefix]} tokens", allowed))
    return mistakes


def trajectory_mistakes(trajectory: Trajectory, file: str, line: int = 0) -> list[Mistake]:
    """Everything wrong with a trajectory that has calls: with its threads, or, where these are good, with its calls."""
    mistakes = _thread_mistakes(trajectory, file, line) if trajectory.sub_agents else []
    arrival_s = trajectory.arrival_s
    if arrival_s is not None and not (math.isfinite(arrival_s) and arrival_s >= 0):
        mistakes.append(Mistake(file, f"{trajectory.id}.arrival_s", str(arrival_s), "seconds >= 0", "", line))
    if not mistakes:
        for index in range(len(trajectory.calls)):
            mistakes += _call_mistakes(trajectory, index, file, line)
    return mistakes


def _thread_mistakes(trajectory: Trajectory, file: str, line: int) -> list[Mistake]:
    mistakes: list[Mistake] = []
    before, spawned_by = 0, 0
    for number, agent in enumerate(trajectory.sub_agents):
        place = f"{trajectory.id}.sub_agents[{number}]"
        if not before < agent.first < len(trajectory.calls):
            allowed = f"{before + 1} to {len(trajectory.calls) - 1}"
            mistakes.append(Mistake(file, f"{place}.first", str(agent.first), allowed, "every thread has at least one call", line))
        if not spawned_by <= agent.spawned_by < agent.first:
            hint = "sub-agents stand in the order of the calls that spawn them, each after the thread it belongs to"
            allowed = f"a call of an earlier thread, {spawned_by} to {agent.first - 1}"
            mistakes.append(Mistake(file, f"{place}.spawned_by", str(agent.spawned_by), allowed, hint, line))
        if not 0 <= agent.delay_s <= MOST_S:
            mistakes.append(Mistake(file, f"{place}.delay_s", str(agent.delay_s), SECONDS, "", line))
        before, spawned_by = agent.first, max(spawned_by, agent.spawned_by)
    return mistakes


def _call_mistakes(trajectory: Trajectory, index: int, file: str, line: int) -> list[Mistake]:
    """Everything wrong with one call of a trajectory whose threads are good."""
    call = trajectory.calls[index]
    mistakes: list[Mistake] = []

    def check(good: bool, name: str, value: object, allowed: str, hint: str = "") -> None:
        if not good:
            mistakes.append(Mistake(file, f"{trajectory.place(index)}.{name}", str(value), allowed, hint, line))

    check(1 <= call.prompt_tokens <= MOST_TOKENS, "prompt_tokens", call.prompt_tokens, TOKENS)
    check(call.new_tokens >= 0, "new_tokens", call.new_tokens, ">= 0", "a prompt cannot be shorter than what it keeps")
    check(1 <= call.output_tokens <= MOST_TOKENS, "output_tokens", call.output_tokens, TOKENS)
    check(0 <= call.tool_s <= MOST_S, "tool_s", call.tool_s, SECONDS)
    if call.sandbox_s is not None:
        check(0 <= call.sandbox_s <= MOST_S, "sandbox_s", call.sandbox_s, SECONDS)
    base = trajectory.base(index)
    if call.extends is not None and not (0 <= base < len(trajectory.calls) and trajectory.over(base, index)):
        if trajectory.sub_agents:
            check(False, "extends", base, "a call that is over before this one is sent", "not one of a thread that still runs beside it")
        else:
            check(False, "extends", base, "no `extends` in a first call" if index == 0 else f"an earlier call, 0 to {index - 1}")
        return mistakes
    most = trajectory.calls[base].prompt_tokens if base >= 0 else 0
    check(0 <= call.kept_tokens <= most, "kept_tokens", call.kept_tokens, f"0 to {most}, the prompt it extends")
    return mistakes
