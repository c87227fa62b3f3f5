"""Trajectories: recorded agent runs as numbers only. They come from a native file, a foreign log, a generator or a fixed shape.

A prompt is described by what it shares, not by its text: ``kept_tokens`` leading tokens are those of an earlier prompt of the same
trajectory, ``new_tokens`` follow. No content is ever held.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from simulator.errors import Mistake, UserError

History = Literal["recorded", "generated"]
Marker = Literal["front", "after_system", "none"]
HISTORIES: tuple[History, ...] = ("recorded", "generated")
MARKERS: tuple[Marker, ...] = ("front", "after_system", "none")
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
        Seconds between the last token of this call and the next call of the agent.
    extends : int or None
        Index in the trajectory of the call whose prompt this one shares most with; None for the call before.
    """

    kept_tokens: int
    new_tokens: int
    output_tokens: int
    tool_s: float = 0.0
    extends: int | None = None

    @property
    def prompt_tokens(self) -> int:
        """Full prompt, the shared part included."""
        return self.kept_tokens + self.new_tokens


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A recorded run: calls in the order they were sent, each waiting for the one before."""

    id: str
    calls: tuple[Call, ...]
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)

    def base(self, index: int) -> int:
        """Index of the call whose prompt call `index` extends; -1 for the first call."""
        extends = self.calls[index].extends
        return index - 1 if extends is None else extends


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

    def __post_init__(self) -> None:
        mistakes = set_mistakes(self)
        if mistakes:
            raise UserError(mistakes)


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
    seen: set[str] = set()
    for trajectory in found.trajectories:
        if trajectory.id in seen:
            mistakes.append(Mistake(found.name, "id", repr(trajectory.id), "an id that no other trajectory of the set has"))
        seen.add(trajectory.id)
        if not trajectory.calls:
            mistakes.append(Mistake(found.name, f"{trajectory.id}.calls", "none", "at least one call"))
        for index in range(len(trajectory.calls)):
            mistakes += call_mistakes(trajectory, index, found.name)
    return mistakes


def call_mistakes(trajectory: Trajectory, index: int, file: str, line: int = 0) -> list[Mistake]:
    """Everything wrong with one call, given that the earlier calls exist."""
    call, place = trajectory.calls[index], f"{trajectory.id}.calls[{index}]"
    mistakes: list[Mistake] = []

    def check(good: bool, name: str, value: object, allowed: str, hint: str = "") -> None:
        if not good:
            mistakes.append(Mistake(file, f"{place}.{name}", str(value), allowed, hint, line))

    check(call.prompt_tokens >= 1, "prompt_tokens", call.prompt_tokens, "at least 1")
    check(call.new_tokens >= 0, "new_tokens", call.new_tokens, ">= 0", "a prompt cannot be shorter than what it keeps")
    check(call.output_tokens >= 1, "output_tokens", call.output_tokens, "at least 1")
    check(math.isfinite(call.tool_s) and call.tool_s >= 0, "tool_s", call.tool_s, "seconds >= 0")
    base = trajectory.base(index)
    if not (base == -1 if index == 0 else 0 <= base < index):
        check(False, "extends", base, "no `extends` in a first call" if index == 0 else f"an earlier call, 0 to {index - 1}")
        return mistakes
    most = trajectory.calls[base].prompt_tokens if index else 0
    check(0 <= call.kept_tokens <= most, "kept_tokens", call.kept_tokens, f"0 to {most}, the prompt it extends")
    return mistakes
