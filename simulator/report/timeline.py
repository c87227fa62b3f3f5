"""A run as a timeline for the Perfetto viewer: a track per agent, one per rank, and counters. Inputs are a world and its event log.

The records are those of the Chrome trace format: slices (``X``), counters (``C``) and names of tracks (``M``). Times are whole
microseconds: Perfetto drops a slice that begins before the one ahead of it has ended, if by a nanosecond. A track 0 it takes for its
process's own, and so one with the number of its process: hence `agent_track` and `rank_track`.
"""

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from simulator.engine.world import (
    EVENT_ADMIT,
    EVENT_FIRST,
    EVENT_LAND,
    EVENT_LAST,
    EVENT_LOAD,
    EVENT_PREEMPT,
    EVENT_PREFILLED,
    EVENT_RANK,
    EVENT_RELEASE,
    EVENT_SEND,
    EVENT_STEP,
    ROLE_PREFILL,
    Output,
    Pool,
    World,
)

Record = dict[str, Any]

AGENTS = 1
"""Process number of the agents; worker ``w`` has ``AGENTS + 1 + w``."""
LANES, RANKS = 10**6, 1000
"""Where numbers of tracks begin: of agents' threads, and of each worker's ranks."""
PS_PER_US = 10**6
W_PER_UJ_PER_PS = 1e6
POWER = "accelerator power"
HIT_CALLS = 50
"""The hit rate is that of a worker's last so many admissions, in tokens."""


@dataclass
class _Lane:
    """What one thread of an agent is at."""

    phase: str = ""
    since_ps: int = 0
    sent_ps: int = 0
    decodes: bool = False
    """Its KV has landed where it will be decoded."""
    args: Record = field(default_factory=dict)


@dataclass
class _Shard:
    """What one rank is at: seats taken, its last look at its queue, and the run of like steps it is in."""

    kind: Pool
    seated: set[int] = field(default_factory=set)
    looks: deque[tuple[int, bool, int]] = field(default_factory=lambda: deque(maxlen=2))
    """When it scheduled a step, whether its seats were all taken then, and how many blocks were free."""
    decodes: int = 0
    prefill_tokens: int = 0
    free: int = 0
    steps: int = 0
    began_ps: int = 0
    ended_ps: int = -1


def agent_track(lane: int) -> int:
    """Number of the track of an agent's thread, which no other track of the file has."""
    return LANES + lane


def rank_track(worker: int, rank: int) -> int:
    """Number of the track of a rank, which no other track of the file has."""
    return RANKS * (AGENTS + 1 + worker) + rank


def timeline(world: World, output: Output) -> Iterator[Record]:
    """The records of a run whose event log was kept.

    Tracks of agents show ``queue (cause)``, ``prefill``, ``decode``, ``tool`` and, where they occur, moves and loads of KV. A queue's cause
    is read off the log: *step* when the call was admitted at the first look after it was sent, else what the rank's look before its
    admission saw: *seats* all taken, too few free blocks for the prompt (*KV*), or neither (*token budget*). Steps of a rank that decode
    equally many sequences and prefill nothing are one slice. Counters: KV use and hit rate of a worker, and its watts.
    """
    workers = [pool for pool in world.fleet.pools for _ in range(pool.workers)]
    yield from _names(world, workers)
    shards = {(number, rank): _Shard(pool) for number, pool in enumerate(workers) for rank in range(pool.ranks)}
    yield from _agents(world, output, shards)
    yield from _ranks(output, workers)


def _names(world: World, workers: list[Pool]) -> Iterator[Record]:
    roles, width = ("mixed", "prefill", "decode"), world.threads.width
    yield {"ph": "M", "name": "process_name", "pid": AGENTS, "tid": 0, "args": {"name": "agents"}}
    for lane in range(len(world.fleet.start_ps) * width):
        name = f"agent {lane // width}" + (f", thread {lane % width}" if lane % width else "")
        yield {"ph": "M", "name": "thread_name", "pid": AGENTS, "tid": agent_track(lane), "args": {"name": name}}
        yield {"ph": "M", "name": "thread_sort_index", "pid": AGENTS, "tid": agent_track(lane), "args": {"sort_index": lane}}
    for number, pool in enumerate(workers):
        pid = AGENTS + 1 + number
        yield {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": f"worker {number} ({roles[pool.role]})"}}
        for rank in range(pool.ranks):
            yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": rank_track(number, rank), "args": {"name": f"rank {rank}"}}


def _agents(world: World, output: Output, shards: dict[tuple[int, int], _Shard]) -> Iterator[Record]:
    """One slice for each phase of each call, and one for what lies between calls."""
    lanes: dict[int, _Lane] = defaultdict(_Lane)

    def turn(lane: int, at_ps: int, phase: str, **args: int) -> Iterator[Record]:
        own = lanes[lane]
        if own.phase and _us(at_ps) > _us(own.since_ps):
            yield _slice(AGENTS, agent_track(lane), own.phase, own.since_ps, at_ps, own.args)
        own.phase, own.since_ps, own.args = phase, at_ps, dict(args)

    for time_ps, kind, worker, rank, lane, a, b, c in output.events.tolist():
        shard, own = shards[worker, rank], lanes[lane] if lane >= 0 else _Lane()
        if kind == EVENT_RANK:
            shard.looks.append((time_ps, len(shard.seated) >= shard.kind.sched.max_seqs, c))
        elif kind == EVENT_SEND:
            yield from turn(lane, time_ps, "queue", trajectory=a, call=b, play=c)
            own.sent_ps, own.decodes = time_ps, False
        elif kind == EVENT_ADMIT:
            if own.phase == "queue":
                own.phase = f"queue ({_cause(shard, own.sent_ps, time_ps, b, world.fleet.block_tokens)})"
            shard.seated.add(lane)
            yield from turn(lane, time_ps, "prefill", cached_tokens=a, known_tokens=b)
        elif kind == EVENT_PREEMPT:
            shard.seated.discard(lane)
            yield from turn(lane, time_ps, "queue (preempted)", lost_tokens=a)
        elif kind == EVENT_LOAD:
            yield from turn(lane, time_ps, "load KV from host", tokens=a)
        elif kind == EVENT_LAND:
            own.decodes = own.decodes or c == 0
            yield from turn(lane, time_ps, "prefill" if c else "decode")
        elif kind == EVENT_PREFILLED and shard.kind.role == ROLE_PREFILL:
            yield from turn(lane, time_ps, "wait for a decode seat and move KV")
        elif kind == EVENT_FIRST and (shard.kind.role != ROLE_PREFILL or own.decodes):
            yield from turn(lane, time_ps, "decode", output_tokens=a)
        elif kind == EVENT_LAST:
            yield from turn(lane, time_ps, "tool")
        if kind == EVENT_RELEASE:
            shard.seated.discard(lane)
    for lane, own in lanes.items():
        if own.phase != "tool":
            yield from turn(lane, output.end_ps, "")


def _cause(shard: _Shard, sent_ps: int, admitted_ps: int, known_tokens: int, block_tokens: int) -> str:
    """Why a call waited until now, by the rank's last look before this one."""
    before = [look for look in shard.looks if sent_ps <= look[0] < admitted_ps]
    if not before:
        return "step"
    _, full, free = before[-1]
    return "seats" if full else "KV" if free * block_tokens < known_tokens else "token budget"


def _ranks(output: Output, workers: list[Pool]) -> Iterator[Record]:
    """Runs of like steps of each rank, and the counters of each worker."""
    shards = {(number, rank): _Shard(pool) for number, pool in enumerate(workers) for rank in range(pool.ranks)}
    hits: dict[int, deque[tuple[int, int]]] = defaultdict(lambda: deque(maxlen=HIT_CALLS))
    idle_w = [pool.power.idle_mw / 1000 * pool.power.gpus_per_rank * pool.ranks for pool in workers]
    busy_until, shown_w = [0] * len(workers), [-1.0] * len(workers)
    for time_ps, kind, worker, rank, _, a, b, c in output.events.tolist():
        if kind == EVENT_ADMIT:
            hits[worker].append((a, b))
        elif kind == EVENT_RANK:
            shard = shards[worker, rank]
            if b or a != shard.decodes or shard.prefill_tokens or time_ps != shard.ended_ps:
                yield from _run_of_steps(shard, worker, rank)
                shard.decodes, shard.prefill_tokens, shard.began_ps, shard.steps = a, b, time_ps, 0
                yield _counter(worker, f"KV use, rank {rank}", "%", time_ps, round(100 * (1 - c / shard.kind.blocks_per_rank), 2))
                if rank == 0 and hits[worker]:
                    known = sum(tokens for _, tokens in hits[worker])
                    yield _counter(
                        worker, "prefix hit rate", "%", time_ps, round(100 * sum(cached for cached, _ in hits[worker]) / known, 2)
                    )
        elif kind == EVENT_STEP:
            for number in range(workers[worker].ranks):
                shard = shards[worker, number]
                shard.ended_ps, shard.steps = time_ps + a, shard.steps + 1
            if time_ps > busy_until[worker]:
                yield _counter(worker, POWER, "W", busy_until[worker], idle_w[worker])
                shown_w[worker] = idle_w[worker]
            watts = round(b / a * W_PER_UJ_PER_PS, 1)
            if watts != shown_w[worker]:
                yield _counter(worker, POWER, "W", time_ps, watts)
            busy_until[worker], shown_w[worker] = time_ps + a, watts
    for (worker, rank), shard in shards.items():
        yield from _run_of_steps(shard, worker, rank)


def _run_of_steps(shard: _Shard, worker: int, rank: int) -> Iterator[Record]:
    parts = [f"prefill {shard.prefill_tokens}"] if shard.prefill_tokens else []
    parts += [f"decode × {shard.decodes}"] if shard.decodes else []
    if parts and _us(shard.ended_ps) > _us(shard.began_ps):
        args = {"steps": shard.steps, "decoding": shard.decodes, "prefill_tokens": shard.prefill_tokens}
        yield _slice(AGENTS + 1 + worker, rank_track(worker, rank), " + ".join(parts), shard.began_ps, shard.ended_ps, args)


def _slice(pid: int, tid: int, name: str, begin_ps: int, end_ps: int, args: Record) -> Record:
    begin_us = _us(begin_ps)
    return {"ph": "X", "pid": pid, "tid": tid, "name": name, "ts": begin_us, "dur": _us(end_ps) - begin_us, "args": args}


def _counter(worker: int, name: str, unit: str, at_ps: int, value: float) -> Record:
    """A level from now on; Perfetto shows the unit behind the name."""
    return {"ph": "C", "pid": AGENTS + 1 + worker, "tid": 0, "name": name, "ts": _us(at_ps), "args": {unit: value}}


def _us(time_ps: int) -> int:
    return time_ps // PS_PER_US
