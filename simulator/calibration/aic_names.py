"""Names of systems and models, ours beside aiconfigurator's. Inputs are the words of a user, who may use either."""

from simulator.calibration.silicon import SYSTEMS
from simulator.catalog import names, nearest
from simulator.errors import Mistake, UserError

THEIR_SYSTEM = {ours: theirs for theirs, ours in SYSTEMS.items()} | {"rtx_pro_6000": "rtx_pro_6000_server"}
"""Profiles of systems that aiconfigurator has tables of."""

CHECKPOINTS: dict[tuple[str, str], str] = {
    ("deepseek_r1", "fp8"): "deepseek-ai/DeepSeek-R1",
    ("deepseek_r1", "fp4"): "nvidia/DeepSeek-V3.1-NVFP4",
    ("deepseek_v3_2", "fp8"): "deepseek-ai/DeepSeek-V3.2",
    ("deepseek_v3_2", "fp4"): "nvidia/DeepSeek-V3.2-NVFP4",
    ("deepseek_v4_flash", "stored"): "deepseek-ai/DeepSeek-V4-Flash",
    ("deepseek_v4_flash", "fp8"): "sgl-project/DeepSeek-V4-Flash-FP8",
    ("deepseek_v4_flash", "fp4"): "nvidia/DeepSeek-V4-Flash-NVFP4",
    ("deepseek_v4_pro", "stored"): "deepseek-ai/DeepSeek-V4-Pro",
    ("deepseek_v4_pro", "fp8"): "sgl-project/DeepSeek-V4-Pro-FP8",
    ("deepseek_v4_pro", "fp4"): "nvidia/DeepSeek-V4-Pro-NVFP4",
    ("glm_5", "bf16"): "zai-org/GLM-5",
    ("glm_5", "fp8"): "zai-org/GLM-5-FP8",
    ("glm_5", "fp4"): "nvidia/GLM-5-NVFP4",
    ("gpt_oss_120b", "stored"): "openai/gpt-oss-120b",
    ("kimi_k2_5", "stored"): "moonshotai/Kimi-K2.5",
    ("kimi_k2_5", "fp4"): "nvidia/Kimi-K2.5-NVFP4",
    ("llama_3_1_405b", "bf16"): "meta-llama/Meta-Llama-3.1-405B",
    ("llama_3_1_70b", "bf16"): "meta-llama/Meta-Llama-3.1-70B",
    ("llama_3_1_70b", "fp8"): "nvidia/Llama-3.1-70B-Instruct-FP8",
    ("llama_3_1_8b", "bf16"): "meta-llama/Meta-Llama-3.1-8B",
    ("minimax_m2_5", "fp8"): "MiniMaxAI/MiniMax-M2.5",
    ("minimax_m2_5", "fp4"): "nvidia/MiniMax-M2.5-NVFP4",
    ("qwen3_235b_a22b", "bf16"): "Qwen/Qwen3-235B-A22B",
    ("qwen3_235b_a22b", "fp8"): "Qwen/Qwen3-235B-A22B-FP8",
    ("qwen3_235b_a22b", "fp4"): "nvidia/Qwen3-235B-A22B-NVFP4",
    ("qwen3_30b_a3b", "bf16"): "Qwen/Qwen3-30B-A3B",
    ("qwen3_30b_a3b", "fp8"): "Qwen/Qwen3-30B-A3B-FP8",
    ("qwen3_32b", "bf16"): "Qwen/Qwen3-32B",
    ("qwen3_32b", "fp8"): "Qwen/Qwen3-32B-FP8",
    ("qwen3_8b", "bf16"): "Qwen/Qwen3-8B",
    ("qwen3_coder_480b", "bf16"): "Qwen/Qwen3-Coder-480B-A35B-Instruct",
}
"""Model card and type of its weights -> checkpoint whose config aiconfigurator carries. R1, V3 and V3.1 have the same sizes; the first of a
model is what stands when no type is asked for. ``stored`` is a mixture that no single type names: MXFP4 or INT4 experts."""


def systems(word: str) -> tuple[str, str]:
    """Our name and theirs of a system.

    Raises
    ------
    UserError
        When one of the two does not know it.
    """
    ours = SYSTEMS.get(word, {theirs: own for own, theirs in THEIR_SYSTEM.items()}.get(word, word))
    if ours not in THEIR_SYSTEM or ours not in names("systems"):
        known = sorted(set(THEIR_SYSTEM) & set(names("systems")))
        raise UserError(Mistake("--system", "", repr(word), ", ".join(known), nearest(word, known)))
    return ours, THEIR_SYSTEM[ours]


def models(word: str, weights: str = "") -> tuple[str, str, str]:
    """Our name of a model, the type of its weights, and the checkpoint.

    Raises
    ------
    UserError
        When there is no card, or no checkpoint with such weights.
    """
    for (ours, kind), checkpoint in CHECKPOINTS.items():
        if word == checkpoint and weights in ("", kind):
            return ours, kind, checkpoint
    known = sorted({ours for ours, _ in CHECKPOINTS} & set(names("models")))
    if word not in known:
        raise UserError(Mistake("--model", "", repr(word), ", ".join(known), nearest(word, known) or "or one of their checkpoints"))
    kinds = [kind for ours, kind in CHECKPOINTS if ours == word]
    if weights and weights not in kinds:
        raise UserError(Mistake("--weights", "", f"{weights!r} of {word}", ", ".join(kinds)))
    kind = weights or kinds[0]
    return word, kind, CHECKPOINTS[word, kind]
