"""A run on a hand-made engine by a small plan: what is kept when it ends in one way or another, and how it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from simulator.calibration.cell import Cell, CellRow, RequestRow, Span, Turn
from simulator.cli.run_folder import RunFolder
from simulator.probe.client import Client
from simulator.probe.execute import Setting
from simulator.probe.prompts import Prompts
from simulator.probe.run import Clock, End, Plan, Rows, run
from simulator.wire.address import address_of
from tests.unit.fake_endpoint import serving
from tests.unit.fake_engine import Engine
from tests.unit.test_probe_execute import endpoint

WARM = 4
"""Requests of the warm-up."""


def small_plan(count: int, sessions: int = 2) -> Plan:
    """Two phases: the second is as long as the first has cells that went well."""

    def cells(names: Sequence[str]) -> list[Cell]:
        asked = tuple((Turn((Span(number, 0, 32),), 4),) for number in range(sessions))
        return [Cell(name, "prefill", 0, {}, 1, asked) for name in names]

    def plan(done: Sequence[CellRow], _: Sequence[RequestRow]) -> list[Cell]:
        first = [f"a{number}" for number in range(count)]
        good = [row.cell for row in done if row.cell in first and not row.failed]
        if {row.cell for row in done} >= set(first):
            return cells([f"b-{name}" for name in good])
        return cells(first)

    return plan


def play(
    engine: Engine, folder: RunFolder, plan: Plan, budget_s: float = 60.0, resume: bool = False, cell_s: float = 0.0
) -> tuple[End, Rows]:
    """Plays a plan; each cell takes ``cell_s`` longer by the run's clock."""
    rows = folder.rows() if resume else Rows()

    async def played() -> End:
        clock = Clock(max((row.end_s for row in rows.cells), default=0.0))
        known = endpoint(engine, dialect="none")
        client = Client(address_of(engine.url, "calibrate", "URL"), "", clock, 5.0)

        def later(_: Cell) -> None:
            clock.began_s -= cell_s

        folder.begin(known, "{}", rows)
        try:
            return await run(Setting(known, client, clock, Prompts(known, 3)), plan, budget_s, rows, folder.keep, later)
        finally:
            client.close()

    with serving(engine):
        return asyncio.run(played()), rows


def names(folder: RunFolder) -> list[str]:
    return [row.cell for row in folder.rows().cells]


def test_a_plan_that_follows_its_rows_is_played_to_its_end(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    end, rows = play(Engine({WARM + 2: "500"}, step_s=0.0), folder, small_plan(3))
    assert end == End(True)
    assert names(folder) == ["a0", "a1", "a2", "b-a0", "b-a2"]
    assert (folder.rows().cells, folder.rows().requests) == (rows.cells, rows.requests)
    assert [row.failed for row in rows.cells] == [0, 1, 0, 0, 0]


def test_an_endpoint_that_dies_leaves_the_finished_cells_and_the_run_goes_on(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    end, _ = play(Engine({WARM + 5: "die"}, step_s=0.0), folder, small_plan(4, sessions=3))
    assert not end.done
    assert "cannot be reached" in end.lost
    assert "'a1'" in end.lost or "'a2'" in end.lost
    before = names(folder)
    assert before[0] == "a0"
    assert len(before) < 4
    engine = Engine(step_s=0.0)
    end, rows = play(engine, folder, small_plan(4, sessions=3), resume=True)
    assert end.done
    assert [name for name in names(folder) if name[0] == "a"] == ["a0", "a1", "a2", "a3"]
    assert rows.cells[len(before)].start_s >= rows.cells[len(before) - 1].end_s, "its clock goes on"
    assert len(engine.requests) == WARM + 3 * (len(rows.cells) - len(before)), "what was there is not asked again"


def test_what_a_kill_left_behind_is_dropped(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    play(Engine(step_s=0.0), folder, small_plan(2))
    cells, requests = (tmp_path / "run" / name for name in ("cells.jsonl", "requests.jsonl"))
    cells.write_text("".join(cells.read_text().splitlines(keepends=True)[:1]) + '{"cell": "a1", "ki')
    requests.write_text(requests.read_text()[:-30])
    kept = folder.rows()
    assert [row.cell for row in kept.cells] == ["a0"]
    assert {row.cell for row in kept.requests} == {"a0"}
    end, _ = play(Engine(step_s=0.0), folder, small_plan(2), resume=True)
    assert end.done
    assert names(folder) == ["a0", "a1", "b-a0", "b-a1"]


@pytest.mark.parametrize("fault", ["500", "early", "short", "garbage", "429 0"])
def test_an_endpoint_of_which_nothing_comes_is_given_up_and_its_cells_are_tried_again(tmp_path: Path, fault: str) -> None:
    folder = RunFolder(tmp_path / "run")
    engine = Engine(dict.fromkeys(range(WARM + 2, 100), fault), step_s=0.0)
    end, _ = play(engine, folder, small_plan(8))
    assert not end.done
    assert "no request of 3 cells in a row went well" in end.lost
    assert names(folder) == ["a0"]
    end, _ = play(Engine(step_s=0.0), folder, small_plan(8), resume=True)
    assert end.done
    assert len(names(folder)) == 16


def test_a_budget_that_is_spent_ends_the_run_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    end, rows = play(Engine(step_s=0.0), folder, small_plan(4), budget_s=60.0, cell_s=30.0)
    assert end == End(False)
    assert [row.cell for row in rows.cells] == ["a0", "a1", "a2"], "that began after 0, 30 and 60 s"
    end, _ = play(Engine(step_s=0.0), folder, small_plan(4), budget_s=60.0, resume=True)
    assert end == End(False), "what earlier starts took counts"
    end, _ = play(Engine(step_s=0.0), folder, small_plan(4), budget_s=600.0, resume=True)
    assert end.done
