"""Reuse against cache size: equal to an LRU stack kept block by block, on drawn trajectories and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import UserError
from simulator.workload import Call, Compiled, Trajectory, TrajectorySet, compile_calls, load_trajectories
from simulator.workload.reuse import _in_order_of_sending, reuse_curve
from simulator.workload.statistics import cache_curve
from tests.unit.drawn_trajectories import trajectory_sets, waits


def blocks_of(compiled: Compiled, call: int, tokens: int, block: int) -> list[tuple[int, int]]:
    """A call's path block by block: node and index in the prompt, from the root on."""
    tree, end = compiled.tree, tokens // block
    node = compiled.calls.answer[call] if compiled.calls.answer[call] >= 0 else compiled.calls.leaf[call]
    path: list[tuple[int, int]] = []
    while node >= 0:
        path = [(int(node), index) for index in range(int(tree.start[node]), end)] + path
        end = min(end, int(tree.start[node]))
        node = tree.parent[node]
    return path


def block_by_block(compiled: Compiled, block: int, agents: int) -> list[int]:
    """Depths at which prompt blocks were found, by moving single blocks in a list."""
    stack: list[tuple[int, int]] = []
    depths: list[int] = []
    for call in _in_order_of_sending(compiled, agents, 40.0):
        prompt, output = int(compiled.calls.prompt_tokens[call]), int(compiled.calls.output_tokens[call])
        answered = compiled.calls.answer[call] >= 0
        path = blocks_of(compiled, call, prompt + output - 1 if answered else prompt, block)
        depths += [stack.index(each) + 1 for each in path[: (prompt - 1) // block] if each in stack]
        stack = path + [each for each in stack if each not in path]
    return depths


@settings(max_examples=40, deadline=None)
@given(
    found=trajectory_sets(), block=st.integers(1, 7), agents=st.integers(1, 3), marker=st.sampled_from(["front", "after_system", "none"])
)
def test_equal_to_a_stack_of_single_blocks(found: TrajectorySet, block: int, agents: int, marker: str) -> None:
    compiled = compile_calls(found, block_tokens=block, marker=marker)  # type: ignore[arg-type]
    curve = reuse_curve(compiled, block, agents)
    depths = np.array(block_by_block(compiled, block, agents) or [10**9])
    for cache in range(0, 60, 3):
        assert curve.share(cache * block) * curve.prompt_tokens == pytest.approx((depths <= cache).sum() * block), cache


@settings(max_examples=40, deadline=None)
@given(found=trajectory_sets(), agents=st.integers(1, 3))
def test_every_call_is_sent_once_after_all_it_waits_for(found: TrajectorySet, agents: int) -> None:
    compiled = compile_calls(found, block_tokens=4)
    order = _in_order_of_sending(compiled, agents, 40.0)
    assert sorted(order) == list(range(compiled.kept_calls))
    place = {call: n for n, call in enumerate(order)}
    for first, trajectory in zip(compiled.calls.first, found.trajectories, strict=False):
        for index, before in enumerate(waits(trajectory)):
            assert all(place[first + earlier] < place[first + index] for earlier in before)


def test_by_hand() -> None:
    """Blocks of 10. The second prompt finds the 10 blocks of the first on top: depths 1 to 10. Another run adds 20 blocks."""
    calls = (Call(0, 100, 1, 5.0), Call(100, 50, 1, 0.0))
    found = TrajectorySet("s", "recorded", 0, (Trajectory("a", calls), Trajectory("b", (Call(0, 200, 1, 0.0),))))
    alone, together = (reuse_curve(compile_calls(found, block_tokens=10), 10, agents) for agents in (1, 2))
    assert [round(alone.share(tokens) * 450) for tokens in (0, 50, 100, 1000)] == [0, 50, 100, 100]
    assert [round(together.share(tokens) * 450) for tokens in (100, 200, 250, 300)] == [0, 0, 50, 100]
    assert (alone.enough_tokens, together.enough_tokens) == (100, 300)


def test_an_infinite_cache_gives_what_the_compiler_counts_and_a_larger_one_never_less() -> None:
    found = load_trajectories("agentperf_local")
    compiled = compile_calls(found, block_tokens=64)
    curve = cache_curve(found, 4)
    assert curve.most * curve.prompt_tokens == pytest.approx(compiled.reusable_block_tokens)
    shares = [curve.share(tokens) for tokens in range(0, curve.enough_tokens + 1, 4096)]
    assert shares == sorted(shares)
    with pytest.raises(UserError, match="agents"):
        cache_curve(found, 0)
