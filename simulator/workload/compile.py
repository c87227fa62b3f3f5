"""Compiles trajectories to the flat arrays an engine reads: calls, and the compressed radix tree of their prompts in KV blocks.

Inputs are a `TrajectorySet` and how it is served: block size, history, where the per-play marker stands, drafts, context limit. The tree
is static: what may ever be shared is known beforehand, and an engine only tracks which of its blocks are in memory.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.errors import Mistake, UserError
from simulator.units import to_ps
from simulator.workload.arrays import SCOPE_ALL, SCOPE_PLAY, SCOPE_TRAJECTORY, Calls, PrefixTree
from simulator.workload.trajectory import HISTORIES, MARKERS, Call, History, Marker, Trajectory, TrajectorySet

NEVER = 2**62


@dataclass(frozen=True)
class Compiled:
    """What an engine replays, and what an infinite cache would reuse of it.

    ``reusable_tokens`` and ``reusable_block_tokens`` are sums over one play of each trajectory, at token and at block granularity: what an
    earlier call of the play left, or (outside ``SCOPE_PLAY``) an earlier play. The last token of a prompt is never reusable: it must be
    computed to sample from it.

    Attributes
    ----------
    calls : Calls
    tree : PrefixTree
    ids : tuple of str
        Trajectory ids, in the order of ``calls.first``.
    kept_calls : int
        Calls that fit the context limit.
    cut_trajectories : int
        Trajectories that ended early (or dropped out) because a call exceeds the context limit.
    reusable_tokens, reusable_block_tokens, prompt_tokens : int
    """

    calls: Calls
    tree: PrefixTree
    ids: tuple[str, ...]
    kept_calls: int
    cut_trajectories: int
    reusable_tokens: int
    reusable_block_tokens: int
    prompt_tokens: int


def compile_calls(
    trajectories: TrajectorySet,
    *,
    block_tokens: int,
    history: History | None = None,
    marker: Marker = "front",
    accept_pmf: Sequence[float] = (1.0,),
    drafts: int = 0,
    seed: int = 0,
    stops: bool = True,
    max_context_tokens: int | None = None,
) -> Compiled:
    """Calls and prefix tree of a set.

    Parameters
    ----------
    block_tokens : int
        Tokens in a KV block.
    history : {"recorded", "generated"}, optional
        Whether a later prompt reuses earlier prompts only, or generated answers too; the set's own when left out.
    marker : {"front", "after_system", "none"}
        Where each play's random marker stands: before everything (nothing is shared between plays), after the shared prefix, or
        nowhere (plays of one trajectory share their prompts). The marker's own few tokens are not counted.
    accept_pmf : sequence of float
        Probability that a decode step yields 1, 2, .. tokens; read only when `drafts` > 0.
    drafts, seed : int
        Draft tokens per step; seed of the drawn steps. Draws depend on seed and trajectory id, not on the order of trajectories.
    stops : bool
        Whether calls end by a stop token rather than by length.
    max_context_tokens : int, optional
        A trajectory is cut before its first call whose prompt and output exceed this.

    Raises
    ------
    UserError
        An argument out of range, or no call fits the context limit.
    """
    history = trajectories.history if history is None else history
    _refuse_bad_arguments(block_tokens, history, marker, accept_pmf, drafts, max_context_tokens)
    limit = max_context_tokens if max_context_tokens is not None else NEVER
    kept, cut = _cut(trajectories, limit)
    forest = _Forest(block_tokens, trajectories.shared_prefix_tokens, history == "generated", marker)
    for trajectory in kept:
        forest.add(trajectory)
    flat = [call for trajectory in kept for call in trajectory.calls]
    first = np.cumsum([0] + [len(trajectory.calls) for trajectory in kept], dtype=np.int64)
    output = _ints(call.output_tokens for call in flat)
    calls = Calls(
        first=first,
        prompt_tokens=_ints(call.prompt_tokens for call in flat),
        output_tokens=output,
        decode_steps=_decode_steps(kept, first, output, accept_pmf, drafts, seed),
        tool_ps=_ints(to_ps(call.tool_s) for call in flat),
        stops=np.full(len(flat), int(stops), dtype=np.int64),
        leaf=_ints(forest.leaf),
        answer=_ints(forest.answer),
    )
    return Compiled(
        calls=calls,
        tree=PrefixTree(_ints(forest.parent), _ints(forest.start), _ints(forest.blocks), _ints(forest.scope)),
        ids=tuple(trajectory.id for trajectory in kept),
        kept_calls=len(flat),
        cut_trajectories=cut,
        reusable_tokens=forest.reusable_tokens,
        reusable_block_tokens=forest.reusable_blocks * block_tokens,
        prompt_tokens=int(calls.prompt_tokens.sum()),
    )


def _ints(values: Iterable[int]) -> NDArray[np.int64]:
    return np.array(list(values), dtype=np.int64)


def _refuse_bad_arguments(
    block_tokens: int, history: str, marker: str, accept_pmf: Sequence[float], drafts: int, max_context_tokens: int | None
) -> None:
    pmf_good = len(accept_pmf) >= 1 and min(accept_pmf) >= 0 and abs(sum(accept_pmf) - 1) <= 1e-9
    checks = (
        ("block_tokens", block_tokens, block_tokens >= 1, "a whole number >= 1"),
        ("history", history, history in HISTORIES, " or ".join(HISTORIES)),
        ("marker", marker, marker in MARKERS, ", ".join(MARKERS)),
        ("accept_pmf", accept_pmf, drafts == 0 or pmf_good, "probabilities >= 0 that sum to 1"),
        ("accept_pmf", accept_pmf, drafts == 0 or len(accept_pmf) <= drafts + 1, f"at most {drafts + 1} values: drafts + 1 tokens a step"),
        ("drafts", drafts, drafts >= 0, "a whole number >= 0"),
        ("max_context_tokens", max_context_tokens, max_context_tokens is None or max_context_tokens >= 2, "a whole number >= 2"),
    )
    mistakes = [Mistake("workload", name, str(value), allowed) for name, value, good, allowed in checks if not good]
    if mistakes:
        raise UserError(mistakes)


def _cut(trajectories: TrajectorySet, limit: int) -> tuple[list[Trajectory], int]:
    kept, cut = [], 0
    for trajectory in trajectories.trajectories:
        fits = 0
        while fits < len(trajectory.calls) and trajectory.calls[fits].prompt_tokens + trajectory.calls[fits].output_tokens <= limit:
            fits += 1
        cut += fits < len(trajectory.calls)
        if fits:
            kept.append(Trajectory(trajectory.id, trajectory.calls[:fits], trajectory.labels))
    if not kept:
        hint = "every first call is longer; raise the deployment's max_context_tokens or choose other trajectories"
        raise UserError(Mistake(trajectories.name, "max_context_tokens", str(limit), "room for at least one call", hint))
    return kept, cut


def _decode_steps(
    trajectories: Sequence[Trajectory],
    first: NDArray[np.int64],
    output_tokens: NDArray[np.int64],
    accept_pmf: Sequence[float],
    drafts: int,
    seed: int,
) -> NDArray[np.int64]:
    """Steps from the first token to the last: one each, or as many accepted lengths as it takes to sum to the rest of the answer."""
    rest = output_tokens - 1
    if drafts == 0:
        return rest
    cumulative = np.cumsum(accept_pmf)
    cumulative[-1] = 1.0
    steps = np.zeros_like(rest)
    for index, trajectory in enumerate(trajectories):
        calls = slice(first[index], first[index + 1])
        ends = np.cumsum(rest[calls])
        begins = ends - rest[calls]
        # Call i owns the accepted lengths begins[i]:ends[i]: enough even if each step yields one token.
        lengths = np.searchsorted(cumulative, _stream(seed, "decode_steps", trajectory.id).random(int(ends[-1])), side="right") + 1
        total = np.concatenate(([0], np.cumsum(lengths)))
        steps[calls] = np.searchsorted(total, total[begins] + rest[calls]) - begins
    return steps


def _stream(seed: int, purpose: str, trajectory_id: str) -> np.random.Generator:
    key = hashlib.blake2b(f"{purpose}\0{trajectory_id}".encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(key, "little")])


class _Forest:
    """The prefix tree while it grows, one trajectory after another.

    With generated history, two calls that both extend one call share its answer but for the last token, which only the later prompts
    compute: a block that this token completes counts as computed by each.
    """

    def __init__(self, block_tokens: int, shared_tokens: int, generated: bool, marker: Marker) -> None:
        self.block_tokens, self.shared_tokens, self.generated, self.marker = block_tokens, shared_tokens, generated, marker
        self.parent: list[int] = []
        self.start: list[int] = []
        self.blocks: list[int] = []
        self.scope: list[int] = []
        self.open: list[bool] = []  # by node: no prompt goes on after its end yet
        self.leaf: list[int] = []
        self.answer: list[int] = []
        self.sampled_from: list[int] = []  # by call: first prompt token that depends on an answer sampled in the play
        self.reusable_tokens = 0
        self.reusable_blocks = 0
        self.prompt_scope = SCOPE_TRAJECTORY if marker == "none" else SCOPE_PLAY
        self.shared_blocks = shared_tokens // block_tokens
        self.system = -1 if marker == "front" or not self.shared_blocks else self._node(-1, 0, self.shared_blocks, SCOPE_ALL)

    def add(self, trajectory: Trajectory) -> None:
        """Places every call of one trajectory."""
        offset, longest = len(self.leaf), 0
        system = self._own_system(trajectory) if self.marker == "front" else self.system
        for index, call in enumerate(trajectory.calls):
            base = trajectory.base(index)
            extended = trajectory.calls[base] if index else None
            self._place(call, extended, offset + base, system, longest)
            longest = max(longest, call.prompt_tokens)

    def _own_system(self, trajectory: Trajectory) -> int:
        """Node of the shared prefix within one play, no longer than some prompt of it reaches; -1 when that is no full block."""
        longest = max(call.prompt_tokens for call in trajectory.calls) // self.block_tokens
        blocks = min(self.shared_blocks, longest)
        return self._node(-1, 0, blocks, SCOPE_PLAY) if blocks else -1

    def _place(self, call: Call, base: Call | None, base_id: int, system: int, longest_before: int) -> None:
        """Adds the path of one prompt and the node of its answer; `longest_before` is the longest earlier prompt of the play."""
        size, prompt = self.block_tokens, call.prompt_tokens
        full = prompt // size
        tokens = 0 if base is None else self._extended_tokens(call, base)
        blocks, end = tokens // size, -1
        if base is not None:
            end = self.answer[base_id] if blocks > base.prompt_tokens // size else self.leaf[base_id]
        shared = min(self.shared_blocks, full)
        if shared >= blocks:
            blocks, end = shared, system
        above = self._ending_at(end, blocks)
        sampled_from = NEVER if base is None else self._sampled_from(call, base, base_id)
        scope = self.prompt_scope if sampled_from == NEVER else SCOPE_PLAY
        leaf = self._grown(above, blocks, full, scope) if full > blocks else above
        answered = (prompt + call.output_tokens - 1) // size - full  # the last sampled token has no KV
        self.sampled_from.append(sampled_from)
        self.leaf.append(leaf)
        self.answer.append(self._node(leaf, full, answered, SCOPE_PLAY) if answered else -1)
        seen = prompt if self.marker != "front" else longest_before
        tokens = max(tokens, min(self.shared_tokens, seen, prompt))
        self._count(prompt if scope == SCOPE_TRAJECTORY else tokens, prompt)

    def _extended_tokens(self, call: Call, base: Call) -> int:
        """Leading tokens of a prompt whose KV the call it extends computed."""
        kept = max(call.kept_tokens, min(self.shared_tokens, base.prompt_tokens, call.prompt_tokens))
        if self._carries_answer(call, base):
            # The answer follows verbatim, as far as this prompt goes and as KV exists (not for the last sampled token).
            return kept + min(base.output_tokens - 1, call.new_tokens)
        return kept

    def _carries_answer(self, call: Call, base: Call) -> bool:
        """Whether a prompt goes on with the generated answer of the call it extends."""
        return self.generated and call.kept_tokens == base.prompt_tokens >= self.shared_tokens

    def _sampled_from(self, call: Call, base: Call, base_id: int) -> int:
        if self.sampled_from[base_id] < call.kept_tokens:
            return self.sampled_from[base_id]
        return call.kept_tokens if self._carries_answer(call, base) and call.new_tokens else NEVER

    def _count(self, reusable: int, prompt: int) -> None:
        reusable = min(reusable, prompt - 1)
        self.reusable_tokens += reusable
        self.reusable_blocks += reusable // self.block_tokens

    def _ending_at(self, node: int, blocks: int) -> int:
        """Node of the path to `node` that ends after `blocks` blocks; splits one if none does, the lower part keeping its id."""
        if blocks == 0:
            return -1
        while self.start[node] >= blocks:
            node = self.parent[node]
        above = blocks - self.start[node]
        assert above <= self.blocks[node], "a prompt shares no more blocks than the path it follows has"
        if above == self.blocks[node]:
            return node
        upper = self._node(self.parent[node], self.start[node], above, self.scope[node])
        self.open[upper] = False
        self.parent[node] = upper
        self.start[node] += above
        self.blocks[node] -= above
        return upper

    def _grown(self, above: int, blocks: int, full: int, scope: int) -> int:
        """Node of the prompt's own blocks, which follow those that end with `above`: that node itself when nothing else goes on there."""
        if above != -1 and self.open[above] and self.scope[above] == scope:
            self.blocks[above] += full - blocks
            return above
        if above != -1:
            self.open[above] = False
        return self._node(above, blocks, full - blocks, scope)

    def _node(self, parent: int, start: int, blocks: int, scope: int) -> int:
        self.parent.append(parent)
        self.start.append(start)
        self.blocks.append(blocks)
        self.scope.append(scope)
        self.open.append(True)
        return len(self.parent) - 1
