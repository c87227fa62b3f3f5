"""Reads Qwen (Bailian) traces: JSON lines of chat turns with global hashes of 16-token blocks. Inputs: file, folder or archive.

Turns that follow each other (``parent_chat_id``) are one trajectory. Times are arrivals in seconds; how long the model took is not
there and so part of the wait.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

from simulator.workload.mooncake import checked_ids
from simulator.workload.records import Reading, Records, Row
from simulator.workload.session import Request, Thread
from simulator.workload.sessions import Sessions
from simulator.workload.trajectory import TrajectorySet

BLOCK_TOKENS = 16
KEYS = ("chat_id", "parent_chat_id", "timestamp", "input_length", "output_length", "hash_ids")


def read_qwen(path: Path, reading: Reading = Reading()) -> TrajectorySet:
    """A set from a Qwen trace; a turn whose parent is not in the file begins a trajectory.

    Raises
    ------
    UserError
        When a line is no such turn.
    """
    records, size = Records(path, reading), reading.block_tokens or BLOCK_TOKENS
    sessions, threads = Sessions(records, True, size), defaultdict[int, Thread](Thread)
    first: dict[int, int] = {}  # by chat: the first of its conversation
    kinds: dict[int, str] = {}
    for source in records.sources((".jsonl", ".json"), is_qwen):
        for row in records.rows(source):
            with records.record():
                request, chat = _request(row, size), row.whole("chat_id")
                parent = row.number("parent_chat_id", -1.0, -1.0)
                first[chat] = first.get(int(parent), chat)
                kinds[first[chat]] = row.text("type", "")
                threads[first[chat]].requests.append(request)
    for chat, thread in threads.items():
        sessions.add_clocked(f"c{chat:08d}", thread, {"type": kinds[chat]})
    method = f"lengths as recorded; hash ids in blocks of {size}; waits contain the model's time"
    return sessions.as_set("Qwen trace", "measured", method)


def is_qwen(rows: list[Any]) -> bool:
    """Whether a file begins like a Qwen trace."""
    return any(isinstance(row, dict) and all(key in row for key in KEYS) for row in rows)


def _request(row: Row, size: int) -> Request:
    prompt = row.whole("input_length", 1)
    ids = checked_ids(row, prompt, size)
    return Request(row.number("timestamp"), None, prompt, row.whole("output_length", 1), ids, size, by_tool=False)
