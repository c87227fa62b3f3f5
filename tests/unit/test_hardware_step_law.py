"""The step-time law against component measurements: the whole grid of `hardware_profiles/evidence`, and rows typed in."""

from statistics import median

import numpy as np
import pytest

from simulator.calibration.fit_grid import BARE, DP4, GRIDS, grid_fits, predicted_ms, rows_of, worker_of
from simulator.calibration.grid import step_rows
from simulator.errors import UserError
from simulator.hardware.deployment import Deployment, WorkerPool
from simulator.hardware.load import load_deployment, load_model, load_system
from simulator.hardware.memory import expert_coverage, weight_bytes
from simulator.hardware.served import served_over
from simulator.hardware.step_law import StepLaw, step_law

MODEL = load_model("deepseek_v4_pro")

# System in the grid -> the deployment that was fitted to it, laid out as the grid was measured.
MEASURED_ON = {
    "gb300": ("gb300_nvl72_v4pro_20tps", DP4),
    "b200_sxm": ("hgx_b200_v4pro_20tps", {}),
    "b300_sxm": ("hgx_b300_v4pro_20tps", {}),
}
# Median and largest absolute relative error that the profiles state; a better fit must lower them here and there.
BOUNDS = {
    ("gb300", "decode"): (0.051, 0.115),
    ("gb300", "prefill"): (0.028, 0.136),
    ("b200_sxm", "decode"): (0.043, 0.104),
    ("b200_sxm", "prefill"): (0.032, 0.110),
    ("b300_sxm", "decode"): (0.043, 0.103),
    ("b300_sxm", "prefill"): (0.035, 0.110),
}


def law_of(name: str, overrides: dict | None = None, pool: str = "mixed") -> tuple[StepLaw, Deployment, WorkerPool]:
    deployment = load_deployment(name, overrides)
    found = next(each for each in deployment.pools if each.name == pool)
    return step_law(load_system(deployment.system), MODEL, deployment, found), deployment, found


def step_ms(law: StepLaw, ranks: int, *, batch: int = 0, context: int = 0, chunk: int = 0, prefix: int = 0, drafts: int = 0) -> float:
    """The docstring of `StepLaw`, for ranks that all do the same."""
    queries = batch * (1 + drafts) + chunk
    ps = law.floor_ps + int(law.shared_ps[min(ranks * queries, len(law.shared_ps) - 1)])
    ps += law.seq_ps * batch + (law.ctx_fp * batch * context >> 10) + law.decode_token_ps * batch * (1 + drafts)
    ps += law.prefill_token_ps * chunk + (law.pair_fp * chunk * (2 * prefix + chunk) >> 11)
    return ps / 1e9


@pytest.mark.parametrize("phase", ["decode", "prefill"])
@pytest.mark.parametrize("system", MEASURED_ON)
def test_the_law_meets_the_grid_within_the_stated_error(system, phase):
    grid = next(each for each in GRIDS if each.deployment == MEASURED_ON[system][0])
    worker = worker_of(grid)
    rows = [row for row in rows_of(worker, step_rows()) if row.phase == phase]
    errors = [abs(predicted_ms(worker, row) / row.ms - 1) for row in rows]
    assert len(errors) == {"decode": 40, "prefill": 18}[phase]
    middle, largest = BOUNDS[system, phase]
    assert middle - 0.01 < median(errors) <= middle
    assert max(errors) <= largest


@pytest.mark.parametrize("fit", grid_fits(), ids=lambda fit: fit.name)
def test_the_coefficients_are_those_of_the_fit(fit):
    """Fitted again by relative least squares; all are positive without being forced."""
    assert fit.coefficients
    assert all(each.again > 0 for each in fit.coefficients)
    for each in fit.coefficients:
        assert each.stated == pytest.approx(each.again, rel=0.005), each.name


# aiconfigurator step grid at 095f58a, decode at 32K context: sequences per GPU -> ms.
DECODE_32K = {
    "gb300": {1: 14.3, 4: 21.7, 16: 30.3, 64: 42.1, 128: 48.6, 256: 64.2, 512: 75.8},
    "b200_sxm": {1: 16.1, 4: 21.4, 16: 26.6, 64: 36.4, 128: 42.9, 256: 56.5, 512: 76.7},
    "b300_sxm": {1: 15.8, 4: 20.8, 16: 26.6, 64: 35.4, 128: 44.1, 256: 56.1, 512: 77.6},
}


@pytest.mark.parametrize("system", MEASURED_ON)
def test_decode_rows_typed_in(system):
    name, layout = MEASURED_ON[system]
    law, _, pool = law_of(name, BARE | layout)
    errors = [abs(step_ms(law, pool.ranks, batch=b, context=32_768) / ms - 1) for b, ms in DECODE_32K[system].items()]
    assert median(errors) <= 0.08
    assert max(errors) <= 0.12


def test_h200_decode_rows_typed_in():
    """TP8 at 8K context, sequences of the group: two coefficients fitted, two set by hand; the row at 16 is missed by 21 %."""
    law = law_of("hgx_h200_v4pro_20tps", BARE | {"max_seqs": 128})[0]
    rows = {1: 12.3, 4: 13.9, 16: 27.7, 64: 41.3, 128: 53.2}
    errors = {b: step_ms(law, 1, batch=b, context=8_192) / ms - 1 for b, ms in rows.items()}
    assert median(map(abs, errors.values())) <= 0.045
    assert max(errors, key=lambda b: abs(errors[b])) == 16
    assert errors[16] == pytest.approx(-0.21, abs=0.015)


def test_h200_prefill_lies_in_the_range_of_its_operators_but_for_what_sglang_takes_over_them():
    law = law_of("hgx_h200_v4pro_20tps", BARE)[0]
    over = served_over("sglang", "deepseek_v4_pro")
    assert over is not None
    operators = law._replace(prefill_token_ps=round(law.prefill_token_ps / over.prefill))
    assert 500 <= step_ms(operators, 1, chunk=8_192) <= 570


def test_h200_against_two_served_rows():
    """SGLang page, 8K/1K random text, MTP-3, not used in the fit: 5.64 ms a token for one user, 25.83 for 16 (prefill stalls included).

    Random text accepts fewer or more drafts than ours, so this holds only the order of magnitude.
    """
    law, deployment, _ = law_of("hgx_h200_v4pro_20tps")
    alone = step_ms(law, 1, batch=1, context=8_704, drafts=3) / deployment.accepted_length
    stalls = 15 * 2 * step_ms(law, 1, chunk=4_096) / 1_024
    many = step_ms(law, 1, batch=16, context=8_704, drafts=3) / deployment.accepted_length + stalls
    print(f"one user {alone:.2f} ms against 5.64; 16 users {many:.2f} ms against 25.83")
    assert alone == pytest.approx(5.64, rel=0.40)
    assert many == pytest.approx(25.83, rel=0.25)


def test_drafting_costs_one_layer_in_61_per_draft_and_its_weights():
    plain = law_of("gb300_nvl72_v4pro_60tps", {"drafts": 0, "host_s": 0.0})[0]
    drafting, deployment, _ = law_of("gb300_nvl72_v4pro_60tps", {"host_s": 0.0})
    assert drafting.floor_ps == pytest.approx(plain.floor_ps * (1 + 3 / 61), rel=1e-6)
    extra = (drafting.shared_ps[500] - plain.shared_ps[500]) / 1e9
    assert 1.0 < extra < 2.0  # three passes over a layer of 1.7 GB experts per GPU, 0.5 GB of the rest and a 1.9 GB head at 8 TB/s
    assert drafting.decode_token_ps > plain.decode_token_ps
    assert drafting.ctx_fp == pytest.approx(4 * plain.pair_fp, rel=1e-3)
    assert deployment.accepted_length == pytest.approx(2.49)


def test_the_table_never_falls_and_covers_every_step():
    for name in ("gb300_nvl72_v4pro_20tps", "hgx_h200_v4pro_20tps", "hgx_b200_v4pro_20tps"):
        law, _, pool = law_of(name)
        assert np.all(np.diff(law.shared_ps) >= 0)
        assert len(law.shared_ps) == min(65_536, pool.ranks * (pool.token_budget + pool.max_seqs * 4) + 1)
        assert law.shared_ps.dtype == np.int64
        assert law.shared_ps[-1] == pytest.approx(law.shared_ps[len(law.shared_ps) // 2], rel=0.01)


def test_tensor_parallelism_spreads_the_dense_weights():
    """An empty-handed rank streams 1/8 of the non-expert weights under TP8, all of them under attention-DP."""
    weights = weight_bytes(MODEL)
    for name, spread in (("hgx_h200_v4pro_20tps", 8), ("hgx_b200_v4pro_20tps", 1)):
        law, deployment, pool = law_of(name, {"drafts": 0})
        system = load_system(deployment.system)
        experts = weights.experts * expert_coverage(MODEL, 1, pool.law.routing_skew) / 8
        seconds = (experts + (weights.dense + weights.head) / spread) / (pool.law.hbm_efficiency * system.hbm_bytes_per_s)
        assert law.shared_ps[1] == pytest.approx(seconds * 1e12, rel=1e-9)


def test_a_prefill_pool_passes_the_draft_layer_once_and_drafts_nothing():
    """DEP4 of the published GB300 shape is the layout that was measured, so without the draft layer its law is the fitted one."""
    with_drafts, _, pool = law_of("gb300_nvl72_v4pro_20tps_pd", {"host_s": 0.0}, "prefill")
    without = law_of("gb300_nvl72_v4pro_20tps_pd", {"host_s": 0.0, "drafts": 0}, "prefill")[0]
    weights = weight_bytes(MODEL)
    assert with_drafts.floor_ps == pytest.approx(without.floor_ps * (1 + 1 / 61), rel=1e-6)
    assert with_drafts.prefill_token_ps == pytest.approx(without.prefill_token_ps * (1 + 1 / 61), rel=1e-6)
    once = (weights.draft_experts / 4 + weights.draft_dense + weights.head) / 8e12
    assert (with_drafts.shared_ps[-1] - without.shared_ps[-1]) / 1e12 == pytest.approx(once, rel=1e-6)
    assert with_drafts.ctx_fp == without.ctx_fp
    assert len(with_drafts.shared_ps) == min(65_536, pool.ranks * (pool.token_budget + pool.max_seqs) + 1)
    fitted = law_of("gb300_nvl72_v4pro_20tps", BARE | MEASURED_ON["gb300"][1])[0]
    assert step_ms(without, 4, chunk=8_192) == pytest.approx(step_ms(fitted, 4, chunk=8_192), rel=1e-9)


# vLLM on GB200, 8K/1K without drafts: GPUs in all, tokens/s per GPU (input and output), ms per output token.
GB200_SERVED = ((32, 8_933, 66.3), (24, 8_153, 54.3), (16, 6_036, 46.4), (16, 5_336, 47.4), (16, 3_148, 41.2))


def test_gb200_against_served_rows():
    """The calls decoding follow from Little's law: output tokens/s (1,024 of 9,216) times the time per token, over 8 decode ranks."""
    law, _, pool = law_of("gb200_nvl72_v4pro_20tps_pd", pool="decode")
    for gpus, tokens_per_s, ms in GB200_SERVED:
        batch = round(gpus * tokens_per_s * 1_024 / 9_216 * ms / 1e3 / pool.ranks)
        assert step_ms(law, pool.ranks, batch=batch, context=8_704) == pytest.approx(ms, rel=0.065)


@pytest.mark.parametrize(("name", "fp8"), [("gb200_nvl72_v4pro_20tps_pd", 5_000), ("mi355x_v4pro_20tps", 5_033)])
def test_laws_without_a_measurement_are_those_of_b200_scaled_by_peak_flops(name, fp8):
    b200, scaled = load_deployment("hgx_b200_v4pro_20tps").pools[0].law, load_deployment(name).pools[0].law
    for key in ("decode_token_s", "prefill_token_s", "prefill_pair_s"):
        assert getattr(scaled, key) == pytest.approx(getattr(b200, key) * 4_500 / fp8, rel=0.001)
    for key in ("floor_s", "routing_skew", "hbm_efficiency", "kv_efficiency"):
        assert getattr(scaled, key) == getattr(b200, key)


def test_wider_expert_parallelism_costs_each_token_time():
    narrow, _, pool = law_of("gb300_nvl72_v4pro_20tps_pd", pool="prefill")
    assert (pool.ep, pool.law.fitted_ep) == (4, 4)
    assert narrow.prefill_token_ps == round(65.07e6 * (1 + 1 / 61))
    wide, _, pool = law_of("gb300_nvl72_v4pro_60tps_pd", pool="decode")
    assert pool.ep == 16
    assert wide.decode_token_ps == round((63.7e6 + 12 * 1.243e6) * (1 + 1.5 / 61))  # 3 drafts: 2 * 3 / (1 + 3) of a layer


def test_a_derived_law_shares_its_experts_and_a_given_one_says_so_itself():
    system, model = load_system("hgx_b200"), load_model("deepseek_v4_pro")
    derived = load_deployment({"system": system.name, "model": model.name})
    given = load_deployment("hgx_b200_v4pro_20tps")
    for deployment, shares in ((derived, True), (given, False)):
        (pool,) = deployment.pools
        law = step_law(system, model, deployment, pool)
        assert pool.ranks == 8
        assert (0 < law.expert_ps < law.prefill_token_ps) if shares else law.expert_ps == 0


def test_a_shared_part_above_the_whole_is_refused():
    with pytest.raises(UserError, match=r"prefill_expert_s.*at most prefill_token_s, 8\.926e-05 s"):
        load_deployment("hgx_b200_v4pro_20tps", {"prefill_expert_s": 1e-4})
