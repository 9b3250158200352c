"""Sums hold the squared error of any matrix; shortcuts and earlier losses enter the targets."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.analysis.linear_rows import Site, site_of
from ocompress.analysis.lockstep import Lockstep, Twins
from ocompress.analysis.regression import RegressionSums
from ocompress.ir import Model, edit, onnx_api
from ocompress.runtime import Session
from tests.build import Builder, InMemory


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_errors_are_those_of_the_rows() -> None:
    x, y = numbers(9, 5, 2, 4) + 3, numbers(9, 5, 2, 3, seed=1) - 2
    sums = RegressionSums()
    for start in range(0, 9, 4):
        sums.update(x[start : start + 4], y[start : start + 4])
    matrix, bias = numbers(2, 4, 3, seed=2), numbers(2, 3, seed=3)
    whole, parts = sums.whole(), sums.parts()
    assert whole is not None
    assert parts is not None
    off = np.square(np.einsum("npgi,gio->npgo", x, matrix) + bias - y)
    judged = np.arange(9) % 3 == 2
    np.testing.assert_allclose(whole.errors(matrix, bias), off.mean((0, 1)), rtol=1e-4)
    np.testing.assert_allclose(parts[0].errors(matrix, bias), off[~judged].mean((0, 1)), rtol=1e-4)
    np.testing.assert_allclose(parts[1].errors(matrix, bias), off[judged].mean((0, 1)), rtol=1e-4)
    raw = np.square(np.einsum("npgi,gio->npgo", x, matrix) - y).mean((0, 1))
    zero = np.zeros((2, 3))
    np.testing.assert_allclose(whole.about_zero().errors(matrix, zero), raw, rtol=1e-4)
    shifted = np.einsum("npgi,gio->npgo", x, matrix) + whole.bias(matrix) - y
    np.testing.assert_allclose(shifted.mean((0, 1)), 0, atol=1e-4)


def test_a_row_that_counts_twice_is_two_rows() -> None:
    x, y = numbers(9, 2, 2, 4) + 3, numbers(9, 2, 2, 3, seed=1) - 2
    weighed, repeated = RegressionSums(), RegressionSums()
    weighed.update(x.copy(), y.copy(), np.tile(np.array([1, 2], np.float32), (9, 1)))
    repeated.update(x[:, [0, 1, 1]], y[:, [0, 1, 1]])
    for one, two in zip(
        (weighed.whole(), *(weighed.parts() or ())),
        (repeated.whole(), *(repeated.parts() or ())),
        strict=True,
    ):
        assert one is not None
        assert two is not None
        for name in ("x", "y", "xx", "xy", "yy"):
            np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, -np.inf, 1e30])
@pytest.mark.parametrize("side", [0, 1])
def test_what_is_not_finite_or_too_large_is_left_out(bad: float, side: int) -> None:
    sums, both = RegressionSums(), [numbers(3, 1, 1, 2), numbers(3, 1, 1, 1)]
    both[side][1] = bad
    sums.update(*both)
    assert sums.whole() is None
    assert sums.parts() is None


def residual() -> Model:
    b = Builder()
    x = b.input("x", ["n", 3, 5, 5])
    h = b.op("Relu", b.op("Conv", x, b.weight(4, 3, 1, 1), to="c0"), to="r")
    g = b.op("Relu", b.op("Conv", h, b.weight(6, 4, 1, 1), to="c1"))
    s = b.op("Add", h, b.op("Conv", g, b.weight(4, 6, 1, 1), to="c2"), to="y")
    b.output(s, ["n", 4, 5, 5])
    return b.model()


def test_targets_make_up_for_layers_before_and_for_the_shortcut() -> None:
    reference = residual()
    candidate = reference.clone()
    sites: list[list[Site]] = [[], []]
    for model, found in zip((reference, candidate), sites, strict=True):
        for node in model.graph.nodes:
            site = site_of(node)
            if isinstance(site, Site):
                found.append(site)
    first = sites[1][0].node.inputs[1]
    assert first is not None
    edit.set_weight(first, numbers(4, 3, 1, 1, seed=4) * np.float32(0.3))
    feeds = [{"x": numbers(6, 3, 5, 5, seed=s)} for s in range(2)]
    lockstep = Lockstep(reference, candidate, InMemory(feeds))
    both = lockstep.sums([Twins(sites[0][2], sites[1][2])])
    assert both is not None
    sums = both.whole()
    assert sums is not None

    names = ["r", sites[0][2].layer.data.name, "c2"]
    seen = []
    for model in (reference, candidate):
        values = [v for n in model.graph.nodes for v in n.outputs if v and v.name in names]
        session = Session(model, extra_outputs=values)
        runs = [session.run(f, names) for f in feeds]
        seen.append({n: np.concatenate([r[n] for r in runs]) for n in names})
    rows = seen[1][names[1]]
    targets = seen[0]["c2"] + seen[0]["r"] - seen[1]["r"]
    np.testing.assert_allclose(sums.x[0], rows.mean((0, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(sums.y[0], targets.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sums.yy[0], targets.var((0, 2, 3)), rtol=1e-4)


def test_places_of_the_original_count_what_they_are_said_to() -> None:
    model = residual()
    site = site_of(next(n for n in model.graph.nodes if n.output.name == "c1"))
    assert isinstance(site, Site)
    feeds = [{"x": numbers(6, 3, 5, 5, seed=s)} for s in range(2)]

    def means(weights: np.ndarray, feeds: list[dict[str, np.ndarray]]) -> np.ndarray:
        candidate = model.clone()
        made = Lockstep(model, candidate, InMemory(feeds), weights={"c1": weights})
        twin = site_of(next(n for n in candidate.graph.nodes if n.output.name == "c1"))
        assert isinstance(twin, Site)
        found = made.sums([Twins(site, twin)])
        whole = None if found is None else found.whole()
        assert whole is not None
        return whole.x

    odd = np.arange(12) % 2 == 1
    most = np.where(odd[:, None], np.float32(1e6), np.float32(1)) * np.ones((1, 25), np.float32)
    only = [{"x": f["x"][1::2]} for f in feeds]
    every = np.ones((12, 25), np.float32)
    np.testing.assert_allclose(means(most, feeds), means(every, only), rtol=1e-4)
    # of items that nothing is said of, each counts 1
    np.testing.assert_allclose(means(every[:6], feeds), means(every, feeds), rtol=1e-5)
    place = every * np.where(np.arange(25) == 7, np.float32(1e6), np.float32(1))
    one = [{"x": f["x"][:, :, 1:2, 2:3]} for f in feeds]
    np.testing.assert_allclose(means(place, feeds), means(every[:, :1], one), rtol=1e-3)


def mixer(kernel: np.ndarray) -> tuple[Model, Site]:
    """A layer over time behind channels, [n, channels, time]."""
    b = Builder(1)
    h = b.op("Conv", b.input("x", ["n", 3, 5]), b.const(kernel), to="wide")
    h = b.op("Relu", b.op("MatMul", h, b.weight(5, 5), to="time"))
    b.output(h, ["n", None, 5])
    model = b.model()
    onnx_api.infer_types(model)
    site = site_of(model.graph.nodes[1])
    assert isinstance(site, Site)
    return model, site


def test_rows_are_paired_with_those_of_the_same_place() -> None:
    kernel, gone = numbers(6, 3, 1), np.array([1, 4])
    reference, theirs = mixer(kernel)
    candidate, ours = mixer(np.delete(kernel, gone, 0))
    data = InMemory([{"x": numbers(9, 3, 5, seed=s)} for s in range(2)])
    lockstep = Lockstep(reference, candidate, data, lost={"time": {1: gone}})
    sums = lockstep.sums([Twins(theirs, ours)])
    whole = None if sums is None else sums.whole()
    assert whole is not None
    matrix = ours.matrix(ours.layer.weight)
    assert whole.about_zero().errors(matrix, np.zeros((1, 5))).max() < 1e-5 * whole.yy.min()
    assert Lockstep(reference, candidate, data).sums([Twins(theirs, ours)]) is None
