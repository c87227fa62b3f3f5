"""Cuts trajectories to a context limit. Inputs: a `Trajectory` and the longest prompt and output that a deployment serves."""

from dataclasses import replace

from simulator.workload.trajectory import Call, SubAgent, Trajectory


def cut_trajectory(trajectory: Trajectory, limit: int) -> Trajectory | None:
    """The calls that fit: each thread ends before its first call whose prompt and output exceed `limit`, and what calls that are cut
    spawned vanishes. The trajectory itself when all fit, None when not even its first call does.

    A call whose prompt extended a call that is cut keeps what both shared with the nearest prompt left; its prompt stays as long as it is.
    """
    fits = [call.prompt_tokens + call.output_tokens <= limit for call in trajectory.calls]
    if all(fits):
        return trajectory
    if not fits[0]:
        return None
    lengths = [next((n for n, index in enumerate(thread) if not fits[index]), len(thread)) for thread in trajectory.threads]
    place: dict[int, int] = {}  # by index of a call that stays: its new one
    sub_agents: list[SubAgent] = []
    for number, (thread, length) in enumerate(zip(trajectory.threads, lengths, strict=True)):
        if number:
            agent = trajectory.sub_agents[number - 1]
            if not length or agent.spawned_by not in place:
                continue
            sub_agents.append(SubAgent(place[agent.spawned_by], len(place), agent.delay_s))
        for index in thread[:length]:
            place[index] = len(place)
    calls = tuple(_moved(trajectory, index, place) for index in place)
    return replace(trajectory, calls=calls, sub_agents=tuple(sub_agents))


def _moved(trajectory: Trajectory, index: int, place: dict[int, int]) -> Call:
    """A call that stays, with `extends` by the new indices."""
    call = trajectory.calls[index]
    kept, base = call.kept_tokens, call.extends
    if base is None:
        return call
    while base >= 0 and base not in place:
        kept, base = min(kept, trajectory.calls[base].kept_tokens), trajectory.base(base)
    if base < 0:
        kept = 0
    return replace(call, kept_tokens=kept, new_tokens=call.prompt_tokens - kept, extends=place[base] if base >= 0 else None)
