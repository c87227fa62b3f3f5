"""Fits the step law of a deployment to measured steps again: relative least squares, decode and prefill together. Rows are `grid.py`'s.

Weight streaming is set by ``routing_skew`` and ``hbm_efficiency``, which are held; what is left of each row is linear in the other five
coefficients. None of them turns negative without being forced.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.calibration.evidence import SPLITS
from simulator.calibration.grid import StepRow, step_rows
from simulator.calibration.refit import Coefficient, Miss, Refit
from simulator.hardware.deployment import Deployment, WorkerPool
from simulator.hardware.load import load_deployment, load_model, load_system
from simulator.hardware.memory import expert_coverage, weight_bytes
from simulator.hardware.model_card import ModelCard
from simulator.hardware.step_law import StepLaw, gpu_kv_read_line, step_law
from simulator.hardware.system import System

BARE = {"drafts": 0, "host_s": 0.0, "token_budget": 16_384, "max_seqs": 512}
"""Switches of a worker as the grid was measured: no drafts, no engine around it, steps of any size."""

DP4 = {"workers": 18, "gpus_per_worker": 4, "ranks": 4, "ep": 4}


@dataclass(frozen=True)
class Grid:
    """A deployment whose law was fitted to rows of the evidence.

    Attributes
    ----------
    layout : mapping
        What to change of the deployment to have the worker that was measured.
    fitted : tuple of str
        The coefficients that were fitted to the rows; the others are held.
    """

    deployment: str
    layout: dict[str, int]
    fitted: tuple[str, ...]


ALL = ("floor_s", "kv_efficiency", "decode_token_s", "prefill_token_s", "prefill_pair_s")
"""Coefficients in which a step is linear once its streaming is known."""

HELD = ("routing_skew", "hbm_efficiency")
"""What sets the streaming: chosen on the same rows by a grid search (docs/laws.md), by hand on H200."""

GRIDS = (
    Grid("gb300_nvl72_v4pro_20tps", DP4, ALL),
    Grid("hgx_b200_v4pro_20tps", {}, ALL),
    Grid("hgx_b300_v4pro_20tps", {}, ALL),
    Grid("hgx_h200_v4pro_20tps", {}, ("floor_s", "decode_token_s")),
)


@dataclass(frozen=True)
class Worker:
    """What a grid was measured on, loaded."""

    system: System
    model: ModelCard
    deployment: Deployment
    pool: WorkerPool
    law: StepLaw


def worker_of(grid: Grid) -> Worker:
    """The deployment of a grid, switched and laid out as measured."""
    deployment = load_deployment(grid.deployment, BARE | grid.layout)
    system, model, (pool,) = load_system(deployment.system), load_model(deployment.model), deployment.pools
    return Worker(system, model, deployment, pool, step_law(system, model, deployment, pool))


def rows_of(worker: Worker, rows: Sequence[StepRow]) -> list[StepRow]:
    """The rows that were measured on this worker."""
    pool = worker.pool
    key = (worker.system.name, worker.model.name, pool.gpus_per_worker, pool.attention)
    return [row for row in rows if (row.system, row.model, row.gpus, row.attention) == key]


def predicted_ms(worker: Worker, row: StepRow) -> float:
    """The step law's time of a row: the docstring of `StepLaw`, for ranks that all do the same and no drafts."""
    law, queries = worker.law, row.batch + row.chunk
    ps = law.floor_ps + int(law.shared_ps[min(worker.pool.ranks * queries, len(law.shared_ps) - 1)])
    ps += law.seq_ps * row.batch + (law.ctx_fp * row.batch * row.context >> 10) + law.decode_token_ps * row.batch
    ps += law.prefill_token_ps * row.chunk + (law.pair_fp * row.chunk * (2 * row.prefix + row.chunk) >> 11)
    return ps / 1e9


def stated(worker: Worker, name: str) -> float:
    """A coefficient as the profile has it."""
    return float(getattr(worker.pool.law, name))


def fit_again(grid: Grid, worker: Worker, rows: Sequence[StepRow]) -> dict[str, float]:
    """The coefficients of a grid, fitted to its rows; those that it holds are taken off the measured times first."""
    seconds = np.array([row.ms / 1e3 for row in rows])
    streaming = np.array([_streaming_s(worker, row) for row in rows])
    terms = np.array([list(_terms(worker, row).values()) for row in rows])
    fitted = np.array([name in grid.fitted for name in ALL])
    held = terms[:, ~fitted] @ np.array([_linear(name, stated(worker, name)) for name in ALL if name not in grid.fitted])
    found = _least_squares(terms[:, fitted] / seconds[:, None], (seconds - streaming - held) / seconds)
    return {name: _linear(name, value) for name, value in zip(grid.fitted, found.tolist(), strict=True)}


def _least_squares(matrix: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    scale = matrix.max(axis=0)
    found: NDArray[np.float64] = np.linalg.lstsq(matrix / scale, target, rcond=None)[0] / scale
    return found


def _linear(name: str, value: float) -> float:
    """What is linear in a step's time: an efficiency's inverse, all others themselves; its own inverse."""
    return 1 / value if name == "kv_efficiency" else value


def _terms(worker: Worker, row: StepRow) -> dict[str, float]:
    """What a row multiplies each coefficient with, in the order of `ALL`."""
    fixed, slope = gpu_kv_read_line(worker.model, worker.deployment, worker.pool)
    return {
        "floor_s": 1.0,
        "kv_efficiency": row.batch * (fixed + slope * row.context) / worker.system.hbm_bytes_per_s,
        "decode_token_s": row.batch,
        "prefill_token_s": row.chunk,
        "prefill_pair_s": row.chunk * (row.prefix + row.chunk / 2),
    }


def _streaming_s(worker: Worker, row: StepRow) -> float:
    """Time of the weights that a step streams, at the profile's skew and efficiency."""
    pool, weights = worker.pool, weight_bytes(worker.model, worker.deployment.weight_type)
    spread = pool.gpus_per_worker if pool.attention == "tp" else 1
    coverage = expert_coverage(worker.model, pool.ranks * (row.batch + row.chunk), pool.law.routing_skew)
    streamed = weights.experts * coverage / pool.ep + (weights.dense + weights.head) / spread
    return streamed / (pool.law.hbm_efficiency * worker.system.hbm_bytes_per_s)


def grid_fits() -> list[Refit]:
    """Every deployment whose law rests on a grid: its coefficients fitted again, and the errors of its law by phase and split."""
    rows, found = step_rows(), []
    for grid in GRIDS:
        worker = worker_of(grid)
        mine = rows_of(worker, rows)
        again = fit_again(grid, worker, [row for row in mine if row.split == "fit"])
        coefficients = tuple(Coefficient(name, stated(worker, name), value) for name, value in again.items())
        misses = tuple(
            Miss(phase, split, np.array([predicted_ms(worker, row) / row.ms - 1 for row in chosen]))
            for phase in ("decode", "prefill")
            for split in SPLITS
            if (chosen := [row for row in mine if (row.phase, row.split) == (phase, split)])
        )
        found.append(Refit(f"deployments/{grid.deployment}", coefficients, misses))
    return found
