"""The event loop in Numba: the same nouns and verbs as `reference`, in O(1) per decode step and O(segments) per call. Inputs are a `World`.

Decoding calls of a rank differ only in when they end, so a rank keeps their number, their summed context, a heap of their last steps and,
for KV growth, how many take a block in each step modulo the growth period. The prefix cache is a radix tree of *slots*: runs of cached
blocks with the same holders; a host tier is a list of runs of block names. Everything is an integer; state lives in NamedTuples of arrays,
so the same code runs with the JIT off.

Stages: tables (heaps, lists) -> prefix cache -> names (host tier, resumable ends) -> a call's life -> links -> a rank's schedule -> a
worker's step -> the loop.
"""

import sys
from typing import NamedTuple

import numpy as np
from numba import njit
from numba.extending import register_jitable
from numpy.typing import NDArray

import simulator.engine.hints as engine_hints
import simulator.engine.tables as engine_tables
import simulator.engine.world as engine_world
import simulator.workload.arrays as workload_arrays
from simulator.engine.bounds import refuse_beyond_64_bits
from simulator.engine.growth import first_growth, growth_period
from simulator.engine.hints import LINE, prefetch, quotient
from simulator.engine.kept import kept
from simulator.engine.tables import bundle
from simulator.engine.world import (
    BATCH_PREFILL_FIRST,
    CACHE_BLOCKS,
    CACHE_NONE,
    CACHE_SLOTS,
    CALL_COLUMNS,
    EVENT_ADMIT,
    EVENT_CHUNK,
    EVENT_CLAIM,
    EVENT_COLUMNS,
    EVENT_FIRST,
    EVENT_LAND,
    EVENT_LAST,
    EVENT_LOAD,
    EVENT_MOVE,
    EVENT_PREEMPT,
    EVENT_PREFILLED,
    EVENT_RANK,
    EVENT_RELEASE,
    EVENT_SEND,
    EVENT_STEP,
    FIRST_BY_PREFILL,
    REQUEUE_FRONT,
    RESERVE_CHUNK,
    RESERVE_FULL,
    RESERVE_RATIO,
    ROLE_DECODE,
    ROLE_PREFILL,
    ROUTER_AFFINITY,
    ROUTER_PREFIX,
    ROUTER_ROUND_ROBIN,
    ROUTER_WORKER_AFFINITY,
    SERIES_BINS,
    SERIES_COLUMNS,
    TOTAL_COLUMNS,
    TRANSFER_CHUNK,
    VICTIM_LAST,
    VISIBLE_RESULT,
    VISIBLE_SCHEDULED,
    Output,
    Pool,
    World,
    play_stride,
)
from simulator.units import PS_PER_S
from simulator.workload.arrays import SCOPE_PLAY, SCOPE_TRAJECTORY

SOURCES = (sys.modules[__name__], engine_hints, engine_tables, engine_world, workload_arrays)
"""The modules in whose files compiled code and its constants stand."""

Ints = NDArray[np.int64]
NEVER = np.iinfo(np.int64).max
AWAY, WAITING, PREFILL, DECODE, DRAIN, CLAIMING, PREFILLED, MOVING, LOADING, ARRIVED, LOADED = range(11)
"""Where a lane's call is: not in the fleet; queued; prefilling; decoding; ended but still in the pipeline; queued for a decode seat before
its prefill or after it; its KV under way from a prefill rank or the host tier; or there, until the next step."""

(
    NOW, ADMISSIONS, HALTED, PLAYS, ISSUED, ACTIVE, TURN, DECODE_TURN, CALL_ROWS, EVENT_ROWS, BIN_PS, BIN, BIN_END_PS, SLOTS_USED,
    SLOTS_FREE, NAMES_USED, NAMES_FREE, SENDS, BEHIND, SEAT_USES, LOGGING, STARTED, COASTED, CLAIMS, FAULT,
) = range(25)  # fmt: skip
"""Entries of `State.clock`."""

BLOCKED_NOT, BLOCKED_MEMORY, BLOCKED_SEATS, BLOCKED_BUDGET = range(4)
FINISHED, ROWS_FULL, STUCK = range(3)
"""Why `advance` returned."""

(
    T_STEPS, T_BUSY, T_ENERGY, T_FLOOR, T_SHARED, T_CONTEXT, T_DECODE, T_PREFILL, T_LOCKSTEP, T_PREFILL_TOKENS, T_DECODE_TOKENS,
    T_DECODE_SEQ, T_USED, T_BLOCKED_MEMORY, T_BLOCKED_SEATS, T_BLOCKED_BUDGET, T_PREEMPTIONS, T_EVICTED, T_PEAK, T_MOVED, T_MOVING,
    T_LOADED, T_LOADING, T_STORED,
) = range(len(TOTAL_COLUMNS))  # fmt: skip

# Entries of `Load.rules`: the fleet's and the stop rule's numbers.
(
    U_BLOCK, U_ROUTER, U_DECODE_ROUTER, U_FIRST, U_TRANSFER, U_PREALLOC, U_LATENCY, U_BALANCE, U_BALANCE_MILLI, U_MATCH_MILLI, U_WIDTH,
    U_AGENTS, U_WINDOW, U_MIN_WINDOW, U_MIN_PLAYS, U_MIN_AGENT_PLAYS, U_MAX_PS, U_MAX_PLAYS, U_DISAGGREGATED, U_ENTRIES,
    U_DECODERS, U_RUNS, U_STRIDE, U_SHARED_PLAYS, RULES,
) = range(25)  # fmt: skip

# Columns of `Load.pools`: a `Pool` with its schedule, step law and power law, in their units.
(
    P_ROLE, P_BLOCKS, P_FIXED, P_BUDGET, P_SEATS, P_CAP, P_INTERVAL, P_RESERVE, P_WATERMARK, P_DEPTH, P_CACHE, P_DRAFTS, P_ACCEPT, P_BATCH,
    P_PAUSE, P_ROUND, P_MAX_NEW, P_CLIP, P_RATIO_INIT, P_RATIO_MIN, P_RATIO_FALL, P_VICTIM, P_REQUEUE, P_VISIBLE, P_SIMILAR, P_PERIOD,
    P_FLOOR_PS, P_SEQ_PS, P_CTX_FP, P_DECODE_PS, P_PREFILL_PS, P_PAIR_FP, P_SHARED_LAST, P_FLOOR_MW, P_HBM_MW, P_FLOP_MW, P_CAP_MW, P_GPUS,
    P_SEQ_HBM, P_CTX_HBM, P_TOKEN_FLOP, P_PAIR_FLOP, P_SHARED_HBM_LAST, P_LIGHT_MW, P_RISE, P_SLOW_LAST, P_PORT_FIXED, P_PORT_TOKEN,
    P_HOST_BLOCKS, P_HOST_FIXED, P_HOST_TOKEN, P_TAILS, P_EXPERT_PS, POOL_COLUMNS,
) = range(54)  # fmt: skip

# Columns of the tables of `Load`: the fields of `Calls`, `Threads` and `PrefixTree`. barren: 1 for an answer that no prompt goes on from.
K_PROMPT, K_OUTPUT, K_STEPS, K_TOOL, K_STOPS, K_LEAF, K_ANSWER, K_CHILDREN, LOAD_COLUMNS = range(9)
H_CALL, H_DELAY = range(2)
J_CALL, J_THREAD, J_ORDER = range(3)
N_PARENT, N_START, N_SCOPE, N_BARREN = range(4)

# Columns of `State.lanes`, one row per agent and thread: the one call it has in flight. Times in ps, -1 when not yet. Every line of eight
# is one line of the processor's cache, and holds what one stage of a call asks for; what a call is comes from the load once, as it is sent.
#   end: call after the thread's last one; base: first call of the trajectory; home, dhome: rank that session affinity bound the thread to,
#   for entry and decoding;
#   next, prev: neighbours in the running list or a queue; order: admission number, the running order within a rank; rank: the one that has
#   the call; known: tokens whose KV the call needs before it can emit its next token; computed: prefilled tokens;
#   held: blocks held when decoding began (held now, while prefilling), fixed ones not counted; hashed: how many of them are findable;
#   private: 1 once the call computed a copy of a cached block, so that its further blocks stay its own; tip: deepest cache slot held;
#   depth: index in its path of the node in which the next block to hash lies; barren: node of its answer when no prompt goes on from it;
#   entry_step: the first decode step of the rank in which it decodes; bucket: decode steps modulo the growth period in which it takes a
#   block, -1 for none; tool_ps, stops, children: as in `Calls`; seat: fixed slot of the rank;
#   moved: leading tokens sent to the target or there already; entry, target: rank that took the call, and that will decode it; a_*: as
#   above at the target, while the call is still elsewhere; parent: lane of the thread that spawned this one; pending: sub-agents not yet
#   joined; ready_ps: end of the call and of those; left: calls of the play that have not ended, in the lane of its main thread.
(
    L_AGENT, L_CALL, L_END, L_BASE, L_PLAY, L_TRAJECTORY, L_HOME, L_DHOME,
    L_STATE, L_NEXT, L_PREV, L_ORDER, L_RANK, L_KNOWN, L_COMPUTED, L_PROMPT,
    L_HELD, L_HASHED, L_PRIVATE, L_TIP, L_DEPTH, L_PATH_LEN, L_PATH_END, L_BARREN,
    L_STEPS_LEFT, L_ENTRY_STEP, L_BUCKET, L_OUTPUT, L_TOOL_PS, L_STOPS, L_CHILDREN, L_SEAT,
    L_SEND_PS, L_CLAIM_PS, L_ADMIT_PS, L_PREFILLED_PS, L_MOVED_PS, L_LANDED_PS, L_FIRST_PS, L_LAST_PS,
    L_CACHED, L_FROM_HOST, L_MOVED, L_MOVED_TOKENS, L_PREEMPTED, L_ENTRY, L_TARGET, L_A_HELD,
    L_A_HASHED, L_A_PRIVATE, L_A_TIP, L_A_DEPTH, L_PARENT, L_PENDING, L_READY_PS, L_LEFT,
    LANE_COLUMNS,
) = range(57)  # fmt: skip

# Columns of `State.path`: a tree node of the lane's call, its first block, the list in which its content is kept (`owner_list`). After the
# last node comes a row that begins where the path ends.
D_NODE, D_START, D_LIST, PATH_COLUMNS = range(4)

# Columns of `State.ranks`, one row per rank, all workers' ranks in one table.
#   pool, worker, number: where it stands; port: the rank whose link port it uses, and port_free_ps when that is free; plain: free blocks
#   without content, taken first; idle_blocks: free blocks with cached content; old, new: ends of the list of idle slots, least recently
#   freed first; context_milli: summed context of the decoding calls in thousandths of a token; bound: threads bound by affinity; clock:
#   decode steps done; phase: the same modulo the growth period; parked: calls that hold a seat and wait for KV; pinned: prefilled calls
#   whose blocks have not moved yet; full: why a call did not fit, and nothing was given back since; pause: steps for which prefill pauses;
#   reserved: blocks of all seated calls with the longest answers; owed: blocks that parked calls will still ask for; claim: 1 when the
#   queue is to be looked at; claim_blocked: why its head waits for a decode seat.
(
    R_POOL, R_WORKER, R_NUMBER, R_PORT, R_PLAIN, R_IDLE_BLOCKS, R_OLD, R_NEW, R_RUN_HEAD, R_RUN_TAIL, R_RUNNING, R_WAIT_HEAD, R_WAIT_TAIL,
    R_WAITING, R_LAND_HEAD, R_LAND_TAIL, R_LANDED, R_DECODING, R_CONTEXT_MILLI, R_BOUND, R_SATURATED, R_PREFILLING, R_CLOCK, R_PARKED,
    R_PINNED, R_FULL, R_PAUSE, R_RATIO_MICRO, R_RESERVED, R_OWED, R_CLAIM, R_CLAIM_BLOCKED, R_HOST_FREE_PS, R_PORT_FREE_PS, R_PHASE,
    RANK_COLUMNS,
) = range(36)  # fmt: skip

# Columns of `State.workers`: first rank and number of ranks; steps begun; end of the step under way, NEVER when idle; calls that are or may
# be work for a step.
W_POOL, W_FIRST, W_RANKS, W_STEPS, W_END_PS, W_LOAD, WORKER_COLUMNS = range(7)

# Columns of `State.chunk`: what a rank does in the step under way; `C_PAIRS` as in `StepLaw`, `C_BLOCKED` why the head of its queue
# waits, `C_DECODES` 1 when decoding calls gain tokens, `C_SERVED` how many, `C_GAVE_WAY` and `C_PARKED` 1 when a call was preempted or went
# to wait for the host tier.
C_TOKENS, C_PAIRS, C_BLOCKED, C_CACHED, C_DECODES, C_SERVED, C_GAVE_WAY, C_PARKED, CHUNK_COLUMNS = range(9)

# Columns of `State.leaving`: the decode step of the rank after which a decoding call leaves, its admission number, its lane.
Q_LAST_STEP, Q_ORDER, Q_LANE, LEAVING_COLUMNS = range(4)

# Columns of `State.slots`, the prefix cache of all ranks: runs of blocks of one tree node, all with the same holders.
#   older, newer: neighbours in the idle list; key: column of `State.heads` in whose list the slot stands, -1 when in its parent's, LOOSE
#   when in none; list, play: whose content it is (`owner_list`).
(
    S_NODE, S_START, S_BLOCKS, S_REFS, S_PARENT, S_CHILD, S_NEXT, S_PREV, S_OLDER, S_NEWER, S_KEY, S_LIST, S_PLAY, SLOT_COLUMNS,
) = range(14)  # fmt: skip
LOOSE = -2

# Columns of `State.names`: runs of block names of one tree node in a store, of which the last block is the oldest; and of `State.stores`
# (first the host tiers of all ranks, then their resumable ends).
X_NODE, X_START, X_END, X_LIST, X_PLAY, X_NEXT, X_PREV, X_OLDER, X_NEWER, NAME_COLUMNS = range(10)
Y_SIZE, Y_USED, Y_OLD, Y_NEW, STORE_COLUMNS = range(5)

# Columns of `State.seats`: what a fixed slot's last call left, and when.
Z_NODE, Z_END, Z_AGENT, Z_PLAY, Z_USED, Z_BUSY, SEAT_COLUMNS = range(7)


tiny = njit(error_model="numpy", _nrt=False, inline="always")  # type: ignore[call-overload]
"""A few lines, put into the caller before types are known: less for the compiler to do than a function of its own."""

stage = register_jitable(error_model="numpy", _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""A part of the loop: called from compiled code only, allocates nothing. Leaving the wrappers and reference counts out makes the compile
many times shorter. Bundles are passed as one pointer (`tables`), so that a call costs next to nothing, and the compiler inlines what it
finds worth it."""


@bundle(calls=LOAD_COLUMNS, threads=2, runs=3, tree=4, pools=POOL_COLUMNS)
class Load(NamedTuple):
    """A `World` as the loop reads it: few tables, for the compiler has to see to each."""

    calls: Ints
    """(calls, LOAD_COLUMNS): columns K_"""
    spawned: Ints
    """(calls,): the first thread that a call spawns"""
    threads: Ints
    """(threads + 1, 2): H_"""
    runs: Ints
    """(trajectories + 1, 3): J_"""
    tree: Ints
    """(nodes, 4): N_"""
    pools: Ints
    """(pools, POOL_COLUMNS)"""
    spans: Ints
    """(3, pools, entries): time of weight streaming in the step law and its bytes in the power law, by query tokens; slowing by watts."""
    first_growth: Ints
    """(pools, block tokens)"""
    rules: Ints


@bundle(
    lanes=LANE_COLUMNS, sends=2, ranks=RANK_COLUMNS, workers=WORKER_COLUMNS, slots=SLOT_COLUMNS, names=NAME_COLUMNS,
    stores=STORE_COLUMNS, seats=SEAT_COLUMNS, path=PATH_COLUMNS, leaving=LEAVING_COLUMNS, clock=FAULT + 1, chunk=CHUNK_COLUMNS,
    calls=len(CALL_COLUMNS), series=len(SERIES_COLUMNS), totals=len(TOTAL_COLUMNS), events=len(EVENT_COLUMNS),
)  # fmt: skip
class State(NamedTuple):
    """All that changes during a run. Shapes: A agents, N lanes, K ranks of all workers, W workers, Q seats of a rank."""

    lanes: Ints
    """(N, LANE_COLUMNS)"""
    sends: Ints
    """(N, 2): the heap of lanes that act next, earliest first: when the next call is sent, or KV lands; and the lane."""
    ranks: Ints
    """(K, RANK_COLUMNS)"""
    workers: Ints
    """(W, WORKER_COLUMNS)"""
    groups: Ints
    """(2, K): ranks that take new calls, and ranks of decode pools."""
    slots: Ints
    """(blocks of all ranks, SLOT_COLUMNS)"""
    stacks: Ints
    """Given-back slot numbers, and given-back rows of names."""
    heads: Ints
    """(3 K, A + trajectories + 1): first root slot of each play, of each trajectory, and of what all share; then the first run of names of
    each agent, trajectory and of what all share in every store."""
    names: Ints
    stores: Ints
    """(2 K, STORE_COLUMNS)"""
    seats: Ints
    """(K, Q, SEAT_COLUMNS)"""
    path: Ints
    """(N, longest path + 2, PATH_COLUMNS): the tree nodes of each lane's call, root first, its answer node last."""
    filling: Ints
    """(K, Q): the prefilling lanes in admission order."""
    leaving: Ints
    """(K, Q, 3): columns Q_, the heap of decoding lanes, the one that leaves first on top."""
    growing: Ints
    """(K, growth period): decoding lanes by bucket."""
    clock: Ints
    chunk: Ints
    """(K, CHUNK_COLUMNS)"""
    calls: Ints
    series: Ints
    totals: Ints
    events: Ints


# ------------ tables


@stage
def log(events, clock, ranks, kind, rank, lane, a, b, c):
    if clock[LOGGING] == 1:
        row = events[clock[EVENT_ROWS]]
        row[0] = clock[NOW]
        row[1] = kind
        row[2] = ranks[rank, R_WORKER]
        row[3] = ranks[rank, R_NUMBER]
        row[4] = lane
        row[5] = a
        row[6] = b
        row[7] = c
        clock[EVENT_ROWS] += 1


@tiny
def count(rules, clock, totals, ranks, rank, column, amount):
    """Add to a total of a rank's pool inside the steady window."""
    if clock[NOW] >= rules[U_WINDOW]:
        totals[ranks[rank, R_POOL], column] += amount


@tiny
def send_before(sends, i, time_ps, lane):
    """Whether an entry of the heap acts before a lane at a time."""
    return sends[i, 0] < time_ps or (sends[i, 0] == time_ps and sends[i, 1] < lane)


@tiny
def put_send(sends, i, time_ps, lane):
    sends[i, 0] = time_ps
    sends[i, 1] = lane


@stage
def push_send(sends, clock, lane, time_ps):
    """Let the lane send its next call, or its KV land, at ``time_ps``."""
    i = clock[SENDS]
    clock[SENDS] += 1
    while i > 0:
        up = (i - 1) >> 1
        if send_before(sends, up, time_ps, lane):
            break
        put_send(sends, i, sends[up, 0], sends[up, 1])
        i = up
    put_send(sends, i, time_ps, lane)


@stage
def pop_send(sends, clock):
    """Take the lane that acts first."""
    top = sends[0, 1]
    clock[SENDS] -= 1
    n = clock[SENDS]
    time_ps, lane = sends[n, 0], sends[n, 1]
    i = 0
    while True:
        c = 2 * i + 1
        if c >= n:
            break
        if c + 1 < n and send_before(sends, c + 1, sends[c, 0], sends[c, 1]):
            c += 1
        if not send_before(sends, c, time_ps, lane):
            break
        put_send(sends, i, sends[c, 0], sends[c, 1])
        i = c
    put_send(sends, i, time_ps, lane)
    return top


@tiny
def ends_before(heap, i, last_step, order):
    """Whether an entry of the heap leaves before a lane that was admitted at ``order`` and decodes up to ``last_step``."""
    return heap[i, Q_LAST_STEP] < last_step or (heap[i, Q_LAST_STEP] == last_step and heap[i, Q_ORDER] < order)


@tiny
def put_end(heap, i, last_step, order, lane):
    heap[i, Q_LAST_STEP] = last_step
    heap[i, Q_ORDER] = order
    heap[i, Q_LANE] = lane


@stage
def sift_up(heap, i, last_step, order, lane):
    """Put a lane into the heap, at place ``i`` or above it."""
    while i > 0:
        up = (i - 1) >> 1
        if ends_before(heap, up, last_step, order):
            break
        put_end(heap, i, heap[up, Q_LAST_STEP], heap[up, Q_ORDER], heap[up, Q_LANE])
        i = up
    put_end(heap, i, last_step, order, lane)


@stage
def sift_down(heap, n, i, last_step, order, lane):
    """Put a lane into a heap of ``n``, at place ``i`` or below it."""
    while True:
        c = 2 * i + 1
        if c >= n:
            break
        if c + 1 < n and ends_before(heap, c + 1, heap[c, Q_LAST_STEP], heap[c, Q_ORDER]):
            c += 1
        if not ends_before(heap, c, last_step, order):
            break
        put_end(heap, i, heap[c, Q_LAST_STEP], heap[c, Q_ORDER], heap[c, Q_LANE])
        i = c
    put_end(heap, i, last_step, order, lane)


@stage
def remove_from_heap(heap, n, lane):
    """Take ``lane`` out of a heap of ``n``: nearly always the first, another one only when it gives way."""
    i = 0
    while heap[i, Q_LANE] != lane:
        i += 1
    last_step, order, last = heap[n - 1, Q_LAST_STEP], heap[n - 1, Q_ORDER], heap[n - 1, Q_LANE]
    if last != lane:
        if i > 0 and not ends_before(heap, (i - 1) >> 1, last_step, order):
            sift_up(heap, i, last_step, order, last)
        else:
            sift_down(heap, n - 1, i, last_step, order, last)


@stage
def append_running(lanes, ranks, clock, rank, lane):
    lanes[lane, L_ORDER] = clock[ADMISSIONS]
    clock[ADMISSIONS] += 1
    tail = ranks[rank, R_RUN_TAIL]
    lanes[lane, L_PREV] = tail
    lanes[lane, L_NEXT] = -1
    if tail >= 0:
        lanes[tail, L_NEXT] = lane
    else:
        ranks[rank, R_RUN_HEAD] = lane
    ranks[rank, R_RUN_TAIL] = lane
    ranks[rank, R_RUNNING] += 1


@stage
def remove_running(lanes, ranks, rank, lane):
    before, after = lanes[lane, L_PREV], lanes[lane, L_NEXT]
    if before >= 0:
        lanes[before, L_NEXT] = after
    else:
        ranks[rank, R_RUN_HEAD] = after
    if after >= 0:
        lanes[after, L_PREV] = before
    else:
        ranks[rank, R_RUN_TAIL] = before
    ranks[rank, R_RUNNING] -= 1


@stage
def queue_back(lanes, ranks, rank, lane):
    lanes[lane, L_NEXT] = -1
    if ranks[rank, R_WAIT_TAIL] >= 0:
        lanes[ranks[rank, R_WAIT_TAIL], L_NEXT] = lane
    else:
        ranks[rank, R_WAIT_HEAD] = lane
    ranks[rank, R_WAIT_TAIL] = lane
    ranks[rank, R_WAITING] += 1


@tiny
def queue_front(lanes, ranks, rank, lane):
    lanes[lane, L_NEXT] = ranks[rank, R_WAIT_HEAD]
    if ranks[rank, R_WAIT_HEAD] < 0:
        ranks[rank, R_WAIT_TAIL] = lane
    ranks[rank, R_WAIT_HEAD] = lane
    ranks[rank, R_WAITING] += 1


@stage
def dequeue(lanes, ranks, rank):
    lane = ranks[rank, R_WAIT_HEAD]
    ranks[rank, R_WAIT_HEAD] = lanes[lane, L_NEXT]
    if ranks[rank, R_WAIT_HEAD] < 0:
        ranks[rank, R_WAIT_TAIL] = -1
    ranks[rank, R_WAITING] -= 1
    return lane


@stage
def land_back(lanes, ranks, rank, lane):
    """The lane's KV has landed: it joins the rank's next step."""
    lanes[lane, L_NEXT] = -1
    if ranks[rank, R_LAND_TAIL] >= 0:
        lanes[ranks[rank, R_LAND_TAIL], L_NEXT] = lane
    else:
        ranks[rank, R_LAND_HEAD] = lane
    ranks[rank, R_LAND_TAIL] = lane
    ranks[rank, R_LANDED] += 1


# ------------ prefix cache


@tiny
def free_blocks(ranks, rank):
    return ranks[rank, R_PLAIN] + ranks[rank, R_IDLE_BLOCKS]


@stage
def to_idle(ranks, slots, rank, slot):
    """Append a slot that nobody holds any more to the end of the idle list."""
    slots[slot, S_OLDER] = ranks[rank, R_NEW]
    slots[slot, S_NEWER] = -1
    if ranks[rank, R_NEW] >= 0:
        slots[ranks[rank, R_NEW], S_NEWER] = slot
    else:
        ranks[rank, R_OLD] = slot
    ranks[rank, R_NEW] = slot
    ranks[rank, R_IDLE_BLOCKS] += slots[slot, S_BLOCKS]


@stage
def from_idle(ranks, slots, rank, slot):
    """Take a slot out of the idle list."""
    older, newer = slots[slot, S_OLDER], slots[slot, S_NEWER]
    if older >= 0:
        slots[older, S_NEWER] = newer
    else:
        ranks[rank, R_OLD] = newer
    if newer >= 0:
        slots[newer, S_OLDER] = older
    else:
        ranks[rank, R_NEW] = older
    ranks[rank, R_IDLE_BLOCKS] -= slots[slot, S_BLOCKS]


@stage
def unlink(slots, heads, rank, slot):
    """Take a slot out of its parent's (or root) list."""
    if slots[slot, S_KEY] == LOOSE:
        return
    before, after = slots[slot, S_PREV], slots[slot, S_NEXT]
    if after >= 0:
        slots[after, S_PREV] = before
    if before >= 0:
        slots[before, S_NEXT] = after
    elif slots[slot, S_KEY] < 0:
        slots[slots[slot, S_PARENT], S_CHILD] = after
    elif heads[rank, slots[slot, S_KEY]] == slot:
        heads[rank, slots[slot, S_KEY]] = after


@stage
def link(slots, heads, rank, slot, parent, key):
    """Put a slot at the front of its parent's (``key`` -1) or a root list."""
    slots[slot, S_PARENT] = parent
    slots[slot, S_KEY] = key
    slots[slot, S_PREV] = -1
    if key >= 0:
        after = heads[rank, key]
        heads[rank, key] = slot
    else:
        after = slots[parent, S_CHILD]
        slots[parent, S_CHILD] = slot
    slots[slot, S_NEXT] = after
    if after >= 0:
        slots[after, S_PREV] = slot


@stage
def new_slot(slots, stacks, clock, node, start, blocks, refs, owner, play):
    if clock[SLOTS_FREE] > 0:
        clock[SLOTS_FREE] -= 1
        slot = stacks[0, clock[SLOTS_FREE]]
    else:
        slot = clock[SLOTS_USED]
        clock[SLOTS_USED] += 1
    slots[slot, S_NODE] = node
    slots[slot, S_START] = start
    slots[slot, S_BLOCKS] = blocks
    slots[slot, S_REFS] = refs
    slots[slot, S_CHILD] = -1
    slots[slot, S_LIST] = owner
    slots[slot, S_PLAY] = play
    return slot


@stage
def take_blocks(world, state, rank, n):
    """Take ``n`` free blocks: those without content first, then the longest idle, each slot from its end."""
    ranks = state.ranks
    if n <= ranks[rank, R_PLAIN]:
        ranks[rank, R_PLAIN] -= n
        return
    n -= ranks[rank, R_PLAIN]
    ranks[rank, R_PLAIN] = 0
    count(world.rules, state.clock, state.totals, state.ranks, rank, T_EVICTED, n)
    if state.stores[rank, Y_SIZE] > 0:
        count(world.rules, state.clock, state.totals, state.ranks, rank, T_STORED, n)
    evict(state, rank, n)


@stage
def evict(state, rank, n):
    """Forget the content of ``n`` idle blocks, or write it to the host tier."""
    ranks, slots = state.ranks, state.slots
    while n > 0:
        slot = ranks[rank, R_OLD]
        if state.stores[rank, Y_SIZE] > 0:
            last = slots[slot, S_START] + slots[slot, S_BLOCKS]
            first = max(slots[slot, S_START], last - n)
            store_names(state, rank, slots[slot, S_LIST], slots[slot, S_PLAY], slots[slot, S_NODE], first, last)
        if slots[slot, S_BLOCKS] <= n:
            n -= slots[slot, S_BLOCKS]
            from_idle(state.ranks, state.slots, rank, slot)
            unlink(state.slots, state.heads, rank, slot)
            state.stacks[0, state.clock[SLOTS_FREE]] = slot
            state.clock[SLOTS_FREE] += 1
        else:
            slots[slot, S_BLOCKS] -= n
            ranks[rank, R_IDLE_BLOCKS] -= n
            n = 0


@tiny
def owner_list(tree, rules, lanes, lane, node):
    """List in which content of ``node`` is kept: of the lane's agent, of its trajectory, or of what all share."""
    scope = tree[node, N_SCOPE]
    if scope == SCOPE_PLAY:
        return lanes[lane, L_AGENT]
    if scope == SCOPE_TRAJECTORY:
        return rules[U_AGENTS] + lanes[lane, L_TRAJECTORY]
    return rules[U_AGENTS] + rules[U_RUNS]


@tiny
def owner_play(rules, lanes, lane, owner):
    """Play to which content in a list belongs; 0 when it is shared."""
    return lanes[lane, L_PLAY] if owner < rules[U_AGENTS] else 0


@tiny
def root_key(slots, parent, owner):
    """Root list in which slots of a list stand, or -1 when they stand in the list of their parent slot."""
    return -1 if parent >= 0 and slots[parent, S_LIST] == owner else owner


@stage
def find_slot(slots, heads, rank, parent, owner, node, start):
    """The slot that holds block ``start`` of a path next after ``parent``, or -1."""
    key = root_key(slots, parent, owner)
    slot = slots[parent, S_CHILD] if key < 0 else heads[rank, key]
    while slot >= 0 and not (slots[slot, S_NODE] == node and slots[slot, S_START] == start):
        slot = slots[slot, S_NEXT]
    return slot


@stage
def match(world, state, rank, lane, most):
    """Leading blocks of the lane's path in the cache, at most ``most``; and how many of them nobody holds. Touches nothing."""
    slots, path = state.slots, state.path[lane]
    hit, idle, slot = 0, 0, -1
    for i in range(state.lanes[lane, L_PATH_LEN]):
        end = min(most, path[i + 1, D_START])
        while hit < end:
            slot = find_slot(state.slots, state.heads, rank, slot, path[i, D_LIST], path[i, D_NODE], hit)
            if slot < 0:
                return hit, idle
            n = min(slots[slot, S_BLOCKS], end - hit)
            hit += n
            if slots[slot, S_REFS] == 0:
                idle += n
        if hit >= most:
            break
    return hit, idle


@stage
def split(ranks, slots, heads, stacks, clock, rank, slot, n):
    """Cut the first ``n`` blocks off a slot into a slot of their own, its new parent; return that."""
    upper = new_slot(
        slots, stacks, clock, slots[slot, S_NODE], slots[slot, S_START], n, slots[slot, S_REFS], slots[slot, S_LIST], slots[slot, S_PLAY]
    )
    before, after, key = slots[slot, S_PREV], slots[slot, S_NEXT], slots[slot, S_KEY]
    slots[upper, S_PARENT] = slots[slot, S_PARENT]
    slots[upper, S_KEY] = key
    slots[upper, S_PREV] = before
    slots[upper, S_NEXT] = after
    if after >= 0:
        slots[after, S_PREV] = upper
    if before >= 0:
        slots[before, S_NEXT] = upper
    elif key < 0:
        slots[slots[slot, S_PARENT], S_CHILD] = upper
    elif heads[rank, key] == slot:
        heads[rank, key] = upper
    slots[upper, S_CHILD] = slot
    slots[slot, S_PARENT] = upper
    slots[slot, S_KEY] = -1
    slots[slot, S_PREV] = -1
    slots[slot, S_NEXT] = -1
    slots[slot, S_START] += n
    slots[slot, S_BLOCKS] -= n
    if slots[slot, S_REFS] == 0:  # the upper part is freed, and so evicted, right after the lower one
        newer = slots[slot, S_NEWER]
        slots[upper, S_OLDER] = slot
        slots[upper, S_NEWER] = newer
        slots[slot, S_NEWER] = upper
        if newer >= 0:
            slots[newer, S_OLDER] = upper
        else:
            ranks[rank, R_NEW] = upper
    return upper


@stage
def hold_prefix(world, state, rank, lane, hit):
    """Hold the first ``hit`` blocks of the lane's path, which `match` found."""
    slots, lanes, path = state.slots, state.lanes, state.path[lane]
    at, slot, i = 0, -1, 0
    while at < hit:
        end, above = min(hit, path[i + 1, D_START]), slot
        slot = find_slot(state.slots, state.heads, rank, above, path[i, D_LIST], path[i, D_NODE], at)
        if slots[slot, S_BLOCKS] > end - at:
            slot = split(state.ranks, state.slots, state.heads, state.stacks, state.clock, rank, slot, end - at)
        if slots[slot, S_KEY] >= 0:  # the slot above does not list it, so it may have grown past it and been split since
            slots[slot, S_PARENT] = above
        if slots[slot, S_REFS] == 0:
            from_idle(state.ranks, state.slots, rank, slot)
        slots[slot, S_REFS] += 1
        at += slots[slot, S_BLOCKS]
        if at == path[i + 1, D_START]:
            i += 1
    lanes[lane, L_TIP] = slot
    lanes[lane, L_DEPTH] = i
    lanes[lane, L_HASHED] = hit
    lanes[lane, L_PRIVATE] = 0


@stage
def hash_blocks(world, state, rank, lane, upto):
    """Make the lane's blocks findable up to block ``upto`` of its path, unless their content is cached already."""
    if world.pools[state.ranks[rank, R_POOL]][P_CACHE] != CACHE_BLOCKS:
        return
    slots, lanes, path = state.slots, state.lanes, state.path[lane]
    while lanes[lane, L_HASHED] < upto and lanes[lane, L_PRIVATE] == 0 and lanes[lane, L_DEPTH] < lanes[lane, L_PATH_LEN]:
        i, at, tip = lanes[lane, L_DEPTH], lanes[lane, L_HASHED], lanes[lane, L_TIP]
        node, owner, end = path[i, D_NODE], path[i, D_LIST], path[i + 1, D_START]
        n = min(upto, end) - at
        if find_slot(state.slots, state.heads, rank, tip, owner, node, at) >= 0:
            lanes[lane, L_PRIVATE] = 1
            return
        if tip >= 0 and slots[tip, S_NODE] == node and slots[tip, S_REFS] == 1 and slots[tip, S_CHILD] < 0:
            slots[tip, S_BLOCKS] += n
        else:
            play = owner_play(world.rules, state.lanes, lane, owner)
            slot = new_slot(state.slots, state.stacks, state.clock, node, at, n, 1, owner, play)
            link(state.slots, state.heads, rank, slot, tip, root_key(state.slots, tip, owner))
            lanes[lane, L_TIP] = slot
        lanes[lane, L_HASHED] += n
        if lanes[lane, L_HASHED] == end:
            lanes[lane, L_DEPTH] += 1


@stage
def release_blocks(world, state, rank, lane, held):
    """Give back the lane's ``held`` blocks: the findable ones to the idle list, last block first; the others without content."""
    slots, ranks, lanes = state.slots, state.ranks, state.lanes
    ranks[rank, R_FULL] = BLOCKED_NOT
    ranks[rank, R_PLAIN] += held + world.pools[state.ranks[rank, R_POOL]][P_FIXED] - lanes[lane, L_HASHED]
    slot = lanes[lane, L_TIP]
    while slot >= 0:
        slots[slot, S_REFS] -= 1
        if slots[slot, S_REFS] == 0:
            to_idle(state.ranks, state.slots, rank, slot)
        slot = slots[slot, S_PARENT]
    lanes[lane, L_TIP] = -1
    lanes[lane, L_HASHED] = 0


# ------------ names: host tier, resumable ends


@stage
def new_name(names, heads, stacks, clock, first_list, store, owner, play, node, start, end):
    """A run of names, in its list but not yet among the store's ages."""
    place = first_list + store
    if clock[NAMES_FREE] > 0:
        clock[NAMES_FREE] -= 1
        run = stacks[1, clock[NAMES_FREE]]
    else:
        run = clock[NAMES_USED]
        clock[NAMES_USED] += 1
    names[run, X_NODE] = node
    names[run, X_START] = start
    names[run, X_END] = end
    names[run, X_LIST] = owner
    names[run, X_PLAY] = play
    names[run, X_PREV] = -1
    names[run, X_NEXT] = heads[place, owner]
    if heads[place, owner] >= 0:
        names[heads[place, owner], X_PREV] = run
    heads[place, owner] = run
    return run


@stage
def drop_name(names, stores, heads, stacks, clock, first_list, store, run):
    """Take a run out of its list and the store's ages."""
    before, after = names[run, X_PREV], names[run, X_NEXT]
    if after >= 0:
        names[after, X_PREV] = before
    if before >= 0:
        names[before, X_NEXT] = after
    else:
        heads[first_list + store, names[run, X_LIST]] = after
    older, newer = names[run, X_OLDER], names[run, X_NEWER]
    if older >= 0:
        names[older, X_NEWER] = newer
    else:
        stores[store, Y_OLD] = newer
    if newer >= 0:
        names[newer, X_OLDER] = older
    else:
        stores[store, Y_NEW] = older
    stacks[1, clock[NAMES_FREE]] = run
    clock[NAMES_FREE] += 1


@stage
def take_out_names(state, store, owner, play, node, start, end):
    """Let the names of blocks ``start .. end`` of a node go."""
    names, stores = state.names, state.stores
    run = state.heads[len(state.ranks) + store, owner]
    while run >= 0:
        after = names[run, X_NEXT]
        if names[run, X_NODE] == node and names[run, X_PLAY] == play and names[run, X_START] < end and start < names[run, X_END]:
            first, last = names[run, X_START], names[run, X_END]
            stores[store, Y_USED] -= min(last, end) - max(first, start)
            if first >= start and last <= end:
                drop_name(state.names, state.stores, state.heads, state.stacks, state.clock, len(state.ranks), store, run)
            elif first >= start:
                names[run, X_START] = end
            elif last <= end:
                names[run, X_END] = start
            else:  # its end is older than its beginning
                names[run, X_END] = start
                upper = new_name(state.names, state.heads, state.stacks, state.clock, len(state.ranks), store, owner, play, node, end, last)
                older = names[run, X_OLDER]
                names[upper, X_OLDER] = older
                names[upper, X_NEWER] = run
                names[run, X_OLDER] = upper
                if older >= 0:
                    names[older, X_NEWER] = upper
                else:
                    stores[store, Y_OLD] = upper
        run = after


@stage
def store_names(state, store, owner, play, node, start, end):
    """Take in the names of blocks ``start .. end`` of a node, the last one first; the oldest leave when there are too many."""
    names, stores = state.names, state.stores
    take_out_names(state, store, owner, play, node, start, end)
    new = stores[store, Y_NEW]
    if (
        new >= 0 and names[new, X_LIST] == owner and names[new, X_PLAY] == play and names[new, X_NODE] == node
        and names[new, X_START] == end
    ):  # fmt: skip
        names[new, X_START] = start
    else:
        run = new_name(state.names, state.heads, state.stacks, state.clock, len(state.ranks), store, owner, play, node, start, end)
        names[run, X_OLDER] = new
        names[run, X_NEWER] = -1
        if new >= 0:
            names[new, X_NEWER] = run
        else:
            stores[store, Y_OLD] = run
        stores[store, Y_NEW] = run
    stores[store, Y_USED] += end - start
    while stores[store, Y_USED] > stores[store, Y_SIZE]:
        old = stores[store, Y_OLD]
        n = min(names[old, X_END] - names[old, X_START], stores[store, Y_USED] - stores[store, Y_SIZE])
        names[old, X_END] -= n
        stores[store, Y_USED] -= n
        if names[old, X_END] == names[old, X_START]:
            drop_name(state.names, state.stores, state.heads, state.stacks, state.clock, len(state.ranks), store, old)


@stage
def match_names(world, state, store, lane, hit, most):
    """Blocks of the lane's path from block ``hit`` on that a store has, at most up to block ``most``."""
    names, path, at = state.names, state.path[lane], hit
    for i in range(state.lanes[lane, L_PATH_LEN]):
        node, owner, end = path[i, D_NODE], path[i, D_LIST], min(most, path[i + 1, D_START])
        play = owner_play(world.rules, state.lanes, lane, owner)
        while at < end:
            run = state.heads[len(state.ranks) + store, owner]
            while run >= 0 and not (
                names[run, X_NODE] == node and names[run, X_PLAY] == play and names[run, X_START] <= at and at < names[run, X_END]
            ):
                run = names[run, X_NEXT]
            if run < 0:
                return at - hit
            at = min(names[run, X_END], end)
    return at - hit


@stage
def last_name(world, state, store, lane, hit):
    """The most of the lane's first ``hit`` blocks that end with a block whose name a store has."""
    names, path, found = state.names, state.path[lane], 0
    for i in range(state.lanes[lane, L_PATH_LEN]):
        node, owner, end = path[i, D_NODE], path[i, D_LIST], min(hit, path[i + 1, D_START])
        play = owner_play(world.rules, state.lanes, lane, owner)
        run = state.heads[len(state.ranks) + store, owner]
        while run >= 0:
            if names[run, X_NODE] == node and names[run, X_PLAY] == play and names[run, X_START] < min(names[run, X_END], end):
                found = max(found, min(names[run, X_END], end))
            run = names[run, X_NEXT]
    return found


@stage
def take_out_path(world, state, store, lane, start, end):
    """Let the names of blocks ``start .. end`` of the lane's path go."""
    at, path = start, state.path[lane]
    for i in range(state.lanes[lane, L_PATH_LEN]):
        upto, owner = min(end, path[i + 1, D_START]), path[i, D_LIST]
        if at < upto:
            take_out_names(state, store, owner, owner_play(world.rules, state.lanes, lane, owner), path[i, D_NODE], at, upto)
            at = upto


@tiny
def keep_tail(world, state, rank, lane, tokens):
    """Remember that a later prompt can resume after the full blocks of the call's first ``tokens``."""
    if world.pools[state.ranks[rank, R_POOL], P_TAILS] > 0:
        store_tail(world, state, rank, lane, min(tokens // world.rules[U_BLOCK], state.lanes[lane, L_PATH_END]))


@stage
def store_tail(world, state, rank, lane, full):
    """The end of the lane's first ``full`` blocks becomes the newest that can be resumed."""
    store = len(state.ranks) + rank
    if full == 0 or world.pools[state.ranks[rank, R_POOL], P_CACHE] != CACHE_BLOCKS:
        return
    path, i = state.path[lane], 0
    while path[i + 1, D_START] < full:
        i += 1
    owner = path[i, D_LIST]
    store_names(state, store, owner, owner_play(world.rules, state.lanes, lane, owner), path[i, D_NODE], full - 1, full)


# ------------ looking ahead: nothing but hints to the processor, for rows that thousands of agents do not leave in its cache


@tiny
def look_ahead_sends(world, state):
    """Fetch what the next lanes to act will ask for: its tree nodes for the very next, calls and lanes for the two that may follow."""
    sends, lanes, calls = state.sends, state.lanes, world.calls
    if state.clock[SENDS] > 6:
        for i in range(3, 7):
            prefetch(state.lanes, sends[i, 1])
        prefetch(world.calls, lanes[sends[1, 1], L_CALL])
        prefetch(world.calls, lanes[sends[2, 1], L_CALL])
        call = lanes[sends[0, 1], L_CALL]
        if call >= 0:
            prefetch(world.tree, calls[call, K_LEAF])
            prefetch(world.tree, calls[call, K_ANSWER])


@tiny
def look_ahead_queue(world, state, rank):
    """Fetch what the head of a queue will ask for, and the lane behind it."""
    lanes, lane = state.lanes, state.ranks[rank, R_WAIT_HEAD]
    if lane >= 0:
        prefetch(state.path[lane], 0)
        prefetch(state.path[lane], 2)
        prefetch(state.slots, state.heads[rank, lanes[lane, L_AGENT]])
        after = lanes[lane, L_NEXT]
        if after >= 0:
            prefetch(state.lanes, after)
            prefetch(state.heads[rank], after // world.rules[U_WIDTH])


@tiny
def look_ahead_leaving(state, rank):
    """Fetch what the decoding lane that leaves next will ask for, and the two lanes that may follow it."""
    leaving = state.leaving[rank]
    if state.ranks[rank, R_DECODING] > 2:
        prefetch(state.lanes, leaving[1, Q_LANE])
        prefetch(state.lanes, leaving[2, Q_LANE])
        prefetch(state.slots, state.lanes[leaving[0, Q_LANE], L_TIP])


# ------------ a call's life


@tiny
def load_of(ranks, rank):
    """Calls that a router counts."""
    return ranks[rank, R_WAITING] + ranks[rank, R_RUNNING] + ranks[rank, R_PARKED]


@stage
def bind(world, state, group, router):
    """The rank of ``group`` (or the first rank of a worker) to which a thread's calls shall go: the one with the fewest threads."""
    ranks, best = state.ranks, -1
    if router != ROUTER_AFFINITY and router != ROUTER_WORKER_AFFINITY:
        return 0
    for i in range(world.rules[U_ENTRIES + group]):
        rank = state.groups[group, i]
        if router == ROUTER_WORKER_AFFINITY and ranks[rank, R_NUMBER] != 0:
            continue
        if best < 0 or ranks[rank, R_BOUND] < ranks[best, R_BOUND]:
            best = rank
    ranks[best, R_BOUND] += 1
    return best


@stage
def least_loaded(world, state, group, worker):
    """The rank of ``group`` (of one worker unless that is -1) with the fewest calls, the first of equals."""
    ranks, best = state.ranks, -1
    for i in range(world.rules[U_ENTRIES + group]):
        rank = state.groups[group, i]
        if (worker < 0 or ranks[rank, R_WORKER] == worker) and (best < 0 or load_of(ranks, rank) < load_of(ranks, best)):
            best = rank
    return best


@stage
def route(world, state, group, router, home, turn):
    """The thread's own rank, the least loaded of its worker, the next in turn, or the least loaded of all."""
    if router == ROUTER_AFFINITY:
        return home
    if router == ROUTER_ROUND_ROBIN:
        return state.groups[group, turn % world.rules[U_ENTRIES + group]]
    if router == ROUTER_WORKER_AFFINITY:
        return least_loaded(world, state, group, state.ranks[home, R_WORKER])
    return least_loaded(world, state, group, -1)


@stage
def best_prefix(world, state, lane):
    """The entry rank that holds most of a prompt, unless loads differ too much or it holds too little of it: then the least loaded."""
    ranks, entries, rules = state.ranks, state.groups[0], world.rules
    lightest = least_loaded(world, state, 0, -1)
    low, high = load_of(ranks, lightest), 0
    for i in range(rules[U_ENTRIES]):
        high = max(high, load_of(ranks, entries[i]))
    if high - low > rules[U_BALANCE] and high * 1000 > rules[U_BALANCE_MILLI] * low:
        return lightest
    most = (state.lanes[lane, L_KNOWN] - 1) // rules[U_BLOCK]
    best, held = -1, -1
    for i in range(rules[U_ENTRIES]):
        rank = entries[i]
        hit, _ = match(world, state, rank, lane, most)
        if hit > held or (hit == held and load_of(ranks, rank) < load_of(ranks, best)):
            best, held = rank, hit
    if held * 1000 <= rules[U_MATCH_MILLI] * most:
        return lightest
    return best


@stage
def route_entry(world, state, lane):
    """The rank that takes the lane's next call."""
    router, clock = world.rules[U_ROUTER], state.clock
    if router == ROUTER_PREFIX:
        return best_prefix(world, state, lane)
    clock[TURN] += 1
    return route(world, state, 0, router, state.lanes[lane, L_HOME], clock[TURN] - 1)


@tiny
def route_decode(world, state, lane):
    """The rank that will decode the lane's call."""
    state.clock[DECODE_TURN] += 1
    turn = state.clock[DECODE_TURN] - 1
    return route(world, state, 1, world.rules[U_DECODE_ROUTER], state.lanes[lane, L_DHOME], turn)


@stage
def start_play(world, state, lane):
    """Give the agent its next trajectory; the lane is that of its main thread."""
    lanes, agent = state.lanes, state.lanes[lane, L_AGENT]
    lanes[lane, L_PLAY] += 1
    turn = agent + lanes[lane, L_PLAY] * world.rules[U_STRIDE]
    if world.rules[U_SHARED_PLAYS] > 0:
        turn = state.clock[STARTED]
    state.clock[STARTED] += 1
    trajectory = world.runs[turn % (len(world.runs) - 1), J_ORDER]
    lanes[lane, L_TRAJECTORY] = trajectory
    lanes[lane, L_LEFT] = world.runs[trajectory + 1, J_CALL] - world.runs[trajectory, J_CALL]
    for rank in range(len(state.ranks)):
        state.heads[rank, agent] = -1
    start_thread(world, state, lane, world.runs[trajectory, J_THREAD], lane, -1)


@stage
def start_thread(world, state, lane, row, main, parent):
    """The lane is that of thread ``row`` of the load from now on, in the play of the ``main`` lane."""
    lanes = state.lanes
    lanes[lane, L_CALL] = world.threads[row, H_CALL]
    lanes[lane, L_END] = world.threads[row + 1, H_CALL]
    lanes[lane, L_PLAY] = lanes[main, L_PLAY]
    lanes[lane, L_TRAJECTORY] = lanes[main, L_TRAJECTORY]
    lanes[lane, L_BASE] = world.runs[lanes[main, L_TRAJECTORY], J_CALL]
    lanes[lane, L_PARENT] = parent
    lanes[lane, L_HOME] = -1


@stage
def trace_path(world, state, lane):
    """Write the tree nodes that the lane's call fills, root first and the end of its answer last."""
    lanes, tree, path = state.lanes, world.tree, state.path[lane]
    call = world.calls[lanes[lane, L_CALL]]
    last, tokens = call[K_LEAF], call[K_PROMPT]
    lanes[lane, L_BARREN] = -1
    if call[K_ANSWER] >= 0:
        last, tokens = call[K_ANSWER], tokens + call[K_OUTPUT] - 1
        if tree[last, N_BARREN] == 1:
            lanes[lane, L_BARREN] = last
    end = tokens // world.rules[U_BLOCK]
    lanes[lane, L_PATH_END] = end
    n, node, below = 0, last, end
    while node >= 0:
        if tree[node, N_START] < below:
            n, below = n + 1, tree[node, N_START]
        node = tree[node, N_PARENT]
    path[n, D_START] = end
    i, node, below = n, last, end
    while node >= 0:
        if tree[node, N_START] < below:
            i, below = i - 1, tree[node, N_START]
            path[i, D_NODE] = node
            path[i, D_START] = below
            path[i, D_LIST] = owner_list(world.tree, world.rules, state.lanes, lane, node)
        node = tree[node, N_PARENT]
    lanes[lane, L_PATH_LEN] = n


@stage
def send(world, state, lane):
    """The lane sends its next call: it joins the queue of a rank. An agent that finds the shared queue of plays empty retires."""
    lanes, rules = state.lanes, world.rules
    if lanes[lane, L_CALL] < 0:
        if 0 < rules[U_SHARED_PLAYS] <= state.clock[STARTED]:
            state.clock[ACTIVE] -= 1
            return
        start_play(world, state, lane)
    if lanes[lane, L_HOME] < 0:
        lanes[lane, L_HOME] = bind(world, state, 0, rules[U_ROUTER])
        if rules[U_DISAGGREGATED] == 1:
            lanes[lane, L_DHOME] = bind(world, state, 1, rules[U_DECODE_ROUTER])
    trace_path(world, state, lane)
    call = world.calls[lanes[lane, L_CALL]]
    lanes[lane, L_KNOWN] = call[K_PROMPT]
    lanes[lane, L_PROMPT] = call[K_PROMPT]
    lanes[lane, L_OUTPUT] = call[K_OUTPUT]
    lanes[lane, L_STEPS_LEFT] = call[K_STEPS]
    lanes[lane, L_TOOL_PS] = call[K_TOOL]
    lanes[lane, L_STOPS] = call[K_STOPS]
    lanes[lane, L_CHILDREN] = call[K_CHILDREN]
    lanes[lane, L_SEND_PS] = state.clock[NOW]
    for column in range(L_CLAIM_PS, L_LAST_PS + 1):
        lanes[lane, column] = -1
    lanes[lane, L_CACHED] = 0
    lanes[lane, L_FROM_HOST] = 0
    lanes[lane, L_MOVED] = 0
    lanes[lane, L_MOVED_TOKENS] = 0
    lanes[lane, L_PREEMPTED] = 0
    lanes[lane, L_TARGET] = -1
    lanes[lane, L_TIP] = -1
    rank = route_entry(world, state, lane)
    lanes[lane, L_ENTRY] = rank
    lanes[lane, L_RANK] = rank
    state.clock[ISSUED] += 1
    number = lanes[lane, L_CALL] - lanes[lane, L_BASE]
    log(state.events, state.clock, state.ranks, EVENT_SEND, rank, lane, lanes[lane, L_TRAJECTORY], number, lanes[lane, L_PLAY])
    if rules[U_PREALLOC] == 1 and world.pools[state.ranks[rank, R_POOL]][P_ROLE] == ROLE_PREFILL:
        lanes[lane, L_STATE] = CLAIMING
        queue_for_claim(world, state, lane)
    else:
        queue_for_step(state, rank, lane)


@tiny
def queue_for_step(state, rank, lane):
    """The lane's call waits to be admitted by a step."""
    state.lanes[lane, L_STATE] = WAITING
    queue_back(state.lanes, state.ranks, rank, lane)
    state.workers[state.ranks[rank, R_WORKER], W_LOAD] += 1


@tiny
def ask_claim(state, rank):
    """Let the queue for decode seats of a rank be looked at before the instant is over."""
    state.ranks[rank, R_CLAIM] = 1
    state.clock[CLAIMS] = 1


@tiny
def queue_for_claim(world, state, lane):
    """The lane's call waits for a decode seat."""
    target = route_decode(world, state, lane)
    state.lanes[lane, L_TARGET] = target
    queue_back(state.lanes, state.ranks, target, lane)
    ask_claim(state, target)


@tiny
def grown(lanes, lane, step, period):
    """Blocks the decoding lane has taken in its steps before decode step ``step``."""
    if lanes[lane, L_BUCKET] < 0:
        return 0
    first = lanes[lane, L_ENTRY_STEP] + (lanes[lane, L_BUCKET] - lanes[lane, L_ENTRY_STEP]) % period
    return 0 if first >= step else 1 + (step - 1 - first) // period


@stage
def enter_decode(world, state, rank, lane, steps):
    """From the rank's next decode step on, the lane decodes for ``steps`` steps."""
    lanes, ranks, kind = state.lanes, state.ranks, world.pools[state.ranks[rank, R_POOL]]
    size, period, step = world.rules[U_BLOCK], kind[P_PERIOD], ranks[rank, R_CLOCK]
    lanes[lane, L_ENTRY_STEP] = step
    lanes[lane, L_BUCKET] = -1
    if kind[P_CACHE] != CACHE_SLOTS:
        slack = max(0, min(size - 1, lanes[lane, L_HELD] * size - (lanes[lane, L_KNOWN] - 1)))
        lanes[lane, L_BUCKET] = (step + world.first_growth[ranks[rank, R_POOL], slack] - 1) % period
        state.growing[rank, lanes[lane, L_BUCKET]] += 1
    ranks[rank, R_CONTEXT_MILLI] += lanes[lane, L_KNOWN] * 1000
    sift_up(state.leaving[rank], ranks[rank, R_DECODING], step + steps - 1, lanes[lane, L_ORDER], lane)
    ranks[rank, R_DECODING] += 1


@stage
def leave_decode(world, state, rank, lane):
    """Count the blocks of a lane that decodes no more, and take it off the books; returns the decode steps it has done."""
    lanes, ranks, kind = state.lanes, state.ranks, world.pools[state.ranks[rank, R_POOL]]
    step = ranks[rank, R_CLOCK]
    lanes[lane, L_HELD] += grown(lanes, lane, step, kind[P_PERIOD])
    if lanes[lane, L_BUCKET] >= 0:
        state.growing[rank, lanes[lane, L_BUCKET]] -= 1
    done = step - lanes[lane, L_ENTRY_STEP]
    ranks[rank, R_CONTEXT_MILLI] -= lanes[lane, L_KNOWN] * 1000 + done * kind[P_ACCEPT]
    remove_from_heap(state.leaving[rank], ranks[rank, R_DECODING], lane)
    ranks[rank, R_DECODING] -= 1
    return done


@stage
def cut_loose(state, rank, lane, answer):
    """Take the slots of an answer that no prompt will ever match out of the tree, so that the slot above can grow; they stay in memory."""
    slots = state.slots
    slot = state.lanes[lane, L_TIP]
    while slot >= 0 and slots[slot, S_NODE] == answer:
        unlink(state.slots, state.heads, rank, slot)
        slots[slot, S_KEY] = LOOSE
        slot = slots[slot, S_PARENT]


@tiny
def blocks_for(rules, kind, tokens):
    """Blocks that ``tokens`` fill; a fixed slot needs none besides its own."""
    return 0 if kind[P_CACHE] == CACHE_SLOTS else (tokens + rules[U_BLOCK] - 1) // rules[U_BLOCK]


@tiny
def whole_blocks(rules, kind, lanes, lane):
    """Blocks that a call would need with the longest answer it may give."""
    return blocks_for(rules, kind, lanes[lane, L_PROMPT] + kind[P_MAX_NEW]) + kind[P_FIXED]


@stage
def leave_seat(world, state, rank, lane):
    """The call gives up its seat."""
    state.ranks[rank, R_RESERVED] -= whole_blocks(world.rules, world.pools[state.ranks[rank, R_POOL]], state.lanes, lane)
    state.ranks[rank, R_FULL] = BLOCKED_NOT
    remove_running(state.lanes, state.ranks, rank, lane)


@stage
def leave_slot(world, state, rank, lane, tokens):
    """Remember what the call leaves in its fixed slot: its first ``tokens``."""
    lanes = state.lanes
    state.clock[SEAT_USES] += 1
    seat = state.seats[rank, lanes[lane, L_SEAT]]
    length = lanes[lane, L_PATH_LEN]
    seat[Z_NODE] = state.path[lane, length - 1, D_NODE] if length > 0 else -1
    seat[Z_END] = min(tokens // world.rules[U_BLOCK], lanes[lane, L_PATH_END])
    seat[Z_AGENT] = lanes[lane, L_AGENT]
    seat[Z_PLAY] = lanes[lane, L_PLAY]
    seat[Z_USED] = state.clock[SEAT_USES]
    seat[Z_BUSY] = 0


@stage
def release(world, state, rank, lane):
    """The call leaves the rank: its blocks are freed."""
    lanes, kind = state.lanes, world.pools[state.ranks[rank, R_POOL]]
    tokens = lanes[lane, L_PROMPT] + lanes[lane, L_OUTPUT] - 1
    keep_tail(world, state, rank, lane, tokens)
    hash_blocks(world, state, rank, lane, min(tokens // world.rules[U_BLOCK], lanes[lane, L_HELD]))
    if lanes[lane, L_BARREN] >= 0:
        cut_loose(state, rank, lane, lanes[lane, L_BARREN])
    if kind[P_CACHE] == CACHE_SLOTS:
        leave_slot(world, state, rank, lane, tokens)
    release_blocks(world, state, rank, lane, lanes[lane, L_HELD])
    leave_seat(world, state, rank, lane)
    state.workers[state.ranks[rank, R_WORKER], W_LOAD] -= 1
    lanes[lane, L_STATE] = AWAY
    log(
        state.events,
        state.clock,
        state.ranks,
        EVENT_RELEASE,
        rank,
        lane,
        lanes[lane, L_HELD] + kind[P_FIXED],
        free_blocks(state.ranks, rank),
        0,
    )
    if lanes[lane, L_TARGET] >= 0 and lanes[lane, L_TARGET] != rank:
        unclaim(world, state, lane)
    next_call(world, state, lane)


@stage
def unclaim(world, state, lane):
    """Give back a decode seat that was not needed: the call ended with its first token."""
    lanes, target = state.lanes, state.lanes[lane, L_TARGET]
    kind = world.pools[state.ranks[target, R_POOL]]
    take_claim(state.lanes, lane)
    release_blocks(world, state, target, lane, lanes[lane, L_HELD])
    state.ranks[target, R_PARKED] -= 1
    state.ranks[target, R_RESERVED] -= whole_blocks(world.rules, kind, state.lanes, lane)
    ask_claim(state, target)
    log(
        state.events,
        state.clock,
        state.ranks,
        EVENT_RELEASE,
        target,
        lane,
        lanes[lane, L_HELD] + kind[P_FIXED],
        free_blocks(state.ranks, target),
        0,
    )


@stage
def take_claim(lanes, lane):
    """What the lane holds is from now on what it claimed at its decode rank."""
    lanes[lane, L_HELD] = lanes[lane, L_A_HELD]
    lanes[lane, L_HASHED] = lanes[lane, L_A_HASHED]
    lanes[lane, L_PRIVATE] = lanes[lane, L_A_PRIVATE]
    lanes[lane, L_TIP] = lanes[lane, L_A_TIP]
    lanes[lane, L_DEPTH] = lanes[lane, L_A_DEPTH]


@stage
def next_call(world, state, lane):
    """After a call: its sub-agents start, or else its thread goes on."""
    lanes, threads, clock = state.lanes, world.threads, state.clock
    ended_ps = lanes[lane, L_LAST_PS]
    lanes[lane, L_READY_PS] = ended_ps
    lanes[lane, L_PENDING] = lanes[lane, L_CHILDREN]
    for i in range(lanes[lane, L_CHILDREN]):
        row = world.spawned[lanes[lane, L_CALL]] + i
        child = lanes[lane, L_AGENT] * world.rules[U_WIDTH] + row - world.runs[lanes[lane, L_TRAJECTORY], J_THREAD]
        start_thread(world, state, child, row, lane, lane)
        push_send(state.sends, state.clock, child, max(clock[NOW], ended_ps + threads[row, H_DELAY]))
    if lanes[lane, L_CHILDREN] == 0:
        go_on(world, state, lane)


@stage
def go_on(world, state, lane):
    """After a call and all that it spawned: wait for the tool, then go on in the thread; at its end join the one that spawned it, or
    take the next trajectory, or retire."""
    lanes, clock = state.lanes, state.clock
    while True:
        call = lanes[lane, L_CALL]
        wake_ps = max(clock[NOW], lanes[lane, L_READY_PS] + lanes[lane, L_TOOL_PS])
        if call + 1 < lanes[lane, L_END]:
            lanes[lane, L_CALL] = call + 1
            push_send(state.sends, state.clock, lane, wake_ps)
            return
        unbind(world, state, lane)
        parent = lanes[lane, L_PARENT]
        if parent < 0:
            lanes[lane, L_CALL] = -1
            most = world.rules[U_MAX_PLAYS]
            if most > 0 and lanes[lane, L_PLAY] + 1 >= most:
                clock[ACTIVE] -= 1
            else:
                push_send(state.sends, state.clock, lane, wake_ps)
            return
        lanes[parent, L_READY_PS] = max(lanes[parent, L_READY_PS], wake_ps)
        lanes[parent, L_PENDING] -= 1
        if lanes[parent, L_PENDING] > 0:
            return
        lane = parent


@stage
def unbind(world, state, lane):
    """The thread is over: its ranks are free for others."""
    rules, lanes = world.rules, state.lanes
    if rules[U_ROUTER] == ROUTER_AFFINITY or rules[U_ROUTER] == ROUTER_WORKER_AFFINITY:
        state.ranks[lanes[lane, L_HOME], R_BOUND] -= 1
    router = rules[U_DECODE_ROUTER]
    if rules[U_DISAGGREGATED] == 1 and router in (ROUTER_AFFINITY, ROUTER_WORKER_AFFINITY):
        state.ranks[lanes[lane, L_DHOME], R_BOUND] -= 1


@stage
def end_call(world, state, rank, lane):
    """The call's last token is out: record it; a finished play may end the run."""
    lanes, ranks, clock, rules = state.lanes, state.ranks, state.clock, world.rules
    agent, entry = lanes[lane, L_AGENT], lanes[lane, L_ENTRY]
    lanes[lane, L_LAST_PS] = clock[NOW]
    row = state.calls[clock[CALL_ROWS]]  # in the order of CALL_COLUMNS
    clock[CALL_ROWS] += 1
    row[0] = agent
    row[1] = lane % rules[U_WIDTH]
    row[2] = lanes[lane, L_PLAY]
    row[3] = lanes[lane, L_TRAJECTORY]
    row[4] = lanes[lane, L_CALL] - lanes[lane, L_BASE]
    row[5] = ranks[rank, R_POOL]
    row[6] = ranks[rank, R_WORKER]
    row[7] = ranks[rank, R_NUMBER]
    row[8] = ranks[entry, R_POOL]
    row[9] = ranks[entry, R_WORKER]
    row[10] = ranks[entry, R_NUMBER]
    for i in range(8):
        row[11 + i] = lanes[lane, L_SEND_PS + i]
    row[19] = lanes[lane, L_PROMPT]
    row[20] = lanes[lane, L_CACHED]
    row[21] = lanes[lane, L_FROM_HOST]
    row[22] = lanes[lane, L_MOVED_TOKENS]
    row[23] = lanes[lane, L_OUTPUT]
    row[24] = lanes[lane, L_PREEMPTED]
    log(state.events, state.clock, state.ranks, EVENT_LAST, rank, lane, row[23], row[20], 0)
    main = agent * rules[U_WIDTH]
    lanes[main, L_LEFT] -= 1
    if lanes[main, L_LEFT] == 0:
        clock[PLAYS] += 1
        if lanes[lane, L_PLAY] + 1 == rules[U_MIN_AGENT_PLAYS]:
            clock[BEHIND] -= 1
        if clock[PLAYS] >= rules[U_MIN_PLAYS] and clock[BEHIND] == 0 and clock[NOW] >= rules[U_WINDOW] + rules[U_MIN_WINDOW]:
            clock[HALTED] = 1


@stage
def drains(world, state, rank, lane):
    """Whether a call that has emitted its last token holds its seat for one more step, for which it then decodes."""
    lanes, kind = state.lanes, world.pools[state.ranks[rank, R_POOL]]
    if kind[P_DEPTH] != 2 or lanes[lane, L_STOPS] != 1 or kind[P_ROLE] == ROLE_PREFILL:
        return False
    lanes[lane, L_STATE] = DRAIN
    lanes[lane, L_KNOWN] = lanes[lane, L_PROMPT] + lanes[lane, L_OUTPUT]
    return True


@stage
def output_so_far(world, state, rank, lane):
    """Output tokens of a call at its rank, in the mean."""
    lanes = state.lanes
    gained = 0
    if lanes[lane, L_STATE] == DECODE or lanes[lane, L_STATE] == DRAIN:
        done = state.ranks[rank, R_CLOCK] - lanes[lane, L_ENTRY_STEP]
        gained = done * world.pools[state.ranks[rank, R_POOL]][P_ACCEPT] // 1000
    return lanes[lane, L_KNOWN] + gained - lanes[lane, L_PROMPT]


@stage
def victim(world, state, rank):
    """Who gives way: the last admitted, or the decoding call with the fewest output tokens (the longest prompt, the last of equals)."""
    lanes, ranks = state.lanes, state.ranks
    lane = ranks[rank, R_RUN_TAIL]
    if world.pools[state.ranks[rank, R_POOL]][P_VICTIM] == VICTIM_LAST or ranks[rank, R_DECODING] == 0:
        return lane
    best, fewest, longest = -1, 0, 0
    while lane >= 0:
        if lanes[lane, L_STATE] != PREFILL:
            out, prompt = output_so_far(world, state, rank, lane), lanes[lane, L_PROMPT]
            if best < 0 or out < fewest or (out == fewest and prompt > longest):
                best, fewest, longest = lane, out, prompt
        lane = lanes[lane, L_PREV]
    return best


@stage
def preempt(world, state, rank, lane):
    """Push a running call back to the queue: its KV is freed and will be computed again."""
    lanes, ranks, kind = state.lanes, state.ranks, world.pools[state.ranks[rank, R_POOL]]
    if lanes[lane, L_STATE] == PREFILL:
        computed = lanes[lane, L_COMPUTED]
        ranks[rank, R_PREFILLING] -= 1
    else:
        done = leave_decode(world, state, rank, lane)
        if lanes[lane, L_STATE] == DRAIN:
            release(world, state, rank, lane)
            return
        most = lanes[lane, L_PROMPT] + lanes[lane, L_OUTPUT] - 1
        lanes[lane, L_KNOWN] = min(lanes[lane, L_KNOWN] + done * kind[P_ACCEPT] // 1000, most)
        lanes[lane, L_STEPS_LEFT] -= done
        computed = lanes[lane, L_KNOWN] - 1
    if kind[P_VISIBLE] == VISIBLE_SCHEDULED:
        hash_blocks(world, state, rank, lane, min(computed // world.rules[U_BLOCK], lanes[lane, L_HELD]))
    release_blocks(world, state, rank, lane, lanes[lane, L_HELD])
    leave_seat(world, state, rank, lane)
    if kind[P_REQUEUE] == REQUEUE_FRONT:
        queue_front(state.lanes, state.ranks, rank, lane)
    else:
        queue_back(state.lanes, state.ranks, rank, lane)
    lanes[lane, L_STATE] = WAITING
    lanes[lane, L_PREEMPTED] += 1
    if kind[P_RESERVE] == RESERVE_RATIO:
        raise_ratio(world, state, rank)
    count(world.rules, state.clock, state.totals, state.ranks, rank, T_PREEMPTIONS, 1)
    log(
        state.events,
        state.clock,
        state.ranks,
        EVENT_PREEMPT,
        rank,
        lane,
        computed,
        lanes[lane, L_HELD] + kind[P_FIXED],
        free_blocks(ranks, rank),
    )


@stage
def raise_ratio(world, state, rank):
    """After a call gave way: reserve as the calls still decoding have turned out, and 20 tokens each."""
    ranks, out = state.ranks, 20 * state.ranks[rank, R_DECODING]
    lane = ranks[rank, R_RUN_HEAD]
    while lane >= 0:
        if state.lanes[lane, L_STATE] != PREFILL:
            out += output_so_far(world, state, rank, lane)
        lane = state.lanes[lane, L_NEXT]
    ranks[rank, R_RATIO_MICRO] = min(
        1_000_000, out * 1_000_000 // (ranks[rank, R_DECODING] * world.pools[state.ranks[rank, R_POOL]][P_MAX_NEW] + 1)
    )


# ------------ links


@stage
def move(world, state, lane, upto, last):
    """Send the KV of a call's tokens up to ``upto`` to its decode rank, through both ports, first come, first served."""
    lanes, ranks, now = state.lanes, state.ranks, state.clock[NOW]
    tokens = max(0, upto - lanes[lane, L_MOVED])
    if tokens == 0 and not last:
        return
    source, target = lanes[lane, L_RANK], lanes[lane, L_TARGET]
    one, other = world.pools[state.ranks[source, R_POOL]], world.pools[state.ranks[target, R_POOL]]
    start_ps = max(now, ranks[ranks[source, R_PORT], R_PORT_FREE_PS], ranks[ranks[target, R_PORT], R_PORT_FREE_PS])
    length_ps = (max(one[P_PORT_TOKEN], other[P_PORT_TOKEN]) * tokens) >> 10
    if last:
        length_ps += max(one[P_PORT_FIXED], other[P_PORT_FIXED])
    ranks[ranks[source, R_PORT], R_PORT_FREE_PS] = start_ps + length_ps
    ranks[ranks[target, R_PORT], R_PORT_FREE_PS] = start_ps + length_ps
    landing_ps = max(start_ps + length_ps + world.rules[U_LATENCY], now + 1)
    lanes[lane, L_MOVED] += tokens
    lanes[lane, L_MOVED_TOKENS] += tokens
    count(world.rules, state.clock, state.totals, state.ranks, source, T_MOVED, tokens)
    count(world.rules, state.clock, state.totals, state.ranks, source, T_MOVING, length_ps // 1000)
    count(world.rules, state.clock, state.totals, state.ranks, target, T_MOVED, tokens)
    count(world.rules, state.clock, state.totals, state.ranks, target, T_MOVING, length_ps // 1000)
    log(state.events, state.clock, state.ranks, EVENT_MOVE, target, lane, tokens, start_ps, landing_ps)
    if last:
        lanes[lane, L_STATE] = MOVING
        lanes[lane, L_MOVED_PS] = start_ps
        push_send(state.sends, state.clock, lane, landing_ps)


@stage
def land(world, state, lane):
    """The KV of a call is at its decode rank: its blocks at the prefill rank are free."""
    lanes, source, target = state.lanes, state.lanes[lane, L_RANK], state.lanes[lane, L_TARGET]
    prompt = lanes[lane, L_PROMPT]
    freed = lanes[lane, L_HELD] + world.pools[state.ranks[source, R_POOL]][P_FIXED]
    release_blocks(world, state, source, lane, lanes[lane, L_HELD])
    state.ranks[source, R_PINNED] -= 1
    take_claim(state.lanes, lane)
    lanes[lane, L_RANK] = target
    lanes[lane, L_STATE] = ARRIVED
    lanes[lane, L_LANDED_PS] = state.clock[NOW]
    lanes[lane, L_COMPUTED] = lanes[lane, L_KNOWN] - 1
    hash_blocks(world, state, target, lane, min(prompt // world.rules[U_BLOCK], lanes[lane, L_HELD]))
    land_back(state.lanes, state.ranks, target, lane)
    state.workers[state.ranks[target, R_WORKER], W_LOAD] += 1
    log(state.events, state.clock, state.ranks, EVENT_LAND, target, lane, prompt, freed, 0)


@stage
def load_from_host(world, state, rank, lane, tokens):
    """Bring KV back from the host tier of the call's rank, over that rank's own link, first come, first served."""
    ranks, now, kind = state.ranks, state.clock[NOW], world.pools[state.ranks[rank, R_POOL]]
    start_ps = max(now, ranks[rank, R_HOST_FREE_PS])
    length_ps = kind[P_HOST_FIXED] + ((kind[P_HOST_TOKEN] * tokens) >> 10)
    ranks[rank, R_HOST_FREE_PS] = start_ps + length_ps
    landing_ps = max(start_ps + length_ps, now + 1)
    count(world.rules, state.clock, state.totals, state.ranks, rank, T_LOADED, tokens)
    count(world.rules, state.clock, state.totals, state.ranks, rank, T_LOADING, length_ps // 1000)
    log(state.events, state.clock, state.ranks, EVENT_LOAD, rank, lane, tokens, start_ps, landing_ps)
    state.lanes[lane, L_STATE] = LOADING
    push_send(state.sends, state.clock, lane, landing_ps)


@stage
def end_load(world, state, lane):
    """What the host tier had of a call is in HBM."""
    lanes, rank = state.lanes, state.lanes[lane, L_RANK]
    lanes[lane, L_STATE] = LOADED
    hash_blocks(world, state, rank, lane, min(lanes[lane, L_COMPUTED] // world.rules[U_BLOCK], lanes[lane, L_HELD]))
    land_back(state.lanes, state.ranks, rank, lane)
    state.workers[state.ranks[rank, R_WORKER], W_LOAD] += 1
    log(state.events, state.clock, state.ranks, EVENT_LAND, rank, lane, lanes[lane, L_COMPUTED], 0, 1)


# ------------ a rank's schedule


@tiny
def chunk_tokens(world, state, rank, left, budget):
    """Prefill tokens that a call with ``left`` tokens to compute gets out of ``budget``."""
    kind = world.pools[state.ranks[rank, R_POOL]]
    if kind[P_CAP] > 0 and state.ranks[rank, R_RUNNING] + state.ranks[rank, R_WAITING] > 1:
        left = min(left, kind[P_CAP])
    return left if left <= budget else budget // kind[P_ROUND] * kind[P_ROUND]


@stage
def prefill_chunk(world, state, rank, lane, tokens):
    """Compute the next ``tokens`` of a prefilling call; its blocks must be free."""
    lanes, kind = state.lanes, world.pools[state.ranks[rank, R_POOL]]
    before = lanes[lane, L_COMPUTED]
    lanes[lane, L_COMPUTED] += tokens
    need = blocks_for(world.rules, kind, lanes[lane, L_COMPUTED])
    if need > lanes[lane, L_HELD]:
        take_blocks(world, state, rank, need - lanes[lane, L_HELD])
        lanes[lane, L_HELD] = need
    if kind[P_VISIBLE] == VISIBLE_SCHEDULED:
        hash_blocks(world, state, rank, lane, min(lanes[lane, L_COMPUTED] // world.rules[U_BLOCK], lanes[lane, L_HELD]))
    chunk = state.chunk[rank]
    chunk[C_TOKENS] += tokens
    chunk[C_PAIRS] += tokens * (2 * before + tokens)
    log(state.events, state.clock, state.ranks, EVENT_CHUNK, rank, lane, tokens, lanes[lane, L_COMPUTED], lanes[lane, L_KNOWN])


@tiny
def more_blocks(rules, kind, lanes, lane, tokens):
    """Blocks that a prefilling call lacks for its next ``tokens``."""
    return max(0, blocks_for(rules, kind, lanes[lane, L_COMPUTED] + tokens) - lanes[lane, L_HELD]) if tokens > 0 else 0


@stage
def serve_running(world, state, rank, budget, decodes, prefills):
    """Give every running call its tokens and blocks, those that decode, those that prefill, or both. Returns the budget left."""
    lanes, ranks, kind = state.lanes, state.ranks, world.pools[state.ranks[rank, R_POOL]]
    growing = state.growing[rank, ranks[rank, R_PHASE]] if decodes else 0
    need, left = growing, budget
    if prefills:
        for i in range(ranks[rank, R_PREFILLING]):
            lane = state.filling[rank, i]
            tokens = chunk_tokens(world, state, rank, lanes[lane, L_KNOWN] - lanes[lane, L_COMPUTED], left)
            left -= tokens
            need += more_blocks(world.rules, kind, lanes, lane, tokens)
    if need <= free_blocks(ranks, rank):  # all fit: nobody's order matters
        take_blocks(world, state, rank, growing)
        if prefills:
            for i in range(ranks[rank, R_PREFILLING]):
                lane = state.filling[rank, i]
                tokens = chunk_tokens(world, state, rank, lanes[lane, L_KNOWN] - lanes[lane, L_COMPUTED], budget)
                if tokens > 0:
                    budget -= tokens
                    prefill_chunk(world, state, rank, lane, tokens)
        return budget
    return serve_in_order(world, state, rank, budget, decodes, prefills)


@stage
def serve_in_order(world, state, rank, budget, decodes, prefills):
    """As `serve_running` when blocks are short: in admission order, calls giving way."""
    lanes, ranks, kind = state.lanes, state.ranks, world.pools[state.ranks[rank, R_POOL]]
    bucket = ranks[rank, R_PHASE]
    lane = ranks[rank, R_RUN_HEAD]
    while lane >= 0:
        tokens, need = 0, 0
        if lanes[lane, L_STATE] != PREFILL:
            need = 1 if decodes and lanes[lane, L_BUCKET] == bucket else 0
        elif prefills:
            tokens = chunk_tokens(world, state, rank, lanes[lane, L_KNOWN] - lanes[lane, L_COMPUTED], budget)
            need = more_blocks(world.rules, kind, lanes, lane, tokens)
        gone, after = False, lanes[lane, L_NEXT]
        while need > free_blocks(ranks, rank) and not gone:
            who = victim(world, state, rank)
            gone, after = who == lane, lanes[lane, L_NEXT]
            if decodes and lanes[who, L_ORDER] < lanes[lane, L_ORDER] and lanes[who, L_BUCKET] == bucket and lanes[who, L_STATE] != PREFILL:
                lanes[who, L_HELD] += 1  # it has been served in this step
            preempt(world, state, rank, who)
            state.chunk[rank, C_GAVE_WAY] = 1
        if gone:
            lane = after
            continue
        if tokens > 0:
            budget -= tokens
            prefill_chunk(world, state, rank, lane, tokens)
        else:
            take_blocks(world, state, rank, need)
        lane = lanes[lane, L_NEXT]
    return budget


@stage
def shared_with_seat(world, state, rank, number, lane):
    """Leading blocks that the lane's path has in common with what a fixed slot keeps."""
    lanes, tree, seat = state.lanes, world.tree, state.seats[rank, number]
    node, below = seat[Z_NODE], seat[Z_END]
    while node >= 0:
        if tree[node, N_START] < below:
            i = lanes[lane, L_PATH_LEN] - 1
            while i >= 0 and state.path[lane, i, D_NODE] != node:
                i -= 1
            same_play = seat[Z_AGENT] == lanes[lane, L_AGENT] and seat[Z_PLAY] == lanes[lane, L_PLAY]
            if i >= 0 and (tree[node, N_SCOPE] != SCOPE_PLAY or same_play):
                return min(below, state.path[lane, i + 1, D_START])
            below = tree[node, N_START]
        node = tree[node, N_PARENT]
    return 0


@stage
def best_seat(world, state, rank, lane):
    """The fixed slot for a call, and how many blocks of its prompt that has."""
    most = min((state.lanes[lane, L_KNOWN] - 1) // world.rules[U_BLOCK], state.lanes[lane, L_PATH_END])
    kind = world.pools[state.ranks[rank, R_POOL]]
    best, shared, oldest, kept = -1, -1, -1, 0
    for number in range(kind[P_SEATS]):
        seat = state.seats[rank, number]
        if seat[Z_BUSY] == 1:
            continue
        same = min(most, shared_with_seat(world, state, rank, number, lane))
        if same > shared:
            best, shared = number, same
        if oldest < 0 or seat[Z_USED] < state.seats[rank, oldest, Z_USED]:
            oldest, kept = number, same
    if shared * 1000 <= kind[P_SIMILAR] * most:
        return oldest, kept
    return best, shared


@stage
def find_kv(world, state, rank, lane):
    """What of a call's KV is here: blocks in HBM and how many of those nobody holds, blocks that follow in the host tier, and blocks in
    the fixed slot that it would get."""
    kind = world.pools[state.ranks[rank, R_POOL]]
    most = (state.lanes[lane, L_KNOWN] - 1) // world.rules[U_BLOCK]
    if kind[P_CACHE] == CACHE_NONE:
        return 0, 0, 0, 0
    if kind[P_CACHE] == CACHE_SLOTS:
        _, shared = best_seat(world, state, rank, lane)
        return 0, 0, 0, shared
    hit, idle = match(world, state, rank, lane, most)
    ends, brought = len(state.ranks) + rank, 0
    if kind[P_TAILS] > 0:
        resumable = last_name(world, state, ends, lane, hit)
        if resumable < hit:
            hit, idle = match(world, state, rank, lane, resumable)
    if kind[P_HOST_BLOCKS] > 0:
        brought = match_names(world, state, rank, lane, hit, most)
    return hit, idle, brought, 0


@stage
def has_room(world, state, rank, lane, hit, idle, upto):
    """Whether blocks for the first ``upto`` tokens of a call are at hand, and what the reservation rule asks for besides."""
    ranks, kind, free = state.ranks, world.pools[state.ranks[rank, R_POOL]], free_blocks(state.ranks, rank)
    seated = ranks[rank, R_RUNNING] + ranks[rank, R_PARKED]
    need = blocks_for(world.rules, kind, upto) + kind[P_FIXED] - hit + idle
    if need + (kind[P_WATERMARK] if seated > 0 else 0) > free:
        return False
    if seated == 0:
        return True
    if kind[P_RESERVE] == RESERVE_FULL:
        return ranks[rank, R_RESERVED] + whole_blocks(world.rules, kind, state.lanes, lane) <= kind[P_BLOCKS]
    if kind[P_RESERVE] == RESERVE_RATIO:
        size = world.rules[U_BLOCK]
        own = further_output(world, state, rank, lane)
        return need * size + own + size <= free * size - promised_tokens(world, state, rank)
    return True


@tiny
def further_output(world, state, rank, lane):
    """Output tokens still to be reckoned with."""
    kind = world.pools[state.ranks[rank, R_POOL]]
    return min(max(0, kind[P_MAX_NEW] - output_so_far(world, state, rank, lane)), kind[P_CLIP])


@stage
def promised_tokens(world, state, rank):
    """KV that seated calls are reckoned to take yet: for further output, and for the rest of their input."""
    lanes, ranks, kind = state.lanes, state.ranks, world.pools[state.ranks[rank, R_POOL]]
    output, owed = ranks[rank, R_PARKED] * min(kind[P_MAX_NEW], kind[P_CLIP]), ranks[rank, R_OWED]
    lane = ranks[rank, R_RUN_HEAD]
    while lane >= 0:
        output += further_output(world, state, rank, lane)
        if lanes[lane, L_STATE] == PREFILL:
            owed += blocks_for(world.rules, kind, lanes[lane, L_KNOWN]) - lanes[lane, L_HELD]
        lane = lanes[lane, L_NEXT]
    return output * ranks[rank, R_RATIO_MICRO] // 1_000_000 + owed * world.rules[U_BLOCK]


@stage
def obstacle(world, state, rank, lane, budget):
    """What keeps a waiting call out; and, when nothing does, what is found of its KV and the tokens of its first chunk."""
    ranks, kind, size = state.ranks, world.pools[state.ranks[rank, R_POOL]], world.rules[U_BLOCK]
    if ranks[rank, R_RUNNING] + ranks[rank, R_PARKED] >= kind[P_SEATS]:
        return BLOCKED_SEATS, 0, 0, 0, 0
    if budget <= 0:
        return BLOCKED_BUDGET, 0, 0, 0, 0
    known = state.lanes[lane, L_KNOWN]
    hit, idle, brought, shared = find_kv(world, state, rank, lane)
    cached = (hit + brought + shared) * size
    tokens = chunk_tokens(world, state, rank, known - cached, budget)
    if tokens == 0 and brought == 0:
        return BLOCKED_BUDGET, 0, 0, 0, 0
    upto = cached + tokens if kind[P_RESERVE] == RESERVE_CHUNK else known
    if not has_room(world, state, rank, lane, hit, idle, upto):
        return BLOCKED_MEMORY, 0, 0, 0, 0
    return BLOCKED_NOT, hit, brought, shared, tokens


@stage
def admit_waiting(world, state, rank, budget):
    """Admit waiting calls first come, first served, until one does not fit. Returns why the head waits."""
    lanes, ranks = state.lanes, state.ranks
    while ranks[rank, R_WAITING] > 0:
        lane = ranks[rank, R_WAIT_HEAD]
        if lanes[lane, L_STATE] != WAITING:
            return ranks[rank, R_CLAIM_BLOCKED]
        blocked, hit, brought, shared, tokens = obstacle(world, state, rank, lane, budget)
        if blocked != BLOCKED_NOT:
            return blocked
        dequeue(state.lanes, state.ranks, rank)
        look_ahead_queue(world, state, rank)
        if admit(world, state, rank, lane, hit, brought, shared):
            prefill_chunk(world, state, rank, lane, tokens)
            budget -= tokens
    return BLOCKED_NOT


@stage
def admit(world, state, rank, lane, hit, brought, shared):
    """Seat a call, with what is found of its KV; whether it can compute at once, and need not wait for the host tier."""
    lanes, ranks, kind, size = state.lanes, state.ranks, world.pools[state.ranks[rank, R_POOL]], world.rules[U_BLOCK]
    if kind[P_CACHE] == CACHE_SLOTS:
        lanes[lane, L_SEAT], _ = best_seat(world, state, rank, lane)
        state.seats[rank, lanes[lane, L_SEAT], Z_BUSY] = 1
    if brought > 0:
        take_out_path(world, state, rank, lane, hit, hit + brought)
    lanes[lane, L_TIP] = -1
    hold_prefix(world, state, rank, lane, hit)
    take_blocks(world, state, rank, kind[P_FIXED])
    take_blocks(world, state, rank, brought)
    ranks[rank, R_RESERVED] += whole_blocks(world.rules, kind, state.lanes, lane)
    if hit > 0:
        keep_tail(world, state, rank, lane, hit * world.rules[U_BLOCK])
    cached = (hit + brought + shared) * size
    lanes[lane, L_HELD] = hit + brought
    lanes[lane, L_COMPUTED] = cached
    if lanes[lane, L_ADMIT_PS] < 0:
        lanes[lane, L_ADMIT_PS] = state.clock[NOW]
        lanes[lane, L_CACHED] = cached
        lanes[lane, L_FROM_HOST] = brought * size
    log(state.events, state.clock, state.ranks, EVENT_ADMIT, rank, lane, cached, lanes[lane, L_KNOWN], free_blocks(ranks, rank))
    chunk = state.chunk[rank]
    chunk[C_CACHED] += cached
    if brought > 0:
        chunk[C_PARKED] = 1
        ranks[rank, R_PARKED] += 1
        ranks[rank, R_OWED] += blocks_for(world.rules, kind, lanes[lane, L_KNOWN]) - lanes[lane, L_HELD]
        state.workers[ranks[rank, R_WORKER], W_LOAD] -= 1
        load_from_host(world, state, rank, lane, brought * size)
        return False
    append_running(state.lanes, state.ranks, state.clock, rank, lane)
    start_prefill(state.lanes, state.ranks, state.filling, rank, lane)
    return True


@tiny
def start_prefill(lanes, ranks, filling, rank, lane):
    lanes[lane, L_STATE] = PREFILL
    filling[rank, ranks[rank, R_PREFILLING]] = lane
    ranks[rank, R_PREFILLING] += 1


@stage
def claim_waiting(world, state, rank):
    """Give decode seats and blocks to calls that come from a prefill rank, first come, first served."""
    lanes, ranks, kind = state.lanes, state.ranks, world.pools[state.ranks[rank, R_POOL]]
    ranks[rank, R_CLAIM] = 0
    ranks[rank, R_CLAIM_BLOCKED] = BLOCKED_NOT
    while ranks[rank, R_WAITING] > 0:
        lane = ranks[rank, R_WAIT_HEAD]
        if lanes[lane, L_STATE] != CLAIMING and lanes[lane, L_STATE] != PREFILLED:
            return
        prompt = lanes[lane, L_PROMPT]
        hit, idle, _, _ = find_kv(world, state, rank, lane)
        if ranks[rank, R_RUNNING] + ranks[rank, R_PARKED] >= kind[P_SEATS]:
            ranks[rank, R_CLAIM_BLOCKED] = BLOCKED_SEATS
            return
        if not has_room(world, state, rank, lane, hit, idle, prompt):
            ranks[rank, R_CLAIM_BLOCKED] = BLOCKED_MEMORY
            return
        dequeue(state.lanes, state.ranks, rank)
        claim(world, state, rank, lane, hit, prompt)


@stage
def claim(world, state, rank, lane, hit, prompt):
    """The call holds a seat and the blocks of its prompt at its decode rank, beside what it holds at its prefill rank."""
    lanes, ranks, kind = state.lanes, state.ranks, world.pools[state.ranks[rank, R_POOL]]
    held, hashed, private = lanes[lane, L_HELD], lanes[lane, L_HASHED], lanes[lane, L_PRIVATE]
    tip, depth = lanes[lane, L_TIP], lanes[lane, L_DEPTH]
    ranks[rank, R_PARKED] += 1
    ranks[rank, R_RESERVED] += whole_blocks(world.rules, kind, state.lanes, lane)
    hold_prefix(world, state, rank, lane, hit)
    lanes[lane, L_A_HELD] = blocks_for(world.rules, kind, prompt)
    lanes[lane, L_A_HASHED] = lanes[lane, L_HASHED]
    lanes[lane, L_A_PRIVATE] = lanes[lane, L_PRIVATE]
    lanes[lane, L_A_TIP] = lanes[lane, L_TIP]
    lanes[lane, L_A_DEPTH] = lanes[lane, L_DEPTH]
    lanes[lane, L_HELD] = held
    lanes[lane, L_HASHED] = hashed
    lanes[lane, L_PRIVATE] = private
    lanes[lane, L_TIP] = tip
    lanes[lane, L_DEPTH] = depth
    take_blocks(world, state, rank, kind[P_FIXED])
    take_blocks(world, state, rank, lanes[lane, L_A_HELD] - hit)
    if hit > 0:
        keep_tail(world, state, rank, lane, hit * world.rules[U_BLOCK])
    lanes[lane, L_CLAIM_PS] = state.clock[NOW]
    lanes[lane, L_MOVED] = hit * world.rules[U_BLOCK]
    log(
        state.events,
        state.clock,
        state.ranks,
        EVENT_CLAIM,
        rank,
        lane,
        lanes[lane, L_MOVED],
        lanes[lane, L_KNOWN],
        free_blocks(ranks, rank),
    )
    if lanes[lane, L_STATE] == CLAIMING:
        queue_for_step(state, lanes[lane, L_ENTRY], lane)
    else:
        move(world, state, lane, prompt, True)


@stage
def join_landed(world, state, rank):
    """Calls whose KV has arrived take part from this step on."""
    lanes, ranks, kind = state.lanes, state.ranks, world.pools[state.ranks[rank, R_POOL]]
    while ranks[rank, R_LANDED] > 0:
        lane = ranks[rank, R_LAND_HEAD]
        ranks[rank, R_LAND_HEAD] = lanes[lane, L_NEXT]
        if ranks[rank, R_LAND_HEAD] < 0:
            ranks[rank, R_LAND_TAIL] = -1
        ranks[rank, R_LANDED] -= 1
        ranks[rank, R_PARKED] -= 1
        append_running(state.lanes, state.ranks, state.clock, rank, lane)
        if lanes[lane, L_STATE] == ARRIVED and lanes[lane, L_FIRST_PS] >= 0:
            lanes[lane, L_STATE] = DECODE
            enter_decode(world, state, rank, lane, lanes[lane, L_STEPS_LEFT])
        else:
            if lanes[lane, L_STATE] == LOADED:
                ranks[rank, R_OWED] -= blocks_for(world.rules, kind, lanes[lane, L_KNOWN]) - lanes[lane, L_HELD]
            start_prefill(state.lanes, state.ranks, state.filling, rank, lane)


@stage
def schedule(world, state, rank, step):
    """One rank's part of a worker step: decodes and prefill chunks share it; or prefill has it alone while any can run, else decodes."""
    ranks, kind = state.ranks, world.pools[state.ranks[rank, R_POOL]]
    chunk = state.chunk[rank]
    for i in range(CHUNK_COLUMNS):
        chunk[i] = 0
    if ranks[rank, R_LANDED] > 0:
        join_landed(world, state, rank)
    decoding = ranks[rank, R_DECODING]
    alone = kind[P_BATCH] == BATCH_PREFILL_FIRST
    if alone:
        shut = ranks[rank, R_PAUSE] > 0 and decoding > 0
    else:
        shut = kind[P_INTERVAL] > 1 and step % kind[P_INTERVAL] != 0 and decoding > 0 and ranks[rank, R_SATURATED] == 0
    chunk[C_DECODES] = 0 if alone else 1
    budget = kind[P_BUDGET] if alone else max(0, kind[P_BUDGET] - decoding * (1 + kind[P_DRAFTS]))
    blocked = BLOCKED_NOT
    turns = 2 if alone else 1
    for turn in range(turns):
        if turn == 1:  # did prefill have the step?
            if chunk[C_TOKENS] > 0:
                ranks[rank, R_PAUSE] = kind[P_PAUSE]
                break
            ranks[rank, R_PAUSE] = max(0, ranks[rank, R_PAUSE] - 1)
            chunk[C_DECODES] = 1
        prefills = turn == 0 and not shut
        budget = serve_running(world, state, rank, budget, chunk[C_DECODES] == 1, prefills)
        if prefills:
            if chunk[C_GAVE_WAY] == 1:
                blocked = BLOCKED_MEMORY if ranks[rank, R_WAITING] > 0 else BLOCKED_NOT
            elif alone and ranks[rank, R_FULL] != BLOCKED_NOT:
                blocked = ranks[rank, R_FULL] if ranks[rank, R_WAITING] > 0 else BLOCKED_NOT
            else:
                blocked = admit_waiting(world, state, rank, budget)
                ranks[rank, R_FULL] = blocked if alone and blocked in (BLOCKED_MEMORY, BLOCKED_SEATS) else BLOCKED_NOT
            if not alone:
                ranks[rank, R_SATURATED] = 1 if ranks[rank, R_WAITING] > 0 else 0
    chunk[C_BLOCKED] = BLOCKED_BUDGET if shut and ranks[rank, R_WAITING] > 0 else blocked
    chunk[C_SERVED] = ranks[rank, R_DECODING] if chunk[C_DECODES] == 1 else 0
    log(state.events, state.clock, state.ranks, EVENT_RANK, rank, -1, chunk[C_SERVED], chunk[C_TOKENS], free_blocks(ranks, rank))


@stage
def head_fits(world, state, rank):
    """Whether the first waiting call would be admitted by a step in which nothing runs."""
    ranks, kind = state.ranks, world.pools[state.ranks[rank, R_POOL]]
    if kind[P_BATCH] == BATCH_PREFILL_FIRST and ranks[rank, R_FULL] != BLOCKED_NOT:
        return False
    blocked, _, _, _, _ = obstacle(world, state, rank, ranks[rank, R_WAIT_HEAD], kind[P_BUDGET])
    return blocked == BLOCKED_NOT


@stage
def can_work(world, state, worker):
    """Whether a step of an idle worker would do anything."""
    ranks, first = state.ranks, state.workers[worker, W_FIRST]
    for rank in range(first, first + state.workers[worker, W_RANKS]):
        if ranks[rank, R_RUNNING] > 0 or ranks[rank, R_LANDED] > 0:
            return True
        if ranks[rank, R_WAITING] > 0 and state.lanes[ranks[rank, R_WAIT_HEAD], L_STATE] == WAITING:
            if ranks[rank, R_PARKED] == 0 and ranks[rank, R_PINNED] == 0:
                return True
            if head_fits(world, state, rank):
                return True
    return False


# ------------ a worker's step


@stage
def wanted_pj(world, state, rank, duration_ps, queries):
    """Picojoules that each GPU of a rank would draw in a step if nothing limited it."""
    ranks, pool = state.ranks, state.ranks[rank, R_POOL]
    kind, chunk = world.pools[pool], state.chunk[rank]
    served = chunk[C_SERVED]
    context = quotient(ranks[rank, R_CONTEXT_MILLI], 1000) if served > 0 else 0
    tokens = served * (1 + kind[P_DRAFTS]) + chunk[C_TOKENS]
    hbm_ps = world.spans[1, pool, min(queries, kind[P_SHARED_HBM_LAST])]
    hbm_ps += kind[P_SEQ_HBM] * served + ((kind[P_CTX_HBM] * context) >> 10)
    flop_ps = kind[P_TOKEN_FLOP] * tokens + ((kind[P_PAIR_FLOP] * chunk[C_PAIRS]) >> 11)
    duration_ns = quotient(duration_ps, 1000)
    load_pj = kind[P_HBM_MW] * quotient(hbm_ps, 1000) + kind[P_FLOP_MW] * quotient(flop_ps, 1000)
    return min(kind[P_FLOOR_MW] * duration_ns + load_pj, kind[P_LIGHT_MW] * duration_ns + (load_pj >> 10) * kind[P_RISE])


@stage
def series_row(state):
    """Number of the bin of the time series in which now lies; bins double in width when time runs past the last one."""
    series, clock = state.series, state.clock
    if clock[NOW] < clock[BIN_END_PS]:
        return clock[BIN]
    while clock[NOW] // clock[BIN_PS] >= SERIES_BINS:
        half = SERIES_BINS // 2
        for pool in range(len(series)):
            for i in range(half):
                for j in range(len(SERIES_COLUMNS)):
                    series[pool, i, j] = series[pool, 2 * i, j] + series[pool, 2 * i + 1, j]
            for i in range(half, SERIES_BINS):
                for j in range(len(SERIES_COLUMNS)):
                    series[pool, i, j] = 0
        clock[BIN_PS] *= 2
    clock[BIN] = clock[NOW] // clock[BIN_PS]
    clock[BIN_END_PS] = (clock[BIN] + 1) * clock[BIN_PS]
    return clock[BIN]


@stage
def begin_step(world, state, worker):
    """Schedule all ranks of a worker, and take the step when it does anything."""
    clock, kind, step = state.clock, world.pools[state.workers[worker, W_POOL]], state.workers[worker, W_STEPS]
    first, size = state.workers[worker, W_FIRST], state.workers[worker, W_RANKS]
    queries, prefill, gave_way, parked = 0, 0, 0, 0
    for rank in range(first, first + size):
        schedule(world, state, rank, step)
        chunk = state.chunk[rank]
        queries += chunk[C_SERVED] * (1 + kind[P_DRAFTS]) + chunk[C_TOKENS]
        prefill += chunk[C_TOKENS]
        gave_way += chunk[C_GAVE_WAY]
        parked += chunk[C_PARKED]
    if queries == 0 and gave_way == 0:
        if parked == 0:
            clock[FAULT] = 1
        return
    take_step(world, state, worker, queries, prefill)


@stage
def take_step(world, state, worker, queries, prefill):
    """Take the step that the ranks of a worker have scheduled, and book it."""
    duration_ps, energy_uj, shared_ps, context_ps, decode_ps, prefill_ps, wait_ps = step_times(world, state, worker, queries, prefill)
    log_step(state, worker, duration_ps, energy_uj, queries)
    duration_ns = quotient(duration_ps, 1000)
    book_steps(
        world, state, worker, 1, duration_ns, quotient(duration_ns, 1000), energy_uj, quotient(shared_ps, 1000), quotient(context_ps, 1000),
        quotient(decode_ps, 1000), quotient(prefill_ps, 1000), quotient(wait_ps, 1000),
    )  # fmt: skip
    state.workers[worker, W_STEPS] += 1
    state.workers[worker, W_END_PS] = state.clock[NOW] + duration_ps


@tiny
def log_step(state, worker, duration_ps, energy_uj, queries):
    log(state.events, state.clock, state.ranks, EVENT_STEP, state.workers[worker, W_FIRST], -1, duration_ps, energy_uj, queries)


@tiny
def step_times(world, state, worker, queries, prefill):
    """Of the step that the ranks of a worker have scheduled: how long it takes, and its energy in microjoules; of that time what weights
    take and, at the rank that sets it, context, decode and prefill; and what the other ranks wait for it in all. Times in ps."""
    ranks, pool = state.ranks, state.workers[worker, W_POOL]
    first, size, kind = state.workers[worker, W_FIRST], state.workers[worker, W_RANKS], world.pools[pool]
    shared_ps = world.spans[0, pool, min(queries, kind[P_SHARED_LAST])]
    experts_ps = quotient(kind[P_EXPERT_PS] * prefill, size) if prefill > 0 else 0
    slowest, duration_ps, decode_ps, prefill_ps, context_ps, sum_ps, slow = 0, 0, 0, 0, 0, 0, 1 << 10
    for turn in range(2 if kind[P_SLOW_LAST] > 0 else 1):  # at full clock; then as slow as the power cap makes each rank
        slowest, sum_ps, full_clock_ps = -1, 0, duration_ps
        for rank in range(first, first + size):
            chunk = state.chunk[rank]
            n, b = chunk[C_TOKENS], chunk[C_SERVED]
            context = quotient(ranks[rank, R_CONTEXT_MILLI], 1000) if b > 0 else 0
            if turn > 0:
                milliwatts = quotient(wanted_pj(world, state, rank, full_clock_ps, queries), max(1, quotient(full_clock_ps, 1000)))
                slow = world.spans[2, pool, min(quotient(milliwatts, 1000), kind[P_SLOW_LAST])]
            reads = kind[P_SEQ_PS] * b + ((kind[P_CTX_FP] * context) >> 10)
            verify = (kind[P_DECODE_PS] * b * (1 + kind[P_DRAFTS]) * slow) >> 10
            own = kind[P_PREFILL_PS] - kind[P_EXPERT_PS]
            fill = ((own * n + experts_ps + ((kind[P_PAIR_FP] * chunk[C_PAIRS]) >> 11)) * slow) >> 10
            sum_ps += reads + verify + fill
            if reads + verify + fill > slowest:
                slowest, context_ps, decode_ps, prefill_ps = reads + verify + fill, reads, verify, fill
        duration_ps = kind[P_FLOOR_PS] + shared_ps + slowest
    energy_uj = 0
    for rank in range(first, first + size):
        pj = min(wanted_pj(world, state, rank, duration_ps, queries), kind[P_CAP_MW] * quotient(duration_ps, 1000))
        energy_uj += quotient(kind[P_GPUS] * pj, 1_000_000)
    return duration_ps, energy_uj, shared_ps, context_ps, decode_ps, prefill_ps, slowest * size - sum_ps


@tiny
def book_steps(
    world, state, worker, steps, busy_ns, busy_us, energy_uj, shared_ns, context_ns, decode_ns, prefill_ns, wait_ns,
):  # fmt: skip
    """Add steps of a worker to the time series and, inside the steady window, to the totals. They differ in their length alone, begin in
    one bin and on one side of the window's opening, and now is when one of them begins. Times and energy are summed over the steps, each
    in whole units; but weights take ``shared_ns`` in every step."""
    ranks, pool = state.ranks, state.workers[worker, W_POOL]
    totals, kind, first = state.totals[pool], world.pools[pool], state.workers[worker, W_FIRST]
    steady = state.clock[NOW] >= world.rules[U_WINDOW]
    decoding, served, prefill, cached, used_blocks, waiting = 0, 0, 0, 0, 0, 0
    for rank in range(first, first + state.workers[worker, W_RANKS]):
        chunk = state.chunk[rank]
        decoding += ranks[rank, R_DECODING]
        served += chunk[C_SERVED]
        prefill += chunk[C_TOKENS]
        cached += chunk[C_CACHED]
        waiting += ranks[rank, R_WAITING]
        used = kind[P_BLOCKS] - free_blocks(ranks, rank)
        used_blocks += used
        if steady:
            totals[T_PEAK] = max(totals[T_PEAK], used)
            if chunk[C_BLOCKED] != BLOCKED_NOT:
                totals[T_BLOCKED_MEMORY - BLOCKED_MEMORY + chunk[C_BLOCKED]] += busy_ns
    gained = steps * quotient(served * kind[P_ACCEPT], 1000)
    row = state.series[pool, series_row(state)]  # in the order of SERIES_COLUMNS
    row[0] += steps
    row[1] += busy_ns
    row[2] += energy_uj
    row[3] += decoding * busy_ns
    row[4] += steps * prefill
    row[5] += gained
    row[6] += steps * cached
    row[7] += used_blocks * busy_us
    row[8] += waiting * busy_ns
    if steady:
        totals[T_STEPS] += steps
        totals[T_BUSY] += busy_ns
        totals[T_ENERGY] += energy_uj
        totals[T_FLOOR] += steps * quotient(kind[P_FLOOR_PS], 1000)
        totals[T_SHARED] += steps * shared_ns
        totals[T_CONTEXT] += context_ns
        totals[T_DECODE] += decode_ns
        totals[T_PREFILL] += prefill_ns
        totals[T_LOCKSTEP] += wait_ns
        totals[T_PREFILL_TOKENS] += steps * prefill
        totals[T_DECODE_TOKENS] += gained
        totals[T_DECODE_SEQ] += decoding * busy_ns
        totals[T_USED] += used_blocks * busy_us


@tiny
def next_phase(ranks, rank, period):
    """Where in its growth period the decode step after the next lies."""
    return ranks[rank, R_PHASE] + 1 if ranks[rank, R_PHASE] + 1 < period else 0


@tiny
def tick(ranks, kind, rank):
    """A decode step of a rank is over: its calls' contexts have grown."""
    ranks[rank, R_CONTEXT_MILLI] += ranks[rank, R_DECODING] * kind[P_ACCEPT]
    ranks[rank, R_CLOCK] += 1
    ranks[rank, R_PHASE] = next_phase(ranks, rank, kind[P_PERIOD])
    ranks[rank, R_RATIO_MICRO] = max(kind[P_RATIO_MIN], ranks[rank, R_RATIO_MICRO] - kind[P_RATIO_FALL])


@stage
def end_step(world, state, worker):
    """Tokens come out: calls end, prefilled calls start to decode or hand over their KV."""
    lanes, ranks, kind = state.lanes, state.ranks, world.pools[state.workers[worker, W_POOL]]
    first = state.workers[worker, W_FIRST]
    for rank in range(first, first + state.workers[worker, W_RANKS]):
        if state.chunk[rank, C_DECODES] == 1:
            heap = state.leaving[rank]
            tick(ranks, kind, rank)
            while ranks[rank, R_DECODING] > 0 and heap[0, Q_LAST_STEP] == ranks[rank, R_CLOCK] - 1:
                lane = heap[0, Q_LANE]
                leave_decode(world, state, rank, lane)
                look_ahead_leaving(state, rank)
                over = lanes[lane, L_STATE] == DRAIN
                if not over:
                    end_call(world, state, rank, lane)
                    over = not drains(world, state, rank, lane)
                if over:
                    release(world, state, rank, lane)
                else:
                    enter_decode(world, state, rank, lane, 1)
        if ranks[rank, R_PREFILLING] > 0:
            end_prefills(world, state, rank)
        if kind[P_ROLE] == ROLE_DECODE:
            ask_claim(state, rank)
    state.workers[worker, W_END_PS] = NEVER


@stage
def end_prefills(world, state, rank):
    """Calls whose known tokens are all computed emit a token."""
    lanes, ranks, kind = state.lanes, state.ranks, world.pools[state.ranks[rank, R_POOL]]
    kept, size = 0, world.rules[U_BLOCK]
    for i in range(ranks[rank, R_PREFILLING]):
        lane = state.filling[rank, i]
        if kind[P_VISIBLE] == VISIBLE_RESULT:
            hash_blocks(world, state, rank, lane, min(lanes[lane, L_COMPUTED] // size, lanes[lane, L_HELD]))
        if lanes[lane, L_COMPUTED] < lanes[lane, L_KNOWN]:
            if kind[P_ROLE] == ROLE_PREFILL and world.rules[U_TRANSFER] == TRANSFER_CHUNK:
                move(world, state, lane, lanes[lane, L_COMPUTED], False)
            state.filling[rank, kept] = lane
            kept += 1
        else:
            finish_prefill(world, state, rank, lane)
    ranks[rank, R_PREFILLING] = kept


@stage
def finish_prefill(world, state, rank, lane):
    """All known tokens are computed: a token comes out, or the KV goes to a decode rank, or both."""
    lanes, kind = state.lanes, world.pools[state.ranks[rank, R_POOL]]
    if lanes[lane, L_PREFILLED_PS] < 0:
        lanes[lane, L_PREFILLED_PS] = state.clock[NOW]
    keep_tail(world, state, rank, lane, lanes[lane, L_KNOWN])
    if kind[P_ROLE] != ROLE_PREFILL or world.rules[U_FIRST] == FIRST_BY_PREFILL:
        lanes[lane, L_KNOWN] += 1
        if lanes[lane, L_FIRST_PS] < 0:
            lanes[lane, L_FIRST_PS] = state.clock[NOW]
            log(state.events, state.clock, state.ranks, EVENT_FIRST, rank, lane, lanes[lane, L_OUTPUT], lanes[lane, L_STEPS_LEFT], 0)
        else:
            lanes[lane, L_STEPS_LEFT] -= 1
        if lanes[lane, L_STEPS_LEFT] == 0:
            end_call(world, state, rank, lane)
            if not drains(world, state, rank, lane):
                release(world, state, rank, lane)
                return
            lanes[lane, L_STEPS_LEFT] = 1
        else:
            lanes[lane, L_STATE] = DECODE
    if kind[P_ROLE] == ROLE_PREFILL:
        hand_over(world, state, rank, lane)
    else:
        enter_decode(world, state, rank, lane, lanes[lane, L_STEPS_LEFT])


@stage
def hand_over(world, state, rank, lane):
    """Leave the seat, keep the blocks until the KV has moved."""
    lanes, ranks = state.lanes, state.ranks
    leave_seat(world, state, rank, lane)
    ranks[rank, R_PINNED] += 1
    state.workers[ranks[rank, R_WORKER], W_LOAD] -= 1
    lanes[lane, L_STATE] = PREFILLED
    if lanes[lane, L_TARGET] >= 0:
        log(state.events, state.clock, state.ranks, EVENT_PREFILLED, rank, lane, lanes[lane, L_KNOWN], -1, 0)
        move(world, state, lane, lanes[lane, L_PROMPT], True)
    else:
        queue_for_claim(world, state, lane)
        log(state.events, state.clock, state.ranks, EVENT_PREFILLED, rank, lane, lanes[lane, L_KNOWN], lanes[lane, L_TARGET], 0)


# ------------ steps in which nobody joins and nobody leaves


@stage
def steps_alone(world, state, worker):
    """Ends of steps of a worker, the one under way first, at which only tokens come out if nothing happens from outside."""
    ranks, steps = state.ranks, NEVER
    first = state.workers[worker, W_FIRST]
    for rank in range(first, first + state.workers[worker, W_RANKS]):
        chunk = state.chunk[rank]
        if chunk[C_DECODES] == 0 or chunk[C_TOKENS] + chunk[C_CACHED] + chunk[C_BLOCKED] + chunk[C_GAVE_WAY] + chunk[C_PARKED] > 0:
            return 0
        if ranks[rank, R_WAITING] + ranks[rank, R_LANDED] + ranks[rank, R_PREFILLING] > 0:
            return 0
        if ranks[rank, R_SATURATED] + ranks[rank, R_PAUSE] + ranks[rank, R_CLAIM_BLOCKED] > 0:
            return 0
        if ranks[rank, R_DECODING] > 0:
            steps = min(steps, state.leaving[rank, 0, Q_LAST_STEP] - ranks[rank, R_CLOCK])
    return steps


@stage
def growth(world, state, worker):
    """Blocks that the ranks of a worker take in their next decode step; -1 where one of them has not so many."""
    ranks, period, blocks = state.ranks, world.pools[state.workers[worker, W_POOL], P_PERIOD], 0
    first = state.workers[worker, W_FIRST]
    for rank in range(first, first + state.workers[worker, W_RANKS]):
        more = state.growing[rank, next_phase(ranks, rank, period)]
        if more > free_blocks(state.ranks, rank):
            return -1
        blocks += more
    return blocks


@stage
def booked_until(world, state):
    """The time before which steps are booked as one that begins now: the end of its bin, or the opening of the steady window."""
    series_row(state)
    end_ps, window_ps = state.clock[BIN_END_PS], world.rules[U_WINDOW]
    return min(end_ps, window_ps) if state.clock[NOW] < window_ps else end_ps


@stage
def coast(world, state, worker, left, until_ps, event_rows):
    """End the step under way of a worker and take the next ones, ``left`` at most and as long as all that happens before ``until_ps`` is
    that tokens come out: what `end_step` and `begin_step` do then, without looking for the rest, and with one booking for all that differ
    only in their length. Whether it took any."""
    ranks, clock, kind = state.ranks, state.clock, world.pools[state.workers[worker, W_POOL]]
    first, size = state.workers[worker, W_FIRST], state.workers[worker, W_RANKS]
    queries, taken, same_until_ps = 0, 0, 0
    for rank in range(first, first + size):
        queries += ranks[rank, R_DECODING] * (1 + kind[P_DRAFTS])
    steps, busy_ns, busy_us, energy_uj, shared_ps, context_ns, decode_ns, wait_ns = 0, 0, 0, 0, 0, 0, 0, 0
    now = state.workers[worker, W_END_PS]
    while True:
        blocks = growth(world, state, worker)
        over = blocks < 0 or taken == left or now >= until_ps or clock[EVENT_ROWS] > event_rows
        if steps > 0 and (over or blocks > 0 or now >= same_until_ps):
            shared_ns = quotient(shared_ps, 1000)
            book_steps(world, state, worker, steps, busy_ns, busy_us, energy_uj, shared_ns, context_ns, decode_ns, 0, wait_ns)
            steps = 0
        if over:
            break
        clock[NOW] = now
        if steps == 0:
            same_until_ps = booked_until(world, state)
            busy_ns, busy_us, energy_uj, context_ns, decode_ns, wait_ns = 0, 0, 0, 0, 0, 0
        for rank in range(first, first + size):
            tick(ranks, kind, rank)
            if blocks > 0:
                take_blocks(world, state, rank, state.growing[rank, ranks[rank, R_PHASE]])
            log(state.events, state.clock, state.ranks, EVENT_RANK, rank, -1, ranks[rank, R_DECODING], 0, free_blocks(ranks, rank))
        duration_ps, uj, shared_ps, context_ps, decode_ps, _, wait_ps = step_times(world, state, worker, queries, 0)
        log_step(state, worker, duration_ps, uj, queries)
        steps, taken, duration_ns, now = steps + 1, taken + 1, quotient(duration_ps, 1000), now + duration_ps
        busy_ns, busy_us, energy_uj = busy_ns + duration_ns, busy_us + quotient(duration_ns, 1000), energy_uj + uj
        context_ns, decode_ns = context_ns + quotient(context_ps, 1000), decode_ns + quotient(decode_ps, 1000)
        wait_ns += quotient(wait_ps, 1000)
    state.workers[worker, W_END_PS] = now
    state.workers[worker, W_STEPS] += taken
    clock[COASTED] += taken
    return taken > 0


# ------------ the loop


@kept(SOURCES, error_model="numpy", _nrt=False)
def advance(world, state):
    """Run until the stop rule, the hard end, or until the rows for records are nearly full (then make them more and call again).

    At one instant the order is: steps end (by worker), lanes send or their KV lands (by lane), decode seats are claimed (by rank), the
    stop rule, steps begin (by worker).
    """
    clock, lanes, workers = state.clock, state.lanes, state.workers
    event_rows = len(state.events) - 16 * len(lanes) - 2 * len(state.ranks) - len(workers) if clock[LOGGING] == 1 else NEVER
    while True:
        if clock[CALL_ROWS] + len(lanes) > len(state.calls):
            return ROWS_FULL
        if clock[EVENT_ROWS] > event_rows:
            return ROWS_FULL
        now, others_ps, next_worker = NEVER, state.sends[0, 0] if clock[SENDS] > 0 else NEVER, 0
        for worker in range(len(workers)):
            if workers[worker, W_END_PS] < now:
                others_ps = min(others_ps, now)
                now, next_worker = workers[worker, W_END_PS], worker
            else:
                others_ps = min(others_ps, workers[worker, W_END_PS])
        if now < others_ps:
            alone = steps_alone(world, state, next_worker)
            if alone > 0 and coast(world, state, next_worker, alone, min(others_ps, world.rules[U_MAX_PS] + 1), event_rows):
                continue
        ends_ps, now = now, min(now, others_ps)
        if now == NEVER:
            return FINISHED
        if now > world.rules[U_MAX_PS]:
            clock[NOW] = world.rules[U_MAX_PS]
            return FINISHED
        clock[NOW] = now
        for worker in range(next_worker if ends_ps == now else len(workers), len(workers)):
            if workers[worker, W_END_PS] == now:
                end_step(world, state, worker)
        while clock[SENDS] > 0 and state.sends[0, 0] == now:
            lane = pop_send(state.sends, state.clock)
            look_ahead_sends(world, state)
            if lanes[lane, L_STATE] == MOVING:
                land(world, state, lane)
            elif lanes[lane, L_STATE] == LOADING:
                end_load(world, state, lane)
            else:
                send(world, state, lane)
        if clock[CLAIMS] == 1:
            clock[CLAIMS] = 0
            for i in range(world.rules[U_DECODERS]):
                if state.ranks[state.groups[1, i], R_CLAIM] == 1:
                    claim_waiting(world, state, state.groups[1, i])
        if clock[HALTED] == 1:
            return FINISHED
        for worker in range(len(workers)):
            if workers[worker, W_END_PS] == NEVER and workers[worker, W_LOAD] > 0 and can_work(world, state, worker):
                begin_step(world, state, worker)
        if clock[FAULT] != 0:
            return STUCK


# ------------ before and after the loop


def pool_row(world: World, pool: Pool) -> list[int]:
    """A pool in the order of the columns ``P_*``."""
    sched, law, power = pool.sched, pool.law, pool.power
    fixed = pool.blocks_per_rank // sched.max_seqs if sched.prefix_cache == CACHE_SLOTS else pool.fixed_blocks
    return [
        *(pool.role, pool.blocks_per_rank, fixed, sched.token_budget, sched.max_seqs, sched.long_prefill_cap, sched.prefill_interval),
        *(sched.admit_reserve, sched.watermark_blocks, sched.pipeline_depth, sched.prefix_cache, sched.drafts, sched.accept_milli),
        *(sched.batch_mode, sched.decode_interval, sched.chunk_round, sched.max_new_tokens, sched.ratio_clip),
        *(1000 * sched.ratio_init_milli, 1000 * sched.ratio_min_milli),
        (sched.ratio_init_milli - sched.ratio_min_milli) * 1000 // sched.ratio_steps,
        *(sched.victim, sched.requeue, sched.visible, sched.similarity_milli, growth_period(sched, world.fleet.block_tokens)),
        *(law.floor_ps, law.seq_ps, law.ctx_fp, law.decode_token_ps, law.prefill_token_ps, law.pair_fp, len(law.shared_ps) - 1),
        *(power.floor_mw, power.hbm_mw, power.flop_mw, power.cap_mw, power.gpus_per_rank),
        *(power.seq_hbm_ps, power.ctx_hbm_fp, power.token_flop_ps, power.pair_flop_fp, len(power.shared_hbm_ps) - 1),
        *(power.light_mw, power.rise_fp, len(power.slow_fp) - 1),
        *(pool.port_fixed_ps, pool.port_token_fp, pool.host_blocks, pool.host_fixed_ps, pool.host_token_fp, pool.tails, law.expert_ps),
    ]


def flat(world: World) -> Load:
    """The world as the loop reads it."""
    fleet, stop = world.fleet, world.stop
    pools = fleet.pools
    rules = np.zeros(RULES, np.int64)
    rules[:] = [
        *(fleet.block_tokens, fleet.router, fleet.decode_router, fleet.first_token, fleet.transfer, fleet.prealloc, fleet.link_latency_ps),
        *(fleet.balance_calls, fleet.balance_milli, fleet.match_milli, world.threads.width, len(fleet.start_ps)),
        *(stop.window_ps, stop.min_window_ps, stop.min_plays, stop.min_agent_plays, stop.max_ps, stop.max_plays_per_agent),
        int(fleet.disaggregated),
        sum(pool.workers * pool.ranks for pool in pools if pool.role != ROLE_DECODE),
        sum(pool.workers * pool.ranks for pool in pools if pool.role == ROLE_DECODE),
        *(len(fleet.order), play_stride(len(fleet.order)), stop.max_plays),
    ]
    calls, threads, tree = world.calls, world.threads, world.tree
    laws = [(pool.law.shared_ps, pool.power.shared_hbm_ps, pool.power.slow_fp) for pool in pools]
    spans = table([law[kind] for kind in range(3) for law in laws])
    columns = (calls.prompt_tokens, calls.output_tokens, calls.decode_steps, calls.tool_ps, calls.stops, calls.leaf, calls.answer)
    return Load(
        calls=side_by_side(*columns, threads.children),
        spawned=threads.child,
        threads=np.column_stack((threads.call, np.append(threads.delay_ps, 0))),
        runs=np.column_stack((calls.first, threads.first, np.append(fleet.order, -1))),
        tree=side_by_side(tree.parent, tree.start, tree.scope, barren_answers(world)),
        pools=np.array([pool_row(world, pool) for pool in pools], np.int64).reshape(len(pools), POOL_COLUMNS),
        spans=spans.reshape(3, len(pools), -1),
        first_growth=np.array([first_growth(pool.sched, fleet.block_tokens) for pool in pools], np.int64),
        rules=rules,
    )


def aligned(rows: int, columns: int) -> Ints:
    """A table of zeros that begins where a line of the processor's cache does."""
    whole = np.zeros(rows * columns + LINE, np.int64)
    first = -whole.ctypes.data // whole.itemsize % LINE
    return whole[first : first + rows * columns].reshape(rows, columns)


def side_by_side(*columns: Ints) -> Ints:
    """Columns as one table."""
    whole = aligned(len(columns[0]), len(columns))
    for i, column in enumerate(columns):
        whole[:, i] = column
    return whole


def table(rows: list[Ints]) -> Ints:
    """Rows of different length as one table, each going on with zeros."""
    whole = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for i, row in enumerate(rows):
        whole[i, : len(row)] = row
    return whole


def new_ranks(world: World) -> tuple[Ints, Ints]:
    """The tables of ranks and of workers, everything empty."""
    ranks: list[tuple[int, int, int, int]] = []
    workers: list[tuple[int, int, int]] = []
    for number, pool in enumerate(world.fleet.pools):
        for _ in range(pool.workers):
            first = len(ranks)
            ranks += [(number, len(workers), i, first if pool.shared_port else first + i) for i in range(pool.ranks)]
            workers.append((number, first, pool.ranks))
    rank_table = np.zeros((len(ranks), RANK_COLUMNS), np.int64)
    rank_table[:, [R_POOL, R_WORKER, R_NUMBER, R_PORT]] = ranks
    pools = [world.fleet.pools[row[0]] for row in ranks]
    rank_table[:, R_PLAIN] = [pool.blocks_per_rank for pool in pools]
    rank_table[:, R_RATIO_MICRO] = [1000 * pool.sched.ratio_init_milli for pool in pools]
    rank_table[:, [R_OLD, R_NEW, R_RUN_HEAD, R_RUN_TAIL, R_WAIT_HEAD, R_WAIT_TAIL, R_LAND_HEAD, R_LAND_TAIL]] = -1
    worker_table = np.zeros((len(workers), WORKER_COLUMNS), np.int64)
    worker_table[:, [W_POOL, W_FIRST, W_RANKS]] = workers
    worker_table[:, W_END_PS] = NEVER
    return rank_table, worker_table


def new_state(world: World, logging: bool) -> State:
    """Everything empty, every agent about to send its first call."""
    fleet, width = world.fleet, world.threads.width
    agents, owners = len(fleet.start_ps), len(fleet.start_ps) + len(fleet.order) + 1
    lanes = aligned(agents * width, LANE_COLUMNS)
    lanes[:, [L_CALL, L_TIP, L_PARENT, L_PLAY]] = -1
    lanes[:, L_AGENT] = np.arange(agents * width) // width
    ranks, workers = new_ranks(world)
    pools = [fleet.pools[number] for number in ranks[:, R_POOL]]
    roles = np.array([pool.role for pool in pools])
    slots = sum(pool.blocks_per_rank for pool in pools) + 2
    seats = min(max(pool.sched.max_seqs for pool in pools), agents * width)
    fixed_slots = any(pool.sched.prefix_cache == CACHE_SLOTS for pool in pools)
    stores = np.zeros((2 * len(ranks), STORE_COLUMNS), np.int64)
    stores[:, Y_SIZE] = [pool.host_blocks for pool in pools] + [pool.tails for pool in pools]
    stores[:, [Y_OLD, Y_NEW]] = -1
    named = int(stores[:, Y_SIZE].sum())
    event_rows = max(65_536, 32 * len(lanes) + 4 * len(ranks) + 2 * len(workers)) if logging else 1
    fixed_seats = np.zeros(
        (len(ranks), max(pool.sched.max_seqs for pool in pools), SEAT_COLUMNS) if fixed_slots else (1, 1, SEAT_COLUMNS), np.int64
    )
    fixed_seats[:, :, [Z_NODE, Z_USED]] = -1
    state = State(
        lanes=lanes,
        sends=np.zeros((len(lanes), 2), np.int64),
        ranks=ranks,
        workers=workers,
        groups=table([np.flatnonzero(roles != ROLE_DECODE), np.flatnonzero(roles == ROLE_DECODE)]),
        slots=np.empty((slots, SLOT_COLUMNS), np.int64),
        stacks=np.empty((2, max(slots, named + 2 * len(stores))), np.int64),
        heads=np.full((len(ranks) + (len(stores) if named else 0), owners), -1, np.int64),
        names=np.empty((named + 2 * len(stores), NAME_COLUMNS), np.int64),
        stores=stores,
        seats=fixed_seats,
        path=np.empty((len(lanes), longest_path(world.tree.parent) + 2, PATH_COLUMNS), np.int64),
        filling=np.zeros((len(ranks), seats), np.int64),
        leaving=np.zeros((len(ranks), seats, LEAVING_COLUMNS), np.int64),
        growing=np.zeros((len(ranks), max(growth_period(pool.sched, fleet.block_tokens) for pool in pools)), np.int64),
        clock=np.zeros(FAULT + 1, np.int64),
        chunk=np.zeros((len(ranks), CHUNK_COLUMNS), np.int64),
        calls=np.empty((len(lanes) + max(call_rows(world), len(lanes)), len(CALL_COLUMNS)), np.int64),
        series=np.zeros((len(fleet.pools), SERIES_BINS, len(SERIES_COLUMNS)), np.int64),
        totals=np.zeros((len(fleet.pools), len(TOTAL_COLUMNS)), np.int64),
        events=np.empty((event_rows, len(EVENT_COLUMNS)), np.int64),
    )
    state.clock[LOGGING] = int(logging)
    state.clock[BIN_PS] = PS_PER_S
    state.clock[ACTIVE] = agents
    state.clock[BEHIND] = agents if world.stop.min_agent_plays > 0 else 0
    first = np.argsort(fleet.start_ps, kind="stable")  # in order, so a heap
    state.sends[:agents] = np.column_stack((fleet.start_ps[first], first * width))
    state.clock[SENDS] = agents
    return state


def barren_answers(world: World) -> Ints:
    """1 for each tree node that holds an answer from which no prompt goes on."""
    barren = np.zeros(len(world.tree.parent), np.int64)
    barren[world.calls.answer[world.calls.answer >= 0]] = 1
    barren[world.tree.parent[world.tree.parent >= 0]] = 0
    barren[world.calls.leaf[world.calls.leaf >= 0]] = 0
    return barren


def longest_path(parent: Ints) -> int:
    """Nodes on the longest path from a root of the tree."""
    depth, level = 0, np.flatnonzero(parent < 0)
    seen = np.full(len(parent), -1, np.int64)
    seen[level] = 1
    while len(level):
        depth += 1
        level = np.flatnonzero((seen < 0) & (parent >= 0) & (seen[parent] == depth))
        seen[level] = depth + 1
    return depth


def call_rows(world: World) -> int:
    """Rows for finished calls to begin with, from 2^16 to 2^22: those of all plays, or eight times as many as the stop rule asks for. Rows
    that are never written take no memory, and a longer table later is a copy."""
    stop, agents = world.stop, len(world.fleet.start_ps)
    plays = agents * stop.max_plays_per_agent or 8 * max(stop.min_plays, stop.min_agent_plays * agents)
    return min(max(1 << 16, plays * len(world.calls.prompt_tokens) // len(world.fleet.order)), 1 << 22)


def longer(rows: Ints, used: int) -> Ints:
    """A table of four times as many rows with the used ones of ``rows``; itself where at most half of them are used."""
    if 2 * used <= len(rows):
        return rows
    more = np.empty((4 * len(rows), rows.shape[1]), np.int64)
    more[:used] = rows[:used]
    return more


class KernelRun:
    """A world while it is played, up to one time after another.

    Where it stops on the way changes nothing: what has come out at the end is, byte for byte, what comes out in one go.

    Parameters
    ----------
    world : World
    events : bool
        Also keep the event log.

    Attributes
    ----------
    ended : bool
        Whether the stop rule, the hard end or the last call was met.

    Raises
    ------
    UserError
        When a quantity could outgrow 64 bits (`bounds`).
    """

    def __init__(self, world: World, events: bool = False) -> None:
        refuse_beyond_64_bits(world)
        self.max_ps, self.ended = world.stop.max_ps, False
        self.load, self.state = flat(world), new_state(world, events)

    def play(self, until_ps: int) -> None:
        """Go on to a time, as if it were the world's hard end; an earlier one than before changes nothing.

        Raises
        ------
        AssertionError
            When a call can never fit its rank (`growth.most_blocks` tells beforehand).
        """
        until_ps = min(until_ps, self.max_ps)
        if self.ended or until_ps < self.state.clock[NOW]:
            return
        self.load.rules[U_MAX_PS] = until_ps
        self.state = advanced(self.load, self.state)
        self.ended = until_ps == self.max_ps or bool(self.state.clock[HALTED]) or int(self.state.clock[NOW]) < until_ps

    @property
    def calls(self) -> Ints:
        """Those finished so far, and not taken, rows of `Output.calls`; going on leaves them as they are."""
        return self.state.calls[: self.state.clock[CALL_ROWS]]

    def take(self) -> Ints:
        """The same, which are no part of the output from now on; going on overwrites them."""
        taken = self.calls
        self.state.clock[CALL_ROWS] = 0
        return taken

    @property
    def plays(self) -> int:
        """How many have ended so far."""
        return int(self.state.clock[PLAYS])

    def output(self) -> Output:
        """What has come out so far; going on leaves it as it is."""
        clock = self.state.clock
        last_bin = int(clock[NOW] // clock[BIN_PS]) + 1
        return Output(
            calls=self.calls,
            series=self.state.series[:, :last_bin].copy(),
            bin_ps=int(clock[BIN_PS]),
            totals=self.state.totals.copy(),
            events=self.state.events[: clock[EVENT_ROWS]],
            end_ps=int(clock[NOW]),
            plays_finished=self.plays,
            calls_issued=int(clock[ISSUED]),
        )


def simulate_kernel(world: World, events: bool = False) -> Output:
    """Run a world to its end.

    Parameters
    ----------
    world : World
    events : bool
        Also return the event log (about ten rows a call and two a step).

    Raises
    ------
    UserError
        When a quantity could outgrow 64 bits (`bounds`).
    AssertionError
        When a call can never fit its rank (`growth.most_blocks` tells beforehand).

    Examples
    --------
    >>> from simulator import load_scenario, simulate_kernel
    >>> from simulator.capacity.build import build_world, prepare
    >>> small = {"workload": {"kind": "fixed", "isl": 2000, "osl": 50}, "phase.min_window_s": 60, "seeds": 1}
    >>> world = build_world(prepare(load_scenario("capacity_h200", small), seed=1), agents=1)
    >>> output = simulate_kernel(world)
    >>> output.calls_issued - len(output.calls)  # one is running when the window ends
    1
    """
    run = KernelRun(world, events)
    run.play(world.stop.max_ps)
    return run.output()


def advanced(load: Load, state: State) -> State:
    """The state at the end of the run, or at its hard end, in longer tables where those for records were full."""
    while (why := advance(load, state)) == ROWS_FULL:
        state = state._replace(calls=longer(state.calls, state.clock[CALL_ROWS]), events=longer(state.events, state.clock[EVENT_ROWS]))
    assert why == FINISHED, "work conserving: a worker has calls but none can run"
    return state
