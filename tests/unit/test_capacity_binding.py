"""Which pool binds: every way from a lost stage to a pool and its resource, and what the sentence says."""

from typing import Any

import pytest
from fake_pools import pair, pool_summary

from simulator.capacity.binding import Binding, Lost, find_binding

WAITING = {"prefill_queue": 7.0, "prefill": 2.0, "link_queue": 0.1, "transfer": 0.2}
SLOT = {"decode_slot": 4.0, "transfer": 1.0, "decode": 5.0}


def ttft(before: dict[str, Any] | None = None, after: dict[str, Any] | None = None, **stages: float) -> Binding:
    spent = stages or WAITING
    return find_binding(pair(before, after), Lost("ttft", 95, spent, spent), 0.9, 0.95)


def speed(spent: dict[str, float], waitless: float, **pools: dict[str, Any]) -> Binding:
    return find_binding(pair(**pools), Lost("speed", 25, spent, spent, waitless, 20.0), 0.9, 0.95)


@pytest.mark.parametrize(
    ("found", "pool", "limiter"),
    [
        (ttft(), "prefill", "prefill_compute"),
        (ttft(prefill_queue=1, prefill=5), "prefill", "prefill_compute"),
        (ttft({"blocked": {"kv_memory": 0.3}}), "prefill", "kv_capacity"),
        (ttft({"blocked": {"seats": 0.3}}), "prefill", "batch_slots"),
        (ttft({"host_share": 0.7}), "prefill", "host_link"),
        (ttft({"link_share": 0.2}, {"link_share": 0.9}, link_queue=6, transfer=3), "decode", "transfer_link"),
        (ttft({"link_share": 0.9}, {"link_share": 0.2}, transfer=3), "prefill", "transfer_link"),
        (ttft(after={"blocked": {"seats": 0.9}}, decode_seat=8, prefill=1), "decode", "batch_slots"),
        (ttft(after={"blocked": {"kv_memory": 0.9}}, decode_seat=8, prefill=1), "decode", "kv_capacity"),
        (ttft(after={"kv_peak_share": 0.99}, decode_slot=8, prefill=1), "decode", "kv_capacity"),
        (ttft(after={"blocked": {"kv_memory": 0.9}, "decode_batch_per_rank": 63}, decode_slot=8, prefill=1), "decode", "batch_slots"),
        (ttft(first_decode=8, prefill=1), "decode", "hbm_bandwidth"),
    ],
)
def test_time_to_the_first_token_is_lost_in_a_stage(found: Binding, pool: str, limiter: str) -> None:
    assert (found.pool, found.limiter) == (pool, limiter)


def test_a_prefill_pool_that_calls_cannot_leave_is_not_to_blame() -> None:
    full = {"blocked": {"kv_memory": 0.5}}
    stuck = ttft(full, {"blocked": {"seats": 0.8}}, prefill_queue=9, prefill=1, decode_slot=4, transfer=0.1)
    assert (stuck.pool, stuck.limiter) == ("decode", "batch_slots")
    assert ttft(full, prefill_queue=9, prefill=1, decode_slot=0.5).pool == "prefill"
    assert ttft(prefill_queue=9, prefill=1, decode_slot=4).pool == "prefill", "the prefill pool itself has room"


def test_speed_is_lost_in_the_waits_only_when_it_would_hold_without_them() -> None:
    assert speed(SLOT, waitless=35, decode={"blocked": {"seats": 0.5}}).limiter == "batch_slots"
    assert speed(SLOT, waitless=19).limiter == "hbm_bandwidth"
    assert speed({"decode_slot": 0.2, "decode": 9.8}, waitless=35).limiter == "hbm_bandwidth", "too short a wait"
    assert speed({"transfer": 4.0, "decode": 5.0}, waitless=35).limiter == "transfer_link"
    assert speed({"decode": 5.0}, waitless=19, decode={"terms": {"launch_floor": 3.0}}).limiter == "host"


def test_end_to_end_speed_is_lost_in_the_longest_stage() -> None:
    def lost(**stages: float) -> str:
        return find_binding(pair(), Lost("e2e_speed", 25, stages, stages), 0.9, 0.95).pool

    assert lost(prefill_queue=5, prefill=1, decode=4) == "prefill"
    assert lost(prefill_queue=1, prefill=1, decode=4) == "decode"


def test_the_busiest_pool_of_a_role_is_named() -> None:
    pools = (pool_summary("a", "mixed", 8, 0.5), pool_summary("b", "mixed", 8, 0.9), pool_summary("c", "mixed", 8, 0.7))
    assert find_binding(pools, Lost("ttft", 95, WAITING, WAITING), 0.9, 0.95).pool == "b"


def test_the_sentence_names_the_utilisation_of_each_pool_and_the_time_lost() -> None:
    why = ttft({"utilisation": 0.93, "lockstep_wait_share": 0.31}).why
    assert why == (
        "the prefill pool binds by its prefill compute: prefill takes 91% of the busy time; of its 9.3 s to the first token a P95 call "
        "spends 7 s waiting for prefill and 2 s in prefill; its 24 GPUs step 93% of the time (a rank waits 31% of that for the slowest), "
        "those of the decode pool 80%"
    )


def test_the_sentence_tells_the_speed_without_the_waits() -> None:
    why = speed(SLOT, waitless=35.4, decode={"blocked": {"seats": 0.5}}).why
    assert "a P25 call spends 40% waiting for a decode slot and 50% in decode steps, and would reach 35.4 tok/s without such waits" in why
    assert "by its batch slots: a rank decodes 30 calls at once in 64 slots and holds 50% of its KV blocks" in why
