"""The rows of a Weka session: requests on the session's clock, each sub-agent's beside its parent's. Inputs: one parsed session file."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from typing import Any

from simulator.errors import Mistake, UserError
from simulator.workload.session import Request, Thread

SLACK_S = 1.0
"""Times of requests are recorded in whole seconds or finer: two that differ by less may be the same."""


def read_session(session: dict[str, Any], counts: Counter[str]) -> Thread:
    """The requests of a session in order of start, with its sub-agents, without those that have nothing to replay; `counts` grows.

    Raises
    ------
    UserError
        With every mistake in the session's rows.
    """
    reader = _Rows(session, counts)
    main = reader.rows(session["requests"], 0.0, "")
    if reader.mistakes:
        raise UserError(reader.mistakes)
    return main


class _Rows:
    """Reads the rows of one session, gathering mistakes."""

    def __init__(self, session: dict[str, Any], counts: Counter[str]) -> None:
        self.session, self.counts = session, counts
        self.mistakes: list[Mistake] = []

    def rows(self, rows: Any, offset_s: float, place: str) -> Thread:
        thread, before = Thread(), None
        for index, row in enumerate(rows):
            inside = f"{place}requests[{index}]"
            if isinstance(row, dict) and row.get("type") == "subagent":
                self.sub_agent(thread, row, offset_s, inside)
                before = None
            else:
                before = self.append(thread, row, offset_s, before, inside)
        thread.requests.sort(key=lambda request: request.start_s)
        starts = [request.start_s for request in thread.requests]
        for agent in thread.agents:
            agent.spawned_by = max(0, bisect_right(starts, agent.launch_s) - 1)
        thread.agents.sort(key=lambda agent: (agent.spawned_by, agent.launch_s))
        if thread.agents and not thread.requests:
            self.counts["orphans"] += len(thread.agents)
            thread.agents.clear()
        return thread

    def sub_agent(self, above: Thread, row: dict[str, Any], offset_s: float, place: str) -> None:
        """A sub-agent of the thread read so far. Its row stands at the time when it was over where it says how long it ran, as long as it
        thus began after the request before it; else at its launch. Its requests' times count from its launch, or from the session's start
        in newer captures."""
        inner, marker_s, ran_ms = row.get("requests") or [], row.get("t", 0.0), row.get("duration_ms")
        count = len(self.mistakes)
        self.check(isinstance(inner, list), row, place, "requests", "a list of requests")
        self.check(isinstance(marker_s, int | float), row, place, "t", "seconds")
        self.check(ran_ms is None or isinstance(ran_ms, int | float), row, place, "duration_ms", "milliseconds")
        if len(self.mistakes) > count:
            return
        launch_s = float(marker_s) + offset_s
        if ran_ms and launch_s - ran_ms / 1000 >= max((request.start_s for request in above.requests[-1:]), default=0.0):
            launch_s -= ran_ms / 1000
        starts = [child["t"] for child in inner if isinstance(child, dict) and isinstance(child.get("t"), int | float)]
        agent = self.rows(inner, launch_s if starts and min(starts) < launch_s - SLACK_S else 0.0, f"{place}.")
        agent.launch_s = launch_s
        if agent.requests:
            above.agents.append(agent)
            self.counts["sub-agent requests"] += len(agent.requests)

    def append(self, thread: Thread, row: Any, offset_s: float, before: float | None, place: str) -> float | None:
        """Adds one request and returns its start; None when there is nothing to replay, so that the next one has no neighbour."""
        if not isinstance(row, dict):
            self.mistakes.append(Mistake(self.session["file"], place, str(row)[:40], "an object"))
            return None
        if row.get("error") or row.get("out") == 0:
            self.counts["skipped"] += 1
            return None
        count = len(self.mistakes)
        for name in ("in", "out"):
            self.check(type(row.get(name)) is int and 1 <= row[name] < 2**53, row, place, name, "a whole number >= 1")
        for name in ("t", "api_time", "think_time"):
            self.check(isinstance(row.get(name, 0.0), int | float), row, place, name, "seconds")
        ids = row.get("hash_ids")
        self.check(isinstance(ids, list), row, place, "hash_ids", "a list of block hashes")
        if len(self.mistakes) > count:
            return None
        self.check(len(row["hash_ids"]) * self.session["block_size"] <= row["in"], row, place, "hash_ids", "at most in // block_size ids")
        start_s, by_tool = float(row.get("t", 0.0)) + offset_s, "tool_result" in (row.get("input_types") or [])
        wait_s = row.get("think_time")
        size, model = self.session["block_size"], row.get("model")
        thread.requests.append(
            Request(
                start_s, row.get("api_time"), row["in"], row["out"], row["hash_ids"], size, by_tool, wait_s, before, model=str(model or "")
            )
        )
        return start_s

    def check(self, good: bool, row: dict[str, Any], place: str, name: str, allowed: str) -> None:
        if not good:
            self.mistakes.append(Mistake(self.session["file"], f"{place}.{name}", str(row.get(name))[:40], allowed))
