"""Reads mini-swe-agent trajectories (``.traj.json``): messages, in newer ones with usage and time stamps. Inputs: file, folder, archive.

A request is an assistant message; its prompt is what stands before it. The stamp of an answer is its end, that of an output the end of the
tools: so the tools took the time between the two.
"""

from pathlib import Path, PurePath
from typing import Any

from simulator.workload.messages import Prompt, estimated_tokens, token_method
from simulator.workload.records import Reading, Records, Row
from simulator.workload.session import Request, Thread
from simulator.workload.sessions import COMPARED, Sessions
from simulator.workload.trajectory import TrajectorySet


def read_mini_swe_agent(path: Path, reading: Reading = Reading()) -> TrajectorySet:
    """A set of runs, one a file.

    Raises
    ------
    UserError
        When a file is no run.
    """
    records = Records(path, reading)
    sessions = Sessions(records, common=True)
    for source in records.sources((".json",), is_mini_swe_agent):
        with records.record():
            document = source.document()
            run = Row(source.place, 0, document if isinstance(document, dict) else {"messages": document})
            messages = run.rows("messages")
            name = PurePath(source.name).name.removesuffix(".json").removesuffix(".traj")
            began_s = next((at_s for message in messages if (at_s := _stamp(message)) is not None), None)
            sessions.add(run.text("instance_id", name), _thread(messages, records), {"harness": "mini-swe-agent"}, began_s)
    counts = records.counts
    return sessions.as_set("mini-swe-agent runs", "estimated", f"{token_method(counts, reading)}; {COMPARED}")


def is_mini_swe_agent(rows: list[Any]) -> bool:
    """Whether a file is a mini-swe-agent run: by its name for itself, or a bare list of messages."""
    if len(rows) != 1:
        return False
    if isinstance(rows[0], dict):
        return str(rows[0].get("trajectory_format", "")).startswith("mini-swe-agent") and "messages" in rows[0]
    return bool(rows[0]) and all(isinstance(row, dict) and "role" in row and "content" in row for row in rows[0])


def _stamp(message: Row) -> float | None:
    extra = message.inner("extra", None)
    found: float | None = extra.number("timestamp", None) if extra is not None else message.number("timestamp", None)
    return found


def _thread(messages: list[Row], records: Records) -> Thread:
    thread, prompt, clock_s = Thread(), Prompt(records.reading.token_rule), 0.0
    for index, message in enumerate(messages):
        if message.values.get("role") == "assistant" and prompt.ids:
            end_s = _stamp(message)
            outputs = [at_s for later in _outputs(messages, index) if (at_s := _stamp(later)) is not None]
            ran_s = max(0.0, max(outputs) - end_s) if outputs and end_s is not None else None
            start_s = min(clock_s, end_s) if end_s is not None and clock_s else (end_s or clock_s)
            size, answer = _tokens(message, prompt, records)
            model_s = None if end_s is None else end_s - start_s
            request = Request(start_s, model_s, size, answer, list(prompt.ids), prompt.ends(size), sandbox_s=ran_s, tools=("bash",))
            thread.requests.append(request)
        clock_s = _stamp(message) or clock_s
        prompt.add(message.values)
    return thread


def _outputs(messages: list[Row], index: int) -> list[Row]:
    """What follows an answer up to the next one."""
    end = next((n for n in range(index + 1, len(messages)) if messages[n].values.get("role") == "assistant"), len(messages))
    return messages[index + 1 : end]


def _tokens(message: Row, prompt: Prompt, records: Records) -> tuple[int, int]:
    """Tokens of a prompt and its answer, recorded or estimated."""
    extra = message.inner("extra", None)
    response = extra.inner("response", None) if extra is not None else None
    usage = response.inner("usage", None) if response is not None else None
    if usage is not None:
        records.counts["recorded"] += 1
        return usage.whole("prompt_tokens", 1), max(1, usage.whole("completion_tokens"))
    records.counts["estimated"] += 1
    return prompt.tokens, estimated_tokens(message.values, records.reading)
