"""Reads OpenHands runs (``output.jsonl``): events with times, and usage and latency of each call. Inputs: file, folder or archive.

A run is a line. Its calls are ``metrics.token_usages``, joined to latencies and to the events of their actions by the id of the response;
tools took the time from an action to its observation. Runs without usage are read from their events, with estimated tokens.
"""

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from simulator.workload.messages import Prompt, estimated_tokens, token_method
from simulator.workload.records import Reading, Records, Row
from simulator.workload.session import Request, Thread
from simulator.workload.sessions import COMPARED, COUNTED, Sessions
from simulator.workload.trajectory import TrajectorySet


def read_openhands(path: Path, reading: Reading = Reading()) -> TrajectorySet:
    """A set of runs, one a line (or a file that is a bare list of events).

    Raises
    ------
    UserError
        When a line is no run.
    """
    records = Records(path, reading)
    sessions = Sessions(records, common=False)
    for source in records.sources((".jsonl", ".json"), is_openhands):
        rows = source.first_rows()
        stem = PurePath(source.name).name.rsplit(".", 1)[0]
        runs = [Row(source.place, 0, {"history": rows[0]})] if len(rows) == 1 and isinstance(rows[0], list) else records.rows(source)
        for number, run in enumerate(runs):
            with records.record():
                sessions.add(run.text("instance_id", f"{stem}-{number}"), *_session(run, records))
    counts = records.counts
    method = f"{token_method(counts, reading)}; " + "; ".join([COUNTED] * bool(counts["recorded"]) + [COMPARED] * bool(counts["estimated"]))
    return sessions.as_set("OpenHands runs", "estimated", method)


def is_openhands(rows: list[Any]) -> bool:
    """Whether a file begins like OpenHands output, or is a list of its events."""
    if rows and isinstance(rows[0], list):
        return bool(rows[0]) and all(isinstance(event, dict) and ("action" in event or "observation" in event) for event in rows[0])
    return any(isinstance(row, dict) and isinstance(row.get("history"), list) and "metrics" in row for row in rows)


def _session(run: Row, records: Records) -> tuple[Thread, dict[str, str], float | None]:
    labels = {"harness": "OpenHands", "language": _language(run)}
    metrics = run.inner("metrics", None)
    usages = metrics.rows("token_usages", None) if metrics is not None else None
    history = [event for event in _events(run) if "action" in event.values or "observation" in event.values]
    began_s = _time(history[0]) if history else None
    if not usages or metrics is None:
        return _from_events(history, records), labels, began_s
    latency_s = {one.text("response_id", ""): one.number("latency") for one in metrics.rows("response_latencies", [])}
    thread, clock_s = Thread(), began_s or 0.0
    acted, observed = _actions(history)
    for usage in usages:
        name = usage.text("response_id", "")
        actions = acted.get(name, [])
        model_s = latency_s.get(name)
        end_s = min((at_s for at_s, _, _ in actions), default=clock_s + (model_s or 0.0))
        spent = [observed[event] - at_s for at_s, event, _ in actions if event in observed]
        thread.requests.append(
            Request(
                start_s=end_s - (model_s or 0.0),
                model_s=model_s,
                prompt_tokens=usage.whole("prompt_tokens", 1),
                output_tokens=max(1, usage.whole("completion_tokens")),
                cached_tokens=usage.whole("cache_read_tokens", 0, None),
                sandbox_s=max(0.0, sum(spent)) if spent else None,
                tools=tuple(tool for _, _, tool in actions if tool not in ("message", "finish")),
                model=usage.text("model", ""),
            )
        )
        clock_s = max(end_s, *(observed.get(event, end_s) for _, event, _ in actions)) if actions else end_s
        records.counts["recorded"] += 1
    return thread, labels, began_s


def _events(run: Row) -> list[Row]:
    """The events of a run; older files pair an action with its observation."""
    flat: list[Any] = []
    for event in run.values.get("history") or []:
        flat += event if isinstance(event, list) else [event]
    return list(Row(run.file, run.line, {"history": flat}, run.place).rows("history"))


def _actions(history: list[Row]) -> tuple[dict[str, list[tuple[float, str, str]]], dict[str, float]]:
    """By response: time, event and name of its actions; by event: when it was first observed."""
    acted: dict[str, list[tuple[float, str, str]]] = {}
    observed: dict[str, float] = {}
    for event in history:
        at_s = _time(event)
        if at_s is None:
            continue
        meta = event.values.get("tool_call_metadata")
        response = meta.get("model_response") if isinstance(meta, Mapping) else None
        if "action" in event.values and isinstance(response, Mapping):
            acted.setdefault(str(response.get("id", "")), []).append((at_s, str(event.values.get("id")), str(event.values["action"])))
        if "observation" in event.values and event.values.get("cause") is not None:
            observed.setdefault(str(event.values["cause"]), at_s)
    return acted, observed


def _time(event: Row) -> float | None:
    """Seconds of an event; its time has no zone, and only differences are used."""
    return event.iso_s("timestamp") if event.values.get("timestamp") is not None else None


def _from_events(history: list[Row], records: Records) -> Thread:
    """Requests of a run without usage: an action of the agent is an answer, what stands before it the prompt."""
    thread, prompt, clock_s = Thread(), Prompt(records.reading.token_rule), 0.0
    for index, event in enumerate(history):
        mine = "action" in event.values and event.values.get("source", "agent") == "agent" and event.values["action"] != "system"
        if mine and prompt.ids:
            end_s = _time(event)
            after_s = _time(history[index + 1]) if index + 1 < len(history) and "observation" in history[index + 1].values else None
            ran_s = max(0.0, after_s - end_s) if after_s is not None and end_s is not None else None
            size, answer = prompt.tokens, estimated_tokens(event.values, records.reading)
            start_s = min(clock_s, end_s) if end_s is not None else clock_s
            model_s = None if end_s is None else end_s - start_s
            tool = str(event.values["action"])
            request = Request(start_s, model_s, size, answer, list(prompt.ids), prompt.ends(size), sandbox_s=ran_s, tools=(tool,))
            thread.requests.append(request)
            records.counts["estimated"] += 1
        clock_s = _time(event) or clock_s
        prompt.add(event.values)
    return thread


def _language(run: Row) -> str:
    instance = run.inner("instance", None)
    return str(instance.values.get("language") or "") if instance is not None else ""
