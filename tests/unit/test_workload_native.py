"""The native trajectory format: what is written is read back, and every mistake is named with its line."""

import gzip
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import UserError
from simulator.workload import Call, SubAgent, Trajectory, TrajectorySet, load_trajectories
from simulator.workload.native import native_text, read_native, write_native
from tests.unit.drawn_trajectories import trajectory_sets

HEADER = {"format": "agentwatt-trajectories", "version": 1, "name": "x", "context": "delta", "history": "recorded"}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


@given(trajectory_sets(), st.sampled_from(["recorded", "generated"]))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, chains: TrajectorySet, history: Any) -> None:
    labelled = tuple(replace(trajectory, labels={"kind": "ä"}) for trajectory in chains.trajectories)
    drawn = replace(chains, history=history, trajectories=labelled, provenance={"origin": "here"})
    folder = tmp_path_factory.mktemp("native")
    for name in ("a.jsonl", "a.jsonl.gz"):
        write_native(drawn, folder / name)
        assert read_native(folder / name) == drawn
        assert read_native(folder / name).provenance == drawn.provenance
    assert gzip.decompress((folder / "a.jsonl.gz").read_bytes()).decode() == native_text(drawn)


def cumulative(text: str) -> str:
    """The same file with full prompts and every `kept_tokens` written out."""
    header, *lines = text.splitlines()
    rows = [json.dumps({**json.loads(header), "context": "cumulative"})]
    for line in lines:
        row = json.loads(line)
        flat = row["calls"] + [call for agent in row.get("sub_agents", []) for call in agent["calls"]]
        starts, before = {0}, len(row["calls"])
        for agent in row.get("sub_agents", []):
            starts.add(before)
            before += len(agent["calls"])
        while any("prompt_tokens" not in call for call in flat):
            for index, call in enumerate(flat):
                base = call.get("extends", -1 if index in starts else index - 1)
                whole = 0 if base < 0 else flat[base].get("prompt_tokens")
                if "new_tokens" in call and whole is not None:
                    call["kept_tokens"] = call.get("kept_tokens", whole)
                    call["prompt_tokens"] = call["kept_tokens"] + call.pop("new_tokens")
        rows.append(json.dumps(row))
    return "\n".join(rows) + "\n"


@given(trajectory_sets())
def test_full_prompts_say_the_same(tmp_path_factory: pytest.TempPathFactory, drawn: TrajectorySet) -> None:
    path = tmp_path_factory.mktemp("native") / "full.jsonl"
    path.write_text(cumulative(native_text(drawn)))
    assert read_native(path) == drawn


SUB_AGENT = {"spawned_by": 0, "delay_s": 0.5, "calls": [{"new_tokens": 7, "output_tokens": 1}]}


def test_a_sub_agent_begins_with_nothing_or_forks_a_prompt(tmp_path: Path) -> None:
    calls = [{"new_tokens": 10, "output_tokens": 1}, {"new_tokens": 5, "output_tokens": 1, "extends": 2}]
    fork = {"spawned_by": 0, "calls": [{"new_tokens": 3, "output_tokens": 1, "extends": 0}, {"new_tokens": 4, "output_tokens": 1}]}
    found = read_native(write(tmp_path / "s.jsonl", HEADER, {"id": "t", "calls": calls, "sub_agents": [SUB_AGENT, fork]})).trajectories[0]
    assert found.sub_agents == (SubAgent(0, 2, 0.5), SubAgent(0, 3))
    assert [call.kept_tokens for call in found.calls] == [0, 7, 0, 10, 13]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"sub_agents": []}, "t.sub_agents"),
        ({"sub_agents": {}}, "t.sub_agents"),
        ({"sub_agents": [3]}, "t.sub_agents[0]"),
        ({"sub_agents": [{**SUB_AGENT, "spawned_by": 2}]}, "t.sub_agents[0].spawned_by"),
        ({"sub_agents": [{**SUB_AGENT, "spawned_by": -1}]}, "t.sub_agents[0].spawned_by"),
        ({"sub_agents": [{**SUB_AGENT, "delay_s": -1}]}, "t.sub_agents[0].delay_s"),
        ({"sub_agents": [{**SUB_AGENT, "calls": []}]}, "t.sub_agents[0].calls"),
        ({"sub_agents": [{**SUB_AGENT, "spawn": 0}]}, "t.sub_agents[0].spawn"),
        ({"sub_agents": [{"calls": SUB_AGENT["calls"]}]}, "t.sub_agents[0].spawned_by"),
        ({"sub_agents": [{**SUB_AGENT, "calls": [{"new_tokens": 7}]}]}, "t.sub_agents[0].calls[0].output_tokens"),
        (
            {"sub_agents": [SUB_AGENT, {**SUB_AGENT, "calls": [{**SUB_AGENT["calls"][0], "extends": 2}]}]},
            "t.sub_agents[1].calls[0].extends",
        ),
        ({"sub_agents": [{**SUB_AGENT, "spawned_by": 1}, SUB_AGENT]}, "t.sub_agents[1].spawned_by"),
    ],
)
def test_a_bad_sub_agent_is_named(tmp_path: Path, change: Any, field: str) -> None:
    calls = [{"new_tokens": 10, "output_tokens": 1}, {"new_tokens": 5, "output_tokens": 1}]
    with pytest.raises(UserError) as caught:
        read_native(write(tmp_path / "bad.jsonl", HEADER, {"id": "t", "calls": calls, **change}))
    assert [(mistake.field, mistake.line) for mistake in caught.value.mistakes] == [(field, 2)]
    assert caught.value.mistakes[0].allowed


def test_the_examples_of_the_format_are_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/trajectory-format.md").read_text(encoding="utf-8")
    path = tmp_path / "example.jsonl"
    path.write_text("".join(re.findall(r"```json\n(.*?)```", page, re.DOTALL)))
    plain, spawning = read_native(path).trajectories
    assert [call.prompt_tokens for call in plain.calls] == [5200, 5840, 5500]
    assert spawning.sub_agents == (SubAgent(0, 2, 0.4), SubAgent(0, 4))
    assert [call.prompt_tokens for call in spawning.calls] == [5200, 5840, 3000, 3900, 5900]


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
