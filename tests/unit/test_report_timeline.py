"""The timeline of a run: what its slices add up to, and that tracks hold one thing at a time."""

from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from simulator import load_scenario
from simulator.capacity.point import play_logged
from simulator.engine.kernel import simulate_kernel
from simulator.engine.world import CALL_COLUMNS, TOTAL_COLUMNS, Output, World
from simulator.report.timeline import AGENTS, POWER, Record, timeline

Played = tuple[World, Output, list[Record]]


@pytest.fixture(scope="module", params=["mixed", "preempting"])
def played(request: pytest.FixtureRequest) -> Played:
    tiny = load_scenario(str(Path(__file__).parents[1] / "cli" / "tiny.yaml"))
    world, output = play_logged(tiny, agents=6)
    if request.param == "preempting":
        (pool,) = world.fleet.pools
        world = world._replace(fleet=world.fleet._replace(pools=(pool._replace(blocks_per_rank=64),)))
        output = simulate_kernel(world, events=True)
    return world, output, list(timeline(world, output))


def slices(records: list[Record], agents: bool) -> list[Record]:
    return [record for record in records if record["ph"] == "X" and (record["pid"] == AGENTS) == agents]


def test_a_track_shows_one_thing_at_a_time(played: Played) -> None:
    tracks = defaultdict(list)
    for record in (*slices(played[2], True), *slices(played[2], False)):
        assert record["dur"] > 0
        tracks[record["pid"], record["tid"]].append((record["ts"], record["ts"] + record["dur"]))
    assert len(tracks) == 7, "six agents and a rank"
    for spans in tracks.values():
        spans.sort()
        assert all(end <= begin + 1e-5 for (_, end), (begin, _) in pairwise(spans))


def test_records_are_such_as_perfetto_reads(played: Played) -> None:
    """Seen in trace_processor 52: a track 0 becomes its process's own, what overlaps to the nanosecond is dropped, and an argument is named
    behind its counter."""
    named = {(r["pid"], r["tid"]): r["args"]["name"] for r in played[2] if r["name"] == "thread_name"}
    ends: dict[tuple[int, int], int] = defaultdict(int)
    last: dict[tuple[int, str], float] = defaultdict(float)
    for record in played[2]:
        track = record["pid"], record["tid"]
        if record["ph"] == "X":
            assert record["tid"] > 0
            assert track in named
            assert isinstance(record["ts"], int)
            assert record["dur"] >= 1
            assert record["ts"] >= ends[track], "slices of a track come in order"
            ends[track] = record["ts"] + record["dur"]
        elif record["ph"] == "C":
            (unit,) = record["args"]
            assert unit in ("%", "W")
            assert record["ts"] >= last[record["pid"], record["name"]]
            last[record["pid"], record["name"]] = record["ts"]
        else:
            assert record["name"] in ("process_name", "thread_name", "thread_sort_index")
    tracks = [tid for _, tid in named]
    assert len(tracks) == len(set(tracks))
    assert not set(tracks) & {pid for pid, _ in named}


def test_phases_add_up_to_the_calls_that_the_engine_tells(played: Played) -> None:
    world, output, records = played
    column = {name: output.calls[:, i] for i, name in enumerate(CALL_COLUMNS)}
    spent: dict[str, float] = defaultdict(float)
    for record in slices(records, True):
        spent[record["name"].split(" (")[0]] += record["dur"]
    unfinished = len(world.fleet.start_ps) * 60e6
    in_calls = (column["last_ps"] - column["send_ps"]).sum() / 1e6
    assert in_calls <= spent["queue"] + spent["prefill"] + spent["decode"] <= in_calls + unfinished
    if not column["preemptions"].any():
        decoding = (column["last_ps"] - column["first_ps"]).sum() / 1e6
        assert decoding <= spent["decode"] + 1 <= decoding + unfinished


def test_a_queue_names_its_cause(played: Played) -> None:
    world, _, records = played
    names = {record["name"] for record in slices(records, True) if record["name"].startswith("queue")}
    assert "queue (step)" in names
    if world.fleet.pools[0].blocks_per_rank == 64:
        assert {"queue (KV)", "queue (preempted)"} <= names
    else:
        assert not {"queue (KV)", "queue (preempted)"} & names


def test_steps_and_joules_are_those_of_the_engine(played: Played) -> None:
    world, output, records = played
    steps = sum(record["args"]["steps"] for record in slices(records, False))
    totals = dict(zip(TOTAL_COLUMNS, output.totals[0].tolist(), strict=True))
    assert steps >= totals["steps"] > 0, "the totals leave out the ramp"
    watts = [(record["ts"], record["args"]["W"]) for record in records if record["ph"] == "C" and record["name"] == POWER]
    times, levels = map(np.array, zip(*watts, strict=True))
    pool = world.fleet.pools[0]
    rank_gpus = pool.power.gpus_per_rank * pool.ranks
    assert (levels >= pool.power.idle_mw / 1000 * rank_gpus - 0.1).all()
    assert (levels <= pool.power.cap_mw / 1000 * rank_gpus + 0.1).all()
    assert (np.diff(times) >= 0).all()


def test_kv_use_is_a_share(played: Played) -> None:
    shares = [record["args"]["%"] for record in played[2] if record["ph"] == "C" and record["name"].startswith("KV use")]
    assert shares
    assert 0 <= min(shares) < max(shares) <= 100
