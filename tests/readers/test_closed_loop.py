"""Readers of Dynamo traces and of AIPerf's inputs and records. Each file is written here by hand from its format's description."""

from pathlib import Path
from typing import Any

import pytest

from simulator.errors import UserError
from simulator.workload import Call, SubAgent, load_trajectories
from simulator.workload.records import Reading
from simulator.workload.tokens import by_characters
from tests.readers.test_mooncake import write

SIZED = Reading(block_tokens=64)


def row(name: str, tokens: int, ids: list[int] | None = None, **more: Any) -> dict[str, Any]:
    found = {"request_id": name, "session_id": "x", "input_length": tokens, "output_length": 5, **more}
    return found if ids is None else {**found, "hash_ids": ids}


def test_dynamo_sessions_are_full_prompts_or_deltas_as_the_reading_says(tmp_path: Path) -> None:
    rows = [
        {"session_id": "a", "input_tokens": 100, "output_tokens": 10, "timestamp": 500},
        {"session_id": "b", "input_tokens": 90, "output_tokens": 10, "timestamp": 1500},
        {"session_id": "a", "input_tokens": 150, "output_tokens": 20, "delay_ms": 2500},
    ]
    path = write(tmp_path / "d.jsonl", *rows)
    with pytest.raises(UserError, match="say which"):
        load_trajectories(path)
    full = load_trajectories(path, Reading(prompts="full"))
    assert full.trajectories[0].calls == (Call(0, 100, 10, 2.5), Call(100, 50, 20))
    assert [trajectory.arrival_s for trajectory in full.trajectories] == [0.0, 1.0]
    delta = load_trajectories(path, Reading(prompts="delta"))
    assert delta.trajectories[0].calls == (Call(0, 100, 10, 2.5), Call(100, 160, 20))
    assert (full.history, delta.history) == ("recorded", "generated")


def test_agentic_rows_wait_for_each_other(tmp_path: Path) -> None:
    """A main thread a, c; b is another session that begins when a is over, and c waits for both."""
    rows = [
        row("c", 200, [1, 2, 3, 4], wait_for=["a", "b"], delay=40, tool_wait_ms=1200),
        row("a", 130, [1, 2, 9], wait_for=[], timestamp=1000),
        row("b", 64, [7], session_id="y", wait_for=["a"], delay=500),
    ]
    path = write(tmp_path / "v1.jsonl", *rows)
    with pytest.raises(UserError, match="block_tokens"):
        load_trajectories(path)
    (found,) = load_trajectories(path, SIZED).trajectories
    assert found.calls == (Call(0, 130, 5, 1.24, sandbox_s=1.2), Call(128, 72, 5), Call(0, 64, 5))
    assert found.sub_agents == (SubAgent(0, 2, 0.5),)


def test_agentic_v2_says_its_relations_and_block_size(tmp_path: Path) -> None:
    header = {"schema": "dynamo.agentic_mooncake", "version": 2, "block_size": 64, "hash_id_scope": "local", "source": "x"}

    def after(name: str, relation: str, delay_ms: float = 0) -> dict[str, Any]:
        return {"request_id": name, "trigger": "completion", "delay_ms": delay_ms, "relation": relation}

    rows = [
        row("a", 64, [1], play_id="p", dependencies=[], not_before_ms=10),
        row("b", 64, [2], play_id="p", dependencies=[after("a", "spawn", 250)]),
        row("c", 128, [1, 3], play_id="p", dependencies=[after("a", "sequence"), after("b", "join", 750), after("a", "replay_barrier")]),
    ]
    (found,) = load_trajectories(write(tmp_path / "v2.jsonl", header, *rows)).trajectories
    assert found.calls == (Call(0, 64, 5, 0.75), Call(64, 64, 5), Call(0, 64, 5))
    assert found.sub_agents == (SubAgent(0, 2, 0.25),)


def test_requests_that_wait_for_each_other_in_a_circle_are_refused(tmp_path: Path) -> None:
    rows = [row("a", 64, [1], wait_for=[]), row("b", 64, [1], wait_for=["c"]), row("c", 64, [1], wait_for=["b"])]
    with pytest.raises(UserError, match="a circle of 2 requests: b, c"):
        load_trajectories(write(tmp_path / "v1.jsonl", *rows), SIZED)


def test_turns_of_aiperf_go_into_the_prompts_that_follow(tmp_path: Path) -> None:
    turns = [{"text": "x" * 400, "output_length": 30}, {"text": "y" * 100, "delay": 2000, "output_length": 7}]
    found = load_trajectories(write(tmp_path / "m.jsonl", {"session_id": "s", "turns": turns}), Reading(token_rule=by_characters(4)))
    one, two = found.trajectories[0].calls
    overhead = len('{"role": "user", "text": ""}')
    assert (one.prompt_tokens, one.output_tokens, one.tool_s) == ((400 + overhead) // 4, 30, 2.0)
    assert (two.kept_tokens, two.new_tokens) == (one.prompt_tokens, 30 + (100 + overhead) // 4)
    assert (found.history, found.provenance["quality"]) == ("generated", "estimated")


def say(*texts: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text} for text in texts], "max_tokens": 10, **more}


def test_a_dag_forks_with_its_context_and_spawns_without(tmp_path: Path) -> None:
    rows = [
        {
            "session_id": "main",
            "turns": [say("a" * 200, forks=["f"], spawns=[{"children": ["s"], "join_at": 1}]), say("b" * 80, delay=500)],
        },
        {"session_id": "f", "turns": [say("c" * 60)]},
        {"session_id": "s", "turns": [say("d" * 60)]},
    ]
    (found,) = load_trajectories(write(tmp_path / "dag.jsonl", *rows)).trajectories
    main, then, fork, spawn = found.calls
    assert [(agent.spawned_by, agent.first) for agent in found.sub_agents] == [(0, 2), (0, 3)]
    assert (main.tool_s, then.kept_tokens, then.extends) == (0.5, main.prompt_tokens + 10, 2)  # the fork's prompt has the answer too
    assert (fork.kept_tokens, fork.extends) == (main.prompt_tokens, 0)
    assert fork.new_tokens == spawn.prompt_tokens + 10  # the answer of the turn comes before what the fork says
    assert spawn.kept_tokens == 0


def test_a_session_that_leads_to_itself_is_refused(tmp_path: Path) -> None:
    rows = [{"session_id": "a", "turns": [say("x", spawns=["b"])]}, {"session_id": "b", "turns": [say("y", forks=["a"])]}]
    with pytest.raises(UserError, match="not forked or spawned by what it leads to"):
        load_trajectories(write(tmp_path / "dag.jsonl", *rows))
    rows = [{"session_id": "r", "turns": [say("x", spawns=["a"])]}, *rows]
    with pytest.raises(UserError, match="does not lead to this one; not a"):
        load_trajectories(write(tmp_path / "dag.jsonl", *rows))


def record(name: str, start_s: float, prompt: int, **more: Any) -> dict[str, Any]:
    about = {"conversation_id": name, "x_correlation_id": name, "request_start_ns": int(start_s * 1e9), "benchmark_phase": "profiling"}
    about |= {"request_end_ns": int(start_s * 1e9) + 10**9, **more}
    counts = {"usage_prompt_tokens": prompt, "usage_completion_tokens": 8, "input_sequence_length": 1, "output_sequence_length": 1}
    return {"metadata": about, "metrics": {key: {"value": value, "unit": "tokens"} for key, value in counts.items()}}


def test_records_of_aiperf_without_warm_up_failures_and_cancelled_requests(tmp_path: Path) -> None:
    rows = [
        record("warm", 1, 50, benchmark_phase="warmup"),
        record("a", 10, 100),
        {**record("a", 12, 100), "error": {"code": 500, "type": "x", "message": "y"}},
        record("a", 15, 140),
        record("kid", 11.5, 30, parent_correlation_id="a"),
        record("b", 12, 70, was_cancelled=True),
    ]
    (found,) = load_trajectories(write(tmp_path / "profile_export.jsonl", *rows)).trajectories
    assert found.calls == (Call(0, 100, 8, 2.5), Call(100, 40, 8), Call(0, 30, 8))
    assert found.sub_agents == (SubAgent(0, 2, 0.5),)
    rows = [record("a", 1, 9, parent_correlation_id="b"), record("b", 2, 9, parent_correlation_id="a")]
    with pytest.raises(UserError, match="parent_correlation_id"):
        load_trajectories(write(tmp_path / "profile_export.jsonl", *rows))
