"""How wrong a field may be: read from profiles, moved the right way, and together with what it was fitted with."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simulator.errors import UserError
from simulator.hardware.badge import CALIBRATED, ESTIMATED, FITTED, badge
from simulator.hardware.deployment import Deployment
from simulator.hardware.load import load_deployment, load_model, load_system
from simulator.hardware.profile import parse
from simulator.hardware.quality import Field, Spread
from simulator.hardware.schemas import SYSTEM
from simulator.hardware.spread import DEFAULT, SPECS, Z95, Group, deviations, direction, factor, group_of, key_of, moved, mover
from simulator.hardware.step_law import step_law


def field(name: str, value: Any, quality: str = "fitted", spread: Spread | None = None, source: str = "somewhere") -> Field:
    return Field(name, value, SPECS[name.rpartition(".")[2]].unit, source, quality, spread=spread)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("floor_s", 1), ("pools.decode.host_s", 1), ("prefill_pair_s", 1), ("kv_link_latency_s", 1), ("power_floor", 1), ("idle_w", 1),
        ("other_w", 1), ("pue", 1), ("reserve_bytes", 1), ("memory_share", 1), ("hbm_efficiency", -1), ("kv_link_efficiency", -1),
        ("kv_pool_tokens", -1), ("kv_pool_share", -1), ("accept_means", -1), ("host_link_bytes_per_s", -1),
        ("token_budget", 0), ("max_seqs", 0), ("ttft_ceiling_s", 0), ("speed_floor_tok_s", 0), ("ratio_init", 0), ("attention", 0),
        ("routing_skew", 0), ("hbm_bytes", 0), ("host_tier_bytes", 0), ("layers", 0),
    ],
)  # fmt: skip
def test_fields_move_to_their_bad_side_and_settings_do_not_move(name: str, way: int) -> None:
    value: Any = (1.8, 2.3) if name == "accept_means" else "dp" if name == "attention" else 0.5
    assert direction(field(name, value)) == way


def test_a_field_without_a_spread_takes_that_of_its_quality() -> None:
    found = [deviations(field("floor_s", 0.01, quality))[0] for quality in DEFAULT]
    assert found == sorted(found)
    assert found[0] == 0 < found[1]
    assert deviations(field("floor_s", 0.01, "fitted"))[1] == pytest.approx(math.sqrt(math.log(1 + 0.1**2)))
    assert deviations(field("token_budget", 4096, "assumed")) == (0, 0)
    assert deviations(field("token_budget", 4096, "assumed", Spread(relative=0.5)))[0] > 0


def test_a_relative_spread_is_the_standard_deviation_of_the_factor() -> None:
    scores = np.random.default_rng(0).standard_normal(200_000)
    factors = np.array([factor(field("floor_s", 1.0, spread=Spread(relative=0.3)), z) for z in scores.tolist()])
    assert factors.std() / factors.mean() == pytest.approx(0.3, rel=0.02)
    assert np.median(factors) == pytest.approx(1, rel=0.01)


def test_low_and_high_hold_nine_tenths_about_the_value() -> None:
    pool = field("kv_pool_tokens", 138_240, spread=Spread(low=125_338, high=3_810_048))
    assert moved(pool, 0.0) is pool
    assert moved(pool, Z95).value == pytest.approx(125_338, abs=1)
    assert moved(pool, -Z95).value == pytest.approx(3_810_048, abs=10)
    assert isinstance(moved(pool, 1.0).value, int)


def test_what_errs_is_the_distance_from_an_origin() -> None:
    pue = field("pue", 1.10, spread=Spread(low=1.05, high=1.20))
    assert moved(pue, Z95).value == pytest.approx(1.20)
    assert moved(pue, -Z95).value == pytest.approx(1.05)
    assert moved(field("pue", 1.28, "assumed"), -10.0).value > 1
    assert moved(field("memory_share", 0.9, "assumed"), 1.0).value < 0.9 < moved(field("memory_share", 0.9, "assumed"), -9.0).value < 1
    assert moved(field("pue", 1.0, "assumed"), 3.0).value == 1.0


def test_drafts_gain_in_step_and_never_more_than_a_token() -> None:
    means = field("accept_means", (1.79, 2.27, 2.49), "measured", Spread(relative=0.2))
    worse = moved(means, 1.0).value
    assert np.subtract(worse, 1) / np.subtract(means.value, 1) == pytest.approx([factor(means, 1.0)] * 3)
    assert factor(means, 1.0) < 1
    assert moved(means, -9.0).value[0] == pytest.approx(2.0)
    assert load_model("deepseek_v4_pro", mover({group_of("deepseek_v4_pro", _means()): -9.0})).accept_means[0] == pytest.approx(2.0)


def _means() -> Field:
    return load_model("deepseek_v4_pro").fields["accept_means"]


def test_values_stay_in_the_range_of_their_schema() -> None:
    assert moved(field("kv_pool_share", 0.9, "assumed"), -9.0).value == 1.0
    assert moved(field("power_floor", 0.6, "assumed"), 9.0).value == 1.0


def test_one_source_is_one_group_and_bare_values_stand_alone() -> None:
    fit = "fit to rows"
    assert group_of("m on s", field("floor_s", 1, source=fit)) == group_of("m on s", field("pools.a.kv_efficiency", 1, source=fit))
    assert group_of("m on s", field("floor_s", 1, source=fit)) != group_of("m on t", field("floor_s", 1, source=fit))
    bare = "given in the scenario"
    assert group_of("m on s", field("floor_s", 1, source=bare)) == Group("m on s", "floor_s")


def test_a_fitted_law_moves_as_one_in_every_pool() -> None:
    """At the 10 % worse end of the fit every term of every pool's step is 10 % longer, and nothing else has changed."""
    name = "gb300_nvl72_v4pro_20tps_pd"
    usual = load_deployment(name)
    fit = next(f for f in usual.fields.values() if key_of(f) == "decode_token_s")
    group = group_of(f"{usual.model} on {usual.system}", fit)
    z = math.log(1.1) / deviations(fit)[1]
    worse = load_deployment(name, change=mover({group: z}))
    system, model = load_system(usual.system), load_model(usual.model)
    assert {pool.name for pool in worse.pools} == {"prefill", "decode"}
    for before, after in zip(usual.pools, worse.pools, strict=True):
        free = [replace(pool, law=replace(pool.law, host_s=0.0, wider_token_s=0.0)) for pool in (before, after)]
        one, other = (step_law(system, model, usual, pool) for pool in free)
        for key in ("floor_ps", "seq_ps", "ctx_fp", "decode_token_ps", "prefill_token_ps", "pair_fp"):
            assert getattr(other, key) / getattr(one, key) == pytest.approx(1.1, rel=1e-3), key
        assert other.shared_ps[100] / one.shared_ps[100] == pytest.approx(1.1, rel=1e-6)
        assert replace(after, law=before.law) == before


def test_both_tiers_and_the_model_card_share_their_groups() -> None:
    seen: dict[str, set[Group]] = {}
    for name in ("hgx_h200_v4pro_20tps_sglang", "hgx_h200_v4pro_60tps_sglang", "gb300_nvl72_v4pro_60tps_pd"):
        groups: set[Group] = set()

        def see(subject: str, one: Field, into: set[Group] = groups) -> Field:
            into.update([group_of(subject, one)] if any(deviations(one)) else [])
            return one

        load_deployment(name, change=see)
        seen[name] = groups
    low, high, other = seen.values()
    assert low == high
    assert {group.subject for group in low & other} == {"deepseek_v4_pro"}


GOOD = {"value": 400, "unit": "W", "source": "x", "quality": "measured"}


@pytest.mark.parametrize("spread", [-0.1, 9, "wide", True, {"low": 500, "high": 300}, {"low": 410, "high": 500}, {"low": 300},
                                    {"low": 0, "high": 500}, {"low": 300, "high": 500, "mid": 400}, [300, 500]])  # fmt: skip
def test_a_bad_spread_is_told_with_what_is_allowed(spread: Any) -> None:
    with pytest.raises(UserError) as caught:
        parse({"extends": "hgx_h200", "idle_w": {**GOOD, "spread": spread}}, SYSTEM, "systems")
    (mistake,) = caught.value.mistakes
    assert mistake.field == "idle_w.spread"
    assert mistake.value == repr(spread)
    assert "0 < low <= 400 <= high" in mistake.allowed


@pytest.mark.parametrize(
    ("spread", "found"), [(0, Spread()), (0.2, Spread(relative=0.2)), ({"low": 300, "high": 500}, Spread(0, 300, 500))]
)
def test_a_good_spread_is_read(spread: Any, found: Spread) -> None:
    assert parse({"extends": "hgx_h200", "idle_w": {**GOOD, "spread": spread}}, SYSTEM, "systems").fields["idle_w"].spread == found


def test_only_numbers_have_a_spread() -> None:
    word = {"value": "sglang", "unit": "none", "source": "x", "quality": "assumed", "spread": 0.1}
    with pytest.raises(UserError, match="only numbers"):
        load_deployment({"extends": "hgx_h200_v4pro_20tps", "engine": word})


def test_the_badge_of_what_ships_names_its_weak_fields() -> None:
    deployment = load_deployment("hgx_h200_v4pro_20tps_sglang")
    found = badge(load_system("hgx_h200"), deployment)
    assert found.word == ESTIMATED
    assert {"host_s", "kv_pool_tokens"} <= set(found.because)
    assert not {"memory_share", "reserve_bytes", "token_budget", "host_tier_bytes", "kv_type"} & set(found.because)


def _requalified(quality: str, source: Mapping[str, str]) -> Deployment:
    deployment = load_deployment("hgx_h200_v4pro_20tps")
    fields = {k: replace(f, quality=quality, source=source.get(k, "a paper")) for k, f in deployment.fields.items()}
    return replace(deployment, fields=fields)


def test_the_badge_follows_quality_and_calibration() -> None:
    system = load_system("hgx_h200")
    assert badge(system, _requalified("fitted", {})).word == ESTIMATED  # its power law takes terms from H100's fit
    system = replace(system, fields={k: replace(f, quality="fitted") if k.startswith("power_") else f for k, f in system.fields.items()})
    assert badge(system, _requalified("fitted", {})).word == FITTED
    assert badge(system, _requalified("measured", {})).word == FITTED
    assert badge(system, _requalified("estimated", {})).word == ESTIMATED
    law = ("floor_s", "host_s", "hbm_efficiency", "kv_efficiency", "decode_token_s", "prefill_token_s", "prefill_pair_s")
    here = dict.fromkeys(law, "calibration of hgx_h200, 2026-11-25, vLLM 0.32")
    assert badge(system, _requalified("fitted", here)).word == CALIBRATED
    assert badge(system, _requalified("fitted", here | {"host_s": "a paper"})).word == FITTED
    elsewhere = dict.fromkeys(law, "calibration of hgx_h200_pro, 2026-11-25")
    assert badge(system, _requalified("fitted", elsewhere)).word == FITTED
