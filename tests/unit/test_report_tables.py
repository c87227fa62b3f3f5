"""Tables: every answer in a row, bases named, turned rankings told, hostile names harmless."""

import io
from dataclasses import replace

import pytest
from fake_answers import answer, comparison
from rich.console import Console

from simulator.capacity.results import Comparison, Energy, PowerBases
from simulator.report.tables import (
    Sheet,
    answers_sheet,
    disagreements,
    energy_sheet,
    joules,
    leader,
    power_sheet,
    ratio_sheet,
    rich_table,
    run_sheet,
    sprint_sheet,
)


def printed(sheet: Sheet, width: int = 132) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(rich_table(sheet))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def sheets(found: Comparison) -> list[Sheet]:
    held = found.answers[0].held
    assert held is not None
    return [answers_sheet(found.answers), power_sheet(found.answers), ratio_sheet(found), sprint_sheet(found), run_sheet(held)]


def test_rows_and_columns_agree() -> None:
    for sheet in sheets(comparison()):
        assert len(sheet.align) == len(sheet.columns)
        assert {len(row) for row in sheet.rows} == {len(sheet.columns)}


def test_answers_show_count_interval_and_limiter() -> None:
    row = answers_sheet([answer()]).rows[0]
    assert row[:5] == ("20 tok/s & 10 s", "GB300 NVL72", "1,500", "1,440–1,545", "32")
    assert row[-3:] == ("prefill compute", "output speed", "assumed")


def test_power_table_names_every_basis() -> None:
    assert power_sheet([answer()]).columns[3:] == ("accelerator", "interval", "TDP", "nameplate", "facility")


def test_tables_fit_132_columns_unfolded() -> None:
    for sheet in sheets(comparison())[:4]:
        lines = printed(sheet).splitlines()
        assert max(map(len, lines)) <= 132
        assert any("HGX H200" in line for line in lines)


def test_markup_in_names_is_text() -> None:
    hostile = replace(answer(), system="[red]x[/red] [link=http://a]b[/link]", interval_kind="[bold]k[/bold]")
    text = printed(answers_sheet([hostile]), width=200)
    assert "[red]x[/red] [link=http://a]b[/link]" in text
    assert "[bold]k[/bold]" in text


def test_escape_codes_in_names_do_not_reach_the_terminal() -> None:
    hostile = replace(answer(), system="a\x1b]0;title\x07b")
    assert "\x1b" not in printed(answers_sheet([hostile]))


def test_leader_and_tie() -> None:
    assert leader({"a": 1.0, "b": 2.0}) == "b"
    assert leader({"a": 1.0, "b": 1.01}) == "tie"
    assert leader({}) == "–"


def test_turned_ranking_is_told() -> None:
    said = disagreements(comparison())
    turned = [line for line in said if "the ranking turns: one completion alone puts HGX H200 ahead" in line]
    assert len(turned) == 2
    assert all("puts GB300 NVL72 ahead per MW" in line for line in turned)


def test_same_order_other_distance_is_told_and_agreement_is_not() -> None:
    found = comparison()
    row = dict(found.ratios[0]) | {"sprint_single": 0.9, "sprint_peak": 0.21, "agents_per_mw_accelerator": 0.21}
    said = disagreements(replace(found, ratios=(row,)))
    assert len(said) == 1
    assert "the order is the same but not the distance" in said[0]
    assert "GB300 NVL72 leads by 1.11× in one completion alone, and by 4.76×" in said[0]


def test_run_table_shows_each_latency() -> None:
    held = answer().held
    assert held is not None
    rows = dict(run_sheet(held).rows)
    assert "p95" in rows["TTFT"]
    assert rows["TTFT"].endswith(" s")
    assert "ms" in rows["TPOT"]


@pytest.mark.parametrize("width", [100, 110])
def test_narrow_terminals_lose_nothing(width: int) -> None:
    text = "".join(printed(answers_sheet([replace(answer(), badge="estimated")]), width).split())
    for part in ("1,500", "94.1%", "46.9"):
        assert part in text
    assert "…" not in text


def bases(accelerator: float) -> PowerBases:
    return PowerBases(accelerator, 2 * accelerator, 3 * accelerator, 2.5 * accelerator)


def test_energy_is_told_on_two_named_bases_with_units() -> None:
    found = answer()
    assert found.held is not None
    energy = Energy(bases(850.0), bases(32_000.0), bases(3.4e6), bases(52_000.0))
    held = replace(found.held, energy=energy)
    rows = dict(run_sheet(held).rows)
    assert rows["energy, accelerator"].startswith("850 J a call, 32.0 kJ a trajectory, 3.40 MJ a million output tokens, 52.0 kJ")
    assert rows["energy, facility"].startswith("2.12 kJ a call, 80.0 kJ a trajectory, 8.50 MJ")
    sheet = energy_sheet([replace(found, held=held), found])
    assert [row[2] for row in sheet.rows] == ["accelerator", "facility"], "a point without energy has no row"
    assert "idle GPUs included" in sheet.title


def test_joules_have_the_unit_that_fits() -> None:
    assert [joules(x) for x in (999.0, 1e3, 2.5e6)] == ["999 J", "1.00 kJ", "2.50 MJ"]
