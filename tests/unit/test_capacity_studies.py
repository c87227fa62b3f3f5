"""Studies beside a comparison: what they ask, what they find on a scenario that plays in a moment, and what is refused."""

import re
from dataclasses import replace
from pathlib import Path

import fake_answers
import pytest

from simulator.capacity import compare, load_scenario
from simulator.capacity.attribute import RESOURCES, attribute, noise_of, sentence
from simulator.capacity.contrast import contrasts_of
from simulator.capacity.cost import cost_of
from simulator.capacity.demand import Demand
from simulator.capacity.hold import capacity
from simulator.capacity.journal import Journal
from simulator.capacity.loads import trajectories_of
from simulator.capacity.results import Comparison, Gain, PowerBases, Sprint
from simulator.capacity.scenario import Scenario
from simulator.capacity.studies import machines, play_studies
from simulator.capacity.study import STUDIES, Studies, StudyPoint, point_json, read_points
from simulator.capacity.systems import with_systems
from simulator.errors import UserError
from simulator.hardware.load import load_system

TINY = Path(__file__).resolve().parents[1] / "cli" / "tiny.yaml"
QUICK = {"phase.min_window_s": 5, "search.exact_below": 16, "search.ceiling": 64}


def tiny(**changes: object) -> Scenario:
    return load_scenario(TINY, {**QUICK, **{key.replace("__", "."): value for key, value in changes.items()}})


def test_studies_are_a_list_words_or_a_mapping():
    assert tiny().studies == Studies()
    assert tiny(studies="all").studies.names == STUDIES
    assert tiny(studies=["cost", "frontier"]).studies.names == ("frontier", "cost")
    found = tiny(studies={"names": "frontier", "speeds_tok_s": [80, 20], "caps": [0.5]}).studies
    assert (found.names, found.speeds_tok_s, found.caps) == (("frontier",), (20.0, 80.0), (0.5,))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("fronteer", "studies; found 'fronteer'; allowed: frontier, workload"),
        ({"names": ["cost"], "caps": [1.5]}, "studies.caps; found [1.5]; allowed: a list of numbers > 0 and at most 1"),
        ({"nmes": ["cost"]}, "studies.nmes"),
    ],
)
def test_mistakes_of_studies_are_told(value, said):
    with pytest.raises(UserError, match=re.escape(said)):
        tiny(studies=value)


def test_a_comparison_without_studies_has_no_trace_of_them():
    cells = [{"deployment": "hgx_h200_v4pro_20tps"}]
    found = compare(load_scenario(TINY, {**QUICK, "cells": cells}), jobs=1)
    assert (found.studies, found.costs, found.contrasts) == ((), (), ())
    assert found.answers[0].attribution is None


def test_the_frontier_falls_and_a_loose_cap_changes_little():
    asked = Studies(("frontier", "power_cap"), speeds_tok_s=(20.0, 60.0, 2000.0), caps=(0.5,))
    points = play_studies([tiny()], asked, jobs=1)
    frontier = {p.value: p.agents for p in points if p.study == "frontier"}
    assert frontier[20.0] >= frontier[60.0] > 0
    assert frontier[2000.0] == 0
    cap = {p.value: p for p in points if p.study == "power_cap"}
    assert set(cap) == {0.5, 1.0}
    assert cap[0.5].agents <= cap[1.0].agents
    assert cap[0.5].watts_per_gpu.accelerator <= 0.5 * 700


def test_the_workload_study_moves_one_property_at_a_time(monkeypatch):
    asked = []
    monkeypatch.setattr("simulator.capacity.studies.seek", lambda *parts: asked.append(parts))
    play_studies([load_scenario("capacity_h200")], Studies(("workload",), context=(0.5,), reuse=(0.5, 0.9), tool_time=(4.0,)), jobs=1)
    loads = [(axis, value, s.workload.prompt_scale, s.workload.kept_scale, s.workload.tool_delay_scale) for _, axis, value, s in asked]
    assert loads == [
        ("as it is", 1.0, 1, 1, 1),
        ("prompt_scale", 0.5, 0.5, 1, 1),
        ("kept_scale", 0.5, 1, 0.5, 1),
        ("kept_scale", 0.9, 1, 0.9, 1),
        ("tool_delay_scale", 4.0, 1, 1, 4.0),
    ]


def test_a_journal_spares_what_is_known_and_nothing_else(monkeypatch):
    asked, cells, line = [], [tiny()], Studies(("frontier",), speeds_tok_s=(20.0, 60.0))

    def seek(study, axis, value, scenario):
        asked.append(value)
        return StudyPoint(study, axis, value, "s", "d", {}, 8, 3, PowerBases(1.0, 2.0, 3.0, 4.0), float("nan"), "", "", "assumed")

    monkeypatch.setattr("simulator.capacity.studies.seek", seek)
    lines = []
    first = play_studies(cells, line, jobs=1, journal=Journal({}, lambda key, point: lines.append(point_json(key, point))))
    again = play_studies(cells, line, jobs=1, journal=Journal(read_points([*lines[:1], lines[1][:40]]), lambda key, point: None))
    assert asked == [20.0, 60.0, 60.0], "the point of the cut line is sought again"
    assert list(map(str, again)) == list(map(str, first))
    assert again[0].watts_per_gpu == first[0].watts_per_gpu
    changed = [tiny(deployment__max_seqs=8)]
    play_studies(changed, line, jobs=1, journal=Journal(read_points(lines), lambda key, point: None))
    assert asked[3:] == [20.0, 60.0], "another deployment has other points"


def test_edges_of_limits_are_kept_too(monkeypatch):
    asked, cell = [], tiny()
    held = replace(fake_answers.answer(), agents_held=4)

    def edge(scenario, guess, system, model, deployment):
        asked.append(guess)
        return 4.5

    monkeypatch.setattr("simulator.capacity.attribute._edge", edge)
    lines = []
    first = attribute([cell], [held], jobs=1, journal=Journal({}, lambda key, edge: lines.append(point_json(key, edge))))
    once = len(asked)
    again = attribute([cell], [held], jobs=1, journal=Journal(read_points(lines), lambda key, edge: None))
    assert again == first
    assert len(asked) == once > 5
    attribute([cell], [replace(held, agents_held=5)], jobs=1, journal=Journal(read_points(lines), lambda key, edge: None))
    assert len(asked) == 2 * once, "an edge depends on where the search began"


def test_a_scaled_load_keeps_its_prompts_and_repeats_less_of_them():
    whole, less = (trajectories_of(load_scenario("capacity_h200", {"workload.kept_scale": kept}).workload) for kept in (1, 0.5))
    for before, after in zip(whole.trajectories[0].calls, less.trajectories[0].calls, strict=True):
        assert after.prompt_tokens == before.prompt_tokens
        assert after.kept_tokens == round(before.kept_tokens / 2)
    shorter = trajectories_of(load_scenario("capacity_h200", {"workload.prompt_scale": 0.5}).workload)
    assert shorter.trajectories[0].calls[5].prompt_tokens == round(whole.trajectories[0].calls[5].prompt_tokens / 2)


def test_machines_are_deployments_once_whatever_their_tiers():
    cells = load_scenario("compare").cell_scenarios()
    assert machines(cells) == list(cells)
    assert machines([*cells, replace(cells[0], slo=cells[2].slo)]) == list(cells)


def test_attribution_gives_every_resource_both_ways_and_nothing_where_nothing_follows():
    answer = capacity(tiny(studies=["limits"], search__exact_below=4, search__share=0.2), jobs=1)
    found = answer.attribution
    assert found is not None
    gains = {gain.resource: gain for gain in found.gains}
    assert set(gains) == set(RESOURCES)
    # One mixed pool without a host tier and without a cap below the TDP.
    assert gains["links"].more == gains["links"].less == gains["host_tier"].more == answer.agents_held
    assert gains["power_cap"].more == answer.agents_held
    assert 0.01 <= found.noise < 0.1
    assert all(gain.more >= gain.less - found.noise * found.agents for gain in found.gains)
    assert max(gain.more for gain in found.gains) > 1.01 * answer.agents_held
    assert found.sentence.startswith("10% more ")


def test_nobody_held_has_no_attribution():
    answer = replace(fake_answers.answer(), agents_held=0)
    assert attribute([tiny()], [answer]) == [answer]


def test_the_sentence_names_what_gives_most_and_whose_loss_costs_most():
    gains = (Gain("seats", "batch seats", 110.0, 99.0), Gain("host", "host", 103.0, 80.0), Gain("links", "links", 100.2, 100.0))
    assert (
        sentence(100, gains, 0.01)
        == "10% more batch seats would hold 10.0% more agents, of host 3.0%; 10% less host costs most: 20.0% of the agents."
    )
    assert sentence(100, gains[2:], 0.01) == "10% more of no single resource would hold 1.0% more agents."


def test_what_moves_the_wrong_way_is_the_noise():
    wrong = (Gain("decode_compute", "decode compute", 97.0, 97.2), Gain("seats", "batch seats", 102.0, 99.0))
    assert noise_of(100, wrong) == pytest.approx(0.03)
    assert noise_of(100, wrong[1:]) == 0.01
    assert sentence(100, wrong, 0.03) == "10% more of no single resource would hold 3.0% more agents."


def test_a_contrast_is_a_product_and_says_when_the_ranking_turns():
    found = fake_answers.comparison()
    for contrast in contrasts_of(found.answers, found.sprints):
        assert contrast.peak * contrast.held_of_peak * contrast.watts == pytest.approx(contrast.agents_per_mw)
        assert contrast.agents_per_mw >= 1
        assert not contrast.turns
    faster = [replace(s, peak_output_tok_s_per_gpu=9999.0) if s.system == "HGX H200" else s for s in found.sprints]
    assert [c.turns for c in contrasts_of(found.answers, faster)] == [True, True]


def test_costs_by_hand():
    answer = replace(fake_answers.answer(), agents_held=640, gpus=40, agents_per_gpu=16.0, accelerator_w_per_gpu=700.0)
    system = load_system("gb300_nvl72")
    cost = cost_of(answer, system, Demand())
    assert cost.usd_per_agent_hour["own"] == pytest.approx(2.31 / 16)
    kilowatts = (700 + 29_000 / 72) * 1.1 / 1000
    assert cost.usd_per_gpu_hour["buy"] == pytest.approx(system.capital_usd / 72 / 35_040 + kilowatts * 0.08)
    assert cost.quality == {"own": "estimated", "rent": "estimated", "buy": "assumed"}


def test_any_list_of_systems_takes_what_ships_for_the_tier_or_what_is_derived():
    found = with_systems(load_scenario("compare"), ["hgx_h200", "gb200_nvl72", "hgx_h100"])
    named = [(cell.system, cell.deployment, cell.slo.clauses[0].limit) for cell in found.cells if cell.slo]
    assert named == [
        ("hgx_h200", "hgx_h200_v4pro_20tps_sglang", 20.0),
        ("gb200_nvl72", "gb200_nvl72_v4pro_20tps_pd", 20.0),
        ("hgx_h100", {}, 20.0),
        ("hgx_h200", "hgx_h200_v4pro_60tps_sglang", 60.0),
        ("gb200_nvl72", "gb200_nvl72_v4pro_20tps_pd", 60.0),
        ("hgx_h100", {}, 60.0),
    ]
    with pytest.raises(UserError, match="did you mean 'hgx_h200'"):
        with_systems(load_scenario("compare"), ["hgx_h20"])


def test_sprints_of_a_comparison_stay_where_nothing_is_held():
    nobody = [replace(answer, agents_held=0) for answer in fake_answers.comparison().answers]
    assert contrasts_of(nobody, [Sprint("HGX H200", "h200", 1.0, 1.0, 1.0, 1.0, 1)]) == ()
    assert Comparison((), (), ()).studies == ()
