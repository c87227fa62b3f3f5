"""Small trajectories drawn by Hypothesis, with sub-agents or without, and what is over before what, by following each wait."""

from __future__ import annotations

from hypothesis import strategies as st

from simulator.workload import Call, SubAgent, Trajectory, TrajectorySet


def waits(trajectory: Trajectory) -> list[set[int]]:
    """By call: every call that must be over before it is sent. Each wait is an edge, and waits add up."""
    direct: list[set[int]] = [set() for _ in trajectory.calls]
    starts = [0, *(agent.first for agent in trajectory.sub_agents), len(trajectory.calls)]
    threads = [range(starts[i], starts[i + 1]) for i in range(len(starts) - 1)]
    for agent in trajectory.sub_agents:
        direct[agent.first].add(agent.spawned_by)
    for thread in threads:
        for index in thread[1:]:
            direct[index] |= {index - 1} | _ends(trajectory, threads, index - 1)
    before: list[set[int]] = [set() for _ in trajectory.calls]
    while True:
        more = []
        for known, edges in zip(before, direct, strict=True):
            near = known | edges
            more.append(near | {far for call in near for far in before[call]})
        if more == before:
            return before
        before = more


def _ends(trajectory: Trajectory, threads: list[range], index: int) -> set[int]:
    """The last calls of all that call `index` spawned, and of all that those spawned in turn."""
    found: set[int] = set()
    for number, agent in enumerate(trajectory.sub_agents, start=1):
        if agent.spawned_by == index:
            found |= {threads[number][-1]} | _ends(trajectory, threads, threads[number][-1])
    return found


@st.composite
def sub_agents(draw: st.DrawFn) -> tuple[int, tuple[SubAgent, ...]]:
    """How many calls a trajectory has, and its sub-agents: some nested, some siblings."""
    total, agents = draw(st.integers(1, 5)), []
    index, most = 0, draw(st.integers(0, 4))
    while index < total and len(agents) < most:
        for _ in range(draw(st.sampled_from([0, 0, 1, 2, 3]))):
            agents.append(SubAgent(index, total, draw(st.sampled_from([0.0, 0.5]))))
            total += draw(st.integers(1, 3))
        index += 1
    return total, tuple(agents)


@st.composite
def trajectories(draw: st.DrawFn, name: str = "t", spawning: bool = True) -> Trajectory:
    """Short calls that extend what is over before them, often the whole of it."""
    total, agents = draw(sub_agents()) if spawning else (draw(st.integers(1, 6)), ())
    before = waits(Trajectory(name, (Call(0, 1, 1),) * total, {}, agents))
    calls = [Call(0, 1, 1)] * total
    for index in sorted(range(total), key=lambda index: (len(before[index]), index)):
        frame = Trajectory(name, tuple(calls), {}, agents)
        extends = draw(st.sampled_from(sorted(before[index]))) if before[index] and draw(st.booleans()) else None
        base = frame.base(index) if extends is None else extends
        whole = calls[base].prompt_tokens if base >= 0 else 0
        kept = draw(st.one_of(st.just(whole), st.integers(0, whole)))
        new = draw(st.integers(0 if kept else 1, 30))
        calls[index] = Call(kept, new, draw(st.integers(1, 20)), draw(st.sampled_from([0.0, 0.25])), extends)
    return Trajectory(name, tuple(calls), {}, agents)


@st.composite
def trajectory_sets(draw: st.DrawFn, spawning: bool = True) -> TrajectorySet:
    """One to three trajectories, some prompts shorter than the shared prefix."""
    drawn = tuple(draw(trajectories(f"t{number}", spawning)) for number in range(draw(st.integers(1, 3))))
    return TrajectorySet("drawn", "recorded", draw(st.sampled_from([0, 0, 3, 9, 20])), drawn)
