"""Pure functions in several processes, their results in order or as they come. Inputs are tasks of the questions."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from typing import Any

from joblib import Parallel, cpu_count, delayed

from simulator.capacity.point import Progress
from simulator.errors import Mistake, UserError

Task = tuple[Callable[..., Any], tuple[Any, ...]]


def in_processes(tasks: Sequence[Task], progress: Progress | None, jobs: int | None) -> list[Any]:
    """Results of pure functions in the order of the tasks; in this process when one is enough.

    A function is called with its arguments and the keyword ``progress``. Only this process tells progress: with several, when a task ends.
    """
    jobs = min(len(tasks), jobs or cpu_count())
    if jobs <= 1:
        return [function(*arguments, progress=progress) for function, arguments in tasks]
    found = []
    calls = [delayed(function)(*arguments, progress=None) for function, arguments in tasks]
    for result in Parallel(n_jobs=jobs, return_as="generator")(calls):
        found.append(result)
        if progress:
            progress(str(result))
    return found


def as_finished(tasks: Sequence[Task], jobs: int | None) -> Iterator[tuple[int, Any]]:
    """The place of each task and its result, in the order in which they end; called as in `in_processes`, without progress.

    Raises
    ------
    UserError
        When a process was ended from outside, as a system out of memory does.
    """
    jobs = min(len(tasks), jobs or cpu_count())
    calls = [delayed(_placed)(place, function, arguments) for place, (function, arguments) in enumerate(tasks)]
    if jobs <= 1:
        yield from (function(*arguments) for function, arguments, _ in calls)
        return
    try:
        yield from Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(calls)
    except BrokenExecutor as error:
        raise UserError(
            Mistake("", "jobs", f"one of {jobs} processes was ended from outside", "", "fewer of them need less memory")
        ) from error


def _placed(place: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[int, Any]:
    return place, function(*arguments)
