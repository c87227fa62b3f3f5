"""Sub-agents: what is over before what, the table of threads an engine reads, and what a context limit leaves of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import UserError
from simulator.workload import Call, Compiled, SubAgent, Trajectory, TrajectorySet, compile_calls
from simulator.workload.arrays import SCOPE_ALL, single_threads
from simulator.workload.cut import cut_trajectory
from simulator.workload.trajectory import recorded_order
from tests.unit.drawn_trajectories import trajectories, trajectory_sets, waits


@settings(max_examples=120, deadline=None)
@given(trajectories())
def test_a_call_is_over_before_another_exactly_where_waits_say_so(drawn: Trajectory) -> None:
    before = waits(drawn)
    for index in range(len(drawn.calls)):
        assert {earlier for earlier in range(len(drawn.calls)) if drawn.over(earlier, index)} == before[index]


@settings(max_examples=100, deadline=None)
@given(trajectories())
def test_the_recorded_order_has_every_call_once_after_all_that_are_over_before_it(drawn: Trajectory) -> None:
    order = recorded_order(len(drawn.calls), drawn.sub_agents)
    assert sorted(order) == list(range(len(drawn.calls)))
    for place, index in enumerate(order):
        assert waits(drawn)[index] <= set(order[:place])


@settings(max_examples=120, deadline=None)
@given(trajectory_sets(), st.integers(1, 8))
def test_the_table_of_threads_says_what_the_trajectories_say(drawn: TrajectorySet, size: int) -> None:
    compiled = compile_calls(drawn, block_tokens=size)
    threads, first = compiled.threads, compiled.calls.first
    assert all(column.dtype == np.int64 for column in threads)
    assert (threads.first[0], threads.call[0], threads.call[-1]) == (0, 0, first[-1])
    assert (np.diff(threads.call) >= 1).all(), "every call in one thread, no thread empty"
    assert threads.first[-1] == len(threads.delay_ps) == len(threads.call) - 1
    assert threads.width == max(1 + len(trajectory.sub_agents) for trajectory in drawn.trajectories)
    spawned_by = np.full(len(threads.delay_ps), -1)
    for call in range(first[-1]):
        assert (threads.child[call] == -1) == (threads.children[call] == 0)
        children = slice(threads.child[call], threads.child[call] + threads.children[call])
        assert (spawned_by[children] == -1).all(), "one call spawns a thread"
        spawned_by[children] = call
    for t, trajectory in enumerate(drawn.trajectories):
        main = threads.first[t]
        assert threads.call[main] == first[t]
        assert (spawned_by[main], threads.delay_ps[main]) == (-1, 0)
        assert threads.first[t + 1] - main == 1 + len(trajectory.sub_agents)
        for number, agent in enumerate(trajectory.sub_agents, start=1):
            assert spawned_by[main + number] == first[t] + agent.spawned_by
            assert spawned_by[main + number] < threads.call[main + number] == first[t] + agent.first, "children after their parent"
            assert threads.delay_ps[main + number] == agent.delay_s * 10**12
    assert threads.most_in_flight == max(in_flight(trajectory, 0) for trajectory in drawn.trajectories)


def in_flight(trajectory: Trajectory, thread: int) -> int:
    """Most calls at once of a thread and all below it: one of its own, or the sum over the sub-agents of one call."""
    spawned = {
        call: [n for n, agent in enumerate(trajectory.sub_agents, 1) if agent.spawned_by == call] for call in trajectory.threads[thread]
    }
    return max([1, *(sum(in_flight(trajectory, agent) for agent in agents) for agents in spawned.values())])


@given(trajectory_sets(spawning=False))
def test_without_sub_agents_a_trajectory_is_a_thread(drawn: TrajectorySet) -> None:
    compiled = compile_calls(drawn, block_tokens=4)
    for got, expected in zip(compiled.threads, single_threads(compiled.calls.first), strict=True):
        assert np.array_equal(got, expected)


def with_sub_agents(*calls: Call, agents: tuple[SubAgent, ...], shared: int = 0) -> TrajectorySet:
    return TrajectorySet("s", "recorded", shared, (Trajectory("t", calls, {}, agents),))


FAN_OUT = (SubAgent(0, 2, 0.5), SubAgent(0, 3), SubAgent(3, 5))
CALLS = (Call(0, 40, 9, 1.0), Call(40, 10, 9, 2.0), Call(0, 20, 5), Call(40, 8, 5, 0.5), Call(48, 8, 5), Call(0, 16, 1))


def test_an_example_by_hand() -> None:
    """Call 0 spawns threads 1 (call 2) and 2 (calls 3 and 4); call 3 spawns thread 3 (call 5); call 1 waits for all."""
    calls = (*CALLS[:3], Call(40, 8, 5, 0.5, extends=0), *CALLS[4:])
    compiled = compile_calls(with_sub_agents(*calls, agents=FAN_OUT), block_tokens=8)
    assert compiled.threads.first.tolist() == [0, 4]
    assert compiled.threads.call.tolist() == [0, 2, 3, 5, 6]
    assert compiled.threads.delay_ps.tolist() == [0, 5 * 10**11, 0, 0]
    assert compiled.threads.child.tolist() == [1, -1, -1, 3, -1, -1]
    assert compiled.threads.children.tolist() == [2, 0, 0, 1, 0, 0]
    assert (compiled.threads.width, compiled.threads.most_in_flight) == (4, 2)
    assert compiled.reusable_tokens == 40 + 40 + 48
    assert recorded_order(6, FAN_OUT) == [0, 2, 3, 5, 4, 1]


@pytest.mark.parametrize(
    ("agents", "field"),
    [
        ((SubAgent(0, 3), SubAgent(0, 1)), "t.sub_agents[1].first"),
        ((SubAgent(0, 6),), "t.sub_agents[0].first"),
        ((SubAgent(0, 2), SubAgent(0, 2)), "t.sub_agents[1].first"),
        ((SubAgent(2, 2),), "t.sub_agents[0].spawned_by"),
        ((SubAgent(-1, 2),), "t.sub_agents[0].spawned_by"),
        ((SubAgent(1, 2), SubAgent(0, 4)), "t.sub_agents[1].spawned_by"),
        ((SubAgent(0, 2, -0.5),), "t.sub_agents[0].delay_s"),
        ((SubAgent(0, 2, float("nan")),), "t.sub_agents[0].delay_s"),
    ],
)
def test_bad_threads_are_named(agents: tuple[SubAgent, ...], field: str) -> None:
    with pytest.raises(UserError) as caught:
        with_sub_agents(*(Call(0, 5, 1) for _ in range(6)), agents=agents)
    assert [mistake.field for mistake in caught.value.mistakes] == [field]
    assert caught.value.mistakes[0].allowed


@settings(max_examples=100, deadline=None)
@given(trajectories(), st.data())
def test_extending_a_call_that_may_still_run_is_a_mistake(drawn: Trajectory, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(drawn.calls) - 1))
    extends = data.draw(st.integers(-1, len(drawn.calls)))
    calls = list(drawn.calls)
    calls[index] = Call(0, 9, 1, 0.0, extends)
    calls = [call if place == index else Call(0, 9, 1, 0.0, call.extends) for place, call in enumerate(calls)]
    changed = Trajectory("t", tuple(calls), {}, drawn.sub_agents)
    if extends in waits(drawn)[index]:
        TrajectorySet("s", "recorded", 0, (changed,))
    else:
        with pytest.raises(UserError) as caught:
            TrajectorySet("s", "recorded", 0, (changed,))
        assert [mistake.field for mistake in caught.value.mistakes] == [f"{changed.place(index)}.extends"]


def test_a_sibling_cannot_be_extended_and_the_message_says_why() -> None:
    with pytest.raises(UserError, match="still runs beside it") as caught:
        with_sub_agents(Call(0, 9, 1), Call(0, 9, 1), Call(0, 9, 1, extends=1), agents=(SubAgent(0, 1), SubAgent(0, 2)))
    assert caught.value.mistakes[0].field == "t.sub_agents[1].calls[0].extends"


@settings(max_examples=120, deadline=None)
@given(trajectory_sets(), st.integers(2, 60), st.sampled_from(["recorded", "generated"]))
def test_a_context_limit_leaves_a_tree_of_threads_that_fit(drawn: TrajectorySet, limit: int, history: str) -> None:
    kept = [(whole, cut_trajectory(whole, limit)) for whole in drawn.trajectories]
    for whole, cut in kept:
        fits = [call.prompt_tokens + call.output_tokens <= limit for call in whole.calls]
        stays: set[int] = set()
        for number, thread in enumerate(whole.threads):
            if number == 0 or whole.sub_agents[number - 1].spawned_by in stays:
                stays |= {index for index in thread if all(fits[thread.start : index + 1])}
        if cut is None:
            assert not stays
            continue
        assert (cut is whole) == all(fits)
        lengths = [(call.prompt_tokens, call.output_tokens, call.tool_s) for call in cut.calls]
        assert lengths == [(whole.calls[i].prompt_tokens, whole.calls[i].output_tokens, whole.calls[i].tool_s) for i in sorted(stays)]
    left = tuple(cut for _, cut in kept if cut is not None)
    if not left:
        with pytest.raises(UserError, match="max_context_tokens"):
            compile_calls(drawn, block_tokens=4, max_context_tokens=limit)
        return
    TrajectorySet("cut", "recorded", drawn.shared_prefix_tokens, left)  # it is a good set
    compiled = compile_calls(drawn, block_tokens=4, history=history, max_context_tokens=limit)  # type: ignore[arg-type]
    assert compiled.kept_calls == sum(len(cut.calls) for cut in left) == compiled.calls.first[-1]
    assert compiled.cut_trajectories == sum(cut is not whole for whole, cut in kept)


def test_what_a_cut_sub_agent_would_have_left_is_kept_as_far_as_an_earlier_prompt_has_it() -> None:
    """Call 1 extends the sub-agent's call 2, which extends call 0; call 2 is too long and vanishes."""
    calls = (Call(0, 40, 5), Call(50, 4, 5, extends=2), Call(30, 90, 5, extends=0))
    cut = cut_trajectory(Trajectory("t", calls, {"a": "b"}, (SubAgent(0, 2),)), 100)
    assert cut == Trajectory("t", (calls[0], Call(30, 24, 5, extends=0)), {"a": "b"})
    cut = cut_trajectory(Trajectory("t", (*calls[:2], Call(0, 120, 5)), {}, (SubAgent(0, 2),)), 100)
    assert cut == Trajectory("t", (calls[0], Call(0, 54, 5)))


def scopes(compiled: Compiled, call: int) -> list[int]:
    """Scope of each full block of a prompt, from its first."""
    tree, node, found = compiled.tree, int(compiled.calls.leaf[call]), list[int]()
    while node != -1:
        found = [int(tree.scope[node])] * int(tree.blocks[node]) + found
        node = int(tree.parent[node])
    return found


def test_markers_hold_for_the_prompts_of_sub_agents() -> None:
    """Sub-agents share the system prompt with all (after_system), or within their play (front); whole prompts between plays (none)."""
    drawn = with_sub_agents(
        Call(0, 32, 4), Call(32, 8, 4), Call(0, 24, 4), Call(0, 24, 4), agents=(SubAgent(0, 2), SubAgent(0, 3)), shared=16
    )
    compiled = compile_calls(drawn, block_tokens=8, marker="after_system")
    assert scopes(compiled, 2)[:2] == scopes(compiled, 3)[:2] == [SCOPE_ALL, SCOPE_ALL]
    assert compiled.reusable_tokens == 16 + 32 + 16 + 16
    compiled = compile_calls(drawn, block_tokens=8, marker="front")
    assert SCOPE_ALL not in compiled.tree.scope
    assert compiled.reusable_tokens == 0 + 32 + 16 + 16
    roots = {path_root(compiled, call) for call in range(4)}
    assert len(roots) == 1, "one system prompt a play"
    compiled = compile_calls(drawn, block_tokens=8, marker="none")
    assert compiled.reusable_tokens == 31 + 39 + 23 + 23


def path_root(compiled: Compiled, call: int) -> int:
    node = int(compiled.calls.leaf[call])
    while compiled.tree.parent[node] != -1:
        node = int(compiled.tree.parent[node])
    return node
