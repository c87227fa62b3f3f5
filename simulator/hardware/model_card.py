"""A model card: the values of a model's published config. Totals are computed from them in `memory.py`, never typed in."""

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.hardware.quality import Field


@dataclass(frozen=True)
class ModelCard:
    """A mixture-of-experts model with compressed sparse (CSA) and heavily compressed (HCA) attention layers and one KV head.

    Attributes
    ----------
    csa_ratio, hca_ratio : int
        Tokens that one compressed KV entry stands for.
    window_tokens : int
        Sliding window that every layer keeps uncompressed.
    expert_param_bytes, dense_param_bytes, wide_param_bytes : float
        Bytes per parameter, scales included, of routed experts; of attention and shared experts; and of what stays in BF16.
    kv_entry_bytes, index_entry_bytes : mapping of str to float
        Bytes of one KV entry and of one indexer entry, by storage type.
    accept_means : tuple of float
        Mean tokens per step with 1, 2, 3, .. drafts of the model's own draft layer (bonus token included).
    """

    name: str
    title: str
    layers: int
    csa_layers: int
    csa_ratio: int
    hca_layers: int
    hca_ratio: int
    window_tokens: int
    hidden: int
    heads: int
    head_dim: int
    q_lora_rank: int
    o_groups: int
    o_lora_rank: int
    index_heads: int
    index_dim: int
    index_topk: int
    routed_experts: int
    shared_experts: int
    experts_per_token: int
    expert_inner: int
    hyper_streams: int
    mtp_layers: int
    vocab: int
    max_context_tokens: int
    expert_param_bytes: float
    dense_param_bytes: float
    wide_param_bytes: float
    kv_entry_bytes: Mapping[str, float]
    index_entry_bytes: Mapping[str, float]
    accept_means: tuple[float, ...]
    quality: str
    notes: tuple[str, ...]
    fields: Mapping[str, Field]
