"""Pure functions in several processes, their results in order. Inputs are tasks of the questions."""

from collections.abc import Callable, Sequence
from typing import Any

from joblib import Parallel, cpu_count, delayed

from simulator.capacity.point import Progress

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
