"""`agentwatt`, disturbed at its n-th step on the disk, or at each in turn: ``python -m tests.cli.stopped HOW N WORDS...``.

Steps are what this process makes, writes, flushes, renames and removes. ``HOW`` is INT or KILL (a signal at the step), FULL (no step from
there on has room), READONLY (the folder of ``--csv`` or ``--out`` cannot be written from there on) or CLOCK (whoever asks for the time of
day is told another year from there on). N may also be the name of a step, for the first of its kind. With N = 0 the command is run once
undisturbed, ``{n}`` in its words being 0, which loads what forks then have; then again and again in forks, ``{n}`` being the step, until
one was not disturbed. ``step n status`` on stderr tells of each.
"""

import errno
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from simulator.cli.main import app

STEPS = ("replace", "write", "fsync", "unlink", "mkdir")
YEAR_S = 365 * 86_400.0


class Disturbed:
    """The functions of the disk, counted."""

    def __init__(self, how: str, at: int | str, out: Path) -> None:
        self.how, self.at, self.out, self.steps = how, at, out, 0
        for name in STEPS:
            setattr(os, name, self.counted(getattr(os, name), frees=name == "unlink"))
        tempfile.mkstemp = self.counted(tempfile.mkstemp)

    def counted(self, function: Callable[..., Any], frees: bool = False) -> Callable[..., Any]:
        def step(*words: Any, **more: Any) -> Any:
            self.steps += 1
            if self.at == function.__name__:
                self.at = self.steps
            if self.steps == self.at:
                self.disturb()
            if self.how == "FULL" and isinstance(self.at, int) and self.steps >= self.at and not frees:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return function(*words, **more)

        return step

    def disturb(self) -> None:
        if self.how in ("INT", "KILL"):
            os.kill(os.getpid(), signal.SIGINT if self.how == "INT" else signal.SIGKILL)
        elif self.how == "READONLY" and self.out.is_dir():
            self.out.chmod(0o555)
        elif self.how == "CLOCK":
            time.time, time.time_ns = odd_clock()


def odd_clock() -> tuple[Callable[[], float], Callable[[], int]]:
    """In place of `time.time` and `time.time_ns`: the time of day a year before or after, by turns."""
    real, asked = time.time, count()

    def told() -> float:
        return real() + YEAR_S * (-1) ** next(asked)

    return told, lambda: int(told() * 1e9)


def status_of(how: str, at: int | str, words: list[str]) -> tuple[int, int]:
    """How the command ended, and how many steps it took."""
    out = next(Path(words[words.index(option) + 1]) for option in ("--csv", "--out") if option in words)
    disturbed = Disturbed(how, at, out if out.suffix == "" else out.parent)
    try:
        app(words)
    except SystemExit as end:
        return int(end.code or 0), disturbed.steps
    return 0, disturbed.steps


def in_a_fork(how: str, at: int, words: list[str]) -> tuple[int, bool]:
    """How the command ended in a fork of this process, and whether it came to the step."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        with os.fdopen(reading) as pipe:
            told = pipe.read()
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), told != "whole"
    write = os.write
    status, steps = status_of(how, at, words)
    if steps < at:
        write(writing, b"whole")
    os._exit(status)


def main(how: str, at: int | str, words: list[str]) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yaml.compose = cache(yaml.compose)  # the same dozen files again and again
    if at:
        return status_of(how, at, words)[0]
    app([word.replace("{n}", "0") for word in words], standalone_mode=False)
    for n in count(1):
        status, reached = in_a_fork(how, n, [word.replace("{n}", str(n)) for word in words])
        print("step", n, status, file=sys.stderr, flush=True)
        if not reached:
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]) if sys.argv[2].isdigit() else sys.argv[2], sys.argv[3:]))
