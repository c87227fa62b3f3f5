"""Readers of agents' own logs. Each file is written here by hand from its format's description; the real ones where they are at hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import UserError
from simulator.workload import Call, SubAgent, Trajectory, TrajectorySet, load_trajectories
from simulator.workload.records import Reading
from tests.readers.test_mooncake import write

ARCHIVE = Path(__file__).parents[3] / "shared/data/trajectories/agent-sessions/sessions.tar.xz"


def only(path: Path) -> Trajectory:
    (found,) = load_trajectories(path).trajectories
    return found


def dumped(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document, indent=1))
    return path


def test_swe_agent_steps_are_counted_in_characters_and_scaled_to_recorded_totals(tmp_path: Path) -> None:
    system, task, answer = ({"role": role, "content": text * 100} for role, text in (("system", "s"), ("user", "t"), ("assistant", "a")))
    steps = [
        {"action": "ls -F", "response": "a" * 35, "execution_time": 0.5, "messages": [system, task]},
        {"action": "submit", "response": "b" * 70, "execution_time": 1.5, "messages": [system, task, answer, task]},
    ]
    run: dict[str, Any] = {"environment": "main", "trajectory": steps, "history": [], "info": {"model_stats": {}}}
    one, two = only(dumped(tmp_path / "a.traj", run)).calls
    assert (one.output_tokens, two.output_tokens) == (10, 20)
    assert (one.tool_s, one.sandbox_s, one.tool, two.sandbox_s) == (0.5, 0.5, "ls", 1.5)
    assert (
        two.kept_tokens
        == one.prompt_tokens
        == -(-(3 * 100 - 100 + len('{"content": "", "role": "system"}{"content": "", "role": "user"}')) * 2 // 7)
    )
    run["info"]["model_stats"] = {"tokens_sent": 3000, "tokens_received": 60}
    scaled = only(dumped(tmp_path / "a.traj", run)).calls
    assert sum(call.prompt_tokens for call in scaled) == 3000
    assert [call.output_tokens for call in scaled] == [20, 40]
    assert "1 of 1 runs scaled" in load_trajectories(tmp_path / "a.traj").provenance["counts"]


def test_an_old_swe_agent_run_is_read_from_its_history(tmp_path: Path) -> None:
    history = [
        {"role": "system", "content": "s"},
        {"role": "assistant", "content": "demo", "is_demo": True},
        {"role": "user", "content": "t"},
    ]
    history += [{"role": "assistant", "content": "a"}, {"role": "user", "content": "o"}, {"role": "assistant", "content": "b"}]
    run = {"trajectory": [{"action": "ls", "response": "a"}, {"action": "submit", "response": "b"}], "history": history, "info": {}}
    calls = only(dumped(tmp_path / "a.traj", run)).calls
    assert calls[1].kept_tokens == calls[0].prompt_tokens
    assert [call.tool_s for call in calls] == [0.0, 0.0]
    with pytest.raises(UserError, match=r"history; .* an answer for each of 2 steps"):
        load_trajectories(dumped(tmp_path / "a.traj", {**run, "history": history[:4]}))


def test_mini_swe_agent_has_usage_and_stamps(tmp_path: Path) -> None:
    def answer(at_s: float, prompt: int) -> dict[str, Any]:
        usage = {"prompt_tokens": prompt, "completion_tokens": 30}
        return {"role": "assistant", "content": "do", "extra": {"timestamp": at_s, "response": {"usage": usage}}}

    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "t", "extra": {"timestamp": 90.0}}, answer(100.0, 900)]
    messages += [{"role": "tool", "content": "out", "extra": {"returncode": 0, "timestamp": 100.75}}, answer(104.0, 960)]
    run = {"trajectory_format": "mini-swe-agent-1.1", "info": {}, "messages": messages}
    found = load_trajectories(dumped(tmp_path / "a.traj.json", run))
    assert found.trajectories[0].calls == (Call(0, 900, 30, 0.75, sandbox_s=0.75, tool="bash"), Call(900, 60, 30, tool="bash"))
    bare = load_trajectories(dumped(tmp_path / "b.json", [*messages[:2], {"role": "assistant", "content": "x" * 100}]))
    assert bare.provenance["method"].startswith("estimated tokens of 1 requests")


def test_openhands_joins_usage_latency_and_events(tmp_path: Path) -> None:
    def event(number: int, time: str, **more: Any) -> dict[str, Any]:
        return {"id": number, "timestamp": f"2025-01-01T00:00:{time}", **more}

    meta = {"tool_call_metadata": {"model_response": {"id": "r1"}}}
    history = [
        event(1, "00", source="user", action="message"),
        event(5, "03", source="agent", action="run", **meta),
        event(6, "03.7", observation="run", cause=5, **meta),
        event(7, "06", source="agent", action="finish", tool_call_metadata={"model_response": {"id": "r2"}}),
    ]
    usages = [{"prompt_tokens": 900, "completion_tokens": 30, "cache_read_tokens": 0, "response_id": "r1"},
              {"prompt_tokens": 800, "completion_tokens": 9, "cache_read_tokens": 256, "response_id": "r2"}]  # fmt: skip
    metrics = {"token_usages": usages, "response_latencies": [{"latency": 2.5, "response_id": "r1"}, {"latency": 2.0, "response_id": "r2"}]}
    row = {"instance_id": "i", "history": history, "metrics": metrics, "error": None, "instance": {"language": "c"}}
    found = only(write(tmp_path / "output.jsonl", row))
    assert found.calls == (Call(0, 900, 30, 1.0, sandbox_s=0.7, tool="run"), Call(256, 544, 9))  # a condensed prompt keeps what was cached
    assert found.labels == {"tool": "run", "harness": "OpenHands", "language": "c"}


def claude(kind: str, uuid: str, parent: str | None, second: float, **more: Any) -> dict[str, Any]:
    row = {"type": kind, "uuid": uuid, "parentUuid": parent, "sessionId": "s", "timestamp": f"2026-01-01T00:00:{second:09.6f}Z"}
    return {**row, "isSidechain": False, **more}


def usage(name: str, uncached: int, read: int, written: int, output: int, *tools: str) -> dict[str, Any]:
    counts = {"input_tokens": uncached, "cache_read_input_tokens": read, "cache_creation_input_tokens": written, "output_tokens": output}
    content = [{"type": "tool_use", "id": tool, "name": "Bash"} for tool in tools]
    return {"message": {"id": name, "model": "m", "content": content, "usage": counts}}


def result(tool: str) -> dict[str, Any]:
    return {"message": {"role": "user", "content": [{"type": "tool_result", "tool_use_id": tool, "content": "ok"}]}}


ASKED = {"message": {"role": "user", "content": "do it"}}


def test_claude_code_lines_are_one_response_and_prompts_are_whole(tmp_path: Path) -> None:
    rows = [
        {"type": "summary", "summary": "x", "leafUuid": "y"},
        claude("user", "u1", None, 0, **ASKED),
        claude("assistant", "u2", "u1", 2, **usage("m1", 4, 9000, 300, 1)),
        claude("assistant", "u3", "u2", 3, **usage("m1", 4, 9000, 300, 50, "t1")),
        claude("user", "u4", "u3", 3.5, **result("t1")),
        claude("assistant", "u5", "u4", 6, **usage("m2", 2, 9300, 100, 20)),
        claude("user", "u6", "u5", 26, **ASKED),
        claude("assistant", "u7", "u6", 27, **usage("m3", 1, 3000, 0, 8)),
    ]
    found = only(write(tmp_path / "s.jsonl", *rows))
    assert found.calls == (
        Call(0, 9304, 50, 0.5, sandbox_s=0.5, tool="Bash"),
        Call(9304, 98, 20, 20.0),
        Call(3000, 1, 8),  # shorter than before: compacted, of which the cache still had 3000
    )


def test_claude_code_goes_back_in_the_tree_and_sub_agents_lie_in_files_of_their_own(tmp_path: Path) -> None:
    rows = [
        claude("user", "u1", None, 0, **ASKED),
        claude("assistant", "u2", "u1", 2, **usage("m1", 1000, 0, 0, 50, "t1")),
        claude("user", "u3", "u2", 12, **result("t1")),
        claude("assistant", "u4", "u3", 13, **usage("m2", 1200, 0, 0, 5)),
        claude("user", "u5", "u2", 15, **ASKED),
        claude("assistant", "u6", "u5", 16, **usage("m3", 1500, 0, 0, 5)),
    ]
    agent = [
        claude("user", "a1", None, 2.5, isSidechain=True, agentId="k", **ASKED),
        claude("assistant", "a2", "a1", 4, isSidechain=True, agentId="k", **usage("m9", 700, 0, 0, 5)),
    ]
    write(tmp_path / "s.jsonl", *rows, *agent)
    (tmp_path / "s" / "subagents").mkdir(parents=True)
    write(tmp_path / "s" / "subagents" / "agent-k.jsonl", *agent)
    found = only(tmp_path)
    assert [(call.kept_tokens, call.new_tokens, call.extends) for call in found.calls[:3]] == [
        (0, 1000, None),
        (1000, 200, None),
        (1000, 500, None),
    ]
    assert found.sub_agents == (SubAgent(0, 3, 0.5),)
    assert "2 copies of lines" in load_trajectories(tmp_path).provenance["dropped"]


def codex(second: float, kind: str, **payload: Any) -> dict[str, Any]:
    return {"timestamp": f"2026-01-01T00:00:{second:09.6f}Z", "type": kind, "payload": payload}


def count(second: float, total: int, prompt: int, cached: int, output: int) -> dict[str, Any]:
    last = {"input_tokens": prompt, "cached_input_tokens": cached, "output_tokens": output, "reasoning_output_tokens": 1}
    info = {"total_token_usage": {"input_tokens": total, "output_tokens": total // 10}, "last_token_usage": last}
    return codex(second, "event_msg", type="token_count", info=info)


def test_codex_counts_only_changes_of_the_total_and_skips_what_a_fork_repeats(tmp_path: Path) -> None:
    first = [
        codex(1, "response_item", type="message", role="user", content=[]),
        codex(3, "response_item", type="function_call", name="shell", call_id="c"),
        count(3, 2600, 2600, 0, 40),
        codex(4.5, "response_item", type="function_call_output", call_id="c", output="x"),
        count(4.5, 2600, 2600, 0, 40),
        codex(4.5, "event_msg", type="token_count", info=None),
        count(7, 5600, 3000, 2560, 60),
    ]
    start = [codex(0, "session_meta", id="one"), codex(0, "turn_context", model="m")]
    fork = [codex(20, "session_meta", id="two", forked_from_id="one"), *first, codex(30, "response_item", type="message", role="user")]
    write(tmp_path / "rollout-1.jsonl", *start, *first)
    write(tmp_path / "rollout-2.jsonl", *fork, count(31, 8800, 3200, 3000, 10))
    one, two = load_trajectories(tmp_path).trajectories
    assert one.calls == (Call(0, 2600, 40, 1.5, sandbox_s=1.5, tool="shell"), Call(2600, 400, 60))
    assert one.labels == {"model": "m", "tool": "shell", "harness": "Codex"}
    assert two.calls == (Call(0, 3200, 10),)


def test_opencode_steps_or_messages_and_the_time_of_tools(tmp_path: Path) -> None:
    def tokens(uncached: int, output: int, read: int = 0) -> dict[str, Any]:
        return {"tokens": {"input": uncached, "output": output, "reasoning": 2, "cache": {"read": read, "write": 60}}}

    def said(name: str, role: str, session: str, created: int, **more: Any) -> dict[str, Any]:
        return {"id": name, "role": role, "sessionID": session, "time": {"created": created, "completed": created + 9000}, **more}

    ran = {"status": "completed", "time": {"start": 3000, "end": 4500}}
    files = {
        "session/p/s1": {"id": "s1", "title": "t", "version": "1", "time": {"created": 0}},
        "session/p/s2": {"id": "s2", "title": "t", "version": "1", "time": {"created": 0}, "parentID": "s1"},
        "message/s1/m1": said("m1", "user", "s1", 500),
        "message/s1/m2": said("m2", "assistant", "s1", 1000, modelID="m", **tokens(999, 99)),
        "part/m2/p1": {"id": "p1", "messageID": "m2", "sessionID": "s1", "type": "step-start"},
        "part/m2/p2": {"id": "p2", "messageID": "m2", "sessionID": "s1", "type": "tool", "tool": "bash", "state": ran},
        "part/m2/p3": {"id": "p3", "messageID": "m2", "sessionID": "s1", "type": "step-finish", **tokens(120, 40)},
        "part/m2/p4": {"id": "p4", "messageID": "m2", "sessionID": "s1", "type": "step-finish", **tokens(100, 8, 180)},
        "message/s2/m3": said("m3", "assistant", "s2", 3500, modelID="m", **tokens(50, 5)),
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        dumped(tmp_path / f"{name}.json", content)
    found = only(tmp_path)
    assert found.calls == (Call(0, 180, 42, 1.5, sandbox_s=1.5, tool="bash"), Call(180, 160, 10), Call(0, 110, 7))
    assert found.sub_agents == (SubAgent(0, 2, 0.5),)
    dumped(tmp_path / "session/p/s1.json", {**files["session/p/s1"], "parentID": "s2"})
    with pytest.raises(UserError, match=r"parentID; found 's2'; allowed: a session that is not below this one"):
        load_trajectories(tmp_path)


def test_litellm_requests_of_a_session(tmp_path: Path) -> None:
    base = {"session_id": "s", "status": "success", "stream": True, "completion_tokens": 30, "model": "m"}
    rows = [
        {**base, "id": "r1", "prompt_tokens": 900, "startTime": 100.0, "completionStartTime": 100.4, "endTime": 101.9},
        {**base, "id": "r2", "prompt_tokens": 950, "startTime": 105.0, "endTime": 106.0, "status": "failure"},
        {**base, "id": "r3", "prompt_tokens": 950, "startTime": 107.0, "endTime": 108.0},
        {**base, "id": "r4", "prompt_tokens": 990, "startTime": 109.0, "endTime": 109.0, "cache_hit": "True"},
    ]
    expected = (Call(0, 900, 30, 5.1), Call(900, 50, 30))
    assert only(write(tmp_path / "l.jsonl", *rows)).calls == expected
    assert only(dumped(tmp_path / "l.json", rows)).calls == expected
    with pytest.raises(UserError, match=r"endTime; found 99\.0; allowed: a time not before startTime"):
        load_trajectories(write(tmp_path / "l.jsonl", {**rows[0], "endTime": 99.0}))


def test_litellm_compares_messages_where_they_were_logged(tmp_path: Path) -> None:
    base = {"trace_id": "s", "completion_tokens": 3, "model": "m"}
    said = [{"role": "user", "content": letter * 9} for letter in "abc"]
    rows = [{**base, "prompt_tokens": 100, "startTime": 1.0, "endTime": 2.0, "messages": said[:2]},
            {**base, "prompt_tokens": 120, "startTime": 3.0, "endTime": 4.0, "messages": [said[0], said[2]]}]  # fmt: skip
    assert [call.kept_tokens for call in only(write(tmp_path / "l.jsonl", *rows)).calls] == [0, 50]


def span(name: str, parent: str, start: float, end: float, operation: str = "chat", prompt: int = 0, **more: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"gen_ai.operation.name": {"stringValue": operation}, "gen_ai.request.model": {"stringValue": "m"}}
    if prompt:
        values |= {"gen_ai.usage.input_tokens": {"intValue": str(prompt)}, "gen_ai.usage.output_tokens": {"intValue": "7"}}
    values |= {key: {"stringValue": value} for key, value in more.items()}
    times = {"startTimeUnixNano": str(int(start * 1e9)), "endTimeUnixNano": str(int(end * 1e9))}
    attributes = [{"key": key, "value": value} for key, value in values.items()]
    return {"traceId": "t", "spanId": name, "parentSpanId": parent, "name": operation, **times, "attributes": attributes}


def test_otel_takes_the_innermost_spans_and_puts_agents_below_agents(tmp_path: Path) -> None:
    spans = [
        span("00", "", 0, 30, "invoke_agent", 999),
        span("01", "00", 1, 2, prompt=100),
        span("02", "00", 3, 9, "execute_tool", **{"gen_ai.tool.name": "task"}),
        span("03", "02", 3, 9, "invoke_agent"),
        span("04", "03", 4, 5, prompt=50),
        span("05", "03", 6, 7, prompt=80),
        span("06", "00", 10, 11, prompt=140),
    ]
    document = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    expected = (Call(0, 100, 7, 3.0, sandbox_s=6.0, tool="task"), Call(100, 40, 7), Call(0, 50, 7, 1.0), Call(50, 30, 7))
    for path in (dumped(tmp_path / "a.json", document), write(tmp_path / "b.jsonl", document, document)):
        found = only(path)
        assert found.calls == expected
        assert found.sub_agents == (SubAgent(0, 2, 2.0),)
    spans[0]["parentSpanId"] = "03"
    with pytest.raises(UserError, match="parentSpanId"):
        load_trajectories(dumped(tmp_path / "a.json", document))


def calls_of(found: TrajectorySet) -> list[int]:
    return [len(trajectory.calls) for trajectory in found.trajectories]


@pytest.mark.skipif(
    not ARCHIVE.exists(), reason="the agents' sessions are not beside this checkout (../shared/data/trajectories/agent-sessions)"
)
def test_the_real_sessions_have_the_calls_of_their_source(tmp_path: Path) -> None:
    """Figures of their SOURCE.md: OpenHands runs of 23, 33 and 49 LLM calls; what has no such figure is counted in the files themselves."""
    import tarfile

    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    swe = load_trajectories(tmp_path / "SWE-agent__SWE-agent")
    assert calls_of(swe) == [13, 12, 21, 11]
    mini = load_trajectories(tmp_path / "SWE-agent__mini-swe-agent")
    assert calls_of(mini) == [2]
    hands = tmp_path / "All-Hands-AI__OpenHands"
    runs = load_trajectories(hands / "evaluation__benchmarks__multi_swe_bench__examples__output.jsonl")
    assert sorted(calls_of(runs)) == [23, 33, 49]
    rows = map(json.loads, (hands / "evaluation__benchmarks__multi_swe_bench__examples__output.jsonl").read_text().splitlines())
    totals = sum(row["metrics"]["accumulated_token_usage"]["prompt_tokens"] for row in rows)
    assert sum(call.prompt_tokens for trajectory in runs.trajectories for call in trajectory.calls) == totals
    assert len(load_trajectories(hands).trajectories) == 3 + 1 + 2
    claude_code = tmp_path / "daaain__claude-code-log"
    with pytest.raises(UserError, match=r"edge_cases\.jsonl:11"):  # a file of broken lines, made to be so
        load_trajectories(claude_code)
    found = load_trajectories(claude_code, Reading(skip_bad=True))
    assert "bad records, as asked" in found.provenance["skipped"]
    assert sorted(calls_of(found)) == [1, 3, 6]
