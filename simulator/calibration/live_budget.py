"""The token budget of a step, by twins: two prompts that arrive together behind a long one get first tokens together, or a step apart.

Inputs are rows of twin cells. Which of the two happens follows from the budget by counting tokens, so each cell rules budgets out; clocks
only have to tell a step from no step.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from simulator.calibration.cell import CellRow, RequestRow

TOGETHER = 0.5
"""Twins whose first tokens lie no further apart than this share of a step's floor came from one step: tokens of two steps lie a whole floor
apart at least, those of one step by what the client's clock blurs."""

USUAL = tuple(sorted({base << power for base in (1, 3) for power in range(3, 17)}))
"""Budgets that people set; others are looked at when none of these fits."""

MOST = 65_536


class Twins(NamedTuple):
    """One cell: tokens of each twin and of the prompt before them, and whether their first tokens came together."""

    twin: int
    blocker: int
    together: bool
    cell: str


def seen_twins(cells: Sequence[CellRow], rows: Mapping[str, Sequence[RequestRow]], floor_s: float) -> list[Twins]:
    """What the twin cells showed, one for each size by the majority; a cell whose twins came too late shows nothing, nor does a tie."""
    votes: dict[Twins, int] = {}
    for cell in cells:
        own = rows.get(cell.cell, ())
        first = [row.first_s for row in own if row.measured and row.first_s is not None]
        if cell.kind == "mixed" and "twin" in cell.params and len(first) == 2 and queued(own):
            near = abs(first[0] - first[1]) <= TOGETHER * floor_s
            name = cell.cell.rpartition(" #")[0]
            one, other = (Twins(int(cell.params["twin"]), int(cell.params["blocker"]), way, name) for way in (near, not near))
            votes[one] = votes.get(one, 0) + 1
            votes[other] = votes.get(other, 0) - 1
    return [one for one, count in votes.items() if count > 0]


def queued(rows: Sequence[RequestRow]) -> bool:
    """Whether the twins of a cell arrived while the prompt before them still kept the server busy."""
    blocker = [row.first_s for row in rows if not row.measured]
    sent = [row.sent_s for row in rows if row.measured]
    return bool(blocker and sent) and blocker[0] is not None and max(sent) < blocker[0]


def comes_together(budget: int, twin: int, blocker: int) -> bool:
    """Whether one step ends both twins; they may begin in what the last chunk of the prompt before them leaves of its step."""
    room = -blocker % budget if blocker > budget else 0
    before = min(twin, room)
    first, second = twin - before, twin - min(twin, room - before)
    if not first:
        return not second
    return -(-first // budget) == -(-(first + second) // budget)


def fitting(seen: Sequence[Twins], budgets: Sequence[int]) -> list[int]:
    """The budgets with which most of what was seen agrees."""
    off = [sum(comes_together(budget, one.twin, one.blocker) != one.together for one in seen) for budget in budgets]
    return [budget for budget, wrong in zip(budgets, off, strict=True) if wrong == min(off)]


def budgets_left(seen: Sequence[Twins]) -> list[int]:
    """Budgets that are not ruled out: usual ones, else any that fit better."""
    usual = fitting(seen, USUAL)
    wrong = sum(comes_together(usual[0], one.twin, one.blocker) != one.together for one in seen)
    return usual if not wrong else fitting(seen, range(16, MOST))


def next_twin(seen: Sequence[Twins], longest: int) -> int | None:
    """The size of twins that rules out most, whatever happens; None when nothing more can be told."""
    left, asked = budgets_left(seen), {one.twin for one in seen}
    sizes = [size for size in range(8, longest + 1, 8) if size not in asked]
    told = [(abs(2 * sum(comes_together(budget, size, longest) for budget in left) - len(left)), size) for size in sizes]
    best = min(told, default=(len(left), 0))
    return best[1] if best[0] < len(left) else None
