"""How a decoding call's KV grows, in steps instead of tokens. Inputs come from the scheduling options of a world.

The rule, in one sentence: *a decoding call takes a block before the step in which its mean progress plus the slots kept ahead for drafts
would no longer fit, and one more every* ``floor(block_tokens / mean tokens per step)`` *steps after*. Without drafts this is exactly one
block per ``block_tokens`` steps, as a real engine does it; with drafts it is a mean, and the same for all calls, so that a rank can count
how many of its calls grow in a step without looking at each.
"""

import numpy as np
from numpy.typing import NDArray

from simulator.engine.world import ROLE_PREFILL, Pool, Sched, World


def growth_period(sched: Sched, block_tokens: int) -> int:
    """Steps between two blocks that a decoding call takes; at least 1."""
    return max(1, block_tokens * 1000 // sched.accept_milli)


def first_growth(sched: Sched, block_tokens: int) -> NDArray[np.int64]:
    """Step (1 is the first decode step) in which a call first takes a block, by the free token slots its last block has.

    Shape ``(block_tokens,)``; values lie between 1 and the growth period.
    """
    slack = np.arange(block_tokens, dtype=np.int64)
    spare = slack - 1 - sched.lookahead
    step = np.where(spare < 0, 1, spare * 1000 // sched.accept_milli + 2)
    return np.minimum(step, growth_period(sched, block_tokens))


def most_blocks(world: World, pool: Pool) -> NDArray[np.int64]:
    """Most blocks that each call can hold at once on a rank of a pool, shape (calls,): the rank must have at least this many."""
    calls, size, sched = world.calls, world.fleet.block_tokens, pool.sched
    prompt_blocks = -(-calls.prompt_tokens // size)
    if pool.role == ROLE_PREFILL:
        return prompt_blocks + pool.fixed_blocks
    period = growth_period(sched, size)
    whole = -(-(calls.prompt_tokens + calls.output_tokens) // size)
    grown = prompt_blocks + (calls.decode_steps + sched.pipeline_depth - 1 + period - 1) // period + 1
    most: NDArray[np.int64] = np.maximum(whole, grown) + pool.fixed_blocks
    return most
