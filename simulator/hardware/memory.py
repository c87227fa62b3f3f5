"""What a model costs: parameters, weight bytes per GPU, KV bytes and FLOPs, all computed from the model card.

The forms are those of docs/laws.md; `tests/unit/test_hardware_memory.py` holds them against published totals.
"""

import math
from dataclasses import dataclass

from simulator.hardware.model_card import ModelCard

STATE_BYTES = 4
"""The compressors keep their running state in float32."""


@dataclass(frozen=True)
class Parameters:
    """Parameter counts of a model by how they are stored and sharded; ``draft_*`` belong to the MTP layers and are outside the totals."""

    routed: int
    dense: int
    wide: int
    embedding: int
    head: int
    draft_routed: int
    draft_dense: int
    active_routed: int

    @property
    def total(self) -> int:
        """All parameters of the main model."""
        return self.routed + self.dense + self.wide + self.embedding + self.head

    @property
    def active(self) -> int:
        """Parameters that one token meets (the embedding is a look-up and does not count)."""
        return self.active_routed + self.dense + self.wide + self.head


def parameters(model: ModelCard) -> Parameters:
    """Count the parameters of a model, from its config values."""
    expert = 3 * model.hidden * model.expert_inner
    dense_layer = _attention_parameters(model) + model.shared_experts * expert
    streams = model.hyper_streams
    hyper_layer = 2 * streams * model.hidden * (streams * streams + 2 * streams)
    router_layer = model.hidden * model.routed_experts
    compressor = 2 * model.hidden * model.head_dim
    index = 2 * 2 * model.hidden * model.index_dim + model.hidden * model.index_heads
    wide = (hyper_layer + router_layer) * model.layers + model.csa_layers * (2 * compressor + index) + model.hca_layers * compressor
    index_query = model.q_lora_rank * model.index_heads * model.index_dim
    return Parameters(
        routed=model.layers * model.routed_experts * expert,
        dense=model.layers * dense_layer + model.csa_layers * index_query,
        wide=wide,
        embedding=model.vocab * model.hidden,
        head=model.vocab * model.hidden,
        draft_routed=model.mtp_layers * model.routed_experts * expert,
        draft_dense=model.mtp_layers * (dense_layer + 2 * model.hidden * model.hidden),
        active_routed=model.layers * model.experts_per_token * expert,
    )


def _attention_parameters(model: ModelCard) -> int:
    """Low-rank queries, one shared KV head, grouped low-rank output."""
    width = model.heads * model.head_dim
    query = model.hidden * model.q_lora_rank + model.q_lora_rank * width
    return query + model.hidden * model.head_dim + width * model.o_lora_rank + model.o_groups * model.o_lora_rank * model.hidden


@dataclass(frozen=True)
class WeightBytes:
    """Bytes of the whole model's weights: those spread by expert parallelism, and the rest."""

    experts: float
    dense: float
    head: float
    embedding: float
    draft_experts: float
    draft_dense: float

    @property
    def total(self) -> float:
        """The checkpoint, MTP layers included."""
        return self.experts + self.dense + self.head + self.embedding + self.draft_experts + self.draft_dense


def weight_bytes(model: ModelCard) -> WeightBytes:
    """Bytes of a model's weights as stored."""
    count = parameters(model)
    return WeightBytes(
        experts=count.routed * model.expert_param_bytes,
        dense=count.dense * model.dense_param_bytes + count.wide * model.wide_param_bytes,
        head=count.head * model.wide_param_bytes,
        embedding=count.embedding * model.wide_param_bytes,
        draft_experts=count.draft_routed * model.expert_param_bytes,
        draft_dense=count.draft_dense * model.dense_param_bytes,
    )


def weight_bytes_per_gpu(model: ModelCard, *, ep: int, tp: int) -> float:
    """Weights that one GPU holds when experts are spread over ``ep`` GPUs and all the rest over ``tp`` (1 under attention-DP)."""
    weights = weight_bytes(model)
    experts = weights.experts + weights.draft_experts
    return experts / ep + (weights.total - experts) / tp


def kv_bytes(model: ModelCard, kv_type: str, index_type: str, tokens: int) -> float:
    """KV bytes of one sequence: window, compressed entries, indexer entries and the compressors' state."""
    entry, index = model.kv_entry_bytes[kv_type], model.index_entry_bytes[index_type]
    window = min(tokens, model.window_tokens) * entry
    csa = window + tokens // model.csa_ratio * (entry + index) + _csa_state_bytes(model)
    hca = window + tokens // model.hca_ratio * entry + _hca_state_bytes(model)
    return model.csa_layers * csa + model.hca_layers * hca


def kv_bytes_per_token(model: ModelCard, kv_type: str, index_type: str) -> float:
    """Bytes by which a long sequence grows per token."""
    entry, index = model.kv_entry_bytes[kv_type], model.index_entry_bytes[index_type]
    return model.csa_layers * (entry + index) / model.csa_ratio + model.hca_layers * entry / model.hca_ratio


def kv_fixed_bytes(model: ModelCard, kv_type: str) -> float:
    """Bytes that a sequence holds whatever its length, once it fills the window."""
    window = model.layers * model.window_tokens * model.kv_entry_bytes[kv_type]
    return window + model.csa_layers * _csa_state_bytes(model) + model.hca_layers * _hca_state_bytes(model)


def _csa_state_bytes(model: ModelCard) -> int:
    """CSA compresses overlapping pairs of groups, so it keeps twice its ratio, twice as wide; the indexer has a compressor of its own."""
    return 2 * model.csa_ratio * 2 * (model.head_dim + model.index_dim) * STATE_BYTES


def _hca_state_bytes(model: ModelCard) -> int:
    return 2 * model.hca_ratio * model.head_dim * STATE_BYTES


def kv_read_bytes(model: ModelCard, kv_type: str, index_type: str, context_tokens: float) -> float:
    """HBM bytes that attention reads to decode one token behind ``context_tokens``."""
    entry, index = model.kv_entry_bytes[kv_type], model.index_entry_bytes[index_type]
    groups = context_tokens / model.csa_ratio
    csa = (min(model.index_topk, groups) + model.window_tokens) * entry + groups * index
    hca = (context_tokens / model.hca_ratio + model.window_tokens) * entry
    return model.csa_layers * csa + model.hca_layers * hca


def kv_read_line(model: ModelCard, kv_type: str, index_type: str) -> tuple[float, float]:
    """Fixed bytes and bytes per context token of `kv_read_bytes`: exact from ``index_topk * csa_ratio`` tokens on, above it before."""
    start = float(model.index_topk * model.csa_ratio)
    low, high = (kv_read_bytes(model, kv_type, index_type, x) for x in (start, 2 * start))
    slope = (high - low) / start
    return low - slope * start, slope


def attention_flops(model: ModelCard, context_tokens: float) -> float:
    """FLOPs of attention and indexer to decode one token behind ``context_tokens``."""
    groups = context_tokens / model.csa_ratio
    csa_keys = min(model.index_topk, groups) + model.window_tokens
    hca_keys = context_tokens / model.hca_ratio + model.window_tokens
    keys = model.csa_layers * csa_keys + model.hca_layers * hca_keys
    scores = model.csa_layers * groups * model.index_heads * model.index_dim
    return 4.0 * model.heads * model.head_dim * keys + 2.0 * scores


def attention_flops_line(model: ModelCard) -> tuple[float, float]:
    """Fixed FLOPs and FLOPs per context token of `attention_flops`, exact from ``index_topk * csa_ratio`` tokens on."""
    start = float(model.index_topk * model.csa_ratio)
    low, high = attention_flops(model, start), attention_flops(model, 2 * start)
    slope = (high - low) / start
    return low - slope * start, slope


def weight_flops(model: ModelCard) -> float:
    """FLOPs of the weights per token: one multiply and one add per active parameter."""
    return 2.0 * parameters(model).active


def expert_coverage(model: ModelCard, query_tokens: float, routing_skew: float) -> float:
    """Share of a layer's routed experts that some of ``query_tokens`` tokens choose."""
    return 1.0 - math.pow(1.0 - model.experts_per_token / model.routed_experts, routing_skew * query_tokens)


def blocks_for(free_bytes: float, block_tokens: int, bytes_per_token: float) -> int:
    """Whole KV blocks that fit in ``free_bytes``; 0 when there is no room."""
    return max(0, math.floor(free_bytes / (block_tokens * bytes_per_token)))
