"""Predicted beside measured: a pair for each quantity that a row measured, and what many pairs say. Inputs are rows and predictions."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.calibration.evidence import QUANTITIES, SPLITS, Row
from simulator.calibration.predict import Prediction


@dataclass(frozen=True)
class Pair:
    """One measured quantity of a row and its prediction; ``error`` is signed and relative: 0.1 is 10 % too much."""

    id: str
    system: str
    model: str
    engine: str
    mode: str
    quantity: str
    split: str
    measured: float
    predicted: float

    @property
    def error(self) -> float:
        """Predicted over measured, minus 1."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True)
class Validation:
    """All pairs, and why rows have none: reason -> rows."""

    rows: int
    pairs: tuple[Pair, ...]
    left_out: Mapping[str, int]

    def only(self, system: str = "", quantity: str = "") -> "Validation":
        """The pairs of one system or quantity; empty words choose all."""
        chosen = (p for p in self.pairs if system in ("", p.system) and quantity in ("", p.quantity))
        return Validation(self.rows, tuple(chosen), self.left_out)


@dataclass(frozen=True)
class Errors:
    """What a group of pairs says.

    Attributes
    ----------
    count : int
    median, p90 : float
        Of the absolute error.
    bias : float
        Median of the signed error.
    worst : float
        The signed error that is largest in size.
    worst_id : str
    """

    count: int
    median: float
    bias: float
    p90: float
    worst: float
    worst_id: str


def compare(rows: Sequence[Row], predictions: Mapping[str, Prediction]) -> Validation:
    """Pairs of all rows that have a prediction, in the rows' order."""
    found = [(row, predictions[row.id]) for row in rows]
    pairs = tuple(
        Pair(
            row.id,
            row.system,
            row.model,
            row.engine,
            row.mode,
            quantity,
            row.side(quantity),
            measured,
            float(getattr(prediction, quantity)),
        )
        for row, prediction in found
        if not prediction.lacks
        for quantity, measured in row.measured.items()
    )
    return Validation(len(rows), pairs, dict(Counter(prediction.lacks for _, prediction in found if prediction.lacks).most_common()))


def errors(pairs: Sequence[Pair]) -> Errors:
    """Of a group of at least one pair."""
    signed = np.array([pair.error for pair in pairs])
    size = np.abs(signed)
    worst = int(size.argmax())
    return Errors(
        count=len(pairs),
        median=float(np.median(size)),
        bias=float(np.median(signed)),
        p90=float(np.quantile(size, 0.9)),
        worst=float(signed[worst]),
        worst_id=pairs[worst].id,
    )


def grouped(pairs: Iterable[Pair], *keys: str) -> dict[tuple[str, ...], list[Pair]]:
    """Pairs by some of their fields; quantities and splits in their usual order, the rest sorted."""
    groups: dict[tuple[str, ...], list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(tuple(str(getattr(pair, key)) for key in keys), []).append(pair)
    usual = [*QUANTITIES, *SPLITS]

    def place(words: tuple[str, ...]) -> list[tuple[int, str]]:
        return [(usual.index(word) if word in usual else -1, word) for word in words]

    return {words: groups[words] for words in sorted(groups, key=place)}
