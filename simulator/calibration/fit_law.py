"""Fits the efficiencies of serving stacks to measured rows: all stacks together, each engine, each system and engine, and each model on it.

Rows are aggregated evidence rows without drafts. Each level starts from the one above and moves as far as its own rows ask, so a model with
few rows stays near its stack, and a stack near its engine. The result is `hardware_profiles/laws/efficiencies.csv`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from simulator.calibration.evidence import Row
from simulator.calibration.nnls import Floats, relative_fit
from simulator.calibration.serving import Serving, ServingKey, lacking, serve, serving_key
from simulator.calibration.usage import seated, usage_of
from simulator.errors import UserError
from simulator.hardware.efficiency import ANY, NAMES, Efficiency, Fitted
from simulator.hardware.roofline import Layout, law_matrix
from simulator.hardware.weights import weight_bits

START = Efficiency(
    host_s=2e-3,
    request_s=20e-3,
    layer_s=50e-6,
    moe_layer_s=30e-6,
    latent_layer_s=10e-6,
    index_layer_s=20e-6,
    collective_s=5e-6,
    weights=1.25,
    kv=1.5,
    sequence_s=20e-6,
    decode_gemm=1.0,
    prefill_gemm=2.0,
    prefill_experts=3.0,
    prefill_attention=2.0,
    link=1.5,
)
"""Where the fit of all stacks starts, with a weak pull: orders of magnitude of operator tables (docs/laws.md), not coefficients in use."""

FLOORS = {"weights": 1.0, "kv": 1.0, "prefill_gemm": 1.0, "prefill_experts": 1.0, "prefill_attention": 1.0}
"""No stack streams or multiplies faster than its datasheet. Decoding GEMMs and links may hide behind memory, so they have no such bound."""

PULLS = (0.1, 0.3, 0.3, 0.1)
"""Pull towards the level above: of all stacks, an engine, a system and engine, and a model on it. With `TTFT_WEIGHT` the best of a few,
by leaving out a fourth of the fit rows' curves in turn."""

TTFT_WEIGHT = 0.3
"""TTFT scatters more than TPOT (bursts, front ends), so a TTFT row counts less."""

LONGEST_TTFT = 120
"""A TTFT of more output-token times than this is a queue for seats or KV, which no law of one step tells."""

FEWEST = 4
"""Fit rows below which a level has no row of its own."""


def is_early(row: Row) -> bool:
    """Whether the TTFT of a row tells the law and not a queue."""
    return row.ttft_ms < LONGEST_TTFT * row.tpot_ms


@dataclass(frozen=True)
class Sample:
    """A measured row as the fit sees it: seconds, and seconds per unit of each efficiency, shape (`NAMES`,)."""

    row: Row
    bits: str
    tpot: Floats
    ttft: Floats

    @property
    def fit(self) -> bool:
        """Whether the row may be fitted to."""
        return self.row.split == "fit"

    @property
    def early(self) -> bool:
        """Whether its TTFT tells the law and not a queue."""
        return is_early(self.row)

    @property
    def keys(self) -> tuple[tuple[str, str, str, str], ...]:
        """Those of the table that may speak for the row, the most general first."""
        row = self.row
        return (ANY,) * 4, (ANY, row.engine, ANY, ANY), (row.system, row.engine, ANY, ANY), (row.system, row.engine, row.model, self.bits)


def samples_of(rows: Iterable[Row]) -> list[Sample]:
    """The rows that tell a law: aggregated, without drafts, in a layout and of profiles that ship, and with a seat for every client."""
    servings: dict[ServingKey, Serving | None] = {}
    found = []
    for row in rows:
        if row.drafts or lacking(row) or not {"ttft_ms", "tpot_ms"} <= set(row.measured):
            continue
        key = serving_key(row)._replace(osl=1)  # the law does not depend on it
        if key not in servings:
            servings[key] = _served(key)
        serving = servings[key]
        if serving is not None and seated(row, serving):
            found.append(_sample(row, serving))
    return found


def _served(key: ServingKey) -> Serving | None:
    """The deployment of a key; none when its weights do not fit."""
    try:
        return serve(key)
    except UserError:
        return None


def _sample(row: Row, serving: Serving) -> Sample:
    """A row's usage of the law's terms, turned into usage of efficiencies."""
    deployment = serving.deployment
    (pool,) = deployment.pools
    matrix = law_matrix(serving.system, serving.model, Layout(pool.attention, pool.gpus_per_worker, deployment.compute_type))
    usage = usage_of(row, serving)
    return Sample(row, weight_bits(serving.model, deployment.weight_type), usage.tpot @ matrix, usage.ttft @ matrix)


def fit_table(
    samples: Sequence[Sample], pulls: Sequence[float] = PULLS, chosen: Callable[[Sample], bool] = lambda s: s.fit
) -> list[Fitted]:
    """The table of efficiencies, the most general rows first.

    Parameters
    ----------
    samples : sequence of Sample
    pulls : sequence of float
        One for each level of `Sample.keys`.
    chosen : callable
        Which samples are fitted; the others are held back and only judged.
    """
    table: dict[tuple[str, str, str, str], Fitted] = {}
    for level, pull in enumerate(pulls):
        for key in sorted({s.keys[level] for s in samples}):
            mine = [s for s in samples if s.keys[level] == key]
            used = [s for s in mine if chosen(s)]
            if len(used) >= FEWEST:
                above = next((table[k].efficiency for k in reversed(mine[0].keys[:level]) if k in table), START)
                table[key] = _fitted(key, _fit(used, above, pull), used, [s for s in mine if not chosen(s)])
    return list(table.values())


def _fit(samples: Sequence[Sample], above: Efficiency, pull: float) -> Efficiency:
    """Efficiencies of one level: TPOT of every row, and TTFT of those that did not queue."""
    early = [s for s in samples if s.early]
    matrix = np.array([s.tpot for s in samples] + [s.ttft for s in early])
    target = np.array([s.row.tpot_ms for s in samples] + [s.row.ttft_ms for s in early]) / 1e3
    weight = np.array([1.0] * len(samples) + [TTFT_WEIGHT] * len(early))
    least = np.array([FLOORS.get(name, 0.0) for name in NAMES])
    prior = np.array(astuple(above))
    return Efficiency(*relative_fit(matrix, target, weight=weight, prior=prior, pull=pull, least=least).tolist())


def _fitted(key: tuple[str, str, str, str], efficiency: Efficiency, used: Sequence[Sample], held: Sequence[Sample]) -> Fitted:
    return Fitted(
        *key,
        efficiency=efficiency,
        rows=len(used),
        checked=len(held),
        tpot_error=median_error(efficiency, used, "tpot"),
        ttft_error=median_error(efficiency, used, "ttft"),
        tpot_check=median_error(efficiency, held, "tpot"),
        ttft_check=median_error(efficiency, held, "ttft"),
    )


def median_error(efficiency: Efficiency, samples: Iterable[Sample], quantity: str) -> float:
    """Median absolute relative error of the estimate, over rows that did not queue for TTFT; nan without any."""
    known = [s for s in samples if quantity == "tpot" or s.early]
    return float(np.median([abs(error(efficiency, s, quantity)) for s in known])) if known else float("nan")


def error(efficiency: Efficiency, one: Sample, quantity: str) -> float:
    """Signed relative error of the estimate of one row's ``tpot`` or ``ttft``."""
    estimate = float(getattr(one, quantity) @ np.array(astuple(efficiency)))
    measured: float = getattr(one.row, f"{quantity}_ms") / 1e3
    return estimate / measured - 1
