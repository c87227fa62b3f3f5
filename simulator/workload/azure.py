"""Reads Azure LLM inference traces (2023, 2024): CSV of arrival times and token counts, no sessions. Inputs: file, folder or archive."""

from pathlib import Path
from typing import Any

from simulator.workload.mooncake import open_loop_set
from simulator.workload.records import Reading, Records
from simulator.workload.trajectory import Call, Trajectory, TrajectorySet

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


def read_azure(path: Path, reading: Reading = Reading()) -> TrajectorySet:
    """A set from an Azure trace: one trajectory a request, which shares nothing with any other (the trace does not say what it shares).

    Raises
    ------
    UserError
        When a line is no such request.
    """
    records = Records(path, reading)
    found: list[tuple[float, Call]] = []
    for source in records.sources((".csv",), is_azure):
        for row in records.table(source):
            with records.record():
                if row.whole("GeneratedTokens") == 0:
                    records.counts["without output"] += 1
                    continue
                found.append((row.iso_s("TIMESTAMP"), Call(0, row.whole("ContextTokens", 1), row.whole("GeneratedTokens", 1))))
    return open_loop_set(records, one_call_each(found), None, "Azure trace", "prompts share nothing: the trace does not say what they do")


def is_azure(rows: list[Any]) -> bool:
    """Whether a file begins like an Azure trace."""
    return bool(rows) and isinstance(rows[0], list) and all(name in rows[0] for name in COLUMNS)


def one_call_each(found: list[tuple[float, Call]]) -> list[Trajectory]:
    """A trajectory for each request, in order of arrival, clock from the first."""
    found.sort(key=lambda one: one[0])
    return [Trajectory(f"r{n:06d}", (call,), {}, (), round(at_s - found[0][0], 6)) for n, (at_s, call) in enumerate(found)]
