"""Reads OpenTelemetry GenAI spans (OTLP JSON: one document, or one a line). Inputs: file, folder or archive.

Requests are the innermost spans with token usage; those of one conversation (else of one trace) follow each other. Requests below another
``invoke_agent`` span than the outermost are a sub-agent's. Tools are the ``execute_tool`` spans between a request and the next.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.errors import Mistake, UserError
from simulator.units import whole_number
from simulator.workload.records import Reading, Records, Row
from simulator.workload.session import Request, Thread, attach
from simulator.workload.sessions import COUNTED, Sessions
from simulator.workload.source import Source
from simulator.workload.trajectory import TrajectorySet

INPUT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
MOST_DIGITS = 19
"""Of an integer, which OTLP writes as text: it has 64 bits."""


@dataclass(slots=True)
class _Span:
    """A span, its attributes as plain values."""

    row: Row
    trace: str
    name: str
    parent: str
    start_s: float
    end_s: float
    attributes: Row


def read_otel(path: Path, reading: Reading = Reading()) -> TrajectorySet:
    """A set of conversations.

    Raises
    ------
    UserError
        When a span is bad, spans are each other's parents, or none has token usage.
    """
    records = Records(path, reading)
    spans: dict[str, _Span] = {}
    for source in records.sources((".json", ".jsonl"), is_otel):
        for row in _rows(records, source):
            with records.record():
                span = _span(row)
                records.counts["copies"] += span.name in spans
                spans[span.name] = span
    above = {name: _agents(span, spans) for name, span in spans.items()}
    busy = {span.parent for span in spans.values() if _usage(span)}
    sessions = Sessions(records)
    groups: defaultdict[str, list[_Span]] = defaultdict(list)
    of_trace = {span.trace: str(span.attributes.values["gen_ai.conversation.id"]) for span in spans.values()
                if "gen_ai.conversation.id" in span.attributes.values}  # fmt: skip
    for span in spans.values():
        groups[str(span.attributes.values.get("gen_ai.conversation.id") or of_trace.get(span.trace, span.trace))].append(span)
    for name, group in groups.items():
        main = Thread()
        with records.record():
            main = _session(group, above, busy, records)
        if main.requests:
            sessions.add_clocked(name, main)
    return sessions.as_set("OpenTelemetry spans", "estimated", f"recorded tokens, cached ones included; {COUNTED}")


def is_otel(rows: list[Any]) -> bool:
    """Whether a file begins like OTLP JSON of spans."""
    return any(isinstance(row, dict) and isinstance(row.get("resourceSpans"), list) for row in rows)


def _rows(records: Records, source: Source) -> Iterator[Row]:
    """Spans of a file, one document or one a line."""
    first = source.first_rows()
    whole = len(first) == 1 and isinstance(first[0], dict)
    documents = [Row(source.place, 0, first[0])] if whole else records.rows(source)
    for document in documents:
        with records.record():
            for resource in document.rows("resourceSpans"):
                for scope in resource.rows("scopeSpans", None) or resource.rows("instrumentationLibrarySpans", []):
                    yield from scope.rows("spans")


def _span(row: Row) -> _Span:
    start_s, end_s = _nanoseconds(row, "startTimeUnixNano"), _nanoseconds(row, "endTimeUnixNano")
    if end_s < start_s:
        row.refuse("endTimeUnixNano", "a time not before startTimeUnixNano")
    values = {item.text("key"): _plain(item.inner("value")) for item in row.rows("attributes", [])}
    attributes = Row(row.file, row.line, values, row.place)
    return _Span(row, row.text("traceId", ""), row.text("spanId"), str(row.values.get("parentSpanId") or ""), start_s, end_s, attributes)


def _nanoseconds(row: Row, name: str) -> float:
    found = whole_number(str(row.values.get(name)), MOST_DIGITS)
    if found is None:
        row.refuse(name, "nanoseconds, as text")
    return found / 1e9


def _plain(value: Row) -> Any:
    """An attribute's value: OTLP writes integers as texts."""
    kind, content = next(iter(value.values.items()), ("", None))
    text = str(content)
    return int(text) if kind == "intValue" and whole_number(text.removeprefix("-"), MOST_DIGITS) is not None else content


def _usage(span: _Span) -> bool:
    return any(name in span.attributes.values for name in INPUT)


def _agents(span: _Span, spans: dict[str, _Span]) -> tuple[str, ...]:
    """The ``invoke_agent`` spans that a span lies in, outermost first."""
    found, seen = list[str](), {span.name}
    place = spans.get(span.parent)
    while place is not None:
        if place.name in seen:
            raise UserError(Mistake(span.row.file, "parentSpanId", place.name, "a span that is not below this one", "", span.row.line))
        seen.add(place.name)
        if place.attributes.values.get("gen_ai.operation.name") == "invoke_agent":
            found.append(place.name)
        place = spans.get(place.parent)
    return tuple(reversed(found))


def _session(group: list[_Span], above: dict[str, tuple[str, ...]], busy: set[str], records: Records) -> Thread:
    """The threads of a conversation: one for each innermost agent, below that of the agent outside it."""
    asked = sorted((span for span in group if _usage(span) and span.name not in busy), key=lambda span: span.start_s)
    tools = sorted(
        (span for span in group if span.attributes.values.get("gen_ai.operation.name") == "execute_tool"), key=lambda s: s.start_s
    )
    threads: dict[tuple[str, ...], list[_Span]] = defaultdict(list)
    for span in asked:
        if span.attributes.values.get("error.type"):
            records.counts["failed"] += 1
            continue
        threads[above[span.name][1:]].append(span)  # turns of a conversation are runs of its outermost agent
    built: dict[tuple[str, ...], Thread] = {}
    for agents in sorted(threads, key=len):
        thread = built[agents] = _thread(threads[agents], [tool for tool in tools if above[tool.name][1:] == agents])
        outside = next((agents[:n] for n in range(len(agents) - 1, -1, -1) if agents[:n] in built), None)
        if outside is not None and thread.requests:
            attach(built[outside], thread)
    return built[()] if () in built else next(iter(built.values()), Thread())


def _thread(spans: list[_Span], tools: list[_Span]) -> Thread:
    thread = Thread()
    for number, span in enumerate(spans):
        until_s = spans[number + 1].start_s if number + 1 < len(spans) else float("inf")
        ran = [tool for tool in tools if span.start_s <= tool.start_s < until_s]
        values = span.attributes
        prompt, output = (
            next(name for name in (*names, names[0]) if name in values.values or name == names[0]) for names in (INPUT, OUTPUT)
        )
        if not values.whole(output, 0, 0):
            continue
        spent = max(tool.end_s for tool in ran) - min(tool.start_s for tool in ran) if ran else None
        thread.requests.append(
            Request(
                start_s=span.start_s,
                model_s=span.end_s - span.start_s,
                prompt_tokens=values.whole(prompt, 1),
                output_tokens=values.whole(output, 1),
                by_tool=bool(thread.requests and thread.requests[-1].tools),
                cached_tokens=values.whole("gen_ai.usage.cache_read.input_tokens", 0, None),
                sandbox_s=spent,
                tools=tuple(str(tool.attributes.values.get("gen_ai.tool.name") or tool.row.values.get("name", "")) for tool in ran),
                model=values.text("gen_ai.request.model", ""),
            )
        )
    return thread
