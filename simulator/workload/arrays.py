"""The load as flat arrays: calls and the tree of prompt segments, counted in KV blocks. Inputs come from trajectories."""

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
        Wait after the call before the next one (or the next play) of the agent starts.
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
