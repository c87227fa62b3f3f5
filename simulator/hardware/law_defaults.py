"""The step-time law of a pair of system and model that nobody has fitted: datasheet rates times documented efficiencies.

Inputs are a system, a model card and a worker's layout; a deployment takes from here the coefficients that it does not give.
"""

from dataclasses import dataclass

from simulator.hardware.deployment import LawCoefficients
from simulator.hardware.memory import attention_flops, prompt_flops_line, weight_flops
from simulator.hardware.model_card import ModelCard
from simulator.hardware.system import System

LAYER_S = 0.1e-3
"""Launch floor of a layer: between 0.03 ms (kernels of a captured graph) and the 0.2 ms fitted on DeepSeek V4 Pro."""
HOST_S = 3.0e-3
"""Host work of a step: low end of 3-10 ms measured on H200 nodes."""
ROUTING_SKEW = 0.8
HBM_EFFICIENCY = 0.8
KV_EFFICIENCY = 0.62
FLOP_EFFICIENCY = 0.25
"""Of prompts on DeepSeek V4 Pro: 0.26 of the dense FP8 peak on GB300, 0.21-0.23 on B200 and GB200."""


@dataclass(frozen=True)
class LawDefaults:
    """Coefficients, and what to say of where they come from."""

    law: LawCoefficients
    source: str
    quality: str


def law_defaults(
    system: System, model: ModelCard, *, engine: str, attention: str, gpus: int, compute_type: str, weight_type: str
) -> LawDefaults:
    """The law of a worker of ``gpus`` GPUs; ``attention`` is ``tp`` or ``dp``. Terms per token are those of a rank."""
    tp = gpus if attention == "tp" else 1
    flops = system.flops(compute_type) * FLOP_EFFICIENCY * tp
    pair_flops = system.flops("bf16") * FLOP_EFFICIENCY * tp
    law = LawCoefficients(
        floor_s=LAYER_S * model.layers,
        host_s=HOST_S,
        routing_skew=ROUTING_SKEW,
        hbm_efficiency=HBM_EFFICIENCY,
        kv_efficiency=KV_EFFICIENCY,
        decode_token_s=(weight_flops(model) + attention_flops(model, 0.0)) / flops,
        prefill_token_s=weight_flops(model) / flops,
        prefill_pair_s=prompt_flops_line(model)[1] / pair_flops,
    )
    return LawDefaults(
        law, "roofline: datasheet rates of the system and counts of the model card, times the efficiencies of docs/laws.md", "estimated"
    )
