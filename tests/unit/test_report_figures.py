"""Figures: same bytes twice, SLO values written in them, hostile names escaped, cases without data drawn or left out."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from fake_answers import answer, comparison

from simulator.capacity.results import Answer, PowerBases
from simulator.report.canvas import Drawing
from simulator.report.figures import answer_drawings, per_megawatt, run_drawings
from simulator.report.load_figures import Case, limits
from simulator.report.service_figures import curves, distributions


def text_of(drawing: Drawing) -> str:
    """All text of a figure; parsing fails on broken XML."""
    return " | ".join(ElementTree.fromstring(drawing.svg).itertext())


@pytest.fixture(scope="module")
def drawings() -> dict[str, Drawing]:
    return {d.name: d for d in answer_drawings(comparison().answers)}


def test_every_figure_is_there(drawings: dict[str, Drawing]) -> None:
    assert list(drawings) == ["per_megawatt", "curves", "distributions", "limits", "time0", "time1"]


def test_same_bytes_twice(drawings: dict[str, Drawing]) -> None:
    assert {d.name: d for d in answer_drawings(comparison().answers)} == drawings


@pytest.mark.parametrize("name", ["curves", "distributions"])
def test_slo_values_are_written_at_their_lines(drawings: dict[str, Drawing], name: str) -> None:
    text = text_of(drawings[name])
    for label in ("SLO 20 tok/s", "SLO 60 tok/s", "SLO 10 s", "SLO 5 s"):
        assert label in text


@pytest.mark.parametrize("name", ["per_megawatt", "curves", "distributions", "limits", "time0"])
def test_every_figure_names_its_tier_and_systems(drawings: dict[str, Drawing], name: str) -> None:
    text = text_of(drawings[name])
    assert "20 tok/s & 10 s" in text
    assert "GB300 NVL72" in text
    assert "HGX H200" in text


def test_held_counts_are_written(drawings: dict[str, Drawing]) -> None:
    assert "1,500" in text_of(drawings["curves"])


def test_all_four_bases_are_named(drawings: dict[str, Drawing]) -> None:
    for basis in ("accelerator", "TDP", "nameplate", "facility"):
        assert basis in text_of(drawings["per_megawatt"])


def test_ids_do_not_meet_on_a_page(drawings: dict[str, Drawing]) -> None:
    seen: set[str] = set()
    for drawing in drawings.values():
        ids = {e.attrib["id"] for e in ElementTree.fromstring(drawing.svg).iter() if "id" in e.attrib}
        assert not ids & seen
        seen |= ids


def test_no_date_and_no_outside_reference(drawings: dict[str, Drawing]) -> None:
    for drawing in drawings.values():
        assert "<metadata" not in drawing.svg
        assert "http" not in drawing.svg.replace("http://www.w3.org/2000/svg", "").replace("http://www.w3.org/1999/xlink", "")


def test_hostile_names_are_escaped() -> None:
    hostile = replace(answer(), system='</svg><script>alert(1)</script>$x^2$ & "q"')
    held = replace(hostile, held=replace(hostile.held, system=hostile.system), broken=None)  # type: ignore[type-var]
    for drawing in answer_drawings([held]):
        assert "<script" not in drawing.svg
        assert "<script>alert(1)</script>$x^2$" in text_of(drawing)


def nothing_held() -> Answer:
    zero = PowerBases(0.0, 0.0, 0.0, 0.0)
    return replace(answer(), agents_held=0, interval=(0, 0), agents_per_mw=zero, agents_per_mw_interval={}, held=None, agents_per_gpu=0.0)


def test_nothing_held_still_draws() -> None:
    assert distributions([nothing_held()]) is None
    names = [d.name for d in answer_drawings([nothing_held()])]
    assert names == ["per_megawatt", "curves", "limits"]


def test_nothing_ever_broke_names_the_held_point() -> None:
    assert "GB300 NVL72" in text_of(limits([Case("GB300 NVL72", "", answer().held)]))  # type: ignore[list-item]


def test_end_to_end_form_draws_its_floor() -> None:
    e2e = replace(answer(), slo={"e2e_speed_tok_s": 17.0, "e2e_percentile": 25})
    assert "SLO 17 tok/s" in text_of(curves([e2e]))
    per_megawatt([e2e])


def test_missing_measurements_are_left_out() -> None:
    one = answer()
    points = tuple(replace(p, ttft_s=float("nan")) if p.agents > 100 else p for p in one.points)
    held = replace(one.held, ttft_samples_s=np.array([np.nan, 1.0, 2.0]))  # type: ignore[type-var]
    answer_drawings([replace(one, points=points, held=held)])


def test_one_operating_point_has_figures_without_an_slo() -> None:
    held = answer().held
    assert held is not None
    assert [d.name for d in run_drawings(held)] == ["limits", "time"]


def test_power_over_time_names_every_basis_and_both_means() -> None:
    held = answer().held
    assert held is not None
    levels = {
        basis: np.full(60, watts) for basis, watts in (("accelerator", 28_800.0), ("tdp", 4e4), ("nameplate", 5e4), ("facility", 6e4))
    }
    drawing = run_drawings(replace(held, power_w=levels))[-1]
    assert drawing.name == "power"
    assert "32 GPUs draw 28.8 kW in the steady window, 60.5 kW on the facility basis" in drawing.title
    assert all(basis in text_of(drawing) for basis in ("accelerator", "facility", "TDP", "nameplate", "kW in all"))


def test_more_than_three_systems_get_figures_over_time_of_their_own() -> None:
    first = answer()
    assert first.held
    many = [replace(first, system=name, held=replace(first.held, system=name)) for name in "abcde"]
    names = [drawing.name for drawing in answer_drawings(many)]
    assert names[-2:] == ["time0", "time0-1"]
    assert [drawing.name for drawing in answer_drawings(many[:3])][-1] == "time0"
