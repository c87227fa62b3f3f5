"""A full disk, a place that cannot be written, Ctrl-C: what was finished is kept, nothing is half-written, the words say what to do.

The table of all cases is docs/interruptions.md. A full disk is a limit on the size of files: the system then refuses to write on, as it
does when a disk is full. Who runs as root may write in a folder that is read-only, so there the parent of a folder is a file.
"""

import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import simulator.capacity.sweep as played
from simulator.capacity.sweep_row import answer_point
from simulator.cli.ask import _load_report
from simulator.cli.exit_codes import ExitCode
from simulator.cli.run_folder import _append
from simulator.errors import UserError
from simulator.workload import load_trajectories
from tests.cli.conftest import Command
from tests.cli.test_record import Server, ask, recorder, serving
from tests.unit.fake_endpoint import KEY
from tests.unit.fake_engine import Engine

ROOT = Path(__file__).parents[2]
SWEEP = ("--vary", "agents=1..4", "--set", "sweep.ask=run", "--jobs", "1")


@contextmanager
def files_of_at_most(size: int, process: int = 0) -> Iterator[None]:
    """No file grows beyond a size while this lasts, in this process or another.

    Python keeps no module that it compiles meanwhile: what it could not write whole it would leave in the checkout, and fail on ever after.
    """
    _, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
    before, kept = resource.prlimit(process, resource.RLIMIT_FSIZE, (size, hard)), sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_FSIZE, before)
        sys.dont_write_bytecode = kept


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    """A folder that cannot be made: its parent is a file."""
    (tmp_path / "file").touch()
    return tmp_path / "file" / "below"


def told(result: Any) -> str:
    assert result.exit_code == ExitCode.BAD_INPUT, result.stderr
    assert "Traceback" not in result.stderr
    return str(result.stderr)


def test_a_sweep_on_a_full_disk_keeps_its_points_and_goes_on(
    command: Command, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "sweep.journal.jsonl"
    command("run", tiny)  # what is compiled may be written before the disk is full
    with files_of_at_most(5_000):
        said = told(command("sweep", tiny, *SWEEP, "--out", str(tmp_path)))
    assert "make room" in said
    assert "finished points are kept" in said
    kept = [line for line in journal.read_text(encoding="utf-8").split("\n")[:-1] if json.loads(line)]
    assert 1 <= len(kept) < 4
    again: list[Any] = []

    def counted(scenario: Any, ask: str) -> Any:
        again.append(scenario)
        return answer_point(scenario, ask)

    monkeypatch.setattr(played, "answer_point", counted)
    assert command("sweep", tiny, *SWEEP, "--out", str(tmp_path)).exit_code == 0
    assert len(again) == 4 - len(kept)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "sweep.csv", "sweep.parquet"]


def test_a_report_on_a_full_disk_leaves_the_old_one_and_nothing_beside_it(command: Command, tiny: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("the old one", encoding="utf-8")
    with files_of_at_most(10_000):
        said = told(command("run", tiny, "--html", str(page)))
    assert "page.html" in said
    assert "cannot be written; File too large" in said
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["the old one"]


def test_rows_of_a_calibration_on_a_full_disk_are_told(tmp_path: Path) -> None:
    file = tmp_path / "cells.jsonl"
    with files_of_at_most(100), pytest.raises(UserError, match=r"cells.jsonl; found a place that cannot be written; File too large"):
        _append(file, 200 * "x")


def test_a_recording_on_a_full_disk_serves_on_and_keeps_what_it_has(tmp_path: Path) -> None:
    endpoint, out = Server(), tmp_path / "agent.jsonl"
    with serving(endpoint), recorder(endpoint, out) as (process, port, said):
        ask(port, "s", "task")
        journal = tmp_path / "agent.jsonl.journal"
        with files_of_at_most(journal.stat().st_size + 20, process.pid):
            for _ in range(2):
                ask(port, "s", "task", "answer", "result")  # answered in full
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == ExitCode.BAD_INPUT
    words = "".join(said)
    assert words.count("agents are served on, their calls from here on are not recorded") == 1
    assert re.search(r"agent.jsonl has the calls before that; make room", words)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert [len(run.calls) for run in load_trajectories(out).trajectories] == [1]


@pytest.mark.parametrize(
    "words",
    [
        ("run", "{tiny}", "--html", "{blocked}/page.html"),
        ("run", "{tiny}", "--csv", "{blocked}"),
        ("run", "{tiny}", "--timeline", "{blocked}/t.json"),
        ("capacity", "{tiny}", "--html", "{blocked}/page.html"),
        ("sweep", "{tiny}", *SWEEP, "--out", "{blocked}"),
        ("record", "--to", "http://127.0.0.1:1/v1", "--out", "{blocked}/agent.jsonl"),
        ("trajectories", "generate", "--trajectories", "3", "{blocked}/drawn.jsonl"),
    ],
    ids=lambda words: " ".join(word for word in words if "{" not in word)[:40],
)
def test_a_place_that_cannot_be_written_is_told(command: Command, tiny: str, blocked: Path, words: tuple[str, ...]) -> None:
    said = told(command(*(word.format(tiny=tiny, blocked=blocked) for word in words)))
    assert "below" in said
    assert "Not a directory" in said


@pytest.mark.parametrize("words", [("run", "{tiny}"), ("sweep", "{tiny}", *SWEEP, "--out", "{out}")], ids=["run", "sweep"])
def test_ctrl_c(command: Command, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("simulator.capacity.run" if words[0] == "run" else "simulator.capacity.sweep.answer_point", stopped)
    result = command(*(word.format(tiny=tiny, out=tmp_path / "out") for word in words))
    assert result.exit_code == ExitCode.INTERRUPTED
    assert "interrupted" in result.stderr
    assert "the same command goes on" in result.stderr or words[0] != "sweep"
    assert not (tmp_path / "out" / "sweep.parquet").exists()


def test_ctrl_c_while_the_report_is_loaded_prints_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that are loaded while Python ends may raise anything, in a thread of which nobody waits to hear."""

    def ending(name: str) -> None:
        raise RuntimeError("can't register atexit after shutdown")

    monkeypatch.setattr("simulator.cli.ask.import_module", ending)
    _load_report()


def test_the_time_of_day_is_asked_for_dates_alone() -> None:
    """What is measured or waited for goes by a clock that nobody sets; what becomes of it otherwise, `test_stages.py` tries."""
    source = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in (ROOT / "simulator").rglob("*.py")}
    assert {name for name, text in source.items() if "time.time()" in text} == {
        "simulator/cli/live_run.py", "simulator/serve/answer.py", "simulator/serve/app.py",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("option", "place", "found"),
    [("--timeline", "folder", "a folder"), ("--html", "pipe", "a device, a pipe"), ("--html", "/dev/null", "a device, a pipe")],
    ids=["folder", "pipe", "device"],
)
def test_what_is_no_file_stays_and_nothing_is_played(
    command: Command, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, place: str, found: str
) -> None:
    """A file is renamed to its place, which would put a file where a device was."""
    monkeypatch.setattr("simulator.capacity.run", lambda *_, **__: pytest.fail("it is refused before the work"))
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert f"found {found}" in told(command("run", tiny, option, str(tmp_path / place)))
    assert not Path("/dev/null").is_file()


def test_a_link_is_refused_for_the_place_that_it_leads_to(
    command: Command, tiny: str, tmp_path: Path, blocked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulator.capacity.run", lambda *_, **__: pytest.fail("it is refused before the work"))
    (tmp_path / "page.json").symlink_to(blocked / "page.json")
    assert "Not a directory" in told(command("run", tiny, "--timeline", str(tmp_path / "page.json")))


def test_a_link_stays_one_and_its_file_is_written(command: Command, tiny: str, tmp_path: Path) -> None:
    (tmp_path / "page.json").symlink_to(tmp_path / "elsewhere.json")
    assert command("run", tiny, "--timeline", str(tmp_path / "page.json")).exit_code == 0
    assert (tmp_path / "page.json").is_symlink()
    assert (tmp_path / "elsewhere.json").is_file()


@pytest.mark.parametrize(
    ("streams", "status", "said"),
    [(">/dev/full", 2, "stdout: a place that cannot be written; No space left on device"), (">&-", 0, "wall time"), (">&- 2>&-", 0, "")],
    ids=["full", "closed", "both closed"],
)
def test_a_stdout_that_takes_nothing(tiny: str, streams: str, status: int, said: str) -> None:
    words = shlex.join([sys.executable, "-m", "simulator.cli.main", "run", tiny])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(f"{words} {streams}", shell=True, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_calibration_whose_folder_cannot_be_made_asks_no_cell(command: Command, blocked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTWATT_API_KEY", KEY)
    engine = Engine(step_s=0.0, key=KEY)
    with serving(engine):
        said = told(command("calibrate", engine.url, "--yes", "--out", str(blocked)))
    assert "cannot be written" in said
    assert "Not a directory" in said
