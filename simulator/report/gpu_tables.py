"""Tables of a GPU's measurement: the plan, the fits and what they predict. Inputs are plans, evidence rows and fits of `calibration`."""

from collections import defaultdict

from simulator.calibration.gpu_cells import KINDS, Cell
from simulator.calibration.gpu_plan import Plan
from simulator.report.tables import Sheet


def plan_sheet(plan: Plan) -> Sheet:
    """The plan by kind, part and model: how many cells, over which sizes, how long, and what the budget leaves out."""
    groups: dict[tuple[str, ...], list[tuple[Cell, float]]] = defaultdict(list)
    for visit in plan.visits:
        groups[_group(visit.cell)].append((visit.cell, visit.expected_s))
    left: dict[tuple[str, ...], int] = defaultdict(int)
    for cell in plan.left_out:
        left[_group(cell)] += 1
    keys = sorted(set(groups) | set(left), key=lambda key: (KINDS.index(key[0]), key))
    rows = tuple(
        (
            *key,
            f"{len(groups[key])}",
            f"{left[key]}" if left[key] else "",
            _spans([cell for cell, _ in groups[key]]),
            f"{sum(seconds for _, seconds in groups[key]):.0f}",
        )
        for key in keys
    )
    note = (
        f"{len(plan.visits)} visits of {plan.window_s:g} s each and what surrounds them: about {plan.expected_s / 60:.1f} min on one GPU; "
        f"{len(plan.left_out)} cells do not fit the budget. The order is random; one cell comes at the start, in the middle and at the end."
    )
    columns = ("kind", "part", "model", "type", "visits", "left\nout", "sizes", "s")
    return Sheet("What is measured", columns, rows, "llllrrlr", note)


def _group(cell: Cell) -> tuple[str, str, str, str]:
    return cell.kind, cell.part, cell.model, cell.dtype


def _spans(cells: list[Cell]) -> str:
    """Each size's value, or its least and greatest."""
    names = dict.fromkeys(name for cell in cells for name in cell.size)
    spans = []
    for name in names:
        values = sorted({cell.size[name] for cell in cells})
        spans.append(f"{name} {values[0]:,}" if len(values) == 1 else f"{name} {values[0]:,}–{values[-1]:,}")
    return ", ".join(spans)
