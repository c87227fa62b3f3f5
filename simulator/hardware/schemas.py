"""The schemas of the three kinds of profile: which fields a system, a model card and a deployment have, in which unit and range."""

from simulator.hardware.profile import Schema, Spec


def _count(unit: str, low: float = 1, high: float = 1e7, optional: bool = False) -> Spec:
    return Spec("count", unit, low, high, optional=optional)


def _share(low: float = 0.0, high: float = 1.0, optional: bool = False) -> Spec:
    return Spec("number", "1", low, high, optional=optional)


def _word(*choices: str, optional: bool = False) -> Spec:
    return Spec("word", choices=choices, optional=optional)


SYSTEM: Schema = {
    "gpus": _count("GPUs", 1, 100_000),
    "hbm_bytes": Spec("number", "bytes", 1e9, 1e13),
    "hbm_bytes_per_s": Spec("number", "bytes/s", 1e10, 1e15),
    "bf16_flops": Spec("number", "FLOP/s", 1e12, 1e18),
    "fp8_flops": Spec("number", "FLOP/s", 1e12, 1e18),
    "scale_up_bytes_per_s": Spec("number", "bytes/s", 0, 1e14),
    "host_link_bytes_per_s": Spec("number", "bytes/s", 0, 1e14),
    "tdp_w": Spec("number", "W", 1, 10_000),
    "idle_w": Spec("number", "W", 0, 10_000),
    "nameplate_w": Spec("number", "W", 1, 1e7),
    "other_w": Spec("number", "W", 0, 1e7),
    "pue": Spec("number", "1", 1.0, 3.0),
    "power_floor": _share(),
    "power_hbm": _share(0.0, 5.0),
    "power_flop": _share(0.0, 5.0),
}

KV_TYPES = ("packed_fp8", "fp8", "bf16")
INDEX_TYPES = ("fp4", "fp8", "bf16")

MODEL: Schema = {
    **{
        key: _count("count")
        for key in (
            "layers", "csa_layers", "csa_ratio", "hca_layers", "hca_ratio", "hidden", "heads", "head_dim", "q_lora_rank", "o_groups",
            "o_lora_rank", "index_heads", "index_dim", "index_topk", "routed_experts", "experts_per_token", "expert_inner", "hyper_streams",
            "vocab",
        )
    },
    "shared_experts": _count("count", 0),
    "mtp_layers": _count("count", 0),
    "window_tokens": _count("tokens"),
    "max_context_tokens": _count("tokens"),
    **{key: Spec("number", "bytes", 0.1, 8) for key in ("expert_param_bytes", "dense_param_bytes", "wide_param_bytes")},
    **{f"kv_entry_bytes_{kind}": Spec("number", "bytes", 1, 100_000) for kind in KV_TYPES},
    **{f"index_entry_bytes_{kind}": Spec("number", "bytes", 1, 100_000) for kind in INDEX_TYPES},
    "accept_means": Spec("numbers", "tokens", 1, 64),
}  # fmt: skip

DEPLOYMENT: Schema = {
    "imitates": _word(),
    "system": _word(),
    "model": _word(),
    "speed_floor_tok_s": Spec("number", "tokens/s", 0.1, 100_000),
    "ttft_ceiling_s": Spec("number", "s", 0.001, 100_000),
    "workers": _count("count", 1, 100_000),
    "gpus_per_worker": _count("GPUs", 1, 100_000),
    "attention": _word("dp", "tp"),
    "ranks": _count("count", 1, 100_000),
    "ep": _count("GPUs", 1, 100_000),
    "compute_type": _word("bf16", "fp8"),
    "kv_type": _word(*KV_TYPES),
    "index_type": _word(*INDEX_TYPES),
    "memory_share": _share(0.05, 1.0),
    "reserve_bytes": Spec("number", "bytes", 0, 1e13),
    "kv_pool_share": _share(0.001, 1.0, optional=True),
    "kv_pool_tokens": _count("tokens", 1, 10**12, optional=True),
    "block_tokens": _count("tokens", 1, 65_536),
    "token_budget": _count("tokens", 1, 10**6),
    "max_seqs": _count("count", 1, 100_000),
    "long_prefill_cap": _count("tokens", 0, 10**6),
    "prefill_interval": _count("count", 1, 10_000),
    "admit_reserve": _word("chunk", "input"),
    "watermark_share": _share(0.0, 0.99),
    "pipeline_depth": _count("count", 1, 2),
    "prefix_cache": Spec("switch"),
    "drafts": _count("tokens", 0, 63),
    "accept_means": Spec("numbers", "tokens", 1, 64, optional=True),
    "lookahead": _count("tokens", 0, 1_000),
    "router": _word("session_affinity", "round_robin", "least_loaded"),
    "max_context_tokens": _count("tokens", 1, 10**9),
    "floor_s": Spec("number", "s", 0, 10),
    "host_s": Spec("number", "s", 0, 10),
    "routing_skew": _share(0.01, 1.0),
    "hbm_efficiency": _share(0.01, 1.2),
    "kv_efficiency": _share(0.01, 1.2),
    "decode_token_s": Spec("number", "s", 0, 1),
    "prefill_token_s": Spec("number", "s", 0, 1),
    "prefill_pair_s": Spec("number", "s", 0, 1e-3),
}
