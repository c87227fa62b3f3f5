"""Processes of a question: which of them hears Ctrl-C, and one that is ended from outside."""

import os
import signal
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
    """A terminal sends it to all of them; a child that hears it prints where it was."""
    for pid, unheard in in_processes([(deaf, ())] * 4, None, 2):
        assert (pid != os.getpid()) == unheard
    assert deaf() == (os.getpid(), False)


@pytest.mark.parametrize("play", [lambda tasks: in_processes(tasks, None, 2), lambda tasks: list(as_finished(tasks, 2))])
def test_a_process_that_is_ended_from_outside(play: Any) -> None:
    tasks: list[Task] = [(ended, ())] * 2
    with pytest.raises(UserError, match="one of 2 processes was ended from outside"):
        play(tasks)
