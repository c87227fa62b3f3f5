"""Processes of a question: which of them hears Ctrl-C, and one that is ended from outside."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulator.capacity.processes import Task, as_finished, in_processes
from simulator.errors import Mistake, UserError


def deaf(**_: Any) -> tuple[int, bool]:
    return os.getpid(), signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def ended(**_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def mistaken(**_: Any) -> None:
    raise UserError([Mistake("one.yaml", "seeds", "0"), Mistake("two.yaml", "agents", line=3)])


def test_mistakes_come_whole_from_another_process() -> None:
    with pytest.raises(UserError) as caught:
        in_processes([(mistaken, ())] * 2, None, 2)
    assert caught.value.mistakes == (Mistake("one.yaml", "seeds", "0"), Mistake("two.yaml", "agents", line=3))


def test_ctrl_c_is_heard_by_one_process() -> None:
    """A terminal sends it to all of them; a child that hears it prints where it was. Whoever ignored it before, as what a shell starts
    in the background does, ignores it after."""
    before = signal.getsignal(signal.SIGINT)
    for handler in (signal.default_int_handler, signal.SIG_IGN):
        signal.signal(signal.SIGINT, handler)
        try:
            children = in_processes([(deaf, ())] * 4, None, 2)
            assert signal.getsignal(signal.SIGINT) == handler
        finally:
            signal.signal(signal.SIGINT, before)
        assert all(pid != os.getpid() and unheard for pid, unheard in children)


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
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=environment) as process:
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
