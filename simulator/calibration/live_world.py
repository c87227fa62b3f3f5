"""A cell as a world of the simulator: its spans as a prefix tree, its sessions as agents. Inputs are a cell and a worker pool.

Each session is an agent that plays once. A cell with more sessions than lanes deals them out to the lanes in turn.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simulator.calibration.cell import Cell, Span, Turn
from simulator.engine.world import ROUTER_AFFINITY, Fleet, Pool, Stop, World
from simulator.units import to_ps
from simulator.workload.arrays import SCOPE_ALL, SCOPE_PLAY, Calls, PrefixTree, single_threads

FOREVER_S = 1e6

Place = tuple[int, int]
"""Session and turn of a request."""


def lanes_of(cell: Cell) -> list[list[tuple[Place, Turn]]]:
    """The turns of each lane in order, with where they stand in the cell."""
    lanes: list[list[tuple[Place, Turn]]] = [[] for _ in range(min(cell.lanes, len(cell.sessions)))]
    for number, session in enumerate(cell.sessions):
        lanes[number % len(lanes)] += [((number, turn), what) for turn, what in enumerate(session)]
    return lanes


def cell_world(cell: Cell, pool: Pool, block_tokens: int, request_s: float = 0.0) -> tuple[World, list[Place]]:
    """The world in which a cell is played on a cold worker, and the place in the cell of each of its calls.

    ``request_s`` is the time between a client's sending a call and the scheduler's seeing it.
    """
    lanes = lanes_of(cell)
    flat = [turn for lane in lanes for _, turn in lane]
    first = np.cumsum([0] + [len(lane) for lane in lanes], dtype=np.int64)
    waits = [[turn.wait_s + request_s for _, turn in lane] for lane in lanes]
    tree, leaf, answer = prefix_tree([turn.prompt for turn in flat], [turn.output_tokens for turn in flat], block_tokens)
    output = np.array([turn.output_tokens for turn in flat], np.int64)
    calls = Calls(
        first=first,
        prompt_tokens=np.array([turn.prompt_tokens for turn in flat], np.int64),
        output_tokens=output,
        decode_steps=output - 1,
        tool_ps=np.array([to_ps(wait_s) for lane in waits for wait_s in (*lane[1:], 0.0)], np.int64),
        stops=np.zeros(len(flat), np.int64),
        leaf=leaf,
        answer=answer,
    )
    start_ps = np.array([to_ps(lane[0]) for lane in waits], np.int64)
    fleet = Fleet((pool,), block_tokens, ROUTER_AFFINITY, start_ps, np.arange(len(lanes), dtype=np.int64))
    stop = Stop(0, 0, len(lanes) + 1, 0, to_ps(FOREVER_S), 1)
    return World(calls, single_threads(first), tree, fleet, stop), [place for lane in lanes for place, _ in lane]


Content = tuple[tuple[int, int, int], ...]


def block_contents(prompt: Sequence[Span], block_tokens: int) -> list[Content]:
    """What stands in each full block of a prompt: pieces of streams, neighbours in one stream joined."""
    blocks: list[Content] = []
    now: list[tuple[int, int, int]] = []
    room = block_tokens
    for span in prompt:
        start, left = span.start, span.tokens
        while left:
            take = min(left, room)
            if now and now[-1][0] == span.stream and now[-1][1] + now[-1][2] == start:
                now[-1] = (span.stream, now[-1][1], now[-1][2] + take)
            else:
                now.append((span.stream, start, take))
            start, left, room = start + take, left - take, room - take
            if not room:
                blocks.append(tuple(now))
                now, room = [], block_tokens
    return blocks


def prefix_tree(
    prompts: Sequence[Sequence[Span]], output_tokens: Sequence[int], block_tokens: int
) -> tuple[PrefixTree, NDArray[np.int64], NDArray[np.int64]]:
    """The tree of prompts, and the nodes in which each prompt and its answer end (-1 for none).

    A node for each block would do; runs of blocks that no prompt branches off or ends in are one node.
    """
    above, ends = _trie([block_contents(prompt, block_tokens) for prompt in prompts])
    branches = Counter(above)
    last = set(ends)
    parent: list[int] = []
    start: list[int] = []
    blocks: list[int] = []
    scope: list[int] = []
    node_of, depth = {-1: -1}, {-1: -1}
    for block, before in enumerate(above):  # a block comes after the one before it
        depth[block] = depth[before] + 1
        if before >= 0 and before not in last and branches[before] == 1:
            node_of[block] = node_of[before]
            blocks[node_of[block]] += 1
            continue
        node_of[block] = len(parent)
        for column, value in ((parent, node_of[before]), (start, depth[block]), (blocks, 1), (scope, SCOPE_ALL)):
            column.append(value)
    leaf, answer = [node_of[end] for end in ends], []
    for prompt, end, output in zip(prompts, leaf, output_tokens, strict=True):
        tokens = sum(span.tokens for span in prompt)
        full = tokens // block_tokens
        filled = (tokens + output - 1) // block_tokens - full  # the last sampled token has no KV
        answer.append(len(parent) if filled else -1)
        if filled:
            for column, value in ((parent, end), (start, full), (blocks, filled), (scope, SCOPE_PLAY)):
                column.append(value)
    tree = PrefixTree(*(np.array(column, np.int64) for column in (parent, start, blocks, scope)))
    return tree, np.array(leaf, np.int64), np.array(answer, np.int64)


def _trie(prompts: Sequence[Sequence[Content]]) -> tuple[list[int], list[int]]:
    """The block before each block (-1 at a root), equal beginnings being one; and the last block of each prompt."""
    known: dict[tuple[int, Content], int] = {}
    above: list[int] = []
    ends = []
    for contents in prompts:
        block = -1
        for content in contents:
            key = (block, content)
            if key not in known:
                known[key] = len(above)
                above.append(block)
            block = known[key]
        ends.append(block)
    return above, ends
