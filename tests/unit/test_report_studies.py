"""Tables, figures and sections of studies, from made-up points: what they say, and that hostile names stay text."""

from dataclasses import replace

import fake_answers

from simulator.capacity.contrast import contrasts_of
from simulator.capacity.cost import cost_of
from simulator.capacity.demand import Demand, Limits
from simulator.capacity.results import Attribution, Comparison, Gain, PowerBases
from simulator.capacity.size import plans_for
from simulator.capacity.study import StudyPoint
from simulator.hardware.load import load_system
from simulator.report.html import render
from simulator.report.size_html import render_size
from simulator.report.size_tables import size_sentences
from simulator.report.study_figures import frontier, power_cap, workload
from simulator.report.study_sections import study_sections
from simulator.report.study_tables import contrast_sentences, frontier_sheet, workload_sheet
from tests.unit.page_checks import HOSTILE, MADE, look

GAINS = (Gain("seats", "batch seats", 1600.0, 1400.0), Gain("links", "links", 1500.0, 1500.0))


def point(study: str, axis: str, value: float, agents: int, system: str = "GB300 NVL72") -> StudyPoint:
    watts = PowerBases(700.0, 1400.0, 2000.0, 1200.0) if agents else None
    slo = fake_answers.slo(60.0, 5.0)
    return StudyPoint(study, axis, value, system, f"{system} shape", slo, 40, agents, watts, 0.9, "host", "speed", "assumed")


def studied() -> Comparison:
    found = fake_answers.comparison()
    held = {"GB300 NVL72": (285, 36, 3), "HGX H200": (200, 50, 10)}
    lines = [point("frontier", "speed_tok_s", v, n, name) for name in held for v, n in zip((10, 40, 200), held[name], strict=True)]
    loads = (("as it is", 1, 100), ("prompt_scale", 2, 40), ("kept_scale", 0.5, 0))
    load = [point("workload", axis, value, agents, name) for name in held for axis, value, agents in loads]
    caps = [point("power_cap", "cap_share", v, n, name) for name in held for v, n in ((0.5, 80), (1.0, 100))]
    answers = tuple(replace(a, attribution=Attribution(0.1, 1500.0, GAINS, 0.01, "10% more seats.")) for a in found.answers)
    costs = tuple(cost_of(a, load_system("hgx_h200"), Demand()) for a in answers)
    return replace(found, answers=answers, studies=(*lines, *load, *caps), costs=costs, contrasts=contrasts_of(answers, found.sprints))


def test_sections_come_in_order_each_with_a_table_and_a_figure_with_numbers():
    sections = study_sections(studied())
    assert [s.heading for s in sections] == [
        "Frontier",
        "Other loads",
        "Power cap",
        "What would hold more",
        "Sprint against drive cycle",
        "Cost",
    ]
    for section in sections:
        assert section.sheets
        for drawing in section.drawings:
            assert drawing.data.count("\n") > 2
            assert "<svg" in drawing.svg


def test_nothing_is_shown_where_nothing_was_asked():
    assert study_sections(fake_answers.comparison()) == []


def test_figures_say_what_they_show():
    points = studied().studies
    lines = [p for p in points if p.study == "frontier"]
    assert (
        frontier(lines).title
        == "Of these deployments, that of GB300 NVL72 holds the most agents per MW from 10 tok/s per agent, that of HGX H200 from 40"
    )
    assert "no cap helps" in power_cap([p for p in points if p.study == "power_cap"]).title
    assert "context x 2 (0.40×)" not in workload([p for p in points if p.study == "workload"]).title, (
        "reuse x 0.5 leaves nobody, which is more"
    )


def test_tables_tell_who_holds_nobody():
    points = studied().studies
    assert workload_sheet([p for p in points if p.study == "workload"]).rows[2][4:7] == ("0", "0", "0×")
    nobody = [replace(p, agents=0, watts_per_gpu=None) for p in points if p.study == "frontier"]
    assert {cell for row in frontier_sheet(nobody).rows for cell in row[1:]} == {"nobody"}


def test_a_turned_ranking_is_told_first_and_with_its_reasons():
    found = studied()
    turned = contrasts_of(
        found.answers, [replace(s, peak_output_tok_s_per_gpu=9e3) if s.system == "HGX H200" else s for s in found.sprints]
    )
    first = contrast_sentences(turned)[0]
    assert first.startswith("At 20 tok/s & 10 s the ranking turns: peak tok/s per GPU puts HGX H200 ahead")
    assert "agents per token/s of its peak" in first


def test_hostile_names_stay_text_on_the_page_of_a_comparison_and_in_its_numbers():
    found = studied()
    told = replace(found, studies=tuple(replace(p, deployment=HOSTILE, limiter=HOSTILE, quality=HOSTILE) for p in found.studies))
    page = render(told, [], MADE, dict.fromkeys(("HGX H200", "GB300 NVL72"), HOSTILE))
    assert {"frontier", "workload", "power-cap", "limits_tornado", "rankings", "cost"} <= set(look(page))
    assert "&lt;script&gt;" in page


def test_hostile_names_stay_text_on_the_page_of_a_purchase_and_in_its_numbers():
    answer = replace(fake_answers.answer(), system=HOSTILE, deployment=HOSTILE)
    system = replace(load_system("gb300_nvl72"), title=HOSTILE)
    found = plans_for([answer], [system], Demand(agents=5000, limits=Limits(power_mw=1.0)))
    numbers = look(render_size(found, [], MADE))
    assert numbers["purchase"][1][0].startswith("'=cmd|")
    assert "<script" in size_sentences(found)[0]
