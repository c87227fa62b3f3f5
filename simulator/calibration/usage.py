"""What a measured row asks of the step-time law: how often it pays each term in its TPOT and in its TTFT.

The benchmark's clients send a first burst of one call each and then one call after another, the same number each. Means over such a run are
close to linear in the law's terms, so these two vectors times the terms estimate a row without playing it; `predict.py` plays it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.calibration.evidence import Row
from simulator.calibration.load import calls_of
from simulator.calibration.serving import Serving
from simulator.hardware.roofline import TERMS
from simulator.hardware.step_law import gpu_kv_read_line, streamed_bytes

LATE_STEPS = 1.5
"""Steps that a call waits for besides its own chunks: on average half of the running one, and the one that samples its first token."""


class Usage(NamedTuple):
    """Times that each of `TERMS` is paid: in the mean time per output token, and in the mean time to first token."""

    tpot: NDArray[np.float64]
    ttft: NDArray[np.float64]


def seated(row: Row, serving: Serving) -> bool:
    """Whether the KV of every client's call fits at once, so that no call waits for another to end."""
    (pool,) = serving.deployment.pools
    tokens = round(_length_share(row) * (row.isl + row.osl))
    blocks = -(-tokens // serving.deployment.block_tokens) + pool.fixed_blocks
    return row.concurrency / pool.ranks * blocks <= pool.blocks_per_rank and row.concurrency / pool.ranks <= pool.max_seqs


def usage_of(row: Row, serving: Serving) -> Usage:
    """The usage vectors of an aggregated row without drafts, on one worker, while every client's call has a seat.

    A step decodes ``concurrency`` sequences. While one of them yields ``osl`` tokens, each other client brings a whole prompt once, but for
    those of the first burst, which queue for each other.
    """
    system, model, deployment = serving.system, serving.model, serving.deployment
    (pool,) = deployment.pools
    batch = row.concurrency / pool.ranks
    share, waves = _length_share(row), calls_of(row) / row.concurrency
    isl, osl = share * row.isl - row.reused, share * row.osl
    pairs = isl * (row.reused + isl / 2)
    fixed, slope = gpu_kv_read_line(model, deployment, pool)
    read_s = batch * (fixed + slope * share * (row.isl + row.osl / 2)) / system.hbm_bytes_per_s
    stream_s = streamed_bytes(model, deployment, pool) / system.hbm_bytes_per_s
    ahead = 1 + (batch - 1) / (2 * waves)
    beside = (batch - 1 / pool.ranks) * (1 - 1 / waves) / osl
    steps = LATE_STEPS + (ahead - 1) * min(1.0, isl / pool.token_budget)

    def streamed(queries: float) -> float:
        return float(stream_s[min(round(queries), len(stream_s) - 1)])

    full, chunks = streamed(pool.token_budget), beside * max(1.0, isl / pool.token_budget)
    decoding = streamed(row.concurrency)
    return Usage(
        tpot=_vector(1.0, 1.0, decoding + chunks * (full - decoding), read_s, batch, beside * isl, beside * pairs, 0.0),
        ttft=_vector(steps, steps, steps * full, 0.0, 0.0, ahead * isl, ahead * pairs, 1.0),
    )


def _length_share(row: Row) -> float:
    """Mean length over the nominal one: the client draws lengths evenly from `Row.length_ratio` to 1 times it."""
    return (1 + row.length_ratio) / 2


def _vector(*values: float) -> NDArray[np.float64]:
    assert len(values) == len(TERMS)
    return np.array(values)
