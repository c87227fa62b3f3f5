"""Reads Dynamo traces: Mooncake rows with sessions, agentic v1 (``wait_for``) and v2 (``dependencies``). Inputs: file, folder or archive.

A thread is a session, or what ``sequence`` dependencies chain; a thread that begins when a request of another one ends is its sub-agent.
The rows have no times of the model: a request starts when the last one it waits for is over, and the stated delays are its waits.
"""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from simulator.errors import Mistake, UserError
from simulator.workload.mooncake import checked_ids
from simulator.workload.records import Reading, Records, Row
from simulator.workload.session import Request, Thread
from simulator.workload.sessions import Sessions
from simulator.workload.trajectory import TrajectorySet

SCHEMA = "dynamo.agentic_mooncake"
ALIASES = {"input_tokens": "input_length", "output_tokens": "output_length", "created_time": "timestamp", "delay_ms": "delay"}


@dataclass(slots=True)
class _Sent:
    """A row, what it waits for, and, once these are placed, its request."""

    row: Row
    name: str
    group: str
    after: list[tuple[str, str]]  # request and relation
    delay_s: float
    tool_s: float | None
    arrival_s: float | None
    thread: Thread = field(default_factory=Thread)
    number: int = 0
    below: bool = False  # its thread is another one's sub-agent


def read_dynamo(path: Path, reading: Reading = Reading()) -> TrajectorySet:
    """A set from a Dynamo trace.

    Raises
    ------
    UserError
        When a row is bad, requests wait for each other in a circle, or the reading does not say what the file leaves open: the tokens of
        a block (not in v2), and whether lengths of one session are whole prompts or what each adds.
    """
    records = Records(path, reading)
    sent: dict[str, _Sent] = {}
    size, scope = reading.block_tokens, "global"
    for source in records.sources((".jsonl", ".json"), is_dynamo):
        last: dict[str, str] = {}
        for row in records.rows(source):
            with records.record():
                if row.values.get("schema") == SCHEMA:
                    size, scope = size or row.whole("block_size", 1), row.text("hash_id_scope", "global")
                    continue
                one = _sent(row, len(sent), last)
                if one.name in sent:
                    row.refuse("request_id", "an id that no other request of the file has")
                sent[one.name] = one
                last[one.group] = one.name
    sessions = Sessions(records, scope == "global", size or 1)
    if len({one.group for one in sent.values()}) < len(sent) and reading.prompts is None and not _agentic(sent):
        hint = "a Dynamo file of whole prompts and one of deltas have the same keys: say which (Reading.prompts)"
        raise UserError(Mistake(str(path), "input_length", "lengths that may be either", "full or delta", hint))
    _place(records, sent, size, reading.prompts == "delta")
    for one in sent.values():
        if one.number == 0 and not one.below and one.thread.requests:
            sessions.add(one.group, one.thread, None, one.arrival_s)
    method = f"lengths and delays as recorded; hash ids in blocks of {size}" if size else "lengths and delays as recorded"
    quality = "measured" if all(one.row.values.get("hash_ids") for one in sent.values()) else "estimated"
    return sessions.as_set("Dynamo trace", quality, method, "generated" if reading.prompts == "delta" else "recorded")


def is_dynamo(rows: list[Any]) -> bool:
    """Whether a file begins like a Dynamo trace."""

    def one(row: Any) -> bool:
        if not isinstance(row, dict):
            return False
        keys = {ALIASES.get(key, key) for key in row}
        mine = {"session_id", "request_id", "play_id"} & keys
        return row.get("schema") == SCHEMA or bool(mine and {"input_length", "output_length"} <= keys)

    return any(one(row) for row in rows)


def _agentic(sent: dict[str, _Sent]) -> bool:
    return any("wait_for" in one.row.values or "dependencies" in one.row.values for one in sent.values())


def _sent(plain: Row, number: int, last: dict[str, str]) -> _Sent:
    row = Row(plain.file, plain.line, {ALIASES.get(key, key): value for key, value in plain.values.items()})
    name, group = row.text("request_id", f"#{number}"), row.text("play_id", None) or row.text("session_id", f"r{number:06d}")
    after: list[tuple[str, str]] = []
    delay_s, tool_s = row.number("delay", 0.0) / 1000, row.number("tool_wait_ms", None)
    if "dependencies" in row.values:
        found = [dependency for dependency in row.rows("dependencies") if dependency.text("relation") != "replay_barrier"]
        after = [(dependency.text("request_id"), dependency.text("relation")) for dependency in found]
        delay_s = max((dependency.number("delay_ms", 0.0) for dependency in found), default=0.0) / 1000
    elif "wait_for" in row.values:
        if not isinstance(row.values["wait_for"], list) or not all(isinstance(other, str) for other in row.values["wait_for"]):
            row.refuse("wait_for", "a list of request ids")
        after = [(other, "") for other in row.values["wait_for"]]
    elif group in last:
        after = [(last[group], "sequence")]
    arrival_s = row.number("not_before_ms", row.number("timestamp", None))
    return _Sent(row, name, group, after, delay_s + (tool_s or 0.0) / 1000, tool_s and tool_s / 1000, arrival_s and arrival_s / 1000)


def _place(records: Records, sent: dict[str, _Sent], size: int | None, delta: bool) -> None:
    """Gives each row its request and its place in a thread, each after all that it waits for."""
    waiting: dict[str, int] = {}
    then: defaultdict[str, list[str]] = defaultdict(list)
    for one in sent.values():
        one.after = [(name, relation) for name, relation in one.after if name in sent]  # others lie outside the file
        waiting[one.name] = len(one.after)
        for name, _ in one.after:
            then[name].append(one.name)
    ready = [name for name, count in waiting.items() if not count]
    for name in ready:  # grows as it goes
        with records.record():
            _put(sent[name], sent, size, delta)
        for other in then[name]:
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)
    circle = [name for name, count in waiting.items() if count]
    if circle:
        row, shown = sent[circle[0]].row, ", ".join(circle[:5])
        hint = "they wait for each other, or for one that does"
        raise UserError(Mistake(row.file, "wait_for", f"a circle of {len(circle)} requests: {shown}", "a past request", hint, row.line))


def _put(one: _Sent, sent: dict[str, _Sent], size: int | None, delta: bool) -> None:
    earlier = [(sent[name], relation or _relation(one, sent[name])) for name, relation in one.after]
    begin_s = max((other.thread.requests[other.number].start_s for other, _ in earlier if other.thread.requests), default=0.0)
    before = next((other for other, relation in earlier if relation == "sequence" and other.number == len(other.thread.requests) - 1), None)
    above = next((other for other, relation in earlier if relation in ("spawn", "sequence")), None) if before is None else None
    one.thread = before.thread if before is not None else Thread()
    prompt, output = one.row.whole("input_length", 1), one.row.whole("output_length", 1)
    if delta and before is not None:
        last = before.thread.requests[before.number]
        prompt += last.prompt_tokens + last.output_tokens
    ids = _ids(one.row, prompt, size) if not delta else None
    request = Request(begin_s + one.delay_s, 0.0, prompt, output, ids, size or 0, model=one.row.text("model", ""))
    one.number = len(one.thread.requests)
    if before is not None and one.tool_s is not None:
        before.thread.requests[-1] = replace(before.thread.requests[-1], sandbox_s=one.tool_s)
    one.thread.requests.append(request)
    if above is not None and above.thread.requests:
        one.below, one.thread.spawned_by = True, above.number
        above.thread.agents.append(one.thread)
        above.thread.agents.sort(key=lambda agent: agent.spawned_by)


def _relation(one: _Sent, other: _Sent) -> str:
    """What waiting for a request means in v1, which does not say."""
    return "sequence" if one.group == other.group else "spawn"


def _ids(row: Row, prompt_tokens: int, size: int | None) -> list[int] | None:
    if row.values.get("hash_ids") is None:
        return None
    if size is None:
        hint = "the file does not say it, often it is 64 (Reading.block_tokens)"
        raise UserError(Mistake(row.file, "block_tokens", "", "tokens of a hash block", hint, row.line))
    return checked_ids(row, prompt_tokens, size)
