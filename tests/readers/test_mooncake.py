"""The Mooncake reader: what requests share across the file, when they arrive; and the real trace, against the engine too."""

import gzip
import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.engine import simulate_kernel
from simulator.engine.world import CALL_COLUMNS
from simulator.errors import UserError
from simulator.units import to_ps
from simulator.workload import Call, Prefix, compile_calls, load_trajectories
from simulator.workload.common_prefixes import CommonPrefixes, block_ends
from simulator.workload.records import Reading
from simulator.workload.trajectory import prefix_depths
from tests.readers.unlimited import engine_reuse, unlimited_world

TRACE = Path(__file__).parents[3] / "shared/data/trajectories/mooncake/conversation_trace.jsonl.gz"
ROWS = [
    {"timestamp": 0, "input_length": 1500, "output_length": 20, "hash_ids": [1, 2, 3]},
    {"timestamp": 250, "input_length": 1600, "output_length": 5, "hash_ids": [1, 2, 4, 5]},
    {"timestamp": 900, "input_length": 400, "output_length": 7, "hash_ids": [9]},
    {"timestamp": 2500, "input_length": 1500, "output_length": 1, "hash_ids": [1, 2, 3]},
]


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_requests_share_what_their_hashes_share(tmp_path: Path) -> None:
    found = load_trajectories(write(tmp_path / "trace.log", *ROWS))
    assert found.prefixes == (Prefix(1024), Prefix(476, 0))
    assert [trajectory.calls for trajectory in found.trajectories] == [
        (Call(0, 1500, 20, prefix=1),),
        (Call(0, 1600, 5, prefix=0),),
        (Call(0, 400, 7),),
        (Call(0, 1500, 1, prefix=1),),
    ]
    assert [trajectory.arrival_s for trajectory in found.trajectories] == [0.0, 0.25, 0.9, 2.5]
    assert found.has_arrivals
    # 1024 of the second request, and of the fourth two blocks: its tail fills none
    assert found.provenance["reuse"].startswith(f"{2048 / 5000:.2%} of prompt tokens")
    compiled = compile_calls(found, block_tokens=512, marker="after_system")
    assert (compiled.reusable_block_tokens, compiled.prompt_tokens) == (2048, 5000)
    assert compiled.reusable_tokens == 1024 + 1499


def test_bad_records_are_named_all_at_once_and_skipped_only_when_asked(tmp_path: Path) -> None:
    bad = [{**ROWS[0], "input_length": -3}, {**ROWS[0], "hash_ids": [1]}, '{"timestamp": 3,', {**ROWS[0], "output_length": "many"}, "[1]"]
    path = write(tmp_path / "trace.jsonl", ROWS[0], *bad, ROWS[1])
    with pytest.raises(UserError) as caught:
        load_trajectories(path)
    assert [(mistake.line, mistake.field) for mistake in caught.value.mistakes] == [
        (2, "input_length"),
        (3, "hash_ids"),
        (4, ""),
        (5, "output_length"),
        (6, ""),
    ]
    assert "found -3; allowed: a whole number >= 1" in str(caught.value)
    assert "found 1 ids; allowed: 3 for 1500 tokens in blocks of 512" in str(caught.value)
    found = load_trajectories(path, Reading(skip_bad=True))
    assert len(found.trajectories) == 2
    assert found.provenance["skipped"].startswith("5 bad records, as asked; the first: ")


@given(st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, 2), min_size=1, max_size=6)), min_size=1, max_size=10))
def test_prefixes_are_the_longest_that_another_trajectory_has(prompts: list[tuple[int, list[int]]]) -> None:
    common = CommonPrefixes(4)
    for trajectory, ids in prompts:
        common.add(trajectory, ids, block_ends(4 * len(ids), 4))
    prefixes, named = common.prefixes()
    depths = prefix_depths(prefixes)
    for (trajectory, ids), prefix in zip(prompts, named, strict=True):
        others = [other for owner, other in prompts if owner != trajectory]
        longest = max((_common(ids, other) for other in others), default=0)
        assert (depths[prefix] if prefix is not None else 0) == 4 * longest
    before = [max((_common(ids, other) for _, other in prompts[:n]), default=0) for n, (_, ids) in enumerate(prompts)]
    assert common.reused_tokens == sum(min(4 * same, 4 * len(ids) - 1) // 4 * 4 for same, (_, ids) in zip(before, prompts, strict=True))


def _common(one: list[int], other: list[int]) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@pytest.mark.skipif(not TRACE.exists(), reason="the Mooncake trace is not beside this checkout (../shared/data/trajectories/mooncake)")
def test_the_real_trace_and_the_engine_reuse_the_same(tmp_path: Path) -> None:
    """12,031 requests; an infinite cache reuses about 37 % (37.34 % in whole blocks); the engine, on the first 1500, exactly as much."""
    found = load_trajectories(TRACE)
    assert len(found.trajectories) == 12_031
    assert found.trajectories[-1].arrival_s == 3536.999
    assert found.provenance["reuse"].startswith("37.34% of prompt tokens")
    compiled = compile_calls(found, block_tokens=512, marker="after_system")
    assert f"{compiled.reusable_block_tokens / compiled.prompt_tokens:.2%}" == "37.34%"
    with gzip.open(TRACE, "rt") as lines:
        first = load_trajectories(write(tmp_path / "first.jsonl", *(json.loads(line) for line in islice(lines, 1500))))
    compiled = compile_calls(first, block_tokens=512, marker="after_system")
    assert engine_reuse(compiled, 512) == compiled.reusable_block_tokens > 0
    alone = replace(
        first, prefixes=(), trajectories=tuple(replace(t, calls=(replace(t.calls[0], prefix=None),)) for t in first.trajectories)
    )
    assert engine_reuse(compile_calls(alone, block_tokens=512, marker="after_system"), 512) == 0


def test_a_set_with_arrivals_can_be_played_open_loop(tmp_path: Path) -> None:
    found = load_trajectories(write(tmp_path / "trace.jsonl", *ROWS))
    compiled = compile_calls(found, block_tokens=512, marker="after_system")
    start_ps = np.array([to_ps(trajectory.arrival_s or 0.0) for trajectory in found.trajectories], np.int64)
    output = simulate_kernel(unlimited_world(compiled, 512, start_ps))
    sent = output.calls[np.argsort(output.calls[:, CALL_COLUMNS.index("trajectory")]), CALL_COLUMNS.index("send_ps")]
    assert sent.tolist() == start_ps.tolist()
