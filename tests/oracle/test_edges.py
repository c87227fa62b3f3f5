"""Numbers at the edge, in both engines: nothing where something is usual, everything at once, the last that fits, the longest run."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from simulator.capacity.build import build_world, prepare, spread_evenly
from simulator.capacity.scenario_file import load_scenario
from simulator.engine import Output, World, simulate_kernel, simulate_reference
from simulator.engine.growth import most_blocks
from simulator.engine.world import CACHE_SLOTS, EVENT_SEND, EVENT_STEP
from simulator.errors import UserError
from simulator.hardware.step_law import StepLaw
from simulator.units import MOST_S, PS_PER_S
from simulator.workload.compile import compile_calls
from simulator.workload.trajectory import Call
from tests.oracle.test_equal_logs import assert_equal
from tests.theory.worlds import BLOCK, MS, POWER, SCHED, US, at, column, constant_law, load_of, pool_of, world_of

Engine = Callable[[World], Output]
both = pytest.mark.parametrize("engine", [simulate_kernel, simulate_reference], ids=["kernel", "reference"])
LAW = StepLaw(11 * MS, np.arange(500, dtype=np.int64) * US, 17 * US, 236 << 10, 80 * US, 62 * US, 170 << 10)
DAY_S = 86_400


def test_a_call_without_output_is_refused() -> None:
    with pytest.raises(UserError, match=r"t0.calls\[0\].output_tokens; found 0; allowed: 1 to"):
        load_of([[Call(0, 10, 0)]])


@both
def test_with_no_tool_time_the_next_call_is_sent_as_the_last_one_ends(engine: Engine) -> None:
    world = world_of([[Call(0, 100, 3), Call(100, 5, 1), Call(105, 5, 2)]], at(0), [pool_of(LAW)])
    output = engine(world)
    assert column(output, "send_ps")[1:].tolist() == column(output, "last_ps")[:-1].tolist()
    assert_equal(world)


@both
def test_one_token_in_and_one_out_is_one_step(engine: Engine) -> None:
    output = engine(world_of([[Call(0, 1, 1)]], at(0), [pool_of(LAW)]))
    assert column(output, "first_ps").tolist() == column(output, "last_ps").tolist() == [11 * MS + US + 62 * US + 170 // 2]


@both
def test_a_context_at_the_limit_is_played_and_one_token_more_is_cut(engine: Engine) -> None:
    runs = [[Call(0, 1000, 24)], [Call(0, 500, 1), Call(500, 501, 24)]]
    compiled = compile_calls(load_of(runs), block_tokens=BLOCK, max_context_tokens=1024)
    assert (compiled.kept_calls, compiled.cut_trajectories) == (2, 1)
    world = world_of([runs[0]], at(0), [pool_of(LAW, blocks=1024 // BLOCK)])
    assert engine(world).calls_issued == len(engine(world).calls) == 1
    assert_equal(world)


@both
def test_memory_too_small_for_one_call_is_told_and_not_waited_for(engine: Engine) -> None:
    world = world_of([[Call(0, 10 * BLOCK, 1)]], at(0), [pool_of(LAW, blocks=9)])
    assert most_blocks(world, world.fleet.pools[0]).max() > 9
    with pytest.raises(AssertionError, match="work conserving: a worker has calls but none can run"):
        engine(world)


def test_a_scenario_cuts_what_its_memory_cannot_hold_and_refuses_what_leaves_nothing() -> None:
    base = {"deployment": "hgx_h200_v4pro_20tps", "workload": {"kind": "fixed", "isl": 5_000, "osl": 100}}
    with pytest.raises(UserError, match="found 957; allowed: room for at least one call"):
        prepare(load_scenario(base, {"deployment.kv_pool_tokens": 1_000}), 1)


@both
def test_ranks_without_an_agent_change_nothing_but_their_own_waiting(engine: Engine) -> None:
    runs = [[Call(0, 300, 5), Call(300, 10, 3)]]
    alone, among_many = (engine(world_of(runs, at(0), [pool_of(LAW, ranks=ranks)])) for ranks in (1, 16))
    assert np.array_equal(alone.calls, among_many.calls)
    assert_equal(world_of(runs, at(0), [pool_of(LAW, ranks=16, workers=2)]))


@both
def test_what_happens_at_one_instant_goes_by_lane_then_steps_begin(engine: Engine) -> None:
    """Twelve calls are sent as one, end as one, and are sent again in the instant in which the step ends."""
    runs = [[Call(0, 8, 1), Call(8, 8, 1)]]
    world = world_of(runs, at(*12 * [0]), [pool_of(constant_law(MS), SCHED._replace(max_seqs=12))])
    output = engine(world)
    assert column(output, "send_ps").tolist() == 12 * [0] + 12 * [MS]
    assert column(output, "agent").tolist() == 2 * list(range(12))
    logged = simulate_reference(world).events
    assert [row[0] for row in logged.tolist() if row[1] == EVENT_STEP] == [0, MS]
    assert [row[4] for row in logged.tolist() if row[1] == EVENT_SEND] == 2 * list(range(12))
    assert_equal(world)


@both
def test_a_hundred_days(engine: Engine) -> None:
    """Calls a day apart, to the picosecond: the clock has no rounding to gather, and the last bin of the series is the last day's."""
    runs = [[Call(0, 10, 1, DAY_S)]]
    world = world_of(runs, at(0), [pool_of(constant_law(MS))], plays=0)
    world = world._replace(stop=world.stop._replace(max_ps=MOST_S * PS_PER_S))
    output = engine(world)
    sent = column(output, "send_ps").tolist()
    assert sent == [day * (DAY_S * PS_PER_S + MS) for day in range(100)]
    assert output.end_ps == MOST_S * PS_PER_S == 100 * DAY_S * PS_PER_S
    assert output.series[0, :, 0].sum() == 100
    assert (output.end_ps // output.bin_ps) + 1 == output.series.shape[1] <= 512
    assert_equal(world)


@both
def test_what_could_outgrow_64_bits_is_refused_before_the_first_event(engine: Engine) -> None:
    world = world_of([[Call(0, 10, 1, DAY_S)]], at(0), [pool_of(constant_law(MS))])
    last_ps = 2**63 - 1 - DAY_S * PS_PER_S - MS - 10**6
    engine(world._replace(stop=world.stop._replace(max_ps=last_ps)))
    with pytest.raises(UserError, match=r"phase.max_s; found 9,223,372 s, in which the clock may reach 2\^63"):
        engine(world._replace(stop=world.stop._replace(max_ps=2**63 - 1)))
    hot = pool_of(constant_law(MS))._replace(workers=1_000, ranks=72, power=POWER._replace(gpus_per_rank=8, cap_mw=1_400_000))
    with pytest.raises(UserError, match="the energy may reach"):
        engine(world._replace(fleet=world.fleet._replace(pools=(hot,)), stop=world.stop._replace(max_ps=8 * 10**18)))
    wide = pool_of(LAW._replace(pair_fp=1 << 60))
    with pytest.raises(UserError, match="time of a step may reach"):
        engine(world._replace(fleet=world.fleet._replace(pools=(wide,))))


def test_a_million_agents_start_in_order() -> None:
    """Their number times the ramp in picoseconds is beyond 64 bits; the times are not."""
    ramp_ps = 120 * PS_PER_S
    starts = spread_evenly(ramp_ps, 10**6)
    assert (np.diff(starts) == 120 * 10**6).all()
    assert spread_evenly(ramp_ps, 7).tolist() == [ramp_ps * agent // 7 for agent in range(7)]


def test_a_scenario_of_a_hundred_days_with_a_rack_stays_within_64_bits() -> None:
    scenario = load_scenario("capacity_gb300_pd_20tps", {"phase.max_s": 100 * DAY_S, "seeds": 1})
    build_world(prepare(scenario, 1), 400)
    with pytest.raises(UserError, match="may reach"):
        build_world(prepare(replace(scenario, name="rack"), 1), 10**6)


@both
def test_beyond_the_last_entry_of_a_table_the_last_one_stands(engine: Engine) -> None:
    law = constant_law(0)._replace(shared_ps=np.array([0, MS, 7 * MS]))
    power = POWER._replace(hbm_mw=1000, shared_hbm_ps=np.array([0, MS, 5 * MS]))
    world = world_of([[Call(0, 300, 1)]], at(0), [pool_of(law)._replace(power=power)])
    output = engine(world)
    assert column(output, "last_ps").tolist() == [7 * MS]
    assert output.series[0, 0, 2] == (power.floor_mw * 7 * MS // 1000 + power.hbm_mw * 5 * MS // 1000) // 10**6
    assert_equal(world)


@both
def test_a_fixed_slot_keeps_the_prompt_and_not_the_answer_that_no_later_prompt_has(engine: Engine) -> None:
    """With recorded history the next prompt goes on after this prompt, however long the generated answer was."""
    sched = SCHED._replace(prefix_cache=CACHE_SLOTS)
    world = world_of([[Call(0, 2 * BLOCK, 3 * BLOCK), Call(2 * BLOCK, 6 * BLOCK, 1)]], at(0), [pool_of(LAW, sched)])
    assert column(engine(world), "cached_tokens").tolist() == [0, 2 * BLOCK]
    assert_equal(world)
