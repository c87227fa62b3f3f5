"""A cell played on the simulator: when each request would have begun and ended, and of what each of its times would be made.

Inputs are a cell and a measured law. A step's time is linear in the law's coefficients, so the time between two moments is a sum of
*features* (steps, sequences, context tokens, prompt tokens, pairs) times coefficients: what makes a law fit to measured times, of any cell,
is one matrix. Which steps there are depends on the law a little: a fit plays, solves, and plays again.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.calibration.cell import Cell
from simulator.calibration.live_world import Place, cell_world
from simulator.engine.kernel import simulate_kernel
from simulator.engine.world import CALL_COLUMNS, EVENT_CHUNK, EVENT_RANK, EVENT_STEP, Output, Pool
from simulator.hardware.step_law import FRACTION_BITS, StepLaw
from simulator.units import PS_PER_S

Floats = NDArray[np.float64]

STEP, SEQUENCE, CONTEXT, PREFILL, PAIR, QUERY = range(6)
FEATURES = ("step", "sequence", "context", "prefill", "pair", "query")
"""Of a step: one; decoding sequences; their summed context; prompt tokens; pairs of query and context tokens in prompts; query tokens."""

LEAST_CTX_FP = 1 << FRACTION_BITS
"""A picosecond per context token: what contexts are read off durations by."""


class Played(NamedTuple):
    """One request: seconds from the start of the cell, tokens found in the cache, and features of its two times.

    ``prefill`` is made of the steps from ``admit_s`` to ``first_s``, ``wait`` of those from its arrival to its admission, ``decode``
    of those from the first token to the last; each has shape (steps, len(FEATURES)), with ``wait_share`` of the first step of ``wait``.
    """

    sent_s: float
    admit_s: float
    first_s: float
    last_s: float
    cached_tokens: int
    prompt_tokens: int
    output_tokens: int
    wait: slice
    prefill: slice
    decode: slice
    wait_share: float


@dataclass(frozen=True)
class CellPlay:
    """A played cell: its requests by place, and the features of its steps, shape (steps, len(FEATURES)), and when they end."""

    requests: dict[Place, Played]
    steps: Floats
    ends_s: Floats


def play(cell: Cell, pool: Pool, block_tokens: int, request_s: float = 0.0) -> CellPlay:
    """Plays a cell on a cold worker."""
    law = pool.law
    pool = pool._replace(law=law._replace(ctx_fp=max(law.ctx_fp, LEAST_CTX_FP)))
    world, places = cell_world(cell, pool, block_tokens, request_s)
    output = simulate_kernel(world, events=True)
    begin_ps, duration_ps, steps = step_features(output, pool.law)
    ends = begin_ps + duration_ps
    lanes = world.calls.first
    calls = [dict(zip(CALL_COLUMNS, row, strict=True)) for row in output.calls.tolist()]
    requests = {}
    for call in calls:
        place = places[int(lanes[call["trajectory"]]) + call["call"]]
        marks = [call[name] for name in ("send_ps", "admit_ps", "first_ps", "last_ps")]
        sent, admitted, first, last = np.searchsorted(ends, marks, side="right").tolist()
        wait = ends[sent] - marks[0] if sent < admitted else 0
        counts = call["cached_tokens"], call["prompt_tokens"], call["output_tokens"]
        spans = slice(sent, admitted), slice(admitted, first), slice(first, last)
        share = min(1.0, wait / duration_ps[sent]) if sent < admitted else 0.0
        sent_s, admit_s, first_s, last_s = (mark / PS_PER_S for mark in marks)
        requests[place] = Played(sent_s, admit_s, first_s, last_s, *counts, *spans, share)
    return CellPlay(requests, steps, ends / PS_PER_S)


def step_features(output: Output, law: StepLaw) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Begin and duration in ps of each step, and its features.

    The log gives the sequences, chunks and duration of a step; the context of its sequences is what its duration leaves over.
    """
    events = output.events
    kind = events[:, 1]
    ranks, durations, chunks = events[kind == EVENT_RANK], events[kind == EVENT_STEP], events[kind == EVENT_CHUNK]
    worked = ranks[np.isin(ranks[:, 0], durations[:, 0])]
    begin_ps, duration_ps, queries = durations[:, 0], durations[:, 5], durations[:, 7]
    sequences, prefill = worked[:, 5], worked[:, 6]
    twice = chunks[:, 5] * (2 * (chunks[:, 6] - chunks[:, 5]) + chunks[:, 5])
    pairs = np.zeros(len(begin_ps), np.int64)
    np.add.at(pairs, np.searchsorted(begin_ps, chunks[:, 0]), twice)
    shared = law.shared_ps[np.minimum(queries, len(law.shared_ps) - 1)]
    fixed = law.floor_ps + shared + (law.seq_ps + law.decode_token_ps) * sequences
    rest = duration_ps - fixed - law.prefill_token_ps * prefill - (law.pair_fp * pairs >> FRACTION_BITS + 1)
    context = np.rint(rest * (1 << FRACTION_BITS) / law.ctx_fp)
    columns = (np.ones(len(begin_ps)), sequences, np.where(sequences > 0, context, 0.0), prefill, pairs / 2, queries)
    return begin_ps, duration_ps, np.column_stack(columns).astype(np.float64)
