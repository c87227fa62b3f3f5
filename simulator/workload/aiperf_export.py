"""Reads what AIPerf measured (``profile_export.jsonl``): a record a request, with times and usage. Inputs: file, folder or archive.

Requests of one correlation id (else conversation) follow each other; one with a parent's correlation id is a sub-agent of that. Warm-up,
cancelled and failed requests are left out.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

from simulator.errors import Mistake, UserError
from simulator.workload.records import Reading, Records, Row
from simulator.workload.session import Request, Thread, attach
from simulator.workload.sessions import COUNTED, Sessions
from simulator.workload.trajectory import TrajectorySet


def read_aiperf_export(path: Path, reading: Reading = Reading()) -> TrajectorySet:
    """A set from AIPerf's records; prompts by the server's usage, else by AIPerf's own count.

    Raises
    ------
    UserError
        When a record is bad, conversations are each other's parents, or none was profiled.
    """
    records = Records(path, reading)
    threads, parent, names = defaultdict[str, Thread](Thread), dict[str, str](), dict[str, str]()
    for source in records.sources((".jsonl",), is_aiperf_export):
        for row in records.rows(source):
            with records.record():
                about = row.inner("metadata")
                name = about.text("x_correlation_id", None) or about.text("conversation_id", f"r{row.line:06d}")
                names[name] = about.text("conversation_id", name)
                request = _request(row, about, records)
                if request is not None:
                    threads[name].requests.append(request)
                    parent[name] = about.text("parent_correlation_id", "")
    sessions = Sessions(records)
    for name, thread in threads.items():
        thread.requests.sort(key=lambda request: request.start_s)
        _refuse_circle(name, parent, str(path))
    for name in sorted(threads, key=lambda one: threads[one].requests[0].start_s):
        if parent[name] in threads:
            attach(threads[parent[name]], threads[name])
    for name, thread in threads.items():
        if parent[name] not in threads:
            sessions.add_clocked(names[name], thread)
    return sessions.as_set("AIPerf records", "estimated", f"the server's usage, else AIPerf's count; {COUNTED}")


def is_aiperf_export(rows: list[Any]) -> bool:
    """Whether a file begins like AIPerf's records."""
    return any(
        isinstance(row, dict) and isinstance(row.get("metadata"), dict) and "request_start_ns" in row["metadata"] and "metrics" in row
        for row in rows
    )


def _request(row: Row, about: Row, records: Records) -> Request | None:
    if about.text("benchmark_phase", "profiling") != "profiling":
        records.counts["warm-up"] += 1
        return None
    if row.values.get("error") or about.values.get("was_cancelled"):
        records.counts["failed"] += 1
        return None
    metrics = row.inner("metrics")
    prompt = _value(metrics, "usage_prompt_tokens", "input_sequence_length")
    output = _value(metrics, "usage_completion_tokens", "output_sequence_length")
    if output == 0:
        records.counts["without output"] += 1
        return None
    start_s, end_s = about.number("request_start_ns") / 1e9, about.number("request_end_ns", None)
    latency = metrics.inner("request_latency", None)
    model_s = latency.number("value") / 1e3 if latency is not None else None
    if end_s is not None:
        model_s = max(0.0, end_s / 1e9 - start_s)
    cached = metrics.inner("usage_prompt_cache_read_tokens", None)
    found = cached.whole("value") if cached is not None else None
    if prompt < 1:
        metrics.refuse("usage_prompt_tokens", "a prompt of at least 1 token")
    return Request(start_s, model_s, prompt, output, cached_tokens=found, model=about.text("model", ""))


def _value(metrics: Row, *names: str) -> int:
    """The first of some metrics that is there."""
    found = next((metric for name in names if (metric := metrics.inner(name, None)) is not None), None)
    if found is None:
        metrics.refuse(names[0], f"{' or '.join(names)}, as {{value, unit}}")
    return int(found.whole("value"))


def _refuse_circle(name: str, parent: dict[str, str], file: str) -> None:
    seen, place = {name}, parent.get(name, "")
    while place:
        if place in seen:
            raise UserError(Mistake(file, "parent_correlation_id", place, "a conversation that is not below this one"))
        seen.add(place)
        place = parent.get(place, "")
