"""Layers are rounded one after the other, each to what those before it make by then."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.analysis.second_moments import Folded
from passes.quantization import refit
from passes.quantization.reconstruct import Reconstruction, ReconstructionProblem
from passes.quantization.weights import QuantizedWeight
from tests.build import Builder
from tests.passes.quantization.runs import quantized


def test_the_second_layer_sees_the_fitted_first(monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder()
    x = b.input("x", ["n", 8, 6, 6])
    h = b.op("Conv", x, b.weight(8, 8, 3, 3), b.weight(8), to="first")
    h = b.op("Conv", b.op("Relu", h), b.weight(8, 8, 3, 3), b.weight(8), to="second")
    b.output(h, ["n", 8, 2, 2])
    seen: list[Folded] = []

    def without_weights(problem: ReconstructionProblem, moments: Folded) -> Reconstruction:
        seen.append(moments)
        old = problem.rounded
        nothing = QuantizedWeight(np.zeros_like(old.integers), old.scales, old.axis)
        return Reconstruction(nothing, problem.bias, 0.0, 0.0, 1.0)

    monkeypatch.setattr(refit, "reconstruct", without_weights)
    quantized(b.model())
    assert len(seen) == 2
    first, second = (m.whole.second(centred=True) for m in seen)
    assert np.abs(first).max() > 1e-2
    assert np.abs(second).max() < 1e-6  # a first layer without weights makes the same everywhere


def test_the_second_layer_sees_the_new_bias_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder()
    x = b.input("x", ["n", 8, 6, 6])
    h = b.op("Conv", x, b.weight(8, 8, 3, 3), b.weight(8), to="first")
    h = b.op("Conv", b.op("Relu", h), b.weight(8, 8, 3, 3), b.weight(8), to="second")
    b.output(h, ["n", 8, 2, 2])
    seen: list[Folded] = []
    wanted = np.linspace(1, 2, 8)

    def of_bias_alone(problem: ReconstructionProblem, moments: Folded) -> Reconstruction:
        seen.append(moments)
        old = problem.rounded
        nothing = QuantizedWeight(np.zeros_like(old.integers), old.scales, old.axis)
        return Reconstruction(nothing, wanted, 0.0, 0.0, 1.0)

    monkeypatch.setattr(refit, "reconstruct", of_bias_alone)
    quantized(b.model())
    means = seen[1].whole.mean.reshape(8, 9)
    np.testing.assert_allclose(means, np.tile(wanted[:, None], 9), rtol=0.02)
