"""Errors of inputs are made up for by those to come, as solving for them anew would do it."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.lossy import feedback
from ocompress.lossy.feedback import Feedback


def problem(inputs: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(inputs)
    rows = rng.standard_normal((2, 4 * inputs, inputs)) @ rng.standard_normal((inputs, inputs))
    hessians = rows.transpose(0, 2, 1) @ rows / len(rows) + np.eye(inputs)
    return hessians, 3 * rng.standard_normal((2, inputs, 3))


@pytest.mark.parametrize("inputs", [1, 2, 9, 23])
def test_inputs_to_come_are_what_solving_for_them_makes(
    inputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback, "_NEAR", 3)
    monkeypatch.setattr(feedback, "_FAR", 6)
    hessians, target = problem(inputs)
    sweep = Feedback.of(hessians).sweep(target)
    values = np.zeros_like(target)
    for at in range(inputs):
        rest = slice(at, inputs)
        missing = hessians[:, rest, :at] @ (target - values)[:, :at]
        wanted = target[:, rest] + np.linalg.solve(hessians[:, rest, rest], missing)
        np.testing.assert_allclose(sweep.wanted[:, at], wanted[:, 0], rtol=1e-9, atol=1e-9)
        for count in {1, 2, 5, inputs - at} & set(range(inputs - at + 1)):
            np.testing.assert_allclose(sweep.ahead(count), wanted[:, :count], rtol=1e-9, atol=1e-9)
        values[:, at] = np.rint(wanted[:, 0])
        sweep.give(at, values[:, at])


def test_variances_are_those_that_are_left() -> None:
    hessians, _ = problem(7)
    found = Feedback.of(hessians).variance
    for at in range(7):
        part = np.linalg.inv(hessians[:, at:, at:])
        np.testing.assert_allclose(found[:, at], 1 / part[:, 0, 0], rtol=1e-9)


def test_what_is_left_of_several_is_that_without_those_to_come() -> None:
    hessians, _ = problem(7)
    part = np.linalg.inv(np.linalg.inv(hessians[:, 2:, 2:])[:, :3, :3])
    np.testing.assert_allclose(Feedback.of(hessians).left_of(slice(2, 5)), part, rtol=1e-9)


def test_targets_stay_as_they_are() -> None:
    hessians, target = problem(5)
    before = target.copy()
    Feedback.of(hessians).sweep(target).give(0, np.zeros((2, 3)))
    assert np.array_equal(target, before)


def test_what_is_not_positive_definite_is_refused() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        Feedback.of(np.array([[[1.0, 2.0], [2.0, 1.0]]]))
