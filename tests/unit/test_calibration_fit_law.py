"""Efficiencies fitted to rows: a known stack is recovered, held-back rows stay unseen, the shipped table is that of the shipped rows."""

from dataclasses import astuple, replace

import numpy as np
import pytest

from simulator.calibration.evidence import shipped_rows
from simulator.calibration.fit_exchange import fit_exchange, read_exchange
from simulator.calibration.fit_law import START, Sample, fit_table, median_error, samples_of
from simulator.calibration.predict import predict_rows
from simulator.catalog import folder
from simulator.errors import UserError
from simulator.hardware.efficiency import ANY, FIT, NAMES, Efficiency, efficiencies
from simulator.hardware.load import load_model, load_system

STACK = replace(START, layer_s=70e-6, weights=1.4, kv=1.2, prefill_gemm=2.6, request_s=35e-3)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return samples_of(row for row in shipped_rows() if "silicon_fit" in row.source)


def measured_as(samples: list[Sample], efficiency: Efficiency) -> list[Sample]:
    """The same rows as a stack of these efficiencies would have measured them."""
    values = np.array(astuple(efficiency))
    return [replace(s, row=replace(s.row, tpot_ms=1e3 * float(s.tpot @ values), ttft_ms=1e3 * float(s.ttft @ values))) for s in samples]


def test_a_known_stack_is_recovered(samples):
    one = [s for s in samples if s.row.system == "hgx_h100" and s.row.engine == "vllm"]
    table = {row.key: row for row in fit_table(measured_as(one, STACK), pulls=(0.001,) * 4)}
    found = table["hgx_h100", "vllm", ANY, ANY]
    assert found.tpot_error < 0.002
    assert found.tpot_check < 0.005
    assert found.ttft_check < 0.02
    for name in ("layer_s", "weights", "prefill_gemm", "request_s"):
        assert getattr(found.efficiency, name) == pytest.approx(getattr(STACK, name), rel=0.1), name


def test_rows_held_back_do_not_move_the_fit(samples):
    some = [s for s in samples if s.row.system == "hgx_b200" and s.row.engine == "trtllm"]
    changed = [s if s.fit else replace(s, row=replace(s.row, tpot_ms=9 * s.row.tpot_ms)) for s in some]
    before, after = fit_table(some), fit_table(changed)
    assert [row.efficiency for row in before] == [row.efficiency for row in after]
    assert before[0].tpot_check < after[0].tpot_check


def test_the_shipped_table_is_that_of_the_shipped_rows(samples):
    fitted = {row.key: row for row in fit_table(samples)}
    shipped = efficiencies()
    assert fitted.keys() == shipped.keys()
    for key, row in shipped.items():
        assert astuple(row.efficiency) == pytest.approx(astuple(fitted[key].efficiency), rel=2e-3, abs=1e-12), key
        assert [getattr(row, name) for name in FIT] == pytest.approx([getattr(fitted[key], name) for name in FIT], abs=1e-3, nan_ok=True), (
            key
        )


def test_the_estimate_is_near_the_simulation(samples):
    """One row of each stack, played on the kernel, beside the linear estimate that its law was fitted with."""
    table, seen, found = efficiencies(), set(), []
    for s in samples:
        stack = s.row.system, s.row.engine, s.row.model
        if stack not in seen and s.row.concurrency >= 4:
            seen.add(stack)
            key = next(k for k in reversed(s.keys) if k in table)
            played = predict_rows([s.row])[s.row.id]
            found.append(float(s.tpot @ np.array(astuple(table[key].efficiency))) * 1e3 / played.tpot_ms)
    assert len(found) > 15
    assert np.median(found) == pytest.approx(1.0, abs=0.02)
    assert np.quantile(np.abs(np.array(found) - 1), 0.9) < 0.12


def test_errors_are_over_rows_without_queues(samples):
    slow = replace(samples[0], row=replace(samples[0].row, ttft_ms=1e6))
    assert not slow.early
    assert np.isnan(median_error(START, [slow], "ttft"))


def test_wider_experts_cost_each_token_time():
    system, model = load_system("gb300_nvl72"), load_model("deepseek_v4_pro")
    fit = fit_exchange(read_exchange(folder("evidence") / "exchange.csv"), system, model)
    assert fit.wider_token_s(model) == pytest.approx(1.243e-6, rel=0.005)
    assert fit.error < 0.12
    assert fit.check < 0.15


def test_another_header_is_told(tmp_path):
    file = tmp_path / "exchange.csv"
    file.write_text("id,ep\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError, match="header"):
        read_exchange(file)


def test_every_efficiency_has_a_start():
    assert len(astuple(START)) == len(NAMES)
