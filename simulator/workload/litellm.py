"""Reads LiteLLM logs (logging payloads or spend logs, JSON lines or a list). Inputs: file, folder or archive.

Requests of one session (else of one trace) follow each other. Failed ones are left out; ``cache_hit`` speaks of whole answers, not of
prefixes: such a request never reached a model and is left out too.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from simulator.workload.messages import prompt_of
from simulator.workload.records import Reading, Records, Row
from simulator.workload.session import Request, Thread
from simulator.workload.sessions import COMPARED, COUNTED, Sessions
from simulator.workload.source import Source
from simulator.workload.trajectory import TrajectorySet


def read_litellm(path: Path, reading: Reading = Reading()) -> TrajectorySet:
    """A set from LiteLLM logs.

    Raises
    ------
    UserError
        When a record is bad, or none succeeded.
    """
    records, threads = Records(path, reading), defaultdict[str, Thread](Thread)
    for source in records.sources((".jsonl", ".json"), is_litellm):
        for row in _rows(records, source):
            with records.record():
                if row.text("status", "success") != "success" or row.values.get("cache_hit") in (True, "True", "true"):
                    records.counts["failed"] += 1
                    continue
                name = row.text("session_id", None) or row.text("trace_id", None) or row.text("id", None) or row.text("request_id")
                if not row.whole("completion_tokens"):
                    records.counts["without output"] += 1
                    continue
                threads[name].requests.append(_request(row))
    sessions = Sessions(records, common=True)
    for name, thread in threads.items():
        sessions.add_clocked(name, thread)
    return sessions.as_set("LiteLLM log", "estimated", f"recorded tokens; {COMPARED} where they were logged, else {COUNTED}")


def is_litellm(rows: list[Any]) -> bool:
    """Whether a file begins like a LiteLLM log."""
    rows = rows[0] if rows and isinstance(rows[0], list) else rows
    return any(isinstance(row, dict) and {"startTime", "endTime", "prompt_tokens", "completion_tokens"} <= row.keys() for row in rows)


def _rows(records: Records, source: Source) -> Iterator[Row]:
    first = source.first_rows()
    if first and isinstance(first[0], list):
        yield from Row(source.place, 0, {"records": first[0]}).rows("records")
    else:
        yield from records.rows(source)


def _request(row: Row) -> Request:
    start_s, end_s = _time(row, "startTime"), _time(row, "endTime")
    if end_s < start_s:
        row.refuse("endTime", "a time not before startTime")
    prompt, messages = row.whole("prompt_tokens", 1), row.values.get("messages")
    common: dict[str, Any] = {"by_tool": False}
    if isinstance(messages, list) and messages:
        said = prompt_of(messages)
        last = messages[-1]
        common = {"ids": said.ids, "ends": said.ends(prompt), "by_tool": isinstance(last, dict) and last.get("role") == "tool"}
    return Request(start_s, end_s - start_s, prompt, row.whole("completion_tokens", 1), model=row.text("model", ""), **common)


def _time(row: Row, name: str) -> float:
    return float(row.iso_s(name) if isinstance(row.values.get(name), str) else row.number(name))
