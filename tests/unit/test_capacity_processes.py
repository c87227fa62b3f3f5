"""Processes of a question: which of them hears Ctrl-C, and one that is ended from outside."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import pytest

from simulator.capacity.processes import Task, as_finished, in_processes
from simulator.errors import Mistake, UserError

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def deaf(**_: Any) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def ended(**_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def mistaken(**_: Any) -> None:
    raise UserError([Mistake("one.yaml", "seeds", "0"), Mistake("two.yaml", "agents", line=3)])


def test_mistakes_come_whole_from_another_process() -> None:
    with pytest.raises(UserError) as caught:
        in_processes([(mistaken, ())] * 2, None, 2)
    assert caught.value.mistakes == (Mistake("one.yaml", "seeds", "0"), Mistake("two.yaml", "agents", line=3))


@pytest.mark.parametrize("handler", ["default_int_handler", "SIG_IGN"])
def test_ctrl_c_is_heard_by_one_process(handler: str) -> None:
    """A terminal sends it to all of them; a child that hears it prints where it was. Whoever ignored it before, as what a shell starts
    in the background does, ignores it after. In a process of its own, where nothing has been started yet."""
    code = (
        "import signal; from simulator.capacity.processes import in_processes; from tests.unit.test_capacity_processes import deaf\n"
        f"signal.signal(signal.SIGINT, signal.{handler})\n"
        "in_processes([(deaf, ())] * 4, None, 2)\n"
        f"assert signal.getsignal(signal.SIGINT) == signal.{handler}\n"
        "assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "beside a thread that may take it"])
def test_ctrl_c_while_processes_are_started_is_heard_when_they_are(monkeypatch: pytest.MonkeyPatch, others: int) -> None:
    done, started = threading.Event(), []

    class Pressed(joblib.Parallel):  # type: ignore[misc]
        def __call__(self, calls: Any) -> Any:
            os.kill(os.getpid(), signal.SIGINT)
            started.append(super().__call__(calls))
            return started[0]

    monkeypatch.setattr(joblib, "Parallel", Pressed)
    for _ in range(others):
        threading.Thread(target=done.wait).start()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(as_finished([(time.sleep, (5,))] * 2, 2))
    finally:
        signal.signal(signal.SIGINT, before)
        done.set()
    assert [list(results) for results in started] == [[]], "not in the middle of the start, and the processes are ended"


@pytest.mark.parametrize("play", [lambda tasks: in_processes(tasks, None, 2), lambda tasks: list(as_finished(tasks, 2))])
def test_a_process_that_is_ended_from_outside(play: Any) -> None:
    tasks: list[Task] = [(ended, ())] * 2
    with pytest.raises(UserError, match="one of 2 processes was ended from outside"):
        play(tasks)


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    """It is killed, and can end nothing itself."""
    code = (
        "import sys; from simulator.capacity.processes import in_processes; from tests.unit.test_capacity_processes import told\n"
        "in_processes([(told, (sys.argv[1],))] * 4, None, 2)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=ENVIRONMENT) as process:
        wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
        process.kill()
    children = [int(path.name) for path in tmp_path.iterdir()]
    wait_for(lambda: not any(alive(pid) for pid in children))


def told(folder: str, **_: Any) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


def wait_for(ready: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 45
    while not ready():
        assert time.monotonic() < until_s, "it never came"
        time.sleep(0.1)
