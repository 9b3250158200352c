"""Layers that look at pictures, rounded by their coefficients as sums of cosines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ocompress.analysis import AnalysisManager
from ocompress.archive.cosines import Coefficients, Plane, find_cosines
from ocompress.ir import Model, edit, onnx_api
from ocompress.pipeline import Pass
from ocompress.runtime import Session
from passes.pruning.prune import Prune
from passes.sharing.entropy import Entropy
from passes.sharing.waves import Waves, _posed
from passes.tuning.tune import Tune
from tests.build import Builder, InMemory
from tests.passes.pruning.on_data import context, weight_of
from tests.passes.sharing.test_rounding import layer

EXTENT, OUTPUTS = 12, 24


def pictures(seed: int, count: int = 192) -> np.ndarray:
    """Draw pictures whose neighbours are alike."""
    found = np.random.default_rng(seed).standard_normal((count, 1, EXTENT, EXTENT))
    for axis in (2, 3):
        found = np.cumsum(found, axis=axis) * 0.4
    return found.astype(np.float32)


def net(*, turned: bool = False) -> Model:
    b = Builder()
    x = b.op("Flatten", b.input("x", ["n", 1, EXTENT, EXTENT]))
    weight = pictures(3, OUTPUTS).reshape(OUTPUTS, -1).T / 20  # what looks at pictures is alike
    held = np.ascontiguousarray(weight.T if turned else weight).astype(np.float32)
    h = b.op("Gemm", x, b.const(held), b.weight(OUTPUTS), to="d", transB=int(turned))
    b.op("MatMul", b.op("Relu", h), b.weight(OUTPUTS, 5), to="y")
    b.output("y", ["n", 5])
    return b.model()


def rounded(model: Model, *following: Pass, bits: float = 1.5, cosines: bool = True) -> Model:
    after = model.clone()
    onnx_api.infer_types(after)
    feeds = [{"x": part} for part in np.split(pictures(0), 12)]
    ctx = replace(context(model, data=False), analyses=AnalysisManager(InMemory(feeds)))
    item = Entropy(bits=bits, cosines=cosines, smallest=0)
    replace(ctx, following=following).run_one(item, after)
    return after


def found(model: Model) -> Coefficients | None:
    weight = weight_of(next(n for n in model.graph.nodes if n.label == "d"))
    assert weight is not None
    return find_cosines(weight) or find_cosines(np.ascontiguousarray(weight.T))


def error(model: Model, after: Model) -> float:
    x = {"x": pictures(7, 400)}
    first, second = (Session(m).run(x)["y"].astype(np.float64) for m in (model, after))
    return float(np.square(first - second).mean() / np.square(first).mean())


@pytest.mark.parametrize("turned", [False, True])
def test_an_encoder_finds_the_coefficients(turned: bool) -> None:
    model = net(turned=turned)
    after = rounded(model)
    waves = found(after)
    assert waves is not None
    assert waves.plane == Plane(EXTENT, EXTENT)
    assert np.abs(waves.levels).max() < 2**8
    assert error(model, after) < error(model, rounded(model, cosines=False)) / 1.5


def test_a_lossy_pass_behind_it_keeps_weights() -> None:
    assert found(rounded(net(), Prune(sparsity=0.5))) is None


def test_training_of_coefficients_may_follow() -> None:
    assert found(rounded(net(), Tune(levels=True))) is not None
    assert found(rounded(net(), Tune())) is None
    assert found(rounded(net(), Tune(levels=True), Prune(sparsity=0.1))) is None


def _without(*zeros: tuple[slice | int, int]) -> Model:
    """Return the net, some of whose weights of inputs and outputs are zero."""
    model = net()
    weight = weight_of(next(n for n in model.graph.nodes if n.label == "d"))
    assert weight is not None
    array = weight.copy()
    for place in zeros:
        array[place] = 0
    value = next(v for v in model.graph.initializers.values() if v.data is weight)
    edit.set_weight(value, array)
    return model


def test_outputs_that_are_zero_leave_the_others_their_cosines() -> None:
    every = slice(None)
    after = rounded(_without((every, 2), (every, 7)))
    assert found(after) is not None
    weight = weight_of(next(n for n in after.graph.nodes if n.label == "d"))
    assert weight is not None
    assert np.flatnonzero(~weight.any(axis=0)).tolist() == [2, 7]


def test_a_single_zero_stays_and_allows_none() -> None:
    after = rounded(_without((5, 2)))
    assert found(after) is None
    weight = weight_of(next(n for n in after.graph.nodes if n.label == "d"))
    assert weight is not None
    assert weight[5, 2] == 0


def test_outputs_that_are_zero_make_up_for_no_others() -> None:
    problem = layer()
    free = np.broadcast_to(np.arange(16) != 3, problem.target.shape)
    posed = _posed(replace(problem, target=problem.target * free, free=free), Waves(Plane(4, 6)))
    np.testing.assert_array_equal(posed.free, free)
