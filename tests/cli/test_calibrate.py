"""`calibrate` as people run it, on a hand-made engine: what it shows, asks, refuses and leaves behind; its key is nowhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from simulator.calibration import live_plan
from simulator.calibration.cell import Cell, CellRow, Endpoint, RequestRow, Span, Turn
from simulator.cli.exit_codes import ExitCode
from simulator.cli.live_run import progress_line
from simulator.hardware.load import load_deployment
from tests.cli.conftest import Command
from tests.unit.fake_endpoint import KEY, serving
from tests.unit.fake_engine import Engine
from tests.unit.past_files import benchmark, played, write

SURVEY, WARM_UP = 7, 4
"""Requests before the first cell."""

HIDDEN = {"floor_s": 0.0025, "sequence_s": 128e-6, "context_token_s": 0.3e-6, "prefill_token_s": 55e-6, "prefill_pair_s": 27e-9}
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def small_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four cells instead of the plan of a calibration, which takes minutes."""

    def next_cells(endpoint: Endpoint, budget_s: float, cells: Sequence[CellRow], requests: Sequence[RequestRow]) -> list[Cell]:
        asked = ((Turn((Span(0, 0, 32),), 4),),)
        return [Cell(f"c{number}", "prefill", 0, {}, 1, asked) for number in range(4) if f"c{number}" not in {row.cell for row in cells}]

    monkeypatch.setattr(live_plan, "next_cells", next_cells)
    monkeypatch.setattr("simulator.cli.calibrate.finish", lambda *_: None)
    monkeypatch.setenv("AGENTWATT_API_KEY", KEY)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(step_s=0.0, key=KEY)
    with serving(engine):
        yield engine


def cells_in(folder: Path) -> list[str]:
    return (folder / "cells.jsonl").read_text().splitlines()


def everything(result: Any, folder: Path) -> str:
    files = [path.read_text() for path in folder.rglob("*") if path.is_file()] if folder.exists() else []
    return "\n".join([result.output, result.stderr, *files])


def test_the_plan_is_shown_and_nothing_is_run(command: Command, engine: Engine, tmp_path: Path) -> None:
    result = command("calibrate", engine.url, "--plan", "--out", str(tmp_path / "run"))
    assert result.exit_code == 0, result.output
    assert "tiny" in result.stdout
    assert "vllm 0.32.0" in result.stdout
    assert "prompt tokens and" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_run_and_the_run_after_it(command: Command, engine: Engine, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = command("calibrate", engine.url, "--yes", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert len(cells_in(out)) == 4
    assert {path.name for path in out.iterdir()} == {"endpoint.json", "plan.json", "requests.jsonl", "cells.jsonl"}
    assert "4 cells, 4 requests, 0 of them failed" in result.stderr
    assert KEY not in everything(result, out)
    assert set(engine.keys) == {f"Bearer {KEY}"}
    again = command("calibrate", engine.url, "--yes", "--out", str(out))
    assert again.exit_code == ExitCode.BAD_INPUT
    assert "--resume" in again.stderr
    asked = len(engine.requests)
    resumed = command("calibrate", engine.url, "--yes", "--out", str(out), "--resume")
    assert resumed.exit_code == 0
    assert len(cells_in(out)) == 4
    assert not any(request.get("max_tokens") == 4 for request in engine.requests[asked:]), "finished cells are not asked again"


def test_an_endpoint_that_dies_in_mid_run(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "run"
    engine = Engine(step_s=0.0)
    with serving(engine):
        command("calibrate", engine.url, "--yes", "--out", str(out))
        before = len(engine.requests)
    engine = Engine({before - 2: "die"}, step_s=0.0)
    with serving(engine):
        result = command("calibrate", engine.url, "--yes", "--out", str(tmp_path / "second"))
    assert result.exit_code == ExitCode.ENDPOINT_LOST
    assert "cannot be reached" in result.stderr
    kept = f"finished cells kept in {tmp_path / 'second'}: 2; to go on: agentwatt calibrate {engine.url} --budget 600s --out "
    assert kept in result.stderr
    assert "--resume" in result.stderr
    assert "connection refused, in the cell 'c2'" in result.stderr
    assert len(cells_in(tmp_path / "second")) in (2, 3)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("429 0", "HTTP 429: slow down"),
        ("500", "HTTP 500: it broke for Bearer [key]"),
        ("stall", "no byte came for 1 s (--timeout)"),
        ("garbage", "what came is not HTTP"),
        ("events", "1 of the stream's events are no JSON"),
        ("early", "the answer was closed early"),
        ("short", "1 output tokens where 4 were asked for"),
        ("miscount", "the server counted 39 prompt tokens where 32 were sent"),
        ("error", "an error in the stream: out of memory"),
    ],
)
def test_an_endpoint_that_goes_wrong_in_mid_run(command: Command, tmp_path: Path, fault: str, said: str) -> None:
    """One cell went well, then none: the reason is told, how often it was met, what is kept, and how to go on."""
    out = tmp_path / "run"
    engine = Engine(dict.fromkeys(range(SURVEY + WARM_UP + 1, 99), fault), step_s=0.0, key=KEY)
    with serving(engine):
        result = command("calibrate", engine.url, "--yes", "--timeout", "1", "--out", str(out))
        engine.let_go.set()
    assert result.exit_code == ExitCode.ENDPOINT_LOST, result.output
    assert "4 cells, 4 requests, 3 of them failed" in result.stderr
    assert f"failed: 3 x {said}" in result.stderr
    assert f"no request of 3 cells in a row went well, the last one for: {said}" in result.stderr
    assert f"finished cells kept in {out}: 4, 3 of them without a good request; to go on: agentwatt calibrate" in result.stderr
    assert "somebody else" not in result.stderr
    assert KEY not in everything(result, out)
    assert [json.loads(line)["failed"] for line in cells_in(out)] == [0, 1, 1, 1]


def test_a_cell_that_the_budget_cuts_short(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that is silent for longer than the budget: which cell it was is told."""
    monkeypatch.setattr("simulator.probe.run.OVER", 0.03)
    engine = Engine({SURVEY + WARM_UP + 1: "stall"}, step_s=0.0, key=KEY)
    monkeypatch.setattr("simulator.probe.run.LAST", 0.0)
    with serving(engine):
        result = command("calibrate", engine.url, "--yes", "--budget", "1m", "--out", str(tmp_path / "run"))
        engine.let_go.set()
    assert result.exit_code == ExitCode.OK
    assert "the budget is spent before the plan is done, in the cell 'c1', which did not end" in result.stderr


def test_another_endpoint_is_not_gone_on_with(command: Command, engine: Engine, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command("calibrate", engine.url, "--yes", "--out", str(out))
    other = Engine(step_s=0.0, models=("other",))
    with serving(other):
        result = command("calibrate", other.url, "--yes", "--out", str(out), "--resume")
    assert result.exit_code == ExitCode.BAD_INPUT
    assert "as the run" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ftp://host",), "no address"),
        (("http://user:secret@host/v1",), "an address"),
        (("http://127.0.0.1:9", "--yes"), "cannot be reached"),
        (("http://127.0.0.1:9",), "nobody to ask"),
        (("http://127.0.0.1:9", "--yes", "--resume", "--out", "nowhere"), "no run in it"),
        (("http://127.0.0.1:9", "--yes", "--power", "steam"), "'steam'"),
        (("http://127.0.0.1:9", "--yes", "--power", "missing.csv"), "missing.csv"),
        (("http://127.0.0.1:9", "--yes", "--budget", "soon"), "'soon'"),
        (("http://127.0.0.1:9", "--yes", "--key-file", "nowhere"), "cannot be read"),
    ],
)
def test_mistakes(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str) -> None:
    monkeypatch.chdir(tmp_path)
    result = command("calibrate", *words)
    assert result.exit_code == ExitCode.BAD_INPUT
    assert said in result.stderr
    assert "secret" not in result.output
    assert KEY not in result.output


def test_a_key_that_is_not_accepted(command: Command, tmp_path: Path) -> None:
    engine = Engine(key="another-key")
    (tmp_path / "key").write_text("from-the-file\n")
    with serving(engine):
        result = command("calibrate", engine.url, "--yes", "--key-file", str(tmp_path / "key"), "--out", str(tmp_path / "run"))
    assert result.exit_code == ExitCode.BAD_INPUT
    assert "HTTP 401" in result.stderr
    assert set(engine.keys) == {"Bearer from-the-file"}
    assert "from-the-file" not in result.output


@pytest.mark.parametrize(("how", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, ExitCode.INTERRUPTED)])
def test_what_is_finished_outlives_a_kill(engine: Engine, tmp_path: Path, how: signal.Signals, status: int) -> None:
    code = (
        "import sys; from simulator.calibration import live_plan as p; from simulator.calibration.cell import Cell, Span, Turn\n"
        "asked = ((Turn((Span(0, 0, 32),), 4),),)\n"
        "p.next_cells = lambda e, b, c, r: [Cell(f'c{len(c)}', 'prefill', 0, {}, 1, asked)]\n"
        "from simulator.cli.main import app; app(sys.argv[1:])"
    )
    words = ["calibrate", engine.url, "--yes", "--out", str(tmp_path / "run")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if " 3 cells" in line:
            break
    process.send_signal(how)
    said += process.stderr.read()
    process.stderr.close()
    assert process.wait(20) == status, said
    assert len(cells_in(tmp_path / "run")) >= 3
    assert KEY not in said
    if how == signal.SIGINT:
        assert "finished cells kept" in said
        assert "--resume" in said


def test_the_bar() -> None:
    assert progress_line(3, 30.0, 120.0, "c") == "[######------------------]  25 %, 3 cells, 0.5 min, about 1.5 min left: c"
    assert progress_line(3, 500.0, 120.0, "c").startswith("[########################] 100 %")


def test_runs_that_are_there_already(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTWATT_API_KEY")
    runs = [played(HIDDEN, benchmark(*size), 512, 24) for size in ((1, 30), (4, 15))]
    words = [word for path in write(tmp_path, "requests.csv", runs) for word in ("--from", str(path))]
    out = tmp_path / "fitted"
    result = command("calibrate", *words, "--told", "token_budget=512", "--told", "max_seqs=24", "--model", "hidden", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "note: no cached tokens in the files" in result.stderr
    assert "The hold-out replay" in result.stdout
    assert {path.name for path in out.iterdir()} == {"fit.json", "overlay.yaml", "report.json", "report.html"}
    deployment = load_deployment(out / "overlay.yaml")
    law = deployment.pools[0].law
    assert (law.floor_s, law.prefill_token_s) == pytest.approx((HIDDEN["floor_s"], HIDDEN["prefill_token_s"]), rel=0.03)
    assert (law.valid_seqs, deployment.pools[0].token_budget) == (4, 512)
    assert any("prompts are taken as new" in note for note in deployment.notes), "what the files lack stands in the overlay"
    report = json.loads((out / "report.json").read_text())
    assert [level["agents"] for level in report["check"]["levels"]] == [1, 4]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "calibrate: URL; found nothing; allowed: the URL of an endpoint, or --from with files of its runs"),
        (("http://host", "--from", "a.csv"), "--from; found files, and the address http://host; allowed: one of both"),
        (("--from", "a.csv"), "a.csv; found no such file"),
        (("http://host", "--told", "max_seqs=3"), "--told; found no --from"),
        (
            ("--from", "a.csv", "--told", "seats=3"),
            "--told; found 'seats=3'; allowed: engine=vllm|sglang|llamacpp|trtllm|dynamo, or one of max_",
        ),
    ],
)
def test_mistakes_about_past_runs(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = command("calibrate", *words)
    assert result.exit_code == ExitCode.BAD_INPUT
    assert said in result.stderr
