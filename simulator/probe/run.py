"""A run: cell after cell until the plan is done, the budget is spent or the endpoint is lost. Inputs are a plan and a setting to play in.

Rows leave by `Keep` as soon as a cell has ended, so that whatever ends the process leaves finished cells behind.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from simulator.calibration.cell import Cell, CellRow, RequestRow, Span, Turn
from simulator.probe.client import Unreachable
from simulator.probe.execute import Setting, execute

Plan = Callable[[Sequence[CellRow], Sequence[RequestRow]], Sequence[Cell]]
"""The cells to play next, by the rows so far; none when it is done."""
Keep = Callable[[Sequence[RequestRow], CellRow], None]
OVER = 1.1
"""No cell begins beyond this many budgets; one that has begun may take `LAST` of a budget longer."""
LAST = 0.15
MOST_FAILED = 3
"""So many cells in a row without one request that went well, and the endpoint is given up."""
WARM_STREAM = 2**40
"""Streams of the warm-up, beyond those of any plan."""


@dataclass
class Rows:
    """What a run has so far."""

    cells: list[CellRow] = field(default_factory=list)
    requests: list[RequestRow] = field(default_factory=list)


@dataclass(frozen=True)
class End:
    """How a run ended.

    Attributes
    ----------
    done : bool
        The plan is done.
    lost : str
        Why the endpoint was given up; empty when it was not.
    cut : str
        The cell that the end of the budget cut short; empty when none was in progress.
    """

    done: bool
    lost: str = ""
    cut: str = ""


class Clock:
    """Seconds of a run, from those that an earlier start of it has used; the clock on the wall has no part in it."""

    def __init__(self, from_s: float = 0.0) -> None:
        self.began_s = perf_counter() - from_s

    def __call__(self) -> float:
        return perf_counter() - self.began_s


async def run(at: Setting, plan: Plan, budget_s: float, rows: Rows, keep: Keep, tell: Callable[[Cell], None]) -> End:
    """Plays a plan; ``rows`` gains what is kept.

    Raises
    ------
    Unreachable
        When the endpoint takes no connection from the start.
    """
    await execute(warm_up(), at)
    failed: list[str] = []
    while cells := [cell for cell in plan(rows.cells, rows.requests) if not _known(cell, rows)]:
        for cell in cells:
            left_s = budget_s * OVER - at.clock()
            if left_s <= 0:
                return End(False)
            tell(cell)
            try:
                requests, row = await asyncio.wait_for(execute(cell, at), left_s + budget_s * LAST)
            except TimeoutError:
                return End(False, cut=cell.id)
            except Unreachable as error:
                return End(False, f"{error}, in the cell {cell.id!r}")
            keep(requests, row)
            rows.cells.append(row)
            rows.requests.extend(requests)
            failed = [*failed, _reason(requests)] if row.failed == row.requests else []
            if len(failed) == MOST_FAILED:
                return End(False, f"no request of {MOST_FAILED} cells in a row went well, the last one for: {failed[-1]}")
    return End(True)


def warm_up() -> Cell:
    """A cell whose rows are thrown away: connections, caches of compiled kernels and the like are made by it."""
    sessions = tuple((Turn((Span(WARM_STREAM + number, 0, 256),), 8, measured=False),) for number in range(4))
    return Cell("warm-up", "floor", 0, {}, 2, sessions)


def resumable(cells: Sequence[CellRow], requests: Sequence[RequestRow]) -> Rows:
    """The rows that a resumed run goes on from: without cells of which nothing went well, and without requests of no cell."""
    kept = [cell for cell in cells if cell.failed < cell.requests]
    names = {cell.cell for cell in kept}
    return Rows(kept, [request for request in requests if request.cell in names])


def _known(cell: Cell, rows: Rows) -> bool:
    return any(row.cell == cell.id for row in rows.cells)


def _reason(requests: Sequence[RequestRow]) -> str:
    return next((row.error for row in reversed(requests) if row.error), "no reason")
