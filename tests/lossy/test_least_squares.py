"""Fits are least squares on what the mask keeps, and never worse on samples left out."""

from __future__ import annotations

import numpy as np

from ocompress.analysis.regression import RegressionSums
from ocompress.lossy.least_squares import conjugate_gradients, fit


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_conjugate_gradients_solve_every_column_on_its_own_mask() -> None:
    draw = rng().standard_normal((2, 40, 7))
    hessian = draw.transpose(0, 2, 1) @ draw / 40 + 0.05 * np.eye(7)
    wanted = rng(1).standard_normal((2, 7, 5))
    mask = rng(2).random((2, 7, 5)) < 0.6
    found = conjugate_gradients(hessian, wanted, np.zeros((2, 7, 5)), mask)
    for group in range(2):
        for column in range(5):
            keep = np.flatnonzero(mask[group, :, column])
            part = hessian[group][np.ix_(keep, keep)]
            exact = np.zeros(7)
            exact[keep] = np.linalg.solve(part, wanted[group, keep, column])
            np.testing.assert_allclose(found[group, :, column], exact, atol=1e-6)


def test_outputs_that_cost_in_pairs_make_up_for_one_another() -> None:
    draw = rng().standard_normal((2, 40, 7))
    hessian = draw.transpose(0, 2, 1) @ draw / 40 + 0.05 * np.eye(7)
    wanted = rng(1).standard_normal((2, 7, 5))
    mask = rng(2).random((2, 7, 5)) < 0.5
    draw = rng(3).standard_normal((2, 8, 5))
    curvature = draw.transpose(0, 2, 1) @ draw / 8 + 0.05 * np.eye(5)
    start = np.zeros((2, 7, 5))
    found = conjugate_gradients(hessian, wanted, start, mask, 200, 1e-12, curvature)
    for group in range(2):
        keep = np.flatnonzero(mask[group].reshape(-1))
        whole = np.kron(hessian[group], curvature[group])
        right = (wanted[group] @ curvature[group]).reshape(-1)
        exact = np.zeros(35)
        exact[keep] = np.linalg.solve(whole[np.ix_(keep, keep)], right[keep])
        np.testing.assert_allclose(found[group].reshape(-1), exact, atol=1e-6)
    apart = conjugate_gradients(hessian, wanted, start, mask)
    assert np.abs(apart - found).max() > 0.1


def test_what_nobody_tells_apart_is_fitted_together() -> None:
    """The model's outputs see the sum of two outputs alone: either may hold what counts."""
    x = rng().standard_normal((400, 4))
    truth = rng(1).standard_normal((1, 4, 2))
    mask = np.array([[[1, 0], [0, 1], [1, 0], [0, 1]]], bool)
    curvature = np.ones((1, 2, 2)) + 1e-4 * np.eye(2)
    y = x @ truth[0]
    made = sums(x, y)
    parts, whole = made.parts(), made.whole()
    assert parts is not None
    assert whole is not None
    start = truth * mask
    both = fit(parts, whole, start, mask, biased=True, curvature=curvature)
    each = fit(parts, whole, start, mask, biased=True)
    seen = [
        float(np.square((x @ (f.matrix[0] - truth[0])).sum(axis=1)).mean()) for f in (both, each)
    ]
    assert seen[0] < 0.02 * seen[1]
    assert both.moved == 1
    assert (both.matrix[~mask] == 0).all()


def sums(x: np.ndarray, y: np.ndarray) -> RegressionSums:
    found = RegressionSums()
    found.update(x[:, None, None].astype(np.float32), y[:, None, None].astype(np.float32))
    return found


def fitted(x: np.ndarray, y: np.ndarray, start: np.ndarray, mask: np.ndarray | None):  # type: ignore[no-untyped-def]
    made = sums(x, y)
    parts, whole = made.parts(), made.whole()
    assert parts is not None
    assert whole is not None
    return fit(parts, whole, start, mask, biased=True)


def test_a_fit_finds_the_weights_that_make_the_targets() -> None:
    x = rng().standard_normal((300, 6)) + 2
    truth = rng(1).standard_normal((1, 6, 3))
    truth[0, :2] = 0
    y = x @ truth[0] + 5
    mask = truth != 0
    found = fitted(x, y, np.where(mask, 0.1, 0), mask)
    np.testing.assert_allclose(found.matrix, truth, atol=0.01)
    np.testing.assert_allclose(found.bias[0], 5, atol=0.05)
    assert (found.matrix[~mask] == 0).all()
    assert found.after < 1e-3 < found.before


def test_noise_does_not_replace_a_weight_that_is_right() -> None:
    x = rng().standard_normal((24, 20))
    truth = rng(1).standard_normal((1, 20, 4))
    y = x @ truth[0] + rng(2).standard_normal((24, 4)) * 3
    found = fitted(x, y, truth, None)
    error = np.square(found.matrix - truth).mean()
    assert error < 0.2
    assert found.after <= found.before


def test_without_a_bias_means_are_fitted_by_weights() -> None:
    x = rng().standard_normal((300, 3)) + 4
    y = x @ np.array([[1.0], [2.0], [-1.0]])
    made = sums(x, y)
    parts, whole = made.parts(), made.whole()
    assert parts is not None
    assert whole is not None
    found = fit(parts, whole, np.zeros((1, 3, 1)), None, biased=False)
    assert (found.bias == 0).all()
    np.testing.assert_allclose(found.matrix[0, :, 0], [1, 2, -1], atol=0.05)


def test_an_output_that_gains_next_to_nothing_keeps_its_weight() -> None:
    """One output is off by a thousandth of what it varies by, the other by a half."""
    x = rng().standard_normal((600, 3))
    truth = np.array([[[1.0, 1.0], [2.0, 2.0], [-1.0, -1.0]]])
    start = truth * np.array([1.0005, 0.5])
    noise = rng(1).standard_normal((600, 2)) * np.array([1e-3, 1e-3])
    found = fitted(x, x @ truth[0] + noise, start, None)
    assert (found.matrix[0, :, 0] == start[0, :, 0]).all()
    np.testing.assert_allclose(found.matrix[0, :, 1], truth[0, :, 1], atol=0.01)
    assert found.moved == 0.5
