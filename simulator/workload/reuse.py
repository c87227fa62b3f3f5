"""How much of the prompts a prefix cache of a given size serves: the exact stack distances of LRU. Inputs: compiled calls.

The set is played once, each trajectory by one of `agents` that take the next one when they are done, on a clock without a serving system: a
call lasts as long as its answer at a fixed speed. A call looks its prompt up, then puts its blocks on top of an LRU stack, the first block
topmost, so that the end of a prompt is evicted before its beginning. What a cache of ``C`` blocks holds is the top ``C`` of that stack,
for every ``C`` at once: a block is found where its depth is at most ``C`` (Mattson et al., 1970). No call pins its blocks while it runs.

What is left of a call's path in the stack is one run of blocks, for whatever shares the path shares its beginning. So a call costs the runs
it meets, not its blocks.
"""

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.errors import Mistake, UserError
from simulator.units import PS_PER_S
from simulator.workload.compile import Compiled

AGENTS = 16
"""Agents at work at once where nothing else is said."""
DECODE_TOK_S = 40.0
"""Output speed of the clock by which agents interleave (an assumption; it moves the order of calls, not their lengths)."""
BUCKET = 256


@dataclass(frozen=True)
class ReuseCurve:
    """Depths at which prompt blocks were found, as intervals, for prompts of `prompt_tokens` in all.

    Attributes
    ----------
    block_tokens, prompt_tokens : int
    low, high : int64 array
        Each interval is a run of blocks of a prompt found at depths ``low, low + 1, .. high`` of the stack; in blocks, 1 is the top.
    """

    block_tokens: int
    prompt_tokens: int
    low: NDArray[np.int64]
    high: NDArray[np.int64]

    def share(self, cache_tokens: float) -> float:
        """Share of the prompt tokens that a cache of this size serves."""
        found = np.clip(cache_tokens // self.block_tokens - self.low + 1, 0, self.high - self.low + 1)
        return float(found.sum()) * self.block_tokens / self.prompt_tokens

    @property
    def most(self) -> float:
        """Share that an infinite cache serves."""
        return self.share(self.enough_tokens)

    @property
    def enough_tokens(self) -> int:
        """The smallest cache that serves as much as an infinite one."""
        return int(self.high.max(initial=0)) * self.block_tokens


def reuse_curve(compiled: Compiled, block_tokens: int, agents: int = AGENTS, decode_tok_s: float = DECODE_TOK_S) -> ReuseCurve:
    """The curve of a compiled set.

    Parameters
    ----------
    compiled : Compiled
        Of the same `block_tokens`.
    agents : int
        Trajectories at work at once.
    decode_tok_s : float

    Raises
    ------
    UserError
        When an argument is out of range.
    """
    if agents < 1 or not decode_tok_s > 0:
        raise UserError(Mistake("reuse", "agents, decode_tok_s", f"{agents}, {decode_tok_s}", "at least 1, and more than 0"))
    stack = _Stack(compiled, block_tokens)
    for call in _in_order_of_sending(compiled, agents, decode_tok_s):
        stack.touch(call)
    low, high = np.array(stack.found, np.int64).reshape(-1, 2).T
    return ReuseCurve(block_tokens, compiled.prompt_tokens, low, high)


def _in_order_of_sending(compiled: Compiled, agents: int, decode_tok_s: float) -> list[int]:
    """Calls as they are sent: agents in a closed loop, sub-agents beside each other and joined before the next call of their parent."""
    calls, threads = compiled.calls, compiled.threads
    lasts = (calls.output_tokens * (PS_PER_S / decode_tok_s)).astype(np.int64).tolist()
    waits, first, ends = calls.tool_ps.tolist(), threads.call.tolist(), threads.call[1:].tolist()
    delays, child, children = threads.delay_ps.tolist(), threads.child.tolist(), threads.children.tolist()
    mains, following = threads.first[:-1].tolist(), 0
    above = {child[call] + n: call for call in np.flatnonzero(children).tolist() for n in range(children[call])}  # spawning call by thread
    thread_of = np.repeat(np.arange(len(ends)), np.diff(threads.call)).tolist()
    running, joined_ps = dict[int, int](), dict[int, int]()  # by spawning call: sub-agents not over yet, and when the last one was
    order: list[int] = []
    pending: list[tuple[int, int]] = []

    def over(call: int, now_ps: int) -> None:
        """What follows when a call and all that it spawned are over."""
        nonlocal following
        thread = thread_of[call]
        if call + 1 < ends[thread]:
            heapq.heappush(pending, (now_ps + waits[call], call + 1))
        elif thread in above:
            spawner = above[thread]
            joined_ps[spawner] = max(joined_ps[spawner], now_ps + waits[call])
            running[spawner] -= 1
            if not running[spawner]:
                over(spawner, joined_ps[spawner])
        elif following < len(mains):
            heapq.heappush(pending, (now_ps + waits[call], first[mains[following]]))
            following += 1

    while following < min(agents, len(mains)):
        pending.append((0, first[mains[following]]))
        following += 1
    while pending:
        now_ps, call = heapq.heappop(pending)
        order.append(call)
        end_ps = now_ps + lasts[call]
        if children[call]:
            running[call], joined_ps[call] = children[call], end_ps
            for thread in range(child[call], child[call] + children[call]):
                heapq.heappush(pending, (end_ps + delays[thread], first[thread]))
        else:
            over(call, end_ps)
    return order


class _Stack:
    """The LRU stack as runs of blocks, one for each call: ``began[t]`` to ``ended[t]`` of the path of the `t`-th call sent."""

    def __init__(self, compiled: Compiled, block_tokens: int) -> None:
        calls, tree = compiled.calls, compiled.tree
        self.leaf, self.answer = calls.leaf.tolist(), calls.answer.tolist()
        self.looked_up = ((calls.prompt_tokens - 1) // block_tokens).tolist()  # the last token is never found
        prompt_blocks = calls.prompt_tokens // block_tokens
        with_answer = (calls.prompt_tokens + calls.output_tokens - 1) // block_tokens
        self.blocks = np.where(calls.answer >= 0, with_answer, prompt_blocks).tolist()
        self.parent, self.start = tree.parent.tolist(), tree.start.tolist()
        self.pieces: list[list[tuple[int, int]]] = [[] for _ in self.parent]  # by node: ends and their last touch, the newest last
        self.began: list[int] = []
        self.sizes: list[int] = []
        self.buckets: list[int] = []
        self.found: list[tuple[int, int]] = []

    def touch(self, call: int) -> None:
        """Looks a prompt up and puts its path, and that of its answer, on top."""
        now, moved, met = len(self.sizes), 0, 0
        looked_up, end = self.looked_up[call], self.blocks[call]
        for node, until in self._path(call, end):
            pieces = self.pieces[node]
            while pieces and met < until:
                piece_end, touched = pieces[-1]
                upto = min(piece_end, until)
                above = self._above(touched) + moved - self.began[touched]
                if met < looked_up:
                    self.found.append((above + met + 1, above + min(upto, looked_up)))
                moved += upto - met
                self._shrink(touched, upto)
                met = upto
                if piece_end > until:
                    break
                pieces.pop()
            pieces.append((until, now))
            met = until
        self._push(end)

    def _path(self, call: int, end: int) -> list[tuple[int, int]]:
        """Nodes from the root down, and where in the prompt the call's part of each ends."""
        node = self.answer[call] if self.answer[call] >= 0 else self.leaf[call]
        path, until = [], end
        while node >= 0:
            if self.start[node] < until:
                path.append((node, until))
                until = self.start[node]
            node = self.parent[node]
        return path[::-1]

    def _above(self, touched: int) -> int:
        """Blocks in the stack that were touched after the given call."""
        bucket = touched // BUCKET
        return sum(self.sizes[touched + 1 : (bucket + 1) * BUCKET]) + sum(self.buckets[bucket + 1 :])

    def _shrink(self, touched: int, began: int) -> None:
        gone = began - self.began[touched]
        self.began[touched] = began
        self.sizes[touched] -= gone
        self.buckets[touched // BUCKET] -= gone

    def _push(self, blocks: int) -> None:
        if len(self.sizes) % BUCKET == 0:
            self.buckets.append(0)
        self.began.append(0)
        self.sizes.append(blocks)
        self.buckets[-1] += blocks
