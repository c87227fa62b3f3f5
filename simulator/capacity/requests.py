"""The requests of a phase as an SLO judges them, each read once while the phase is played. Inputs are an engine's calls as they finish."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from simulator.capacity.metrics import sample
from simulator.capacity.slo import SLO, TTFT, Verdict
from simulator.engine.world import CALL_COLUMNS, Stop

COLUMNS = tuple(CALL_COLUMNS.index(name) for name in ("send_ps", "first_ps", "last_ps", "output_tokens"))
BLOCK = 8_192
"""Calls that are read at a time: their rows stay in the processor's caches."""

Samples = Mapping[str, NDArray[np.float64]]


class Requests:
    """What the verdict on a phase needs of its calls; `metrics.measure` tells everything else.

    Attributes
    ----------
    rows : int
        Calls read so far, those sent before the window among them.
    finished_output_tokens : int
        Of the calls that finished in the window.
    """

    def __init__(self, stop: Stop, slo: SLO) -> None:
        self.window_ps, self.slo = stop.window_ps, slo
        self.rows = self.finished_output_tokens = 0
        self.quantities = dict.fromkeys((TTFT, *(clause.quantity for clause in slo.clauses)))
        self.parts: list[Samples] = []

    def read(self, calls: NDArray[np.int64]) -> Samples:
        """The quantities of the requests that ended since the last reading.

        Parameters
        ----------
        calls : int64 array, shape (calls, len(CALL_COLUMNS))
            All that have ended, in the order of ending.
        """
        new = _columns(calls[self.rows :])
        send_ps, _, last_ps, output_tokens = new
        self.rows = len(calls)
        self.finished_output_tokens += int(output_tokens[last_ps >= self.window_ps].sum())
        sent = new[:, send_ps >= self.window_ps]
        self.parts.append({quantity: sample(quantity, *sent) for quantity in self.quantities})
        return self.parts[-1]

    @property
    def samples(self) -> Samples:
        """The quantities of all requests so far, put together once."""
        if len(self.parts) != 1:
            self.parts = [{quantity: np.concatenate([part[quantity] for part in self.parts]) for quantity in self.quantities}]
        return self.parts[0]

    def verdict(self) -> Verdict:
        """What the SLO says about them."""
        return self.slo.evaluate(self.samples)


def _columns(calls: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of `COLUMNS`, shape (columns, calls)."""
    found = np.empty((len(COLUMNS), len(calls)), np.int64)
    for at in range(0, len(calls), BLOCK):
        for place, column in enumerate(COLUMNS):
            found[place, at : at + BLOCK] = calls[at : at + BLOCK, column]
    return found
