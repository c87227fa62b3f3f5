"""Reads OpenCode storage (``session``, ``message`` and ``part`` JSON files) and its exported sessions. Inputs: folder, archive or file.

A call is a ``step-finish`` part where a message has them, else the message. Whole prompt = input + cache read + cache written; generated
tokens = output + reasoning. Parts have no clock but tools do: a step ends where its first tool starts, the next begins where its last one
ends.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from simulator.workload.records import Reading, Records, Row
from simulator.workload.session import Request, Thread, attach
from simulator.workload.sessions import COUNTED, Sessions
from simulator.workload.trajectory import TrajectorySet

PART_TYPES = ("step-finish", "step-start", "tool", "text", "reasoning", "file", "snapshot", "patch", "agent")


class _Storage:
    """What the files hold, by kind: sessions by id, messages by session, parts by message."""

    def __init__(self) -> None:
        self.sessions: dict[str, Row] = {}
        self.messages: defaultdict[str, list[Row]] = defaultdict(list)
        self.parts: defaultdict[str, list[Row]] = defaultdict(list)

    def take(self, row: Row) -> None:
        values = row.values
        if isinstance(values.get("info"), dict) and isinstance(values.get("messages"), list):
            self.sessions[row.inner("info").text("id")] = row.inner("info")
            for message in row.rows("messages"):
                self.messages[message.inner("info").text("sessionID")].append(message.inner("info"))
                self.parts[message.inner("info").text("id")] += message.rows("parts", [])
        elif "role" in values:
            self.messages[row.text("sessionID")].append(row)
        elif values.get("type") in PART_TYPES:
            self.parts[row.text("messageID")].append(row)
        else:
            self.sessions[row.text("id")] = row


def read_opencode(path: Path, reading: Reading = Reading()) -> TrajectorySet:
    """A set of sessions; one with a ``parentID`` in the log is a sub-agent of that.

    Raises
    ------
    UserError
        When a file is bad, sessions are each other's parents, or nothing has tokens.
    """
    records, storage = Records(path, reading), _Storage()
    for source in records.sources((".json",), is_opencode):
        with records.record():
            storage.take(records.document(source))
    threads: dict[str, Thread] = {}
    for name in storage.sessions.keys() | storage.messages.keys():
        with records.record():
            threads[name] = _thread(storage, name)
    sessions = Sessions(records)
    for name in sorted(threads, key=lambda one: threads[one].launch_s):
        with records.record():
            parent = _parent(storage, name)
            if parent in threads and threads[parent].requests:
                attach(threads[parent], threads[name])
    for name in sorted(threads):
        parent = _parent(storage, name)
        if parent not in threads or not threads[parent].requests:
            sessions.add_clocked(name, threads[name], {"harness": "OpenCode"})
    return sessions.as_set("OpenCode sessions", "estimated", f"recorded tokens of each step; {COUNTED}")


def is_opencode(rows: list[Any]) -> bool:
    """Whether a file is a session, message or part of OpenCode, or an exported session."""
    if len(rows) != 1 or not isinstance(rows[0], dict):
        return False
    row = rows[0]
    if isinstance(row.get("info"), dict) and isinstance(row.get("messages"), list):
        return "time" in row["info"] and "id" in row["info"]
    part = "messageID" in row and row.get("type") in PART_TYPES
    return part or ("sessionID" in row and "role" in row) or {"id", "time", "title", "version"} <= row.keys()


def _parent(storage: _Storage, name: str) -> str:
    """The session that a session was launched from; circles are refused."""
    seen, place = {name}, name
    while place in storage.sessions and (above := storage.sessions[place].text("parentID", "")):
        if above in seen:
            storage.sessions[name].refuse("parentID", "a session that is not below this one")
        seen.add(above)
        place = above
    return str(storage.sessions[name].text("parentID", "")) if name in storage.sessions else ""


def _thread(storage: _Storage, name: str) -> Thread:
    thread, asked_s = Thread(), 0.0
    messages = sorted(storage.messages[name], key=lambda message: message.inner("time").number("created"))
    for message in messages:
        times = message.inner("time")
        created_s = times.number("created") / 1000
        if message.text("role") != "assistant":
            asked_s = created_s
            continue
        completed_s = times.number("completed", created_s * 1000) / 1000
        by_person = asked_s > (thread.requests[-1].start_s if thread.requests else -1.0)
        thread.requests += _requests(message, storage.parts[message.text("id")], created_s, completed_s, not by_person)
    thread.launch_s = thread.requests[0].start_s if thread.requests else 0.0
    return thread


def _requests(message: Row, parts: list[Row], created_s: float, completed_s: float, by_tool: bool) -> list[Request]:
    """The calls of one message: its steps, or itself."""
    parts = sorted(parts, key=lambda part: str(part.values.get("id", "")))
    finished = [part for part in parts if part.values.get("type") == "step-finish"]
    if not finished:
        tokens = message.inner("tokens", None)
        return [] if tokens is None else _one(message, tokens, created_s, completed_s, by_tool, [])
    found: list[Request] = []
    start_s, tools = created_s, list[Row]()
    for part in parts:
        if part.values.get("type") == "tool":
            tools.append(part)
        if part.values.get("type") == "step-finish":
            spans = [span for tool in tools if (span := _span(tool)) is not None]
            end_s = min((begin for begin, _ in spans), default=completed_s if part is finished[-1] else start_s)
            found += _one(message, part.inner("tokens"), start_s, max(start_s, end_s), by_tool or bool(found), tools)
            start_s, tools = max((over for _, over in spans), default=end_s), []
    return found


def _one(message: Row, tokens: Row, start_s: float, end_s: float, by_tool: bool, tools: list[Row]) -> list[Request]:
    cache = tokens.inner("cache", None) or Row(tokens.file, tokens.line, {})
    read = cache.whole("read", 0, 0)
    prompt = tokens.whole("input") + read + cache.whole("write", 0, 0)
    output = tokens.whole("output") + tokens.whole("reasoning", 0, 0)
    if prompt < 1 or output < 1:
        return []
    spans = [span for tool in tools if (span := _span(tool)) is not None]
    ran_s = max(over for _, over in spans) - min(begin for begin, _ in spans) if spans else None
    names = tuple(tool.text("tool", "") for tool in tools)
    model = message.text("modelID", "")
    return [
        Request(start_s, end_s - start_s, prompt, output, by_tool=by_tool, cached_tokens=read, sandbox_s=ran_s, tools=names, model=model)
    ]


def _span(tool: Row) -> tuple[float, float] | None:
    state = tool.inner("state", None)
    times = state.inner("time", None) if state is not None else None
    if times is None or times.values.get("start") is None or times.values.get("end") is None:
        return None
    return times.number("start") / 1000, max(times.number("start"), times.number("end")) / 1000
