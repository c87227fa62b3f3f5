"""The agentperf-local reader: what a prompt keeps when a harness drops its turn counter; and the real recording where it is at hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.errors import UserError
from simulator.workload import load_trajectories
from simulator.workload.messages import prompt_of
from simulator.workload.native import native_text
from simulator.workload.source import sources
from simulator.workload.statistics import statistics

RECORDING = Path(__file__).parents[3] / "shared/data/trajectories/agentperf-local/agentperf-local-0.3.4-replays.tar.xz"


def turn(index: int, tokens: int | None, texts: list[str], **more: Any) -> str:
    messages = [{"role": "user", "content": text} for text in texts]
    row = {"version": 1, "task_id": "t", "conversation_idx": index, "messages": messages, "tools": [], "target_output_tokens": 40}
    return json.dumps({**row, "recorded_prompt_tokens": tokens, "simulated_tool_delay_ms_after": 250.0, **more}) + "\n"


def test_a_dropped_turn_counter_is_not_kept(tmp_path: Path) -> None:
    task, counter, answer = "x" * 900, "turn 1 of 9", "y" * 500
    path = tmp_path / "t.jsonl"
    path.write_text(turn(0, 300, [task, counter]) + turn(1, 480, [task, answer, "turn 2 of 9"], recorded_completion_tokens=55))
    one, two = load_trajectories(path).trajectories[0].calls
    assert (one.prompt_tokens, one.output_tokens, one.tool_s) == (300, 40, 0.25)
    assert (two.prompt_tokens, two.output_tokens) == (480, 55)
    assert 280 <= two.kept_tokens < 300  # 300 tokens but for the counter's 43 of 976 characters


def test_a_whole_prompt_that_is_extended_is_kept_exactly(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(turn(1, 480, ["task", "more"]) + turn(0, 301, ["task"]))
    assert [call.kept_tokens for call in load_trajectories(path).trajectories[0].calls] == [0, 301]


def test_a_recording_without_prompt_tokens_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(turn(0, None, ["task"]))
    with pytest.raises(UserError, match="recorded_prompt_tokens"):
        load_trajectories(tmp_path / "t.jsonl")


@pytest.mark.parametrize("ref", ["agentperf_local", RECORDING], ids=["shipped", "recording"])
def test_the_eight_tasks_have_the_figures_of_their_source(ref: str | Path) -> None:
    if isinstance(ref, Path) and not ref.exists():
        pytest.skip("the recording is not beside this checkout (../shared/data/trajectories/agentperf-local)")
    found = load_trajectories(ref)
    assert found.provenance["context"] == "55 of 160 prompts extend the whole prompt before them"
    figures = {figure.name: figure.value for figure in statistics(found)}
    source = {"calls": 168, "ISL p50": 11_900, "ISL mean": 14_900, "ISL max": 56_000, "OSL p50": 73, "OSL p95": 398}
    for name, value in {**source, "tool delay p50": 0.116, "tool delay p95": 0.718}.items():
        assert figures[name] == pytest.approx(value, rel=0.01), name


@pytest.mark.skipif(not RECORDING.exists(), reason="the recording is not beside this checkout")
def test_characters_stand_for_tokens_as_well_as_the_docs_say() -> None:
    """The rule for texts without counts against recorded counts: docs/trajectory-format.md cites these three errors."""
    errors, estimated, recorded = [], 0, 0
    for source in sources(RECORDING, (".jsonl",)):
        turns = [json.loads(text) for _, text in source.lines()]
        for turn in turns:
            tokens = turn.get("recorded_prompt_tokens")
            if tokens:
                found = prompt_of(turn["messages"], tools=turn["tools"]).tokens
                errors.append(abs(found / tokens - 1))
                estimated, recorded = estimated + found, recorded + tokens
    assert len(errors) == 168
    assert estimated / recorded - 1 == pytest.approx(0.009, abs=0.001)
    assert np.percentile(errors, [50, 95]) == pytest.approx([0.11, 0.33], abs=0.005)


@pytest.mark.skipif(not RECORDING.exists(), reason="the recording is not beside this checkout")
def test_the_shipped_numbers_are_those_of_the_recording() -> None:
    shipped, read = (native_text(load_trajectories(ref)).split("\n", 1)[1] for ref in ("agentperf_local", RECORDING))
    assert shipped == read
