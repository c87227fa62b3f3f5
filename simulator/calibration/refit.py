"""What a fit done again says: each coefficient as the repository has it and as its evidence gives it, and the errors of the law."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SMALLEST = 1e-13
"""Below this a coefficient is none."""

ROUNDING = 0.005
"""Relative difference that comes from writing a coefficient with three or four digits."""


@dataclass(frozen=True)
class Coefficient:
    """A coefficient of a profile, and its value fitted again."""

    name: str
    stated: float
    again: float

    @property
    def differs(self) -> bool:
        """Whether the two differ by more than rounding."""
        return not abs(self.again - self.stated) <= max(ROUNDING * max(abs(self.again), abs(self.stated)), SMALLEST)


@dataclass(frozen=True)
class Miss:
    """Signed relative errors of a law on some rows of its evidence."""

    rows: str
    split: str
    errors: NDArray[np.float64]

    @property
    def median(self) -> float:
        """Median of the absolute error."""
        return float(np.median(np.abs(self.errors)))

    @property
    def worst(self) -> float:
        """The signed error that is largest in size."""
        return float(self.errors[np.abs(self.errors).argmax()])


@dataclass(frozen=True)
class Refit:
    """A fit of one profile or table, done again from its evidence."""

    name: str
    coefficients: tuple[Coefficient, ...]
    misses: tuple[Miss, ...]

    @property
    def differs(self) -> bool:
        """Whether some coefficient is not what its evidence gives."""
        return any(each.differs for each in self.coefficients)
