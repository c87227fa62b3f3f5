"""Pools of a deployment as objects: the KV pool and host tier of their ranks, computed from memory or taken as measured.

Inputs are a pool's effective fields (preset, then deployment, then its own), a system and a model card.
"""

import math
from dataclasses import MISSING, dataclass, fields

from simulator.errors import Mistake, UserError
from simulator.hardware.deployment import LawCoefficients, WorkerPool
from simulator.hardware.memory import blocks_for, kv_bytes_per_token, kv_fixed_bytes, kv_shares, weight_bytes_per_gpu
from simulator.hardware.model_card import ModelCard
from simulator.hardware.profile import Profile
from simulator.hardware.system import System
from simulator.hardware.unknown import known

BY_FIELD = (
    "workers", "gpus_per_worker", "attention", "ranks", "ep", "token_budget", "max_seqs", "long_prefill_cap", "prefill_interval",
    "admit_reserve", "watermark_share", "prefix_cache", "batch_mode", "decode_interval", "max_new_tokens", "ratio_clip", "ratio_init",
    "ratio_min", "ratio_steps", "victim", "requeue", "visible", "slot_similarity",
)  # fmt: skip
"""What a pool takes from its fields as it stands there."""


@dataclass(frozen=True)
class KVPool:
    """The KV cache of a rank: ``computed`` or ``measured``, whole blocks, blocks a running sequence holds besides, and what to tell."""

    kind: str
    blocks: int
    fixed_blocks: int
    host_blocks: int
    note: str


def worker_pool(name: str, pool: Profile, system: System, model: ModelCard) -> tuple[WorkerPool, str]:
    """A pool from its effective fields, and a sentence on its KV memory.

    A prefill pool keeps no slots ahead for drafts and does not pipeline its steps: its calls end with their first token.

    Raises
    ------
    UserError
        When its weights leave no room for a KV block.
    """
    role = pool.get("role", "mixed")
    found = kv_pool(pool, system, model)
    if found.blocks < 1:
        field = pool.fields["memory_share" if found.kind == "computed" else "kv_pool_tokens"]
        room = f"room for a KV block; {found.note}"
        raise UserError(Mistake(field.file or pool.file, f"{field.name}.value", repr(field.value), room, line=field.line))
    return (
        WorkerPool(
            name=name,
            role=role,
            **{key: pool[key] for key in BY_FIELD},
            blocks_per_rank=found.blocks,
            fixed_blocks=found.fixed_blocks,
            pool_kind=found.kind,
            pipeline_depth=1 if role == "prefill" else pool["pipeline_depth"],
            chunk_round=pool["chunk_round"] or pool["block_tokens"],
            lookahead=0 if role == "prefill" else pool["lookahead"],
            host_blocks=found.host_blocks,
            tails=pool.get("tails", 0),
            law=law_of(pool),
        ),
        found.note,
    )


def law_of(pool: Profile) -> LawCoefficients:
    """The coefficients that a pool gives; nan for those of streaming in a measured law.

    Raises
    ------
    UserError
        When the shared part of a prompt token's time is more than the whole.
    """
    law = LawCoefficients(**{f.name: pool.get(f.name, math.nan if f.default is MISSING else f.default) for f in fields(LawCoefficients)})
    if law.prefill_expert_s > law.prefill_token_s:
        field = pool.fields["prefill_expert_s"]
        most = f"at most prefill_token_s, {law.prefill_token_s:g} s, of which it is a part"
        raise UserError(Mistake(field.file or pool.file, f"{field.name}.value", repr(field.value), most, line=field.line))
    return law


def kv_pool(pool: Profile, system: System, model: ModelCard) -> KVPool:
    """The KV memory of a rank.

    A measured pool counts the tokens that an engine really admitted, so the fixed parts of its sequences are taken as lying outside it.
    Under tensor parallelism a GPU holds its KV heads of all sequences, in HBM and in its host tier: all of the KV cache where the model
    has one KV head.
    """
    block_tokens = pool["block_tokens"]
    if not known(system, model):
        held = pool["kv_pool_tokens"] // pool["ranks"] // block_tokens
        return KVPool("measured", held, 0, 0, f"KV pool: {held * block_tokens:,} tokens per rank are used, as the profile gives it.")
    tp = pool["gpus_per_worker"] if pool["attention"] == "tp" else 1
    kv_type, (fixed_share, share_of_kv) = pool["kv_type"], kv_shares(model, tp)
    per_token = kv_bytes_per_token(model, kv_type, pool.get("index_type", "none")) * share_of_kv
    weights = weight_bytes_per_gpu(model, ep=pool["ep"], tp=tp, weight_type=pool.get("weight_type", "stored"))
    free = system.hbm_bytes * pool["memory_share"] - weights - pool["reserve_bytes"]
    share = pool.get("kv_pool_share", 1.0)
    fixed = -int(-kv_fixed_bytes(model, kv_type) * fixed_share // (block_tokens * per_token))
    whole = blocks_for(free, block_tokens, per_token) * block_tokens
    host = blocks_for(pool.get("host_tier_bytes", 0.0), block_tokens, per_token)
    behind = f"; the host tier holds {host * block_tokens:,}" if host else ""
    arithmetic = f"memory arithmetic gives {whole:,} tokens per rank ({weights / 1e9:.0f} GB of weights per GPU)"
    given = pool.get("kv_pool_tokens", 0)
    if not given:
        used = f"; {share:.0%} of that is used" if share < 1 else ""
        blocks = blocks_for(free * share, block_tokens, per_token)
        return KVPool("computed", blocks, fixed, host, f"KV pool: {arithmetic}{used}{behind}.")
    measured = given // pool["ranks"] // block_tokens
    note = f"KV pool: {measured * block_tokens:,} tokens per rank are used, as the profile gives it; {arithmetic}{behind}."
    return KVPool("measured", measured, 0, host, note)
