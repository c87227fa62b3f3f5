"""Each rule of the limiter's table, by operating points made to show it."""

from dataclasses import replace

import pytest

from simulator.capacity.limiter import BLOCKED, LOST, Pressure, find_limiter, lost_reuse

CALM = Pressure(
    step_shares={"launch_floor": 0.1, "weights": 0.15, "kv_read": 0.05, "decode_compute": 0.1, "prefill_compute": 0.1, "idle": 0.5},
    blocked_shares={"kv_memory": 0.0, "seats": 0.0, "token_budget": 0.0},
    cache_hit=0.9,
    cache_hit_possible=0.95,
)


def blocked(**shares: float) -> Pressure:
    return replace(CALM, blocked_shares={**CALM.blocked_shares, **shares})


def busy(**shares: float) -> Pressure:
    return replace(CALM, step_shares={**CALM.step_shares, **shares, "idle": 0.3})


@pytest.mark.parametrize(
    ("point", "limiter", "figure"),
    [
        (blocked(kv_memory=0.3, seats=0.2), "kv_capacity", "30%"),
        (blocked(kv_memory=0.2, seats=0.3), "batch_slots", "30%"),
        (replace(CALM, cache_hit=0.1), "kv_capacity", "94%"),
        (busy(prefill_compute=0.3), "prefill_compute", "43%"),
        (busy(decode_compute=0.3), "decode_compute", "43%"),
        (busy(launch_floor=0.3), "host", "43%"),
        (CALM, "hbm_bandwidth", "40%"),
    ],
)
def test_each_rule(point: Pressure, limiter: str, figure: str) -> None:
    found, sentence = find_limiter(point)
    assert found == limiter
    assert figure in sentence


def test_thresholds_are_inclusive() -> None:
    assert find_limiter(blocked(seats=BLOCKED))[0] == "batch_slots"
    assert find_limiter(blocked(seats=BLOCKED - 0.001))[0] == "hbm_bandwidth"
    half_lost = replace(CALM, cache_hit=0.5, cache_hit_possible=0.5 + LOST / 2)
    assert find_limiter(half_lost)[0] == "kv_capacity"
    assert find_limiter(replace(half_lost, cache_hit_possible=0.74))[0] == "hbm_bandwidth"


def test_waiting_for_the_token_budget_is_prefill_not_a_queue() -> None:
    assert find_limiter(blocked(token_budget=0.9))[0] == "hbm_bandwidth"


def test_lost_reuse_is_a_share_of_the_computed_tokens() -> None:
    assert lost_reuse(replace(CALM, cache_hit=0.6, cache_hit_possible=0.9)) == pytest.approx(0.75)
    assert lost_reuse(replace(CALM, cache_hit=0.96, cache_hit_possible=0.95)) == 0
    assert lost_reuse(replace(CALM, cache_hit=1.0, cache_hit_possible=1.0)) == 0
