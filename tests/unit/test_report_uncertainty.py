"""Tables, figures and rows of what the errors of the profiles make of answers."""

import csv
import io
from dataclasses import replace

import pytest
from fake_answers import comparison
from rich.console import Console

from simulator.capacity.results import Comparison, Interval, Swing, Uncertainty
from simulator.report.export import csv_text
from simulator.report.frames import interval_frame, tornado_frame
from simulator.report.html import render
from simulator.report.provenance import Provenance
from simulator.report.tables import rich_table
from simulator.report.uncertainty_figures import uncertainty_drawings
from simulator.report.uncertainty_tables import QUANTITIES, uncertainty_sheets

HOSTILE = '<script>alert("x")</script>'


def carried(held: float, per_mw: float, fields: tuple[str, ...] = ("floor_s", "pools.decode.kv_efficiency")) -> Uncertainty:
    nominal = {key: held if key == "agents_held" else held / 8 if key == "agents_per_gpu" else per_mw for key in QUANTITIES}
    intervals = {key: Interval(0.7 * v, 0.8 * v, v, 1.25 * v, 1.4 * v) for key, v in nominal.items()}
    law = Swing("a model on a system", fields, "fitted", (0.9, 1.11), {key: (1.2 * v, 0.75 * v) for key, v in nominal.items()})
    pue = Swing("a system", ("pue",), "assumed", (0.5, 2.0), {k: (v, v) if k != "agents_per_mw_facility" else (2 * v, v / 2)
                                                              for k, v in nominal.items()})  # fmt: skip
    return Uncertainty("a deployment", 16, 1, nominal, intervals, (pue, law))


@pytest.fixture(scope="module")
def found() -> Comparison:
    whole = comparison()
    answers = tuple(replace(a, badge="estimated", uncertainty=carried(a.agents_held, a.agents_per_mw.accelerator)) for a in whole.answers)
    ratios = tuple(carried(row["agents_per_gpu"], row["agents_per_mw_accelerator"]) for row in whole.ratios)
    return replace(whole, answers=answers, uncertainty=ratios)


def printed(found: Comparison, width: int = 132) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    for sheet in uncertainty_sheets(found):
        console.print(rich_table(sheet))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_nobody_asked_nothing_is_shown() -> None:
    assert uncertainty_sheets(comparison()) == []
    assert uncertainty_drawings(comparison()) == []


def test_profiles_and_seeds_stand_apart(found: Comparison) -> None:
    intervals = uncertainty_sheets(found)[0]
    assert [c for c in intervals.columns if "profiles" in c or "seeds" in c] == [
        "profiles,\nP10–P90",
        "profiles,\nP5–P95",
        "seeds,\nleast–most",
    ]
    assert intervals.rows[0][2:] == ("agents held", "1,500", "1,200–1,875", "1,050–2,100", "1,440–1,545", "estimated")
    assert len(intervals.rows) == 5 * len(found.answers)


def test_each_answer_and_each_ratio_has_its_tornado(found: Comparison) -> None:
    sheets = uncertainty_sheets(found)
    titles = [sheet.title for sheet in sheets]
    assert len(sheets) == 2 + len(found.answers) + len(found.ratios)
    assert "What to measure next: HGX H200 / GB300 NVL72 at 20 tok/s & 10 s" in titles
    tornado = sheets[2]
    assert tornado.rows[0][:4] == ("pue", "a system", "assumed", "0.50 → 2.00")
    assert tornado.rows[1][0] == "floor_s and 1 more"
    assert tornado.rows[1][4] == "1,800 → 1,125"


def test_tables_fit_132_columns(found: Comparison) -> None:
    assert max(map(len, printed(found).splitlines())) <= 132


def test_figures_say_what_to_measure(found: Comparison) -> None:
    answers, ratios = uncertainty_drawings(found)
    assert (answers.name, ratios.name) == ("tornado", "tornado_ratio")
    assert "measure floor_s and 1 more next" in answers.title
    assert "pue" not in answers.title, "it moves the facility basis only, which the figure does not show"
    assert answers.svg == uncertainty_drawings(found)[0].svg


def test_the_page_has_a_section_and_escapes_what_it_shows(found: Comparison) -> None:
    hostile = replace(found, answers=tuple(replace(a, uncertainty=carried(9, 9, (HOSTILE,))) for a in found.answers))
    page = render(hostile, [], Provenance("0", "s", "c", (1,)))
    assert "How wrong the profiles may be" in page
    assert 'id="tornado_ratio"' in page
    assert HOSTILE not in page
    assert "How wrong" not in render(comparison(), [], Provenance("0", "s", "c", (1,)))


def test_rows_for_spreadsheets(found: Comparison) -> None:
    intervals = list(csv.DictReader(io.StringIO(csv_text(interval_frame(found)))))
    assert len(intervals) == len(QUANTITIES) * (len(found.answers) + len(found.ratios))
    assert float(intervals[0]["p90"]) == 1.25 * float(intervals[0]["nominal"])
    tornado = list(csv.DictReader(io.StringIO(csv_text(tornado_frame(found)))))
    assert len(tornado) == 2 * len(intervals)
    assert {row["fields"] for row in tornado} == {"pue", "floor_s pools.decode.kv_efficiency"}


def test_an_infinite_ratio_is_written_and_left_out_of_the_bars(found: Comparison) -> None:
    one = found.uncertainty[0]
    assert one is not None
    endless = replace(one, intervals={key: replace(i, p90=float("inf"), p95=float("inf")) for key, i in one.intervals.items()})
    whole = replace(found, uncertainty=(endless, *found.uncertainty[1:]))
    assert "–∞×" in printed(whole)
    assert "<svg" in uncertainty_drawings(whole)[1].svg


def test_an_end_that_holds_nobody_is_drawn_and_said(found: Comparison) -> None:
    none = carried(10, 1000)
    zero = replace(none.swings[1], values={key: (good, 0.0) for key, (good, _) in none.swings[1].values.items()})
    answers = tuple(replace(a, uncertainty=replace(none, swings=(zero,))) for a in found.answers)
    (drawing, _) = uncertainty_drawings(replace(found, answers=answers))
    assert "some end holds not one agent" in drawing.svg
