"""What the calls of a workload ask of a deployment, in the figures that rate matching on paper needs. Inputs are a prepared scenario."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simulator.capacity.build import Prepared
from simulator.hardware.step_law import FRACTION_BITS, StepLaw
from simulator.units import PS_PER_S
from simulator.workload.arrays import SCOPE_PLAY, Calls, PrefixTree, Threads


@dataclass(frozen=True)
class Demand:
    """The calls of a workload, each trajectory played once; all arrays have shape (calls,).

    Attributes
    ----------
    prompt_tokens, output_tokens, decode_steps : int64 array
    reusable_tokens : int64 array
        Leading prompt tokens, in whole KV blocks, that an earlier call of the play (or, where plays share, an earlier play) computed.
    tool_s : float64 array
    returns : bool array
        Whether another call of the play follows that can reuse this one's prompt: False for the last call of a thread.
    plays : int
    parallel : float
        Calls (with the tool waits after them) that a play has under way at once, on average; 1 without sub-agents.
    """

    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    decode_steps: NDArray[np.int64]
    reusable_tokens: NDArray[np.int64]
    tool_s: NDArray[np.float64]
    returns: NDArray[np.bool_]
    plays: int
    parallel: float = 1.0

    @property
    def calls(self) -> int:
        """Calls of all plays."""
        return len(self.prompt_tokens)

    @cached_property
    def steps(self) -> float:
        """Mean decode steps of a call."""
        return float(self.decode_steps.mean())

    @cached_property
    def isl(self) -> float:
        """Mean prompt tokens."""
        return float(self.prompt_tokens.mean())

    @cached_property
    def osl(self) -> float:
        """Mean output tokens."""
        return float(self.output_tokens.mean())

    @cached_property
    def reuse_tokens(self) -> float:
        """Mean prompt tokens that an infinite cache serves."""
        return float(self.reusable_tokens.mean())

    @cached_property
    def context_tokens(self) -> float:
        """Mean context of a decoding call over its decode steps: the prompt and, on average, half the answer."""
        weights = self.decode_steps if self.decode_steps.any() else np.ones_like(self.decode_steps)
        return float(np.average(self.prompt_tokens + self.output_tokens / 2, weights=weights))

    @cached_property
    def gained(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tokens after the first one, and decode steps, of the calls that decode."""
        decoding = self.decode_steps > 0
        return self.output_tokens[decoding] - 1, self.decode_steps[decoding]

    @cached_property
    def _squares(self) -> tuple[float, float]:
        """Mean squares of prompt and reusable tokens."""
        return float((self.prompt_tokens.astype(np.float64) ** 2).mean()), float((self.reusable_tokens.astype(np.float64) ** 2).mean())

    def new_tokens(self, kept: float = 1.0) -> float:
        """Mean prompt tokens that must be computed, when a share ``kept`` of the calls finds its prefix and the others nothing."""
        return self.isl - kept * self.reuse_tokens

    def new_tokens_at(self, percentile: float) -> float:
        """Percentile over the calls of the prompt tokens that must be computed when every call finds its prefix."""
        return float(np.percentile(self.prompt_tokens - self.reusable_tokens, percentile))

    def pairs(self, kept: float = 1.0) -> float:
        """Mean of ``sum(n * (2 p + n))`` over the chunks of a call's prompt, with a share ``kept`` of the calls finding their prefix."""
        prompts, reused = self._squares
        return prompts - kept * reused

    def prefill_ps(self, law: StepLaw, hit: bool) -> NDArray[np.float64]:
        """Time of each call's prompt on a rank by the step-time law, alone and without the fixed parts of a step.

        The chunks into which a prompt is cut add up: ``sum(n * (2 p + n))`` over its chunks is ``prompt**2 - reused**2``.
        """
        reused = self.reusable_tokens if hit else np.zeros_like(self.reusable_tokens)
        pairs = self.prompt_tokens.astype(np.float64) ** 2 - reused.astype(np.float64) ** 2
        return np.asarray(law.prefill_token_ps * (self.prompt_tokens - reused) + law.pair_fp * pairs / 2 ** (FRACTION_BITS + 1))

    def accepted(self, percentile: float) -> float:
        """Percentile over the calls of tokens gained per decode step."""
        tokens, steps = self.gained
        return float(np.percentile(tokens / steps, percentile)) if steps.size else float("inf")


def demand_of(prepared: Prepared, step_s: float) -> Demand:
    """The demand of a prepared scenario.

    Parameters
    ----------
    step_s : float
        Seconds per decode step with which the overlap of sub-agents is weighed; of no effect without sub-agents.
    """
    calls, threads = prepared.calls, prepared.threads
    returns = np.ones(len(calls.prompt_tokens), np.bool_)
    returns[threads.call[1:] - 1] = False
    return Demand(
        prompt_tokens=calls.prompt_tokens,
        output_tokens=calls.output_tokens,
        decode_steps=calls.decode_steps,
        reusable_tokens=reusable_tokens(calls, threads, prepared.tree, prepared.deployment.block_tokens),
        tool_s=calls.tool_ps / PS_PER_S,
        returns=returns,
        plays=len(calls.first) - 1,
        parallel=_parallel(calls, threads, calls.decode_steps.astype(np.float64) * step_s),
    )


def reusable_tokens(calls: Calls, threads: Threads, tree: PrefixTree, block_tokens: int) -> NDArray[np.int64]:
    """Prompt tokens of each call that an infinite cache would serve, in whole blocks, shape (calls,).

    Within a play what an earlier call left; content that plays share was computed by an earlier play. The last prompt token is always
    computed.
    """
    found = np.zeros(len(calls.prompt_tokens), np.int64)
    for play in range(len(calls.first) - 1):
        covered: dict[int, int] = {}
        for call in _in_order(threads, int(threads.first[play])):
            full = int(calls.prompt_tokens[call]) // block_tokens
            path = _path(tree, int(calls.leaf[call]), full)
            blocks = _covered(tree, path, covered)
            found[call] = min(blocks, (int(calls.prompt_tokens[call]) - 1) // block_tokens) * block_tokens
            answered = (int(calls.prompt_tokens[call] + calls.output_tokens[call]) - 1) // block_tokens
            whole = path if calls.answer[call] < 0 else _path(tree, int(calls.answer[call]), answered)
            covered |= {node: max(end, covered.get(node, 0)) for node, end in whole}
    return found


def _path(tree: PrefixTree, node: int, blocks: int) -> list[tuple[int, int]]:
    """Nodes from the root to a node, each with the block at which the path leaves it."""
    found = []
    while node >= 0 and blocks:
        found.append((node, blocks))
        node, blocks = int(tree.parent[node]), int(tree.start[node])
    return found[::-1]


def _covered(tree: PrefixTree, path: list[tuple[int, int]], covered: dict[int, int]) -> int:
    """Leading blocks of a path that were computed before."""
    blocks = 0
    for node, end in path:
        known = end if tree.scope[node] != SCOPE_PLAY else min(end, covered.get(node, 0))
        blocks = max(blocks, known)
        if known < end:
            break
    return blocks


def _in_order(threads: Threads, thread: int) -> Iterator[int]:
    """The calls of a thread in the order in which they were recorded: a call, what it spawned one after the other, the next call."""
    for call in range(int(threads.call[thread]), int(threads.call[thread + 1])):
        yield call
        for child in range(int(threads.children[call])):
            yield from _in_order(threads, int(threads.child[call]) + child)


def _parallel(calls: Calls, threads: Threads, call_s: NDArray[np.float64]) -> float:
    """Time of all calls with their tool waits over the time that the plays take, in which sub-agents run side by side."""
    if not threads.children.any():
        return 1.0
    tool_s = calls.tool_ps / PS_PER_S
    together = sum(_thread_s(threads, int(main), call_s, tool_s) for main in threads.first[:-1])
    return float((call_s + tool_s).sum() / together)


def _thread_s(threads: Threads, thread: int, call_s: NDArray[np.float64], tool_s: NDArray[np.float64]) -> float:
    """Seconds that a thread takes: its calls, after each the longest of the sub-agents it spawned, and its tools."""
    seconds = 0.0
    for call in range(int(threads.call[thread]), int(threads.call[thread + 1])):
        spawned = range(int(threads.child[call]), int(threads.child[call]) + int(threads.children[call]))
        joined = max((threads.delay_ps[t] / PS_PER_S + _thread_s(threads, t, call_s, tool_s) for t in spawned), default=0.0)
        seconds += float(call_s[call] + joined + tool_s[call])
    return seconds
