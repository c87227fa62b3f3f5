"""Reads inputs of AIPerf that carry text: ``multi_turn``, ``dag_jsonl`` text rows of ``mooncake_trace``. Inputs: file, folder, archive.

Texts are counted by the rule of `messages`; the answers, which a replay generates, have the stated output length and go into the prompts
that follow. A fork inherits the context, a spawn begins afresh; both run as sub-agents of their turn and are joined before the next.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulator.workload.messages import estimated_tokens, message_text, prompt_of
from simulator.workload.records import Reading, Records, Row
from simulator.workload.session import Request, Thread
from simulator.workload.sessions import COMPARED, Sessions
from simulator.workload.trajectory import TrajectorySet

TEXTS = ("text_input", "messages", "payload")


def read_aiperf_inputs(path: Path, reading: Reading = Reading()) -> TrajectorySet:
    """A set of the conversations.

    Raises
    ------
    UserError
        When a row is bad, or a session is forked or spawned by one that it leads to itself.
    """
    records = Records(path, reading)
    rows: dict[str, Row] = {}
    sessions = Sessions(records, common=True)
    for source in records.sources((".jsonl",), is_aiperf_inputs):
        for row in records.rows(source):
            with records.record():
                if "turns" in row.values:
                    _children_of(row)  # refused here if they are not good
                    rows[row.text("session_id", f"s{row.line:06d}")] = row
                else:
                    arrival = row.number("timestamp", None)
                    sessions.add(row.text("session_id", f"r{row.line:06d}"), _single(row, reading), None, arrival and arrival / 1000)
    below = {child for row in rows.values() for child in _children_of(row)}
    for name in rows:
        with records.record():
            if name not in below:
                sessions.add(name, _conversation((name,), rows, reading, _Context(), 0.0))
    for name in sorted(rows.keys() - _reached(rows, below)):
        with records.record():
            rows[name].refuse("session_id", "a session that is not forked or spawned by what it leads to")
    method = f"estimated tokens: {reading.token_rule.name}, answers by their stated length; {COMPARED}"
    return sessions.as_set("AIPerf inputs", "estimated", method, "generated")


def is_aiperf_inputs(rows: list[Any]) -> bool:
    """Whether a file begins like such inputs."""

    def one(row: Any) -> bool:
        if not isinstance(row, dict):
            return False
        turns = row.get("turns")
        if isinstance(turns, list) and turns and isinstance(turns[0], dict):
            return bool({"text", "texts", "messages"} & turns[0].keys())
        return "output_length" in row and any(name in row for name in TEXTS)

    return any(one(row) for row in rows)


class _Context:
    """A conversation's prompt while it grows, in texts and answers."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.ends: list[int] = []

    def add(self, ident: int, tokens: int) -> None:
        self.ids.append(ident)
        self.ends.append(tokens + (self.ends[-1] if self.ends else 0))

    def say(self, message: Any, reading: Reading) -> None:
        self.add(prompt_of([message], reading).ids[0], estimated_tokens(message, reading))

    def copy(self) -> _Context:
        other = _Context()
        other.ids, other.ends = list(self.ids), list(self.ends)
        return other


def _single(row: Row, reading: Reading) -> Thread:
    """A row that is a request of its own."""
    said = next((row.values[name] for name in TEXTS if row.values.get(name)), None)
    if said is None:
        row.refuse("text_input", "a text, messages or a payload")
    messages = said.get("messages", [said]) if isinstance(said, dict) else said
    context = _Context()
    for message in messages if isinstance(messages, list) else [messages]:
        context.say(message, reading)
    if not context.ends:
        row.refuse("messages", "at least one message")
    return Thread([Request(0.0, 0.0, context.ends[-1], row.whole("output_length", 1), context.ids, context.ends, by_tool=False)])


def _conversation(above: tuple[str, ...], rows: dict[str, Row], reading: Reading, context: _Context, clock_s: float) -> Thread:
    """A session, the last of those above it, and all that it forks and spawns."""
    thread, name = Thread(), above[-1]
    for number, turn in enumerate(rows[name].rows("turns")):
        if turn.values.get("messages") is not None:
            for message in turn.rows("messages"):
                context.say(message.values, reading)
        else:
            context.say({"role": turn.text("role", "user"), "text": turn.values.get("text", turn.values.get("texts", ""))}, reading)
        if not context.ends:
            turn.refuse("messages", "at least one message")
        clock_s += turn.number("delay", 0.0) / 1000
        output = turn.whole("max_tokens", 1, None) or turn.whole("output_length", 1)
        model, size = turn.text("model", ""), context.ends[-1]
        thread.requests.append(Request(clock_s, 0.0, size, output, list(context.ids), list(context.ends), model=model))
        context.add(prompt_of([message_text([name, number])]).ids[0], output)
        for child, inherits in _children(turn):
            if child in above or child not in rows:
                turn.refuse("forks" if inherits else "spawns", "a session of the file that does not lead to this one", f"not {child}")
            agent = _conversation((*above, child), rows, reading, context.copy() if inherits else _Context(), clock_s)
            agent.spawned_by = number
            thread.agents += [agent] if agent.requests else []
        clock_s = max([clock_s, *(agent.end_s for agent in thread.agents)])
    return thread


def _children(turn: Row) -> list[tuple[str, bool]]:
    """Sessions that a turn forks (they inherit its context) or spawns."""
    found: list[tuple[str, bool]] = []
    for kind in ("forks", "spawns"):
        listed = turn.values.get(kind) or []
        if not isinstance(listed, list):
            turn.refuse(kind, "a list of sessions")
        for item in listed:
            names = item.get("children", [item.get("child")]) if isinstance(item, dict) else [item]
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                turn.refuse(kind, "a list of sessions")
            found += [(name, kind == "forks") for name in names]
    return found


def _children_of(row: Row) -> list[str]:
    return [name for turn in row.rows("turns") for name, _ in _children(turn)]


def _reached(rows: dict[str, Row], below: set[str]) -> set[str]:
    """Sessions that some session leads to which none leads to."""
    reached = {name for name in rows if name not in below}
    pending = list(reached)
    while pending:
        name = pending.pop()
        fresh = [child for child in _children_of(rows[name]) if child not in reached] if name in rows else []
        reached.update(fresh)
        pending += fresh
    return reached
