"""The plan of a measurement: which cells, in which order, and how long it takes. Inputs are model cards, a budget in seconds and a seed."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from simulator.calibration import gpu_cells as cells
from simulator.calibration.gpu_cells import Cell
from simulator.calibration.gpu_shapes import Shapes

WARM_S, WINDOW_S, SETTLE_S = 0.5, 3.0, 5.0
"""Seconds of work before a cell's window; of the window, over which the energy counter is read; and of rest before an idle one."""

SETUP_S, FILL_BYTES_PER_S = 0.4, 50e9
"""What a cell takes besides: a guess that only the expected time depends on."""

TOKENS = (16, 1024, 1, 16384, 256, 4096, 64, 4)
CONTEXTS = ((16, 8192), (128, 8192), (1, 131072), (16, 65536), (64, 2048), (1, 8192), (256, 2048))
"""Batch and context of decode attention."""
LEAN_CONTEXTS = ((4, 32768), (64, 8192), (16, 2048), (256, 8192), (1, 32768), (4, 8192), (128, 2048), (64, 32768), (1, 2048))
"""More of them where PyTorch has a paged kernel (GQA): only those tell what reading KV takes."""
PROMPTS = ((2048, 0), (8192, 0), (2048, 65536), (8192, 16384), (512, 16384), (2048, 16384), (512, 0))
"""Chunk and prefix of prefill attention."""
ROWS = (1, 32)
COVERED = (1.0, 0.25, 0.0, 0.05, 0.5)
"""Shares of a layer's experts that are chosen; 0 stands for one expert."""
BUSY_PERCENT = (50, 25, 10, 75)
DRIFT_TOKENS = 64


@dataclass(frozen=True)
class Visit:
    """One measurement of a cell; ``number`` counts the visits to the same cell."""

    cell: Cell
    number: int
    expected_s: float

    @property
    def key(self) -> tuple[str, int]:
        """What tells a visit from every other."""
        return self.cell.id, self.number


@dataclass(frozen=True)
class Plan:
    """Visits in the order in which they are made, and the cells that the budget leaves out."""

    visits: tuple[Visit, ...]
    left_out: tuple[Cell, ...]
    window_s: float

    @property
    def expected_s(self) -> float:
        """How long it should take."""
        return sum(visit.expected_s for visit in self.visits)


def make_plan(models: Sequence[Shapes], budget_s: float, *, repeats: int = 1, window_s: float = WINDOW_S, seed: int = 0) -> Plan:
    """Draw up a plan.

    What does not fit the budget is left out: the smaller matrices first, then the same share of every kind's list, the least telling
    cells before the others; idling, launching and copying stay. The order is random but for idling, which comes first on a cool GPU, and
    one cell that is visited at the start, in the middle and at the end: what it drifts by is the noise of the rest.

    Parameters
    ----------
    models : sequence of Shapes
        The first one's first matrix is the drifting cell.
    budget_s : float
        Seconds that all of it may take.
    repeats : int
        Visits to every cell.
    """
    models = _distinct(models)
    idle, basics, drift = _fixed(models[0])
    ranked = [*_by_rank(_lists(models)), *_gemms(models, range(2, 99))]
    spent_s = sum(_expected_s(cell, window_s) for cell in (*idle, drift, drift, drift, *(repeats * basics)))
    kept: list[Cell] = []
    for cell in ranked:
        spent_s += repeats * _expected_s(cell, window_s)
        if spent_s > budget_s:
            break
        kept.append(cell)
    order = [Visit(cell, number, _expected_s(cell, window_s)) for cell in (*basics, *kept) for number in range(repeats)]
    random.Random(seed).shuffle(order)
    resting = [Visit(cell, 0, _expected_s(cell, window_s)) for cell in idle]
    first, middle, last = (Visit(drift, number, _expected_s(drift, window_s)) for number in range(3))
    half = len(order) // 2
    visits = (*resting, first, *order[:half], middle, *order[half:], last)
    return Plan(visits, tuple(ranked[len(kept) :]), window_s)


def _distinct(models: Sequence[Shapes]) -> list[Shapes]:
    """The models without the matrices that an earlier one has too."""
    seen: set[tuple[int, int]] = set()
    found = []
    for model in models:
        found.append(replace(model, matrices=tuple(each for each in model.matrices if (each.k, each.n) not in seen)))
        seen |= {(each.k, each.n) for each in model.matrices}
    return found


def _expected_s(cell: Cell, window_s: float) -> float:
    rest = SETTLE_S if cell.kind == "idle" else WARM_S
    return rest + window_s + SETUP_S + cell.memory_bytes / FILL_BYTES_PER_S


def _by_rank(lists: Iterable[list[Cell]]) -> list[Cell]:
    """All cells, those at the same share of their list side by side."""
    placed = [(place / len(found), number, cell) for number, found in enumerate(lists) for place, cell in enumerate(found)]
    return [cell for _, _, cell in sorted(placed, key=lambda each: each[:2])]


def _fixed(model: Shapes) -> tuple[list[Cell], list[Cell], Cell]:
    """What no budget leaves out: cells at rest; launches and copies; and the cell that shows the drift."""
    rest = [cells.still("idle", part) for part in ("bare", "context")] + [cells.still("idle", "allocated", 32e9)]
    launch = [cells.still("launch", part) for part in ("eager", "graph")]
    copies = [cells.copy(4096), cells.copy(256), *(cells.host(way, size) for way in ("to_gpu", "from_gpu") for size in (256, 1))]
    matrix = model.matrices[0]
    drift = cells.gemm(f"drift_{matrix.part}", model.model, "bf16", tokens=DRIFT_TOKENS, k=matrix.k, n=matrix.n)
    return rest, launch + copies, drift


def _lists(models: Sequence[Shapes]) -> Iterable[list[Cell]]:
    """The cells of every kind, the most telling first."""
    yield _gemms(models, range(2))
    yield from (_in_turn([list_of(model) for model in models]) for list_of in (_experts, _decodes, _prefills))
    yield _duties(models[0])


def _in_turn(lists: Sequence[Sequence[Cell]]) -> list[Cell]:
    """The first cell of every list, then the second ones, and so on."""
    return [cell for row in zip_longest(*lists) for cell in row if cell]


def _gemms(models: Sequence[Shapes], places: Sequence[int]) -> list[Cell]:
    """Both types at all tokens, of every model the matrices at some places: all models' first ones, then the second ones, and so on."""
    return [
        cells.gemm(matrix.part, model.model, dtype, tokens=tokens, k=matrix.k, n=matrix.n)
        for place in places
        for tokens in TOKENS
        for model in models
        for matrix in model.matrices[place : place + 1]
        for dtype in ("bf16", "fp8")
    ]


def _experts(model: Shapes) -> list[Cell]:
    found = model.experts
    if not found:
        return []
    chosen = list(dict.fromkeys(max(1, round(share * found.count)) for share in COVERED))
    return [cells.experts(model.model, chosen=some, of=found.count, rows=rows, k=found.k, n=found.n) for some in chosen for rows in ROWS]


def _decodes(model: Shapes) -> list[Cell]:
    """Over all entries, or over those an indexer picks: at random places among as many as the context leaves."""
    found = []
    for batch, context in CONTEXTS if model.entry.shared else (*CONTEXTS, *LEAN_CONTEXTS):
        held = context // model.ratio
        read = min(model.topk, held) if model.topk else held
        found.append(cells.decode(model.attention, model.model, batch=batch, context=read, held=held, heads=model.heads, entry=model.entry))
    return found


def _prefills(model: Shapes) -> list[Cell]:
    if not model.prompt_entry:
        return []
    return [
        cells.prefill(model.attention, model.model, chunk=chunk, prefix=prefix, heads=model.heads, entry=model.prompt_entry)
        for chunk, prefix in PROMPTS
    ]


def _duties(model: Shapes) -> list[Cell]:
    """A weight-bound and a compute-bound GEMM with pauses."""
    matrix = model.matrices[0]
    works = [cells.gemm(matrix.part, model.model, "bf16", tokens=tokens, k=matrix.k, n=matrix.n) for tokens in (16, 4096)]
    return [cells.duty(work, percent) for percent in BUSY_PERCENT for work in works]
