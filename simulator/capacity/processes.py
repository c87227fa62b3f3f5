"""Pure functions in several processes, their results in order or as they come. Inputs are tasks of the questions."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from typing import Any

from simulator.capacity.point import Progress
from simulator.errors import Mistake, UserError

WATCH = "ends with its parent"
HANDED_OUT_S = 0.2
"""Time for loky to hand out its tasks: its thread prints a traceback when they are taken back before (joblib 1.6)."""
Task = tuple[Callable[..., Any], tuple[Any, ...]]
Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def in_processes(tasks: Sequence[Task], progress: Progress | None, jobs: int | None) -> list[Any]:
    """Results of pure functions in the order of the tasks; in this process when one is enough.

    A function is called with its arguments and the keyword ``progress``. Only this process tells progress: with several, when a task ends.
    """
    jobs = _processes(tasks, jobs)
    if jobs <= 1:
        return [function(*arguments, progress=progress) for function, arguments in tasks]
    found = []
    calls: list[Call] = [(function, arguments, {"progress": None}) for function, arguments in tasks]
    for result in _played(calls, jobs, "generator"):
        found.append(result)
        if progress:
            progress(str(result))
    return found


def as_finished(tasks: Sequence[Task], jobs: int | None) -> Iterator[tuple[int, Any]]:
    """The place of each task and its result, in the order in which they end; called as in `in_processes`, without progress."""
    jobs = _processes(tasks, jobs)
    if jobs <= 1:
        yield from ((place, function(*arguments)) for place, (function, arguments) in enumerate(tasks))
        return
    calls: list[Call] = [(_placed, (place, function, arguments), {}) for place, (function, arguments) in enumerate(tasks)]
    yield from _played(calls, jobs, "generator_unordered")


def _processes(tasks: Sequence[Task], jobs: int | None) -> int:
    """How many processes are of use: as many as asked for, or as there are CPUs, and no more than tasks."""
    if not jobs and len(tasks) > 1:
        from joblib import cpu_count  # a tenth of a second, for which one process has no use

        jobs = cpu_count()
    return min(len(tasks), jobs or 1)


def _played(calls: Sequence[Call], jobs: int, order: str) -> Iterator[Any]:
    """Results out of processes that do not hear Ctrl-C, which goes to all of a terminal's: this one hears it, and ends them.

    Raises
    ------
    UserError
        When a process was ended from outside, as a system out of memory does.
    """
    from joblib import Parallel

    watched: list[Call] = [(_beside, (os.getpid(), *call), {}) for call in calls]
    results = None
    try:
        with _unheard():
            results = Parallel(n_jobs=jobs, return_as=order, batch_size=1)(watched)
        yield from results
    except KeyboardInterrupt as stop:
        if results is not None:
            results.throw(stop)  # ends the processes
        raise
    except BrokenExecutor as error:
        found = f"one of {jobs} processes was ended from outside"
        raise UserError(Mistake("", "jobs", found, "", "fewer of them need less memory")) from error


@contextmanager
def _unheard() -> Iterator[None]:
    """Processes that are started meanwhile do not hear Ctrl-C, and this one acts on it once they are started.

    They inherit a mask, for what is ignored would be lost here. Another thread of this process may still take it: a handler keeps it then.
    A thread beside the main one may not say so; its processes hear it.
    """
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield
        return
    _start_trackers()
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)  # what waited behind it comes to the handler above
        signal.signal(signal.SIGINT, before)
        if came:
            time.sleep(HANDED_OUT_S)
            signal.raise_signal(signal.SIGINT)


def _start_trackers() -> None:
    """Processes that clean up after others, deaf by themselves; Python 3.11 to 3.13 and joblib before 1.6 lift the mask to start one."""
    from multiprocessing import resource_tracker

    from joblib.externals.loky.backend.resource_tracker import ensure_running

    resource_tracker.ensure_running()
    ensure_running()


def _beside(parent: int, function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """A call in a process that ends with the one that started it, which may be killed and then ends nothing itself."""
    if all(thread.name != WATCH for thread in threading.enumerate()):
        threading.Thread(target=_end_with, args=(parent,), name=WATCH, daemon=True).start()
    return function(*arguments, **named)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _placed(place: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[int, Any]:
    return place, function(*arguments)
