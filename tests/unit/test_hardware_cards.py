"""Every shipped card against published totals, and each kind of attention against figures worked out by hand."""

from dataclasses import replace

import pytest

from simulator.catalog import names
from simulator.errors import UserError
from simulator.hardware.load import load_deployment, load_model, load_system
from simulator.hardware.memory import (
    attention_flops,
    expert_coverage,
    kv_bytes,
    kv_bytes_per_token,
    kv_fixed_bytes,
    kv_read_bytes,
    kv_read_line,
    kv_share,
    kv_shares,
    parameters,
    prompt_flops_line,
    weight_bytes,
    weight_bytes_per_gpu,
)
from simulator.hardware.step_law import step_law

# name: (published total, published active, what the publisher counts as active beside our own count, KV bytes per token in BF16).
# The publishers round: a figure stands for itself give or take half its last digit, and 1 %.
PUBLISHED = {
    "deepseek_r1": ("671", "37", "", 70_272),
    "deepseek_v3_2": ("671.8", "37.4", "", 70_272 + 61 * 256),
    "deepseek_v4_flash": ("284", "13", "", None),
    "deepseek_v4_pro": ("1573", "48.6", "", None),
    "glm_4_7": ("355", "32", "no head", 376_832),
    "glm_5": ("743.8", "40.7", "", 89_856 + 78 * 256),
    "gpt_oss_120b": ("116.8", "5.13", "", 36_864),
    "kimi_k2_5": ("1026", "32", "", 70_272),
    "llama_3_1_405b": ("405.8", "405.8", "embedding", 516_096),
    "llama_3_1_70b": ("70.6", "70.6", "embedding", 327_680),
    "llama_3_1_8b": ("8.03", "8.03", "embedding", 131_072),
    "minimax_m2_5": ("229", "10", "", 253_952),
    "qwen3_235b_a22b": ("235", "22", "embedding", 192_512),
    "qwen3_30b_a3b": ("30.5", "3.3", "embedding", 98_304),
    "qwen3_32b": ("32.8", "31.2", "no head", 262_144),
    "qwen3_5_397b_a17b": ("397", "17", "embedding", 15 * 2 * 2 * 256 * 2),
    "qwen3_8b": ("8.2", "6.95", "no head", 147_456),
    "qwen3_coder_480b": ("480", "35", "", 253_952),
}


def rounding(figure: str) -> float:
    return float(figure) / 100 + 0.5 * 10.0 ** -len(figure.partition(".")[2])


def test_every_card_is_held_against_published_totals():
    assert sorted(PUBLISHED) == names("models")


@pytest.mark.parametrize("name", PUBLISHED)
def test_totals_of_every_card(name):
    total, active, counts, kv = PUBLISHED[name]
    card = load_model(name)
    count = parameters(card)
    ours = count.active + {"": 0, "embedding": count.embedding, "no head": -count.head}[counts]
    assert count.total / 1e9 == pytest.approx(float(total), abs=rounding(total))
    assert ours / 1e9 == pytest.approx(float(active), abs=rounding(active))
    if kv:
        assert kv_bytes_per_token(card, "bf16", "bf16" if card.attention.indexed else "none") == kv


def test_gqa_reads_windows_and_full_layers():
    card = load_model("gpt_oss_120b")  # an entry is 2 * 8 * 64 values; 18 full layers and 18 windows of 128 tokens
    assert kv_bytes_per_token(card, "fp8", "none") == 18 * 1024
    assert kv_fixed_bytes(card, "fp8") == 18 * 128 * 1024
    assert kv_read_bytes(card, "fp8", "none", 100) == 36 * 100 * 1024
    assert kv_read_bytes(card, "fp8", "none", 1000) == 18 * (1000 + 128) * 1024
    assert kv_bytes(card, "fp8", "none", 1000) == 18 * (1000 + 128) * 1024
    assert kv_read_line(card, "bf16", "none") == (18 * 128 * 2048, 18 * 2048)
    assert attention_flops(card, 1000) == 4 * 64 * 64 * 18 * 1128
    dense = load_model("llama_3_1_8b")
    assert kv_fixed_bytes(dense, "fp8") == 0
    assert kv_read_line(dense, "fp8", "none") == (0, 32 * 2 * 8 * 128)


def test_mla_attends_to_latents_in_decoding_and_to_heads_in_prompts():
    card = load_model("deepseek_r1")
    assert kv_bytes_per_token(card, "fp8", "none") == 61 * 576
    assert attention_flops(card, 1000) == 2 * 61 * 128 * (576 + 512) * 1000
    assert prompt_flops_line(card) == (0, 2 * 61 * 128 * (192 + 128))


def test_an_indexer_reads_all_its_keys_and_the_entries_it_picks():
    card = load_model("deepseek_v3_2")
    assert kv_bytes_per_token(card, "packed_fp8", "fp8") == 61 * (656 + 132)
    assert kv_read_bytes(card, "packed_fp8", "fp8", 1_000) == 61 * 1_000 * (656 + 132)
    assert kv_read_bytes(card, "packed_fp8", "fp8", 100_000) == 61 * (2_048 * 656 + 100_000 * 132)
    assert attention_flops(card, 100_000) == 2 * 61 * (128 * 1088 * 2_048 + 100_000 * 64 * 128)
    assert prompt_flops_line(card)[1] == 2 * 61 * 64 * 128


def test_linear_layers_keep_a_state_of_one_size():
    card = load_model("qwen3_5_397b_a17b")  # 45 linear layers of 64 value heads of 128 x 128; 15 GQA layers with 2 KV heads of 256
    state = 45 * (64 * 128 * 128 * 4 + (2 * 16 * 128 + 64 * 128) * 3 * 2)
    assert kv_fixed_bytes(card, "fp8") == state
    assert kv_bytes(card, "fp8", "none", 1_000) == state + 1_000 * 15 * 1024
    assert kv_read_line(card, "fp8", "none") == (2 * state, 15 * 1024)
    assert kv_shares(card, 4) == (1 / 4, 1 / 2)
    assert attention_flops(card, 1_000) == 15 * 4 * 32 * 256 * 1_000 + 45 * 8 * 64 * 128 * 128


@pytest.mark.parametrize(
    ("name", "tp", "share"),
    [("llama_3_1_70b", 1, 1), ("llama_3_1_70b", 4, 1 / 4), ("llama_3_1_70b", 8, 1 / 8), ("llama_3_1_70b", 16, 1 / 8),
     ("qwen3_235b_a22b", 8, 1 / 4), ("deepseek_r1", 8, 1), ("deepseek_v4_pro", 8, 1)],
)  # fmt: skip
def test_whole_kv_heads_are_split_and_one_is_replicated(name, tp, share):
    assert kv_share(load_model(name), tp) == share


def test_weights_cast_as_the_published_checkpoints():
    r1 = load_model("deepseek_r1")
    assert weight_bytes(r1, "fp8") == weight_bytes(r1)
    # NVFP4 checkpoints of R1 are about 400 GB with the draft layer, those of Llama 70B about 42.
    assert weight_bytes(r1, "fp4").total == pytest.approx(398e9, rel=0.01)
    assert weight_bytes(load_model("llama_3_1_70b"), "fp8").total == pytest.approx(72.7e9, rel=0.01)
    assert weight_bytes(load_model("llama_3_1_70b"), "bf16").total == pytest.approx(2 * 70.55e9, rel=0.01)
    kimi = load_model("kimi_k2_5")
    assert weight_bytes(kimi, "fp4").dense > weight_bytes(kimi, "fp8").dense  # attention stays BF16 in its FP4 checkpoint


def test_a_dense_model_has_no_experts_to_leave_out():
    card = load_model("llama_3_1_8b")
    assert expert_coverage(card, 1, 1.0) == 1
    assert weight_bytes(card).experts == 0
    assert weight_bytes_per_gpu(card, ep=4, tp=4) == weight_bytes(card).total / 4


LLAMA = {"extends": "hgx_h200_v4pro_20tps", "name": "llama", "model": "llama_3_1_70b", "kv_type": "fp8", "drafts": 0, "kv_pool_share": 1.0}
"""The layout of a shipped deployment, TP8, under a dense model; its coefficients mean nothing here."""


def llama(**changes):
    import yaml

    from simulator.catalog import find_data

    fields = yaml.safe_load(find_data("deployments", "hgx_h200_v4pro_20tps").read_text())
    for key in ("index_type", "kv_pool_tokens", "name", "title", "notes"):
        del fields[key]
    for key, value in {**LLAMA, **changes}.items():
        if key not in ("extends", "name"):
            unit = fields.get(key, {}).get("unit", "1" if key == "kv_pool_share" else "none")
            fields[key] = {"value": value, "unit": unit, "source": "test", "quality": "assumed"}
    return fields


def test_a_dense_model_under_tensor_parallelism_splits_weights_and_kv():
    deployment = load_deployment(llama(weight_type="fp8"))
    system, model, (pool,) = load_system("hgx_h200"), load_model("llama_3_1_70b"), deployment.pools
    weights = weight_bytes(model, "fp8").total / 8
    free = system.hbm_bytes * 0.88 - weights - 4169138176
    per_token = 80 * 2 * 1 * 128  # one KV head of 128 values on each GPU, a byte each
    assert pool.blocks_per_rank == int(free // (64 * per_token))
    law = step_law(system, model, deployment, pool)
    streamed_s = (weights - parameters(model).embedding * 2 / 8) / (0.55 * 4.8e12)
    assert law.shared_ps[1] == law.shared_ps[-1] == pytest.approx(streamed_s * 1e12, rel=1e-9)
    assert law.ctx_fp == pytest.approx(per_token / (0.62 * 4.8e12) * 1e12 * 1024, rel=1e-6)
    assert deployment.index_type == "none"


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"index_type": "fp8"}, "index_type.value", "nothing: llama_3_1_70b has no indexer"),
        ({"kv_type": "packed_fp8"}, "kv_type.value", "fp8, bf16: what llama_3_1_70b can be stored in"),
        ({"compute_type": "fp4"}, "compute_type.value", "a type whose FLOP/s hgx_h200 gives"),
        ({"model": "glm_5", "index_type": "fp4"}, "index_type.value", "fp8, bf16: what glm_5's indexer keys can be stored in"),
    ],
)  # fmt: skip
def test_types_that_a_model_or_system_does_not_have(changes, field, words):
    with pytest.raises(UserError) as caught:
        load_deployment(llama(**changes))
    found = next(mistake for mistake in caught.value.mistakes if mistake.field == field)
    assert words in f"{found.allowed} {found.hint}"


def card_with(name: str, without: tuple[str, ...] = (), **changes):
    fields = {key: field for key, field in load_model(name).fields.items() if key not in without}
    raw = {key: {"value": f.value, "unit": f.unit, "source": f.source, "quality": f.quality} for key, f in fields.items()}
    for key, (value, unit) in changes.items():
        raw[key] = {"value": value, "unit": unit, "source": "test", "quality": "assumed"}
    return {"name": "mine", **{k: v | {"value": list(v["value"])} if isinstance(v["value"], tuple) else v for k, v in raw.items()}}


@pytest.mark.parametrize(
    ("card", "field", "words"),
    [
        (card_with("qwen3_8b", kv_heads=(5, "count")), "kv_heads.value", "a divisor of heads, 32"),
        (card_with("qwen3_8b", without=("kv_heads",)), "kv_heads", "attention gqa needs it"),
        (card_with("qwen3_8b", kv_lora_rank=(512, "count")), "kv_lora_rank.value", "nothing: attention gqa does not have it"),
        (card_with("qwen3_8b", dense_layers=(35, "count")), "dense_layers.value", "in a model without routed_experts"),
        (card_with("qwen3_8b", without=("dense_layers", "dense_inner")), "dense_layers", "without routed_experts"),
        (card_with("deepseek_r1", dense_layers=(61, "count")), "dense_layers.value", "at most layers"),
        (card_with("deepseek_r1", experts_per_token=(257, "count")), "experts_per_token.value", "at most routed_experts, 256"),
        (card_with("deepseek_r1", without=("expert_inner",)), "expert_inner", "it goes with routed_experts"),
        (card_with("deepseek_r1", index_heads=(64, "count")), "index_topk", "it goes with index_heads"),
        (card_with("glm_5", without=("index_entry_bytes_fp8", "index_entry_bytes_bf16")), "index_entry_bytes_fp8", "an indexer keeps"),
        (card_with("gpt_oss_120b", without=("window_tokens",)), "window_tokens", "it goes with window_layers"),
        (card_with("gpt_oss_120b", window_layers=(37, "count")), "window_layers.value", "at most layers, 36"),
        (card_with("qwen3_5_397b_a17b", linear_layers=(60, "count")), "linear_layers.value", "fewer than layers, 60"),
        (card_with("deepseek_v4_pro", csa_layers=(31, "count")), "layers.value", "csa_layers + hca_layers = 62"),
    ],
)  # fmt: skip
def test_cards_that_contradict_themselves(card, field, words):
    with pytest.raises(UserError) as caught:
        load_model(card)
    found = next(mistake for mistake in caught.value.mistakes if mistake.field == field)
    assert words in f"{found.allowed} {found.hint}"


def test_cards_are_values():
    card = load_model("qwen3_8b")
    assert replace(card) == card
    assert parameters(card).routed == 0
