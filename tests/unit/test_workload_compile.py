"""Compiled trees against a slow, obvious oracle: prompts as lists of named tokens, cached as chains of full blocks, as vLLM hashes them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import UserError
from simulator.workload import Call, Compiled, Trajectory, TrajectorySet, compile_calls, fixed_set
from simulator.workload.arrays import SCOPE_ALL, SCOPE_PLAY, SCOPE_TRAJECTORY
from simulator.workload.trajectory import recorded_order
from tests.unit.drawn_trajectories import trajectory_sets

Token = tuple[object, ...]


class Oracle:
    """Every call's prompt and answer, token by token. A token that differs between plays says so in its name."""

    def __init__(self, drawn: TrajectorySet, generated: bool, marker: str) -> None:
        self.shared = drawn.shared_prefix_tokens
        self.prompts: list[list[Token]] = []
        self.answers: list[list[Token]] = []
        self.base: list[int] = []  # by call: the one it extends, or -1
        self.earlier: list[list[int]] = []  # by call: those of its trajectory that come before it in recorded order
        for trajectory in drawn.trajectories:
            offset, count = len(self.prompts), len(trajectory.calls)
            for column in (self.prompts, self.answers, self.earlier):
                column += [[] for _ in range(count)]  # type: ignore[arg-type]
            for index in range(count):
                base = trajectory.base(index)
                self.base.append(offset + base if base >= 0 else -1)
            order = recorded_order(count, trajectory.sub_agents)
            for place, index in enumerate(order):
                call = trajectory.calls[index]
                self.earlier[offset + index] = [offset + before for before in order[:place]]
                system: list[Token] = [("system", trajectory.id if marker == "front" else "", i) for i in range(self.shared)]
                base = self.base[offset + index]
                prompt = self.prompts[base][: call.kept_tokens] if base >= 0 else []
                if base >= 0 and generated and call.kept_tokens == len(self.prompts[base]) >= self.shared:
                    prompt = prompt + self.answers[base][: call.new_tokens]
                prompt = prompt + [("new", trajectory.id, index, i) for i in range(len(prompt), call.prompt_tokens)]
                prompt[: self.shared] = system[: len(prompt)]
                self.prompts[offset + index] = prompt
                self.answers[offset + index] = [("sampled", trajectory.id, index, i) for i in range(call.output_tokens)]

    def cached(self, call: int) -> list[Token]:
        """What a call leaves in the cache: the last sampled token has no KV."""
        return self.prompts[call] + self.answers[call][:-1]

    def shared_tokens(self, call: int, earlier: int) -> int:
        return common(self.prompts[call], self.cached(earlier))


def common(one: list[Token], other: list[Token]) -> int:
    length = 0
    while length < min(len(one), len(other)) and one[length] == other[length]:
        length += 1
    return length


def path(compiled: Compiled, number: int, size: int, answered: bool = False) -> list[Token]:
    """The full blocks of a call's prompt (and of its answer), from the root, named by node and index: the rule of `Calls`."""
    tree, calls = compiled.tree, compiled.calls
    node, tokens = int(calls.leaf[number]), int(calls.prompt_tokens[number])
    if answered and calls.answer[number] != -1:
        node, tokens = int(calls.answer[number]), tokens + int(calls.output_tokens[number]) - 1
    end = tokens // size
    blocks: list[Token] = []
    while node != -1:
        assert end <= tree.start[node] + tree.blocks[node], "a node reaches to where the next one begins"
        blocks = [(node, i) for i in range(tree.start[node], end)] + blocks
        end, node = min(end, int(tree.start[node])), int(tree.parent[node])
    assert end == 0, "a path begins with the first block"
    return blocks


@settings(max_examples=150, deadline=None)
@given(trajectory_sets(), st.integers(1, 8), st.booleans(), st.sampled_from(["front", "after_system", "none"]))
def test_paths_share_what_the_block_hashes_share(drawn: TrajectorySet, size: int, generated: bool, marker: str) -> None:
    compiled = compile_calls(drawn, block_tokens=size, history="generated" if generated else "recorded", marker=marker)
    oracle = Oracle(drawn, generated, marker)
    prompts = [path(compiled, number, size) for number in range(len(compiled.calls.leaf))]
    lefts = [path(compiled, number, size, answered=True) for number in range(len(compiled.calls.leaf))]
    assert (compiled.tree.blocks >= 1).all()
    for number in range(len(prompts)):
        assert len(prompts[number]) == len(oracle.prompts[number]) // size
        left = lefts[number]
        assert len(left) == len(oracle.cached(number)) // size
        assert left[: len(prompts[number])] == prompts[number]
        for other in range(len(prompts)):
            if other == number:
                continue
            got, true = common(prompts[number], lefts[other]), oracle.shared_tokens(number, other) // size
            # Siblings of generated history compute the last answer token each (see Forest): never more than the truth.
            assert got == true or (generated and other != oracle.base[number] and got < true)


@settings(max_examples=120, deadline=None)
@given(trajectory_sets(), st.integers(1, 8), st.booleans(), st.sampled_from(["front", "after_system", "none"]))
def test_scope_says_which_plays_share_a_block(drawn: TrajectorySet, size: int, generated: bool, marker: str) -> None:
    compiled = compile_calls(drawn, block_tokens=size, history="generated" if generated else "recorded", marker=marker)
    oracle = Oracle(drawn, generated, marker)
    for number in range(len(oracle.prompts)):
        for block, (owner, _) in enumerate(path(compiled, number, size, answered=True)):
            chain = oracle.cached(number)[: (block + 1) * size]
            if marker == "front" or any(token[0] == "sampled" for token in chain):
                expected = SCOPE_PLAY
            elif all(token[0] == "system" for token in chain):
                expected = SCOPE_ALL
            else:
                expected = SCOPE_TRAJECTORY if marker == "none" else SCOPE_PLAY
            assert compiled.tree.scope[owner] == expected  # type: ignore[index]


@settings(max_examples=120, deadline=None)
@given(trajectory_sets(), st.integers(1, 8), st.booleans(), st.sampled_from(["front", "after_system", "none"]))
def test_reusable_tokens_are_the_longest_prefix_known(drawn: TrajectorySet, size: int, generated: bool, marker: str) -> None:
    compiled = compile_calls(drawn, block_tokens=size, history="generated" if generated else "recorded", marker=marker)
    oracle = Oracle(drawn, generated, marker)
    tokens = blocks = 0
    for number, prompt in enumerate(oracle.prompts):
        # A generated answer is counted through the call that `extends` names; prompts through any earlier call of the play.
        earlier = [oracle.prompts[before] for before in oracle.earlier[number]]
        known = [common(prompt if not generated else prompt[: oracle.shared], before) for before in earlier]
        if oracle.base[number] >= 0:
            known.append(oracle.shared_tokens(number, oracle.base[number]))
        lasting = {"front": (), "after_system": ("system",), "none": ("system", "new")}[marker]
        stays = 0
        while stays < len(prompt) and prompt[stays][0] in lasting:
            stays += 1
        reused = min(max([*known, stays]), len(prompt) - 1)
        tokens, blocks = tokens + reused, blocks + reused // size * size
    assert (compiled.reusable_tokens, compiled.reusable_block_tokens) == (tokens, blocks)
    assert compiled.prompt_tokens == sum(map(len, oracle.prompts))


def chain(*prompts: tuple[int, int, int], name: str = "t") -> TrajectorySet:
    return TrajectorySet("chain", "recorded", 0, (Trajectory(name, tuple(Call(*prompt) for prompt in prompts)),))


def test_a_branch_splits_a_node_and_the_lower_part_keeps_its_id() -> None:
    calls = (Call(0, 10, 1), Call(10, 10, 1), Call(6, 6, 1, extends=0))
    compiled = compile_calls(TrajectorySet("branch", "recorded", 0, (Trajectory("t", calls),)), block_tokens=2)
    assert compiled.calls.leaf.tolist() == [0, 0, 2]
    assert compiled.tree.parent.tolist() == [1, -1, 1]
    assert compiled.tree.start.tolist() == [3, 0, 3]
    assert compiled.tree.blocks.tolist() == [7, 3, 3]


def test_a_chain_of_prompts_is_one_node() -> None:
    compiled = compile_calls(chain((0, 10, 5), (10, 10, 5), (20, 6, 1)), block_tokens=2)
    assert compiled.calls.leaf.tolist() == [0, 0, 0]
    assert compiled.tree.blocks.tolist()[0] == 13


def test_the_65_token_conversation_of_vllm_leaves_64_and_the_64_token_one_32() -> None:
    """ENGINES.md section 1, run on vLLM 0.32: the last sampled token has no KV (block 32)."""
    for length, reusable in ((65, 64), (64, 32)):
        compiled = compile_calls(chain((0, 40, length - 40), (40, 100, 1)), block_tokens=32, history="generated")
        assert compiled.reusable_block_tokens == reusable


def test_recorded_history_reuses_prompts_only() -> None:
    drawn = chain((0, 64, 100), (64, 200, 1))
    assert compile_calls(drawn, block_tokens=32, history="recorded").reusable_tokens == 64
    assert compile_calls(drawn, block_tokens=32, history="generated").reusable_tokens == 64 + 99


def test_a_short_answer_in_a_later_prompt_is_never_shared_between_plays() -> None:
    """The answer fills no block of its own, yet the next prompt's block holds it: that block differs in every play."""
    compiled = compile_calls(chain((0, 32, 2), (32, 40, 1)), block_tokens=16, history="generated", marker="none")
    assert compiled.tree.scope.tolist() == [SCOPE_TRAJECTORY, SCOPE_PLAY]


def test_decode_steps_without_drafts_are_one_per_token() -> None:
    compiled = compile_calls(chain((0, 8, 1), (8, 8, 7)), block_tokens=4)
    assert compiled.calls.decode_steps.tolist() == [0, 6]


@given(st.lists(st.integers(1, 400), min_size=1, max_size=5), st.integers(0, 3))
def test_drawn_decode_steps_lie_between_their_bounds_and_follow_the_id(outputs: list[int], seed: int) -> None:
    one = Trajectory("one", tuple(Call(0, 5, tokens) for tokens in outputs))
    two = Trajectory("two", (Call(0, 5, 300),))
    pmf, drafts = (0.4, 0.3, 0.2, 0.1), 3
    both = [
        compile_calls(TrajectorySet("s", "recorded", 0, order), block_tokens=4, accept_pmf=pmf, drafts=drafts, seed=seed)
        for order in ((one, two), (two, one))
    ]
    steps = both[0].calls.decode_steps[: len(outputs)]
    assert steps.tolist() == both[1].calls.decode_steps[1:].tolist()
    assert all(-(-(tokens - 1) // 4) <= step <= tokens - 1 for tokens, step in zip(outputs, steps, strict=True))


def test_drawn_decode_steps_gain_the_mean_accepted_length_and_depend_on_the_seed() -> None:
    drawn = TrajectorySet("s", "recorded", 0, tuple(Trajectory(f"t{i}", (Call(0, 5, 4001),)) for i in range(50)))
    pmf = (0.25, 0.25, 0.3, 0.2)
    mean = sum((i + 1) * p for i, p in enumerate(pmf))
    zero, one = (compile_calls(drawn, block_tokens=4, accept_pmf=pmf, drafts=3, seed=seed).calls.decode_steps for seed in (0, 1))
    # 50 x 4000 tokens: the standard error of the mean accepted length is 0.15 %.
    assert 4000 * 50 / zero.sum() == pytest.approx(mean, rel=0.01)
    assert (zero != one).any()
    exact = compile_calls(drawn, block_tokens=4, accept_pmf=(0.0, 0.0, 0.0, 1.0), drafts=3).calls.decode_steps
    assert (exact == 1000).all()


def test_a_trajectory_is_cut_before_the_call_that_exceeds_the_context() -> None:
    drawn = TrajectorySet("s", "recorded", 0, (Trajectory("a", (Call(0, 90, 10), Call(90, 1, 10))), Trajectory("b", (Call(0, 101, 1),))))
    compiled = compile_calls(drawn, block_tokens=4, max_context_tokens=100)
    assert (compiled.ids, compiled.kept_calls, compiled.cut_trajectories) == (("a",), 1, 2)
    with pytest.raises(UserError, match="max_context_tokens"):
        compile_calls(drawn, block_tokens=4, max_context_tokens=50)


def test_tool_times_are_picoseconds_and_stops_is_a_flag() -> None:
    drawn = TrajectorySet("s", "recorded", 0, (Trajectory("a", (Call(0, 9, 1, 0.1), Call(9, 1, 1, 2.5))),))
    calls = compile_calls(drawn, block_tokens=4, stops=False).calls
    assert calls.tool_ps.tolist() == [10**11, 25 * 10**11]
    assert calls.stops.tolist() == [0, 0]
    assert all(column.dtype == np.int64 for column in calls)


def test_fixed_calls_share_the_system_prefix_only() -> None:
    compiled = compile_calls(fixed_set(100, 10, 33, 1.5), block_tokens=16, marker="after_system")
    assert compiled.tree.scope.tolist() == [SCOPE_ALL, SCOPE_PLAY]
    assert compiled.tree.blocks.tolist() == [2, 4]
    assert (compiled.reusable_tokens, compiled.reusable_block_tokens) == (33, 32)


def test_bad_arguments_are_named_all_at_once() -> None:
    with pytest.raises(UserError) as caught:
        compile_calls(fixed_set(9, 9), block_tokens=0, marker="back", drafts=2, accept_pmf=(0.5, 0.4))  # type: ignore[arg-type]
    assert [mistake.field for mistake in caught.value.mistakes] == ["block_tokens", "marker", "accept_pmf"]
    with pytest.raises(UserError) as caught:
        fixed_set(0, 0, 5, -1.0)
    assert [mistake.field for mistake in caught.value.mistakes] == ["isl", "osl", "shared_prefix", "think_s"]
