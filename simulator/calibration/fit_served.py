"""Fits what a served engine takes over the sum of its operators (`served.py`), by playing the rows that may be fitted to.

Inputs are evidence rows whose law comes from operator tables. A prompt stops the decoding calls of its worker, so a row's TPOT tells how
long prompts take although nothing in it is a prompt's; what the TTFT of a call that did not queue then lacks is the front end.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simulator.calibration.evidence import Row
from simulator.calibration.fit_law import FEWEST, TTFT_WEIGHT, is_early
from simulator.calibration.load import compiled_load, load_key
from simulator.calibration.predict import SEED, Prediction, play_row
from simulator.calibration.serving import Serving, lacking, serve, serving_key
from simulator.capacity.context import context_limit
from simulator.capacity.fleet import engine_pools
from simulator.hardware.deployment import Deployment
from simulator.hardware.served import PREFILL, Served, served_over
from simulator.workload.compile import Compiled

FACTORS = np.arange(100, 251, 5) / 100
"""What is tried: prompts that take as long as their operators, to two and a half times that."""

FAMILIES = (("sglang", "deepseek_v4"),)
"""Engines and families of models with served rows on laws from operator tables."""


@dataclass(frozen=True)
class Trial:
    """A row, and its load and serving with the operators' own law."""

    row: Row
    serving: Serving
    load: Compiled

    def errors(self, prefill: float) -> tuple[float, float]:
        """Relative error of TPOT, and ms that the TTFT lacks, when prompts take so many times as long."""
        played = self.played(longer(self.serving.deployment, prefill), request_s=0.0)
        return played.tpot_ms / self.row.tpot_ms - 1, self.row.ttft_ms - played.ttft_ms

    def played(self, deployment: Deployment, request_s: float) -> Prediction:
        """The row on a deployment with another law, behind a front end that takes so many seconds."""
        pools = engine_pools(self.serving.system, self.serving.model, deployment)
        return play_row(self.row, self.serving._replace(deployment=deployment, pools=pools, request_s=request_s), self.load, SEED)


def longer(deployment: Deployment, factor: float) -> Deployment:
    """The deployment with the time of its prompts' tokens times a factor."""
    pools = [replace(p, law=replace(p.law, **{key: factor * getattr(p.law, key) for key in PREFILL})) for p in deployment.pools]
    return replace(deployment, pools=tuple(pools))


def served_fits(rows: Iterable[Row]) -> list[Served]:
    """The table, one row for each of `FAMILIES` with rows enough."""
    mine = [row for row in rows if row.split == "fit" and not lacking(row) and row.mode == "agg"]
    found = []
    for engine, family in FAMILIES:
        trials = trials_of(row for row in mine if row.engine == engine and row.model.startswith(family))
        used = [trial for trial in trials if trial.serving.on_tables]
        if len(used) >= FEWEST:
            found.append(_fitted(engine, family, used))
    return found


def trials_of(rows: Iterable[Row]) -> list[Trial]:
    """The rows ready to be played."""
    found = []
    for row in rows:
        serving, over = serve(serving_key(row)), served_over(row.engine, row.model)
        if over is not None and serving.on_tables:
            serving = serving._replace(deployment=longer(serving.deployment, 1 / over.prefill))
        limit, _ = context_limit(serving.deployment)
        found.append(Trial(row, serving, compiled_load(load_key(row, serving.deployment), limit, SEED)))
    return found


def _fitted(engine: str, family: str, trials: Sequence[Trial]) -> Served:
    """The factor with the least squares of relative errors, and the front end that suits it."""
    early = np.array([is_early(trial.row) for trial in trials])
    ttft_ms = np.array([trial.row.ttft_ms for trial in trials])[early]
    best = (np.inf, 0.0, 0.0, np.zeros(0), np.zeros(0))
    for factor in FACTORS:
        tpot, lacks_ms = np.array([trial.errors(factor) for trial in trials]).T
        request_ms = max(0.0, float(np.median(lacks_ms[early]))) if early.any() else 0.0
        ttft = (request_ms - lacks_ms[early]) / ttft_ms
        loss = _squares(tpot) + TTFT_WEIGHT * _squares(ttft)
        if loss < best[0]:
            best = loss, float(factor), request_ms / 1e3, tpot, ttft
    _, factor, request_s, tpot, ttft = best
    return Served(engine, family, factor, request_s, len(trials), _median(tpot), _median(ttft))


def _squares(errors: NDArray[np.float64]) -> float:
    return float(np.square(errors).sum())


def _median(errors: NDArray[np.float64]) -> float:
    return float(np.median(np.abs(errors))) if len(errors) else 0.0
