"""Non-negative least squares, and a fit of relative errors that outliers cannot drag: what every fit of a law here is made with."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ROUNDS = 12
"""Huber reweighting settles within a few rounds; more change nothing in the fourth digit."""

HUBER = 1.5
"""Errors beyond this many median absolute errors lose weight."""

LEAST_SCALE = 0.02
"""Errors below this are noise of any measurement: they never make a row an outlier."""


def nnls(matrix: Floats, target: Floats) -> Floats:
    """The non-negative ``x`` with the smallest ``|matrix @ x - target|`` (Lawson and Hanson's active set).

    Parameters
    ----------
    matrix : float64 array, shape (rows, columns)
    target : float64 array, shape (rows,)
    """
    columns = matrix.shape[1]
    scale = np.maximum(np.linalg.norm(matrix, axis=0), 1e-300)
    scaled = matrix / scale
    free = np.zeros(columns, dtype=bool)
    found = np.zeros(columns)
    for _ in range(10 * columns):
        gradient = scaled.T @ (target - scaled @ found)
        gradient[free] = -np.inf
        if gradient.max(initial=-np.inf) <= 1e-10 * max(1.0, float(np.abs(target).max(initial=0.0))):
            break
        free[int(gradient.argmax())] = True
        found, free = _inside(scaled, target, found, free)
    result: Floats = found / scale
    return result


def _inside(matrix: Floats, target: Floats, found: Floats, free: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.bool_]]:
    """The least squares over the free columns, giving up those that would turn negative."""
    while True:
        trial = np.zeros_like(found)
        trial[free] = np.linalg.lstsq(matrix[:, free], target, rcond=None)[0]
        low = free & (trial <= 0)
        if not low.any():
            return trial, free
        step = np.min(found[low] / np.maximum(found[low] - trial[low], 1e-300))
        found = found + step * (trial - found)
        free = free & ~(low & (found <= 1e-12))
        found[~free] = 0.0


def relative_fit(
    matrix: Floats,
    target: Floats,
    *,
    weight: Floats | None = None,
    prior: Floats | None = None,
    pull: float = 0.0,
    least: Floats | None = None,
) -> Floats:
    """Coefficients with small *relative* errors: Huber weights, lower bounds, and a pull towards a prior where rows say little.

    Parameters
    ----------
    matrix, target : float64 arrays, shapes (rows, columns) and (rows,)
        ``target`` is positive: each row counts by its error relative to it.
    weight : float64 array, shape (rows,), optional
        Base weight of each row; rows of equal weight share one scale of outliers.
    prior : float64 array, shape (columns,), optional
        Where a coefficient lies that no row speaks of.
    pull : float
        Weight of a coefficient's relative distance to the prior, beside a row's relative error.
    least : float64 array, shape (columns,), optional
        Lower bounds; 0 when left out.
    """
    rows, columns = matrix.shape
    weight = np.ones(rows) if weight is None else weight
    least = np.zeros(columns) if least is None else least
    relative, goal = matrix / target[:, None], np.ones(rows) - (matrix @ least) / target
    anchor, anchor_goal = _anchor(columns, prior, pull, least)
    now = weight.copy()
    found = least
    for _ in range(ROUNDS):
        before = found
        found = least + nnls(np.vstack([relative * now[:, None], anchor]), np.concatenate([goal * now, anchor_goal]))
        if np.allclose(before, found, rtol=1e-9, atol=0):
            break
        now = weight * _huber(np.abs(relative @ found - 1), weight)
    return found


def _anchor(columns: int, prior: Floats | None, pull: float, least: Floats) -> tuple[Floats, Floats]:
    """Rows that ask each coefficient to stay at its prior."""
    if prior is None or pull == 0:
        return np.zeros((0, columns)), np.zeros(0)
    size = np.maximum(prior, 1e-12)
    return pull * np.diag(1 / size), pull * (prior - least) / size


def _huber(errors: Floats, weight: Floats) -> Floats:
    """Square roots of Huber weights, with an outlier scale of its own for each base weight."""
    found = np.ones_like(errors)
    for kind in np.unique(weight):
        alike = weight == kind
        scale = max(HUBER * float(np.median(errors[alike])), LEAST_SCALE)
        found[alike] = np.sqrt(np.minimum(1.0, scale / np.maximum(errors[alike], 1e-12)))
    return found
