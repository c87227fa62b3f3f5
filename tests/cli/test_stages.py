"""Commands that take their time, disturbed at each of their steps on the disk: Ctrl-C, kill -9, a full disk, a folder that cannot be
written any more; and by a clock that is set. What is there is whole, what was finished is kept, and the same command again ends as if
nothing had been.

The steps and the disturbances are those of `tests/cli/stopped.py`; the table of all cases is docs/interruptions.md.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulator.calibration.cell import Cell, Span, Turn
from simulator.workload import load_trajectories
from tests.cli.conftest import Command
from tests.cli.process import listening
from tests.cli.stopped import odd_clock
from tests.cli.test_record import ask
from tests.unit.fake_endpoint import KEY, Server, serving
from tests.unit.fake_engine import Engine

ROOT = Path(__file__).parents[2]
DROP_BOUND, OVERRIDE = 24, 1
"""Of prctl(2): a capability that no program from there on has; the one by which root writes where nobody may."""
STATUS = {"INT": 130, "KILL": -9, "FULL": 2, "READONLY": 2}
SMALL_PLAN = (
    "import sys; from simulator.calibration import live_plan; from tests.cli.test_stages import small_plan\n"
    "live_plan.next_cells = small_plan; import simulator.cli.calibrate as c; c.finish = lambda *_: None\n"
)
WAIT_S = 0.2
NO_FIGURES = "from simulator.report import sweep_page; sweep_page.render_sweep = lambda *_: 'a page'"
QUESTIONS = {
    "run": ("run", "{tiny}", "--csv", "{out}", "--timeline", "{out}/t.json.gz"),
    "sweep": ("sweep", "{tiny}", "--vary", "agents=1,2", "--set", "sweep.ask=run", "--jobs", "1", "--out", "{out}"),
}


def small_plan(endpoint: object, budget_s: float, cells: list[object], requests: object) -> list[Cell]:
    """Two cells of a request each, one after the other."""
    return [Cell(f"c{len(cells)}", "prefill", 0, {}, 1, ((Turn((Span(0, 0, 32),), 4),),))] if len(cells) < 2 else []


def obeying() -> None:
    """In a new process: a folder that cannot be written is so for root too."""
    ctypes.CDLL(None).prctl(DROP_BOUND, OVERRIDE, 0, 0, 0)


def an_odd_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for the time of day is told one a year before or after, by turns."""
    for name, told in zip(("time", "time_ns"), odd_clock(), strict=True):
        monkeypatch.setattr(time, name, told)


def disturbed(how: str, words: tuple[str, ...], before: str = "") -> tuple[dict[int, int], dict[int, str]]:
    """How the command ended, and its words on stderr, by the step at which it was disturbed; the last one came to no such step."""
    code = f"{before}\nimport sys; from tests.cli.stopped import main; sys.exit(main(sys.argv[1], 0, sys.argv[2:]))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, how, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, preexec_fn=obeying, check=False)
    assert done.returncode == 0, done.stderr
    statuses: dict[int, int] = {}
    said: dict[int, str] = {}
    words_so_far = ""
    for line in done.stderr.splitlines():
        if line.startswith("step "):
            _, step, status = line.split()
            statuses[int(step)], said[int(step)], words_so_far = int(status), words_so_far, ""
        else:
            words_so_far += f"{line}\n"
    assert len(statuses) > 5
    return statuses, said


def files(folder: Path) -> dict[str, bytes]:
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def left_beside(how: str, found: dict[str, bytes]) -> set[str]:
    """Files that were to be renamed, taken out: one at most, and only of who was killed or may not remove it any more."""
    beside = {name for name in found if name.startswith(".")}
    assert len(beside) <= (how in ("KILL", "READONLY"))
    for name in beside:
        del found[name]
    return beside


@pytest.mark.parametrize(("question", "how"), [("run", "KILL"), ("run", "READONLY"), *(("sweep", how) for how in STATUS)])
def test_a_question_disturbed_at_each_step(
    command: Command, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, question: str, how: str
) -> None:
    monkeypatch.setattr("simulator.report.sweep_page.render_sweep", lambda *_: "a page")
    words = tuple(word.replace("{tiny}", tiny).replace("{out}", str(tmp_path / "{n}")) for word in QUESTIONS[question])
    statuses, said = disturbed(how, words, NO_FIGURES)
    whole, last = files(tmp_path / "0"), max(statuses)
    seen: set[frozenset[str]] = set()
    for step, status in statuses.items():
        assert "Traceback" not in said[step]
        found = files(tmp_path / str(step))
        left_beside(how, found)
        journal = found.pop("sweep.journal.jsonl", b"")
        assert all(json.loads(line) for line in journal.splitlines())
        assert found.items() <= whole.items(), "whole or not there"
        if status == 0:
            assert found == whole, "all was written before the disturbance came"
            continue
        assert status == STATUS[how]
        assert how == "KILL" or said[step].splitlines()[-1].strip()
        assert how in ("INT", "KILL") or str(tmp_path / str(step)) in said[step]
        assert found == whole or not journal or how == "KILL" or "the same command goes on" in said[step]
        if frozenset(found) not in seen:
            seen.add(frozenset(found))
            again = command(*(word.replace("{n}", str(step)) for word in words))
            assert again.exit_code == 0, again.stderr
            ended = files(tmp_path / str(step))
            left_beside(how, ended)
            assert ended == whole
    assert statuses[last] == 0
    assert sum(status != 0 for status in statuses.values()) > last // 2


@pytest.mark.parametrize("how", STATUS)
def test_a_calibration_disturbed_at_each_step(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setenv("AGENTWATT_API_KEY", KEY)
    monkeypatch.setattr("simulator.calibration.live_plan.next_cells", small_plan)
    monkeypatch.setattr("simulator.cli.calibrate.finish", lambda *_: None)
    engine = Engine(step_s=0.0, key=KEY)
    with serving(engine):
        words = ("calibrate", engine.url, "--yes", "--out", str(tmp_path / "{n}"))
        statuses, said = disturbed(how, words, SMALL_PLAN)
        kept = set()
        for step, status in statuses.items():
            assert "Traceback" not in said[step]
            assert KEY not in said[step]
            found = files(tmp_path / str(step))
            left_beside(how, found)
            cells = [json.loads(line)["cell"] for line in found.get("cells.jsonl", b"").splitlines()]
            requests = [json.loads(line)["row"]["cell"] for line in found.get("requests.jsonl", b"").splitlines()]
            assert cells == ["c0", "c1"][: len(cells)]
            assert set(cells) <= set(requests), "a cell that is there is whole"
            assert status == (STATUS[how] if status else 0)
            assert how in ("INT", "KILL") or not status or str(tmp_path / str(step)) in said[step]
            if len(cells) in kept:
                continue
            kept.add(len(cells))
            asked = len(engine.requests)
            resume = ["--resume"] if "cells.jsonl" in found else []
            again = command(*(word.replace("{n}", str(step)) for word in words), *resume)
            assert again.exit_code == 0, again.stderr
            ended = files(tmp_path / str(step))
            assert [json.loads(line)["cell"] for line in ended["cells.jsonl"].splitlines()] == ["c0", "c1"]
            assert [json.loads(line)["row"]["cell"] for line in ended["requests.jsonl"].splitlines()] == ["c0", "c1"]
            assert sum(request.get("max_tokens") == 4 for request in engine.requests[asked:]) == 2 - len(cells)
    assert statuses[max(statuses)] == 0
    assert kept >= ({0, 2} if how == "READONLY" else {0, 1, 2}), "a file that is there can be written on in a folder that cannot"


@pytest.mark.parametrize("step", ["replace", "unlink"])
@pytest.mark.parametrize("how", STATUS)
def test_a_recording_disturbed_at_its_end(command: Command, tmp_path: Path, how: str, step: str) -> None:
    """The file is renamed to its place, then its journal goes."""
    endpoint, folder = Server(), tmp_path / "out"
    folder.mkdir()
    out, journal = folder / "agent.jsonl", folder / "agent.jsonl.journal"
    words = (how, step, "record", "--to", f"http://127.0.0.1:{endpoint.port}/v1", "--port", "0", "--out", str(out))
    with serving(endpoint), listening(*words, cwd=tmp_path, module="tests.cli.stopped", preexec_fn=obeying) as (process, port, said):
        ask(port, "s", "task")
        process.send_signal(signal.SIGINT)
        status = process.wait(30)
    found = files(folder)
    left_beside(how, found)
    assert "Traceback" not in "".join(said)
    if status == 0:
        assert set(found) == {out.name}
        assert (how, step) == ("FULL", "unlink"), "what was freed needs no room"
        return
    assert status == STATUS[how]
    assert set(found) == {journal.name} | ({out.name} if step == "unlink" else set())
    assert how == "KILL" or "agentwatt trajectories convert" in "".join(said) or step == "unlink"
    for place in found:
        assert [len(run.calls) for run in load_trajectories(folder / place).trajectories] == [1]
    again = command("record", "--to", "http://127.0.0.1:1/v1", "--out", str(out))
    assert again.exit_code == 2
    assert "there already" in again.stderr


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_clock_that_is_set_changes_no_answer(
    command: Command, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    monkeypatch.setattr("simulator.report.sweep_page.render_sweep", lambda *_: "a page")
    words = [word.replace("{tiny}", tiny) for word in QUESTIONS[question]]
    assert command(*(word.replace("{out}", str(tmp_path / "whole")) for word in words)).exit_code == 0
    an_odd_clock(monkeypatch)
    assert command(*(word.replace("{out}", str(tmp_path / "odd")) for word in words)).exit_code == 0
    assert files(tmp_path / "odd") == files(tmp_path / "whole")


def test_a_clock_that_is_set_changes_no_measured_duration(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTWATT_API_KEY", KEY)
    monkeypatch.setattr("simulator.calibration.live_plan.next_cells", small_plan)
    monkeypatch.setattr("simulator.cli.calibrate.finish", lambda *_: None)
    an_odd_clock(monkeypatch)
    engine, began_s = Engine(step_s=0.001, key=KEY), time.monotonic()
    with serving(engine):
        assert command("calibrate", engine.url, "--yes", "--out", str(tmp_path)).exit_code == 0
    elapsed_s = time.monotonic() - began_s
    rows = [json.loads(line)["row"] for line in (tmp_path / "requests.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 2
    for row in rows:
        assert 0 < row["sent_s"] < row["first_s"] < row["end_s"] < elapsed_s
        assert row["end_s"] - row["sent_s"] > 3 * 0.001


def test_a_clock_that_is_set_changes_no_recorded_wait(tmp_path: Path) -> None:
    endpoint, out = Server(), tmp_path / "agent.jsonl"
    words = ("CLOCK", "1", "record", "--to", f"http://127.0.0.1:{endpoint.port}/v1", "--port", "0", "--out", str(out))
    began_s = time.monotonic()
    with serving(endpoint), listening(*words, cwd=tmp_path, module="tests.cli.stopped") as (process, port, _):
        ask(port, "s", "task")
        time.sleep(WAIT_S)
        ask(port, "s", "task", "answer", "result")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    (run,) = load_trajectories(out).trajectories
    assert WAIT_S <= run.calls[0].tool_s < time.monotonic() - began_s
