"""Efficiencies of the step-time law from a GPU's evidence: time over the datasheet's of bytes and FLOPs, and floors.

Inputs are evidence rows. A kernel's time is a sum, as in docs/laws.md: ``floor + weights * bytes / bandwidth + gemm * FLOPs / peak``. A
third of the cells is held out, by a hash of their ids, and nothing is fitted to it; intervals come from drawing the fitted cells again.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.calibration.gpu_evidence import Row, ok_rows
from simulator.hardware.efficiency import ANY, efficiencies
from simulator.hardware.system import System

Floats = NDArray[np.float64]

OUT_OF = 3
"""One cell in so many is held out."""

DRAWS = 200
INTERVAL = (5.0, 95.0)
FEWEST_CELLS = 4
"""Cells of a kind below which nothing is fitted to it."""

WASTE = 1.25
"""An implementation that moves more than this times the bytes it needs leaves open how much of it the cache caught."""


@dataclass(frozen=True)
class Term:
    """A fitted quantity with its interval."""

    name: str
    value: float
    low: float
    high: float
    unit: str


@dataclass(frozen=True)
class TimeFit:
    """The terms of one kind of kernel, and the median absolute relative error on cells fitted to and held out (nan without any)."""

    kind: str
    terms: tuple[Term, ...]
    cells: int
    error: float
    checked: int
    check_error: float


def held_out(cell: str) -> bool:
    """Whether a cell is kept from the fits: it depends on nothing measured."""
    return hashlib.sha256(cell.encode()).digest()[0] % OUT_OF == 0


def by_cell(rows: Sequence[Row]) -> list[Row]:
    """One row a cell: the mean time and watts of its visits that worked, each over the visits that have it."""
    visits: dict[str, list[Row]] = {}
    for row in ok_rows(rows):
        visits.setdefault(row.cell, []).append(row)
    return [_averaged(found) for found in visits.values()]


def _averaged(visits: Sequence[Row]) -> Row:
    means: dict[str, Any] = {
        name: _mean([getattr(row, name) for row in visits]) for name in ("time_s", "watts", "bytes_per_s", "flop_per_s")
    }
    return replace(visits[0], **means)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def lean(row: Row) -> bool:
    """Whether the kernel that ran moves about the bytes it needs."""
    return row.moved_bytes is not None and row.moved_bytes <= WASTE * row.bytes


Columns = Callable[[Row, System], Mapping[str, float]]


def fit_times(rows: Sequence[Row], system: System, seed: int = 0) -> list[TimeFit]:
    """Fit every kind of kernel that has enough cells.

    Parameters
    ----------
    rows : sequence of Row
        All of a file's; visits to a cell are averaged, and cells that failed or wasted bytes are left out.
    system : System
        Whose datasheet rates the times are compared with.
    """
    cells = by_cell(rows)
    kinds: dict[str, Columns] = {
        "gemm": _gemm_columns,
        "experts": _gemm_columns,
        "decode attention": lambda row, system: {"floor_s": 1.0, "kv": row.bytes / system.hbm_bytes_per_s},
        "prefill attention": lambda row, system: {"floor_s": 1.0, "attention": row.flops / system.flops("bf16")},
    }
    fits = []
    for kind, columns in kinds.items():
        own = [row for row in cells if row.kind == kind.split()[0] and row.time_s and lean(row)]
        if sum(not held_out(row.cell) for row in own) >= FEWEST_CELLS:
            fits.append(_fit(kind, own, [columns(row, system) for row in own], seed))
    return fits


def _gemm_columns(row: Row, system: System) -> Mapping[str, float]:
    return {
        "floor_s": 1.0,
        "weights": row.bytes / system.hbm_bytes_per_s,
        f"gemm_{row.dtype}": row.flops / system.flops(row.dtype),
    }


def _fit(kind: str, rows: Sequence[Row], columns: Sequence[Mapping[str, float]], seed: int) -> TimeFit:
    names = list(dict.fromkeys(name for each in columns for name in each))
    matrix = np.array([[each.get(name, 0.0) for name in names] for each in columns])
    times = np.array([row.time_s for row in rows], dtype=np.float64)
    check = np.array([held_out(row.cell) for row in rows])
    own, goal = matrix[~check], times[~check]
    found = relative_least_squares(own, goal)
    random = np.random.default_rng(seed)
    draws = [random.integers(len(goal), size=len(goal)) for _ in range(DRAWS)]
    spread = np.array([relative_least_squares(own[draw], goal[draw]) for draw in draws])
    low, high = np.percentile(spread, INTERVAL, axis=0)
    terms = tuple(
        Term(name, float(found[i]), float(low[i]), float(high[i]), "s" if name == "floor_s" else "x datasheet")
        for i, name in enumerate(names)
    )
    errors = np.abs(matrix @ found / times - 1)
    return TimeFit(kind, terms, len(goal), _median(errors[~check]), int(check.sum()), _median(errors[check]))


def relative_least_squares(matrix: Floats, target: Floats) -> Floats:
    """The non-negative coefficients with the least squares of relative errors: the best over all choices of columns, which are few."""
    relative, columns = matrix / target[:, None], matrix.shape[1]
    best, least = np.zeros(columns), np.inf
    for size in range(1, columns + 1):
        for chosen in combinations(range(columns), size):
            part = np.linalg.lstsq(relative[:, chosen], np.ones(len(target)), rcond=None)[0]
            loss = float(np.sum((relative[:, chosen] @ part - 1) ** 2))
            if (part >= 0).all() and loss < least:
                best, least = np.zeros(columns), loss
                best[list(chosen)] = part
    return best


def _median(errors: Floats) -> float:
    return float(np.median(errors)) if len(errors) else float("nan")


@dataclass(frozen=True)
class Share:
    """Median achieved shares of peak bandwidth and peak FLOP/s of the GEMMs of one type at one number of tokens, over ``cells`` shapes."""

    dtype: str
    tokens: int
    cells: int
    bandwidth: float
    flops: float


def gemm_shares(rows: Sequence[Row], system: System) -> list[Share]:
    """How near GEMMs come to the datasheet, by tokens."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in by_cell(rows):
        if row.kind == "gemm" and row.time_s and "tokens" in row.sizes:
            groups.setdefault((row.dtype, row.sizes["tokens"]), []).append(row)
    return [
        Share(
            dtype,
            tokens,
            len(found),
            _median(np.array([row.bytes / (row.time_s or 1.0) / system.hbm_bytes_per_s for row in found])),
            _median(np.array([row.flops / (row.time_s or 1.0) / system.flops(dtype) for row in found])),
        )
        for (dtype, tokens), found in sorted(groups.items())
    ]


def drift(rows: Sequence[Row]) -> float | None:
    """Largest over smallest time of the cell that is visited at the start, in the middle and at the end, less one; None without it."""
    times = [row.time_s for row in ok_rows(rows) if row.part.startswith("drift") and row.time_s]
    return max(times) / min(times) - 1 if len(times) > 1 else None


def single(rows: Sequence[Row], kind: str, part: str, field: str) -> float | None:
    """A quantity (``time_s``, ``watts``) of the cell with the most bytes of a kind and part; None if it is missing."""
    found = [row for row in by_cell(rows) if (row.kind, row.part) == (kind, part) and getattr(row, field) is not None]
    return float(getattr(max(found, key=lambda row: row.bytes), field)) if found else None


STACK_TERMS = {
    ("gemm", "weights"): "weights",
    ("experts", "weights"): "weights",
    ("gemm", "gemm_bf16"): "prefill_gemm",
    ("gemm", "gemm_fp8"): "prefill_gemm",
    ("experts", "gemm_bf16"): "prefill_experts",
    ("decode attention", "kv"): "kv",
    ("prefill attention", "attention"): "prefill_attention",
}
"""Kind and term here -> the efficiency of serving stacks that it is part of (`simulator/hardware/efficiency.py`)."""


def stack_span(system: str, kind: str, term: str) -> tuple[float, float] | None:
    """Least and greatest value that serving stacks on a system show of a term, engine by engine; None where there is none."""
    name = STACK_TERMS.get((kind, term))
    rows = [row for row in efficiencies().values() if row.system == system and row.model == ANY]
    values = [float(getattr(row.efficiency, name)) for row in rows] if name else []
    return (min(values), max(values)) if values else None
