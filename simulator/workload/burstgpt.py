"""Reads BurstGPT traces: CSV of arrivals, models and token counts, in newer releases with sessions. Inputs: file, folder or archive."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from simulator.workload.records import Reading, Records
from simulator.workload.session import Request, Thread
from simulator.workload.sessions import COUNTED, Sessions
from simulator.workload.trajectory import TrajectorySet

COLUMNS = ("Timestamp", "Model", "Request tokens", "Response tokens")


def read_burstgpt(path: Path, reading: Reading = Reading()) -> TrajectorySet:
    """A set from a BurstGPT trace: a trajectory a session, or a request where there are no sessions.

    A response of 0 tokens is a failure and left out, counted.

    Raises
    ------
    UserError
        When a line is no such request.
    """
    records = Records(path, reading)
    sessions, threads = Sessions(records), defaultdict[str, Thread](Thread)
    kinds: dict[str, str] = {}
    for source in records.sources((".csv",), is_burstgpt):
        for row in records.table(source):
            with records.record():
                start_s, prompt, output = row.number("Timestamp"), row.whole("Request tokens"), row.whole("Response tokens")
                if not output or not prompt:
                    records.counts["failed"] += 1
                    continue
                name = row.text("Session ID", None) or f"r{row.line:07d}"
                kinds[name] = row.text("Log Type", "")
                model_s, model = row.number("Elapsed time", None), row.text("Model", "")
                threads[name].requests.append(Request(start_s, model_s, prompt, output, by_tool=False, model=model))
    for name, thread in threads.items():
        sessions.add_clocked(name, thread, {"log": kinds[name]})
    return sessions.as_set("BurstGPT trace", "estimated", f"lengths as recorded; {COUNTED}")


def is_burstgpt(rows: list[Any]) -> bool:
    """Whether a file begins like a BurstGPT trace."""
    return bool(rows) and isinstance(rows[0], list) and all(name in rows[0] for name in COLUMNS)
