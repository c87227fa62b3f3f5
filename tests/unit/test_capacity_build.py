"""Worlds from scenarios: starts, stop rules, scheduling options, and calls that must fit the KV pool."""

from typing import Any

import numpy as np
import pytest

from simulator.capacity.build import Prepared, build_world, load_profiles, prepare
from simulator.capacity.context import context_limit
from simulator.capacity.scenario_file import load_scenario
from simulator.engine.growth import most_blocks
from simulator.engine.world import RESERVES, ROUTERS
from simulator.errors import UserError
from simulator.units import PS_PER_S


def prepared(seed: int = 1, **changes: Any) -> Prepared:
    base = {"deployment": "hgx_h200_v4pro_20tps", "workload": {"kind": "trajectories", "source": "agentperf_like"}}
    return prepare(load_scenario(base, {key.replace("__", "."): value for key, value in changes.items()}), seed)


def test_agents_start_in_equal_steps_over_the_ramp() -> None:
    world = build_world(prepared(phase__ramp_s=60, phase__warmup_s=30), 3)
    assert (world.fleet.start_ps / PS_PER_S).tolist() == [0, 20, 40]
    assert world.stop.window_ps == 90 * PS_PER_S


def test_the_benchmarks_stop_rule_and_its_waiver() -> None:
    stop = build_world(prepared(), 1_001).stop
    assert (stop.min_plays, stop.min_agent_plays, stop.min_window_ps) == (30, 3, 600 * PS_PER_S)
    waived = prepared(phase__enough_trajectories=3_000)
    assert build_world(waived, 1_000).stop[2:4] == (30, 3)
    assert build_world(waived, 1_001).stop[2:4] == (3_000, 0)


def test_without_a_minimum_of_plays_the_window_ends_by_the_clock() -> None:
    stop = build_world(prepared(phase={"ramp_s": 10, "min_trajectories": 0, "min_agent_trajectories": 0}), 2).stop
    assert stop.max_ps == stop.window_ps + stop.min_window_ps


def test_a_power_cap_lowers_the_limit_and_slows_and_says_so() -> None:
    free, capped = prepared(), prepared(power__cap_w=450)
    assert (free.pools[0].power.cap_mw, capped.pools[0].power.cap_mw) == (700_000, 450_000)
    assert len(free.pools[0].power.slow_fp) == 1
    assert capped.pools[0].power.slow_fp[700] > 1024
    assert any("450 of 700 W" in note for note in capped.notes)
    assert not any("capped" in note for note in free.notes)
    assert capped.quality == "assumed"


@pytest.mark.parametrize("cap_w", [100, 701])
def test_a_power_cap_lies_between_idle_watts_and_the_tdp(cap_w: int) -> None:
    with pytest.raises(UserError, match=r"power\.cap_w; found \d+; allowed: from 115 W, hgx_h200's idle draw, to 700 W"):
        prepared(power__cap_w=cap_w)


def test_a_cap_at_the_tdp_is_none() -> None:
    pools = prepared(power__cap_w=700).pools[0].power, prepared().pools[0].power
    assert pools[0].slow_fp is pools[1].slow_fp
    assert pools[0].cap_mw == pools[1].cap_mw


def test_the_seed_orders_the_trajectories_and_draws_the_drafts() -> None:
    one, again, other = (build_world(prepared(seed), 2) for seed in (1, 1, 2))
    assert sorted(one.fleet.order.tolist()) == list(range(len(one.calls.first) - 1))
    assert (one.fleet.order == again.fleet.order).all()
    assert (one.calls.decode_steps == again.calls.decode_steps).all()
    assert (one.fleet.order != other.fleet.order).any()
    assert (one.calls.decode_steps != other.calls.decode_steps).any()
    assert (one.calls.output_tokens == other.calls.output_tokens).all()


def test_scheduling_options_come_from_the_deployment() -> None:
    found = prepared()
    world, deployment = build_world(found, 2), found.deployment
    ((pool,), (theirs,)) = world.fleet.pools, deployment.pools
    assert pool.sched.token_budget == theirs.token_budget
    assert pool.sched.accept_milli == round(1_000 * deployment.accepted_length)
    assert pool.sched.admit_reserve == RESERVES[theirs.admit_reserve]
    assert world.fleet.router == ROUTERS[deployment.router]
    assert (pool.workers, pool.blocks_per_rank) == (theirs.workers, theirs.blocks_per_rank)
    assert found.pools == world.fleet.pools
    assert world.threads is found.threads


def test_without_drafts_a_step_gains_one_token() -> None:
    world = build_world(prepared(deployment__drafts=0), 1)
    assert world.fleet.pools[0].sched.accept_milli == 1_000
    assert (world.calls.decode_steps == world.calls.output_tokens - 1).all()


def test_every_call_fits_the_pool_and_what_is_cut_is_told() -> None:
    found = prepared(deployment__kv_pool_tokens=40_000)
    world = build_world(found, 1)
    (pool,) = world.fleet.pools
    assert most_blocks(world, pool).max() <= pool.blocks_per_rank
    assert found.cut_trajectories > 0
    assert any("does not fit the KV pool of a rank" in note for note in found.notes)


def test_the_tighter_of_pool_and_deployment_limits_the_context() -> None:
    roomy = load_profiles(load_scenario({"deployment": "hgx_h200_v4pro_20tps", "workload": {"kind": "fixed", "isl": 1, "osl": 1}}))[2]
    assert context_limit(roomy)[0] == roomy.max_context_tokens
    tight = prepared(deployment__kv_pool_tokens=40_000).deployment
    (pool,) = tight.pools
    assert context_limit(tight)[0] == pool.blocks_per_rank * tight.block_tokens - pool.lookahead


def test_a_pool_without_room_for_a_call_is_refused() -> None:
    with pytest.raises(UserError, match="room for at least one call"):
        prepared(deployment__kv_pool_tokens=1_000)


def test_tool_delays_scale() -> None:
    usual, doubled = prepared(), prepared(workload__tool_delay_scale=2)
    assert np.array_equal(doubled.calls.tool_ps, 2 * usual.calls.tool_ps)


def test_what_differs_from_the_file_is_told() -> None:
    assert prepared(deployment__max_seqs=8).notes[0] == "deployment hgx_h200_v4pro_20tps with max_seqs = 8"
    moved = prepared(system="hgx_b200")
    assert "was written for system hgx_h200 and runs with hgx_b200" in moved.notes[0]
    assert moved.system.name == "hgx_b200"


def test_the_tier_of_the_deployment_stands_in_for_an_slo() -> None:
    found = prepared()
    assert found.slo.as_dict()["speed_tok_s"] == found.deployment.speed_floor_tok_s
    assert prepared(slo__e2e_speed_tok_s=9).slo.as_dict() == {"e2e_speed_tok_s": 9, "e2e_percentile": 25}


def test_no_reuse_is_possible_without_a_prefix_cache() -> None:
    assert prepared().cache_hit_possible > 0.9
    assert prepared(deployment__prefix_cache=False).cache_hit_possible == 0


def fixed(isl: int, **changes: Any) -> Prepared:
    """Equal calls on the published shape of prefill and decode pools."""
    load = {"kind": "fixed", "isl": isl, "osl": 1_000, "concurrency": 4}
    return prepare(load_scenario({"deployment": "gb300_nvl72_v4pro_20tps_pd", "workload": load}, changes), 1)


def test_a_world_of_prefill_and_decode_pools() -> None:
    found = fixed(8_000)
    world = build_world(found, 4)
    assert world.fleet.disaggregated
    assert [pool.blocks_per_rank for pool in world.fleet.pools] == [pool.blocks_per_rank for pool in found.deployment.pools]
    assert found.cache_hit_possible == 0  # nothing is shared between fixed calls
    assert found.notes == ()


def test_a_field_of_a_pool_changes_by_its_path_and_is_told() -> None:
    found = fixed(8_000, **{"deployment.pools.decode.workers": 2, "deployment.kv_link_latency_s": 0.005})
    assert [pool.workers for pool in found.deployment.pools] == [6, 2]
    assert build_world(found, 1).fleet.link_latency_ps == 5 * PS_PER_S // 1_000
    assert found.notes[0] == "deployment gb300_nvl72_v4pro_20tps_pd with pools.decode.workers = 2, kv_link_latency_s = 0.005"


def test_calls_fit_the_tightest_pool_where_they_decode_and_their_prompts_where_they_prefill() -> None:
    decode = {"deployment.pools.decode.kv_pool_tokens": 8 * 20_000}
    limit, why = context_limit(fixed(8_000, **decode).deployment)
    assert (limit, why) == (20_000 // 128 * 128 - 3, "the KV pool of a rank of pool decode (19,965 tokens)")
    prefill = {"deployment.pools.prefill.kv_pool_tokens": 4 * 20_000}
    assert fixed(19_900, **prefill).calls.prompt_tokens.tolist() == [19_900]  # its answer is not held where it is prefilled
    with pytest.raises(UserError, match="max_context_tokens"):
        fixed(20_000, **prefill)
    nothing = {"deployment.pools.prefill.kv_pool_share": 0.001, "deployment.pools.prefill.memory_share": 0.82}
    with pytest.raises(UserError, match=r"pools.prefill.blocks_per_rank; found \d+ blocks.*room for at least one call"):
        fixed(8_000, **nothing)
