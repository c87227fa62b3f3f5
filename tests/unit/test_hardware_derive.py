"""What a deployment leaves out: every pair of system and model runs or says what would hold it, and derived fields follow those given."""

from dataclasses import replace

import pytest

from simulator.capacity import run
from simulator.capacity.build import load_profiles
from simulator.capacity.scenario_file import load_scenario
from simulator.catalog import names
from simulator.errors import UserError
from simulator.hardware.load import load_deployment, load_model, load_system
from simulator.hardware.memory import kv_bytes_per_token, kv_share, weight_bytes_per_gpu
from simulator.hardware.schemas import LAW
from simulator.hardware.served import PREFILL, served_over
from simulator.report.pairs import layout_words, pairs_sheet

SYSTEMS = {name: load_system(name) for name in names("systems")}
MODELS = {name: load_model(name) for name in names("models")}

TOO_BIG = {
    ("hgx_h100", "deepseek_r1"), ("hgx_h100", "deepseek_v3_2"), ("hgx_h100", "deepseek_v4_pro"), ("hgx_h100", "glm_5"),
    ("hgx_h100", "kimi_k2_5"),
    ("rtx_pro_6000", "deepseek_r1"), ("rtx_pro_6000", "deepseek_v3_2"), ("rtx_pro_6000", "deepseek_v4_pro"), ("rtx_pro_6000", "glm_5"),
}  # fmt: skip
"""Pairs whose weights alone are beyond 90 % of the node's memory, or leave no useful KV pool."""

SHORT = {
    "workload": {"kind": "fixed", "isl": 2000, "osl": 20, "shared_prefix": 500, "think_s": 1},
    "agents": 4,
    "seeds": 1,
    "phase": {"ramp_s": 1, "warmup_s": 1, "min_window_s": 5, "min_trajectories": 4, "min_agent_trajectories": 1},
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_pair_plays_or_says_what_would_hold_it(system):
    for model in MODELS:
        scenario = load_scenario({"name": "pair", "system": system, "model": model, **SHORT})
        if (system, model) in TOO_BIG:
            with pytest.raises(
                UserError, match=rf"{model} with weights as .*one worker would need .* GPUs as .*; as (fp8|stored) it fits .*"
            ):
                load_profiles(scenario)
            continue
        summary = run(scenario)
        assert summary.requests > 0
        assert summary.deployment == f"{system}_{model}"


@pytest.mark.parametrize("system", SYSTEMS)
def test_derived_workers_are_the_smallest_that_hold_a_useful_pool(system):
    for name, model in MODELS.items():
        if (system, name) in TOO_BIG:
            continue
        deployment = load_deployment({}, system=SYSTEMS[system], model=model)
        (pool,) = deployment.pools
        useful = min(131_072, model.max_context_tokens)
        assert pool.blocks_per_rank * deployment.block_tokens >= useful
        assert pool.attention == "tp" or model.attention.kv_heads == 1
        half = pool.gpus_per_worker // 2
        if half:
            tp = half if pool.attention == "tp" else 1
            weights = weight_bytes_per_gpu(model, ep=half, tp=tp, weight_type=deployment.weight_type)
            per_token = kv_bytes_per_token(model, deployment.kv_type, deployment.index_type) * kv_share(model, tp)
            share = deployment.fields["kv_pool_share"].value if "kv_pool_share" in deployment.fields else 1.0
            free = SYSTEMS[system].hbm_bytes * 0.9 - weights - 3_758_096_384
            assert free * share < (useful + 64) * per_token + 411_041_792


def test_every_derived_field_tells_its_rule():
    deployment = load_deployment({}, system=SYSTEMS["hgx_h200"], model=MODELS["llama_3_1_70b"])
    assert (deployment.name, deployment.system, deployment.model) == ("hgx_h200_llama_3_1_70b", "hgx_h200", "llama_3_1_70b")
    derived = [field for name, field in deployment.fields.items() if name not in ("system", "model")]
    presets = set(names("engines"))
    assert {"gpus_per_worker", "floor_s", "kv_type", "reserve_bytes"} <= {field.name for field in derived}
    own = [field for field in derived if not field.file.startswith("engines/")]
    assert all(field.source and field.quality in ("estimated", "assumed") for field in own if field.name not in LAW)
    # vLLM on HGX H200 was measured with this model: its law is fitted. Nobody's stack on MI355X was.
    assert {field.quality for field in own if field.name in LAW} == {"fitted"}
    other = load_deployment({}, system=SYSTEMS["mi355x"], model=MODELS["llama_3_1_70b"])
    assert {other.fields[name].quality for name in LAW} == {"estimated"}
    assert deployment.fields["engine"].value in presets


def test_given_fields_lead_and_the_rest_follows():
    given = {
        "system": "hgx_b200",
        "model": "qwen3_235b_a22b",
        "gpus_per_worker": 4,
        "weight_type": "bf16",
        "workers": 2,
        "engine": "sglang",
    }
    deployment = load_deployment(given)
    (pool,) = deployment.pools
    assert (pool.gpus_per_worker, pool.ranks, pool.ep, pool.workers, deployment.gpus) == (4, 1, 4, 2, 8)
    assert (deployment.weight_type, deployment.compute_type, deployment.engine) == ("bf16", "bf16", "sglang")
    spread = load_deployment(given | {"attention": "dp"})
    assert (spread.pools[0].ranks, spread.pools[0].attention) == (4, "dp")
    assert load_deployment({"system": "hgx_b200", "model": "qwen3_8b", "imitates": "sglang@0.5.9"}).engine == "sglang"


@pytest.mark.parametrize(
    ("system", "layout", "budgets"),
    [
        ("hgx_b200", ("dp", 8), {"vllm": 16_384, "sglang": 2_048, "trtllm": 16_384}),
        ("hgx_h200", ("dp", 8), {"vllm": 8_192, "sglang": 1_024}),
        ("hgx_h200", ("dp", 4), {"vllm": 8_192, "sglang": 2_048}),
        ("hgx_b200", ("tp", 8), {"vllm": 16_384, "sglang": 16_384}),
    ],
)
def test_ranks_share_the_budget_of_a_step_where_the_engine_has_them_do_so(system, layout, budgets):
    """SGLang divides `chunked_prefill_size` by its ranks of attention-DP; vLLM's `max_num_batched_tokens` is each rank's own."""
    attention, gpus = layout
    asked = {"system": system, "model": "deepseek_v4_flash", "attention": attention, "gpus_per_worker": gpus}
    found = {engine: load_deployment(asked | {"engine": engine}) for engine in budgets}
    assert {engine: deployment.pools[0].token_budget for engine, deployment in found.items()} == budgets
    shared = "which " in found["sglang"].fields["token_budget"].source
    assert shared == (attention == "dp")
    assert found["sglang"].fields["token_budget"].source.startswith("SGLang 0.5.15's default on GPUs of")
    assert load_deployment(asked | {"engine": "sglang", "token_budget": 4096}).pools[0].token_budget == 4096


def test_pools_of_different_ranks_share_it_each_for_itself():
    wide = {"workers": 1, "gpus_per_worker": 4, "attention": "dp", "ranks": 4, "ep": 4}
    narrow = {"workers": 1, "gpus_per_worker": 4, "attention": "tp", "ranks": 1, "ep": 4}
    pools = {"prefill": {"role": "prefill", **narrow}, "decode": {"role": "decode", **wide}}
    given = {"system": "hgx_b200", "model": "deepseek_v4_flash", "pools": pools}
    assert [pool.token_budget for pool in load_deployment(given | {"engine": "sglang"}).pools] == [16_384, 4_096]
    assert [pool.token_budget for pool in load_deployment(given | {"engine": "vllm"}).pools] == [16_384, 16_384]


def test_each_engine_has_its_own_default_by_memory():
    """Where SGLang's and vLLM's defaults part: GPUs of 35 to 60 GiB, of 60 to 70, and below."""
    for gib, vllm, sglang in ((24, 2_048, 2_048), (48, 2_048, 4_096), (64, 2_048, 8_192), (80, 8_192, 8_192), (180, 16_384, 16_384)):
        system = replace(SYSTEMS["hgx_h200"], hbm_bytes=gib * 2**30)
        budgets = [
            load_deployment({"engine": engine}, system=system, model=MODELS["qwen3_8b"]).pools[0].token_budget
            for engine in ("vllm", "sglang")
        ]
        assert budgets == [vllm, sglang]


def test_what_does_not_fit_says_what_would():
    with pytest.raises(UserError) as caught:
        load_deployment({"system": "hgx_h100", "model": "glm_5"})
    (found,) = caught.value.mistakes
    assert found.value == "glm_5 with weights as fp8 on hgx_h100"
    assert found.allowed == "a model whose weights and 131,072 tokens of KV per rank fit 8 GPUs of 86 GB"
    assert found.hint.startswith("one worker would need 16 GPUs as fp8 or 8 GPUs as fp4; give weight_type: fp4; as fp8 it fits ")
    assert "hgx_h200" in found.hint
    assert "hgx_h100" not in found.hint
    assert load_deployment({"system": "hgx_h100", "model": "glm_5", "weight_type": "fp4"}).pools[0].gpus_per_worker == 8


def test_a_measured_law_on_unknown_hardware_takes_the_derived_engine_where_it_names_none():
    sizes = {"workers": 1, "gpus_per_worker": 1, "attention": "tp", "ranks": 1, "ep": 1, "block_tokens": 16, "kv_pool_tokens": 100_000}
    limits = {"token_budget": 2048, "max_seqs": 16, "max_context_tokens": 2048}
    law = {"context_token_s": 1e-8, "floor_s": 1e-3, "host_s": 0.0, "decode_token_s": 1e-5, "prefill_token_s": 1e-5, "prefill_pair_s": 0.0}
    asked = {"system": "unknown", "model": "unknown", **sizes, **limits, **law}
    assert load_deployment(asked).engine == "vllm"
    assert load_deployment(asked | {"engine": "llamacpp"}).engine == "llamacpp"


def test_pools_give_their_layouts_and_may_leave_out_their_laws():
    pool = {"workers": 1, "gpus_per_worker": 2, "attention": "tp", "ranks": 1, "ep": 2}
    given = {"system": "hgx_h200", "model": "llama_3_1_70b", "kv_link": "scale_up"}
    pools = {"prefill": {"role": "prefill", **pool}, "decode": {"role": "decode", **pool, "gpus_per_worker": 4, "ep": 4, "floor_s": 0.004}}
    deployment = load_deployment(given | {"pools": pools})
    prefill, decode = deployment.pools
    assert decode.law.floor_s == 0.004
    assert prefill.law.prefill_token_s == pytest.approx(2 * decode.law.prefill_token_s, rel=0.5)  # half the GPUs
    assert "hgx_h200 vllm llama_3_1_70b" in deployment.fields["pools.prefill.floor_s"].source
    with pytest.raises(UserError) as caught:
        load_deployment(given | {"pools": {"mixed": {"role": "mixed", "workers": 1}}})
    assert {"gpus_per_worker", "attention", "ranks", "ep"} <= {mistake.field.split(".")[-1] for mistake in caught.value.mistakes}


def test_scenarios_without_a_deployment():
    asked = load_scenario({"name": "pair", "system": "hgx_h200", "model": "qwen3_8b", **SHORT})
    assert load_profiles(asked)[2].name == "hgx_h200_qwen3_8b"
    cells = [{"system": "hgx_h200"}, {"system": "hgx_b200", "deployment": {"gpus_per_worker": 2}}]
    compared = load_scenario({"name": "pair", "model": "qwen3_8b", "cells": cells, **SHORT})
    found = [load_profiles(scenario)[2] for scenario in compared.cell_scenarios()]
    assert [(d.system, d.gpus) for d in found] == [("hgx_h200", 1), ("hgx_b200", 2)]
    with pytest.raises(UserError, match="or give system and model, and it is derived"):
        load_scenario({"name": "pair", "system": "hgx_h200", **SHORT})


def test_the_matrix_of_pairs():
    sheet = pairs_sheet([SYSTEMS["hgx_h100"]], [MODELS["glm_5"], MODELS["llama_3_1_70b"]])
    h100 = load_deployment({}, system=SYSTEMS["hgx_h100"], model=MODELS["llama_3_1_70b"])
    assert sheet.rows == (("glm_5", "-"), ("llama_3_1_70b", layout_words(h100)))
    assert layout_words(h100).startswith("TP2, 0.4")


def test_a_derived_law_comes_from_operator_tables_of_the_model_where_no_served_row_tells():
    """A row of efficiencies of the model itself leads, then tables of the very worker, then served rows of other models.

    Prompts take what served rows of the engine and the model's family say they take over their operators.
    """
    dep8 = {"system": "hgx_b200", "model": "deepseek_v4_pro", "gpus_per_worker": 8, "attention": "dp", "engine": "sglang"}
    tables = load_deployment("hgx_b200_deepseek_v4_pro_dep8_sglang")
    derived = load_deployment(dep8)
    raw, over = tables.pools[0].law, served_over("sglang", "deepseek_v4_pro")
    assert over is not None
    assert over.prefill > 1
    longer = {key: pytest.approx(over.prefill * getattr(raw, key)) for key in PREFILL}
    assert {key: getattr(derived.pools[0].law, key) for key in PREFILL} == longer
    assert derived.pools[0].law == replace(raw, fitted_ep=1, **{key: getattr(derived.pools[0].law, key) for key in PREFILL})
    assert over.source in derived.fields["prefill_token_s"].source
    assert (derived.fields["prefill_token_s"].quality, derived.fields["floor_s"].quality) == ("estimated", "fitted")
    assert over.source not in derived.fields["floor_s"].source
    assert served_over("vllm", "deepseek_v4_pro") is served_over("sglang", "deepseek_r1") is None
    assert 0 < derived.pools[0].law.prefill_expert_s < derived.pools[0].law.prefill_token_s
    assert "aiconfigurator" in derived.fields["floor_s"].source
    for other in ({"engine": "vllm"}, {"weight_type": "fp4"}, {"floor_s": 1e-3}):
        assert "efficiencies" in load_deployment(dep8 | other).fields["prefill_token_s"].source
    own = load_deployment({"system": "hgx_h200", "model": "gpt_oss_120b", "gpus_per_worker": 1, "attention": "tp", "engine": "vllm"})
    assert "efficiencies" in own.fields["floor_s"].source
