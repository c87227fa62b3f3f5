"""A world: everything an engine needs to know, as integers and flat arrays. Inputs come from a scenario; both engines read the same
world."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.hardware.power import PowerLaw
from simulator.hardware.step_law import StepLaw
from simulator.workload.arrays import Calls, PrefixTree

ROUTER_AFFINITY, ROUTER_ROUND_ROBIN, ROUTER_LEAST_LOADED = 0, 1, 2
ROUTERS = {"session_affinity": ROUTER_AFFINITY, "round_robin": ROUTER_ROUND_ROBIN, "least_loaded": ROUTER_LEAST_LOADED}

RESERVE_CHUNK, RESERVE_INPUT = 0, 1
RESERVES = {"chunk": RESERVE_CHUNK, "input": RESERVE_INPUT}


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
        `RESERVE_INPUT`: a call is admitted when blocks for its whole known input are free; `RESERVE_CHUNK`: for its first chunk.
    watermark_blocks : int
        Blocks that must stay free after an admission while something runs.
    pipeline_depth : int
        1: a finished call leaves at once; 2: one that ends by a stop token holds its seat and blocks for one more step.
    prefix_cache : int
        1 when freed prompt blocks stay findable.
    drafts, accept_milli, lookahead : int
        Draft tokens per step, mean tokens a decoding sequence gains per step in thousandths, and KV slots kept ahead for drafts.
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


class Fleet(NamedTuple):
    """The machines and the agents: one pool of equal workers, each of ``ranks`` attention shards stepping in lockstep.

    Attributes
    ----------
    workers, ranks : int
    blocks_per_rank, block_tokens, fixed_blocks : int
        KV pool of a rank, tokens per block, and blocks that every running sequence holds besides (recurrent or window state).
    router : int
    start_ps : int64 array, shape (agents,)
        When each agent starts its first play.
    order : int64 array, shape (trajectories,)
        Play ``j`` of agent ``a`` replays trajectory ``order[(a + j * (agents + 1)) % trajectories]``.
    """

    workers: int
    ranks: int
    blocks_per_rank: int
    block_tokens: int
    fixed_blocks: int
    router: int
    start_ps: NDArray[np.int64]
    order: NDArray[np.int64]


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
    """

    window_ps: int
    min_window_ps: int
    min_plays: int
    min_agent_plays: int
    max_ps: int
    max_plays_per_agent: int


class World(NamedTuple):
    """One scenario, one agent count, one seed: the whole input of `simulate_kernel` and `simulate_reference`."""

    calls: Calls
    tree: PrefixTree
    fleet: Fleet
    sched: Sched
    law: StepLaw
    power: PowerLaw
    stop: Stop


CALL_COLUMNS = (
    "agent", "play", "trajectory", "call", "worker", "rank", "send_ps", "admit_ps", "first_ps", "last_ps",
    "prompt_tokens", "cached_tokens", "output_tokens", "preemptions",
)  # fmt: skip
"""Columns of `Output.calls`, one row per finished call in the order of finishing."""

SERIES_COLUMNS = (
    "steps", "busy_ns", "energy_uj", "decode_seq_ns", "prefill_tokens", "decode_tokens", "cached_tokens", "used_block_ns", "waiting_ns",
)  # fmt: skip
"""Columns of `Output.series`, summed over workers (and ranks), by the bin in which the step began: ``*_ns`` products integrate a level over
the step's time (``decode_seq_ns`` sequences, ``used_block_ns`` blocks held by running calls, ``waiting_ns`` waiting calls)."""

SERIES_BINS = 512
"""Bins of a time series: one second wide at first, doubling in width whenever a run outgrows them."""

TOTAL_COLUMNS = (
    "steps", "busy_ns", "energy_uj", "floor_ns", "shared_ns", "context_ns", "decode_ns", "prefill_ns", "lockstep_wait_ns",
    "prefill_tokens", "decode_tokens", "decode_seq_ns", "used_block_ns", "blocked_memory_ns", "blocked_seats_ns", "blocked_budget_ns",
    "preemptions", "evicted_blocks", "peak_used_blocks",
)  # fmt: skip
"""Columns of `Output.totals`, over the steady window (steps that begin in it). The five terms ``floor .. prefill`` are those of the rank
that sets each step; ``lockstep_wait_ns`` is what the other ranks wait for it, summed over ranks; ``blocked_*`` is step time in which a
rank's head waiting call was kept out for that reason."""

EVENT_COLUMNS = ("time_ps", "kind", "worker", "rank", "agent", "a", "b", "c")
EVENT_SEND, EVENT_ADMIT, EVENT_CHUNK, EVENT_PREEMPT, EVENT_RANK, EVENT_STEP, EVENT_FIRST, EVENT_LAST, EVENT_RELEASE = range(9)
EVENT_KINDS = ("send", "admit", "chunk", "preempt", "rank", "step", "first", "last", "release")
"""Kinds of event and what their columns ``a b c`` hold:

send: trajectory, call, play | admit: cached tokens, known tokens, free blocks after | chunk: tokens, computed after, known tokens |
preempt: computed tokens lost, blocks freed, free blocks after | rank (once a rank a step): decoding sequences, prefill tokens, free
blocks | step: duration_ps, energy_uj, query tokens of all ranks | first: output tokens, decode steps left, 0 | last: output tokens,
cached tokens, 0 | release: blocks freed, free blocks after, 0.
"""


class Output(NamedTuple):
    """What an engine returns.

    Attributes
    ----------
    calls : int64 array, shape (finished calls, len(CALL_COLUMNS))
    series : int64 array, shape (bins, len(SERIES_COLUMNS)); bin ``i`` covers ``[i, i + 1) * bin_ps``
    bin_ps : int
    totals : int64 array, shape (len(TOTAL_COLUMNS),)
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
