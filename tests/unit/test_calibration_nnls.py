"""Non-negative least squares and the relative fit, on problems whose answers are known."""

import numpy as np
import pytest

from simulator.calibration.nnls import nnls, relative_fit


def test_a_solution_inside_is_the_plain_least_squares():
    rng = np.random.default_rng(1)
    matrix, truth = rng.random((30, 4)), np.array([1.0, 0.2, 3.0, 0.5])
    assert nnls(matrix, matrix @ truth) == pytest.approx(truth)


def test_a_column_that_would_turn_negative_is_left_out():
    matrix = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    found = nnls(matrix, np.array([3.0, 2.0, 1.0]))
    assert found == pytest.approx([2.0, 0.0])  # a falling line cannot be had: its mean can


@pytest.mark.parametrize("seed", range(8))
def test_no_other_non_negative_point_is_better(seed):
    rng = np.random.default_rng(seed)
    matrix, target = rng.normal(size=(20, 6)), rng.normal(size=20)
    found = nnls(matrix, target)
    gradient = matrix.T @ (matrix @ found - target)
    assert (found >= 0).all()
    assert gradient[found > 0] == pytest.approx(0, abs=1e-8)  # the conditions of Karush, Kuhn and Tucker
    assert (gradient[found == 0] >= -1e-8).all()


def test_outliers_do_not_drag_the_fit():
    rng = np.random.default_rng(2)
    matrix, truth = rng.random((60, 2)) + 0.1, np.array([2.0, 5.0])
    target = matrix @ truth
    target[::10] *= 3
    assert relative_fit(matrix, target) == pytest.approx(truth, rel=0.02)


def test_a_coefficient_without_rows_stays_at_its_prior_and_others_leave_it():
    matrix = np.column_stack([np.linspace(1, 2, 20), np.zeros(20)])
    found = relative_fit(matrix, 3 * matrix[:, 0], prior=np.array([1.0, 7.0]), pull=0.01)
    assert found[1] == pytest.approx(7.0)
    assert found[0] == pytest.approx(3.0, rel=0.01)


def test_bounds_hold():
    matrix = np.column_stack([np.ones(10), np.arange(10.0)])
    found = relative_fit(matrix, matrix @ np.array([4.0, 0.5]), least=np.array([0.0, 1.0]))
    assert found[1] >= 1.0
