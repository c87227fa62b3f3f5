"""The schemas of the four kinds of profile: the fields of systems, model cards, engine presets and deployments, with unit and range."""

from dataclasses import replace

from simulator.hardware.spec import Schema, Spec


def _count(unit: str, low: float = 1, high: float = 1e7, optional: bool = False) -> Spec:
    return Spec("count", unit, low, high, optional=optional)


def _share(low: float = 0.0, high: float = 1.0, optional: bool = False) -> Spec:
    return Spec("number", "1", low, high, optional=optional)


def _word(*choices: str, optional: bool = False) -> Spec:
    return Spec("word", choices=choices, optional=optional)


PRICES: Schema = {
    "capital_usd": Spec("number", "USD", 0, 1e9, optional=True),
    "own_usd_per_gpu_hour": Spec("number", "USD/GPU-hour", 0, 1000, optional=True),
    "rent_usd_per_gpu_hour": Spec("number", "USD/GPU-hour", 0, 1000, optional=True),
}
"""What a system costs. Only `size` and cost columns rest on these fields: they are no part of the quality of any other answer."""

SYSTEM: Schema = {
    "gpus": _count("GPUs", 1, 100_000),
    "hbm_bytes": Spec("number", "bytes", 1e9, 1e13),
    "hbm_bytes_per_s": Spec("number", "bytes/s", 1e10, 1e15),
    "bf16_flops": Spec("number", "FLOP/s", 1e12, 1e18),
    "fp8_flops": Spec("number", "FLOP/s", 1e12, 1e18),
    "fp4_flops": Spec("number", "FLOP/s", 1e12, 1e18, optional=True),
    "scale_up_bytes_per_s": Spec("number", "bytes/s", 0, 1e14),
    "scale_out_bytes_per_s": Spec("number", "bytes/s", 0, 1e14, optional=True),
    "host_link_bytes_per_s": Spec("number", "bytes/s", 0, 1e14),
    "host_bytes": Spec("number", "bytes", 0, 1e16, optional=True),
    "tdp_w": Spec("number", "W", 1, 10_000),
    "idle_w": Spec("number", "W", 0, 10_000),
    "nameplate_w": Spec("number", "W", 1, 1e7),
    "other_w": Spec("number", "W", 0, 1e7),
    "pue": Spec("number", "1", 1.0, 3.0),
    "power_floor": _share(),
    "power_hbm": _share(0.0, 5.0),
    "power_flop": _share(0.0, 5.0),
    "power_rise": Spec("number", "1", 1.0, 50.0),
    **PRICES,
}

KV_TYPES = ("packed_fp8", "fp8", "bf16")
INDEX_TYPES = ("fp4", "fp8", "bf16")
WEIGHT_TYPES = ("stored", "bf16", "fp8", "fp4")

ATTENTION_KINDS = ("gqa", "mla", "hybrid", "compressed")

MODEL: Schema = {
    "attention": _word(*ATTENTION_KINDS),
    **{key: _count("count") for key in ("layers", "hidden", "heads", "vocab")},
    "max_context_tokens": _count("tokens"),
    **{
        key: _count("count", optional=True)
        for key in (
            "kv_heads", "head_dim", "window_layers", "q_lora_rank", "kv_lora_rank", "nope_dim", "rope_dim", "value_dim", "linear_layers",
            "linear_key_heads", "linear_value_heads", "linear_key_dim", "linear_value_dim", "convolution", "csa_layers",
            "csa_ratio", "hca_layers", "hca_ratio", "o_groups", "o_lora_rank", "index_heads", "index_dim", "index_topk", "dense_layers",
            "dense_inner", "routed_experts", "experts_per_token", "expert_inner", "hyper_streams",
        )
    },
    "window_tokens": _count("tokens", optional=True),
    "shared_experts": _count("count", 0, optional=True),
    "mtp_layers": _count("count", 0, optional=True),
    "expert_param_bytes": Spec("number", "bytes", 0.1, 8, optional=True),
    **{key: Spec("number", "bytes", 0.1, 8) for key in ("dense_param_bytes", "attention_param_bytes", "wide_param_bytes")},
    "fp4_attention_param_bytes": Spec("number", "bytes", 0.1, 8, optional=True),
    **{f"kv_entry_bytes_{kind}": Spec("number", "bytes", 1, 100_000, optional=True) for kind in KV_TYPES},
    **{f"index_entry_bytes_{kind}": Spec("number", "bytes", 1, 100_000, optional=True) for kind in INDEX_TYPES},
    "accept_means": Spec("numbers", "tokens", 1, 64, optional=True),
}  # fmt: skip
"""Which of the optional fields a card needs follows from its attention and its feed-forward layers (`card_rules.py`)."""

ROUTERS = ("session_affinity", "worker_affinity", "prefix_aware", "least_loaded", "round_robin")

ENGINE: Schema = {
    "imitates": _word(),
    "batch_mode": _word("mixed", "prefill_first"),
    "long_prefill_cap": _count("tokens", 0, 10**6),
    "prefill_interval": _count("count", 1, 10_000),
    "decode_interval": _count("count", 0, 10_000),
    "chunk_round": _count("tokens", 0, 65_536),
    "ranks_share_budget": Spec("switch", optional=True),
    "admit_reserve": _word("chunk", "input", "input_ratio", "input_full"),
    "watermark_share": _share(0.0, 0.99),
    "max_new_tokens": _count("tokens", 1, 10**6),
    "ratio_clip": _count("tokens", 1, 10**6),
    "ratio_init": _share(),
    "ratio_min": _share(),
    "ratio_steps": _count("count", 1, 10**6),
    "victim": _word("last", "fewest_output"),
    "victim_with_drafts": _word("last", "fewest_output", optional=True),
    "requeue": _word("front", "tail"),
    "pipeline_depth": _count("count", 1, 2),
    "prefix_cache": Spec("word", choices=("none", "blocks", "slots"), off_on=("none", "blocks")),
    "decode_prefix_cache": _word("none", "blocks", optional=True),
    "visible": _word("scheduled", "result"),
    "slot_similarity": _share(),
    "lookahead_per_draft": _count("tokens", 0, 16),
    "first_token": _word("prefill", "decode", optional=True),
    "kv_transfer": _word("end", "chunk", optional=True),
    "decode_prealloc": Spec("switch", optional=True),
    "kv_link": _word("scale_up", "scale_out", "host", optional=True),
    "kv_link_efficiency": _share(0.001, 1.0, optional=True),
    "kv_link_latency_s": Spec("number", "s", 0, 10, optional=True),
    "kv_port": _word("rank", "worker", optional=True),
    "decode_router": _word(*ROUTERS, optional=True),
    "host_latency_s": Spec("number", "s", 0, 10, optional=True),
    "balance_calls": _count("count", 0, 10**6),
    "balance_ratio": Spec("number", "1", 1.0, 1000),
    "match_share": _share(),
}
"""What a preset says of an engine. ``chunk_round`` 0 stands for the size of a KV block."""

PRESET_ONLY = ("imitates", "ranks_share_budget", "decode_prefix_cache", "victim_with_drafts", "lookahead_per_draft")
"""What an engine does by role, with ranks or with drafts; a deployment says what comes of it (``prefix_cache``, ``token_budget``,
``victim``, ``lookahead``)."""

FROM_PRESET: Schema = {key: replace(spec, optional=True) for key, spec in ENGINE.items() if key not in PRESET_ONLY}
"""The options that a deployment takes from its preset unless it gives them."""

DEPLOYMENT: Schema = {
    "engine": _word(optional=True),
    "imitates": _word(optional=True),
    "system": _word(),
    "model": _word(),
    "speed_floor_tok_s": Spec("number", "tokens/s", 0.1, 100_000),
    "ttft_ceiling_s": Spec("number", "s", 0.001, 100_000),
    "workers": _count("count", 1, 100_000),
    "gpus_per_worker": _count("GPUs", 1, 100_000),
    "attention": _word("dp", "tp"),
    "ranks": _count("count", 1, 100_000),
    "ep": _count("GPUs", 1, 100_000),
    "weight_type": _word(*WEIGHT_TYPES, optional=True),
    "compute_type": _word("bf16", "fp8", "fp4"),
    "kv_type": _word(*KV_TYPES),
    "index_type": _word(*INDEX_TYPES, optional=True),
    "memory_share": _share(0.05, 1.0),
    "reserve_bytes": Spec("number", "bytes", 0, 1e13),
    "kv_pool_share": _share(0.001, 1.0, optional=True),
    "kv_pool_tokens": _count("tokens", 0, 10**12, optional=True),
    "host_tier_bytes": Spec("number", "bytes", 0, 1e14, optional=True),
    "tails": _count("count", 0, 10**7, optional=True),
    "block_tokens": _count("tokens", 1, 65_536),
    "token_budget": _count("tokens", 1, 10**6),
    "max_seqs": _count("count", 1, 100_000),
    "drafts": _count("tokens", 0, 63),
    "accept_means": Spec("numbers", "tokens", 1, 64, optional=True),
    "lookahead": _count("tokens", 0, 1_000, optional=True),
    "router": _word(*ROUTERS),
    **FROM_PRESET,
    "max_context_tokens": _count("tokens", 1, 10**9),
    "floor_s": Spec("number", "s", 0, 10),
    "host_s": Spec("number", "s", 0, 10),
    "routing_skew": _share(0.01, 1.0),
    "hbm_efficiency": _share(0.01, 1.2),
    "kv_efficiency": _share(0.01, 1.2),
    "decode_token_s": Spec("number", "s", 0, 1),
    "prefill_token_s": Spec("number", "s", 0, 1),
    "prefill_pair_s": Spec("number", "s", 0, 1e-3),
    "prefill_expert_s": Spec("number", "s", 0, 1, optional=True),
    "sequence_s": Spec("number", "s", 0, 10, optional=True),
    "context_token_s": Spec("number", "s", 0, 1, optional=True),
    "shared_tokens": Spec("numbers", "tokens", 0, 10**6, optional=True),
    "shared_s": Spec("numbers", "s", 0, 100, optional=True),
    "request_s": Spec("number", "s", 0, 100, optional=True),
    "valid_seqs": _count("count", 1, 100_000, optional=True),
    "valid_context_tokens": _count("tokens", 1, 10**9, optional=True),
    "valid_chunk_tokens": _count("tokens", 1, 10**9, optional=True),
    "wider_token_s": Spec("number", "s", 0, 1e-3, optional=True),
    "fitted_ep": _count("GPUs", 1, 100_000, optional=True),
}

LAYOUT = ("workers", "gpus_per_worker", "attention", "ranks", "ep")
"""What pools that a deployment lists must say; for a deployment without pools it is derived like the rest."""

LAW = ("floor_s", "host_s", "routing_skew", "hbm_efficiency", "kv_efficiency", "decode_token_s", "prefill_token_s", "prefill_pair_s")
"""The step-time coefficients of a pool: each pool that does not give one derives it, whatever the others do."""

GIVEN = ("system", "model")
DEPLOYMENT = {key: spec if spec.optional or key in GIVEN else replace(spec, derived=True) for key, spec in DEPLOYMENT.items()}

OWN_BY_POOL = (
    "workers", "gpus_per_worker", "attention", "ranks", "ep", "memory_share", "reserve_bytes", "kv_pool_share", "kv_pool_tokens",
    "host_tier_bytes", "tails", "token_budget", "max_seqs", "lookahead", "batch_mode", "long_prefill_cap", "prefill_interval",
    "decode_interval", "chunk_round", "admit_reserve", "watermark_share", "max_new_tokens", "ratio_clip", "ratio_init", "ratio_min",
    "ratio_steps", "victim", "requeue", "pipeline_depth", "prefix_cache", "visible", "slot_similarity", "floor_s", "host_s", "routing_skew",
    "hbm_efficiency", "kv_efficiency", "decode_token_s", "prefill_token_s", "prefill_pair_s", "prefill_expert_s",
    "wider_token_s", "fitted_ep", "sequence_s", "context_token_s", "shared_tokens", "shared_s", "valid_seqs", "valid_context_tokens",
    "valid_chunk_tokens",
)  # fmt: skip

POOL: Schema = {"role": _word("mixed", "prefill", "decode"), **{key: DEPLOYMENT[key] for key in OWN_BY_POOL}}
"""What a pool of a deployment may say for itself; the rest is the same for all its pools."""
