"""The shapes of a model's layers that a GPU meets: weight matrices, experts, KV entries. All are computed from its model card."""

from dataclasses import dataclass
from typing import NamedTuple

from simulator.calibration.gpu_cells import Entry
from simulator.hardware.attention_compressed import CompressedAttention
from simulator.hardware.attention_grouped import GroupedAttention
from simulator.hardware.attention_hybrid import HybridAttention
from simulator.hardware.attention_latent import LatentAttention
from simulator.hardware.model_card import ModelCard


@dataclass(frozen=True)
class Matrix:
    """A weight of ``k x n``, and its share of the weights measured of the model, all layers counted."""

    part: str
    k: int
    n: int
    share: float


@dataclass(frozen=True)
class Experts:
    """Gate and up projections of one layer's routed experts."""

    count: int
    k: int
    n: int


@dataclass(frozen=True)
class Shapes:
    """What is measured of a model: ``topk`` KV entries are picked, each of which stands for ``ratio`` tokens; ``topk`` 0: all are read."""

    model: str
    matrices: tuple[Matrix, ...]
    experts: Experts | None
    heads: int
    attention: str
    entry: Entry
    prompt_entry: Entry | None
    topk: int = 0
    ratio: int = 1


def shapes(model: ModelCard) -> Shapes:
    """The shapes of one model: unsharded, largest share of the FLOPs first."""
    inner, moe = model.expert_inner, model.moe_layers
    found = [*_attention_matrices(model), Count("head", model.hidden, model.vocab, 1)]
    if model.dense_layers:
        found.append(Count("dense_gate_up", model.hidden, 2 * model.dense_inner, model.dense_layers))
    if model.shared_experts:
        found.append(Count("shared_gate_up", model.hidden, 2 * inner * model.shared_experts, moe))
    experts = None if model.dense else Experts(model.routed_experts, model.hidden, 2 * inner)
    return Shapes(model.name, _by_share(found), experts, model.heads, *_attention(model))


class Count(NamedTuple):
    """A weight of ``k x n`` that stands in ``layers`` layers."""

    part: str
    k: int
    n: int
    layers: int


def _attention_matrices(model: ModelCard) -> list[Count]:
    """The widest projections of the attention, of the query and of the output."""
    match model.attention:
        case CompressedAttention() as own:
            ends = (own.q_lora_rank, own.heads * own.head_dim, own.o_groups * own.o_lora_rank)
        case LatentAttention() as own:
            ends = (own.q_lora_rank, own.heads * (own.nope_dim + own.rope_dim), own.heads * own.value_dim)
        case GroupedAttention() as own:
            ends = (own.hidden, (own.heads + 2 * own.kv_heads) * own.head_dim, own.heads * own.head_dim)
        case HybridAttention() as own:
            return _hybrid_matrices(own)
        case other:
            raise AssertionError(f"{model.name}: no shapes for {type(other).__name__}")
    return [Count("query", ends[0], ends[1], model.layers), Count("output", ends[2], model.hidden, model.layers)]


def _hybrid_matrices(own: HybridAttention) -> list[Count]:
    """Those of the GQA layers, whose queries carry a gate, and of the linear layers."""
    values = own.linear_value_heads * own.linear_value_dim
    mixed = 2 * own.linear_key_heads * own.linear_key_dim + 2 * values
    return [
        Count("query", own.hidden, 2 * (own.heads + own.kv_heads) * own.head_dim, own.full_layers),
        Count("output", own.heads * own.head_dim, own.hidden, own.full_layers),
        Count("linear_in", own.hidden, mixed, own.linear_layers),
        Count("linear_out", values, own.hidden, own.linear_layers),
    ]


def _attention(model: ModelCard) -> tuple[str, Entry, Entry | None, int, int]:
    """Form, entry in decoding and in prefill, entries picked, tokens per entry. PyTorch cannot compute prompts of compressed attention."""
    match model.attention:
        case CompressedAttention() as own:
            return "sparse", Entry(1, own.head_dim, own.head_dim, shared=True), None, own.index_topk + own.window_tokens, own.csa_ratio
        case LatentAttention() as own:
            prompt = Entry(own.heads, own.nope_dim + own.rope_dim, own.value_dim)
            return "mla", Entry(1, own.entry_values, own.kv_lora_rank, shared=True), prompt, own.index_topk, 1
        case GroupedAttention() | HybridAttention() as own:
            entry = Entry(own.kv_heads, own.head_dim, own.head_dim)
            return "gqa", entry, entry, 0, 1
        case other:
            raise AssertionError(f"{model.name}: no shapes for {type(other).__name__}")


def _by_share(found: list[Count]) -> tuple[Matrix, ...]:
    total = sum(each.k * each.n * each.layers for each in found)
    ranked = sorted(found, key=lambda each: -each.k * each.n * each.layers)
    return tuple(Matrix(each.part, each.k, each.n, each.k * each.n * each.layers / total) for each in ranked)
