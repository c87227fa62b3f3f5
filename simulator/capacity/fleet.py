"""The machines of a world: a deployment's pools as the engine's integers. Inputs are loaded profiles."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.engine.world import (
    BATCH_MODES,
    CACHES,
    FIRST_TOKENS,
    REQUEUES,
    RESERVES,
    ROLES,
    ROUTERS,
    TRANSFERS,
    VICTIMS,
    VISIBLES,
    Fleet,
    Pool,
    Sched,
)
from simulator.hardware.deployment import Deployment, WorkerPool
from simulator.hardware.memory import kv_bytes_per_token, kv_fixed_bytes, kv_shares
from simulator.hardware.model_card import ModelCard
from simulator.hardware.power import power_law
from simulator.hardware.step_law import FRACTION_BITS, step_law
from simulator.hardware.system import System
from simulator.units import to_ps


class LinkTime(NamedTuple):
    """Time of a call's KV over a link: ``fixed_ps + (token_fp * tokens >> 10)``."""

    fixed_ps: int
    token_fp: int


def engine_pools(system: System, model: ModelCard, deployment: Deployment) -> tuple[Pool, ...]:
    """The pools of a deployment as the engine reads them."""
    return tuple(_engine_pool(system, model, deployment, pool) for pool in deployment.pools)


def _engine_pool(system: System, model: ModelCard, deployment: Deployment, pool: WorkerPool) -> Pool:
    port, host = port_time(system, model, deployment, pool), host_time(system, model, deployment, pool)
    return Pool(
        role=ROLES[pool.role],
        workers=pool.workers,
        ranks=pool.ranks,
        blocks_per_rank=pool.blocks_per_rank,
        fixed_blocks=pool.fixed_blocks,
        sched=schedule(deployment, pool),
        law=step_law(system, model, deployment, pool),
        power=power_law(system, model, deployment, pool),
        port_fixed_ps=port.fixed_ps,
        port_token_fp=port.token_fp,
        shared_port=int(deployment.kv_port == "worker"),
        host_blocks=pool.host_blocks,
        host_fixed_ps=host.fixed_ps,
        host_token_fp=host.token_fp,
        tails=pool.tails,
    )


def port_time(system: System, model: ModelCard, deployment: Deployment, pool: WorkerPool) -> LinkTime:
    """Time through a rank's port between pools: the links of its GPUs together, for under tensor parallelism each sends its share.

    Zero where nothing moves: in a mixed pool, or when no other pool takes over.
    """
    if pool.role == "mixed" or not deployment.disaggregated:
        return LinkTime(0, 0)
    rate = system.link_bytes_per_s(deployment.kv_link) * pool.gpus_per_rank * deployment.kv_link_efficiency
    return _link_time(model, deployment, rate, 0.0, (1.0, 1.0))


def host_time(system: System, model: ModelCard, deployment: Deployment, pool: WorkerPool) -> LinkTime:
    """Time to bring KV back from the host tier: every GPU loads its KV heads, or a copy of all where there is one, over its own link."""
    if not pool.host_blocks:
        return LinkTime(0, 0)
    return _link_time(model, deployment, system.host_link_bytes_per_s, deployment.host_latency_s, kv_shares(model, pool.gpus_per_rank))


def _link_time(model: ModelCard, deployment: Deployment, bytes_per_s: float, latency_s: float, shares: tuple[float, float]) -> LinkTime:
    """What a sequence holds whatever its length, and its bytes per token (docs/laws.md); of each the share that the link carries."""
    fixed_s = latency_s + kv_fixed_bytes(model, deployment.kv_type) * shares[0] / bytes_per_s
    token_s = kv_bytes_per_token(model, deployment.kv_type, deployment.index_type) * shares[1] / bytes_per_s
    return LinkTime(to_ps(fixed_s), to_ps(token_s * 2**FRACTION_BITS))


def schedule(deployment: Deployment, pool: WorkerPool) -> Sched:
    """The scheduling options of a pool as the engine's integers; a prefill pool drafts nothing and emits one token a call."""
    prefill = pool.role == "prefill"
    drafts = 0 if prefill else deployment.drafts
    return Sched(
        token_budget=pool.token_budget,
        max_seqs=pool.max_seqs,
        long_prefill_cap=pool.long_prefill_cap,
        prefill_interval=pool.prefill_interval,
        admit_reserve=RESERVES[pool.admit_reserve],
        watermark_blocks=int(pool.watermark_share * pool.blocks_per_rank),
        pipeline_depth=pool.pipeline_depth,
        prefix_cache=CACHES[pool.prefix_cache],
        drafts=drafts,
        accept_milli=round(1000 * deployment.accepted_length) if drafts else 1000,
        lookahead=pool.lookahead,
        batch_mode=BATCH_MODES[pool.batch_mode],
        decode_interval=pool.decode_interval,
        chunk_round=pool.chunk_round,
        max_new_tokens=1 if prefill else pool.max_new_tokens,
        ratio_clip=pool.ratio_clip,
        ratio_init_milli=round(1000 * pool.ratio_init),
        ratio_min_milli=round(1000 * pool.ratio_min),
        ratio_steps=pool.ratio_steps,
        victim=VICTIMS[pool.victim],
        requeue=REQUEUES[pool.requeue],
        visible=VISIBLES[pool.visible],
        similarity_milli=round(1000 * pool.slot_similarity),
    )


def engine_fleet(deployment: Deployment, pools: tuple[Pool, ...], start_ps: NDArray[np.int64], order: NDArray[np.int64]) -> Fleet:
    """The fleet of one phase: the pools, the routers before them, the link between them, and when agents start on which trajectory."""
    return Fleet(
        pools=pools,
        block_tokens=deployment.block_tokens,
        router=ROUTERS[deployment.router],
        start_ps=start_ps,
        order=order,
        decode_router=ROUTERS[deployment.decode_router],
        first_token=FIRST_TOKENS[deployment.first_token],
        transfer=TRANSFERS[deployment.kv_transfer],
        prealloc=int(deployment.decode_prealloc),
        link_latency_ps=to_ps(deployment.kv_link_latency_s) if deployment.disaggregated else 0,
        balance_calls=deployment.balance_calls,
        balance_milli=round(1000 * deployment.balance_ratio),
        match_milli=round(1000 * deployment.match_share),
    )
