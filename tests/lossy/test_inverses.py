"""Inverses of large matrices by the Cholesky factor are those of small ones."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.lossy import inverses


@pytest.fixture(params=[1 << 20, 0], ids=["double", "single"])
def rtol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(inverses, "EXACT", request.param)
    monkeypatch.setattr(inverses, "_SMALL", 4)
    return 1e-3 if request.param == 0 else 1e-9


def hessian(inputs: int) -> np.ndarray:
    rng = np.random.default_rng(inputs)
    rows = rng.standard_normal((4 * inputs, inputs)) @ rng.standard_normal((inputs, inputs))
    return np.asarray(rows.T @ rows / len(rows) + np.eye(inputs))


@pytest.mark.parametrize("inputs", [1, 4, 5, 37])
def test_inverses(inputs: int, rtol: float) -> None:
    given = hessian(inputs)
    wanted = np.linalg.inv(given)
    found = inverses.inverse_of(given)
    assert found.dtype == (np.float32 if rtol > 1e-6 else np.float64)
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=rtol * np.abs(wanted).max())


@pytest.mark.parametrize("inputs", [1, 4, 5, 37])
def test_variances(inputs: int, rtol: float) -> None:
    given = np.stack([hessian(inputs), 3 * hessian(inputs)])
    wanted = [1 / np.diagonal(np.linalg.inv(each)) for each in given]
    np.testing.assert_allclose(inverses.variances_left(given), wanted, rtol=rtol)


@pytest.mark.usefixtures("rtol")
@pytest.mark.parametrize("inputs", [1, 4, 5, 37])
def test_equations(inputs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inverses, "_BLOCK", 4)
    given = np.stack([hessian(inputs), 3 * hessian(inputs)])
    wanted = np.random.default_rng(0).standard_normal((2, inputs, 3))
    before = wanted.copy()
    found = inverses.solved(given, wanted)
    np.testing.assert_allclose(given @ found, wanted, atol=1e-9 * inputs)
    assert np.array_equal(wanted, before)


def test_equations_of_what_is_not_positive_definite(rtol: float) -> None:
    given, wanted = np.array([[[1.0, 2.0], [2.0, 1.0]]]), np.ones((1, 2, 1))
    np.testing.assert_allclose(given @ inverses.solved(given, wanted), wanted, atol=rtol)


def test_what_is_not_positive_definite_is_inverted_all_the_same(rtol: float) -> None:
    given = np.array([[1.0, 2.0], [2.0, 1.0]])
    np.testing.assert_allclose(inverses.inverse_of(given), np.linalg.inv(given), rtol=rtol)
