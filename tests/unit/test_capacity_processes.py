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

import pytest
from joblib.externals import loky

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


def doubled(number: int, **_: Any) -> int:
    return 2 * number


def waiting(path: str, **_: Any) -> str:
    wait_for(Path(path).exists)
    return "waited"


def touched(path: str, **_: Any) -> str:
    Path(path).touch()
    return "touched"


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_stand_in_the_order_of_the_tasks_each_before_what_follows_it(jobs: int) -> None:
    then = [[], [lambda found: (doubled, (found,)), lambda found: (doubled, (found + 1,))]]
    assert in_processes([(doubled, (n,)) for n in (1, 2, 3)], None, jobs, then) == [2, 4, 8, 10, 6]


def test_what_follows_a_task_does_not_wait_for_the_others(tmp_path: Path) -> None:
    told: list[str] = []
    path = str(tmp_path / "there")
    in_processes([(waiting, (path,)), (doubled, (1,))], told.append, 2, [[], [lambda _: (touched, (path,))]])
    assert told == ["2", "touched", "waited"]


def test_what_follows_one_task_alone_is_played_in_processes() -> None:
    own, *others = in_processes([(whose, ())], None, 2, [[lambda _: (whose, ())] * 2])
    assert own == os.getpid() not in others


def whose(**_: Any) -> int:
    return os.getpid()


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
    submit = loky.ProcessPoolExecutor.submit

    def pressed(self: Any, *call: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        future = submit(self, *call)
        started.append(list(self._processes))
        return future

    monkeypatch.setattr(loky.ProcessPoolExecutor, "submit", pressed)
    for _ in range(others):
        threading.Thread(target=done.wait).start()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(as_finished([(time.sleep, (5,))] * 2, 2))
    finally:
        signal.signal(signal.SIGINT, before)
        done.set()
    assert len(started) == 2, "not in the middle of the start"
    assert not any(alive(pid) for pid in started[-1]), "the processes are ended"


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
