"""Reads Codex rollouts (``rollout-*.jsonl``): events with cumulative and per-call token counts. Inputs: file, folder or archive.

A call is a ``token_count`` event that changes the running total; the same total told again is no call. A session that was forked repeats
the events of the one it came from: requests that this one told first are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from simulator.workload.records import Reading, Records, Row
from simulator.workload.session import Request, Thread
from simulator.workload.sessions import COUNTED, Sessions
from simulator.workload.trajectory import TrajectorySet

TYPES = ("session_meta", "turn_context", "response_item", "event_msg", "compacted")


@dataclass(slots=True)
class _Rollout:
    """One session: its requests, and the totals at which they stand."""

    name: str
    forked_from: str = ""
    began_s: float | None = None
    model: str = ""
    requests: list[Request] = field(default_factory=list)
    totals: list[tuple[int, ...]] = field(default_factory=list)
    input_s: float | None = None  # when the next request could be sent
    by_tool: bool = False
    called: dict[str, tuple[float, str]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)


def read_codex(path: Path, reading: Reading = Reading()) -> TrajectorySet:
    """A set of sessions, one a file.

    Raises
    ------
    UserError
        When a line is bad, or nothing has token counts.
    """
    records = Records(path, reading)
    rollouts: dict[str, _Rollout] = {}
    for source in records.sources((".jsonl",), is_codex):
        rollout = _Rollout(PurePath(source.name).name.removesuffix(".jsonl"))
        for row in records.rows(source):
            with records.record():
                _take(row, rollout)
        if rollout.name in rollouts:
            records.counts["copies"] += len(rollout.requests)
            continue
        rollouts[rollout.name] = rollout
    sessions = Sessions(records)
    for rollout in rollouts.values():
        told = _repeated(rollout, rollouts.get(rollout.forked_from))
        records.counts["copies"] += told
        sessions.add(rollout.name, Thread(rollout.requests[told:]), {"harness": "Codex"}, rollout.began_s)
    return sessions.as_set("Codex rollouts", "estimated", f"recorded tokens of each call, cached ones included; {COUNTED}")


def is_codex(rows: list[Any]) -> bool:
    """Whether a file begins like a Codex rollout."""
    return any(isinstance(row, dict) and row.get("type") in TYPES and "payload" in row and "timestamp" in row for row in rows)


def _repeated(rollout: _Rollout, parent: _Rollout | None) -> int:
    """Leading requests of a forked session that are those of its parent."""
    if parent is None:
        return 0
    same = 0
    while same < min(len(rollout.totals), len(parent.totals)) and rollout.totals[same] == parent.totals[same]:
        same += 1
    return same


def _take(row: Row, rollout: _Rollout) -> None:
    kind, payload = row.text("type"), row.inner("payload", None)
    if payload is None or kind not in TYPES:
        return
    at_s, what = row.iso_s("timestamp"), payload.values.get("type")
    if kind == "session_meta":
        rollout.name = payload.text("id", rollout.name)
        rollout.forked_from = payload.text("forked_from_id", "")
        rollout.began_s = at_s
    elif kind == "turn_context":
        rollout.model = payload.text("model", rollout.model)
    elif kind == "response_item" and what in ("function_call", "custom_tool_call", "local_shell_call"):
        tool = payload.text("name", str(what))
        rollout.called[payload.text("call_id", "")] = (at_s, tool)
        rollout.names.append(tool)
    elif kind == "response_item" and what in ("function_call_output", "custom_tool_call_output"):
        _take_output(payload, rollout, at_s)
    elif kind == "response_item" and what == "message" and payload.values.get("role") == "user":
        rollout.input_s, rollout.by_tool = at_s, False
    elif kind == "event_msg" and what == "token_count":
        _take_count(payload, rollout, at_s)


def _take_output(payload: Row, rollout: _Rollout, at_s: float) -> None:
    """The end of a tool. Those of one answer may run side by side: the longest counts; calls are told before or after the count."""
    called_s, _ = rollout.called.pop(payload.text("call_id", ""), (at_s, ""))
    if rollout.requests and at_s >= called_s:
        last = rollout.requests[-1]
        names, rollout.names = (*last.tools, *rollout.names), []
        rollout.requests[-1] = replace(last, sandbox_s=max(last.sandbox_s or 0.0, at_s - called_s), tools=names)
    rollout.input_s, rollout.by_tool = at_s, True


def _take_count(payload: Row, rollout: _Rollout, at_s: float) -> None:
    info = payload.inner("info", None)
    if info is None:
        return
    total, last = info.inner("total_token_usage"), info.inner("last_token_usage", None)
    stand = (total.whole("input_tokens"), total.whole("output_tokens", 0, 0))
    if last is None or (rollout.totals and rollout.totals[-1] == stand):
        return
    prompt, output = last.whole("input_tokens"), last.whole("output_tokens")
    if prompt < 1 or output < 1:
        return
    start_s = min(rollout.input_s if rollout.input_s is not None else at_s, at_s)
    rollout.totals.append(stand)
    cached = last.whole("cached_input_tokens", 0, None)
    request = Request(start_s, at_s - start_s, prompt, output, by_tool=rollout.by_tool, cached_tokens=cached, tools=tuple(rollout.names))
    rollout.requests.append(replace(request, model=rollout.model))
    rollout.names = []
    rollout.input_s, rollout.by_tool = at_s, True
