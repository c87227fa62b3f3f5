"""Pools in tables, figures and pages: shown when there are several, and nowhere when there is one."""

import io
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from fake_answers import answer, comparison, in_two_pools, split
from fake_pools import pair, pool_summary
from rich.console import Console

from simulator.capacity.results import Answer, Summary
from simulator.report.figures import answer_drawings, run_drawings
from simulator.report.frames import flat_frame, pool_series_frame, pools_frame
from simulator.report.grounds import scheduling
from simulator.report.html import render, render_run
from simulator.report.load_figures import Case, limits
from simulator.report.pool_tables import inside, inside_run
from simulator.report.provenance import Provenance
from simulator.report.stage_figures import answer_stages, run_stages
from simulator.report.tables import Sheet, answers_sheet, rich_table, run_sheet

PROVENANCE = Provenance("0.1.0", "pools", "agentwatt capacity pools", (1, 2, 3))


@pytest.fixture(scope="module")
def moved() -> Answer:
    return split(answer())


def broken(found: Answer) -> Summary:
    assert found.broken is not None
    return found.broken


def text_of(svg: str) -> str:
    return " | ".join(ElementTree.fromstring(svg).itertext())


def width_of(sheet: Sheet) -> int:
    console = Console(file=io.StringIO(), width=400, force_terminal=False)
    console.print(rich_table(replace(sheet, note="")))
    return max(len(line.rstrip()) for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def test_a_single_pool_has_no_tables_of_its_own() -> None:
    assert inside(answer()) == []
    assert inside_run(broken(answer())) == []
    assert answer_stages([answer()]) is None
    assert run_stages(broken(answer())) is None


def test_each_pool_has_a_row_at_both_points_and_the_binding_one_is_marked(moved: Answer) -> None:
    pools, _ = inside(moved)
    assert [row[0] for row in pools.rows] == ["prefill", "decode", "prefill *", "decode"]
    assert pools.rows[0][1:4] == ("1,500 held", "24", "93 %")
    assert pools.rows[1][6] == "30.0/64"
    assert pools.rows[0][6] == "–", "nothing decodes in a prefill pool"
    assert "prefill *" not in [row[0] for row in inside(replace(moved, broken=None))[0].rows]


def test_stages_stand_side_by_side_and_add_up(moved: Answer) -> None:
    _, stages = inside(moved)
    first, last = stages.rows[0], stages.rows[-1]
    assert first == ("prefill queue", "1.20", "0.960", "3.60", "2.40", "1.92", "7.20", "7.20")
    assert (last[1], last[4]) == ("10.4", "11.6")
    assert {row[0]: row[-1] for row in stages.rows}["decode"] == "–", "what follows the first token is in no TTFT"
    assert "900 of 1,500 agents" in stages.note


def test_tables_fit_132_columns_unfolded(moved: Answer) -> None:
    wide = [replace(p, host_share=0.2) for p in broken(moved).pools]
    for found in (moved, replace(moved, broken=replace(broken(moved), pools=tuple(wide)))):
        for sheet in inside(found):
            assert len(sheet.align) == len(sheet.columns)
            assert {len(row) for row in sheet.rows} == {len(sheet.columns)}
            assert width_of(sheet) <= 132


def test_a_host_tier_has_a_column_only_where_there_is_one(moved: Answer) -> None:
    assert "host\ntier" not in inside(moved)[0].columns
    pools = pair({"host_share": 0.25})
    assert "25 %" in inside_run(replace(broken(moved), pools=pools))[0].rows[0]


def test_the_limiter_is_named_with_its_pool_when_there_are_several(moved: Answer) -> None:
    assert answers_sheet([moved]).rows[0][-3] == "prefill compute (prefill)"
    assert answers_sheet([answer()]).rows[0][-3] == "prefill compute"
    rows = dict(run_sheet(broken(moved)).rows)
    assert rows["limited by"] == "prefill compute (prefill)"
    assert rows["why"].startswith("the prefill pool binds: its 24 GPUs")
    alone = dict(run_sheet(broken(answer())).rows)
    assert alone["limited by"] == "prefill compute"
    assert "why" not in alone


def test_agents_and_calls_in_flight_are_told_apart() -> None:
    point = broken(answer())
    assert dict(run_sheet(point).rows)["calls in flight"] == "900 on average"
    assert dict(run_sheet(replace(point, threads=4)).rows)["calls in flight"] == "900 on average, up to 4 an agent"
    assert "sub-agents" not in answers_sheet([answer()]).note
    held = replace(answer().held, threads=4, calls_in_flight=2_100.0)  # type: ignore[type-var]
    assert "at the held count 2,100 for 1,500 (GB300 NVL72)" in answers_sheet([replace(answer(), held=held)]).note


def test_limits_show_a_bar_for_each_pool(moved: Answer) -> None:
    drawing = limits([Case("GB300 NVL72", "20 tok/s & 10 s", broken(moved)), Case("HGX H200", "20 tok/s & 10 s", broken(answer()))])
    text = text_of(drawing.svg)
    for label in ("prefill, 20 tok/s", "decode, 20 tok/s", "HGX H200"):
        assert label in text
    assert "mixed" not in text
    assert drawing.title.startswith("Prefill compute (prefill) is the limiter for GB300 NVL72")


def test_stages_before_and_after_the_first_token(moved: Answer) -> None:
    drawing = answer_stages([moved, answer("HGX H200")])
    assert drawing is not None
    text = text_of(drawing.svg)
    for part in ("1,500 held: mean", "1,501 broken: mean", "P95 TTFT, P25 speed", "decode slot wait", "HGX H200", "first token to last"):
        assert part in text
    assert drawing.title == "20 tok/s & 10 s: at 1,501 agents prefill queue takes 7.20 of the 10.9 s of a P95 TTFT"


def test_the_title_of_the_stages_follows_the_clause_that_breaks(moved: Answer) -> None:
    """With the first token from the prefill side the wait for a slot is lost output speed."""
    slow = {"decode_slot": 0.6, "transfer": 0.001, "decode": 1.4}
    point = replace(broken(moved), binding="speed", speed_stages_s={"mean": slow, "tail": slow})
    drawing = run_stages(point)
    assert drawing is not None
    assert drawing.title == "At 1,501 agents decode slot wait takes 30 % of a call's time after its first token at P25 speed"


def test_watts_over_time_are_drawn_for_each_pool(moved: Answer) -> None:
    drawings = {d.name: d for d in run_drawings(broken(moved))}
    assert list(drawings) == ["limits", "stages", "time"]
    text = text_of(drawings["time"].svg)
    for line in ("KV use, prefill", "KV use, decode", "all"):
        assert line in text
    assert "KV use, mixed" not in text_of(run_drawings(broken(answer()))[-1].svg)


def test_every_figure_is_there_and_the_same_twice(moved: Answer) -> None:
    drawings = answer_drawings([moved])
    assert [d.name for d in drawings] == ["per_megawatt", "curves", "distributions", "limits", "stages", "time0"]
    assert answer_drawings([moved]) == drawings


def test_the_page_shows_pools_and_why(moved: Answer) -> None:
    page = render(replace(comparison(), answers=(moved,), ratios=(), sprints=()), [], PROVENANCE)
    for part in ("Inside the pools", "Stages of a call", "the prefill pool binds: its 24 GPUs step 93% of the time", "leads to the pool"):
        assert part in page
    plain_page = render(replace(comparison(), answers=(answer(),), ratios=(), sprints=()), [], PROVENANCE)
    for part in ("Inside the pools", "Stages of a call", "leads to the pool"):
        assert part not in plain_page
    run_page = render_run(broken(moved), [], PROVENANCE)
    assert "At 1,501 agents the prefill pool binds" in run_page


def test_hostile_pool_names_are_escaped(moved: Answer) -> None:
    evil = "<script>x</script>\x1b[31m"
    point = in_two_pools(broken(moved))
    pools = tuple(replace(pool, name=evil) for pool in point.pools)
    found = replace(moved, held=None, broken=replace(point, pools=pools, binding_pool=evil, why=evil), binding_pool=evil, sentence=evil)
    page = render(replace(comparison(), answers=(found,), ratios=(), sprints=()), [], PROVENANCE)
    assert "<script" not in page
    assert "\x1b" not in page


def test_scheduling_is_told_of_deployments_only() -> None:
    class Shape:
        imitates = "sglang@0.5.14"
        inspired: tuple[str, ...] = ()

    assert scheduling(Shape()) == "imitates sglang@0.5.14"
    Shape.inspired = ("batch_mode", "victim")
    assert scheduling(Shape()) == "inspired by sglang@0.5.14, with another batch_mode, victim"
    assert scheduling(object()) == ""


def test_rows_of_pools(moved: Answer) -> None:
    frame = pool_series_frame(broken(moved))
    assert frame.pool.unique().tolist() == ["prefill", "decode"]
    assert len(frame) == 2 * 60
    table = pools_frame([broken(moved), broken(answer())])
    assert table.name.tolist() == ["prefill", "decode", "mixed"]
    assert table.binds.tolist() == [True, False, True]
    assert table.step_shares_prefill_compute[0] == broken(moved).pools[0].step_shares["prefill_compute"]
    assert "series" not in table
    assert list(flat_frame([{"agents": 3, "pools": [{"name": "prefill", "gpus": 24}]}])) == ["agents"]


def test_several_mixed_pools_are_pools_too() -> None:
    pools = (pool_summary("large", "mixed", 16), pool_summary("small", "mixed", 4, 0.9))
    point = replace(broken(answer()), pools=pools, binding_pool="small", why="the small pool binds")
    rows = inside_run(point)[0].rows
    assert [row[0] for row in rows] == ["large", "small *"]
    assert run_stages(point) is None, "no call moves: its TTFT is a queue and a prefill"
