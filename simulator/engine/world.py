"""A world: everything an engine needs to know, as integers and flat arrays. Inputs come from a scenario; both engines read the same
world."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.hardware.power import PowerLaw
from simulator.hardware.step_law import StepLaw
from simulator.workload.arrays import Calls, PrefixTree, Threads

ROUTER_AFFINITY, ROUTER_ROUND_ROBIN, ROUTER_LEAST_LOADED, ROUTER_WORKER_AFFINITY, ROUTER_PREFIX = range(5)
ROUTERS = {
    "session_affinity": ROUTER_AFFINITY,
    "round_robin": ROUTER_ROUND_ROBIN,
    "least_loaded": ROUTER_LEAST_LOADED,
    "worker_affinity": ROUTER_WORKER_AFFINITY,
    "prefix_aware": ROUTER_PREFIX,
}
"""Which rank takes a call (docs/engines.md has the tie rules)."""

RESERVE_CHUNK, RESERVE_INPUT, RESERVE_RATIO, RESERVE_FULL = range(4)
RESERVES = {"chunk": RESERVE_CHUNK, "input": RESERVE_INPUT, "input_ratio": RESERVE_RATIO, "input_full": RESERVE_FULL}

BATCH_MIXED, BATCH_PREFILL_FIRST = range(2)
BATCH_MODES = {"mixed": BATCH_MIXED, "prefill_first": BATCH_PREFILL_FIRST}
VICTIM_LAST, VICTIM_FEWEST = range(2)
VICTIMS = {"last": VICTIM_LAST, "fewest_output": VICTIM_FEWEST}
REQUEUE_FRONT, REQUEUE_TAIL = range(2)
REQUEUES = {"front": REQUEUE_FRONT, "tail": REQUEUE_TAIL}
VISIBLE_SCHEDULED, VISIBLE_RESULT = range(2)
VISIBLES = {"scheduled": VISIBLE_SCHEDULED, "result": VISIBLE_RESULT}
CACHE_NONE, CACHE_BLOCKS, CACHE_SLOTS = range(3)
CACHES = {"none": CACHE_NONE, "blocks": CACHE_BLOCKS, "slots": CACHE_SLOTS}

ROLE_MIXED, ROLE_PREFILL, ROLE_DECODE = range(3)
ROLES = {"mixed": ROLE_MIXED, "prefill": ROLE_PREFILL, "decode": ROLE_DECODE}
FIRST_BY_PREFILL, FIRST_BY_DECODE = range(2)
FIRST_TOKENS = {"prefill": FIRST_BY_PREFILL, "decode": FIRST_BY_DECODE}
TRANSFER_END, TRANSFER_CHUNK = range(2)
TRANSFERS = {"end": TRANSFER_END, "chunk": TRANSFER_CHUNK}


class Sched(NamedTuple):
    """How a worker schedules a step: the named options of an engine preset (docs/engines.md).

    Attributes
    ----------
    token_budget : int
        Query tokens a rank may process in one step (``max_num_batched_tokens``).
    max_seqs : int
        Sequences a rank may run at once (``max_num_seqs``).
    long_prefill_cap : int
        Most prefill tokens of one call in one step unless it is alone; 0 for none.
    prefill_interval : int
        Prefill is let in on every n-th step only while something decodes; 1 for every step.
    admit_reserve : int
        What must fit for a call to be admitted. `RESERVE_CHUNK`: its first chunk; `RESERVE_INPUT`: its whole known input;
        `RESERVE_RATIO`: its input and an estimate of its own and of all running calls' further output; `RESERVE_FULL`: input and
        ``max_new_tokens`` of it and of all running calls.
    watermark_blocks : int
        Blocks that must stay free after an admission while something runs.
    pipeline_depth : int
        1: a finished call leaves at once; 2: one that ends by a stop token holds its seat and blocks for one more step.
    prefix_cache : int
        `CACHE_NONE`; `CACHE_BLOCKS`: freed full blocks stay findable; `CACHE_SLOTS`: each of ``max_seqs`` fixed slots keeps the blocks of
        its last call, and a call goes to the slot with which it shares most.
    drafts, accept_milli, lookahead : int
        Draft tokens per step, mean tokens a decoding sequence gains per step in thousandths, and KV slots kept ahead for drafts.
    batch_mode : int
        `BATCH_MIXED`: decodes and prefill chunks share a step; `BATCH_PREFILL_FIRST`: a step in which some prefill can run holds the
        rank's decodes back.
    decode_interval : int
        With `BATCH_PREFILL_FIRST`: steps without prefill after each one with, while something decodes.
    chunk_round : int
        A chunk that the budget cuts is floored to a multiple of this many tokens; 1 for none.
    max_new_tokens : int
        Output length that calls declare; what `RESERVE_FULL` and `RESERVE_RATIO` may know of their end.
    ratio_clip, ratio_init_milli, ratio_min_milli, ratio_steps : int
        `RESERVE_RATIO`: most output tokens reckoned with per call; the share of them that is reserved for running calls, in thousandths, at
        first, at least, and the decode steps in which it falls from one to the other.
    victim, requeue : int
        Who gives way when blocks are short (`VICTIM_LAST` admitted, or `VICTIM_FEWEST` output tokens), and where it queues again.
    visible : int
        When a full prompt block is findable: as it is scheduled, or after the step's result.
    similarity_milli : int
        `CACHE_SLOTS`: share of the prompt's full blocks, in thousandths, above which a call prefers the slot with the longest common prefix
        to the least recently used one.
    """

    token_budget: int
    max_seqs: int
    long_prefill_cap: int
    prefill_interval: int
    admit_reserve: int
    watermark_blocks: int
    pipeline_depth: int
    prefix_cache: int
    drafts: int
    accept_milli: int
    lookahead: int
    batch_mode: int = BATCH_MIXED
    decode_interval: int = 0
    chunk_round: int = 1
    max_new_tokens: int = 16_384
    ratio_clip: int = 4096
    ratio_init_milli: int = 700
    ratio_min_milli: int = 98
    ratio_steps: int = 600
    victim: int = VICTIM_LAST
    requeue: int = REQUEUE_FRONT
    visible: int = VISIBLE_SCHEDULED
    similarity_milli: int = 100


class Pool(NamedTuple):
    """Equal workers with one role, each of ``ranks`` attention shards stepping in lockstep.

    Attributes
    ----------
    role : int
        `ROLE_MIXED`: calls are prefilled and decoded here; `ROLE_PREFILL`: prefilled, then their KV moves to a `ROLE_DECODE` pool.
    workers, ranks : int
    blocks_per_rank, fixed_blocks : int
        KV pool of a rank, and blocks that every running sequence holds besides (recurrent or window state).
    sched : Sched
    law : StepLaw
    power : PowerLaw
    port_fixed_ps, port_token_fp : int
        Time that the KV of a call takes through the link port of a rank: ``port_fixed_ps + (port_token_fp * tokens >> 10)``.
    shared_port : int
        0: every rank has a port of its own; 1: all ranks of a worker share one.
    host_blocks : int
        Blocks of the host tier behind each rank; 0 for none.
    host_fixed_ps, host_token_fp : int
        Time to bring KV back from the host tier, as for a port.
    tails : int
        Resumable prefix ends that a rank keeps (a second pool: a hit must end at one of them); 0 for no such rule.
    """

    role: int
    workers: int
    ranks: int
    blocks_per_rank: int
    fixed_blocks: int
    sched: Sched
    law: StepLaw
    power: PowerLaw
    port_fixed_ps: int = 0
    port_token_fp: int = 0
    shared_port: int = 0
    host_blocks: int = 0
    host_fixed_ps: int = 0
    host_token_fp: int = 0
    tails: int = 0


class Fleet(NamedTuple):
    """The machines and the agents. Pools of mixed workers, or of prefill and decode workers, or both kinds.

    Workers and ranks are numbered through all pools, in their order.

    Attributes
    ----------
    pools : tuple of Pool
    block_tokens : int
        Tokens in a KV block, the same in all pools.
    router, decode_router : int
        How a new call finds its rank among mixed and prefill ranks, and a prefilled one its decode rank.
    start_ps : int64 array, shape (agents,)
        When each agent starts its first play.
    order : int64 array, shape (trajectories,)
        Play ``j`` of agent ``a`` replays trajectory ``order[(a + j * play_stride(trajectories)) % trajectories]``.
    first_token : int
        Who samples the first token of a call that moves: `FIRST_BY_PREFILL` or `FIRST_BY_DECODE` (which computes the last prompt token
        again).
    transfer : int
        `TRANSFER_END`: the KV moves after the prefill; `TRANSFER_CHUNK`: that of each chunk after its step (needs ``prealloc``).
    prealloc : int
        1: a call takes its decode seat and blocks before it queues for prefill; 0: after its prefill.
    link_latency_ps : int
        From the end of a transfer on its ports to the KV's being usable.
    balance_calls, balance_milli, match_milli : int
        `ROUTER_PREFIX`: the least loaded rank takes the call when the loads (calls) differ by more than ``balance_calls`` and the largest
        is over ``balance_milli`` thousandths of the smallest, or when the best match is at most ``match_milli`` thousandths of the
        prompt's full blocks; else the rank with the best match.
    """

    pools: tuple[Pool, ...]
    block_tokens: int
    router: int
    start_ps: NDArray[np.int64]
    order: NDArray[np.int64]
    decode_router: int = ROUTER_LEAST_LOADED
    first_token: int = FIRST_BY_PREFILL
    transfer: int = TRANSFER_END
    prealloc: int = 0
    link_latency_ps: int = 0
    balance_calls: int = 64
    balance_milli: int = 1500
    match_milli: int = 300

    @property
    def disaggregated(self) -> bool:
        """Whether some calls move from a prefill to a decode pool."""
        return any(pool.role == ROLE_PREFILL for pool in self.pools)


def play_stride(trajectories: int) -> int:
    """How far along `Fleet.order`, of one trajectory or more, an agent goes from one play to its next: the golden section of the
    trajectories, rounded, or the number nearest to that which shares no factor with them, the smaller of two.

    So an agent meets every trajectory before it meets one again, and the same ones whoever else plays; its first plays lie far apart along
    the order, so that few agents, which start side by side, do not repeat each other's soon (docs/decisions/0011-the-order-of-plays.md).

    >>> [play_stride(trajectories) for trajectories in (1, 2, 3, 10, 400)]
    [1, 1, 2, 7, 247]
    """
    section = (math.isqrt(20 * trajectories**2) - 2 * trajectories + 2) // 4
    near = (stride for away in range(trajectories + 1) for stride in (section - away, section + away))
    return next(stride for stride in near if stride > 0 and math.gcd(stride, trajectories) == 1)


class Stop(NamedTuple):
    """When the steady window opens, and when the run ends: at the first finished play at which all three minima are met, or at
    ``max_ps``, or when every agent has retired.

    Attributes
    ----------
    window_ps : int
        Counters gather steps that begin at or after this time.
    min_window_ps, min_plays, min_agent_plays : int
        Length of the window, plays finished in all, and plays finished by every agent.
    max_ps : int
        Hard end.
    max_plays_per_agent : int
        An agent retires after this many plays; 0 for never.
    max_plays : int
        All agents together begin this many plays, each time the next of `Fleet.order`, then retire: one queue that they share; 0 for none.
    """

    window_ps: int
    min_window_ps: int
    min_plays: int
    min_agent_plays: int
    max_ps: int
    max_plays_per_agent: int
    max_plays: int = 0


class World(NamedTuple):
    """One scenario, one agent count, one seed: the whole input of `simulate_kernel` and `simulate_reference`."""

    calls: Calls
    threads: Threads
    tree: PrefixTree
    fleet: Fleet
    stop: Stop


CALL_COLUMNS = (
    "agent", "thread", "play", "trajectory", "call", "pool", "worker", "rank", "entry_pool", "entry_worker", "entry_rank",
    "send_ps", "claim_ps", "admit_ps", "prefilled_ps", "moved_ps", "landed_ps", "first_ps", "last_ps",
    "prompt_tokens", "cached_tokens", "host_tokens", "moved_tokens", "output_tokens", "preemptions",
)  # fmt: skip
"""Columns of `Output.calls`, one row per finished call in the order of finishing.

``worker`` and ``rank`` (within its worker) emitted the last token, the ``entry_*`` ones took the call. A call is sent, (with ``prealloc``)
claims its decode seat, is admitted, prefilled, (else) claims its decode seat, its KV begins to move (``moved_ps``: it has reached the head
of its ports' queues), lands, and decodes; times are -1 where nothing of the kind happened. ``prefilled_ps`` is the end of its first
prefill. Of ``cached_tokens`` ``host_tokens`` came from the host tier; ``moved_tokens`` went over the link."""


def call_columns(calls: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Rows of `Output.calls`, shape (calls, len(CALL_COLUMNS)), as columns by name, shape (calls,): views, no copies."""
    return dict(zip(CALL_COLUMNS, calls.T, strict=True))


SERIES_COLUMNS = (
    "steps", "busy_ns", "energy_uj", "decode_seq_ns", "prefill_tokens", "decode_tokens", "cached_tokens", "used_block_us", "waiting_ns",
)  # fmt: skip
"""Columns of `Output.series`, summed over the workers (and ranks) of a pool, by the bin in which the step began: products integrate a
level over the step's time (``decode_seq_ns`` sequences, ``waiting_ns`` waiting calls, ``used_block_us`` blocks held by calls: those are so
many that nanoseconds would outgrow 64 bits)."""

SERIES_BINS = 512
"""Bins of a time series: one second wide at first, doubling in width whenever a run outgrows them."""

TOTAL_COLUMNS = (
    "steps", "busy_ns", "energy_uj", "floor_ns", "shared_ns", "context_ns", "decode_ns", "prefill_ns", "lockstep_wait_ns",
    "prefill_tokens", "decode_tokens", "decode_seq_ns", "used_block_us", "blocked_memory_ns", "blocked_seats_ns", "blocked_budget_ns",
    "preemptions", "evicted_blocks", "peak_used_blocks", "moved_tokens", "moving_ns", "host_loaded_tokens", "host_loading_ns",
    "host_stored_blocks",
)  # fmt: skip
"""Columns of `Output.totals`, one row per pool, over the steady window (steps and transfers that begin in it). The five terms
``floor .. prefill`` are those of the rank that sets each step; ``lockstep_wait_ns`` is what the other ranks wait for it, summed over
ranks; ``blocked_*`` is step time in which a rank's head waiting call was kept out for that reason. ``moved_tokens`` and ``moving_ns`` are
KV tokens that went through the pool's ports and the time they took there; ``host_*`` likewise for its host tiers."""

EVENT_COLUMNS = ("time_ps", "kind", "worker", "rank", "lane", "a", "b", "c")
(
    EVENT_SEND, EVENT_ADMIT, EVENT_CHUNK, EVENT_PREEMPT, EVENT_RANK, EVENT_STEP, EVENT_FIRST, EVENT_LAST, EVENT_RELEASE, EVENT_PREFILLED,
    EVENT_CLAIM, EVENT_MOVE, EVENT_LAND, EVENT_LOAD,
) = range(14)  # fmt: skip
EVENT_KINDS = (
    "send", "admit", "chunk", "preempt", "rank", "step", "first", "last", "release", "prefilled", "claim", "move", "land", "load",
)  # fmt: skip
"""Kinds of event and what their columns ``a b c`` hold. The lane of thread ``i`` of an agent is ``agent * width + i``.

send: trajectory, call, play | admit: cached tokens, known tokens, free blocks after | chunk: tokens, computed after, known tokens |
preempt: computed tokens lost, blocks freed, free blocks after | rank (once a rank a step): decoding sequences, prefill tokens, free
blocks | step: duration_ps, energy_uj, query tokens of all ranks | first: output tokens, decode steps left, 0 | last: output tokens,
cached tokens, 0 | release: blocks freed, free blocks after, 0 | prefilled: known tokens, decode rank (-1 when not chosen yet), 0 |
claim: tokens found at the decode rank, known tokens, free blocks after | move (once a transfer): tokens, start_ps, landing_ps | land:
tokens whose KV is there, blocks freed at the prefill rank, 1 after a host load | load: tokens from the host tier, start_ps, landing_ps.
"""


class Output(NamedTuple):
    """What an engine returns.

    Attributes
    ----------
    calls : int64 array, shape (finished calls, len(CALL_COLUMNS))
    series : int64 array, shape (pools, bins, len(SERIES_COLUMNS)); bin ``i`` covers ``[i, i + 1) * bin_ps``
    bin_ps : int
    totals : int64 array, shape (pools, len(TOTAL_COLUMNS))
    events : int64 array, shape (events, len(EVENT_COLUMNS)); empty unless asked for
    end_ps : int
    plays_finished, calls_issued : int
    """

    calls: NDArray[np.int64]
    series: NDArray[np.int64]
    bin_ps: int
    totals: NDArray[np.int64]
    events: NDArray[np.int64]
    end_ps: int
    plays_finished: int
    calls_issued: int
