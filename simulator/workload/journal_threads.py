"""Threads out of a recording: calls of a session that were in flight together become sub-agents. Inputs: the calls of a journal.

1. Calls of a session that overlap in time, or are joined by others that do, are a group. A group of one is the next call of the main
   thread.
2. In a larger group each call that goes on from the last call of a chain of the group continues that chain; any other begins one. The
   chains are sub-agents of the main thread's call before the group, side by side, and over before the call after it.
3. A group before which the main thread has no call has nobody to spawn it: each of its chains is a trajectory of its own.
4. A call whose prompt goes on from one that a replay need not have finished by then goes on from the nearest before that; what it keeps
   shrinks accordingly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from simulator.workload.trajectory import Call, SubAgent, Trajectory

if TYPE_CHECKING:
    from simulator.workload.journal import Recorded

Chain = list["Recorded"]


def trajectories_of(
    calls: Sequence[Recorded],
    idle_cap_s: float,
    labels: Mapping[str, str],
    counts: Counter[str],
    begins: Mapping[int, int],
) -> tuple[Trajectory, ...]:
    """A trajectory for each session, and for each chain that none spawned; `counts` grows, `begins` are prefixes by number of a call."""
    sessions: dict[int, list[Recorded]] = {}
    for call in calls:
        sessions.setdefault(call.session, []).append(call)
    found: list[Trajectory] = []
    for number, own in sorted(sessions.items()):
        own.sort(key=lambda call: (call.start_s, call.call))
        main, fans, apart = _threads(own)
        counts["apart"] += len(apart)
        for place, chain in enumerate(apart, start=1):
            found.append(_Builder(chain, {}, idle_cap_s, counts, begins).trajectory(f"session-{number:05d}.{place}", labels))
        if main:
            counts["sub-agents"] += sum(map(len, fans.values()))
            found.append(_Builder(main, fans, idle_cap_s, counts, begins).trajectory(f"session-{number:05d}", labels))
    return tuple(found)


def _threads(calls: list[Recorded]) -> tuple[Chain, dict[int, list[Chain]], list[Chain]]:
    """The main thread, the chains spawned by its calls (by their place in it), and those that none spawned."""
    main: Chain = []
    fans: dict[int, list[Chain]] = {}
    apart: list[Chain] = []
    for group in _groups(calls):
        if len(group) == 1:
            main += group
        elif main:
            fans.setdefault(len(main) - 1, []).extend(_chains(group))
        else:
            apart += _chains(group)
    return main, fans, apart


def _groups(calls: list[Recorded]) -> list[list[Recorded]]:
    groups: list[list[Recorded]] = []
    end_s = -1.0
    for call in calls:
        if groups and call.start_s < end_s:
            groups[-1].append(call)
        else:
            groups.append([call])
        end_s = max(end_s, call.end_s)
    return groups


def _chains(group: list[Recorded]) -> list[Chain]:
    chains: list[Chain] = []
    for call in group:
        known = next((chain for chain in chains if chain[-1].call == call.after and chain[-1].end_s <= call.start_s), None)
        if known is None:
            chains.append([call])
        else:
            known.append(call)
    return chains


class _Builder:
    """Lays a main thread and its sub-agents out as a trajectory."""

    def __init__(
        self, main: Chain, fans: Mapping[int, list[Chain]], idle_cap_s: float, counts: Counter[str], begins: Mapping[int, int]
    ) -> None:
        self.main, self.fans, self.idle_cap_s, self.counts, self.begins = main, fans, idle_cap_s, counts, begins
        self.order = [*main, *(call for place in sorted(fans) for chain in fans[place] for call in chain)]
        self.place = {call.call: index for index, call in enumerate(self.order)}
        self.recorded = {call.call: call for call in self.order}

    def trajectory(self, name: str, labels: Mapping[str, str]) -> Trajectory:
        ends = [max([call.end_s, *(each.end_s for chain in self.fans.get(n, ()) for each in chain)]) for n, call in enumerate(self.main)]
        waits = self.waits(self.main, ends)
        agents: list[SubAgent] = []
        first = len(self.main)
        for place in sorted(self.fans):
            for chain in self.fans[place]:
                delay_s = self.capped(chain[0].start_s - self.main[place].end_s, "spawn")
                agents.append(SubAgent(place, first, delay_s))
                first += len(chain)
                waits += self.waits(chain, [call.end_s for call in chain])
        frame = Trajectory(name, tuple(Call(0, 1, 1) for _ in self.order), {}, tuple(agents))
        calls = tuple(self.call(frame, index, wait_s) for index, wait_s in enumerate(waits))
        return Trajectory(name, calls, dict(labels), tuple(agents), min(call.start_s for call in self.order))

    def waits(self, chain: Chain, ends: list[float]) -> list[float]:
        """Seconds from each call's end, or that of what it spawned, to the next one; 0 after the last."""
        waits_s = [
            self.capped(after.start_s - end_s, "tool" if after.after_tool else "person")
            for end_s, after in zip(ends, chain[1:], strict=False)
        ]
        return [*waits_s, 0.0]

    def capped(self, wait_s: float, what: str) -> float:
        self.counts[what] += wait_s > self.idle_cap_s
        return round(min(max(wait_s, 0.0), self.idle_cap_s), 6)

    def call(self, frame: Trajectory, index: int, wait_s: float) -> Call:
        """A call that goes on from one that is surely over when it is sent."""
        own = self.order[index]
        kept, after = own.kept_tokens, own.after
        while after is not None and not (after in self.place and frame.over(self.place[after], index)):
            base = self.recorded.get(after)
            kept, after = (min(kept, base.kept_tokens), base.after) if base is not None else (0, None)
        if after is None:
            kept, extends = 0, None
        else:
            extends = None if self.place[after] == frame.base(index) else self.place[after]
        return Call(kept, own.prompt_tokens - kept, own.output_tokens, wait_s, extends, self.begins.get(own.call))
