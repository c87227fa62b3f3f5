"""Two engines, one meaning: on any small world the reference and the kernel write the same event log, to the last integer."""

import os

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.engine import Output, World, simulate_kernel, simulate_reference
from simulator.engine.growth import most_blocks
from simulator.engine.world import CACHE_BLOCKS, EVENT_KINDS, ROLE_DECODE
from tests.oracle.worlds import MS, worlds

WORLDS = int(os.environ.get("AGENTWATT_WORLDS", "600"))


def first_difference(ours: Output, theirs: Output) -> str:
    """The events around the first one that differs, to read when the test fails."""
    n = min(len(ours.events), len(theirs.events))
    where = np.flatnonzero((ours.events[:n] != theirs.events[:n]).any(axis=1))
    at = int(where[0]) if len(where) else n
    lines = []
    for name, output in (("kernel", ours), ("reference", theirs)):
        lines += [f"{name}: {EVENT_KINDS[row[1]]} {row.tolist()}" for row in output.events[max(0, at - 6) : at + 2]]
    return "\n".join(lines)


def assert_equal(world: World) -> None:
    kernel, reference = simulate_kernel(world, events=True), simulate_reference(world)
    assert np.array_equal(kernel.events, reference.events), first_difference(kernel, reference)
    for name in Output._fields:
        assert np.array_equal(getattr(kernel, name), getattr(reference, name)), name
    quiet = simulate_kernel(world)
    assert len(quiet.events) == 0
    for name in set(Output._fields) - {"events"}:
        assert np.array_equal(getattr(quiet, name), getattr(kernel, name)), f"logging changes nothing: {name}"


patient = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}


@settings(max_examples=WORLDS, **patient)
@given(worlds())
def test_event_logs_are_equal(world: World) -> None:
    assert_equal(world)


@settings(max_examples=WORLDS // 6, **patient)
@given(worlds(), st.sampled_from([2, 5, 12]), st.sampled_from([0, 1, 6]))
def test_event_logs_are_equal_where_little_memory_spills(world: World, names: int, spare: int) -> None:
    """Every call finds HBM full of others, and a few names in a host tier or among the ends that can be resumed."""
    world = world._replace(stop=world.stop._replace(min_plays=10**6, max_ps=2000 * MS))
    tight = []
    for number, pool in enumerate(world.fleet.pools):
        sched = pool.sched._replace(prefix_cache=CACHE_BLOCKS)
        host = number % 2 == 0 and pool.role != ROLE_DECODE
        pool = pool._replace(sched=sched, host_blocks=names if host else 0, tails=0 if host else names)
        tight.append(pool._replace(blocks_per_rank=int(most_blocks(world, pool).max()) + spare))
    assert_equal(world._replace(fleet=world.fleet._replace(pools=tuple(tight))))
