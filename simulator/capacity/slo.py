"""A service-level objective: percentiles of call speeds and waits that must be met. Inputs come from a scenario's `slo` section."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPEED, TTFT, E2E_SPEED = "speed", "ttft", "e2e_speed"


@dataclass(frozen=True)
class Clause:
    """One sentence of an SLO: the ``percentile`` of ``quantity`` must stay on the right side of ``limit``.

    Attributes
    ----------
    quantity : str
        `SPEED` (output tokens/s after the first token), `TTFT` (seconds) or `E2E_SPEED` (output tokens/s from send to last token).
    percentile : float
        Between 0 and 100; by linear interpolation between order statistics.
    limit : float
        A floor for speeds, a ceiling for TTFT.
    """

    quantity: str
    percentile: float
    limit: float

    def meets(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which single values are on the right side of the limit; a missing value (nan) has nothing to break."""
        right = values <= self.limit if self.quantity == TTFT else values >= self.limit
        return np.asarray(right | np.isnan(values), dtype=np.bool_)

    def margin(self, value: float) -> float:
        """How far inside the limit a value is: 1 at the limit, above 1 inside, below 1 broken."""
        if self.quantity == TTFT:
            return self.limit / value if value > 0 else float("inf")
        return value / self.limit


@dataclass(frozen=True)
class Verdict:
    """What an SLO says about one phase: every clause's measured percentile, and the clause with the least margin."""

    held: bool
    binding: str
    values: dict[str, float]
    margins: dict[str, float]


@dataclass(frozen=True)
class SLO:
    """All clauses must be met. Two forms are in use: speed with TTFT, and end-to-end speed."""

    clauses: tuple[Clause, ...]

    @classmethod
    def speed_and_ttft(cls, speed_tok_s: float, ttft_s: float, speed_percentile: float = 25, ttft_percentile: float = 95) -> "SLO":
        """P25 of output speed at or above a floor and P95 of TTFT at or below a ceiling (AA-AgentPerf's form)."""
        return cls((Clause(SPEED, speed_percentile, speed_tok_s), Clause(TTFT, ttft_percentile, ttft_s)))

    @classmethod
    def e2e(cls, e2e_speed_tok_s: float, e2e_percentile: float = 25) -> "SLO":
        """A floor on a percentile of the end-to-end speed."""
        return cls((Clause(E2E_SPEED, e2e_percentile, e2e_speed_tok_s),))

    def evaluate(self, samples: Mapping[str, NDArray[np.float64]]) -> Verdict:
        """Judge one phase by its calls.

        Parameters
        ----------
        samples : mapping of quantity to float64 array
            One value per call of the steady window; nan where the call has no such value. A clause without any value is broken:
            nothing was measured.
        """
        values: dict[str, float] = {}
        margins: dict[str, float] = {}
        for clause in self.clauses:
            known = samples[clause.quantity]
            known = known[~np.isnan(known)]
            values[clause.quantity] = float(np.percentile(known, clause.percentile)) if known.size else float("nan")
            margins[clause.quantity] = clause.margin(values[clause.quantity]) if known.size else 0.0
        binding = min(margins, key=lambda quantity: margins[quantity])
        return Verdict(margins[binding] >= 1, binding, values, margins)

    def as_dict(self) -> dict[str, Any]:
        """The SLO as the keys of a scenario and of `--json`."""
        fields: dict[str, Any] = {}
        for clause in self.clauses:
            limit, percentile = _KEYS[clause.quantity]
            fields |= {limit: clause.limit, percentile: clause.percentile}
        return fields

    def __str__(self) -> str:
        words = {SPEED: "P{p:g} speed >= {x:g} tok/s", TTFT: "P{p:g} TTFT <= {x:g} s", E2E_SPEED: "P{p:g} E2E speed >= {x:g} tok/s"}
        return " & ".join(words[c.quantity].format(p=c.percentile, x=c.limit) for c in self.clauses)


_KEYS = {
    SPEED: ("speed_tok_s", "speed_percentile"),
    TTFT: ("ttft_s", "ttft_percentile"),
    E2E_SPEED: ("e2e_speed_tok_s", "e2e_percentile"),
}


def _grouped(groups: NDArray[np.int64], values: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """Order of the values within their groups; few groups are put together by a radix sort, which is many times faster."""
    order = np.argsort(values)
    narrow = groups[order].astype(np.uint16 if size <= 2**16 else np.int64)
    return order[np.argsort(narrow, kind="stable")]


def grouped_percentile(groups: NDArray[np.int64], values: NDArray[np.float64], percentile: float, size: int) -> NDArray[np.float64]:
    """A percentile of every group at once, by linear interpolation as `numpy.percentile` does.

    Parameters
    ----------
    groups : int64 array, shape (n,)
        Group of each value, below ``size``.
    values : float64 array, shape (n,)
        Nan is left out.
    percentile : float
        Between 0 and 100.
    size : int
        Number of groups.

    Returns
    -------
    float64 array, shape (size,)
        Nan for a group without values.
    """
    known = ~np.isnan(values)
    groups, values = groups[known], values[known]
    values = values[_grouped(groups, values, size)]
    counts = np.bincount(groups, minlength=size)
    result = np.full(size, np.nan)
    some = counts > 0
    if not some.any():
        return result
    place = (np.cumsum(counts) - counts)[some] + (counts[some] - 1) * (percentile / 100)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, (np.cumsum(counts) - 1)[some])
    result[some] = values[low] + (values[high] - values[low]) * (place - low)
    return result


def groups_that_meet(groups: NDArray[np.int64], values: NDArray[np.float64], clause: Clause, size: int) -> NDArray[np.bool_]:
    """Which groups meet a clause by the percentile of their own values; one without values has nothing to break.

    Counting tells it of all but those whose percentile lies between a value that meets the limit and one that does not.

    Parameters
    ----------
    groups, values, size
        As in `grouped_percentile`.
    clause : Clause

    Returns
    -------
    bool array, shape (size,)
    """
    known = ~np.isnan(values)
    counts, good = (np.bincount(groups[some], minlength=size) for some in (known, known & clause.meets(values)))
    low = np.floor((counts - 1) * (clause.percentile / 100)).astype(np.int64)
    high = np.minimum(low + 1, counts - 1)
    ahead, behind = (low, high) if clause.quantity == TTFT else (counts - 1 - high, counts - 1 - low)  # how many are better
    found = good > behind
    between = (counts > 0) & (good > ahead) & ~found
    some = between[groups]
    found[between] = clause.meets(grouped_percentile(groups[some], values[some], clause.percentile, size)[between])
    return np.asarray(found | (counts == 0), dtype=np.bool_)
