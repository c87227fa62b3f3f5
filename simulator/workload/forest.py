"""The compressed radix tree of prompts in KV blocks while it grows. Inputs: trajectories, and where a play's marker stands."""

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.workload.arrays import SCOPE_ALL, SCOPE_PLAY, SCOPE_TRAJECTORY
from simulator.workload.trajectory import Call, Marker, Prefix, Trajectory, prefix_depths, recorded_order

NEVER = 2**62


@dataclass(slots=True)
class _Shared:
    """The end of a prefix of the set: its depth, the node in which its full blocks end, and whether some prompt had it yet."""

    tokens: int
    blocks: int
    node: int
    parent: int
    seen: bool = False


class Forest:
    """The prefix tree while it grows, one trajectory after another.

    The set's prefixes lie in it as nodes of `SCOPE_ALL`, unless each play's marker stands in front of them.

    With generated history, two calls that both extend one call share its answer but for the last token, which only the later prompts
    compute: a block that this token completes counts as computed by each.
    """

    def __init__(self, block_tokens: int, shared_tokens: int, generated: bool, marker: Marker, prefixes: Sequence[Prefix] = ()) -> None:
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
        self.prefixes: list[_Shared] = []
        for prefix, tokens in zip(prefixes if marker != "front" else (), prefix_depths(prefixes), strict=False):
            self._lay(prefix, tokens)

    def _lay(self, prefix: Prefix, tokens: int) -> None:
        """Adds the node of a prefix; none where no full block ends in it."""
        above = self.prefixes[prefix.parent] if prefix.parent >= 0 else _Shared(0, 0, -1, -1)
        blocks, node = tokens // self.block_tokens, above.node
        if blocks > above.blocks:
            node = self._node(above.node, above.blocks, blocks - above.blocks, SCOPE_ALL)
        self.prefixes.append(_Shared(tokens, blocks, node, prefix.parent))

    def add(self, trajectory: Trajectory) -> None:
        """Places every call of one trajectory."""
        offset, longest = len(self.leaf), 0
        for column in (self.leaf, self.answer, self.sampled_from):
            column += [-1] * len(trajectory.calls)
        system = self._own_system(trajectory) if self.marker == "front" else self.system
        for index in recorded_order(len(trajectory.calls), trajectory.sub_agents):
            call, base = trajectory.calls[index], trajectory.base(index)
            extended = trajectory.calls[base] if base >= 0 else None
            self._place(call, extended, offset + index, offset + base, system, longest)
            longest = max(longest, call.prompt_tokens)

    def _own_system(self, trajectory: Trajectory) -> int:
        """Node of the shared prefix within one play, no longer than some prompt of it reaches; -1 when that is no full block."""
        longest = max(call.prompt_tokens for call in trajectory.calls) // self.block_tokens
        blocks = min(self.shared_blocks, longest)
        return self._node(-1, 0, blocks, SCOPE_PLAY) if blocks else -1

    def _place(self, call: Call, base: Call | None, call_id: int, base_id: int, system: int, longest_before: int) -> None:
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
        prefix = self.prefixes[call.prefix] if call.prefix is not None and self.prefixes else None
        if prefix is not None and prefix.blocks > blocks:
            blocks, end = prefix.blocks, prefix.node
        above = self._ending_at(end, blocks)
        sampled_from = NEVER if base is None else self._sampled_from(call, base, base_id)
        scope = self.prompt_scope if sampled_from == NEVER else SCOPE_PLAY
        leaf = self._grown(above, blocks, full, scope) if full > blocks else above
        answered = (prompt + call.output_tokens - 1) // size - full  # the last sampled token has no KV
        self.sampled_from[call_id] = sampled_from
        self.leaf[call_id] = leaf
        self.answer[call_id] = self._node(leaf, full, answered, SCOPE_PLAY) if answered else -1
        seen = prompt if self.marker != "front" else longest_before
        tokens = max(tokens, min(self.shared_tokens, seen, prompt), self._seen_tokens(prefix))
        self._count(prompt if scope == SCOPE_TRAJECTORY else tokens, prompt)

    def _seen_tokens(self, prefix: _Shared | None) -> int:
        """Tokens of a prefix that some prompt before this one had; from now on all of it."""
        while prefix is not None and not prefix.seen:
            prefix.seen = True
            prefix = self.prefixes[prefix.parent] if prefix.parent >= 0 else None
        return prefix.tokens if prefix is not None else 0

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
