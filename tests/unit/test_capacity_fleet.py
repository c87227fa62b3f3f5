"""Fleets from deployments: link and host times against hand arithmetic, scheduling options, several pools."""

import pytest

from simulator.capacity.fleet import engine_fleet, engine_pools, host_time, port_time, schedule
from simulator.engine.world import (
    BATCH_PREFILL_FIRST,
    CACHE_BLOCKS,
    CACHE_NONE,
    FIRST_BY_DECODE,
    FIRST_BY_PREFILL,
    RESERVE_FULL,
    RESERVE_RATIO,
    ROLE_DECODE,
    ROLE_MIXED,
    ROLE_PREFILL,
    ROUTER_AFFINITY,
    ROUTER_LEAST_LOADED,
    TRANSFER_CHUNK,
    TRANSFER_END,
    Fleet,
)
from simulator.hardware.deployment import Deployment
from simulator.hardware.load import load_deployment, load_model, load_system
from simulator.units import PS_PER_S

MODEL = load_model("deepseek_v4_pro")
SHAPE = "gb300_nvl72_v4pro_20tps_pd"
# V4-Pro, packed FP8 with FP8 index: 61 windows of 128 entries, the compressors' float32 state, and 5,511.4375 bytes a token.
FIXED = 61 * 128 * 584 + 30 * 2 * 4 * 2 * (512 + 128) * 4 + 31 * 2 * 128 * 512 * 4
PER_TOKEN = 30 * (584 + 132) / 4 + 31 * 584 / 128


def fleet_of(name: str, **overrides: object) -> tuple[Fleet, Deployment]:
    deployment = load_deployment(name, overrides)
    pools = engine_pools(load_system(deployment.system), MODEL, deployment)
    import numpy as np

    return engine_fleet(deployment, pools, np.zeros(2, np.int64), np.arange(3, dtype=np.int64)), deployment


def seconds(fixed_ps: int, token_fp: int, tokens: int) -> float:
    """As both engines reckon it."""
    return (fixed_ps + (token_fp * tokens >> 10)) / PS_PER_S


def test_a_prompt_through_the_ports_of_the_published_shape():
    """Every rank is one GPU: 900 GB/s of NVLink, half of it achieved."""
    fleet, _ = fleet_of(SHAPE)
    for pool in fleet.pools:
        expected = (FIXED + 27_000 * PER_TOKEN) / (900e9 * 0.5)
        assert seconds(pool.port_fixed_ps, pool.port_token_fp, 27_000) == pytest.approx(expected, rel=1e-6)
        assert pool.shared_port == 0
    assert fleet.link_latency_ps == 2 * 10**9


def test_tensor_parallel_ranks_send_over_the_links_of_all_their_gpus():
    pools = {"prefill": {"role": "prefill", "attention": "tp", "ranks": 1, "gpus_per_worker": 8, "ep": 8, "workers": 1},
             "decode": {"gpus_per_worker": 4, "ranks": 4, "ep": 4}}  # fmt: skip
    fleet, _ = fleet_of(SHAPE, kv_link="scale_out", kv_link_efficiency=1.0, kv_port="worker", pools=pools)
    prefill, decode = fleet.pools
    assert prefill.port_token_fp == pytest.approx(PER_TOKEN / (8 * 100e9) * 1e12 * 1024, abs=1)
    assert decode.port_token_fp == pytest.approx(PER_TOKEN / 100e9 * 1e12 * 1024, abs=1)
    assert decode.port_fixed_ps == pytest.approx(8 * prefill.port_fixed_ps, rel=1e-6)
    assert (prefill.shared_port, decode.shared_port) == (1, 1)


def test_nothing_moves_between_mixed_pools():
    deployment = load_deployment("hgx_b200_v4pro_20tps_host")
    system = load_system(deployment.system)
    assert port_time(system, MODEL, deployment, deployment.pools[0]) == (0, 0)
    assert host_time(system, MODEL, load_deployment("hgx_b200_v4pro_20tps"), load_deployment("hgx_b200_v4pro_20tps").pools[0]) == (0, 0)


@pytest.mark.parametrize("name", ["hgx_b200_v4pro_20tps_host", "hgx_h200_v4pro_20tps_sglang"])
def test_kv_comes_back_from_the_host_over_one_gpus_link(name):
    """50 GB/s of PCIe and 1 ms of start-up, under TP too: each of the 8 GPUs loads a copy of its own."""
    (pool,) = fleet_of(name)[0].pools
    expected = 1e-3 + (FIXED + 27_000 * PER_TOKEN) / 50e9
    assert seconds(pool.host_fixed_ps, pool.host_token_fp, 27_000) == pytest.approx(expected, rel=1e-6)
    assert pool.host_blocks == 128 * 2**30 // (64 * 5511.4375)


def test_pools_keep_their_order_and_roles():
    fleet, deployment = fleet_of(SHAPE)
    assert fleet.disaggregated
    assert [(pool.role, pool.workers, pool.ranks) for pool in fleet.pools] == [(ROLE_PREFILL, 6, 4), (ROLE_DECODE, 1, 8)]
    assert [pool.blocks_per_rank for pool in fleet.pools] == [pool.blocks_per_rank for pool in deployment.pools]
    assert [pool.power.gpus_per_rank for pool in fleet.pools] == [1, 1]
    mixed, _ = fleet_of("gb300_nvl72_v4pro_20tps")
    assert [(pool.role, pool.workers, pool.ranks) for pool in mixed.pools] == [(ROLE_MIXED, 9, 8)]
    assert not mixed.disaggregated


def test_a_prefill_pool_schedules_prompts_only():
    prefill, decode = (schedule(load_deployment(SHAPE), pool) for pool in load_deployment(SHAPE).pools)
    assert (prefill.drafts, prefill.accept_milli, prefill.lookahead, prefill.pipeline_depth) == (0, 1000, 0, 1)
    assert (decode.drafts, decode.accept_milli, decode.lookahead, decode.pipeline_depth) == (3, 2490, 3, 2)
    assert (prefill.admit_reserve, prefill.max_new_tokens) == (RESERVE_FULL, 1)
    assert (decode.admit_reserve, decode.max_new_tokens) == (RESERVE_FULL, 16_384)
    assert (prefill.prefix_cache, decode.prefix_cache) == (CACHE_BLOCKS, CACHE_NONE)


def test_transfers_are_the_presets():
    for engine, first, transfer, prealloc in (
        ("trtllm", FIRST_BY_PREFILL, TRANSFER_END, 0),
        ("sglang", FIRST_BY_PREFILL, TRANSFER_CHUNK, 1),
        ("vllm", FIRST_BY_DECODE, TRANSFER_END, 0),
    ):
        fleet, _ = fleet_of(SHAPE, engine=engine)
        assert (fleet.first_token, fleet.transfer, fleet.prealloc) == (first, transfer, prealloc)
    assert (fleet.router, fleet.decode_router) == (ROUTER_AFFINITY, ROUTER_LEAST_LOADED)
    assert (fleet.balance_calls, fleet.balance_milli, fleet.match_milli) == (64, 1500, 300)


def test_sglangs_reservation_in_thousandths():
    sched = fleet_of("hgx_b300_v4pro_20tps")[0].pools[0].sched
    assert (sched.batch_mode, sched.admit_reserve) == (BATCH_PREFILL_FIRST, RESERVE_RATIO)
    assert (sched.ratio_clip, sched.ratio_init_milli, sched.ratio_min_milli, sched.ratio_steps) == (4096, 210, 29, 600)
    assert sched.chunk_round == 64


def test_watermark_and_tails():
    (pool,) = fleet_of("hgx_h200_v4pro_20tps", watermark_share=0.1, tails=40)[0].pools
    assert (pool.sched.watermark_blocks, pool.tails) == (216, 40)
