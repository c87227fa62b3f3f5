"""A few minutes of a run: what some agents are at, and a rank's batch, KV use and watts. Inputs are the records of `report/timeline.py`."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.capacity.point import play_logged
from simulator.capacity.scenario import Phase, Scenario
from simulator.engine.world import EVENT_RANK, EVENT_STEP, ROLE_PREFILL, Pool, World
from simulator.report.timeline import AGENTS, POWER, agent_track, rank_track, timeline

LONG_S = 180.0
SHOWN_AGENTS = 6
BINS = 360
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Excerpt:
    """Lanes of agents as (phase, begin, end), and levels of one rank averaged over bins, all in seconds of the run."""

    begin_s: float
    end_s: float
    lanes: tuple[tuple[tuple[str, float, float], ...], ...]
    bins_s: Floats
    batch: Floats
    kv_percent: Floats
    watts_per_gpu: Floats
    role: str


def excerpt_of(scenario: Scenario, agents: int) -> Excerpt:
    """The run of the first seed at an agent count, cut where its steady window opens and `LONG_S` later."""
    usual = scenario.phase
    begin_s = usual.ramp_s + usual.warmup_s
    phase = Phase(usual.ramp_s, usual.warmup_s, LONG_S, 0, 0, 0, begin_s + LONG_S)
    world, output = play_logged(replace(scenario, phase=phase), agents)
    return read_records(world, timeline(world, output._replace(events=_of_interest(world, output.events))), begin_s, begin_s + LONG_S)


def _of_interest(world: World, events: NDArray[np.int64]) -> NDArray[np.int64]:
    """Events of the lanes and the worker that are shown: all that their slices and levels follow from, but not the causes of queues."""
    _, kind, worker, rank, lane = events[:, :5].T
    level = (worker == _chosen(world)) & ((kind == EVENT_STEP) | ((kind == EVENT_RANK) & (rank == 0)))
    kept: NDArray[np.int64] = events[level | np.isin(lane, _shown(world))]
    return kept


def _workers(world: World) -> list[Pool]:
    return [pool for pool in world.fleet.pools for _ in range(pool.workers)]


def _chosen(world: World) -> int:
    """The first worker that decodes."""
    return next((number for number, pool in enumerate(_workers(world)) if pool.role != ROLE_PREFILL), 0)


def _shown(world: World) -> list[int]:
    """The first thread of each of the first agents."""
    return [world.threads.width * agent for agent in range(min(SHOWN_AGENTS, len(world.fleet.start_ps)))]


def read_records(world: World, records: Iterable[dict[str, Any]], begin_s: float, end_s: float) -> Excerpt:
    """What of a run's records lies between two times: the first agents, and rank 0 of the first worker that decodes."""
    chosen = _chosen(world)
    pid = AGENTS + 1 + chosen
    lanes: dict[int, list[tuple[str, float, float]]] = {lane: [] for lane in _shown(world)}
    tracks = {agent_track(lane): lane for lane in lanes}
    batch, kv, watts = [(0.0, 0.0)], [(0.0, 0.0)], [(0.0, 0.0)]
    for record in records:
        kind, (at_s, until_s) = record["ph"], span_s(record)
        if kind == "X" and record["pid"] == AGENTS and record["tid"] in tracks:
            if until_s > begin_s and at_s < end_s:
                lanes[tracks[record["tid"]]].append((record["name"], max(at_s, begin_s), min(until_s, end_s)))
        elif kind == "X" and record["pid"] == pid and record["tid"] == rank_track(chosen, 0):
            batch += [(at_s, float(record["args"]["decoding"])), (until_s, 0.0)]
        elif kind == "C" and record["pid"] == pid and record["name"] == "KV use, rank 0":
            kv.append((at_s, record["args"]["%"]))
        elif kind == "C" and record["pid"] == pid and record["name"] == POWER:
            watts.append((at_s, record["args"]["W"]))
    edges = np.linspace(begin_s, end_s, BINS + 1)
    pool = _workers(world)[chosen]
    return Excerpt(
        begin_s,
        end_s,
        tuple(tuple(lane) for lane in lanes.values()),
        edges,
        averaged(batch, edges),
        averaged(kv, edges),
        averaged(watts, edges) / (pool.power.gpus_per_rank * pool.ranks),
        ("mixed", "prefill", "decode")[pool.role],
    )


def span_s(record: dict[str, Any]) -> tuple[float, float]:
    """Begin and end of a record: a slice ends exactly where the next begins, for a timeline has whole microseconds."""
    begin_us = record.get("ts", 0)
    return begin_us / 1e6, (begin_us + record.get("dur", 0)) / 1e6


def averaged(steps: list[tuple[float, float]], edges: Floats) -> Floats:
    """Means over bins of a level that stays until the next step; steps that begin together count as the last of them."""
    ordered = np.array(sorted(steps, key=lambda step: step[0]))
    times, levels = np.append(ordered[:, 0], max(edges[-1], ordered[-1, 0])), ordered[:, 1]
    whole = np.append(0.0, np.cumsum(levels * np.diff(times)))
    means: Floats = np.diff(np.interp(edges, times, whole)) / np.diff(edges)
    return means
