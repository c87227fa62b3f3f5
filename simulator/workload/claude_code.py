"""Reads Claude Code sessions (JSON lines under ``projects/``, sub-agents beside or inside them). Inputs: file, folder or archive.

A response is several lines with one message id: the largest output counts. The whole prompt is uncached, read and written tokens together.
A request was sent when what came before it (a person's text, a tool's result) was there; prompts that go back in the tree of messages
extend the request they go back to. A sub-agent hangs below the last request sent before its own first one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.workload.records import Reading, Records, Row
from simulator.workload.session import Request, Thread, attach
from simulator.workload.sessions import COUNTED, Sessions
from simulator.workload.trajectory import TrajectorySet

TYPES = ("user", "assistant", "summary", "system")


@dataclass(slots=True)
class _Response:
    """The lines of one response together."""

    name: str
    uuids: list[str]
    parent: str
    end_s: float
    first_s: float
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    model: str
    tools: dict[str, str] = field(default_factory=dict)  # by id of the use: name


@dataclass(slots=True)
class _Log:
    """What one session (or sub-agent) said: its responses by id, when each line was written, and when each tool was over."""

    responses: dict[str, _Response] = field(default_factory=dict)
    at_s: dict[str, float] = field(default_factory=dict)
    parent: dict[str, str] = field(default_factory=dict)
    person: set[str] = field(default_factory=set)
    result_s: dict[str, float] = field(default_factory=dict)


def read_claude_code(path: Path, reading: Reading = Reading()) -> TrajectorySet:
    """A set of sessions with their sub-agents; lines that stand in several files are read once.

    Raises
    ------
    UserError
        When a line is bad, or nothing has usage.
    """
    records = Records(path, reading)
    logs: defaultdict[str, defaultdict[str, _Log]] = defaultdict(lambda: defaultdict(_Log))  # by session, by agent ("" for the main thread)
    seen: set[str] = set()
    for source in records.sources((".jsonl",), is_claude_code):
        for row in records.rows(source):
            if row.values.get("type") not in ("user", "assistant") or "message" not in row.values:
                continue
            with records.record():
                uuid = row.text("uuid")
                if uuid in seen:
                    records.counts["copies"] += 1
                    continue
                seen.add(uuid)
                _take(row, uuid, logs[row.text("sessionId", source.name)])
    sessions = Sessions(records)
    for name, agents in logs.items():
        main = _thread(agents.pop("", _Log()))
        for log in agents.values():
            attach(main, _thread(log))
        sessions.add_clocked(name, main, {"harness": "Claude Code"})
    method = f"recorded usage, whole prompt = uncached + cache read + cache written; {COUNTED}"
    return sessions.as_set("Claude Code sessions", "estimated", method)


def is_claude_code(rows: list[Any]) -> bool:
    """Whether a file begins like a Claude Code session."""
    return any(
        isinstance(row, dict) and row.get("type") in TYPES and {"uuid", "sessionId"} <= row.keys() and "message" in row for row in rows
    )


def _take(row: Row, uuid: str, agents: defaultdict[str, _Log]) -> None:
    """Adds a line to the log of its thread."""
    side = row.values.get("isSidechain") is True
    parent = row.text("parentUuid", "")
    agent = row.text("agentId", None) if side else ""
    if agent is None:  # older sidechains have no id: they are told apart by the line that began them
        agent = next((name for name, log in agents.items() if name and parent in log.at_s), uuid)
    log, at_s = agents[agent], row.iso_s("timestamp")
    log.at_s[uuid], log.parent[uuid] = at_s, parent
    message = row.inner("message")
    content = message.values.get("content")
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    if row.values["type"] == "assistant":
        _take_answer(row, uuid, message, parts, log, at_s)
        return
    results = [str(part.get("tool_use_id")) for part in parts if part.get("type") == "tool_result"]
    for use in results:
        log.result_s.setdefault(use, at_s)
    if not results:
        log.person.add(uuid)


def _take_answer(row: Row, uuid: str, message: Row, parts: Iterable[dict[str, Any]], log: _Log, at_s: float) -> None:
    usage = message.inner("usage", None)
    if usage is None:
        return
    prompt = usage.whole("input_tokens") + usage.whole("cache_read_input_tokens", 0, 0) + usage.whole("cache_creation_input_tokens", 0, 0)
    name = message.text("id", None) or row.text("requestId", uuid)
    output, cached = usage.whole("output_tokens"), usage.whole("cache_read_input_tokens", 0, 0)
    found = log.responses.get(name)
    if found is None:
        found = _Response(name, [], row.text("parentUuid", ""), at_s, at_s, prompt, cached, output, message.text("model", ""))
        log.responses[name] = found
    found.uuids.append(uuid)
    found.end_s, found.output_tokens = max(found.end_s, at_s), max(found.output_tokens, output)
    found.prompt_tokens = max(found.prompt_tokens, prompt)
    found.tools |= {str(part.get("id")): str(part.get("name", "")) for part in parts if part.get("type") == "tool_use"}


def _thread(log: _Log) -> Thread:
    """The requests of a log in order of time; ids are the requests that a prompt goes through in the tree of messages."""
    of_line = {uuid: response for response in log.responses.values() for uuid in response.uuids}
    number = {name: index for index, name in enumerate(log.responses)}
    paths: dict[str, list[int]] = {}
    sizes = [response.prompt_tokens for response in log.responses.values()]
    thread = Thread()
    for response in sorted(log.responses.values(), key=lambda one: one.first_s):
        if response.prompt_tokens < 1 or response.output_tokens < 1:
            continue
        before = _above(log, response, of_line)
        path = paths.get(before.name, []) if before is not None and before.prompt_tokens <= response.prompt_tokens else []
        paths[response.name] = [*path, number[response.name]]
        start_s = min(log.at_s.get(response.parent, response.first_s), response.first_s)
        spent = [log.result_s[use] - response.end_s for use in response.tools if use in log.result_s]
        thread.requests.append(
            Request(
                start_s=start_s,
                model_s=response.end_s - start_s,
                prompt_tokens=response.prompt_tokens,
                output_tokens=response.output_tokens,
                ids=paths[response.name],
                ends=[sizes[place] for place in paths[response.name]],
                by_tool=response.parent not in log.person,
                cached_tokens=response.cached_tokens,
                sandbox_s=max(0.0, *spent) if spent else None,
                tools=tuple(response.tools.values()),
                model=response.model,
            )
        )
    thread.requests.sort(key=lambda request: request.start_s)
    return thread


def _above(log: _Log, response: _Response, of_line: dict[str, _Response]) -> _Response | None:
    """The request before one in the tree of messages; the one before in time where the lines name no parent."""
    uuid, steps = response.parent, 0
    while uuid and steps <= len(log.parent):  # a circle ends too
        found = of_line.get(uuid)
        if found is not None and found is not response:
            return found
        uuid, steps = log.parent.get(uuid, ""), steps + 1
    if any(log.parent.values()):
        return None
    earlier = [one for one in log.responses.values() if one.first_s < response.first_s]
    return max(earlier, key=lambda one: one.first_s, default=None)
