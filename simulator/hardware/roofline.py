"""The step-time law of any system and model: rates of the datasheet, counts of the model card, and a stack's efficiencies.

The law is linear in the efficiencies, so one matrix serves both ways: forward it gives the coefficients of a deployment that nobody has
measured, and backward `simulator/calibration/fit_law.py` finds the efficiencies from measured rows.
"""

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.hardware.deployment import LawCoefficients
from simulator.hardware.efficiency import NAMES, Efficiency, Fitted, efficiency_of
from simulator.hardware.memory import attention_flops_line, parameters, prompt_flops_line, weight_flops
from simulator.hardware.model_card import ModelCard
from simulator.hardware.system import System
from simulator.hardware.weights import weight_bits

ROUTING_SKEW = 0.8
"""Share of query tokens that draw experts independently: within the fitted grids (0.85, 0.65, 0.50) and the 0.45-0.85 seen elsewhere."""

ACTIVATION_BYTES = 2
"""Activations cross links in BF16; expert-parallel dispatch sends one byte (FP8) and gets two back."""

TERMS = ("floor_s", "host_s", "weights", "kv", "decode_token_s", "prefill_token_s", "prefill_pair_s", "request_s")
"""Rows of `law_matrix`. ``weights`` and ``kv`` are times over the datasheet's: the inverses of the efficiencies in `LawCoefficients`."""


@dataclass(frozen=True)
class Layout:
    """How a worker is laid out: ``attention`` is ``tp`` or ``dp``; experts are spread over all its GPUs."""

    attention: str
    gpus: int
    compute_type: str

    @property
    def tp(self) -> int:
        """GPUs that share one rank's attention and dense layers."""
        return self.gpus if self.attention == "tp" else 1


def compute_type_of(system: System, model: ModelCard, weight_type: str) -> str:
    """The type against whose peak a step's FLOPs count: BF16 for BF16 weights, and for 4-bit ones where the tensor cores have no FP4, whose
    kernels widen weights to BF16; else FP8, for activations are (what FP4 gains is in the efficiencies)."""
    bits = weight_bits(model, weight_type)
    return "bf16" if bits == "16" or (bits == "4" and not system.fp4_flops) else "fp8"


def law_matrix(system: System, model: ModelCard, layout: Layout) -> NDArray[np.float64]:
    """Seconds of each term of the law per unit of each efficiency: shape (`TERMS`, `NAMES`).

    FLOPs of a token are those of its rank's share: under tensor parallelism all GPUs of the worker work on it, under attention-DP its own
    GPU does, for of the experts' work each GPU of a balanced worker takes as much as its own tokens cause. Attention over pairs runs at
    the BF16 rate. Under tensor parallelism a layer has two all-reduces; under attention-DP one of experts has a dispatch and a combine.
    """
    matrix = np.zeros((len(TERMS), len(NAMES)))

    def put(term: str, name: str, value: float) -> None:
        matrix[TERMS.index(term), NAMES.index(name)] = value

    put("floor_s", "layer_s", model.layers)
    put("floor_s", "moe_layer_s", model.moe_layers)
    put("floor_s", "latent_layer_s", model.layers * (model.attention.kv_heads == 1))
    put("floor_s", "index_layer_s", model.attention.index_layers)
    put("floor_s", "collective_s", collectives(model, layout))
    put("host_s", "host_s", 1.0)
    put("request_s", "request_s", 1.0)
    put("weights", "weights", 1.0)
    put("kv", "kv", 1.0)
    flops = system.flops(layout.compute_type) * layout.tp
    wide_flops = system.flops("bf16") * layout.tp
    routed = 2.0 * parameters(model).active_routed
    fixed_decode, _ = attention_flops_line(model)
    fixed_prompt, per_pair = prompt_flops_line(model)
    put("decode_token_s", "sequence_s", 1.0)
    put("decode_token_s", "decode_gemm", weight_flops(model) / flops + max(0.0, fixed_decode) / wide_flops)
    put("prefill_token_s", "prefill_gemm", (weight_flops(model) - routed) / flops + max(0.0, fixed_prompt) / wide_flops)
    put("prefill_token_s", "prefill_experts", routed / flops)
    put("prefill_pair_s", "prefill_attention", per_pair / wide_flops)
    link_s = link_bytes_per_token(model, layout) / system.scale_up_bytes_per_s if system.scale_up_bytes_per_s else 0.0
    put("decode_token_s", "link", link_s)
    put("prefill_token_s", "link", link_s)
    return matrix


def collectives(model: ModelCard, layout: Layout) -> int:
    """Collectives in a step of a worker of several GPUs."""
    if layout.gpus == 1:
        return 0
    return 2 * (model.layers if layout.attention == "tp" else model.moe_layers)


def link_bytes_per_token(model: ModelCard, layout: Layout) -> float:
    """Bytes that one token sends over a GPU's link in a step: ring all-reduces, or experts' dispatch and combine."""
    others = (layout.gpus - 1) / layout.gpus
    if layout.attention == "tp":
        return 2 * model.layers * model.hidden * ACTIVATION_BYTES * 2 * others
    return model.moe_layers * model.experts_per_token * model.hidden * (1 + ACTIVATION_BYTES) * others


def law_coefficients(system: System, model: ModelCard, layout: Layout, efficiency: Efficiency) -> LawCoefficients:
    """The coefficients of a worker's law."""
    found = dict(zip(TERMS, (law_matrix(system, model, layout) @ np.array(astuple(efficiency))).tolist(), strict=True))
    found.pop("request_s")
    weights, kv = found.pop("weights"), found.pop("kv")
    if layout.attention == "dp":
        found["prefill_expert_s"] = efficiency.prefill_experts * 2.0 * parameters(model).active_routed / system.flops(layout.compute_type)
    return LawCoefficients(routing_skew=ROUTING_SKEW, hbm_efficiency=1 / weights, kv_efficiency=1 / kv, **found)


def law_defaults(system: System, model: ModelCard, layout: Layout, *, engine: str, weight_type: str) -> tuple[LawCoefficients, Fitted]:
    """The law of a worker whose profile gives none, and the row of efficiencies that it rests on (`Fitted.source` says whose)."""
    fitted = efficiency_of(system.name, engine, model.name, weight_bits(model, weight_type))
    return law_coefficients(system, model, layout, fitted.efficiency), fitted
