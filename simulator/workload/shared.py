"""What prompts of different trajectories begin with in common, kept right while sets are cut, scaled and put together. Inputs: sets."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from simulator.workload.trajectory import Prefix, Trajectory, TrajectorySet, prefix_depths


def pruned(found: TrajectorySet) -> TrajectorySet:
    """The set without prefixes that no prompt begins with."""
    used = {call.prefix for trajectory in found.trajectories for call in trajectory.calls if call.prefix is not None}
    for index in range(len(found.prefixes) - 1, -1, -1):
        if index in used and found.prefixes[index].parent >= 0:
            used.add(found.prefixes[index].parent)
    if len(used) == len(found.prefixes):
        return found
    place = {old: new for new, old in enumerate(sorted(used))}
    prefixes = tuple(replace(found.prefixes[old], parent=place.get(found.prefixes[old].parent, -1)) for old in place)
    return replace(found, trajectories=tuple(_renumbered(trajectory, place) for trajectory in found.trajectories), prefixes=prefixes)


def scaled_prefixes(prefixes: Sequence[Prefix], factor: float) -> tuple[Prefix, ...]:
    """Prefixes whose ends lie deeper by a factor; each stays at least one token long."""
    depths: list[int] = []
    scaled: list[Prefix] = []
    for prefix, depth in zip(prefixes, prefix_depths(prefixes), strict=True):
        above = depths[prefix.parent] if prefix.parent >= 0 else 0
        depths.append(max(above + 1, round(depth * factor)))
        scaled.append(replace(prefix, tokens=depths[-1] - above))
    return tuple(scaled)


def side_by_side(sets: Sequence[TrajectorySet]) -> tuple[tuple[Prefix, ...], list[list[Trajectory]]]:
    """One tree of prefixes for several sets, and each set's trajectories by it; a set's shared prefix becomes a prefix of its own."""
    prefixes: list[Prefix] = []
    moved: list[list[Trajectory]] = []
    for found in sets:
        first = len(prefixes)
        if found.shared_prefix_tokens:
            prefixes.append(Prefix(found.shared_prefix_tokens))
            moved.append([_spelled_out(trajectory, found.shared_prefix_tokens, first) for trajectory in found.trajectories])
            continue
        prefixes += [replace(prefix, parent=prefix.parent + first if prefix.parent >= 0 else -1) for prefix in found.prefixes]
        place = {index: index + first for index in range(len(found.prefixes))}
        moved.append([_renumbered(trajectory, place) for trajectory in found.trajectories])
    return tuple(prefixes), moved


def _spelled_out(trajectory: Trajectory, tokens: int, prefix: int) -> Trajectory:
    """What a shared prefix says of a trajectory in words of its own: every prompt shares as much with the first one, and that one begins
    with a prefix of the set."""
    first, calls = trajectory.calls[0], list(trajectory.calls)
    if first.prompt_tokens >= tokens:
        calls[0] = replace(first, prefix=prefix)
    for index, call in enumerate(calls[1:], start=1):
        base = trajectory.base(index)
        by_base = max(call.kept_tokens, min(tokens, call.prompt_tokens, trajectory.calls[base].prompt_tokens if base >= 0 else 0))
        kept = max(by_base, min(tokens, call.prompt_tokens, first.prompt_tokens))
        extends = call.extends if kept == by_base else 0
        calls[index] = replace(call, kept_tokens=kept, new_tokens=call.prompt_tokens - kept, extends=extends)
    return replace(trajectory, calls=tuple(calls))


def _renumbered(trajectory: Trajectory, place: Mapping[int, int]) -> Trajectory:
    """The trajectory with its prefixes by their new numbers."""
    if all(call.prefix is None for call in trajectory.calls):
        return trajectory
    calls = tuple(call if call.prefix is None else replace(call, prefix=place[call.prefix]) for call in trajectory.calls)
    return replace(trajectory, calls=calls)
