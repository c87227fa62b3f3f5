"""The load as flat arrays: calls, threads of sub-agents, and the tree of prompt segments, counted in KV blocks. Inputs come from
trajectories."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Calls(NamedTuple):
    """Every call of every trajectory, in order; trajectory ``t`` owns calls ``first[t]:first[t + 1]``.

    Attributes
    ----------
    first : int64 array, shape (trajectories + 1,)
    prompt_tokens, output_tokens : int64 array, shape (calls,)
        Full prompt (cached part included) and generated tokens; both at least 1.
    decode_steps : int64 array, shape (calls,)
        Steps after the first token until the last one: ``output_tokens - 1`` without drafts, else drawn from the accepted-length
        distribution.
    tool_ps : int64 array, shape (calls,)
        Wait after the call before the next one of its thread (or the next play of the agent) starts.
    stops : int64 array, shape (calls,)
        1 when the call ends by a stop token, which a pipelined engine notices one step late; 0 when it ends by length.
    leaf, answer : int64 array, shape (calls,)
        Tree node in which the prompt's full blocks end, and node in which the blocks that fill with output end; -1 where no block fills.
        A call's path is that of its answer, or of its leaf when it has none: from the root down, each node as far as the next one begins,
        the last as far as the call's full blocks go. (A later prompt may have made a node longer, and a split may have moved the leaf
        down.)
    """

    first: NDArray[np.int64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    decode_steps: NDArray[np.int64]
    tool_ps: NDArray[np.int64]
    stops: NDArray[np.int64]
    leaf: NDArray[np.int64]
    answer: NDArray[np.int64]


class Threads(NamedTuple):
    """The threads of the trajectories: the main chain of calls of each, and the sub-agents that its calls spawn.

    Threads of a trajectory follow one another, the main one first, children of one call next to each other and after their parent; the
    calls of a thread are consecutive rows of `Calls`. The threads that a call spawns are joined before its tool starts: the next call of
    the spawning thread is sent ``tool_ps`` after the call and all that it spawned have ended.

    Attributes
    ----------
    first : int64 array, shape (trajectories + 1,)
        Trajectory ``t`` owns threads ``first[t]:first[t + 1]``.
    call : int64 array, shape (threads + 1,)
        Thread ``i`` owns calls ``call[i]:call[i + 1]``; at least one.
    delay_ps : int64 array, shape (threads,)
        From the end of the spawning call to the thread's first call; 0 for a main thread.
    child, children : int64 array, shape (calls,)
        First thread (row of this table) that a call spawns when it ends, and how many; -1 and 0 for none.
    """

    first: NDArray[np.int64]
    call: NDArray[np.int64]
    delay_ps: NDArray[np.int64]
    child: NDArray[np.int64]
    children: NDArray[np.int64]

    @property
    def width(self) -> int:
        """Most threads of a trajectory."""
        return int(np.diff(self.first).max())

    @property
    def most_in_flight(self) -> int:
        """Most calls that a play may have in flight at once: a thread waits while the sub-agents run that its call spawned."""
        agents = np.delete(np.arange(len(self.delay_ps)), self.first[:-1])
        spawned_by = np.repeat(np.arange(len(self.child)), self.children)  # by sub-agent: both are in the order of calls
        above = np.searchsorted(self.call, spawned_by, side="right") - 1
        most, fans = np.ones(len(self.delay_ps), np.int64), np.zeros(len(self.child), np.int64)
        for agent, call, thread in zip(agents[::-1], spawned_by[::-1], above[::-1], strict=True):  # a thread before the one above it
            fans[call] += most[agent]
            most[thread] = max(most[thread], fans[call])
        return int(most.max())


def single_threads(first: NDArray[np.int64]) -> Threads:
    """Threads of trajectories without sub-agents; ``first`` is that of their `Calls`."""
    trajectories, calls = len(first) - 1, int(first[-1])
    zeros = np.zeros(calls, np.int64)
    return Threads(np.arange(trajectories + 1, dtype=np.int64), first, np.zeros(trajectories, np.int64), zeros - 1, zeros)


class PrefixTree(NamedTuple):
    """The compressed radix tree of prompts: a node is a run of full KV blocks between two branch points.

    Attributes
    ----------
    parent : int64 array, shape (nodes,)
        Node whose blocks come directly before; -1 at a root.
    start, blocks : int64 array, shape (nodes,)
        Index of the node's first block in a prompt, and how many blocks it spans (at least 1).
    scope : int64 array, shape (nodes,)
        Who shares the content: `SCOPE_PLAY` (one play), `SCOPE_TRAJECTORY` (all plays of the trajectory), `SCOPE_ALL` (all prompts).
        Along a path the scope never widens: ALL, then TRAJECTORY or PLAY.
    """

    parent: NDArray[np.int64]
    start: NDArray[np.int64]
    blocks: NDArray[np.int64]
    scope: NDArray[np.int64]


SCOPE_PLAY, SCOPE_TRAJECTORY, SCOPE_ALL = 0, 1, 2
