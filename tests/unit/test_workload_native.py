"""The native trajectory format: what is written is read back, and every mistake is named with its line."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import UserError
from simulator.workload import Call, Trajectory, TrajectorySet, load_trajectories
from simulator.workload.native import native_text, read_native, write_native

HEADER = {"format": "agentwatt-trajectories", "version": 1, "name": "x", "context": "delta", "history": "recorded"}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


@st.composite
def call_chains(draw: st.DrawFn) -> tuple[Call, ...]:
    calls: list[Call] = []
    for index in range(draw(st.integers(1, 5))):
        extends = draw(st.integers(0, index - 1)) if index and draw(st.booleans()) else None
        whole = calls[index - 1 if extends is None else extends].prompt_tokens if index else 0
        kept = draw(st.integers(0, whole))
        calls.append(Call(kept, draw(st.integers(1, 99)), draw(st.integers(1, 99)), draw(st.floats(0, 1e4)), extends))
    return tuple(calls)


@given(st.lists(call_chains(), min_size=1, max_size=3), st.sampled_from(["recorded", "generated"]), st.integers(0, 9))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, chains: Any, history: Any, shared: int) -> None:
    trajectories = tuple(Trajectory(f"t{i}", calls, {"kind": "ä"}) for i, calls in enumerate(chains))
    drawn = TrajectorySet("drawn", history, shared, trajectories, {"origin": "here"})
    folder = tmp_path_factory.mktemp("native")
    for name in ("a.jsonl", "a.jsonl.gz"):
        write_native(drawn, folder / name)
        assert read_native(folder / name) == drawn
        assert read_native(folder / name).provenance == drawn.provenance
    assert gzip.decompress((folder / "a.jsonl.gz").read_bytes()).decode() == native_text(drawn)


def test_equal_sets_give_equal_bytes(tmp_path: Path) -> None:
    drawn = TrajectorySet("x", "recorded", 0, (Trajectory("t", (Call(0, 5, 5),)),))
    write_native(drawn, tmp_path / "one.jsonl.gz")
    write_native(drawn, tmp_path / "two.jsonl.gz")
    assert (tmp_path / "one.jsonl.gz").read_bytes() == (tmp_path / "two.jsonl.gz").read_bytes()


def test_delta_and_cumulative_say_the_same(tmp_path: Path) -> None:
    delta = [{"new_tokens": 100, "output_tokens": 5, "tool_s": 1}, {"new_tokens": 50, "kept_tokens": 90, "output_tokens": 5}]
    cumulative = [{"prompt_tokens": 100, "output_tokens": 5, "tool_s": 1}, {"prompt_tokens": 140, "kept_tokens": 90, "output_tokens": 5}]
    one = read_native(write(tmp_path / "d.jsonl", HEADER, {"id": "t", "calls": delta}))
    two = read_native(write(tmp_path / "c.jsonl", {**HEADER, "context": "cumulative"}, {"id": "t", "calls": cumulative}))
    assert one == two
    assert one.trajectories[0].calls == (Call(0, 100, 5, 1.0), Call(90, 50, 5, 0.0))


def test_what_a_call_keeps_is_the_whole_prompt_it_extends_unless_said(tmp_path: Path) -> None:
    calls = [{"new_tokens": 10, "output_tokens": 1}, {"new_tokens": 5, "output_tokens": 1}]
    calls.append({"new_tokens": 7, "output_tokens": 1, "extends": 0})
    found = read_native(write(tmp_path / "d.jsonl", HEADER, {"id": "t", "calls": calls}))
    assert [call.kept_tokens for call in found.trajectories[0].calls] == [0, 10, 10]


@pytest.mark.parametrize(
    ("call", "field"),
    [
        ({"new_tokens": -1, "output_tokens": 1}, "t.calls[0].new_tokens"),
        ({"new_tokens": 1.5, "output_tokens": 1}, "t.calls[0].new_tokens"),
        ({"new_tokens": True, "output_tokens": 1}, "t.calls[0].new_tokens"),
        ({"new_tokens": 9}, "t.calls[0].output_tokens"),
        ({"new_tokens": 9, "output_tokens": 0}, "t.calls[0].output_tokens"),
        ({"new_tokens": 9, "output_tokens": 1, "tool_s": -2}, "t.calls[0].tool_s"),
        ({"new_tokens": 9, "output_tokens": 1, "tool_s": "1"}, "t.calls[0].tool_s"),
        ({"new_tokens": 9, "output_tokens": 1, "kept_tokens": 3}, "t.calls[0].kept_tokens"),
        ({"new_tokens": 9, "output_tokens": 1, "extends": 0}, "t.calls[0].extends"),
        ({"new_tokens": 0, "output_tokens": 1}, "t.calls[0].prompt_tokens"),
        ({"new_token": 9, "new_tokens": 9, "output_tokens": 1}, "t.calls[0].new_token"),
        ({"prompt_tokens": 9, "output_tokens": 1}, "t.calls[0].prompt_tokens"),
        (7, "t.calls[0]"),
    ],
)
def test_a_bad_call_is_named(tmp_path: Path, call: Any, field: str) -> None:
    with pytest.raises(UserError) as caught:
        read_native(write(tmp_path / "bad.jsonl", HEADER, {"id": "t", "calls": [call]}))
    mistake = caught.value.mistakes[0]
    assert (mistake.field, mistake.line, mistake.file) == (field, 2, str(tmp_path / "bad.jsonl"))
    assert mistake.allowed


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ({"format": "other"}, "format"),
        ({**HEADER, "version": 2}, "version"),
        ({key: value for key, value in HEADER.items() if key != "context"}, "context"),
        ({**HEADER, "history": "past"}, "history"),
        ({**HEADER, "shared_prefix_tokens": -1}, "shared_prefix_tokens"),
        ({**HEADER, "provenance": "me"}, "provenance"),
        ({**HEADER, "hystory": "recorded"}, "hystory"),
    ],
)
def test_a_bad_header_is_named(tmp_path: Path, header: Any, field: str) -> None:
    with pytest.raises(UserError) as caught:
        read_native(write(tmp_path / "bad.jsonl", header, {"id": "t", "calls": [{"new_tokens": 1, "output_tokens": 1}]}))
    assert caught.value.mistakes[0].field == field
    assert caught.value.mistakes[0].line == 1


def test_all_mistakes_of_a_file_come_at_once(tmp_path: Path) -> None:
    good = {"new_tokens": 5, "output_tokens": 1}
    rows = [
        HEADER,
        {"id": "a", "calls": [{**good, "output_token": 1}]},
        '{"id": "b", "id": "c", "calls": []}',
        '{"id": "d", "calls": [{"new_tokens": 5, "output_tokens": 1, "tool_s": NaN}]}',
        {"id": "e", "calls": [good, {**good, "kept_tokens": 6}]},
        "{",
    ]
    with pytest.raises(UserError) as caught:
        read_native(write(tmp_path / "bad.jsonl", *rows))
    assert [mistake.line for mistake in caught.value.mistakes] == [2, 3, 4, 5, 6]
    text = str(caught.value)
    assert "did you mean output_tokens?" in text
    assert "'id' stands twice" in text
    assert "NaN is not a number" in text
    assert "0 to 5, the prompt it extends" in text


def test_one_id_twice_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    row = {"id": "t", "calls": [{"new_tokens": 5, "output_tokens": 1}]}
    with pytest.raises(UserError, match="'t'"):
        read_native(write(tmp_path / "twice.jsonl", HEADER, row, row))
    with pytest.raises(UserError, match="header line"):
        read_native(write(tmp_path / "empty.jsonl"))
    with pytest.raises(UserError, match="at least one"):
        read_native(write(tmp_path / "header.jsonl", HEADER))
    with pytest.raises(UserError, match="datasheet, measured"):
        read_native(write(tmp_path / "quality.jsonl", {**HEADER, "provenance": {"quality": "good"}}, row))


def test_load_finds_what_a_reference_means(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.jsonl", HEADER, {"id": "t", "calls": [{"new_tokens": 5, "output_tokens": 1}]})
    assert load_trajectories(path).name == "x"
    with pytest.raises(UserError, match="no such file"):
        load_trajectories(tmp_path / "absent.jsonl")
    with pytest.raises(UserError, match="did you mean 'agentperf_like'"):
        load_trajectories("agentperf_lik")
    with pytest.raises(UserError, match="not known"):
        load_trajectories(write(tmp_path / "other.csv", "a,b"))
    with pytest.raises(UserError, match="header"):
        load_trajectories(write(tmp_path / "other.jsonl", {"a": 1}))
    (tmp_path / "broken.jsonl.gz").write_bytes(b"\x1f\x8bnothing")
    with pytest.raises(UserError, match="cannot be read"):
        load_trajectories(tmp_path / "broken.jsonl.gz")
