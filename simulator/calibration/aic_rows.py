"""The sampled cells of derived deployments as evidence: written by ``profiles derive --cells``, fitted again by ``agentwatt fit``.

Inputs are `hardware_profiles/evidence/aic_cells.csv` and the deployments it names; nothing of aiconfigurator is needed.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from simulator.calibration.aic_cells import Cell, Worker
from simulator.calibration.aic_fit import fit_law, predicted_s, seconds, steps_of
from simulator.calibration.aic_overlay import law_keys
from simulator.calibration.refit import Coefficient, Miss, Refit
from simulator.catalog import folder
from simulator.hardware.deployment import LawCoefficients
from simulator.hardware.load import load_deployment, load_model, load_system

COLUMNS = ("deployment", "phase", "batch", "chunk", "context", "ms", "split")
SPLITS = {True: "fit", False: "check"}


def cells_text(name: str, cells: Iterable[Cell]) -> str:
    """Cells of a deployment as CSV, with the header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((name, c.phase, c.batch, c.chunk, c.context, f"{1e3 * c.seconds:.6g}", SPLITS[c.fitted]) for c in cells)
    return text.getvalue()


def shipped_cells() -> dict[str, list[Cell]]:
    """Cells by deployment."""
    found: dict[str, list[Cell]] = {}
    with (folder("evidence") / "aic_cells.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            counts = int(row["batch"]), int(row["chunk"]), int(row["context"])
            cell = Cell(row["phase"], *counts, float(row["ms"]) / 1e3, row["split"] == SPLITS[True])
            found.setdefault(row["deployment"], []).append(cell)
    return found


def cell_fits() -> list[Refit]:
    """Every deployment derived from operator tables: its coefficients fitted again, and the errors of its law by phase and split."""
    return [_refit(name, cells) for name, cells in shipped_cells().items()]


def _refit(name: str, cells: list[Cell]) -> Refit:
    worker, stated = worker_of(name)
    again = fit_law(worker, cells).law
    coefficients = tuple(Coefficient(key, getattr(stated, key), getattr(again, key)) for key in law_keys(again))
    cells = steps_of(cells)
    off = predicted_s(worker, cells, stated) / seconds(cells) - 1
    misses = []
    for phase in ("decode", "prefill"):
        for fitted, split in SPLITS.items():
            mine = np.array([cell.phase == phase and cell.fitted == fitted for cell in cells])
            misses.append(Miss(phase, split, off[mine]))
    return Refit(f"deployments/{name}", coefficients, tuple(misses))


def worker_of(name: str) -> tuple[Worker, LawCoefficients]:
    """The worker of a derived deployment, and its law without host work."""
    deployment = load_deployment(name)
    (pool,) = deployment.pools
    system, model = load_system(deployment.system), load_model(deployment.model)
    stored = deployment.weight_type, deployment.kv_type, deployment.index_type
    return Worker(system, model, pool.attention, pool.gpus_per_worker, *stored), replace(pool.law, host_s=0.0)
