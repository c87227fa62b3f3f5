"""Compiled code sees in a bundle what NumPy sees in its arrays."""

from typing import NamedTuple

import numpy as np
import pytest
from numba import njit

from simulator.engine.tables import bundle


@bundle(rows=4)
class Shelf(NamedTuple):
    rows: np.ndarray
    cube: np.ndarray
    line: np.ndarray


def visit(shelf):  # type: ignore[no-untyped-def]
    """Reads and writes through whole tables, their rows, and rows of their planes."""
    row, plane = shelf.rows[1], shelf.cube[1]
    row[2] += 100
    plane[0, 1] = row[2] + shelf.line[2]
    shelf.cube[0][1][2] = len(shelf.cube) * 1000 + len(plane) * 100 + len(row) * 10 + len(shelf.line)
    shelf.rows[shelf.line[0], 3] = shelf.rows[2, 0] - plane[0][1]
    return shelf.cube[1, 0, 1] + shelf.rows[0, 3]


def shelf() -> Shelf:
    return Shelf(np.arange(12).reshape(3, 4), np.arange(12, 24).reshape(2, 2, 3), np.array([2, 7, 9, 11, 13]))


def test_a_bundle_reads_and_writes_as_its_arrays_do() -> None:
    compiled, plain = shelf(), shelf()
    for _ in range(2):
        assert njit(_nrt=False)(visit)(compiled) == visit(plain)
    assert all(np.array_equal(one, other) for one, other in zip(compiled, plain, strict=True))
    assert not np.array_equal(compiled.cube, shelf().cube)


@pytest.mark.parametrize(
    "change", [{"rows": np.zeros((3, 5), np.int64)}, {"line": np.zeros(5)}, {"cube": np.zeros((2, 2, 6), np.int64)[:, :, ::2]}]
)
def test_tables_of_another_make_are_refused(change: dict[str, np.ndarray]) -> None:
    with pytest.raises(AssertionError):
        njit(_nrt=False)(visit)(shelf()._replace(**change))
