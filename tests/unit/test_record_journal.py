"""The journal: what is written is read, calls in flight together become sub-agents, and a damaged file is told by its line."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import UserError
from simulator.workload import compile_calls, load_trajectories
from simulator.workload.journal import Recorded, journal_header, journal_line, journal_set, read_journal
from simulator.workload.trajectory import prefix_depths

HEADER = journal_header("mine", {"language": "go"}, "0.1")


def call(
    number: int, after: int | None, start_s: float, end_s: float, prompt: int = 100, kept: int | None = None, session: int = 0
) -> Recorded:
    kept = (0 if after is None else 100) if kept is None else kept
    return Recorded(number, session, after, prompt, kept, 10, start_s, end_s, after_tool=True)


def written(path: Path, *lines: bytes) -> Path:
    path.write_bytes(HEADER + b"".join(lines))
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    calls = [
        call(0, None, 1.0, 2.0),
        Recorded(1, 0, 0, 150, 100, 7, 5.0, 9.0, False, 64, "output,prompt", True),
        call(2, None, 3.0, 4.0, session=1),
    ]
    found = load_trajectories(written(tmp_path / "x.journal", *map(journal_line, calls)))
    assert found.name == "mine"
    assert [(run.id, run.arrival_s, dict(run.labels)) for run in found.trajectories] == [
        ("session-00000", 1.0, {"language": "go"}), ("session-00001", 3.0, {"language": "go"}),
    ]  # fmt: skip
    assert [(c.kept_tokens, c.new_tokens, c.output_tokens, c.tool_s) for c in found.trajectories[0].calls] == [
        (0, 100, 10, 3.0),
        (100, 50, 7, 0.0),
    ]
    assert found.provenance["quality"] == "estimated"
    assert "output tokens of 1 calls, prompt tokens of 1 calls, by 3.5" in found.provenance["estimated"]
    assert "64 of 150 prompt tokens" in found.provenance["server"]
    assert found.provenance["broken"].startswith("1 answers")


def test_waits_are_cut_and_counted(tmp_path: Path) -> None:
    calls = [call(0, None, 0, 1), call(1, 0, 500, 501), Recorded(2, 0, 1, 100, 100, 5, 900, 901)]
    found = read_journal(written(tmp_path / "x", *map(journal_line, calls)), idle_cap_s=60)
    assert [c.tool_s for c in found.trajectories[0].calls] == [60, 60, 0]
    assert "1 after tools, 1 after people" in found.provenance["cut"]


def test_calls_in_flight_together_become_sub_agents() -> None:
    """Call 0, then two chains that overlap, one of two calls, then a call that goes on from the longer one."""
    calls = [
        call(0, None, 0, 1), call(1, 0, 2, 5, prompt=110), call(2, 0, 3, 4, prompt=120),
        call(3, 1, 5.5, 7, prompt=130, kept=110), call(4, 2, 4.5, 8, prompt=140, kept=120), call(5, 4, 10, 11, prompt=150, kept=140),
    ]  # fmt: skip
    (run,) = journal_set({}, calls, "j").trajectories
    assert [c.prompt_tokens for c in run.calls] == [100, 150, 110, 130, 120, 140]
    assert [(agent.spawned_by, agent.first, agent.delay_s) for agent in run.sub_agents] == [(0, 2, 1.0), (0, 4, 2.0)]
    assert [c.tool_s for c in run.calls] == [2.0, 0.0, 0.5, 0.0, 0.5, 0.0]
    assert [run.base(index) for index in range(6)] == [-1, 5, 0, 2, 0, 4]
    assert [c.kept_tokens for c in run.calls] == [0, 140, 100, 110, 100, 120]


def test_a_prompt_that_goes_on_from_a_sibling_goes_on_from_what_is_over_before_it() -> None:
    """Call 3 was sent when call 1 was over, but call 1's chain goes on beside it: a replay may be slower there."""
    calls = [call(0, None, 0, 1, 100), call(1, 0, 2, 3, 140), call(2, 1, 4, 9, 160, kept=140), call(3, 1, 5, 6, 150, kept=140)]
    (run,) = journal_set({}, calls, "j").trajectories
    assert not run.sub_agents or all(run.over(run.base(i), i) for i in range(len(run.calls)) if run.base(i) >= 0)
    assert sorted((c.prompt_tokens, c.kept_tokens) for c in run.calls) == [(100, 0), (140, 100), (150, 140), (160, 140)]


def test_calls_that_are_together_from_the_beginning_are_apart() -> None:
    found = journal_set({}, [call(0, None, 0, 1), call(1, None, 0.5, 2), call(2, 0, 1.5, 3)], "j")
    assert [(run.id, len(run.calls)) for run in found.trajectories] == [("session-00000.1", 2), ("session-00000.2", 1)]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 5), st.integers(-1, 6), st.integers(0, 1)), min_size=1, max_size=8))
def test_whatever_the_overlaps_the_set_is_good(drawn: list[tuple[float, float, int, int]]) -> None:
    """Calls in the order of their ends, each after any earlier one of its session."""
    ordered = sorted(drawn, key=lambda each: each[0] + each[1])
    calls: list[Recorded] = []
    for number, (start_s, lasts_s, after, session) in enumerate(ordered):
        base = calls[after] if 0 <= after < number else None
        kept = 0 if base is None else min(base.prompt_tokens, 100 + number)
        calls.append(
            call(number, None if base is None else after, start_s, start_s + lasts_s, 100 + number, kept, base.session if base else session)
        )
    found = journal_set({}, calls, "j")  # a bad one would raise
    assert sum(len(run.calls) for run in found.trajectories) == len(calls)
    assert sorted(c.prompt_tokens for run in found.trajectories for c in run.calls) == [100 + number for number in range(len(calls))]


def test_a_last_line_that_was_cut_is_left_out_at_any_byte(tmp_path: Path) -> None:
    whole = [journal_line(call(0, None, 0, 1)), journal_line(call(1, 0, 2, 3))]
    for length in range(len(whole[1])):
        found = read_journal(written(tmp_path / "x", whole[0], whole[1][:length]))
        assert len(found.trajectories[0].calls) == 1
        assert f"{int(length > 0)} cut lines" in found.provenance["broken"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"{]\n", "no JSON object"), (b"[1]\n", "no JSON object"), (b"[" * 100_000 + b"\n", "no JSON object"),
        (b'{"call": 1}\n', "prompt_tokens"), (b'{"call":1,"extra":2}\n', "extra"),
        (journal_line(call(1, None, 2, 3, prompt=-5)), "-5"), (journal_line(call(1, None, 3, 2)), "start_s"),
        (b'{"call":1,"session":0,"prompt_tokens":5,"kept_tokens":0,"output_tokens":1,"start_s":2,"end_s":NaN}\n', "end_s"),
        (journal_line(call(7, None, 2, 3)), "call"), (journal_line(call(1, 5, 2, 3)), "after"),
        (journal_line(call(1, 0, 2, 3, session=4)), "session"), (journal_line(call(1, 0, 2, 3, kept=101)), "kept_tokens"),
        (journal_line(call(1, None, 2, 3, kept=1)), "kept_tokens"),
        (journal_line(replace(call(1, 0, 2, 3), shares_with=0)), "shares_with"),
        (journal_line(replace(call(1, None, 2, 3), shares_with=0, shared_tokens=101)), "shared_tokens"),
    ],
)  # fmt: skip
def test_damaged_lines_are_told_with_their_number(tmp_path: Path, line: bytes, told: str) -> None:
    path = written(tmp_path / "x", journal_line(call(0, None, 0, 1)), line, journal_line(call(1, 0, 2, 3)))
    with pytest.raises(UserError, match=told) as caught:
        read_journal(path)
    assert caught.value.mistakes[0].line == 3


def test_headers_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for content in (b"", b"\n", b"{}\n", HEADER.replace(b'"version":1', b'"version":2'), HEADER.replace(b'"go"', b"5")):
        path.write_bytes(content)
        with pytest.raises(UserError):
            read_journal(path)
    with pytest.raises(UserError, match="at least one finished call"):
        read_journal(written(path))


def test_what_sessions_begin_with_in_common_becomes_prefixes() -> None:
    """Calls 1 and 2 share 40 and 60 tokens with call 0; call 3 shares 30 with call 1, so with call 0; call 4 more with call 1."""

    def first(number: int, other: int | None, tokens: int) -> Recorded:
        return Recorded(number, number, None, 100, 0, 10, number, number + 0.5, shares_with=other, shared_tokens=tokens)

    calls = [first(0, None, 0), first(1, 0, 40), first(2, 0, 60), first(3, 1, 30), first(4, 1, 70)]
    found = journal_set({}, calls, "j")
    depths = prefix_depths(found.prefixes)
    assert [depths[run.calls[0].prefix or 0] for run in found.trajectories] == [60, 70, 60, 30, 70]
    assert sorted(depths) == [30, 40, 60, 70]
    compiled = compile_calls(found, block_tokens=1, marker="after_system")
    assert compiled.reusable_tokens == 40 + 60 + 30 + 70
