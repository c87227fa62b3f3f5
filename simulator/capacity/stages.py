"""The stages of a call: the waits and services that add up from its send to its last token. Inputs are rows of an engine's calls."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from simulator.engine.world import FIRST_BY_DECODE, Fleet
from simulator.units import PS_PER_S

ENDS = {
    "decode_seat": "claim_ps",
    "prefill_queue": "admit_ps",
    "prefill": "prefilled_ps",
    "decode_slot": "claim_ps",
    "link_queue": "moved_ps",
    "transfer": "landed_ps",
    "first_decode": "first_ps",
    "decode": "last_ps",
}
"""Stage -> column of the engine's calls that says when it ended. ``decode_seat`` is the wait for a decode seat before the prefill queue
(with ``prealloc``), ``decode_slot`` the same wait after the prefill (without). Routing takes no time: it is part of the first queue."""

WAITS = ("decode_seat", "prefill_queue", "decode_slot", "link_queue")
"""The stages in which a call only waits."""

ROUNDING_S = 1e-9
"""Less than this is what sums of floats leave over, not time."""

NEAR = 2.5
"""Percentile points on either side within which calls count as those *at* a percentile."""


def stage_names(fleet: Fleet) -> tuple[str, ...]:
    """The stages that calls of a fleet can go through, in their order."""
    if not fleet.disaggregated:
        return ("prefill_queue", "prefill", "decode")
    ahead, after = (("decode_seat",), ()) if fleet.prealloc else ((), ("decode_slot",))
    first = ("first_decode",) if fleet.first_token == FIRST_BY_DECODE else ()
    return (*ahead, "prefill_queue", "prefill", *after, "link_queue", "transfer", *first, "decode")


def stage_columns(fleet: Fleet) -> tuple[str, ...]:
    """The columns of the engine's calls that tell the stages: the send, and the end of each."""
    return ("send_ps", *(ENDS[name] for name in stage_names(fleet)))


def stage_ps(fleet: Fleet, column: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """How long each call spent in each stage.

    A stage starts when the one before it ended; one that a call skipped, or that passed behind an earlier one (chunks that moved during
    the prefill), takes no time. So the stages of a call add up to last - send exactly.

    Parameters
    ----------
    fleet : Fleet
    column : mapping of str to int64 array, shape (calls,)
        By the names of `CALL_COLUMNS`.

    Returns
    -------
    int64 array, shape (calls, stages)
        Picoseconds, in the order of `stage_names`; the values of a stage lie side by side.
    """
    return np.stack(list(_spent_ps(fleet, column))).T


def stage_seconds(fleet: Fleet, column: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float64]:
    """`stage_ps` as seconds."""
    seconds = np.empty((len(stage_names(fleet)), len(column["send_ps"])))
    for values, spent in zip(seconds, _spent_ps(fleet, column), strict=True):
        np.divide(spent, float(PS_PER_S), out=values)
    return seconds.T


def _spent_ps(fleet: Fleet, column: Mapping[str, NDArray[np.int64]]) -> Iterator[NDArray[np.int64]]:
    """One stage after another; calls are many, and a table of all their stages in between would be large."""
    start, *ends = (column[name] for name in stage_columns(fleet))
    for end in ends:
        end = np.maximum(start, end)
        yield end - start
        start = end


def before_first(stage_s: NDArray[np.float64], ttft_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of each stage that passed before the call's first token; same shape, its rows add up to the TTFT."""
    parts = np.empty(stage_s.shape[::-1])
    end = np.zeros_like(ttft_s)
    for place, spent in enumerate(stage_s.T):
        end += spent
        part = np.clip(ttft_s - (end - spent), 0.0, spent)
        parts[place] = np.where(part < ROUNDING_S, 0.0, np.where(spent - part < ROUNDING_S, spent, part))
    return parts.T


def at_percentile(values: NDArray[np.float64], percentile: float) -> NDArray[np.int64]:
    """Indices of the calls whose value lies within `NEAR` percentile points of a percentile, at least one; nan is left out."""
    known = np.flatnonzero(~np.isnan(values))
    if not known.size:
        return known
    last = known.size - 1
    low, high = (min(max(p, 0.0), 100.0) / 100 * last for p in (percentile - NEAR, percentile + NEAR))
    return in_order(known, values[known], int(np.ceil(low)), max(int(high), int(np.ceil(low))))


def in_order(places: NDArray[np.int64], values: NDArray[np.float64], first: int, last: int) -> NDArray[np.int64]:
    """Those of the places whose values come ``first`` to ``last`` in ascending order, in that order; equal values stay as they stand.

    Only the values between the two are sorted.
    """
    ends = np.partition(values, (first, last))[[first, last]]
    between = np.flatnonzero((values >= ends[0]) & (values <= ends[1]))
    ahead = int((values < ends[0]).sum())
    order = between[np.argsort(values[between], kind="stable")]
    return places[order[first - ahead : last + 1 - ahead]]
