"""Laws from operator tables: fitted to tables of a known law, written as YAML, their names, and a real derivation where the extra is."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from simulator.calibration.aic_cells import BATCHES, CHUNKS, CONTEXTS, PREFIXES, Worker, grid, sample
from simulator.calibration.aic_derive import Ask, Derived, aic_layout, derive, stored, told
from simulator.calibration.aic_fit import Fit, errors_of, fit_law, predicted_s, steps_of
from simulator.calibration.aic_names import CHECKPOINTS, models, systems
from simulator.calibration.aic_overlay import compute_type, overlay
from simulator.calibration.aic_rows import cell_fits, cells_text, shipped_cells
from simulator.errors import UserError
from simulator.hardware.deployment import LawCoefficients
from simulator.hardware.load import load_deployment, load_model, load_system
from simulator.hardware.step_law import step_law
from simulator.report.aic_tables import derived_sheet

MODES = {"gemm": "fp8_block", "moe": "fp8_block", "kvcache": "fp8", "fmha": "bfloat16"}
KNOWN = LawCoefficients(
    floor_s=7e-3,
    host_s=0.0,
    routing_skew=0.6,
    hbm_efficiency=0.7,
    kv_efficiency=0.5,
    decode_token_s=4e-5,
    prefill_token_s=5e-5,
    prefill_pair_s=8e-10,
    prefill_expert_s=2e-5,
)


class KnownTables:
    """Tables that hold what a known law says, times a factor for each cell."""

    def __init__(self, worker, law, factor=lambda batch, chunk, context: 1.0):
        self.worker, self.law, self.factor = worker, law, factor

    def decode_s(self, batch, context_tokens):
        return self._seconds("decode", batch, 0, context_tokens)

    def prefill_s(self, chunk_tokens, prefix_tokens=0):
        return self._seconds("prefill", 0, chunk_tokens, prefix_tokens)

    def experts_s(self, chunk_tokens):
        return 2e-3 + self.law.prefill_expert_s * chunk_tokens

    def _seconds(self, phase, batch, chunk, context):
        # Written out apart from the fit's own columns: the law as docs/laws.md prints it, for R1 in FP8 on 8 GPUs.
        model, system, ranks = self.worker.model, self.worker.system, self.worker.ranks
        queries = batch + chunk
        experts = 58 * 256 * 3 * 7168 * 2048
        dense = self.dense_bytes(model, experts)
        chosen = 1 - (1 - 8 / 256) ** (self.law.routing_skew * ranks * queries)
        streamed = experts * chosen / 8 + dense / self.worker.tp
        read = batch * context * 61 * 576
        pairs = chunk * (context + chunk / 2)
        seconds = self.law.floor_s + streamed / (self.law.hbm_efficiency * system.hbm_bytes_per_s)
        seconds += read / (self.law.kv_efficiency * system.hbm_bytes_per_s) + self.law.decode_token_s * batch
        seconds += self.law.prefill_token_s * chunk + self.law.prefill_pair_s * pairs
        return seconds * self.factor(batch, chunk, context)

    @staticmethod
    def dense_bytes(model, experts):
        from simulator.hardware.memory import weight_bytes

        weights = weight_bytes(model, "fp8")
        assert weights.experts == experts
        return weights.dense + weights.head


def r1(attention="tp"):
    return Worker(load_system("hgx_h200"), load_model("deepseek_r1"), attention, 8, "fp8", "fp8", "none")


def fitted(worker, law=KNOWN, **options):
    cells, missing = sample(worker, KnownTables(worker, law, **options))
    assert not missing
    return fit_law(worker, cells), cells


@pytest.mark.parametrize("attention", ["tp", "dp"])
def test_the_fit_recovers_a_known_law(attention):
    fit, cells = fitted(r1(attention))
    shared = KNOWN.prefill_expert_s if attention == "dp" else 0.0
    for name, value in vars(replace(KNOWN, fitted_ep=8, prefill_expert_s=shared)).items():
        assert getattr(fit.law, name) == (pytest.approx(value, rel=1e-3) if isinstance(value, float) else value), name
    assert {(phase, split) for phase, split in fit.errors} == {(p, s) for p in ("decode", "prefill") for s in ("fit", "check")}
    assert max(found.worst for found in fit.errors.values()) < 1e-3
    assert sum(found.cells for found in fit.errors.values()) == len(steps_of(cells)) == len(cells) - (6 if attention == "dp" else 0)
    assert fit.at_bound == ()


def test_held_out_cells_are_not_seen_by_the_fit():
    def spoilt(batch, chunk, context):
        """Cells that the fit may not see are twice as slow."""
        return 1.0 if (batch, chunk, context) in seen else 2.0

    worker = r1()
    seen = {(batch, chunk, context) for _, batch, chunk, context, used in grid(worker) if used}
    fit, _ = fitted(worker, factor=spoilt)
    assert fit.law.floor_s == pytest.approx(KNOWN.floor_s, rel=1e-3)
    assert fit.errors["decode", "fit"].worst < 1e-3
    assert fit.errors["decode", "check"].median == pytest.approx(0.5, abs=1e-3)
    assert fit.errors["prefill", "check"].worst == pytest.approx(0.5, abs=1e-3)


def test_noise_of_five_percent_moves_the_coefficients_little():
    rng = np.random.default_rng(0)
    fit, _ = fitted(r1(), factor=lambda *cell: 1 + rng.normal(0, 0.05))
    assert fit.law.prefill_token_s == pytest.approx(KNOWN.prefill_token_s, rel=0.15)
    assert fit.law.kv_efficiency == pytest.approx(KNOWN.kv_efficiency, rel=0.15)
    assert 0.02 < fit.errors["decode", "check"].median < 0.08


def test_kv_that_costs_nothing_is_at_the_bound_and_told():
    fit, cells = fitted(r1(), replace(KNOWN, kv_efficiency=1e9))
    assert "kv_efficiency" in fit.at_bound
    assert fit.law.kv_efficiency == pytest.approx(1.2)
    text = overlay("x", "x", r1(), fit, MODES, "x", engine="vllm")
    assert "At the bound that a profile allows: kv_efficiency" in text
    assert len(cells) > 60


def test_a_phase_without_cells_cannot_be_fitted():
    worker = r1()
    cells, _ = sample(worker, KnownTables(worker, KNOWN))
    with pytest.raises(ValueError, match="no prefill chunks"):
        fit_law(worker, [cell for cell in cells if cell.phase == "decode"])


def test_tables_with_gaps_give_the_other_cells():
    class Gappy(KnownTables):
        def decode_s(self, batch, context_tokens):
            if batch == 64:
                raise RuntimeError("no such shape")
            return super().decode_s(batch, context_tokens)

    worker = r1()
    cells, missing = sample(worker, Gappy(worker, KNOWN))
    assert missing
    assert all(line.startswith("decode 64 behind") and line.endswith("RuntimeError: no such shape") for line in missing)
    assert fit_law(worker, cells).law.floor_s == pytest.approx(KNOWN.floor_s, rel=1e-3)


def test_the_grid_holds_back_a_third_of_every_row_and_column_and_stays_in_memory():
    worker = Worker(load_system("gb300_nvl72"), load_model("deepseek_v4_pro"), "dp", 8, "stored", "packed_fp8", "fp8")
    rows = list(grid(worker))
    decode = {(batch, context): used for phase, batch, _, context, used in rows if phase == "decode"}
    prefill = {(chunk, context): used for phase, _, chunk, context, used in rows if phase == "prefill"}
    assert 0.28 < sum(not used for *_, used in rows) / len(rows) < 0.38
    for batch in BATCHES[:8]:
        assert {decode[batch, context] for context in CONTEXTS if (batch, context) in decode} == {True, False}
    for prefix in PREFIXES:
        assert {prefill[chunk, prefix] for chunk in CHUNKS} == {True, False}
    assert (512, 131_072) not in decode
    small = Worker(load_system("hgx_h200"), load_model("gpt_oss_120b"), "tp", 1, "stored", "bf16", "none")
    assert all(context + chunk <= 131_072 for _, _, chunk, context, _ in grid(small))
    assert len(list(grid(small))) < len(rows)


def test_the_yaml_is_read_and_the_engine_plays_the_law_that_was_fitted(tmp_path):
    worker = r1()
    fit, cells = fitted(worker, factor=lambda batch, chunk, context: 1 + 0.05 * ((batch + chunk + context) % 3 - 1))
    path = tmp_path / "derived.yaml"
    path.write_text(overlay("mine", "Mine", worker, fit, MODES, f"tables; {told(fit)}", engine="sglang"), encoding="utf-8")
    deployment = load_deployment(path, {"token_budget": 16_384, "max_seqs": 512})
    (pool,) = deployment.pools
    assert (deployment.engine, deployment.drafts, pool.attention, pool.gpus_per_worker) == ("sglang", 0, "tp", 8)
    assert deployment.fields["floor_s"].quality == "fitted"
    assert "held out" in deployment.fields["kv_efficiency"].source
    law = step_law(worker.system, worker.model, deployment, pool)
    for cell, said in zip(cells, predicted_s(worker, cells, fit.law), strict=True):
        ps = law.floor_ps + int(law.shared_ps[cell.batch + cell.chunk]) + law.seq_ps * cell.batch + law.decode_token_ps * cell.batch
        ps += law.ctx_fp * cell.batch * cell.context >> 10
        ps += law.prefill_token_ps * cell.chunk + (law.pair_fp * cell.chunk * (2 * cell.context + cell.chunk) >> 11)
        assert ps / 1e12 == pytest.approx(said, rel=1e-3)


def test_an_overlay_keeps_what_it_extends(tmp_path):
    worker = Worker(load_system("hgx_h200"), load_model("deepseek_v4_pro"), "tp", 8, "stored", "packed_fp8", "fp8")
    fit = Fit(KNOWN, {}, ())
    path = tmp_path / "derived.yaml"
    path.write_text(
        overlay("mine", "Mine", worker, fit, MODES, "tables", engine="sglang", extends="hgx_h200_v4pro_20tps_sglang", estimated=True)
    )
    deployment, base = load_deployment(path), load_deployment("hgx_h200_v4pro_20tps_sglang")
    assert deployment.pools[0].law == replace(KNOWN, host_s=base.pools[0].law.host_s, fitted_ep=8)
    assert deployment.fields["floor_s"].quality == "estimated"
    assert (deployment.drafts, deployment.pools[0].token_budget) == (base.drafts, base.pools[0].token_budget)


def test_names_are_theirs_or_ours():
    assert systems("h200_sxm") == systems("hgx_h200") == ("hgx_h200", "h200_sxm")
    assert models("openai/gpt-oss-120b") == models("gpt_oss_120b") == ("gpt_oss_120b", "stored", "openai/gpt-oss-120b")
    assert models("deepseek_r1", "fp4") == ("deepseek_r1", "fp4", "nvidia/DeepSeek-V3.1-NVFP4")
    for word, weights in (("gpt_oss_20b", ""), ("deepseek_r1", "bf16")):
        with pytest.raises(UserError):
            models(word, weights)
    with pytest.raises(UserError, match="hgx_h200"):
        systems("mi355x")
    for ours, kind in CHECKPOINTS:
        load_model(ours)
        assert kind in ("stored", "bf16", "fp8", "fp4")


def test_layouts_and_types():
    r1_card, dense = load_model("deepseek_r1"), load_model("llama_3_1_70b")
    assert str(aic_layout(Ask("", "", tp=8), r1_card)) == "tp8 dp1 moe_tp8 ep1"
    assert str(aic_layout(Ask("", "", tp=8, ep=8), r1_card)) == "tp8 dp1 moe_tp1 ep8"
    assert str(aic_layout(Ask("", "", dp=8), r1_card)) == "tp1 dp8 moe_tp1 ep8"
    assert str(aic_layout(Ask("", "", tp=4), dense)) == "tp4 dp1 moe_tp1 ep1"
    assert stored(r1_card, MODES) == ("fp8", "none")
    assert stored(dense, MODES | {"kvcache": "bfloat16"}) == ("bf16", "none")
    assert stored(load_model("deepseek_v4_pro"), MODES) == ("packed_fp8", "fp8")
    assert compute_type(MODES, dense=False) == "fp8"
    assert compute_type(MODES | {"moe": "w4a16_mxfp4"}, dense=False) == "bf16"
    assert compute_type(MODES | {"moe": "nvfp4"}, dense=False) == "fp4"
    assert compute_type(MODES | {"gemm": "bfloat16"}, dense=True) == "bf16"


def test_the_shipped_deployments_are_what_their_cells_give():
    """Fits the coefficients again from the cells that ship, and holds their errors to what the sources say."""
    fits = {fit.name.removeprefix("deployments/"): fit for fit in cell_fits()}
    assert set(fits) == set(shipped_cells()) != set()
    for name, fit in fits.items():
        assert not fit.differs, name
        source = load_deployment(name).fields["floor_s"].source
        for miss in fit.misses:
            words = "fitted" if miss.split == "fit" else "held out"
            said = f"{len(miss.errors)} {miss.rows} cells {words}, median {100 * miss.median:.1f} %, at most {100 * abs(miss.worst):.0f} %"
            assert said in source


def test_cells_are_written_and_read_alike():
    worker = r1()
    cells, _ = sample(worker, KnownTables(worker, KNOWN))
    lines = cells_text("mine", cells).splitlines()
    assert lines[0] == "deployment,phase,batch,chunk,context,ms,split"
    assert len(lines) == len(cells) + 1
    assert {line.rsplit(",", 1)[1] for line in lines[1:]} == {"fit", "check"}


needs_extra = pytest.mark.skipif(find_spec("aiconfigurator") is None, reason="the extra 'aic' (aiconfigurator) is not installed")


@needs_extra
def test_a_real_derivation(tmp_path):
    """gpt-oss-120b on one H200 under vLLM: the error that docs/aiconfigurator.md states."""
    found = derive(Ask("h200_sxm", "openai/gpt-oss-120b"), today="2026-11-25")
    assert not found.missing
    assert found.fit.errors["decode", "check"].median < 0.08
    assert found.fit.errors["prefill", "check"].median < 0.06
    assert errors_of(found.worker, found.cells, found.fit.law) == found.fit.errors
    path = tmp_path / "derived.yaml"
    path.write_text(found.text)
    assert load_deployment(path).quality == "assumed"


@needs_extra
def test_what_was_not_measured_is_told():
    with pytest.raises(UserError, match="--estimates"):
        derive(Ask("hgx_h200", "deepseek_v4_pro", "sglang", tp=8))
    for ask in (
        Ask("hgx_h200", "deepseek_r1", tp=2, dp=2),
        Ask("hgx_h200", "deepseek_r1", engine="llamacpp"),
        Ask("hgx_h200", "deepseek_r1", tp=8, ep=3),
    ):
        with pytest.raises(UserError, match="--"):
            derive(ask)


def test_the_table_of_a_derived_law_names_what_was_fitted():
    worker = r1()
    fit, cells = fitted(worker)
    sheet = derived_sheet(Derived("mine", "Mine", worker, tuple(cells), fit, "tables", (), ""))
    assert [row[0] for row in sheet.rows] == ["decode", "decode", "prefill", "prefill"]
    assert "floor_s 0.0" in sheet.note
    assert "None" not in sheet.note
