"""The sessions of a log while they are read, and the set they become. Inputs: threads of requests, one session at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from simulator.errors import Mistake, UserError
from simulator.workload.common_prefixes import CommonPrefixes, with_prefixes
from simulator.workload.records import Records
from simulator.workload.session import PERSON_CUT, SPAWN_CUT, TOOL_CUT, Thread, laid_out, session_trajectory
from simulator.workload.trajectory import History, Prefix, Trajectory, TrajectorySet

COUNTED = "a prompt no shorter than the one before keeps all of it, a shorter one what the provider's cache served"
COMPARED = "kept_tokens from the longest common prefix of messages"

DROPPED = {
    "without output": "requests without output",
    "failed": "failed requests",
    "empty": "empty sessions",
    "copies": "copies of lines or requests",
}
"""What readers leave out, by what they count it under."""


class Sessions:
    """Trajectories of a log's sessions, in the order of their ids once they are a set.

    Parameters
    ----------
    records : Records
        What reads the log, with the counts for provenance.
    common : bool
        Whether ids mean the same in every session, so that what sessions share becomes prefixes of the set.
    block_tokens : int
        Tokens of a block, for the reuse that is told; 1 for messages.
    """

    def __init__(self, records: Records, common: bool = False, block_tokens: int = 1) -> None:
        self.records = records
        self.found: list[tuple[Trajectory, Thread, float | None]] = []
        self.common, self.block_tokens = common, block_tokens
        self.names: set[str] = set()

    def add(self, name: str, main: Thread, labels: Mapping[str, str] | None = None, began_s: float | None = None) -> None:
        """Adds a session; one without requests is counted and left out.

        Parameters
        ----------
        began_s : float, optional
            When it began, on a clock that all sessions of the log share.
        """
        if not main.requests:
            self.records.counts["empty"] += 1
            return
        unique, copies = name, 1
        while unique in self.names:
            copies += 1
            unique = f"{name}#{copies}"
        self.names.add(unique)
        threads = laid_out(main)
        trajectory = session_trajectory(unique, threads, self.records.reading.idle_cap_s, self.records.counts, dict(labels or {}))
        if not self.common:
            main = Thread()  # its ids are no longer needed
        self.found.append((trajectory, main, began_s))

    def add_clocked(self, name: str, main: Thread, labels: Mapping[str, str] | None = None) -> None:
        """Adds a session whose requests have times on a clock that all sessions share; puts them in order."""
        main.requests.sort(key=lambda request: request.start_s)
        self.add(name, main, labels, main.requests[0].start_s if main.requests else None)

    def as_set(self, what: str, quality: str, method: str, history: History = "recorded", **more: str) -> TrajectorySet:
        """The set, with its provenance; raises what was wrong with the log."""
        records = self.records
        records.end()
        if not self.found:
            raise UserError(Mistake(str(records.path), "", "no session with a request", f"a {what}"))
        self.found.sort(key=lambda one: one[0].id)
        trajectories, prefixes = self._shared()
        origin_s = min((began_s for _, _, began_s in self.found if began_s is not None), default=0.0)
        arrived = [
            replace(trajectory, arrival_s=None if began_s is None else round(began_s - origin_s, 6))
            for trajectory, (_, _, began_s) in zip(trajectories, self.found, strict=True)
        ]
        provenance = {"origin": f"{what} {records.path.name}", "quality": quality, "method": method, **self._told(), **more}
        return TrajectorySet(records.path.name.split(".")[0], history, 0, tuple(arrived), provenance, prefixes)

    def _shared(self) -> tuple[tuple[Trajectory, ...], tuple[Prefix, ...]]:
        plain = tuple(trajectory for trajectory, _, _ in self.found)
        if not self.common:
            return plain, ()
        common = CommonPrefixes(self.block_tokens)
        for number, (_, main, _) in enumerate(self.found):
            for thread in laid_out(main):
                for request in thread.requests:
                    common.add(number, request.ids or [], request.tokens_at)
        return with_prefixes(plain, common)

    def _told(self) -> dict[str, str]:
        """What was cut and left out."""
        counts, cap_s = self.records.counts, self.records.reading.idle_cap_s
        found = {
            "cut": f"waits over {cap_s:g} s cut to that: {counts[TOOL_CUT]} after tools, {counts[PERSON_CUT]} after people, "
            f"{counts[SPAWN_CUT]} before sub-agents"
        }
        left_out = {DROPPED[key]: counts[key] for key in DROPPED if counts[key]}
        if left_out:
            found["dropped"] = ", ".join(f"{count} {name}" for name, count in left_out.items())
        if counts["sub-agents"]:
            found["sub_agents"] = f"{counts['sub-agents']} sub-agents run beside each other; {counts['late']} that outlived their parent's "
            found["sub_agents"] += "next request are joined before it"
        return {**found, **self.records.skipped()}
