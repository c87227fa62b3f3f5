"""Totals computed from the model card, against published totals and the figures published for its KV cache."""

import pytest

from simulator.hardware.load import load_model
from simulator.hardware.memory import (
    attention_flops,
    attention_flops_line,
    blocks_for,
    expert_coverage,
    kv_bytes,
    kv_bytes_per_token,
    kv_fixed_bytes,
    kv_read_bytes,
    kv_read_line,
    parameters,
    weight_bytes,
    weight_bytes_per_gpu,
    weight_flops,
)
from simulator.hardware.model_card import ModelCard


@pytest.fixture(scope="module")
def card() -> ModelCard:
    return load_model("deepseek_v4_pro")


def test_totals_agree_with_the_published_ones_within_1_percent(card):
    count = parameters(card)
    assert count.total == pytest.approx(1.573e12, rel=0.01)
    assert count.active == pytest.approx(48.6e9, rel=0.01)
    assert weight_bytes(card).total == pytest.approx(863.9e9, rel=0.01)
    assert count.draft_routed + count.draft_dense == pytest.approx(25.8e9, rel=0.01)


@pytest.mark.parametrize(("ep", "tp", "gigabytes"), [(8, 8, 108), (4, 1, 237), (8, 1, 133), (16, 1, 81), (32, 1, 55)])
def test_weights_per_gpu(card, ep, tp, gigabytes):
    assert weight_bytes_per_gpu(card, ep=ep, tp=tp) == pytest.approx(gigabytes * 1e9, rel=0.01)


def test_kv_bytes(card):
    assert kv_bytes_per_token(card, "packed_fp8", "fp8") == pytest.approx(5511, abs=1)
    assert kv_fixed_bytes(card, "packed_fp8") == pytest.approx(22e6, rel=0.01)
    assert kv_bytes(card, "bf16", "bf16", 2**20) / 2**30 == pytest.approx(9.62, rel=0.01)
    assert kv_bytes(card, "packed_fp8", "fp8", 27_000) == pytest.approx(0.171e9, rel=0.005)
    assert kv_bytes(card, "packed_fp8", "fp8", 131_072) == pytest.approx(0.744e9, rel=0.005)


def test_a_sequence_grows_by_the_bytes_per_token(card):
    grown = kv_bytes(card, "packed_fp8", "fp8", 128 * 300) - kv_bytes(card, "packed_fp8", "fp8", 128 * 100)
    assert grown == pytest.approx(128 * 200 * kv_bytes_per_token(card, "packed_fp8", "fp8"), rel=1e-12)


@pytest.mark.parametrize(
    ("index_type", "tokens", "megabytes"), [("fp8", 27_000, 53), ("fp8", 131_072, 171), ("fp4", 27_000, 40), ("fp4", 131_072, 108)]
)
def test_kv_read_per_decoded_token(card, index_type, tokens, megabytes):
    assert kv_read_bytes(card, "packed_fp8", index_type, tokens) == pytest.approx(megabytes * 1e6, abs=0.5e6)


@pytest.mark.parametrize(("kib", "gigaflops"), [(1, 4.2), (8, 11.6), (27, 15.1), (64, 22.3), (128, 34.5), (1024, 205)])
def test_attention_flops_per_decoded_token(card, kib, gigaflops):
    assert attention_flops(card, 1024 * kib) / 1e9 == pytest.approx(gigaflops, rel=0.015)


def test_weight_flops_per_token(card):
    assert weight_flops(card) == pytest.approx(97e9, rel=0.01)


@pytest.mark.parametrize("tokens", [8_192, 27_000, 131_072])
def test_lines_are_exact_from_8k_on_and_above_the_curve_before(card, tokens):
    fixed, slope = kv_read_line(card, "packed_fp8", "fp8")
    assert fixed + slope * tokens == pytest.approx(kv_read_bytes(card, "packed_fp8", "fp8", tokens), rel=1e-12)
    assert fixed + slope * 1_000 > kv_read_bytes(card, "packed_fp8", "fp8", 1_000)
    fixed, slope = attention_flops_line(card)
    assert fixed + slope * tokens == pytest.approx(attention_flops(card, tokens), rel=1e-12)


def test_coverage_starts_at_one_tokens_experts_and_saturates(card):
    assert expert_coverage(card, 1, 1.0) == pytest.approx(6 / 384)
    assert expert_coverage(card, 0, 1.0) == 0
    assert expert_coverage(card, 5_000, 0.5) == pytest.approx(1, abs=1e-9)


def test_blocks_are_whole_and_never_negative():
    assert blocks_for(1e9, 128, 5_000) == 1562
    assert blocks_for(-1.0, 128, 5_000) == 0
