"""Pure functions in several processes, their results in order or as they come. Inputs are tasks of the questions."""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import contextmanager
from typing import Any

from simulator.capacity.point import Progress
from simulator.errors import Mistake, UserError

WATCH = "ends with its parent"
HANDED_OUT_S = 0.2
"""Time for loky to hand out its tasks: its thread prints a traceback when they are taken back before (joblib 1.6)."""
IDLE_S = 300
"""How long a process waits for more to do before it ends: the next question need not start it and read its trajectories again."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Processes are as many as CPUs already."""

Task = tuple[Callable[..., Any], tuple[Any, ...]]
Follower = Callable[[Any], Task]
"""Makes a task from the result of another."""
Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def in_processes(tasks: Sequence[Task], progress: Progress | None, jobs: int | None, then: Sequence[Sequence[Follower]] = ()) -> list[Any]:
    """Results of pure functions in the order of the tasks, each before those of what follows it; in this process when one is enough.

    A function is called with its arguments and the keyword ``progress``. Only this process tells progress: with several, when a task ends.

    Parameters
    ----------
    then : sequence of sequences of callable
        For each of the first tasks what follows it, and may start as soon as its result is there.
    """
    processes = _processes(len(tasks) + sum(map(len, then)), jobs)
    if processes <= 1 or len(tasks) == 1:
        found = []
        for place, (function, arguments) in enumerate(tasks):
            found.append(function(*arguments, progress=progress))
            found += in_processes([follower(found[-1]) for followers in then[place : place + 1] for follower in followers], progress, jobs)
        return found
    quiet = {"progress": None}
    waiting = deque(((place, 0), (*task, quiet)) for place, task in enumerate(tasks))
    results: dict[tuple[int, int], Any] = {}
    for (place, nth), result in _played(waiting, processes):
        results[place, nth] = result
        if progress:
            progress(str(result))
        if nth == 0 and place < len(then):
            waiting.extend(((place, n), (*follower(result), quiet)) for n, follower in enumerate(then[place], start=1))
    return [results[key] for key in sorted(results)]


def as_finished(tasks: Sequence[Task], jobs: int | None) -> Iterator[tuple[int, Any]]:
    """The place of each task and its result, in the order in which they end; called as in `in_processes`, without progress."""
    processes = _processes(len(tasks), jobs)
    if processes <= 1:
        yield from ((place, function(*arguments)) for place, (function, arguments) in enumerate(tasks))
        return
    yield from _played(deque((place, (*task, {})) for place, task in enumerate(tasks)), processes)


def _processes(tasks: int, jobs: int | None) -> int:
    """How many processes are of use: as many as asked for, or as there are CPUs, and no more than tasks."""
    if not jobs and tasks > 1:
        from joblib import cpu_count  # a tenth of a second, for which one process has no use

        jobs = cpu_count()
    return min(tasks, jobs or 1)


def _played(waiting: deque[tuple[Any, Call]], jobs: int) -> Iterator[tuple[Any, Any]]:
    """Keys and results of calls as they end, out of processes that do not hear Ctrl-C, which goes to all of a terminal's: this one hears
    it, and ends them. Whoever takes a result may add calls.

    Raises
    ------
    UserError
        When a process was ended from outside, as a system out of memory does.
    """
    from joblib.externals.loky import get_reusable_executor

    running: dict[Future[Any], Any] = {}
    with _unheard():  # those of the question before may be too few
        executor = get_reusable_executor(max_workers=jobs, timeout=IDLE_S, env=ONE_THREAD)
    try:
        while waiting or running:
            with _unheard():
                while waiting and len(running) < 2 * jobs:  # one more for each than it plays, so that none waits for this process
                    key, call = waiting.popleft()
                    running[executor.submit(_beside, os.getpid(), *call)] = key
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in [future for future in running if future in ended]:
                yield running.pop(future), future.result()
    except BaseException as error:
        executor.shutdown(kill_workers=True)
        if isinstance(error, BrokenExecutor):
            found = f"one of {jobs} processes was ended from outside"
            raise UserError(Mistake("", "jobs", found, "", "fewer of them need less memory")) from error
        raise


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
