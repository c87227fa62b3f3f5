"""The step-time law fitted to sampled cells: coefficients with their errors by phase, in-sample and held back.

Inputs are cells (`aic_cells.py`) and the worker whose bytes they stream and read. The law is linear in all coefficients but the routing
skew, which is searched; the others come from non-negative least squares of relative errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simulator.calibration.aic_cells import Cell, Worker
from simulator.calibration.nnls import nnls
from simulator.hardware.deployment import LawCoefficients
from simulator.hardware.memory import expert_coverage, kv_read_line, kv_share, weight_bytes
from simulator.hardware.schemas import DEPLOYMENT

SKEWS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)

LEAST = np.array([0.0, 1 / DEPLOYMENT["hbm_efficiency"].high, 1 / DEPLOYMENT["kv_efficiency"].high, 0.0, 0.0, 0.0])
"""Lower bounds of floor, times over the datasheet's of weights and of KV, decode token, prefill token and pair."""


@dataclass(frozen=True)
class Errors:
    """Absolute relative errors of some cells."""

    cells: int
    median: float
    worst: float


@dataclass(frozen=True)
class Fit:
    """A law, and how far it is from the cells: by ``(phase, split)``, the split being ``fit`` or ``check``."""

    law: LawCoefficients
    errors: dict[tuple[str, str], Errors]
    at_bound: tuple[str, ...]


def fit_law(worker: Worker, cells: Sequence[Cell]) -> Fit:
    """Fit the law to the cells that are for it, and judge it on all.

    Raises
    ------
    ValueError
        When a phase has no cells to fit.
    """
    used = [cell for cell in steps_of(cells) if cell.fitted]
    if {cell.phase for cell in used} != {"decode", "prefill"}:
        raise ValueError("the tables know no decode steps or no prefill chunks of this set-up")
    skews = SKEWS if not worker.model.dense else (1.0,)
    trials = [(skew, _coefficients(columns(worker, used, skew), seconds(used))) for skew in skews]
    skew, found = min(trials, key=lambda trial: _loss(columns(worker, used, trial[0]) @ trial[1], seconds(used)))
    law = LawCoefficients(
        floor_s=found[0],
        host_s=0.0,
        routing_skew=skew,
        hbm_efficiency=1 / found[1],
        kv_efficiency=1 / found[2],
        decode_token_s=found[3],
        prefill_token_s=found[4],
        prefill_pair_s=found[5],
        prefill_expert_s=min(_expert_token_s(cells), found[4]),
        fitted_ep=worker.gpus,
    )
    names = ("floor_s", "hbm_efficiency", "kv_efficiency", "decode_token_s", "prefill_token_s", "prefill_pair_s")
    bound = tuple(name for name, value, least in zip(names, found, LEAST, strict=True) if value <= least * (1 + 1e-9))
    return Fit(_rounded(law), errors_of(worker, steps_of(cells), _rounded(law)), bound)


def steps_of(cells: Sequence[Cell]) -> list[Cell]:
    """The cells that are whole steps."""
    return [cell for cell in cells if cell.phase != "experts"]


def _expert_token_s(cells: Sequence[Cell]) -> float:
    """Seconds of a prompt token's experts beyond a floor, from the cells that are for the fit; 0 without any."""
    used = [cell for cell in cells if cell.phase == "experts" and cell.fitted]
    if not used:
        return 0.0
    matrix, target = np.array([[1.0, cell.chunk] for cell in used]), seconds(used)
    return float(nnls(matrix / target[:, None], np.ones(len(used)))[1])


def columns(worker: Worker, cells: Sequence[Cell], skew: float) -> NDArray[np.float64]:
    """Seconds of each cell per unit of each coefficient, shape (cells, 6), in the order of `LEAST`."""
    weights = weight_bytes(worker.model, worker.weight_type)
    fixed, slope = kv_read_line(worker.model, worker.kv_type, worker.index_type)
    share, bandwidth = kv_share(worker.model, worker.tp), worker.system.hbm_bytes_per_s
    rows = []
    for cell in cells:
        chosen = expert_coverage(worker.model, worker.ranks * (cell.batch + cell.chunk), skew)
        streamed = weights.experts * chosen / worker.gpus + (weights.dense + weights.head) / worker.tp
        read = cell.batch * (fixed + slope * cell.context) * share
        pairs = cell.chunk * (cell.context + cell.chunk / 2)
        rows.append([1.0, streamed / bandwidth, read / bandwidth, cell.batch, cell.chunk, pairs])
    return np.array(rows, dtype=np.float64)


def seconds(cells: Sequence[Cell]) -> NDArray[np.float64]:
    """The sampled times."""
    return np.array([cell.seconds for cell in cells])


def predicted_s(worker: Worker, cells: Sequence[Cell], law: LawCoefficients) -> NDArray[np.float64]:
    """What a law says of the cells."""
    parts = (law.floor_s + law.host_s, 1 / law.hbm_efficiency, 1 / law.kv_efficiency)
    tokens = (law.decode_token_s, law.prefill_token_s, law.prefill_pair_s)
    found: NDArray[np.float64] = columns(worker, cells, law.routing_skew) @ np.array((*parts, *tokens))
    return found


def errors_of(worker: Worker, cells: Sequence[Cell], law: LawCoefficients) -> dict[tuple[str, str], Errors]:
    """Errors of a law by phase and split."""
    off = np.abs(predicted_s(worker, cells, law) / seconds(cells) - 1)
    found = {}
    for phase in ("decode", "prefill"):
        for split in ("fit", "check"):
            mine = off[[cell.phase == phase and cell.fitted == (split == "fit") for cell in cells]]
            if len(mine):
                found[phase, split] = Errors(len(mine), float(np.median(mine)), float(mine.max()))
    return found


def _coefficients(matrix: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares of relative errors above the lower bounds."""
    relative = matrix / target[:, None]
    return LEAST + nnls(relative, 1.0 - relative @ LEAST)


def _loss(predicted: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    return float(np.square(predicted / target - 1).sum())


def _rounded(law: LawCoefficients) -> LawCoefficients:
    """Four digits, as a profile says it, so that the error told is that of the law played."""
    return replace(law, **{name: float(f"{value:.4g}") for name, value in vars(law).items() if isinstance(value, float)})  # type: ignore[arg-type]
