"""What a model costs: its weights, KV bytes and FLOPs, all computed from the model card.

The forms are those of docs/laws.md; `tests/unit/test_hardware_memory.py` and `test_hardware_cards.py` hold them against published totals.
"""

import math
from collections.abc import Callable, Sequence

from simulator.hardware.model_card import ModelCard
from simulator.hardware.weights import Parameters, WeightBytes, parameters, weight_bytes, weight_bytes_per_gpu

__all__ = [
    "Parameters", "WeightBytes", "attention_flops", "attention_flops_line", "blocks_for", "expert_coverage", "kv_bytes",
    "kv_bytes_per_token", "kv_fixed_bytes", "kv_read_bytes", "kv_read_line", "kv_share", "kv_shares", "parameters", "prompt_flops_line",
    "weight_bytes", "weight_bytes_per_gpu", "weight_flops",
]  # fmt: skip


def kv_bytes(model: ModelCard, kv_type: str, index_type: str, tokens: int) -> float:
    """KV bytes of one sequence."""
    return model.attention.held_bytes(*_entry_bytes(model, kv_type, index_type), tokens)


def kv_bytes_per_token(model: ModelCard, kv_type: str, index_type: str) -> float:
    """Bytes by which a long sequence grows per token."""
    return model.attention.growth_bytes(*_entry_bytes(model, kv_type, index_type))


def kv_fixed_bytes(model: ModelCard, kv_type: str) -> float:
    """Bytes that a sequence holds whatever its length, once it fills its windows."""
    return model.attention.fixed_bytes(model.kv_entry_bytes[kv_type])


def kv_share(model: ModelCard, tp: int) -> float:
    """Share of a sequence's KV that each GPU of a tensor-parallel group holds and reads: whole KV heads, at least one of them."""
    heads = model.attention.kv_heads
    return math.ceil(heads / tp) / heads


def kv_shares(model: ModelCard, tp: int) -> tuple[float, float]:
    """`kv_share` of what a sequence holds whatever its length, and of what grows by token."""
    heads = model.attention.state_heads
    return math.ceil(heads / tp) / heads, kv_share(model, tp)


def kv_read_bytes(model: ModelCard, kv_type: str, index_type: str, context_tokens: float) -> float:
    """HBM bytes that attention reads to decode one token behind ``context_tokens``."""
    return model.attention.read_bytes(*_entry_bytes(model, kv_type, index_type), context_tokens)


def kv_read_line(model: ModelCard, kv_type: str, index_type: str) -> tuple[float, float]:
    """Fixed bytes and bytes per context token of `kv_read_bytes`: exact from the attention's ``settled_tokens`` on, above it before."""
    entry, index = _entry_bytes(model, kv_type, index_type)
    return _line(model, lambda tokens: model.attention.read_bytes(entry, index, tokens))


def _entry_bytes(model: ModelCard, kv_type: str, index_type: str) -> tuple[float, float]:
    """Bytes of a KV entry and of an indexer key, 0 without an indexer."""
    return model.kv_entry_bytes[kv_type], model.index_entry_bytes[index_type] if model.attention.indexed else 0.0


def attention_flops(model: ModelCard, context_tokens: float) -> float:
    """FLOPs of attention and indexer to decode one token behind ``context_tokens``."""
    return model.attention.flops(context_tokens)


def attention_flops_line(model: ModelCard) -> tuple[float, float]:
    """Fixed FLOPs and FLOPs per context token of `attention_flops`, exact from the attention's ``settled_tokens`` on."""
    return _line(model, model.attention.flops)


def prompt_flops_line(model: ModelCard) -> tuple[float, float]:
    """The same of one prompt token: with MLA prompts attend to keys and values of every head, which takes fewer FLOPs."""
    return _line(model, model.attention.prompt_flops)


def _line(model: ModelCard, curve: Callable[[float], float]) -> tuple[float, float]:
    """Fixed part and slope of a curve that is straight from the attention's ``settled_tokens`` on."""
    start = float(model.attention.settled_tokens)
    low, high = curve(start), curve(2 * start)
    slope = (high - low) / start
    return low - slope * start, slope


def weight_flops(model: ModelCard) -> float:
    """FLOPs of the weights per token: one multiply and one add per active parameter."""
    return 2.0 * parameters(model).active


def expert_coverage(model: ModelCard, query_tokens: float, routing_skew: float) -> float:
    """Share of a layer's routed experts that some of ``query_tokens`` tokens choose; 1 in a dense model, which has none to leave out."""
    return expert_coverages(model, [query_tokens], routing_skew)[0]


def expert_coverages(model: ModelCard, query_tokens: Sequence[float], routing_skew: float) -> list[float]:
    """`expert_coverage` of many counts; by `math.pow`, whose last bit, unlike numpy's, is the same on every CPU."""
    if model.dense:
        return [1.0] * len(query_tokens)
    left_out = 1.0 - model.experts_per_token / model.routed_experts
    return [1.0 - math.pow(left_out, routing_skew * tokens) for tokens in query_tokens]


def blocks_for(free_bytes: float, block_tokens: int, bytes_per_token: float) -> int:
    """Whole KV blocks that fit in ``free_bytes``; 0 when there is no room."""
    return max(0, math.floor(free_bytes / (block_tokens * bytes_per_token)))
