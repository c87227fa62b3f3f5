"""What wider expert parallelism costs: the time that each further GPU adds to every token, fitted to a layer's measured expert module.

Rows are `hardware_profiles/evidence/exchange.csv`: one layer of experts with its all-to-all inside, by width and tokens of each rank. A
wider worker streams fewer experts on each GPU, and waits longer for the rank whose experts are asked most.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulator.calibration.nnls import Floats, relative_fit
from simulator.errors import Mistake, UserError
from simulator.hardware.memory import expert_coverage
from simulator.hardware.model_card import ModelCard
from simulator.hardware.system import System
from simulator.hardware.weights import weight_bytes

COLUMNS = ("id", "system", "model", "ep", "tokens_per_rank", "layer_us", "source", "date", "split")
SKEW = 0.85
"""Routing skew of the system's fitted grid, so that both count the same experts."""


@dataclass(frozen=True)
class ExchangeFit:
    """``layer = floor_s + weights * streamed + tokens * (token_s + wider_s * ep)``, and its median absolute error on either split."""

    floor_s: float
    weights: float
    token_s: float
    wider_s: float
    error: float
    check: float

    def wider_token_s(self, model: ModelCard) -> float:
        """Seconds that each further GPU of expert parallelism adds to a query token, over all layers of experts."""
        return self.wider_s * model.moe_layers


def read_exchange(path: Path) -> list[dict[str, str]]:
    """The rows of the file. Raises `UserError` when its columns are others."""
    with path.open(encoding="utf-8", newline="") as lines:
        table = csv.DictReader(lines)
        if tuple(table.fieldnames or ()) != COLUMNS:
            raise UserError(Mistake(str(path), "header", ",".join(table.fieldnames or ()), ",".join(COLUMNS)))
        return list(table)


def fit_exchange(rows: list[dict[str, str]], system: System, model: ModelCard) -> ExchangeFit:
    """Fits the rows marked ``fit``; those marked ``check`` are other widths."""
    matrix, measured = _matrix(rows, system, model), np.array([float(row["layer_us"]) * 1e-6 for row in rows])
    fitted = np.array([row["split"] == "fit" for row in rows])
    found = relative_fit(matrix[fitted], measured[fitted])
    errors = np.abs(matrix @ found / measured - 1)
    floor, weights, token, wider = found.tolist()
    return ExchangeFit(floor, weights, token, wider, float(np.median(errors[fitted])), float(np.median(errors[~fitted])))


def _matrix(rows: list[dict[str, str]], system: System, model: ModelCard) -> Floats:
    layer_bytes = weight_bytes(model).experts / model.moe_layers
    columns = []
    for row in rows:
        tokens, ep = float(row["tokens_per_rank"]), int(row["ep"])
        streamed = layer_bytes * expert_coverage(model, tokens * ep, SKEW) / ep
        columns.append([1.0, streamed / system.hbm_bytes_per_s, tokens, tokens * ep])
    return np.array(columns)
