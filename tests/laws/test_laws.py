"""Laws that hold in every world, whatever its options: each with the mistake it would catch.

Invariants of the moment (conservation, block accounting, holders recounted, the clock) are checked by the reference after every event and
carry over to the kernel through `tests/oracle`; here stand the laws that compare whole runs.
"""

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from simulator.engine import Output, World, simulate_kernel
from simulator.engine.growth import most_blocks
from simulator.engine.world import CALL_COLUMNS, EVENT_FIRST, EVENT_LAST, EVENT_STEP, TOTAL_COLUMNS
from simulator.workload.arrays import Calls
from tests.oracle.worlds import worlds

many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
TIMES = [CALL_COLUMNS.index(name) for name in ("send_ps", "admit_ps", "first_ps", "last_ps")]


def same(ours: Output, theirs: Output) -> bool:
    return all(np.array_equal(getattr(ours, name), getattr(theirs, name)) for name in Output._fields)


@many
@given(worlds())
def test_determinism(world: World) -> None:
    """The same world gives the same bytes. Catches state that outlives a run."""
    assert same(simulate_kernel(world, events=True), simulate_kernel(world, events=True))


@many
@given(worlds(), st.randoms(use_true_random=False))
def test_order_of_trajectories_changes_nothing(world: World, random) -> None:  # type: ignore[no-untyped-def]
    """Trajectories listed in another order are the same load. Catches an index where an identity is meant."""
    count = len(world.calls.first) - 1
    shuffled = list(range(count))
    random.shuffle(shuffled)
    spans = [np.arange(world.calls.first[t], world.calls.first[t + 1]) for t in shuffled]
    rows = np.concatenate(spans)
    first = np.concatenate([[0], np.cumsum([len(span) for span in spans])]).astype(np.int64)
    calls = Calls(first, *(array[rows] for array in world.calls[1:]))
    place = np.argsort(shuffled)
    other = simulate_kernel(world._replace(calls=calls, fleet=world.fleet._replace(order=place[world.fleet.order])))
    mapped = other.calls.copy()
    mapped[:, 2] = np.array(shuffled)[mapped[:, 2]]
    assert np.array_equal(simulate_kernel(world).calls, mapped)


@many
@given(worlds(), st.sampled_from([2, 3, 7]))
def test_time_scales(world: World, k: int) -> None:
    """A machine and its tools ``k`` times slower give every time ``k`` times later. Catches a time unit lost on the way."""
    exact = world.law._replace(ctx_fp=121 << 10, pair_fp=1205 << 11)
    slow_law = exact._replace(**{name: getattr(exact, name) * k for name in exact._fields})
    stop = world.stop
    slow = world._replace(
        calls=world.calls._replace(tool_ps=world.calls.tool_ps * k),
        fleet=world.fleet._replace(start_ps=world.fleet.start_ps * k),
        law=slow_law,
        stop=stop._replace(window_ps=stop.window_ps * k, min_window_ps=stop.min_window_ps * k, max_ps=stop.max_ps * k),
    )
    fast_calls = simulate_kernel(world._replace(law=exact)).calls.copy()
    fast_calls[:, TIMES] *= k
    assert np.array_equal(fast_calls, simulate_kernel(slow).calls)


@many
@given(worlds())
def test_causality(world: World) -> None:
    """A call is admitted after it is sent, and its agent sends the next one no sooner than its tool is done."""
    rows = simulate_kernel(world).calls
    send, admit, first, last = (rows[:, at] for at in TIMES)
    assert (send <= admit).all()
    assert (admit < first).all()
    assert (first <= last).all()
    assert ((last > first) | (rows[:, CALL_COLUMNS.index("output_tokens")] == 1)).all()
    number = world.calls.first[rows[:, 2]] + rows[:, 3]
    for agent in np.unique(rows[:, 0]):
        own = rows[:, 0] == agent
        assert (send[own][1:] >= last[own][:-1] + world.calls.tool_ps[number[own]][:-1]).all()


@many
@given(worlds())
def test_energy_lies_between_floor_and_cap(world: World) -> None:
    """No step draws less than a busy GPU's floor or more than its cap. Catches a unit slip of a thousand."""
    output = simulate_kernel(world, events=True)
    steps = output.events[output.events[:, 1] == EVENT_STEP]
    gpus = world.power.gpus_per_rank * world.fleet.ranks
    duration_ns, energy_uj = steps[:, 5] // 1000, steps[:, 6]
    assert (energy_uj <= world.power.cap_mw * duration_ns * gpus // 10**6).all()
    assert (energy_uj >= world.power.floor_mw * duration_ns * gpus // 10**6 - world.fleet.ranks).all()


@many
@given(worlds())
def test_books_agree_with_the_log(world: World) -> None:
    """Series, totals and log count the same steps, energy and busy time."""
    world = world._replace(stop=world.stop._replace(window_ps=0))
    output = simulate_kernel(world, events=True)
    steps = output.events[output.events[:, 1] == EVENT_STEP]
    totals = dict(zip(TOTAL_COLUMNS, output.totals.tolist(), strict=True))
    assert totals["steps"] == len(steps) == output.series[:, 0].sum()
    assert totals["energy_uj"] == steps[:, 6].sum() == output.series[:, 2].sum()
    assert totals["busy_ns"] == (steps[:, 5] // 1000).sum() == output.series[:, 1].sum()


@many
@given(worlds(), st.integers(1, 40))
def test_no_scheduler_reads_a_recorded_output_length(world: World, longer: int) -> None:
    """Until a call ends, a longer one in its place goes the same way. Catches an oracle: an admission that knows the answer's length."""
    assume(world.sched.drafts == 0)
    world = world._replace(sched=world.sched._replace(prefix_cache=0), stop=world.stop._replace(min_plays=10**6))
    calls = world.calls
    number = int(calls.first[world.fleet.order[0]])
    output_tokens = calls.output_tokens.copy()
    output_tokens[number] += longer
    other = world._replace(calls=calls._replace(output_tokens=output_tokens, decode_steps=output_tokens - 1))
    room = max(int(most_blocks(w).max()) for w in (world, other))
    fleet = world.fleet._replace(blocks_per_rank=max(room, world.fleet.blocks_per_rank))
    short, long = (simulate_kernel(w._replace(fleet=fleet), events=True).events for w in (world, other))
    ends = short[(short[:, 1] == EVENT_LAST) & (short[:, 4] >= 0)]
    ends_ps = [int(row[0]) for row in ends if row[5] == calls.output_tokens[number]]
    until = min(ends_ps, default=int(min(short[-1, 0], long[-1, 0])))
    for log in (short, long):
        log[log[:, 1] == EVENT_FIRST, 5:7] = 0
    ours, theirs = short[short[:, 0] < until], long[long[:, 0] < until]
    assert np.array_equal(ours, theirs)
