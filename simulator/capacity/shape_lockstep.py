"""How long the slowest rank of a worker prefills, when calls come at random to ranks that step together. Inputs are prefill times of calls.

A step lasts as long as its slowest rank. Calls come to a rank as a Poisson stream, so the work that reaches it between two openings for
prefill is a compound Poisson sum, and the step waits for the largest of ``ranks`` independent such sums. A rank does a chunk at an opening,
and the rest waits: a queue by Lindley's recursion. Where an opening does not end while calls wait, only long calls come in pieces of a
chunk.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

BINS = 1 << 12
FULL = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.94, 0.97, 0.985)
"""Mean work of a rank per opening over the chunk, at which the table of queues is worked out; at 1 a queue grows without end."""
CALLS = (0.0, *(float(x) for x in np.geomspace(1 / 64, 512, 37)))
"""Mean calls of a rank per opening, likewise for pieces."""
KEPT = (0.0, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0)
"""Shares of calls that find their prefix, likewise. Between its cells a table is linear."""
MOST_ROUNDS = 400
SETTLED = 1e-4
"""Share of the mean work that may be missing from what a settled queue does per opening."""


@dataclass(frozen=True)
class Opening:
    """What an opening for prefill takes.

    Attributes
    ----------
    slowest_ps : float
        Prefill time of the slowest rank; infinite when more comes than can be done.
    mean, tail : float
        Openings until a call is computed: mean, and at the percentile asked for; at least 1.
    """

    slowest_ps: float
    mean: float = 1.0
    tail: float = 1.0


NEVER = Opening(math.inf, math.inf, math.inf)


class PrefillWork:
    """The prefill work of a workload's calls, and tables of what openings take.

    Parameters
    ----------
    hit_ps, miss_ps : float64 array, shape (calls,)
        Prefill time of each call when its prefix is in the cache, and when nothing is.
    percentile : float
        Of the calls, for `Opening.tail`.
    """

    def __init__(self, hit_ps: Values, miss_ps: Values, percentile: float) -> None:
        self.values, self.percentile = np.concatenate((hit_ps, miss_ps)), percentile
        self.hits, self.misses = len(hit_ps), len(miss_ps)
        self.hit_mean_ps, self.miss_mean_ps = float(hit_ps.mean()), float(miss_ps.mean())
        self.cells: dict[tuple[bool, int, float, int, int], Values] = {}
        self.queues: dict[tuple[float, int, int], Queue] = {}

    def mean_ps(self, kept: float) -> float:
        """Mean prefill time of a call when a share ``kept`` of them finds its prefix."""
        return kept * self.hit_mean_ps + (1 - kept) * self.miss_mean_ps

    def queued(self, ranks: int, calls: float, kept: float, chunk_ps: float) -> Opening:
        """An opening of ``ranks`` ranks that get ``calls`` calls each on average, do ``chunk_ps`` at most and queue the rest."""
        full = calls * self.mean_ps(kept) / chunk_ps
        if full > FULL[-1]:
            return NEVER
        factor, mean, tail = self._between(False, ranks, chunk_ps, kept, FULL, full)
        return Opening(float(factor) * full * chunk_ps, float(mean), float(tail))

    def flushed(self, ranks: int, calls: float, kept: float, chunk_ps: float) -> Opening:
        """The same when an opening goes on while calls wait, so that only long calls without one behind them come in pieces."""
        if calls > CALLS[-1]:
            return NEVER
        factor, mean, tail = self._between(True, ranks, chunk_ps, kept, CALLS, calls)
        return Opening(float(factor) * calls * self.mean_ps(kept), float(mean), float(tail))

    def _between(self, flush: bool, ranks: int, chunk_ps: float, kept: float, grid: tuple[float, ...], value: float) -> Values:
        """Slowest over mean work, and openings, interpolated in a table."""
        row, across = _place(KEPT, kept)
        column, along = _place(grid, value)
        found = np.zeros(3)
        for r, weight in ((row, 1 - across), (row + 1, across)):
            if weight:
                low, high = (self._cell(flush, ranks, chunk_ps, r, c) for c in (column, column + 1))
                found += weight * ((1 - along) * low + along * high)
        return found

    def _cell(self, flush: bool, ranks: int, chunk_ps: float, row: int, column: int) -> Values:
        key = flush, ranks, chunk_ps, row, column
        if key not in self.cells:
            kept = KEPT[row]
            shares = np.repeat((kept / self.hits, (1 - kept) / self.misses), (self.hits, self.misses))
            if flush:
                calls = max(CALLS[column], CALLS[1] / 16)
                found = flushing(ranks, calls, self.values, shares, chunk_ps, self.percentile)
            else:
                calls = max(FULL[column], FULL[1] / 16) * chunk_ps / self.mean_ps(kept)
                if (chunk_ps, row, column) not in self.queues:
                    self.queues[chunk_ps, row, column] = queueing(calls, self.values, shares, chunk_ps, self.percentile)
                found = self.queues[chunk_ps, row, column].opening(ranks)
            self.cells[key] = np.array([found.slowest_ps / (calls * self.mean_ps(kept)), found.mean, found.tail])
        return self.cells[key]


@dataclass(frozen=True)
class Queue:
    """A rank that does a chunk at each opening and queues the rest, in equilibrium.

    Attributes
    ----------
    below : float64 array, shape (bins of a chunk,)
        Probability that an opening has at most so many bins of work.
    width_ps, done_ps : float
        Width of a bin, and mean work of an opening.
    mean, tail : float
        As of `Opening`.
    """

    below: Values
    width_ps: float
    done_ps: float
    mean: float
    tail: float

    def opening(self, ranks: int) -> Opening:
        """An opening of several such ranks."""
        slowest = self.done_ps if ranks == 1 else float((1 - self.below**ranks).sum() * self.width_ps)
        return Opening(slowest, self.mean, self.tail)


def queueing(calls: float, values: Values, shares: Values, chunk_ps: float, percentile: float) -> Queue:
    """The queue of a rank that does ``chunk_ps`` at most at an opening.

    Parameters
    ----------
    calls : float
        That reach the rank from one opening to the next, on average.
    values, shares : float64 array, shape (n,)
        Prefill times in picoseconds, and how often each occurs in a call.
    """
    arriving, single, width = _arriving(calls, values, shares, chunk_ps)
    budget = max(1, round(chunk_ps / width))
    present = _settled(arriving, budget) if budget < BINS else arriving
    below = np.minimum(np.cumsum(present), 1.0)[:budget]
    # A call is computed after what it finds at its rank, others that came in the same time among it, and itself.
    seen = np.maximum(np.fft.irfft(np.fft.rfft(present, 2 * BINS) * np.fft.rfft(single, 2 * BINS), 2 * BINS), 0.0)
    openings = np.maximum(1.0, np.ceil(np.arange(2 * BINS) / budget))
    tail = float(openings[min(int(np.searchsorted(np.cumsum(seen), percentile / 100)), 2 * BINS - 1)])
    return Queue(below, width, calls * float((values * shares).sum()), float((seen * openings).sum() / seen.sum()), tail)


def flushing(ranks: int, calls: float, values: Values, shares: Values, chunk_ps: float, percentile: float) -> Opening:
    """What an opening takes when it goes on while calls wait: the whole work, but long calls without another behind them in pieces."""
    alone = math.exp(-calls)  # no other call came in the same time
    whole = np.floor(values / chunk_ps)
    pieces, often = np.append(values - whole * chunk_ps, chunk_ps), np.append(shares, (whole * shares).sum())
    slowest = alone * _largest_sum(ranks, calls, pieces, often) + (1 - alone) * _largest_sum(ranks, calls, values, shares)
    openings = np.ceil(np.maximum(values, 1.0) / chunk_ps)
    order = np.argsort(openings)
    tail = openings[order][min(int(np.searchsorted(np.cumsum(shares[order]), percentile / 100)), len(values) - 1)]
    return Opening(slowest, 1 + alone * float(((openings - 1) * shares).sum()), float(tail))


def _largest_sum(ranks: int, calls: float, values: Values, shares: Values) -> float:
    """Expected largest of ``ranks`` sums of Poisson many values."""
    if ranks == 1:
        return calls * float((values * shares).sum())
    arriving, _, width = _arriving(calls, values, shares)
    return float((1 - np.minimum(np.cumsum(arriving), 1.0) ** ranks).sum() * width)


def _arriving(calls: float, values: Values, shares: Values, chunk_ps: float = 0.0) -> tuple[Values, Values, float]:
    """Distributions by bins of a compound Poisson sum and of a single value, and the width of a bin.

    Its Fourier transform is ``exp(calls * (phi - 1))`` with ``phi`` that of a single value. The bins reach as far as anything that counts
    lies; with a chunk, as far as twelve of them at least, for the queue.
    """
    mean, square = (calls * (values**n * shares).sum() for n in (1, 2))
    reach = mean + 8 * np.sqrt(square) + 2 * values.max(where=shares > 0, initial=0.0)
    width = max(reach, min(12 * chunk_ps, 4 * reach)) / BINS
    place = np.minimum(values / width, BINS - 2)
    low = place.astype(np.int64)
    high = place - low  # a value is split between two bins so that the mean is kept
    single = np.bincount(low, (1 - high) * shares, BINS) + np.bincount(low + 1, high * shares, BINS)
    total = np.fft.irfft(np.exp(calls * (np.fft.rfft(single) - shares.sum())), BINS)
    return np.maximum(total, 0.0), np.asarray(single, np.float64), float(width)


def _settled(arriving: Values, budget: int) -> Values:
    """Distribution of the work at an opening, by bin, when ``budget`` bins of it are done at each."""
    spectrum, present = np.fft.rfft(arriving, 2 * BINS), arriving
    coming = float((arriving * np.arange(BINS)).sum())
    for _ in range(MOST_ROUNDS):
        done = float((present * np.minimum(np.arange(BINS), budget)).sum())
        if done >= (1 - SETTLED) * coming:
            break
        left = np.concatenate(([present[: budget + 1].sum()], present[budget + 1 :]))
        present = np.maximum(np.fft.irfft(np.fft.rfft(left, 2 * BINS) * spectrum, 2 * BINS), 0.0)
        present[BINS - 1] += present[BINS:].sum()
        present = present[:BINS]
    return present


def _place(grid: tuple[float, ...], value: float) -> tuple[int, float]:
    """Cell of a grid in which a value lies, and how far along."""
    cell = min(max(bisect_right(grid, value) - 1, 0), len(grid) - 2)
    return cell, min(max((value - grid[cell]) / (grid[cell + 1] - grid[cell]), 0.0), 1.0)
