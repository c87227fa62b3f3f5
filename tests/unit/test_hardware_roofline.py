"""The law of a pair that nobody measured: its terms counted by hand, and the table of efficiencies."""

import numpy as np
import pytest

from simulator.errors import UserError
from simulator.hardware.efficiency import ANY, COLUMNS, NAMES, Efficiency, efficiencies, efficiency_of, read_efficiencies, table_text
from simulator.hardware.load import load_model, load_system
from simulator.hardware.roofline import TERMS, Layout, collectives, law_coefficients, law_defaults, law_matrix, link_bytes_per_token

PERFECT = Efficiency(
    **{
        name: float(name in ("weights", "kv", "decode_gemm", "prefill_gemm", "prefill_experts", "prefill_attention", "link"))
        for name in NAMES
    }
)


def test_llama_70b_on_two_h100_by_hand():
    system, model = load_system("hgx_h100"), load_model("llama_3_1_70b")
    law = law_coefficients(system, model, Layout("tp", 2, "fp8"), PERFECT)
    assert law.floor_s == law.host_s == 0
    assert law.hbm_efficiency == law.kv_efficiency == 1
    # 69.5e9 active parameters, 2 FLOPs each, over two GPUs of 1,979 TFLOP/s; two ring all-reduces a layer of 8,192 BF16 values.
    gemm = 2 * 69.5e9 / (2 * 1979e12)
    link = 2 * 80 * 8192 * 2 * 2 * 0.5 / 450e9
    assert law.prefill_token_s == pytest.approx(gemm + link, rel=0.001)
    assert law.decode_token_s == pytest.approx(law.prefill_token_s)
    # Scores and values: 4 FLOPs for each of 64 x 128 values in 80 layers, at the BF16 rate of two GPUs.
    assert law.prefill_pair_s == pytest.approx(4 * 64 * 128 * 80 / (2 * 989e12))


def test_experts_of_a_prompt_are_shared_by_ranks_of_attention_dp_only():
    """R1 routes 8 of 256 experts of 3 x 7168 x 2048 in 58 layers; what is left of its token is dense, attention, head and links."""
    system, model = load_system("hgx_b200"), load_model("deepseek_r1")
    shared = law_coefficients(system, model, Layout("dp", 8, "fp8"), PERFECT)
    assert shared.prefill_expert_s == pytest.approx(2 * 58 * 8 * 3 * 7168 * 2048 / 4500e12)
    assert 0.3 < shared.prefill_expert_s / shared.prefill_token_s < 0.9
    assert law_coefficients(system, model, Layout("tp", 8, "fp8"), PERFECT).prefill_expert_s == 0


def test_launch_floors_count_layers_by_kind():
    system, model = load_system("hgx_b200"), load_model("deepseek_r1")
    floors = Efficiency(
        **dict.fromkeys(NAMES, 0.0) | {"layer_s": 1.0, "moe_layer_s": 100.0, "latent_layer_s": 1e4, "weights": 1.0, "kv": 1.0}
    )
    assert law_coefficients(system, model, Layout("tp", 8, "fp8"), floors).floor_s == 61 + 58 * 100 + 61 * 1e4


@pytest.mark.parametrize(("name", "layers"), [("deepseek_v4_pro", 30), ("glm_5", 78), ("deepseek_r1", 0), ("gpt_oss_120b", 0)])
def test_launch_floors_of_indexers_count_their_layers(name, layers):
    matrix = law_matrix(load_system("hgx_b200"), load_model(name), Layout("tp", 8, "fp8"))
    assert matrix[TERMS.index("floor_s"), NAMES.index("index_layer_s")] == layers


def test_collectives_and_link_bytes():
    r1, llama = load_model("deepseek_r1"), load_model("llama_3_1_70b")
    assert collectives(r1, Layout("dp", 8, "fp8")) == 2 * 58
    assert collectives(llama, Layout("tp", 4, "fp8")) == 2 * 80
    assert collectives(llama, Layout("tp", 1, "fp8")) == 0
    assert link_bytes_per_token(r1, Layout("dp", 8, "fp8")) == 58 * 8 * 7168 * 3 * 7 / 8
    assert link_bytes_per_token(llama, Layout("tp", 1, "fp8")) == 0


def test_the_matrix_is_the_law(tmp_path):
    """A law of any efficiencies is the matrix times them, so that fitting and predicting cannot part."""
    system, model, layout = load_system("hgx_h200"), load_model("gpt_oss_120b"), Layout("tp", 4, "bf16")
    values = np.random.default_rng(3).random(len(NAMES)) + 0.5
    law = law_coefficients(system, model, layout, Efficiency(*values.tolist()))
    terms = dict(zip(TERMS, law_matrix(system, model, layout) @ values, strict=True))
    assert law.floor_s == pytest.approx(terms["floor_s"])
    assert 1 / law.kv_efficiency == pytest.approx(terms["kv"])
    assert law.prefill_pair_s == pytest.approx(terms["prefill_pair_s"])


def test_the_nearest_row_speaks():
    assert efficiency_of("hgx_h200", "vllm", "llama_3_1_70b", "8").key == ("hgx_h200", "vllm", "llama_3_1_70b", "8")
    assert efficiency_of("hgx_h200", "vllm", "llama_3_1_70b", "16").key == ("hgx_h200", "vllm", ANY, ANY)
    assert efficiency_of("mi355x", "sglang", "glm_5", "8").key == (ANY, "sglang", ANY, ANY)
    assert efficiency_of("mi355x", "llamacpp", "glm_5", "8").key == (ANY,) * 4
    law, fitted = law_defaults(load_system("mi355x"), load_model("glm_5"), Layout("tp", 8, "fp8"), engine="sglang", weight_type="fp8")
    assert fitted.general
    assert "sglang" in fitted.source
    assert law.floor_s > 0


def test_no_shipped_efficiency_beats_its_datasheet():
    for row in efficiencies().values():
        assert min(row.efficiency.weights, row.efficiency.kv, row.efficiency.prefill_gemm, row.efficiency.prefill_attention) >= 1
        assert min(getattr(row.efficiency, name) for name in NAMES) >= 0


def test_the_table_comes_back_as_it_was_written(tmp_path):
    rows = list(efficiencies().values())
    file = tmp_path / "table.csv"
    file.write_text(table_text(rows, "two\nlines"), encoding="utf-8")
    assert read_efficiencies(file) == rows


@pytest.mark.parametrize(("old", "new", "message"), [("host_s", "host", "header"), ("any,any,any,any,", "any,any,any,any,x", "numbers")])
def test_a_bad_table_is_told(tmp_path, old, new, message):
    text = table_text(list(efficiencies().values())[:1], "t").replace(old, new, 1)
    file = tmp_path / "table.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_efficiencies(file)


def test_columns_are_named_once():
    assert len(set(COLUMNS)) == len(COLUMNS)
