"""Counters and histograms in Prometheus text form. Inputs are observed values."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence

SECONDS = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
    20.0,
    40.0,
    80.0,
    160.0,
    640.0,
    2560.0,
)
"""Upper bounds for times."""

TOKENS = tuple(float(10**power * digit) for power in range(7) for digit in (1, 2, 5))
"""Upper bounds for counts of tokens."""


class Histogram:
    """Counts by upper bound, with sum and count."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    @property
    def count(self) -> int:
        return sum(self.counts)

    def lines(self, name: str, labels: Mapping[str, str]) -> list[str]:
        """Its sample lines."""
        below, lines = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            below += count
            lines.append(sample(f"{name}_bucket", {**labels, "le": bound}, below))
        return [*lines, sample(f"{name}_sum", labels, self.sum), sample(f"{name}_count", labels, below)]


def sample(name: str, labels: Mapping[str, str], value: float) -> str:
    """One line of a metric."""
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value!r}" if inside else f"{name} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def head(name: str, kind: str, about: str) -> list[str]:
    """What stands before the samples of a metric."""
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
