"""Draws trajectories like those of any set, by resampling its steps as they followed each other. Inputs: a `TrajectorySet` and a seed.

The fit is the set itself: a matched-block bootstrap, in which the next step is drawn from steps that followed a similar state (after the
nearest-neighbour bootstrap of Lall and Sharma, 1996).

1. A run begins with the first call of a recorded run; each run of the set is that beginning equally often.
2. It goes on with the steps of this run: how much of which prompt is kept, new tokens, answer, wait, sub-agents, and whether the run is
   over. So everything that goes together within a few calls stays together.
3. After each call, with probability ``1 / block_calls``, it leaves this run for another one, at a call after which that one was in a
   similar state: drawn from the `neighbours` nearest by log of calls so far, prompt and longest prompt so far. The other run may end there.
4. What a step keeps is a share of the prompt it extends, what it adds is tokens: the context of the new run is its own.

A run ends before a call whose prompt would be longer than the set's longest. A sub-agent is copied whole, with the call that spawned it.
Where every run says when it arrived, the gaps between arrivals are drawn one by one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from simulator.errors import Mistake, UserError
from simulator.units import MOST_TRAJECTORIES
from simulator.workload.trajectory import QUALITIES, Call, SubAgent, Trajectory, TrajectorySet, prefix_depths

__all__ = ["generate_like"]

BLOCK_CALLS = 8
"""Mean length of the stretches of recorded calls that a drawn run is made of."""
NEIGHBOURS = 5
REACH = 0.15
"""States whose logs of calls so far differ by less are looked at first."""


def generate_like(
    found: TrajectorySet,
    trajectories: int | None = None,
    seed: int = 0,
    block_calls: float = BLOCK_CALLS,
    neighbours: int = NEIGHBOURS,
) -> TrajectorySet:
    """A set of drawn trajectories; the same arguments give the same set, and a shorter one is the beginning of a longer one.

    Parameters
    ----------
    found : TrajectorySet
        What to imitate.
    trajectories : int, optional
        How many to draw; as many as the set has when left out.
    seed : int
    block_calls : float
        Mean calls before a run goes on as another recorded one.
    neighbours : int
        Among how many similar states the other one is drawn.

    Raises
    ------
    UserError
        When an argument is out of range.
    """
    count = len(found.trajectories) if trajectories is None else trajectories
    checks = (
        ("trajectories", count, 1 <= count <= MOST_TRAJECTORIES, f"1 to {MOST_TRAJECTORIES:,}"),
        ("seed", seed, seed >= 0, ">= 0"),
        ("block_calls", block_calls, math.isfinite(block_calls) and block_calls >= 1, "at least 1"),
        ("neighbours", neighbours, neighbours >= 1, "at least 1"),
    )
    mistakes = [Mistake("generate", name, str(value), allowed) for name, value, good, allowed in checks if not good]
    if mistakes:
        raise UserError(mistakes)
    states = _States(found)
    drawn = [_drawn(states, index, seed, block_calls, neighbours) for index in range(count)]
    if found.has_arrivals:
        arrivals_s = _arrivals_s(found, count, seed)
        drawn = [replace(trajectory, arrival_s=arrival_s) for trajectory, arrival_s in zip(drawn, arrivals_s, strict=True)]
    quality = found.provenance.get("quality", "measured")
    provenance = {
        "origin": f"generated like {found.name} ({len(found.trajectories)} trajectories)",
        "method": f"matched-block bootstrap: seed={seed}, block_calls={block_calls:g}, neighbours={neighbours}; numbers of recorded calls, "
        "in stretches that never followed each other",
        "quality": max(quality, "fitted", key=QUALITIES.index),
        "like": found.provenance.get("origin", ""),
    }
    return replace(found, name=f"{found.name}_like", trajectories=tuple(drawn), provenance=provenance)


def _arrivals_s(found: TrajectorySet, count: int, seed: int) -> list[float]:
    """Times at which the drawn runs arrive: gaps between the recorded arrivals, drawn one by one."""
    recorded = np.sort([run.arrival_s for run in found.trajectories if run.arrival_s is not None])
    gaps = np.random.default_rng([seed, 2]).choice(np.diff(recorded, prepend=0.0), size=count)
    return [round(float(arrival_s), 6) for arrival_s in np.cumsum(gaps)]


@dataclass(slots=True)
class _Node:
    """A call of a run while it is drawn: what it extends, and the threads it spawns with their delays."""

    call: Call
    base: "_Node | None" = None
    threads: list[tuple[float, list["_Node"]]] = field(default_factory=list)


class _States:
    """The set's runs after each call of their main threads, as points to find similar ones by."""

    def __init__(self, found: TrajectorySet) -> None:
        self.runs, self.depths = found.trajectories, prefix_depths(found.prefixes)
        self.longest = max(call.prompt_tokens for run in self.runs for call in run.calls)
        points = np.array([point for run in self.runs for point in _points([run.calls[index].prompt_tokens for index in run.threads[0]])])
        place = [(number, index) for number, run in enumerate(self.runs) for index in run.threads[0]]
        order = np.argsort(points[:, 0], kind="stable")
        self.points = points[order]
        self.place = [place[state] for state in order]
        self.run_of = np.array([number for number, _ in self.place])
        self.spawned: list[dict[int, list[int]]] = []  # by run: call -> sub-agents
        for run in self.runs:
            by_call: dict[int, list[int]] = {}
            for number, agent in enumerate(run.sub_agents):
                by_call.setdefault(agent.spawned_by, []).append(number)
            self.spawned.append(by_call)

    def similar(self, point: Sequence[float], left: int, neighbours: int) -> NDArray[np.int64]:
        """Nearest states of other runs than `left`: looked for near in calls so far first, then among all if some may be nearer."""
        for reach in (REACH, math.inf):
            begin, end = np.searchsorted(self.points[:, 0], (point[0] - reach, point[0] + reach))
            distance = np.square(self.points[begin:end] - np.asarray(point)).sum(axis=1)
            distance[self.run_of[begin:end] == left] = np.inf
            nearest = np.argpartition(distance, neighbours)[:neighbours] if neighbours < distance.size else np.arange(distance.size)
            if nearest.size == neighbours and distance[nearest].max() <= reach * reach:
                break
        return np.asarray(begin + nearest[np.isfinite(distance[nearest])])


def _points(prompts: Sequence[int]) -> list[tuple[float, float, float]]:
    """State after each call: log of calls so far, of the prompt, and of the longest prompt so far."""
    longest = np.maximum.accumulate(prompts).tolist()
    return [(math.log(n), math.log(prompt), math.log(most)) for n, (prompt, most) in enumerate(zip(prompts, longest, strict=True), start=1)]


def _drawn(states: _States, index: int, seed: int, block_calls: float, neighbours: int) -> Trajectory:
    """One run."""
    rounds, within = divmod(index, len(states.runs))
    run = int(np.random.default_rng([seed, 0, rounds]).permutation(len(states.runs))[within])
    rng = np.random.default_rng([seed, 1, index])
    chain = _Chain(states)
    at = 0
    chain.add(run, at)
    while True:
        if rng.random() < 1 / block_calls:
            near = states.similar(chain.point, run, neighbours)
            if near.size:
                run, at = states.place[int(rng.choice(near))]
        if at + 1 == len(states.runs[run].threads[0]):
            return chain.trajectory(f"like-{index:05d}")
        at += 1
        if not chain.add(run, at):
            return chain.trajectory(f"like-{index:05d}")


class _Chain:
    """A run while it is drawn."""

    def __init__(self, states: _States) -> None:
        self.states = states
        self.main: list[_Node] = []
        self.longest = 0
        self.copied: dict[int, _Node] = {}  # of the recorded run that is copied: its calls
        self.run, self.at = -1, -1

    @property
    def point(self) -> tuple[float, float, float]:
        return math.log(len(self.main)), math.log(self.main[-1].call.prompt_tokens), math.log(self.longest)

    def add(self, number: int, at: int) -> bool:
        """Goes on with call `at` of a recorded run; False when its prompt would be longer than any recorded one."""
        if (number, at) != (self.run, self.at + 1):
            self.copied = {}
            if self.main:
                self.copied[at - 1] = self.main[-1]
        run = self.states.runs[number]
        node = self.copy(run, at)
        if node.call.prompt_tokens > self.states.longest:
            return False
        self.run, self.at = number, at
        self.main.append(node)
        self.copied[at] = node
        self.longest = max(self.longest, node.call.prompt_tokens)
        for agent in self.states.spawned[number].get(at, ()):
            node.threads.append(self.sub_agent(number, agent))
        return True

    def copy(self, run: Trajectory, index: int) -> _Node:
        """A call that keeps of its own base the share that the recorded one kept of its."""
        call, base = run.calls[index], run.base(index)
        if base < 0:
            return _Node(call)
        recorded, own = run.calls[base], self.copied.get(base) or self.nearest(run.calls[base].prompt_tokens)
        kept = own.call.prompt_tokens if call.kept_tokens == recorded.prompt_tokens else 0
        kept = kept or round(call.kept_tokens / recorded.prompt_tokens * own.call.prompt_tokens)
        new = max(call.new_tokens, 0 if kept else 1)
        prefix = call.prefix if call.prefix is not None and self.states.depths[call.prefix] <= kept + new else None
        return _Node(replace(call, kept_tokens=kept, new_tokens=new, extends=None, prefix=prefix), own)

    def nearest(self, prompt_tokens: int) -> _Node:
        """The latest call of the main thread so far whose prompt is closest to a length."""
        return min(reversed(self.main), key=lambda node: abs(node.call.prompt_tokens - prompt_tokens))

    def sub_agent(self, number: int, agent: int) -> tuple[float, list[_Node]]:
        """A copy of a sub-agent and of all below it."""
        run, thread = self.states.runs[number], []
        for index in run.threads[agent + 1]:
            node = self.copy(run, index)
            self.copied[index] = node
            thread.append(node)
            for below in self.states.spawned[number].get(index, ()):
                node.threads.append(self.sub_agent(number, below))
        return run.sub_agents[agent].delay_s, thread

    def trajectory(self, name: str) -> Trajectory:
        """The run with its threads in the order of the calls that spawn them."""
        threads: list[list[_Node]] = [self.main]
        nodes: list[_Node] = []
        place: dict[int, int] = {}
        before: dict[int, _Node | None] = {}
        agents: list[SubAgent] = []
        for thread in threads:  # grows meanwhile
            for previous, node in zip([None, *thread], thread, strict=False):
                place[id(node)], before[id(node)] = len(nodes), previous
                nodes.append(node)
            threads += [below for node in thread for _, below in node.threads]
        for node in nodes:
            agents += [SubAgent(place[id(node)], place[id(thread[0])], delay_s) for delay_s, thread in node.threads]
        calls = tuple(
            node.call if node.base is before[id(node)] or node.base is None else replace(node.call, extends=place[id(node.base)])
            for node in nodes
        )
        return Trajectory(name, calls, {}, tuple(agents))
