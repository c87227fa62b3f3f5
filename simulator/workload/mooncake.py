"""Reads Mooncake traces: JSON lines of requests with global block hashes and arrival times, no sessions. Inputs: file, folder or archive.

Each request becomes a trajectory of one call that knows when it arrived; what requests share lies in the set's prefixes.
"""

from pathlib import Path
from typing import Any

from simulator.errors import Mistake, UserError
from simulator.workload.common_prefixes import CommonPrefixes, block_ends, with_prefixes
from simulator.workload.records import Reading, Records, Row
from simulator.workload.trajectory import Call, Trajectory, TrajectorySet

BLOCK_TOKENS = 512
"""Tokens of a block of the published traces; the last block of a prompt may be shorter and has an id too."""
KEYS = ("timestamp", "input_length", "output_length")


def read_mooncake(path: Path, reading: Reading = Reading()) -> TrajectorySet:
    """A set from a Mooncake trace, one trajectory a request, in the order of the file.

    Raises
    ------
    UserError
        When a line is no such request, or its ids and its length do not go together.
    """
    records, size = Records(path, reading), reading.block_tokens or BLOCK_TOKENS
    common, found = CommonPrefixes(size), list[Trajectory]()
    for source in records.sources((".jsonl", ".json"), is_mooncake):
        for row in records.rows(source):
            with records.record():
                call, arrival_s = Call(0, row.whole("input_length", 1), row.whole("output_length", 1)), row.number("timestamp") / 1000
                ids = checked_ids(row, call.prompt_tokens, size) if row.values.get("hash_ids") is not None else []
                records.counts["without ids"] += not ids
                common.add(len(found), ids, block_ends(call.prompt_tokens, size))
                found.append(Trajectory(f"r{len(found):06d}", (call,), {}, (), arrival_s))
    without = f"; {records.counts['without ids']} requests without ids share nothing" if records.counts["without ids"] else ""
    return open_loop_set(records, found, common, "Mooncake trace", f"hash ids in blocks of {size}{without}")


def is_mooncake(rows: list[Any]) -> bool:
    """Whether a file begins like a Mooncake trace."""
    return any(isinstance(row, dict) and all(key in row for key in KEYS) for row in rows)


def checked_ids(row: Row, prompt_tokens: int, size: int) -> list[int]:
    """Block hashes of a prompt, the partial last block included."""
    ids: list[int] = row.hash_ids()
    if len(ids) != -(-prompt_tokens // size):
        hint = "another block size? see block_tokens of a reading"
        allowed = f"{-(-prompt_tokens // size)} for {prompt_tokens} tokens in blocks of {size}"
        raise UserError(Mistake(row.file, row.place + "hash_ids", f"{len(ids)} ids", allowed, hint, row.line))
    return ids


def open_loop_set(records: Records, found: list[Trajectory], common: CommonPrefixes | None, what: str, method: str) -> TrajectorySet:
    """The set of requests without sessions, with its provenance."""
    records.end()
    if not found:
        raise UserError(Mistake(str(records.path), "", "no request", f"a {what}"))
    provenance = {
        "origin": f"{what} {records.path.name}",
        "quality": "measured" if common is not None and not records.counts["without ids"] else "assumed",
        "method": f"one trajectory a request, lengths as recorded; {method}",
        "arrivals": "recorded, open loop: a request did not wait for another's answer",
        **records.skipped(),
    }
    if common is None:
        return TrajectorySet(records.path.name.split(".")[0], "recorded", 0, tuple(found), provenance)
    share = common.reused_tokens / sum(trajectory.calls[0].prompt_tokens for trajectory in found)
    provenance["reuse"] = f"{share:.2%} of prompt tokens by an infinite cache, in blocks of {common.block_tokens} and recorded order"
    trajectories, prefixes = with_prefixes(found, common)
    return TrajectorySet(records.path.name.split(".")[0], "recorded", 0, trajectories, provenance, prefixes)
