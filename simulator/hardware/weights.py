"""The weights of a model: parameter counts and bytes as stored or as cast, in all and on one GPU. Inputs come from a model card."""

from dataclasses import dataclass

from simulator.hardware.model_card import ModelCard

NVFP4_BYTES = 0.5625
"""4 bits and one scale byte per 16 parameters."""

CASTS = {"bf16": 2.0, "fp8": 1.0, "fp4": NVFP4_BYTES}
"""Bytes per parameter of experts and dense layers that a deployment casts; the scales of FP8 blocks (1 in 16,384) are neglected."""


@dataclass(frozen=True)
class Parameters:
    """Parameter counts of a model by how they are stored and sharded; ``draft_*`` belong to the MTP layers and are outside the totals."""

    routed: int
    dense: int
    attention: int
    wide: int
    embedding: int
    head: int
    draft_routed: int
    draft_dense: int
    active_routed: int

    @property
    def total(self) -> int:
        """All parameters of the main model."""
        return self.routed + self.dense + self.attention + self.wide + self.embedding + self.head

    @property
    def active(self) -> int:
        """Parameters that one token meets (the embedding is a look-up and does not count)."""
        return self.active_routed + self.dense + self.attention + self.wide + self.head


def parameters(model: ModelCard) -> Parameters:
    """Count the parameters of a model, from its config values."""
    expert = 3 * model.hidden * model.expert_inner
    shared = model.shared_experts * expert
    streams = model.hyper_streams
    hyper_layer = 2 * streams * model.hidden * (streams * streams + 2 * streams)
    routers = model.moe_layers * model.hidden * model.routed_experts
    return Parameters(
        routed=model.moe_layers * model.routed_experts * expert,
        dense=model.moe_layers * shared + model.dense_layers * 3 * model.hidden * model.dense_inner,
        attention=model.attention.parameters(),
        wide=hyper_layer * model.layers + routers + model.attention.wide_parameters(),
        embedding=model.vocab * model.hidden,
        head=model.vocab * model.hidden,
        draft_routed=model.mtp_layers * model.routed_experts * expert,
        draft_dense=model.mtp_layers * (model.attention.draft_parameters() + shared + 2 * model.hidden * model.hidden),
        active_routed=model.moe_layers * model.experts_per_token * expert,
    )


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


def weight_bytes(model: ModelCard, weight_type: str = "stored") -> WeightBytes:
    """Bytes of a model's weights as ``stored``, or with experts, dense layers and attention cast to another type.

    What is wide stays so, and draft layers stay as stored. In ``fp4`` attention takes what the card says of FP4 checkpoints, which mostly
    leave it wider.
    """
    count = parameters(model)
    cast = CASTS.get(weight_type)
    experts, dense = (model.expert_param_bytes, model.dense_param_bytes) if cast is None else (cast, cast)
    attention = model.fp4_attention_param_bytes if weight_type == "fp4" else model.attention_param_bytes if cast is None else cast
    return WeightBytes(
        experts=count.routed * experts,
        dense=count.dense * dense + count.attention * attention + count.wide * model.wide_param_bytes,
        head=count.head * model.wide_param_bytes,
        embedding=count.embedding * model.wide_param_bytes,
        draft_experts=count.draft_routed * model.expert_param_bytes,
        draft_dense=count.draft_dense * model.dense_param_bytes,
    )


def weight_bytes_per_gpu(model: ModelCard, *, ep: int, tp: int, weight_type: str = "stored") -> float:
    """Weights that one GPU holds when experts are spread over ``ep`` GPUs and all the rest over ``tp`` (1 under attention-DP)."""
    weights = weight_bytes(model, weight_type)
    experts = weights.experts + weights.draft_experts
    return experts / ep + (weights.total - experts) / tp


def weight_bits(model: ModelCard, weight_type: str = "stored") -> str:
    """Bits of the bulk of a model's weights: ``4``, ``8`` or ``16``, whatever the format's name."""
    stored = model.dense_param_bytes if model.dense else model.expert_param_bytes
    width = CASTS.get(weight_type, stored)
    return "4" if width < 0.75 else "8" if width < 1.5 else "16"
