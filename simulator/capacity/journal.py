"""Parts of a study, kept as they are found: a run that was ended goes on where it stopped. Inputs are tasks and their keys."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulator.capacity.point import Progress
from simulator.capacity.processes import Task, as_finished
from simulator.capacity.study import Found


@dataclass(frozen=True)
class Journal:
    """What is known already, by keys, and where each new part is told as soon as it is found."""

    known: Mapping[str, Found]
    keep: Callable[[str, Found], None]


def journalled(
    tasks: Sequence[Task], keys: Sequence[str], journal: Journal | None, progress: Progress | None, jobs: int | None
) -> list[Any]:
    """Results in the order of the tasks; those that the journal knows are not computed again.

    Parameters
    ----------
    tasks : sequence of (function, arguments)
    keys : sequence of str
        What each result follows from; not looked at without a journal.
    journal : Journal, optional
    progress : callable, optional
        Told after every new result.
    jobs : int, optional
        Processes; by default as many as there are CPUs.
    """
    found = {place: journal.known[keys[place]] for place in range(len(tasks)) if journal and keys[place] in journal.known}
    open_places = [place for place in range(len(tasks)) if place not in found]
    for place, result in as_finished([tasks[place] for place in open_places], jobs):
        found[open_places[place]] = result
        if journal:
            journal.keep(keys[open_places[place]], result)
        if progress:
            progress(str(result))
    return [found[place] for place in range(len(tasks))]
