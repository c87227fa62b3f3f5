"""Two engines, one meaning: on any small world the reference and the kernel write the same event log, to the last integer."""

import os

import numpy as np
from hypothesis import HealthCheck, given, settings

from simulator.engine import Output, World, simulate_kernel, simulate_reference
from simulator.engine.world import EVENT_KINDS
from tests.oracle.worlds import worlds

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


@settings(max_examples=WORLDS, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(worlds())
def test_event_logs_are_equal(world: World) -> None:
    assert_equal(world)
