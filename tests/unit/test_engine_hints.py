"""Rows fetched ahead change nothing, and quotients are those of Python."""

import numpy as np
import pytest
from numba import njit

from simulator.engine.hints import prefetch, quotient
from tests.unit.test_engine_tables import shelf


def look_ahead(shelf):  # type: ignore[no-untyped-def]
    """Rows that are there and rows that are not."""
    for row in (0, 2, -1, 10**12):
        prefetch(shelf.rows, row)
        prefetch(shelf.cube[1], row)
        prefetch(shelf.line, row)
    return shelf.line[2]


def test_looking_ahead_asks_the_processor_and_changes_nothing() -> None:
    compiled, books = njit(_nrt=False)(look_ahead), shelf()
    assert compiled(books) == look_ahead(books) == shelf().line[2]
    assert all(np.array_equal(one, other) for one, other in zip(books, shelf(), strict=True))
    assert not hasattr(compiled, "inspect_llvm") or "llvm.prefetch" in next(iter(compiled.inspect_llvm().values()))


def divided(a, b):  # type: ignore[no-untyped-def]
    return quotient(a, b), quotient(a, 1000)


@pytest.mark.parametrize("a", [0, 1, 999, 1000, 2**31, 2**53 + 1, 2**63 - 1])
@pytest.mark.parametrize("b", [1, 7, 1000, 2**40, 2**63 - 1])
def test_quotients_are_those_of_python(a: int, b: int) -> None:
    assert njit(_nrt=False)(divided)(a, b) == divided(a, b) == (a // b, a // 1000)
