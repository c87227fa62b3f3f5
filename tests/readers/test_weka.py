"""The Weka reader: what prompts keep, what waits become, what is dropped; and the real sessions where they are at hand."""

import io
import json
import tarfile
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import UserError
from simulator.workload import Call, SubAgent, Trajectory, compile_calls, load_trajectories
from simulator.workload.hash_tree import HashTree
from simulator.workload.records import Reading
from simulator.workload.weka import read_weka
from simulator.workload.weka_text import parse_session
from tests.readers.unlimited import engine_reuse

SESSIONS = Path(__file__).parents[3] / "shared/data/trajectories/weka/traces-710.tar.xz"


def request(t: float, size: int, ids: list[int], **more: Any) -> dict[str, Any]:
    return {"t": t, "type": "n", "model": "m", "in": size, "out": 9, "hash_ids": ids, "api_time": 1.5, "think_time": 0.0, **more}


def session(*requests: Any, name: str = "s1") -> dict[str, Any]:
    return {"id": name, "block_size": 64, "requests": list(requests)}


def read(tmp_path: Path, *requests: Any) -> Trajectory:
    path = tmp_path / "s1.json"
    path.write_text(json.dumps(session(*requests)))
    return load_trajectories(path).trajectories[0]


def calls_of(tmp_path: Path, *requests: Any) -> tuple[Call, ...]:
    return read(tmp_path, *requests).calls


def test_the_example_of_the_format(tmp_path: Path) -> None:
    one, two = request(0, 130, [1, 2]), request(3.5, 200, [1, 2, 3], out=4, input_types=["tool_result"], api_time=1, think_time=2)
    assert calls_of(tmp_path, one, two) == (Call(0, 130, 9, 2.0), Call(130, 70, 4, 0.0))


def test_a_prompt_extends_the_earlier_request_it_shares_most_with(tmp_path: Path) -> None:
    prompts = [[1, 2, 3], [1, 2, 9], [1, 2, 3, 4], [7]]
    calls = calls_of(tmp_path, *(request(i, 64 * len(ids) + 10, ids) for i, ids in enumerate(prompts)))
    assert [(call.kept_tokens, call.extends) for call in calls] == [(0, None), (128, None), (202, 0), (0, None)]


def common(one: list[int], other: list[int]) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@given(st.lists(st.lists(st.integers(0, 2), max_size=8), min_size=1, max_size=12))
def test_the_radix_tree_finds_the_longest_common_prefix(prompts: list[list[int]]) -> None:
    tree = HashTree()
    for index, ids in enumerate(prompts):
        shared = [common(ids, old) for old in prompts[:index]]
        if index:
            assert tree.find(ids)[0] == max(shared)
            assert shared[tree.find(ids)[1]] == max(shared)
        blocks, owner = tree.extend(ids, index)
        assert blocks == max(shared, default=0)
        if index:
            assert shared[owner] == blocks
            assert owner == index - 1 or shared[index - 1] < blocks


@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 2), max_size=8)), min_size=1, max_size=12))
def test_prompts_that_join_are_found_but_are_not_the_one_before(prompts: list[tuple[bool, list[int]]]) -> None:
    tree, before = HashTree(), -1
    for index, (joins, ids) in enumerate(prompts):
        shared = [common(ids, old) for _, old in prompts[:index]]
        if joins:
            tree.join(ids, index)
            continue
        blocks, owner = tree.extend(ids, index)
        assert blocks == max(shared, default=0)
        if blocks:
            assert shared[owner] == blocks
            assert before == -1 or owner == before or shared[before] < blocks
        else:
            assert owner == before
        before = index


def test_waits_are_capped_and_those_after_an_unknown_model_time_include_it(tmp_path: Path) -> None:
    rows = [
        request(0, 64, [1], api_time=2.0),
        request(402, 64, [2], think_time=400.0, input_types=["text"]),
        request(410, 64, [3], think_time=6.5, api_time=None),
        request(430, 64, [4], think_time=99.0),
    ]
    del rows[2]["api_time"]
    assert [call.tool_s for call in calls_of(tmp_path, *rows)] == [60.0, 6.5, 20.0, 0.0]
    cut = read_weka(tmp_path / "s1.json", Reading(idle_cap_s=7.0)).provenance["cut"]
    assert cut == "waits over 7 s cut to that: 0 after tools, 2 after people, 0 before sub-agents"


def test_requests_without_output_or_with_an_error_are_skipped(tmp_path: Path) -> None:
    empty, failed = request(9, 64, [1], out=0), request(20, 130, [1, 2], error="x")
    calls = calls_of(tmp_path, request(0, 64, [1]), empty, failed, request(30, 130, [1, 2]))
    assert [call.prompt_tokens for call in calls] == [64, 130]
    assert calls[0].tool_s == 28.5


def sub_agent(t: float, starts: list[float], name: str = "a", **more: Any) -> dict[str, Any]:
    """A sub-agent whose prompts grow by a block each; `name` decides their hashes."""
    thinks = [0.0, *(after - before - 1.5 for before, after in pairwise(starts))]
    rows = [[ord(name) * 100 + i for i in range(n + 1)] for n in range(len(starts))]
    inner = [request(t, 64 * len(ids), ids, think_time=s) for t, ids, s in zip(starts, rows, thinks, strict=True)]
    return {"t": t, "type": "subagent", "agent_id": name, "status": "completed", "requests": inner, **more}


@pytest.mark.parametrize(
    "marker",
    [
        sub_agent(102.0, [0.0, 5.0]),
        sub_agent(110.0, [0.0, 5.0], duration_ms=8_000),
        sub_agent(110.0, [102.0, 107.0], duration_ms=8_000),
        sub_agent(102.0, [102.0, 107.0], duration_ms=8_000),
        sub_agent(102.0, [0.0, 5.0], duration_ms=8_000),
    ],
    ids=["launch", "end, with its duration", "absolute times", "absolute times, launch", "launch, with a duration"],
)
def test_a_sub_agent_begins_where_its_row_says_and_the_next_request_waits_for_it(tmp_path: Path, marker: Any) -> None:
    found = read(tmp_path, request(100, 64, [1]), marker, request(112, 128, [1, 2], think_time=10.5))
    assert found.sub_agents == (SubAgent(0, 2, 0.5),)
    # 5.0 - 1.5 between its two requests; 112 - (107 + 1.5) from its end to the parent's next request
    assert found.calls == (Call(0, 64, 9, 3.5), Call(64, 64, 9), Call(0, 64, 9, 3.5), Call(64, 64, 9))
    assert read_weka(tmp_path / "s1.json").provenance["sub_agents"].startswith("1 sub-agents of 2 requests run beside each other; 0 that")


def test_sub_agents_of_one_request_are_siblings_and_share_only_with_what_is_over(tmp_path: Path) -> None:
    """Agents a and b run side by side with equal prompts; c, of the next request, finds those of a, and the parent's those of c."""
    a, b = sub_agent(111.0, [0.0, 4.0], duration_ms=9_000), sub_agent(113.0, [0.0], duration_ms=11_000)
    c = sub_agent(130.0, [0.0, 4.0], duration_ms=8_000)
    last = request(140, 192, [9700, 9701, 5])
    found = read(tmp_path, request(100, 64, [1]), a, b, request(120, 64, [2]), c, last)
    assert found.sub_agents == (SubAgent(0, 3, 0.5), SubAgent(0, 5, 0.5), SubAgent(1, 6, 0.5))
    shares = [(call.kept_tokens, call.extends) for call in found.calls]
    assert shares == [(0, None), (0, None), (128, 4), (0, None), (64, None), (0, None), (64, 3), (128, 4)]
    assert [call.tool_s for call in found.calls][:2] == [120 - 107.5, 140 - 127.5]


def test_a_request_that_does_not_wait_for_a_sub_agent_is_made_to_and_counted(tmp_path: Path) -> None:
    late = sub_agent(102.0, [0.0, 50.0], status="async_launched", duration_ms=None)
    found = read(tmp_path, request(100, 64, [1]), late, request(105, 128, [1, 2]), request(130, 128, [1, 3]))
    assert found.sub_agents == (SubAgent(0, 3, 0.5),)
    assert found.calls[0].tool_s == 105 - 101.5
    assert "; 1 that outlived their parent's next request are joined before it" in read_weka(tmp_path / "s1.json").provenance["sub_agents"]


def test_nested_sub_agents_late_launches_and_agents_without_requests(tmp_path: Path) -> None:
    inner = sub_agent(1.0, [0.0], name="n")
    outer = sub_agent(200.0, [0.0, 60.0], name="o")
    outer["requests"].insert(1, inner)
    empty = {"t": 300.0, "type": "subagent", "requests": [request(0, 64, [1], out=0)]}
    found = read(tmp_path, request(0, 64, [1]), outer, empty, request(400, 64, [1]))
    assert found.sub_agents == (SubAgent(0, 2, 60.0), SubAgent(2, 4, 0.0))
    provenance = read_weka(tmp_path / "s1.json").provenance
    assert provenance["cut"].endswith("1 before sub-agents")
    assert provenance["dropped"].endswith("1 requests (no output, or error)")
    assert "2 sub-agents of 3 requests" in provenance["sub_agents"]


def test_sub_agents_of_a_session_without_requests_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "s0.json").write_text(json.dumps(session(sub_agent(3.0, [0.0]), name="s0")))
    (tmp_path / "s1.json").write_text(json.dumps(session(request(0, 64, [1]))))
    found = load_trajectories(tmp_path)
    assert [trajectory.id for trajectory in found.trajectories] == ["s1"]
    assert found.provenance["sub_agents"].endswith("1 without a parent left out")


def test_equal_sessions_are_read_once_from_folder_and_archive(tmp_path: Path) -> None:
    folder = tmp_path / "traces"
    folder.mkdir()
    texts = {
        "a.json": session(request(0, 64, [1]), name="a"),
        "b.json": session(request(7, 64, [1]), name="b"),
        "c.json": session(request(0, 64, [2]), name="c"),
    }
    with tarfile.open(tmp_path / "traces.tar.xz", "w:xz") as archive:
        for name, content in texts.items():
            data = json.dumps(content).encode()
            (folder / name).write_bytes(data)
            member = tarfile.TarInfo(f"traces/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "README.md").write_text("where the sessions come from")
    (beside / "traces.tar.xz").write_bytes((tmp_path / "traces.tar.xz").read_bytes())
    for path in (folder, tmp_path / "traces.tar.xz", beside):
        found = load_trajectories(path)
        assert [trajectory.id for trajectory in found.trajectories] == ["a", "c"]
        assert found.provenance["dropped"].startswith("1 duplicates of 3 sessions")


def test_bad_requests_are_named_all_at_once(tmp_path: Path) -> None:
    rows = [request(0, 64, [1, 2]), request(0, 0, []), {**request(0, 64, [1]), "t": "soon"}, 5, request(0, 64, [1], out="x")]
    rows += [{"type": "subagent", "t": 1, "requests": 7}, sub_agent(0, [0], duration_ms="long")]
    rows += [{"type": "subagent", "t": 1, "requests": [request(0, 0, [])]}]
    (tmp_path / "s1.json").write_text(json.dumps(session(*rows)))
    with pytest.raises(UserError) as caught:
        load_trajectories(tmp_path / "s1.json")
    fields = ["requests[0].hash_ids", "requests[1].in", "requests[2].t", "requests[3]", "requests[4].out"]
    fields += ["requests[5].requests", "requests[6].duration_ms", "requests[7].requests[0].in"]
    assert [mistake.field for mistake in caught.value.mistakes] == fields


def asked(rows: list[Any]) -> list[dict[str, Any]]:
    """Requests of a session with something to replay, sub-agents' included, in the order of the file."""
    found: list[dict[str, Any]] = []
    for one in rows:
        found += asked(one["requests"]) if one["type"] == "subagent" else [one] * (one["out"] > 0 and not one.get("error"))
    return found


@given(st.lists(st.lists(st.integers(0, 30), max_size=5), max_size=8), st.sampled_from([None, 1]))
def test_a_session_is_parsed_as_json_is(prompts: list[list[int]], indent: int | None) -> None:
    rows: list[Any] = [{"hash_ids": ids, "text": '"hash_ids": [1, 2]', "requests": [{"hash_ids": ids[:2]}]} for ids in prompts]
    text = json.dumps({"requests": rows, "hash_ids": 7, "other": {"hash_ids": [1.5]}}, indent=indent)
    assert parse_session(text.encode(), "here") == json.loads(text)


@pytest.mark.parametrize("ids", ["[1, 2,]", "[1 2]", "[,1]", "[1, 2, 3", "[01]"])
def test_ids_that_are_no_json_are_refused(ids: str) -> None:
    with pytest.raises(UserError, match="here; not JSON"):
        parse_session(f'{{"requests": [{{"hash_ids": [1, 2]}}, {{"hash_ids": {ids}}}]}}'.encode(), "here")


@pytest.mark.skipif(not SESSIONS.exists(), reason="the Weka sessions are not beside this checkout (../shared/data/trajectories/weka)")
def test_the_first_real_sessions(tmp_path: Path) -> None:
    """The first 13 of 710: requests, tokens and sub-agents counted here by hand, and reuse by the reader, the tree and the engine.

    `benchmarks/bench_readers.py` reads the whole archive (docs/trajectory-format.md has its figures).
    """
    raw: list[dict[str, Any]] = []
    with tarfile.open(SESSIONS) as archive:
        members = (member for member in archive if member.name.endswith(".json"))
        for member in islice(members, 13):
            content = archive.extractfile(member)
            assert content is not None
            raw.append(json.load(content))
            (tmp_path / Path(member.name).name).write_text(json.dumps(raw[-1]))
    found = load_trajectories(tmp_path)
    calls = [call for trajectory in found.trajectories for call in trajectory.calls]
    requests = [one for each in raw for one in asked(each["requests"])]
    assert (
        len(found.trajectories)
        == len({json.dumps([(one["in"], one["hash_ids"]) for one in asked(each["requests"])]) for each in raw})
        == 13
    )
    assert len(calls) == len(requests)
    assert sum(call.prompt_tokens for call in calls) == sum(one["in"] for one in requests)
    assert sum(call.output_tokens for call in calls) == sum(one["out"] for one in requests)
    assert sum(len(trajectory.sub_agents) for trajectory in found.trajectories) == 3
    compiled = compile_calls(found, block_tokens=64)
    reused = 0
    for each in raw:
        seen: set[tuple[int, ...]] = set()  # a prompt's blocks so far, by position and id: ids of one session form a tree
        for one in asked(each["requests"]):
            ids = list(enumerate(one["hash_ids"]))
            same = next((n for n, place in enumerate(ids) if place not in seen), len(ids))
            reused += min(same * 64, one["in"] - 1) // 64 * 64
            seen |= set(ids)
    assert compiled.reusable_block_tokens == pytest.approx(reused, rel=0.001)  # the recorded order of sub-agents is not that of the file
    alone = replace(found, trajectories=tuple(trajectory for trajectory in found.trajectories if not trajectory.sub_agents))
    compiled = compile_calls(alone, block_tokens=64)
    assert engine_reuse(compiled, 64) == compiled.reusable_block_tokens > 0
