"""Plays the points of a sweep, in processes of this machine or on a cluster, and gathers their rows. Input is a plan."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.capacity.cluster import on_cluster
from simulator.capacity.hold import compile_once
from simulator.capacity.point import Progress
from simulator.capacity.processes import as_finished
from simulator.capacity.sweep_axes import read_axes
from simulator.capacity.sweep_plan import SweepPlan, SweepPoint, plan_sweep
from simulator.capacity.sweep_row import CANNOT_RUN, COLUMNS, Row, answer_point, refused
from simulator.errors import UserError

Keep = Callable[[str, Row], None]
"""Called with the key and the row of every point as soon as it is played."""


@dataclass(frozen=True)
class Sweep:
    """A sweep with the rows of all its points, in the order of the plan: the same whoever played them, and in whatever order."""

    plan: SweepPlan
    rows: tuple[Row, ...]

    @property
    def refused(self) -> tuple[Row, ...]:
        """Rows of the points that cannot run."""
        return tuple(row for row in self.rows if row["status"] == CANNOT_RUN)


def sweep(
    ref: str | Path | Mapping[str, Any],
    vary: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    latin: int | None = None,
    progress: Progress | None = None,
    jobs: int | None = None,
    dask: str | None = None,
) -> Sweep:
    """The same question over a grid, or a Latin hypercube, of any fields of a scenario.

    Parameters
    ----------
    ref : str, Path or mapping
        A scenario, as in `load_scenario`.
    vary : mapping, optional
        Dotted field -> its values: a list, or a text as ``"300..700/10"`` (docs/sweep.md). Beside those of the scenario's own ``sweep``.
    overrides : mapping, optional
        Values by dotted path that hold in every point.
    latin : int, optional
        Draws of a Latin hypercube in place of the grid.
    progress, jobs, dask : optional
        As in `play_sweep`.

    Returns
    -------
    Sweep
        A row for each point; `frame` makes it a DataFrame.

    Raises
    ------
    UserError
        When a field, a value or a part of the scenario is bad, or no point can run.

    Examples
    --------
    >>> from simulator import frame, sweep
    >>> small = {"workload": {"kind": "fixed", "isl": 2000, "osl": 50}, "phase.min_window_s": 60, "sweep.ask": "run", "seeds": 1}
    >>> found = frame(sweep("capacity_h200", {"agents": [2, 4], "power.cap_w": [400, 701]}, small, jobs=1))
    >>> found[["agents", "power.cap_w", "status"]].values.tolist()
    [[2, 400, 'answered'], [2, 701, 'cannot run'], [4, 400, 'answered'], [4, 701, 'cannot run']]
    """
    return play_sweep(plan_sweep(ref, read_axes(vary or {}, "vary"), overrides, latin), None, progress, jobs, dask)


def play_sweep(
    plan: SweepPlan,
    finished: Mapping[str, Row] | None = None,
    progress: Progress | None = None,
    jobs: int | None = None,
    dask: str | None = None,
    keep: Keep | None = None,
) -> Sweep:
    """All rows of a sweep.

    Parameters
    ----------
    plan : SweepPlan
    finished : mapping of str to row, optional
        Rows by their points' keys, from a run before; they are not played again.
    progress : callable, optional
        Told after every point: how many are done, and the time that the others should take.
    jobs : int, optional
        Processes on this machine; by default as many as there are CPUs. The rows do not depend on it.
    dask : str, optional
        Address of the scheduler of a Dask cluster that plays the points instead.
    keep : callable, optional
        Given the key and the row of each point that was played.

    Raises
    ------
    UserError
        When the cluster cannot be used, or a process was ended from outside.
    """
    found = {point.index: refused(plan.ask, point.reason) for point in plan.points if not point.key}
    columns = {"status", "reason", *COLUMNS[plan.ask]}
    known = {key: row for key, row in (finished or {}).items() if row.keys() == columns}
    found |= {point.index: known[point.key] for point in plan.points if point.key in known}
    left = _in_order([point for point in plan.points if point.index not in found])
    clock = _Clock(len(plan.points), len(left), progress)
    for place, row in _played(plan, left, progress, jobs, dask):
        point = left[place]
        found[point.index] = row
        if keep:
            keep(point.key, row)
        clock.tell(point, row)
    return Sweep(plan, tuple(found[point.index] for point in plan.points))


def _in_order(points: Sequence[SweepPoint]) -> list[SweepPoint]:
    """Points that share a workload one after another, so that it stays warm; else at random by their keys, so that those played tell how
    long the others take."""
    return sorted(points, key=lambda point: (repr(point.scenario.workload), point.key))


def _played(
    plan: SweepPlan, points: Sequence[SweepPoint], progress: Progress | None, jobs: int | None, dask: str | None
) -> Iterator[tuple[int, Row]]:
    """Places and rows of points as they end."""
    if not points:
        return
    if dask is not None:
        yield from on_cluster(dask, points, plan.ask, progress)
        return
    for point in points:  # one that cannot run says so in its row
        with suppress(UserError):
            compile_once(point.scenario)
            break
    yield from as_finished([(answer_point, (point.scenario, plan.ask)) for point in points], jobs)


class _Clock:
    """Tells how far a sweep is, and how long the rest should take at the pace so far."""

    def __init__(self, points: int, left: int, progress: Progress | None) -> None:
        self.points, self.left, self.progress = points, left, progress
        self.played = 0
        self.first_s = 0.0
        """When the first point was done, which others waited with: processes start, and load the kernel."""
        if progress:
            progress(f"{points:,} points, {points - left:,} of them finished before or unable to run")

    def tell(self, point: SweepPoint, row: Row) -> None:
        """After a point was played."""
        self.played += 1
        if self.played == 1:
            self.first_s = time.monotonic()
        if self.progress:
            values = ", ".join(f"{field}={value}" for field, value in point.values.items())
            done = self.points - self.left + self.played
            self.progress(f"{done:,} of {self.points:,} points{self._rest()}; {values}: {_said(row)}")

    def _rest(self) -> str:
        if self.played < 2 or self.played == self.left:
            return ""
        rest_s = (time.monotonic() - self.first_s) / (self.played - 1) * (self.left - self.played)
        return f", about {duration(rest_s)} left"


def _said(row: Row) -> str:
    if row["status"] == CANNOT_RUN:
        return f"cannot run ({row['reason']})"
    return f"{row['agents']:,} agents" if "agents" in row else f"holds {row['agents_held']:,} agents"


def duration(seconds: float) -> str:
    """``45 s``, ``12 min 5 s`` or ``3 h 20 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
