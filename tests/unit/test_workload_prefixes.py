"""What prompts of different trajectories share: the set's tree of prefixes, in its file, in the compiled tree and in what is reused."""

from pathlib import Path

import numpy as np
import pytest

from simulator.errors import UserError
from simulator.workload import Call, Prefix, Trajectory, TrajectorySet, compile_calls, load_trajectories
from simulator.workload.arrays import SCOPE_ALL, SCOPE_PLAY
from simulator.workload.native import write_native

PREFIXES = (Prefix(100), Prefix(50, 0), Prefix(3, 1))


def shared_set(*calls: Call, prefixes: tuple[Prefix, ...] = PREFIXES) -> TrajectorySet:
    named = (Trajectory(f"t{i}", (call,), arrival_s=float(i)) for i, call in enumerate(calls))
    return TrajectorySet("shared", "recorded", 0, tuple(named), {}, prefixes)


def test_a_set_with_prefixes_arrivals_and_tools_comes_back_from_its_file(tmp_path: Path) -> None:
    one = Call(0, 200, 5, 2.0, prefix=1, sandbox_s=1.5, tool="bash,edit")
    found = shared_set(one, Call(0, 120, 5, prefix=0))
    write_native(found, tmp_path / "a.jsonl.gz")
    assert load_trajectories(tmp_path / "a.jsonl.gz") == found
    assert found.has_arrivals


def test_what_is_reused_of_a_prefix_is_what_an_earlier_trajectory_had() -> None:
    calls = (Call(0, 200, 5, prefix=1), Call(0, 120, 5, prefix=0), Call(0, 153, 5, prefix=2), Call(0, 153, 5, prefix=2))
    compiled = compile_calls(shared_set(*calls), block_tokens=16, marker="after_system")
    assert compiled.reusable_tokens == 0 + 100 + 150 + 152
    assert compiled.reusable_block_tokens == (0 + 6 + 9 + 9) * 16
    tree = compiled.tree
    assert list(zip(tree.parent[:2], tree.start[:2], tree.blocks[:2], strict=True)) == [(-1, 0, 6), (0, 6, 3)]  # no block ends in the third
    assert tree.scope.tolist()[:2] == [SCOPE_ALL] * 2
    assert set(tree.scope.tolist()[2:]) == {SCOPE_PLAY}


def test_with_a_marker_in_front_nothing_is_shared_between_plays() -> None:
    compiled = compile_calls(shared_set(Call(0, 200, 5, prefix=1), Call(0, 200, 5, prefix=1)), block_tokens=16)
    assert compiled.reusable_tokens == 0
    assert not np.any(compiled.tree.scope == SCOPE_ALL)


def test_a_call_that_keeps_more_than_its_prefix_goes_on_from_the_call_it_extends() -> None:
    trajectory = Trajectory("t", (Call(0, 160, 5, prefix=0), Call(160, 40, 5), Call(32, 200, 5, prefix=1)))
    found = TrajectorySet("s", "recorded", 0, (trajectory,), {}, PREFIXES)
    compiled = compile_calls(found, block_tokens=16, marker="after_system")
    assert compiled.reusable_tokens == 0 + 160 + 100  # of the second prefix's 150 tokens the last 50 are new


def test_bad_prefixes_and_arrivals_are_named() -> None:
    with pytest.raises(UserError) as caught:
        shared_set(Call(0, 9, 1), prefixes=(Prefix(0), Prefix(5, 1)))
    assert [mistake.field for mistake in caught.value.mistakes] == ["prefixes[0].tokens", "prefixes[1].parent"]
    with pytest.raises(UserError) as caught:
        shared_set(Call(0, 9, 1, prefix=0), Call(0, 9, 1, prefix=3, sandbox_s=-1.0))
    assert [mistake.field for mistake in caught.value.mistakes] == ["t0.calls[0].prefix", "t1.calls[0].sandbox_s", "t1.calls[0].prefix"]
    with pytest.raises(UserError, match="arrival_s; found -1"):
        TrajectorySet("s", "recorded", 0, (Trajectory("t", (Call(0, 9, 1),), arrival_s=-1.0),))
    with pytest.raises(UserError, match="0 beside prefixes"):
        TrajectorySet("s", "recorded", 5, (Trajectory("t", (Call(0, 9, 1),)),), {}, PREFIXES)
