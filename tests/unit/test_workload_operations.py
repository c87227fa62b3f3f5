"""Operations on sets: each changes what it says and nothing else, notes it, and refuses what makes no sense."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import UserError
from simulator.workload import Call, Prefix, SubAgent, Trajectory, TrajectorySet, compile_calls, load_trajectories
from simulator.workload.mix import mix
from simulator.workload.native import native_text
from simulator.workload.operations import Bounds, anonymise, dedupe, keep, scale
from tests.unit.drawn_trajectories import trajectory_sets

RUN = (Call(0, 100, 20, 2.0, sandbox_s=1.0, tool="secret_tool"), Call(100, 50, 40))


def a_set(*trajectories: Trajectory, name: str = "s", **more: Any) -> TrajectorySet:
    given: dict[str, Any] = {"shared_prefix_tokens": 0, "provenance": {"quality": "measured", "origin": "desk of Ada"}} | more
    return TrajectorySet(name=name, history="recorded", trajectories=trajectories, **given)


def labelled(name: str, calls: tuple[Call, ...] = RUN, **labels: str) -> Trajectory:
    return Trajectory(name, calls, labels)


def test_scale_by_hand() -> None:
    agents = (SubAgent(0, 2, 3.0),)
    found = a_set(Trajectory("a", (*RUN, Call(0, 7, 3)), {}, agents), shared_prefix_tokens=60)
    scaled = scale(found, tool_time=0.5, prompt=1.5, output=0.01)
    (run,) = scaled.trajectories
    assert [(call.kept_tokens, call.new_tokens, call.output_tokens) for call in run.calls] == [(0, 150, 1), (150, 75, 1), (0, 10, 1)]
    assert (run.calls[0].tool_s, run.calls[0].sandbox_s, run.sub_agents[0].delay_s) == (1.0, 0.5, 1.5)
    assert scaled.shared_prefix_tokens == 90
    assert scaled.provenance["operations"] == "scale tool_time x 0.5, prompt x 1.5, output x 0.01"
    for bad in ({"prompt": 0.0}, {"tool_time": -1.0}, {"output": float("nan")}, {"prompt": float("inf")}):
        with pytest.raises(UserError, match=next(iter(bad))):
            scale(found, **bad)


@settings(max_examples=50, deadline=None)
@given(found=trajectory_sets(), prompt=st.floats(0.05, 4), output=st.floats(0.05, 4))
def test_scaling_always_gives_a_good_set(found: TrajectorySet, prompt: float, output: float) -> None:
    scaled = scale(found, 2.0, prompt, output)  # a bad one would raise
    for one, other in zip(found.trajectories, scaled.trajectories, strict=True):
        assert [call.extends for call in one.calls] == [call.extends for call in other.calls]


def test_filter_by_labels_of_several_values_and_by_length() -> None:
    found = a_set(
        labelled("a", language="python", tool="bash,edit"), labelled("b", language="go"), labelled("c", RUN[:1], language="python")
    )
    ids = lambda kept: [trajectory.id for trajectory in kept.trajectories]  # noqa: E731
    assert ids(keep(found, {"language": ["python"]})) == ["a", "c"]
    assert ids(keep(found, {"language": ["python", "go"], "tool": ["edit"]})) == ["a"]
    assert ids(keep(found, bounds=Bounds(min_calls=2))) == ["a", "b"]
    assert ids(keep(found, bounds=Bounds(max_prompt=149))) == ["c"]
    assert ids(keep(found, bounds=Bounds(sub_agents=False))) == ["a", "b", "c"]
    assert keep(found, {"language": ["go"]}, Bounds(2)).provenance["operations"] == "filter language=go, calls >= 2 (1 of 3 stay)"
    with pytest.raises(UserError, match=r"langage.*language, tool.*language"):
        keep(found, {"langage": ["go"]})
    with pytest.raises(UserError, match=r"pyton.*python"):
        keep(found, {"language": ["pyton"]})
    with pytest.raises(UserError, match="no trajectory of 3 with calls >= 9"):
        keep(found, bounds=Bounds(min_calls=9))


def test_dedupe_keeps_the_first_of_equal_runs() -> None:
    slower = (replace(RUN[0], tool_s=9.0), RUN[1])
    found = a_set(labelled("a"), labelled("b", language="go"), labelled("c", slower))
    assert [trajectory.id for trajectory in dedupe(found).trajectories] == ["a", "c"]
    once = dedupe(found, times_aside=True)
    assert [trajectory.id for trajectory in once.trajectories] == ["a"]
    assert once.provenance["operations"] == "dedupe with times aside (1 of 3 stay)"
    assert dedupe(once).provenance["operations"].count("; then ") == 1


def test_mix_draws_by_weight_and_repeats_only_when_a_set_is_used_up() -> None:
    one = a_set(*(labelled(f"a{n}") for n in range(3)), name="one")
    other = a_set(*(labelled(f"b{n}") for n in range(8)), name="two", provenance={"quality": "assumed", "licence": "L"})
    mixed = mix([(one, 1.0), (other, 1.0)], 10, seed=4)
    counts = Counter(trajectory.id.split("/")[0] for trajectory in mixed.trajectories)
    assert counts == {"one": 5, "two": 5}
    assert {trajectory.id for trajectory in mixed.trajectories if trajectory.id.startswith("one/")} >= {"one/a0", "one/a1", "one/a2"}
    assert sum(trajectory.id.endswith("#2") for trajectory in mixed.trajectories) == 2
    assert (mixed.provenance["quality"], mixed.provenance["licence"], mixed.name) == ("assumed", "L", "one_two")
    assert "5 of one, weight 1 (desk of Ada)" in mixed.provenance["origin"]
    assert native_text(mixed) == native_text(mix([(one, 1.0), (other, 1.0)], 10, seed=4))
    assert native_text(mixed) != native_text(mix([(one, 1.0), (other, 1.0)], 10, seed=5))
    assert len(mix([(one, 1.0), (one, 3.0)], 9).trajectories) == 9, "a set may stand twice"


def test_mix_refuses_weights_and_sets_that_do_not_go_together() -> None:
    one = a_set(labelled("a"))
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match="weight"):
            mix([(one, weight)])
    with pytest.raises(UserError, match="history"):
        mix([(one, 1.0), (replace(one, history="generated"), 1.0)])
    with pytest.raises(UserError, match="at least one"):
        mix([])
    with pytest.raises(UserError, match="trajectories"):
        mix([(one, 1.0)], 0)


@settings(max_examples=50, deadline=None)
@given(found=trajectory_sets(), block=st.integers(1, 8), marker=st.sampled_from(["front", "after_system"]))
def test_what_a_set_shares_stays_shared_in_a_mix(found: TrajectorySet, block: int, marker: str) -> None:
    """In one play all of it, but for runs that begin shorter than the prefix: a part of it has no name."""
    before = compile_calls(found, block_tokens=block, marker=marker)  # type: ignore[arg-type]
    after = compile_calls(mix([(found, 1.0)]), block_tokens=block, marker=marker)  # type: ignore[arg-type]
    assert after.prompt_tokens == before.prompt_tokens
    assert after.reusable_tokens <= before.reusable_tokens
    if marker == "front" and all(run.calls[0].prompt_tokens >= found.shared_prefix_tokens for run in found.trajectories):
        assert after.reusable_tokens == before.reusable_tokens


def test_prefixes_of_sets_stand_side_by_side_and_unused_ones_go() -> None:
    tree = (Prefix(60), Prefix(20, 0), Prefix(5))
    runs = (labelled("a", (Call(0, 100, 1, prefix=1),)), labelled("b", (Call(0, 100, 1, prefix=1),)))
    found = a_set(*runs, name="tree", prefixes=tree)
    other = a_set(labelled("c", (Call(0, 70, 1),)), labelled("d", (Call(0, 70, 1),)), name="flat", shared_prefix_tokens=64)
    mixed = mix([(found, 1.0), (other, 1.0)])
    assert mixed.prefixes == (Prefix(60), Prefix(20, 0), Prefix(64))
    assert Counter(call.prefix for run in mixed.trajectories for call in run.calls) == {1: 2, 2: 2}
    compiled = compile_calls(mixed, block_tokens=1, marker="after_system")
    assert compiled.reusable_tokens == 80 + 64
    assert scale(found, prompt=0.5).prefixes == (Prefix(30), Prefix(10, 0), Prefix(2))


def test_nothing_but_numbers_is_left_of_an_anonymous_set() -> None:
    runs = [
        labelled(f"session-of-ada-{n}", (replace(RUN[0], new_tokens=200 - n), RUN[1]), language="go", repo="ada/secret") for n in range(12)
    ]
    bare = anonymise(a_set(*runs, name="ada"), labels=["language"])
    text = native_text(bare)
    for word in ("ada", "secret", "Ada", "desk"):
        assert word not in text
    assert [run.id for run in bare.trajectories] == [f"{n:02d}" for n in range(1, 13)]
    assert {run.labels["language"] for run in bare.trajectories} == {"go"}
    assert sorted(run.calls[0].new_tokens for run in bare.trajectories) == sorted(run.calls[0].new_tokens for run in runs)
    assert native_text(anonymise(a_set(*reversed(runs), name="other"), labels=["language"])) == text, "the order says nothing"
    assert bare.provenance["quality"] == "measured"
    with pytest.raises(UserError, match="langage"):
        anonymise(a_set(*runs), labels=["langage"])


def test_operations_on_a_shipped_set_leave_its_reuse_as_it_is() -> None:
    found = load_trajectories("agentperf_like_subagents")
    for changed in (anonymise(found), scale(found, tool_time=3.0), dedupe(found), keep(found)):
        assert compile_calls(changed, block_tokens=64).reusable_tokens == compile_calls(found, block_tokens=64).reusable_tokens
