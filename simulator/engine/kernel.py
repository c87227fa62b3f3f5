"""The event loop in Numba: the same nouns and verbs as `reference`, in O(1) per decode step and O(segments) per call. Inputs are a `World`.

Decoding calls of a rank differ only in when they end, so a rank keeps their number, their summed context, a heap of their last steps and,
for KV growth, how many take a block in each step modulo the growth period. The prefix cache is a radix tree of *slots*: runs of cached
blocks with the same holders. Everything is an integer; state lives in NamedTuples of arrays, so the same code runs with the JIT off.

Stages: tables (heaps, lists) -> prefix cache -> a call's life -> a rank's schedule -> a worker's step -> the loop.
"""

import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit
from numba.extending import register_jitable
from numpy.typing import NDArray

import simulator.engine.world as engine_world
import simulator.workload.arrays as workload_arrays
from simulator.engine.growth import first_growth, growth_period
from simulator.engine.world import (
    CALL_COLUMNS,
    EVENT_ADMIT,
    EVENT_CHUNK,
    EVENT_COLUMNS,
    EVENT_FIRST,
    EVENT_LAST,
    EVENT_PREEMPT,
    EVENT_RANK,
    EVENT_RELEASE,
    EVENT_SEND,
    EVENT_STEP,
    RESERVE_INPUT,
    ROUTER_AFFINITY,
    ROUTER_ROUND_ROBIN,
    SERIES_BINS,
    SERIES_COLUMNS,
    TOTAL_COLUMNS,
    Output,
    World,
)
from simulator.units import PS_PER_S
from simulator.workload.arrays import SCOPE_PLAY, SCOPE_TRAJECTORY

Ints = NDArray[np.int64]
NEVER = np.iinfo(np.int64).max
AWAY, WAITING, PREFILL, DECODE, DRAIN = range(5)
"""Where a lane's call is: not in the fleet, queued, prefilling, decoding, or ended but still in the pipeline."""

(
    NOW, ADMISSIONS, HALTED, PLAYS, ISSUED, ACTIVE, TURN, CALL_ROWS, EVENT_ROWS, BIN_PS, SLOTS_USED, SLOTS_FREE, SENDS, BEHIND, PREEMPTED,
    FAULT,
) = range(16)  # fmt: skip
"""Entries of `State.clock`."""

BLOCKED_NOT, BLOCKED_MEMORY, BLOCKED_SEATS, BLOCKED_BUDGET = range(4)
FINISHED, ROWS_FULL, STUCK = range(3)
"""Why `advance` returned."""

(
    T_STEPS, T_BUSY, T_ENERGY, T_FLOOR, T_SHARED, T_CONTEXT, T_DECODE, T_PREFILL, T_LOCKSTEP, T_PREFILL_TOKENS, T_DECODE_TOKENS,
    T_DECODE_SEQ, T_USED, T_BLOCKED_MEMORY, T_BLOCKED_SEATS, T_BLOCKED_BUDGET, T_PREEMPTIONS, T_EVICTED, T_PEAK,
) = range(len(TOTAL_COLUMNS))  # fmt: skip

# Columns of `State.lanes`, one row per agent: the one call it has in flight. Times in ps, -1 when not yet.
#   home: rank that session affinity bound the play to; known: tokens whose KV the call needs before it can emit its next token;
#   computed: prefilled tokens; order: admission number, the running order within a rank; last_step: worker step after which a decoding call
#   leaves; bucket: worker steps modulo the growth period in which it takes a block; held: blocks held when decoding began (held now, while
#   prefilling), fixed ones not counted; hashed: how many of them are findable; private: 1 once the call computed a copy of a cached
#   block, so that its further blocks stay its own; tip: deepest cache slot held; depth: index in its path of the node in which the next
#   block to hash lies; next, prev: neighbours in the running list or the queue; wake_ps: when the next call is sent.
(
    L_PLAY, L_TRAJECTORY, L_CALL, L_HOME, L_RANK, L_STATE, L_KNOWN, L_COMPUTED, L_STEPS_LEFT, L_ORDER, L_LAST_STEP, L_ENTRY_STEP, L_BUCKET,
    L_HELD, L_HASHED, L_PRIVATE, L_TIP, L_DEPTH, L_PATH_LEN, L_HEAP_AT, L_NEXT, L_PREV, L_SEND_PS, L_ADMIT_PS, L_FIRST_PS, L_LAST_PS,
    L_CACHED, L_PREEMPTED, L_WAKE_PS, L_PATH_END, LANE_COLUMNS,
) = range(31)  # fmt: skip

# Columns of `State.ranks`, one row per rank, all workers' ranks in one table.
#   plain: free blocks without content, taken first; idle_blocks: free blocks with cached content; old, new: ends of the list of idle slots,
#   least recently freed first; context_milli: summed context of the decoding calls in thousandths of a token; bound: plays bound by
#   affinity.
(
    R_PLAIN, R_IDLE_BLOCKS, R_OLD, R_NEW, R_RUN_HEAD, R_RUN_TAIL, R_RUNNING, R_WAIT_HEAD, R_WAIT_TAIL, R_WAITING, R_DECODING,
    R_CONTEXT_MILLI, R_BOUND, R_SATURATED, R_PREFILLING, RANK_COLUMNS,
) = range(16)  # fmt: skip

# Columns of `State.chunk`: what a rank does in the step being scheduled; `C_PAIRS` as in `StepLaw`, `C_BLOCKED` why the head of its queue
# waits.
C_TOKENS, C_PAIRS, C_BLOCKED, C_CACHED, CHUNK_COLUMNS = range(5)

# Columns of `State.slots`, the prefix cache of all ranks: runs of blocks of one tree node, all with the same holders.
#   older, newer: neighbours in the idle list; key: column of `State.heads` in whose list the slot stands, -1 when in its parent's, LOOSE
#   when in none.
(
    S_NODE, S_START, S_BLOCKS, S_REFS, S_PARENT, S_CHILD, S_NEXT, S_PREV, S_OLDER, S_NEWER, S_KEY, SLOT_COLUMNS,
) = range(12)  # fmt: skip
LOOSE = -2


stage = register_jitable(error_model="numpy", _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True)
"""A part of the loop: called from compiled code only, allocates nothing. Leaving the wrappers and reference counts out makes the compile
many times shorter."""


class State(NamedTuple):
    """All that changes during a run. Shapes: A agents, K ranks of all workers, W workers, Q seats of a rank."""

    lanes: Ints
    """(A, LANE_COLUMNS)"""
    ranks: Ints
    """(K, RANK_COLUMNS)"""
    slots: Ints
    """(blocks of all ranks, SLOT_COLUMNS)"""
    unused: Ints
    """Stack of given-back slot numbers."""
    heads: Ints
    """(K, A + trajectories + 1): first root slot of each play, of each trajectory, and of what all share."""
    path: Ints
    """(A, longest path): tree nodes of each lane's call, root first, its answer node last."""
    barren: Ints
    """(nodes,): 1 for an answer that no prompt goes on from."""
    prefills: Ints
    """(K, Q): the prefilling lanes in admission order."""
    heap: Ints
    """(K, Q): decoding lanes, earliest (last_step, order) first."""
    growing: Ints
    """(K, growth period): decoding lanes by bucket."""
    first_growth: Ints
    steps: Ints
    """(W,): steps begun."""
    end_ps: Ints
    """(W,): end of the step under way, NEVER when idle."""
    load: Ints
    """(W,): calls a worker has, waiting or running."""
    sends: Ints
    """Heap of lanes, earliest (wake_ps, lane) first."""
    clock: Ints
    chunk: Ints
    """(ranks of a worker, CHUNK_COLUMNS)"""
    calls: Ints
    series: Ints
    totals: Ints
    events: Ints
    logging: bool


# ------------ tables


@stage
def log(state, kind, rank, lane, a, b, c, ranks_per_worker):
    if state.logging:
        row = state.events[state.clock[EVENT_ROWS]]
        row[0] = state.clock[NOW]
        row[1] = kind
        row[2] = rank // ranks_per_worker
        row[3] = rank % ranks_per_worker
        row[4] = lane
        row[5] = a
        row[6] = b
        row[7] = c
        state.clock[EVENT_ROWS] += 1


@stage
def send_before(lanes, a, b):
    return lanes[a, L_WAKE_PS] < lanes[b, L_WAKE_PS] or (lanes[a, L_WAKE_PS] == lanes[b, L_WAKE_PS] and a < b)


@stage
def push_send(state, lane, time_ps):
    """Let the lane send its next call at ``time_ps``."""
    heap, lanes = state.sends, state.lanes
    lanes[lane, L_WAKE_PS] = time_ps
    i = state.clock[SENDS]
    state.clock[SENDS] += 1
    while i > 0:
        up = (i - 1) >> 1
        if not send_before(lanes, lane, heap[up]):
            break
        heap[i] = heap[up]
        i = up
    heap[i] = lane


@stage
def pop_send(state):
    """Take the lane that sends first."""
    heap, lanes = state.sends, state.lanes
    top = heap[0]
    state.clock[SENDS] -= 1
    n = state.clock[SENDS]
    lane = heap[n]
    i = 0
    while True:
        c = 2 * i + 1
        if c >= n:
            break
        if c + 1 < n and send_before(lanes, heap[c + 1], heap[c]):
            c += 1
        if not send_before(lanes, heap[c], lane):
            break
        heap[i] = heap[c]
        i = c
    heap[i] = lane
    return top


@stage
def ends_before(lanes, a, b):
    return lanes[a, L_LAST_STEP] < lanes[b, L_LAST_STEP] or (
        lanes[a, L_LAST_STEP] == lanes[b, L_LAST_STEP] and lanes[a, L_ORDER] < lanes[b, L_ORDER]
    )


@stage
def sift_up(heap, lanes, i, lane):
    while i > 0:
        up = (i - 1) >> 1
        if not ends_before(lanes, lane, heap[up]):
            break
        heap[i] = heap[up]
        lanes[heap[i], L_HEAP_AT] = i
        i = up
    heap[i] = lane
    lanes[lane, L_HEAP_AT] = i


@stage
def sift_down(heap, lanes, n, i, lane):
    while True:
        c = 2 * i + 1
        if c >= n:
            break
        if c + 1 < n and ends_before(lanes, heap[c + 1], heap[c]):
            c += 1
        if not ends_before(lanes, heap[c], lane):
            break
        heap[i] = heap[c]
        lanes[heap[i], L_HEAP_AT] = i
        i = c
    heap[i] = lane
    lanes[lane, L_HEAP_AT] = i


@stage
def remove_from_heap(heap, lanes, n, lane):
    """Take ``lane`` out of a heap of ``n``."""
    i = lanes[lane, L_HEAP_AT]
    last = heap[n - 1]
    if last != lane:
        if i > 0 and ends_before(lanes, last, heap[(i - 1) >> 1]):
            sift_up(heap, lanes, i, last)
        else:
            sift_down(heap, lanes, n - 1, i, last)


@stage
def append_running(state, rank, lane):
    lanes, ranks = state.lanes, state.ranks
    lanes[lane, L_ORDER] = state.clock[ADMISSIONS]
    state.clock[ADMISSIONS] += 1
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
def remove_running(state, rank, lane):
    lanes, ranks = state.lanes, state.ranks
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
def queue_back(state, rank, lane):
    lanes, ranks = state.lanes, state.ranks
    lanes[lane, L_NEXT] = -1
    if ranks[rank, R_WAIT_TAIL] >= 0:
        lanes[ranks[rank, R_WAIT_TAIL], L_NEXT] = lane
    else:
        ranks[rank, R_WAIT_HEAD] = lane
    ranks[rank, R_WAIT_TAIL] = lane
    ranks[rank, R_WAITING] += 1


@stage
def queue_front(state, rank, lane):
    lanes, ranks = state.lanes, state.ranks
    lanes[lane, L_NEXT] = ranks[rank, R_WAIT_HEAD]
    if ranks[rank, R_WAIT_HEAD] < 0:
        ranks[rank, R_WAIT_TAIL] = lane
    ranks[rank, R_WAIT_HEAD] = lane
    ranks[rank, R_WAITING] += 1


@stage
def dequeue(state, rank):
    lanes, ranks = state.lanes, state.ranks
    lane = ranks[rank, R_WAIT_HEAD]
    ranks[rank, R_WAIT_HEAD] = lanes[lane, L_NEXT]
    if ranks[rank, R_WAIT_HEAD] < 0:
        ranks[rank, R_WAIT_TAIL] = -1
    ranks[rank, R_WAITING] -= 1
    return lane


# ------------ prefix cache


@stage
def free_blocks(ranks, rank):
    return ranks[rank, R_PLAIN] + ranks[rank, R_IDLE_BLOCKS]


@stage
def to_idle(state, rank, slot):
    """Append a slot that nobody holds any more to the end of the idle list."""
    ranks, slots = state.ranks, state.slots
    slots[slot, S_OLDER] = ranks[rank, R_NEW]
    slots[slot, S_NEWER] = -1
    if ranks[rank, R_NEW] >= 0:
        slots[ranks[rank, R_NEW], S_NEWER] = slot
    else:
        ranks[rank, R_OLD] = slot
    ranks[rank, R_NEW] = slot
    ranks[rank, R_IDLE_BLOCKS] += slots[slot, S_BLOCKS]


@stage
def from_idle(state, rank, slot):
    """Take a slot out of the idle list."""
    ranks, slots = state.ranks, state.slots
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
def unlink(state, rank, slot):
    """Take a slot out of its parent's (or root) list."""
    slots = state.slots
    if slots[slot, S_KEY] == LOOSE:
        return
    before, after = slots[slot, S_PREV], slots[slot, S_NEXT]
    if after >= 0:
        slots[after, S_PREV] = before
    if before >= 0:
        slots[before, S_NEXT] = after
    elif slots[slot, S_KEY] < 0:
        slots[slots[slot, S_PARENT], S_CHILD] = after
    elif state.heads[rank, slots[slot, S_KEY]] == slot:
        state.heads[rank, slots[slot, S_KEY]] = after


@stage
def link(state, rank, slot, parent, key):
    """Put a slot at the front of its parent's (``key`` -1) or a root list."""
    slots = state.slots
    slots[slot, S_PARENT] = parent
    slots[slot, S_KEY] = key
    slots[slot, S_PREV] = -1
    if key >= 0:
        after = state.heads[rank, key]
        state.heads[rank, key] = slot
    else:
        after = slots[parent, S_CHILD]
        slots[parent, S_CHILD] = slot
    slots[slot, S_NEXT] = after
    if after >= 0:
        slots[after, S_PREV] = slot


@stage
def new_slot(state, node, start, blocks, refs):
    slots, clock = state.slots, state.clock
    if clock[SLOTS_FREE] > 0:
        clock[SLOTS_FREE] -= 1
        slot = state.unused[clock[SLOTS_FREE]]
    else:
        slot = clock[SLOTS_USED]
        clock[SLOTS_USED] += 1
    slots[slot, S_NODE] = node
    slots[slot, S_START] = start
    slots[slot, S_BLOCKS] = blocks
    slots[slot, S_REFS] = refs
    slots[slot, S_CHILD] = -1
    return slot


@stage
def take_blocks(world, state, rank, n):
    """Take ``n`` free blocks: those without content first, then the longest idle, each slot from its end."""
    ranks, slots = state.ranks, state.slots
    if n <= ranks[rank, R_PLAIN]:
        ranks[rank, R_PLAIN] -= n
        return
    n -= ranks[rank, R_PLAIN]
    ranks[rank, R_PLAIN] = 0
    if state.clock[NOW] >= world.stop.window_ps:
        state.totals[T_EVICTED] += n
    while n > 0:
        slot = ranks[rank, R_OLD]
        if slots[slot, S_BLOCKS] <= n:
            n -= slots[slot, S_BLOCKS]
            from_idle(state, rank, slot)
            unlink(state, rank, slot)
            state.unused[state.clock[SLOTS_FREE]] = slot
            state.clock[SLOTS_FREE] += 1
        else:
            slots[slot, S_BLOCKS] -= n
            ranks[rank, R_IDLE_BLOCKS] -= n
            n = 0


@stage
def root_key(world, state, lane, parent, node):
    """Root list in which slots of ``node`` stand, or -1 when they stand in the list of their parent slot."""
    scope = world.tree.scope[node]
    if parent >= 0 and world.tree.scope[state.slots[parent, S_NODE]] == scope:
        return -1
    agents = len(state.lanes)
    if scope == SCOPE_PLAY:
        return lane
    if scope == SCOPE_TRAJECTORY:
        return agents + state.lanes[lane, L_TRAJECTORY]
    return agents + len(world.fleet.order)


@stage
def find_slot(world, state, rank, lane, parent, node, start):
    """The slot that holds block ``start`` of a path next after ``parent``, or -1."""
    slots = state.slots
    key = root_key(world, state, lane, parent, node)
    slot = slots[parent, S_CHILD] if key < 0 else state.heads[rank, key]
    while slot >= 0 and not (slots[slot, S_NODE] == node and slots[slot, S_START] == start):
        slot = slots[slot, S_NEXT]
    return slot


@stage
def path_end(world, state, lane, i):
    """Block at which node ``i`` of the lane's path ends: where the next one begins."""
    if i + 1 < state.lanes[lane, L_PATH_LEN]:
        return world.tree.start[state.path[lane, i + 1]]
    return state.lanes[lane, L_PATH_END]


@stage
def match(world, state, rank, lane, most):
    """Leading blocks of the lane's path in the cache, at most ``most``; and how many of them nobody holds. Touches nothing."""
    slots = state.slots
    hit, idle, slot = 0, 0, -1
    for i in range(state.lanes[lane, L_PATH_LEN]):
        node = state.path[lane, i]
        end = min(most, path_end(world, state, lane, i))
        while hit < end:
            slot = find_slot(world, state, rank, lane, slot, node, hit)
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
def split(state, rank, slot, n):
    """Cut the first ``n`` blocks off a slot into a slot of their own, its new parent; return that."""
    slots, ranks = state.slots, state.ranks
    upper = new_slot(state, slots[slot, S_NODE], slots[slot, S_START], n, slots[slot, S_REFS])
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
    elif state.heads[rank, key] == slot:
        state.heads[rank, key] = upper
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
    slots, lanes = state.slots, state.lanes
    at, slot, i = 0, -1, 0
    while at < hit:
        node, end = state.path[lane, i], min(hit, path_end(world, state, lane, i))
        above = slot
        slot = find_slot(world, state, rank, lane, above, node, at)
        if slots[slot, S_BLOCKS] > end - at:
            slot = split(state, rank, slot, end - at)
        if slots[slot, S_KEY] >= 0:  # the slot above does not list it, so it may have grown past it and been split since
            slots[slot, S_PARENT] = above
        if slots[slot, S_REFS] == 0:
            from_idle(state, rank, slot)
        slots[slot, S_REFS] += 1
        at += slots[slot, S_BLOCKS]
        if at == path_end(world, state, lane, i):
            i += 1
    lanes[lane, L_TIP] = slot
    lanes[lane, L_DEPTH] = i
    lanes[lane, L_HASHED] = hit
    lanes[lane, L_PRIVATE] = 0


@stage
def hash_blocks(world, state, rank, lane, upto):
    """Make the lane's blocks findable up to block ``upto`` of its path, unless their content is cached already."""
    if world.sched.prefix_cache == 0:
        return
    slots, lanes = state.slots, state.lanes
    while lanes[lane, L_HASHED] < upto and lanes[lane, L_PRIVATE] == 0 and lanes[lane, L_DEPTH] < lanes[lane, L_PATH_LEN]:
        node = state.path[lane, lanes[lane, L_DEPTH]]
        at, end, tip = lanes[lane, L_HASHED], path_end(world, state, lane, lanes[lane, L_DEPTH]), lanes[lane, L_TIP]
        n = min(upto, end) - at
        if find_slot(world, state, rank, lane, tip, node, at) >= 0:
            lanes[lane, L_PRIVATE] = 1
            return
        if tip >= 0 and slots[tip, S_NODE] == node and slots[tip, S_REFS] == 1 and slots[tip, S_CHILD] < 0:
            slots[tip, S_BLOCKS] += n
        else:
            slot = new_slot(state, node, at, n, 1)
            link(state, rank, slot, tip, root_key(world, state, lane, tip, node))
            lanes[lane, L_TIP] = slot
        lanes[lane, L_HASHED] += n
        if lanes[lane, L_HASHED] == end:
            lanes[lane, L_DEPTH] += 1


@stage
def release_blocks(world, state, rank, lane, held):
    """Give back the lane's ``held`` blocks: the findable ones to the idle list, last block first; the others without content."""
    slots, ranks, lanes = state.slots, state.ranks, state.lanes
    ranks[rank, R_PLAIN] += held + world.fleet.fixed_blocks - lanes[lane, L_HASHED]
    slot = lanes[lane, L_TIP]
    while slot >= 0:
        slots[slot, S_REFS] -= 1
        if slots[slot, S_REFS] == 0:
            to_idle(state, rank, slot)
        slot = slots[slot, S_PARENT]
    lanes[lane, L_TIP] = -1
    lanes[lane, L_HASHED] = 0


# ------------ a call's life


@stage
def fewest_plays(ranks):
    """The rank with the fewest plays bound to it, the first of equals."""
    best = 0
    for rank in range(1, len(ranks)):
        if ranks[rank, R_BOUND] < ranks[best, R_BOUND]:
            best = rank
    return best


@stage
def start_play(world, state, lane):
    """Give the lane its next trajectory, and a rank when sessions have affinity."""
    lanes, ranks, fleet = state.lanes, state.ranks, world.fleet
    lanes[lane, L_PLAY] += 1
    turn = lane + lanes[lane, L_PLAY] * (len(lanes) + 1)
    lanes[lane, L_TRAJECTORY] = fleet.order[turn % len(fleet.order)]
    lanes[lane, L_CALL] = world.calls.first[lanes[lane, L_TRAJECTORY]]
    for rank in range(len(state.heads)):
        state.heads[rank, lane] = -1
    if fleet.router == ROUTER_AFFINITY:
        lanes[lane, L_HOME] = fewest_plays(ranks)
        ranks[lanes[lane, L_HOME], R_BOUND] += 1


@stage
def route(world, state, lane):
    """The rank that takes the lane's next call."""
    ranks, clock = state.ranks, state.clock
    if world.fleet.router == ROUTER_AFFINITY:
        return state.lanes[lane, L_HOME]
    if world.fleet.router == ROUTER_ROUND_ROBIN:
        rank = clock[TURN] % len(ranks)
        clock[TURN] += 1
        return rank
    best = 0
    for rank in range(1, len(ranks)):
        if ranks[rank, R_WAITING] + ranks[rank, R_RUNNING] < ranks[best, R_WAITING] + ranks[best, R_RUNNING]:
            best = rank
    return best


@stage
def trace_path(world, state, lane):
    """Write the tree nodes that the lane's call fills, root first and the end of its answer last."""
    calls, tree = world.calls, world.tree
    call = state.lanes[lane, L_CALL]
    last, tokens = calls.leaf[call], calls.prompt_tokens[call]
    if calls.answer[call] >= 0:
        last, tokens = calls.answer[call], tokens + calls.output_tokens[call] - 1
    end = tokens // world.fleet.block_tokens
    state.lanes[lane, L_PATH_END] = end
    n, node, below = 0, last, end
    while node >= 0:
        if tree.start[node] < below:
            n, below = n + 1, tree.start[node]
        node = tree.parent[node]
    i, node, below = n, last, end
    while node >= 0:
        if tree.start[node] < below:
            i, below = i - 1, tree.start[node]
            state.path[lane, i] = node
        node = tree.parent[node]
    state.lanes[lane, L_PATH_LEN] = n


@stage
def send(world, state, lane):
    """The agent sends its next call: it joins the queue of a rank."""
    lanes, calls = state.lanes, world.calls
    if lanes[lane, L_CALL] < 0:
        start_play(world, state, lane)
    rank = route(world, state, lane)
    call = lanes[lane, L_CALL]
    trace_path(world, state, lane)
    lanes[lane, L_RANK] = rank
    lanes[lane, L_STATE] = WAITING
    lanes[lane, L_KNOWN] = calls.prompt_tokens[call]
    lanes[lane, L_SEND_PS] = state.clock[NOW]
    lanes[lane, L_ADMIT_PS] = -1
    lanes[lane, L_FIRST_PS] = -1
    lanes[lane, L_CACHED] = 0
    lanes[lane, L_PREEMPTED] = 0
    queue_back(state, rank, lane)
    state.load[rank // world.fleet.ranks] += 1
    state.clock[ISSUED] += 1
    number = call - calls.first[lanes[lane, L_TRAJECTORY]]
    log(state, EVENT_SEND, rank, lane, lanes[lane, L_TRAJECTORY], number, lanes[lane, L_PLAY], world.fleet.ranks)


@stage
def grown(lanes, lane, step, period):
    """Blocks the decoding lane has taken in its steps before worker step ``step``."""
    first = lanes[lane, L_ENTRY_STEP] + (lanes[lane, L_BUCKET] - lanes[lane, L_ENTRY_STEP]) % period
    return 0 if first >= step else 1 + (step - 1 - first) // period


@stage
def enter_decode(world, state, rank, lane, step, steps):
    """From worker step ``step`` on, the lane decodes for ``steps`` steps."""
    lanes, ranks = state.lanes, state.ranks
    size, period = world.fleet.block_tokens, state.growing.shape[1]
    slack = max(0, min(size - 1, lanes[lane, L_HELD] * size - (lanes[lane, L_KNOWN] - 1)))
    lanes[lane, L_ENTRY_STEP] = step
    lanes[lane, L_LAST_STEP] = step + steps - 1
    lanes[lane, L_BUCKET] = (step + state.first_growth[slack] - 1) % period
    state.growing[rank, lanes[lane, L_BUCKET]] += 1
    ranks[rank, R_CONTEXT_MILLI] += lanes[lane, L_KNOWN] * 1000
    sift_up(state.heap[rank], lanes, ranks[rank, R_DECODING], lane)
    ranks[rank, R_DECODING] += 1


@stage
def leave_decode(world, state, rank, lane, step):
    """The lane has done its decode steps before worker step ``step``: count its blocks and take it off the books."""
    lanes, ranks = state.lanes, state.ranks
    lanes[lane, L_HELD] += grown(lanes, lane, step, state.growing.shape[1])
    state.growing[rank, lanes[lane, L_BUCKET]] -= 1
    done = step - lanes[lane, L_ENTRY_STEP]
    ranks[rank, R_CONTEXT_MILLI] -= lanes[lane, L_KNOWN] * 1000 + done * world.sched.accept_milli
    remove_from_heap(state.heap[rank], lanes, ranks[rank, R_DECODING], lane)
    ranks[rank, R_DECODING] -= 1
    return done


@stage
def cut_loose(state, rank, lane, answer):
    """Take the slots of an answer that no prompt will ever match out of the tree, so that the slot above can grow; they stay in memory."""
    slots = state.slots
    slot = state.lanes[lane, L_TIP]
    while slot >= 0 and slots[slot, S_NODE] == answer:
        unlink(state, rank, slot)
        slots[slot, S_KEY] = LOOSE
        slot = slots[slot, S_PARENT]


@stage
def release(world, state, rank, lane):
    """The call leaves the rank: its blocks are freed."""
    lanes, calls = state.lanes, world.calls
    call = lanes[lane, L_CALL]
    tokens = calls.prompt_tokens[call] + calls.output_tokens[call] - 1
    hash_blocks(world, state, rank, lane, min(tokens // world.fleet.block_tokens, lanes[lane, L_HELD]))
    if calls.answer[call] >= 0 and state.barren[calls.answer[call]] == 1:
        cut_loose(state, rank, lane, calls.answer[call])
    release_blocks(world, state, rank, lane, lanes[lane, L_HELD])
    remove_running(state, rank, lane)
    state.load[rank // world.fleet.ranks] -= 1
    lanes[lane, L_STATE] = AWAY
    freed = lanes[lane, L_HELD] + world.fleet.fixed_blocks
    log(state, EVENT_RELEASE, rank, lane, freed, free_blocks(state.ranks, rank), 0, world.fleet.ranks)
    next_call(world, state, lane)


@stage
def next_call(world, state, lane):
    """After a call: wait for the tool, then go on in the trajectory, take the next one, or retire."""
    lanes, calls, clock = state.lanes, world.calls, state.clock
    call = lanes[lane, L_CALL]
    wake_ps = max(clock[NOW], lanes[lane, L_LAST_PS] + calls.tool_ps[call])
    if call + 1 < calls.first[lanes[lane, L_TRAJECTORY] + 1]:
        lanes[lane, L_CALL] = call + 1
    else:
        lanes[lane, L_CALL] = -1
        if world.fleet.router == ROUTER_AFFINITY:
            state.ranks[lanes[lane, L_HOME], R_BOUND] -= 1
        if world.stop.max_plays_per_agent > 0 and lanes[lane, L_PLAY] + 1 >= world.stop.max_plays_per_agent:
            clock[ACTIVE] -= 1
            return
    push_send(state, lane, wake_ps)


@stage
def end_call(world, state, rank, lane):
    """The call's last token is out: record it; a finished play may end the run."""
    lanes, calls, clock, stop = state.lanes, world.calls, state.clock, world.stop
    call = lanes[lane, L_CALL]
    lanes[lane, L_LAST_PS] = clock[NOW]
    row = state.calls[clock[CALL_ROWS]]  # in the order of CALL_COLUMNS
    clock[CALL_ROWS] += 1
    row[0] = lane
    row[1] = lanes[lane, L_PLAY]
    row[2] = lanes[lane, L_TRAJECTORY]
    row[3] = call - calls.first[lanes[lane, L_TRAJECTORY]]
    row[4] = rank // world.fleet.ranks
    row[5] = rank % world.fleet.ranks
    row[6] = lanes[lane, L_SEND_PS]
    row[7] = lanes[lane, L_ADMIT_PS]
    row[8] = lanes[lane, L_FIRST_PS]
    row[9] = lanes[lane, L_LAST_PS]
    row[10] = calls.prompt_tokens[call]
    row[11] = lanes[lane, L_CACHED]
    row[12] = calls.output_tokens[call]
    row[13] = lanes[lane, L_PREEMPTED]
    log(state, EVENT_LAST, rank, lane, row[12], row[11], 0, world.fleet.ranks)
    if call + 1 == calls.first[lanes[lane, L_TRAJECTORY] + 1]:
        clock[PLAYS] += 1
        if lanes[lane, L_PLAY] + 1 == stop.min_agent_plays:
            clock[BEHIND] -= 1
        if clock[PLAYS] >= stop.min_plays and clock[BEHIND] == 0 and clock[NOW] >= stop.window_ps + stop.min_window_ps:
            clock[HALTED] = 1


@stage
def token_out(world, state, rank, lane):
    """A call with no decode step left has emitted its last token: it ends, or drains for one more step."""
    lanes, calls = state.lanes, world.calls
    call = lanes[lane, L_CALL]
    end_call(world, state, rank, lane)
    if world.sched.pipeline_depth == 2 and calls.stops[call] == 1:
        lanes[lane, L_STATE] = DRAIN
        lanes[lane, L_KNOWN] = calls.prompt_tokens[call] + calls.output_tokens[call]
        return True
    release(world, state, rank, lane)
    return False


@stage
def preempt(world, state, rank, step):
    """Push the last admitted call of the rank back to the front of the queue: its KV is freed and will be computed again."""
    lanes, ranks, calls = state.lanes, state.ranks, world.calls
    lane = ranks[rank, R_RUN_TAIL]
    call = lanes[lane, L_CALL]
    state.clock[PREEMPTED] += 1
    if lanes[lane, L_STATE] == PREFILL:
        computed = lanes[lane, L_COMPUTED]
        ranks[rank, R_PREFILLING] -= 1
    else:
        done = leave_decode(world, state, rank, lane, step)
        if lanes[lane, L_STATE] == DRAIN:
            release(world, state, rank, lane)
            return
        most = calls.prompt_tokens[call] + calls.output_tokens[call] - 1
        lanes[lane, L_KNOWN] = min(lanes[lane, L_KNOWN] + done * world.sched.accept_milli // 1000, most)
        lanes[lane, L_STEPS_LEFT] -= done
        computed = lanes[lane, L_KNOWN] - 1
        hash_blocks(world, state, rank, lane, min(computed // world.fleet.block_tokens, lanes[lane, L_HELD]))
    release_blocks(world, state, rank, lane, lanes[lane, L_HELD])
    remove_running(state, rank, lane)
    queue_front(state, rank, lane)
    lanes[lane, L_STATE] = WAITING
    lanes[lane, L_PREEMPTED] += 1
    if state.clock[NOW] >= world.stop.window_ps:
        state.totals[T_PREEMPTIONS] += 1
    freed = lanes[lane, L_HELD] + world.fleet.fixed_blocks
    log(state, EVENT_PREEMPT, rank, lane, computed, freed, free_blocks(ranks, rank), world.fleet.ranks)


# ------------ a rank's schedule


@stage
def chunk_tokens(world, state, rank, left, budget):
    """Prefill tokens that a call with ``left`` tokens to compute gets out of ``budget``."""
    cap = world.sched.long_prefill_cap
    if cap > 0 and state.ranks[rank, R_RUNNING] + state.ranks[rank, R_WAITING] > 1:
        left = min(left, cap)
    return min(left, budget)


@stage
def blocks_for(world, tokens):
    return (tokens + world.fleet.block_tokens - 1) // world.fleet.block_tokens


@stage
def prefill_chunk(world, state, rank, lane, tokens):
    """Compute the next ``tokens`` of a prefilling call; its blocks must be free."""
    lanes = state.lanes
    before = lanes[lane, L_COMPUTED]
    lanes[lane, L_COMPUTED] += tokens
    need = blocks_for(world, lanes[lane, L_COMPUTED])
    take_blocks(world, state, rank, need - lanes[lane, L_HELD])
    lanes[lane, L_HELD] = need
    hash_blocks(world, state, rank, lane, lanes[lane, L_COMPUTED] // world.fleet.block_tokens)
    at = rank % world.fleet.ranks
    state.chunk[at, C_TOKENS] += tokens
    state.chunk[at, C_PAIRS] += tokens * (2 * before + tokens)
    log(state, EVENT_CHUNK, rank, lane, tokens, lanes[lane, L_COMPUTED], lanes[lane, L_KNOWN], world.fleet.ranks)


@stage
def serve_running(world, state, rank, step, budget, throttled):
    """Give every running call its tokens and blocks. Returns the budget left and whether a call had to be preempted."""
    lanes, ranks = state.lanes, state.ranks
    period = state.growing.shape[1]
    growing = state.growing[rank, step % period]
    need, left = growing, budget
    if not throttled:
        for i in range(ranks[rank, R_PREFILLING]):
            lane = state.prefills[rank, i]
            tokens = chunk_tokens(world, state, rank, lanes[lane, L_KNOWN] - lanes[lane, L_COMPUTED], left)
            left -= tokens
            need += blocks_for(world, lanes[lane, L_COMPUTED] + tokens) - lanes[lane, L_HELD]
    if need <= free_blocks(ranks, rank):  # all fit: nobody's order matters
        take_blocks(world, state, rank, growing)
        if not throttled:
            for i in range(ranks[rank, R_PREFILLING]):
                lane = state.prefills[rank, i]
                tokens = chunk_tokens(world, state, rank, lanes[lane, L_KNOWN] - lanes[lane, L_COMPUTED], budget)
                if tokens > 0:
                    budget -= tokens
                    prefill_chunk(world, state, rank, lane, tokens)
        return budget, False
    return serve_in_order(world, state, rank, step, budget, throttled)


@stage
def serve_in_order(world, state, rank, step, budget, throttled):
    """As `serve_running` when blocks are short: in admission order, the last admitted call giving way."""
    lanes, ranks = state.lanes, state.ranks
    period = state.growing.shape[1]
    preempted = False
    lane = ranks[rank, R_RUN_HEAD]
    while lane >= 0:
        tokens = 0
        if lanes[lane, L_STATE] != PREFILL:
            need = 1 if lanes[lane, L_BUCKET] == step % period else 0
        elif throttled:
            need = 0
        else:
            tokens = chunk_tokens(world, state, rank, lanes[lane, L_KNOWN] - lanes[lane, L_COMPUTED], budget)
            need = blocks_for(world, lanes[lane, L_COMPUTED] + tokens) - lanes[lane, L_HELD]
        gone = False
        while need > free_blocks(ranks, rank) and not gone:
            gone = ranks[rank, R_RUN_TAIL] == lane
            preempt(world, state, rank, step)
            preempted = True
        if gone:
            break
        if tokens > 0:
            budget -= tokens
            prefill_chunk(world, state, rank, lane, tokens)
        else:
            take_blocks(world, state, rank, need)
        lane = lanes[lane, L_NEXT]
    return budget, preempted


@stage
def admit_waiting(world, state, rank, budget):
    """Admit waiting calls first come, first served, until one does not fit. Returns why the head waits."""
    lanes, ranks, sched = state.lanes, state.ranks, world.sched
    size, fixed = world.fleet.block_tokens, world.fleet.fixed_blocks
    while ranks[rank, R_WAITING] > 0:
        if ranks[rank, R_RUNNING] >= sched.max_seqs:
            return BLOCKED_SEATS
        if budget <= 0:
            return BLOCKED_BUDGET
        lane = ranks[rank, R_WAIT_HEAD]
        known = lanes[lane, L_KNOWN]
        hit, idle = 0, 0
        if sched.prefix_cache == 1:
            hit, idle = match(world, state, rank, lane, (known - 1) // size)
        tokens = chunk_tokens(world, state, rank, known - hit * size, budget)
        upto = known if sched.admit_reserve == RESERVE_INPUT else hit * size + tokens
        need = blocks_for(world, upto) + fixed - hit + idle
        spare = sched.watermark_blocks if ranks[rank, R_RUNNING] > 0 else 0
        if need + spare > free_blocks(ranks, rank):
            return BLOCKED_MEMORY
        dequeue(state, rank)
        append_running(state, rank, lane)
        lanes[lane, L_TIP] = -1
        hold_prefix(world, state, rank, lane, hit)
        take_blocks(world, state, rank, fixed)
        lanes[lane, L_HELD] = hit
        lanes[lane, L_COMPUTED] = hit * size
        lanes[lane, L_STATE] = PREFILL
        if lanes[lane, L_ADMIT_PS] < 0:
            lanes[lane, L_ADMIT_PS] = state.clock[NOW]
            lanes[lane, L_CACHED] = hit * size
        state.prefills[rank, ranks[rank, R_PREFILLING]] = lane
        ranks[rank, R_PREFILLING] += 1
        log(state, EVENT_ADMIT, rank, lane, hit * size, known, free_blocks(ranks, rank), world.fleet.ranks)
        state.chunk[rank % world.fleet.ranks, C_CACHED] += hit * size
        prefill_chunk(world, state, rank, lane, tokens)
        budget -= tokens
    return BLOCKED_NOT


@stage
def schedule(world, state, rank, step):
    """One rank's part of a worker step: who computes what."""
    ranks, sched = state.ranks, world.sched
    at = rank % world.fleet.ranks
    for i in range(CHUNK_COLUMNS):
        state.chunk[at, i] = 0
    budget = sched.token_budget - ranks[rank, R_DECODING] * (1 + sched.drafts)
    throttled = (
        sched.prefill_interval > 1 and step % sched.prefill_interval != 0 and ranks[rank, R_DECODING] > 0 and ranks[rank, R_SATURATED] == 0
    )
    budget, preempted = serve_running(world, state, rank, step, budget, throttled)
    if throttled:
        blocked = BLOCKED_BUDGET if ranks[rank, R_WAITING] > 0 else BLOCKED_NOT
    elif preempted:
        blocked = BLOCKED_MEMORY if ranks[rank, R_WAITING] > 0 else BLOCKED_NOT
    else:
        blocked = admit_waiting(world, state, rank, budget)
    if not throttled:
        ranks[rank, R_SATURATED] = 1 if ranks[rank, R_WAITING] > 0 else 0
    state.chunk[at, C_BLOCKED] = blocked
    log(state, EVENT_RANK, rank, -1, ranks[rank, R_DECODING], state.chunk[at, C_TOKENS], free_blocks(ranks, rank), world.fleet.ranks)


# ------------ a worker's step


@stage
def rank_energy(world, state, rank, duration_ps, queries):
    """Microjoules that the GPUs of a rank draw in a step."""
    power, ranks = world.power, state.ranks
    at = rank % world.fleet.ranks
    context = ranks[rank, R_CONTEXT_MILLI] // 1000
    tokens = ranks[rank, R_DECODING] * (1 + world.sched.drafts) + state.chunk[at, C_TOKENS]
    hbm_ps = power.shared_hbm_ps[min(queries, len(power.shared_hbm_ps) - 1)]
    hbm_ps += power.seq_hbm_ps * ranks[rank, R_DECODING] + ((power.ctx_hbm_fp * context) >> 10)
    flop_ps = power.token_flop_ps * tokens + ((power.pair_flop_fp * state.chunk[at, C_PAIRS]) >> 11)
    duration_ns = duration_ps // 1000
    pj = power.floor_mw * duration_ns + power.hbm_mw * (hbm_ps // 1000) + power.flop_mw * (flop_ps // 1000)
    return power.gpus_per_rank * min(pj, power.cap_mw * duration_ns) // 1_000_000


@stage
def series_row(state):
    """Number of the bin of the time series in which now lies; bins double in width when time runs past the last one."""
    series, clock = state.series, state.clock
    while clock[NOW] // clock[BIN_PS] >= len(series):
        half = len(series) // 2
        for i in range(half):
            for j in range(series.shape[1]):
                series[i, j] = series[2 * i, j] + series[2 * i + 1, j]
        for i in range(half, len(series)):
            for j in range(series.shape[1]):
                series[i, j] = 0
        clock[BIN_PS] *= 2
    return clock[NOW] // clock[BIN_PS]


@stage
def begin_step(world, state, worker):
    """Schedule all ranks of a worker, find how long the step takes, and book it."""
    law, fleet, ranks, clock = world.law, world.fleet, state.ranks, state.clock
    step = state.steps[worker]
    first, drafts = worker * fleet.ranks, world.sched.drafts
    queries, preempted = 0, clock[PREEMPTED]
    for rank in range(first, first + fleet.ranks):
        schedule(world, state, rank, step)
        queries += ranks[rank, R_DECODING] * (1 + drafts) + state.chunk[rank - first, C_TOKENS]
    if queries == 0 and clock[PREEMPTED] == preempted:
        clock[FAULT] = 1
    slowest, decode_ps, prefill_ps, context_ps, sum_ps = -1, 0, 0, 0, 0
    for rank in range(first, first + fleet.ranks):
        n, pairs = state.chunk[rank - first, C_TOKENS], state.chunk[rank - first, C_PAIRS]
        b = ranks[rank, R_DECODING]
        reads = law.seq_ps * b + ((law.ctx_fp * (ranks[rank, R_CONTEXT_MILLI] // 1000)) >> 10)
        verify = law.decode_token_ps * b * (1 + drafts)
        fill = law.prefill_token_ps * n + ((law.pair_fp * pairs) >> 11)
        sum_ps += reads + verify + fill
        if reads + verify + fill > slowest:
            slowest, context_ps, decode_ps, prefill_ps = reads + verify + fill, reads, verify, fill
    shared_ps = law.shared_ps[min(queries, len(law.shared_ps) - 1)]
    duration_ps = law.floor_ps + shared_ps + slowest
    energy_uj = 0
    for rank in range(first, first + fleet.ranks):
        energy_uj += rank_energy(world, state, rank, duration_ps, queries)
    log(state, EVENT_STEP, first, -1, duration_ps, energy_uj, queries, fleet.ranks)
    book_step(world, state, worker, duration_ps, energy_uj)
    if clock[NOW] >= world.stop.window_ps:
        totals = state.totals
        totals[T_FLOOR] += law.floor_ps // 1000
        totals[T_SHARED] += shared_ps // 1000
        totals[T_CONTEXT] += context_ps // 1000
        totals[T_DECODE] += decode_ps // 1000
        totals[T_PREFILL] += prefill_ps // 1000
        totals[T_LOCKSTEP] += (slowest * fleet.ranks - sum_ps) // 1000
    state.steps[worker] += 1
    state.end_ps[worker] = clock[NOW] + duration_ps


@stage
def book_step(world, state, worker, duration_ps, energy_uj):
    """Add a step to the time series and, inside the steady window, to the totals."""
    ranks, totals = state.ranks, state.totals
    first, duration_ns = worker * world.fleet.ranks, duration_ps // 1000
    steady = state.clock[NOW] >= world.stop.window_ps
    decoding, prefill, cached, used_blocks, waiting = 0, 0, 0, 0, 0
    for rank in range(first, first + world.fleet.ranks):
        decoding += ranks[rank, R_DECODING]
        prefill += state.chunk[rank - first, C_TOKENS]
        cached += state.chunk[rank - first, C_CACHED]
        waiting += ranks[rank, R_WAITING]
        used = world.fleet.blocks_per_rank - free_blocks(ranks, rank)
        used_blocks += used
        if steady:
            totals[T_PEAK] = max(totals[T_PEAK], used)
            if state.chunk[rank - first, C_BLOCKED] != BLOCKED_NOT:
                totals[T_BLOCKED_MEMORY - BLOCKED_MEMORY + state.chunk[rank - first, C_BLOCKED]] += duration_ns
    gained = decoding * world.sched.accept_milli // 1000
    row = state.series[series_row(state)]  # in the order of SERIES_COLUMNS
    row[0] += 1
    row[1] += duration_ns
    row[2] += energy_uj
    row[3] += decoding * duration_ns
    row[4] += prefill
    row[5] += gained
    row[6] += cached
    row[7] += used_blocks * duration_ns
    row[8] += waiting * duration_ns
    if steady:
        totals[T_STEPS] += 1
        totals[T_BUSY] += duration_ns
        totals[T_ENERGY] += energy_uj
        totals[T_PREFILL_TOKENS] += prefill
        totals[T_DECODE_TOKENS] += gained
        totals[T_DECODE_SEQ] += decoding * duration_ns
        totals[T_USED] += used_blocks * duration_ns


@stage
def end_step(world, state, worker):
    """Tokens come out: calls end, prefilled calls start to decode."""
    lanes, ranks = state.lanes, state.ranks
    step = state.steps[worker] - 1
    first = worker * world.fleet.ranks
    for rank in range(first, first + world.fleet.ranks):
        heap = state.heap[rank]
        ranks[rank, R_CONTEXT_MILLI] += ranks[rank, R_DECODING] * world.sched.accept_milli
        while ranks[rank, R_DECODING] > 0 and lanes[heap[0], L_LAST_STEP] == step:
            lane = heap[0]
            leave_decode(world, state, rank, lane, step + 1)
            if lanes[lane, L_STATE] == DRAIN:
                release(world, state, rank, lane)
            elif token_out(world, state, rank, lane):
                enter_decode(world, state, rank, lane, step + 1, 1)
        end_prefills(world, state, rank, step)
    state.end_ps[worker] = NEVER


@stage
def end_prefills(world, state, rank, step):
    """Calls whose known tokens are all computed emit a token."""
    lanes, ranks = state.lanes, state.ranks
    kept = 0
    for i in range(ranks[rank, R_PREFILLING]):
        lane = state.prefills[rank, i]
        if lanes[lane, L_COMPUTED] < lanes[lane, L_KNOWN]:
            state.prefills[rank, kept] = lane
            kept += 1
            continue
        lanes[lane, L_KNOWN] += 1
        if lanes[lane, L_FIRST_PS] < 0:
            lanes[lane, L_FIRST_PS] = state.clock[NOW]
            lanes[lane, L_STEPS_LEFT] = world.calls.decode_steps[lanes[lane, L_CALL]]
            output = world.calls.output_tokens[lanes[lane, L_CALL]]
            log(state, EVENT_FIRST, rank, lane, output, lanes[lane, L_STEPS_LEFT], 0, world.fleet.ranks)
        else:
            lanes[lane, L_STEPS_LEFT] -= 1
        lanes[lane, L_STATE] = DECODE
        if lanes[lane, L_STEPS_LEFT] > 0:
            enter_decode(world, state, rank, lane, step + 1, lanes[lane, L_STEPS_LEFT])
        elif token_out(world, state, rank, lane):
            enter_decode(world, state, rank, lane, step + 1, 1)
    ranks[rank, R_PREFILLING] = kept


# ------------ the loop


@stage
def run_loop(world, state):
    """Run until the stop rule, the hard end, or until the rows for records are nearly full (then copy them out and call again).

    At one instant the order is: steps end (by worker), agents send (by agent), the stop rule, steps begin (by worker).
    """
    clock, lanes = state.clock, state.lanes
    workers, agents = world.fleet.workers, len(lanes)
    while True:
        if clock[CALL_ROWS] + agents > len(state.calls):
            return ROWS_FULL
        if state.logging and clock[EVENT_ROWS] + 8 * agents + 2 * len(state.ranks) + workers > len(state.events):
            return ROWS_FULL
        now = NEVER
        for worker in range(workers):
            now = min(now, state.end_ps[worker])
        if clock[SENDS] > 0:
            now = min(now, lanes[state.sends[0], L_WAKE_PS])
        if now == NEVER:
            return FINISHED
        if now > world.stop.max_ps:
            clock[NOW] = world.stop.max_ps
            return FINISHED
        clock[NOW] = now
        for worker in range(workers):
            if state.end_ps[worker] == now:
                end_step(world, state, worker)
        while clock[SENDS] > 0 and lanes[state.sends[0], L_WAKE_PS] == now:
            send(world, state, pop_send(state))
        if clock[HALTED] == 1:
            return FINISHED
        for worker in range(workers):
            if state.end_ps[worker] == NEVER and state.load[worker] > 0:
                begin_step(world, state, worker)
        if clock[FAULT] != 0:
            return STUCK


def entry(sources):
    """The compiled loop.

    Numba keys its cache on this file and on what a function closes over: ``sources`` stands for the other files.
    """

    @njit(cache=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
    def advance(world, state):
        return run_loop(world, state) if sources >= 0 else STUCK

    return advance


advance = entry(zlib.crc32(b"".join(Path(str(module.__file__)).read_bytes() for module in (engine_world, workload_arrays))))


def new_state(world: World, logging: bool) -> State:
    """Everything empty, every agent about to send its first call."""
    fleet, sched = world.fleet, world.sched
    agents, ranks = len(fleet.start_ps), fleet.workers * fleet.ranks
    slots = ranks * fleet.blocks_per_rank + 2

    lanes = np.zeros((agents, LANE_COLUMNS), np.int64)
    lanes[:, [L_PLAY, L_CALL, L_TIP]] = -1
    table = np.zeros((ranks, RANK_COLUMNS), np.int64)
    table[:, R_PLAIN] = fleet.blocks_per_rank
    table[:, [R_OLD, R_NEW, R_RUN_HEAD, R_RUN_TAIL, R_WAIT_HEAD, R_WAIT_TAIL]] = -1
    seats = min(sched.max_seqs, agents)
    chunk_rows = max(65_536, 2 * agents)
    event_rows = max(65_536, 16 * agents + 4 * ranks + 2 * fleet.workers) if logging else 1
    state = State(
        lanes=lanes,
        ranks=table,
        slots=np.empty((slots, SLOT_COLUMNS), np.int64),
        unused=np.empty(slots, np.int64),
        heads=np.full((ranks, agents + len(fleet.order) + 1), -1, np.int64),
        path=np.zeros((agents, longest_path(world.tree.parent) + 1), np.int64),
        barren=barren_answers(world),
        prefills=np.zeros((ranks, seats), np.int64),
        heap=np.zeros((ranks, seats), np.int64),
        growing=np.zeros((ranks, growth_period(sched, fleet.block_tokens)), np.int64),
        first_growth=first_growth(sched, fleet.block_tokens),
        steps=np.zeros(fleet.workers, np.int64),
        end_ps=np.full(fleet.workers, NEVER, np.int64),
        load=np.zeros(fleet.workers, np.int64),
        sends=np.zeros(agents, np.int64),
        clock=np.zeros(FAULT + 1, np.int64),
        chunk=np.zeros((fleet.ranks, CHUNK_COLUMNS), np.int64),
        calls=np.zeros((chunk_rows, len(CALL_COLUMNS)), np.int64),
        series=np.zeros((SERIES_BINS, len(SERIES_COLUMNS)), np.int64),
        totals=np.zeros(len(TOTAL_COLUMNS), np.int64),
        events=np.zeros((event_rows, len(EVENT_COLUMNS)), np.int64),
        logging=logging,
    )
    state.clock[BIN_PS] = PS_PER_S
    state.clock[ACTIVE] = agents
    state.clock[BEHIND] = agents if world.stop.min_agent_plays > 0 else 0
    for lane in range(agents):
        push_send(state, lane, fleet.start_ps[lane])
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


def simulate_kernel(world: World, events: bool = False) -> Output:
    """Run a world to its end.

    Parameters
    ----------
    world : World
    events : bool
        Also return the event log (about ten rows a call and two a step).

    Raises
    ------
    AssertionError
        When a call can never fit its rank (`growth.most_blocks` tells beforehand).
    """
    state = new_state(world, events)
    calls: list[Ints] = []
    logs: list[Ints] = []
    why = ROWS_FULL
    while why == ROWS_FULL:
        why = advance(world, state)
        calls.append(state.calls[: state.clock[CALL_ROWS]].copy())
        logs.append(state.events[: state.clock[EVENT_ROWS]].copy())
        state.clock[CALL_ROWS] = state.clock[EVENT_ROWS] = 0
    assert why == FINISHED, "work conserving: a worker has calls but none can run"
    last_bin = int(state.clock[NOW] // state.clock[BIN_PS]) + 1
    return Output(
        calls=np.concatenate(calls),
        series=state.series[:last_bin].copy(),
        bin_ps=int(state.clock[BIN_PS]),
        totals=state.totals,
        events=np.concatenate(logs),
        end_ps=int(state.clock[NOW]),
        plays_finished=int(state.clock[PLAYS]),
        calls_issued=int(state.clock[ISSUED]),
    )
