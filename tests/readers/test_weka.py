"""The Weka reader: what prompts keep, what waits become, what is dropped; and the real sessions where they are at hand."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import UserError
from simulator.workload import Call, compile_calls, load_trajectories
from simulator.workload.weka import _Prompts, read_weka

SESSIONS = Path(__file__).parents[3] / "shared/data/trajectories/weka/traces-710.tar.xz"


def request(t: float, size: int, ids: list[int], **more: Any) -> dict[str, Any]:
    return {"t": t, "type": "n", "model": "m", "in": size, "out": 9, "hash_ids": ids, "api_time": 1.5, "think_time": 0.0, **more}


def session(*requests: Any, name: str = "s1") -> dict[str, Any]:
    return {"id": name, "block_size": 64, "requests": list(requests)}


def calls_of(tmp_path: Path, *requests: Any) -> tuple[Call, ...]:
    path = tmp_path / "s1.json"
    path.write_text(json.dumps(session(*requests)))
    return load_trajectories(path).trajectories[0].calls


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
    tree = _Prompts()
    for index, ids in enumerate(prompts):
        shared = [common(ids, old) for old in prompts[:index]]
        blocks, owner = tree.add(ids)
        assert blocks == max(shared, default=0)
        if index:
            assert shared[owner] == blocks
            assert owner == index - 1 or shared[index - 1] < blocks


def test_waits_are_capped_and_those_after_an_unknown_model_time_include_it(tmp_path: Path) -> None:
    rows = [
        request(0, 64, [1], api_time=2.0),
        request(402, 64, [2], think_time=400.0, input_types=["text"]),
        request(410, 64, [3], think_time=6.5, api_time=None),
        request(430, 64, [4], think_time=99.0),
    ]
    del rows[2]["api_time"]
    assert [call.tool_s for call in calls_of(tmp_path, *rows)] == [60.0, 6.5, 20.0, 0.0]
    cut = read_weka(tmp_path / "s1.json", idle_cap_s=7.0).provenance["cut"]
    assert cut == "waits over 7 s cut to that: 0 after tools, 2 after people"


def test_requests_without_output_or_with_an_error_are_skipped(tmp_path: Path) -> None:
    empty, failed = request(9, 64, [1], out=0), request(20, 130, [1, 2], error="x")
    calls = calls_of(tmp_path, request(0, 64, [1]), empty, failed, request(30, 130, [1, 2]))
    assert [call.prompt_tokens for call in calls] == [64, 130]
    assert calls[0].tool_s == 28.5


@pytest.mark.parametrize("times", [(0.0, 5.0), (102.0, 107.0)], ids=["relative", "absolute"])
def test_sub_agents_are_replayed_in_line_in_order_of_start(tmp_path: Path, times: tuple[float, float]) -> None:
    inner = [request(t, 64 * (n + 1), list(range(50, 51 + n))) for n, t in enumerate(times)]
    marker = {"t": 102.0, "type": "subagent", "agent_id": "a", "status": "completed", "requests": inner}
    calls = calls_of(tmp_path, request(100, 64, [1]), marker, request(112, 128, [1, 2], think_time=10.5))
    assert [call.prompt_tokens for call in calls] == [64, 64, 128, 128]
    assert [call.extends for call in calls] == [None, None, None, 0]
    assert [call.tool_s for call in calls] == [0.5, 3.5, 3.5, 0.0]


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
    (tmp_path / "s1.json").write_text(json.dumps(session(*rows)))
    with pytest.raises(UserError) as caught:
        load_trajectories(tmp_path / "s1.json")
    fields = ["requests[0].hash_ids", "requests[1].in", "requests[2].t", "requests[3]", "requests[4].out"]
    assert [mistake.field for mistake in caught.value.mistakes] == fields


@pytest.mark.skipif(not SESSIONS.exists(), reason="the Weka sessions are not beside this checkout (../shared/data/trajectories/weka)")
def test_the_real_sessions() -> None:
    """Figures of their SOURCE.md: 692 distinct of 710; an infinite cache reuses 96.2 to 96.4 % of the prompt tokens in 64-token blocks."""
    found = load_trajectories(SESSIONS)
    assert len(found.trajectories) == 692
    compiled = compile_calls(found, block_tokens=64)
    assert 0.962 <= compiled.reusable_block_tokens / compiled.prompt_tokens <= 0.964
