"""The power law in integers, and the four bases."""

from itertools import pairwise

import numpy as np
import pytest

from simulator.hardware.load import load_deployment, load_model, load_system
from simulator.hardware.power import PowerLaw, power_law, slowing, watts_per_gpu

MODEL = load_model("deepseek_v4_pro")


def law_of(name: str, pool: int = 0) -> PowerLaw:
    deployment = load_deployment(name)
    return power_law(load_system(deployment.system), MODEL, deployment, deployment.pools[pool])


@pytest.mark.parametrize(
    ("name", "floor_w", "hbm_w", "flop_w", "cap_w", "idle_w"),
    [
        ("gb300_nvl72_v4pro_20tps", 560, 392, 2100, 1400, 230),
        ("hgx_h200_v4pro_20tps", 371, 273.7, 1450.4, 700, 115),
        ("hgx_b200_v4pro_20tps", 432, 576, 1916, 1000, 140),
        ("hgx_b300_v4pro_20tps", 475.2, 633.6, 2107.6, 1100, 140),
        ("gb200_nvl72_v4pro_20tps_pd", 540, 360, 1800, 1200, 150),
        ("mi355x_v4pro_20tps", 604.8, 806.4, 2682.4, 1400, 200),
    ],
)
def test_terms_are_shares_of_the_tdp(name, floor_w, hbm_w, flop_w, cap_w, idle_w):
    law = law_of(name)
    found = (law.floor_mw, law.hbm_mw, law.flop_mw, law.cap_mw, law.idle_mw, law.light_mw)
    assert found == tuple(round(1000 * watts) for watts in (floor_w, hbm_w, flop_w, cap_w, idle_w, idle_w))


def test_watts_rise_more_steeply_at_light_load():
    assert law_of("hgx_h200_v4pro_20tps").rise_fp == round(2.211 * 1024)
    assert law_of("gb300_nvl72_v4pro_20tps").rise_fp == round(2.665 * 1024)


def test_without_a_cap_nothing_is_slowed():
    assert law_of("hgx_h200_v4pro_20tps").slow_fp.tolist() == [1024]
    assert slowing(700.0, 700.0).tolist() == slowing(900.0, 700.0).tolist() == [1024]


def test_a_cap_slows_what_wants_more_watts():
    """Cap 450 of 700 W, 600 W wanted: (0.6429 - 0.25) / (0.8571 - 0.25) = 0.6471, to the power of 1 / 2.4 a clock of 0.8341."""
    table = slowing(450.0, 700.0)
    assert len(table) == 701
    assert set(table[:451].tolist()) == {1024}
    assert table[600] == round(1024 / (0.6470588 ** (1 / 2.4)))
    assert (np.diff(table) >= 0).all()
    assert slowing(120.0, 700.0)[700] == 2048, "clocks do not fall below half"


def test_a_lower_cap_slows_no_less():
    tables = [slowing(float(cap_w), 700.0) for cap_w in range(699, 100, -1)]
    assert all((lower >= higher).all() for higher, lower in pairwise(tables))


def test_gpus_of_a_rank():
    assert law_of("gb300_nvl72_v4pro_20tps").gpus_per_rank == 1
    assert law_of("hgx_h200_v4pro_20tps").gpus_per_rank == 8


def test_flops_of_a_rank_are_spread_over_its_gpus_and_kv_is_not():
    law, fixed_read = law_of("hgx_h200_v4pro_20tps"), 22.5e6
    assert law.token_flop_ps == pytest.approx((97.7e9 + 10.3e9) / (8 * 989e12) * 1e12, rel=0.02)
    assert law.seq_hbm_ps == pytest.approx(fixed_read / 4.8e12 * 1e12, rel=0.01)


def test_prefill_draws_the_share_of_peak_flops_it_reaches():
    """GB300 prefill runs at 65 us a token: 108 GFLOP in that time are a third of the FP8 peak, which adds half the TDP."""
    law = law_of("gb300_nvl72_v4pro_20tps")
    share = law.token_flop_ps / 65.07e6
    assert share == pytest.approx(0.33, abs=0.02)
    assert law.floor_mw + law.flop_mw * share < law.cap_mw


def test_streaming_time_at_peak_is_below_the_step_time():
    law = law_of("hgx_h200_v4pro_20tps")
    assert law.shared_hbm_ps[-1] / 1e12 == pytest.approx(108e9 / 4.8e12, rel=0.12)


@pytest.mark.parametrize(
    ("name", "accelerator_w", "tdp", "nameplate", "facility"),
    [
        ("gb300_nvl72", 1000.0, 1400.0, 142_000 / 72, (1000 + 29_000 / 72) * 1.10),
        ("hgx_h200", 500.0, 700.0, 1275.0, (500 + 350) * 1.28),
        ("hgx_b200", 800.0, 1000.0, 1787.5, (800 + 337.5) * 1.28),
        ("hgx_b300", 800.0, 1100.0, 1812.5, (800 + 337.5) * 1.28),
        ("gb200_nvl72", 900.0, 1200.0, 132_000 / 72, (900 + 29_000 / 72) * 1.10),
        ("mi355x", 1000.0, 1400.0, 2150.0, (1000 + 337.5) * 1.10),
    ],
)
def test_four_bases(name, accelerator_w, tdp, nameplate, facility):
    watts = watts_per_gpu(load_system(name), accelerator_w)
    assert list(watts) == ["accelerator", "tdp", "nameplate", "facility"]
    assert list(watts.values()) == pytest.approx([accelerator_w, tdp, nameplate, facility])


def test_pools_of_a_width_have_powers_of_their_own():
    """Each GPU of a DEP4 prefill worker streams a quarter of the experts, of a DEP8 decode worker an eighth, and three draft passes."""
    prefill, decode = law_of("gb300_nvl72_v4pro_20tps_pd", 0), law_of("gb300_nvl72_v4pro_20tps_pd", 1)
    assert prefill.shared_hbm_ps[-1] / 1e12 == pytest.approx(238e9 / 8e12, rel=0.01)
    assert decode.shared_hbm_ps[-1] / 1e12 == pytest.approx(17.7e-3, rel=0.01)
    assert prefill.token_flop_ps == decode.token_flop_ps
