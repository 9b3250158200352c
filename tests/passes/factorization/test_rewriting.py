"""Chains in a model: at full rank they do what the layer did, whatever its attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ocompress.analysis.linear_rows import Site, site_of
from ocompress.ir import Model, onnx_api
from passes.factorization.catalogue import FORMS
from passes.factorization.forms import ChainForm
from passes.factorization.layers import problems_of
from passes.factorization.rewriting import factored, flattens, put
from tests.build import Builder
from tests.contract.harness import check
from tests.passes.factorization.chains import lost

CONVS: list[tuple[tuple[int, ...], int, dict[str, Any]]] = [
    ((8, 6, 1, 1), 1, {"strides": [2, 2]}),
    ((6, 5, 3, 3), 1, {"pads": [1, 1, 1, 1]}),
    ((6, 4, 3, 3), 2, {"pads": [0, 1, 2, 1], "strides": [2, 1]}),
    ((4, 3, 5, 3), 1, {"dilations": [1, 2], "pads": [2, 2, 2, 2]}),
    ((9, 2, 2, 4), 3, {"strides": [2, 3], "pads": [1, 0, 0, 3]}),
    ((3, 2, 7, 7), 1, {"pads": [3, 3, 3, 3], "strides": [2, 2]}),
    ((6, 4, 3, 3), 1, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ((6, 4, 3, 3), 1, {"auto_pad": "VALID"}),
    ((5, 4, 3), 1, {"pads": [1, 1], "dilations": [2]}),
    ((4, 3, 2, 3, 3), 1, {"pads": [1, 1, 1, 0, 1, 1], "strides": [1, 2, 1]}),
]
MATRICES = ["MatMul", "left", "Gemm", "transB", "alpha", "stacked", "transA"]


def conv(weight: tuple[int, ...], group: int, attrs: dict[str, Any]) -> Model:
    b = Builder(1)
    x = b.input("x", [2, weight[1] * group, *([11, 12, 9][: len(weight) - 2])])
    made = b.op("Conv", x, b.weight(*weight), b.weight(weight[0]), to="y", group=group, **attrs)
    b.output(made, [None] * len(weight))
    return b.model()


def matrix(kind: str) -> Model:
    b = Builder(2)
    shape = [2, 3, 8] if kind == "stacked" else [8, 5] if kind in ("left", "transA") else [5, 8]
    x = b.input("x", shape)
    if kind in ("MatMul", "stacked"):
        made = b.op("Add", b.op("MatMul", x, b.weight(8, 6), to="m"), b.weight(6))
    elif kind == "left":
        made = b.op("MatMul", b.weight(6, 8), x, to="m")
    else:
        attrs: dict[str, dict[str, Any]] = {
            "transA": {"transA": 1},
            "transB": {"transB": 1},
            "alpha": {"alpha": 0.5, "beta": 2.0},
        }
        weight = b.weight(6, 8) if kind == "transB" else b.weight(8, 6)
        made = b.op("Gemm", x, weight, b.weight(6), to="m", **attrs.get(kind, {}))
    b.output(made, [None] * len(shape))
    return b.model()


def through(model: Model, label: str, form: ChainForm) -> tuple[Model, bool]:
    """Put a form at full rank in place of a layer; False if it is none for it."""
    onnx_api.infer_types(model)
    after = model.clone()
    site = site_of(next(n for n in after.graph.nodes if n.label == label))
    assert isinstance(site, Site)
    maker = site.layer.data.producer
    shape = maker.inputs[0].shape if maker and flattens(site) and maker.inputs[0] else None
    weight = site.matrix(site.layer.weight.astype(np.float64))
    problems = problems_of(site, weight, None, None, shape)  # type: ignore[arg-type]
    if form.refusal(problems[0]) is not None or (site.transposed and not form.transposes):
        return after, False
    factors = []
    for problem in problems:
        seen = form.sees(problem)
        factors.append(form.start(seen)(form.most(seen)))
    chain = factored(form, problems, factors)
    np.testing.assert_allclose(chain.matrix(), weight, atol=1e-5)
    assert put([site], chain.links())
    after.sort()
    check(after)
    return after, True


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.name)
@pytest.mark.parametrize("case", CONVS, ids=str)
def test_convolutions_at_full_rank(
    case: tuple[tuple[int, ...], int, dict[str, Any]], form: ChainForm
) -> None:
    model = conv(*case)
    after, done = through(model, "y", form)
    several = sum(k > 1 for k in case[0][2:]) > 1
    wanted = {"channel": True, "grid": False, "spatial": several}
    assert done == wanted.get(form.method, int(np.prod(case[0][2:])) > 1)
    if done:
        assert len(after.graph.nodes) > 1
        assert lost(model, after) < 1e-5


@pytest.mark.parametrize("kind", MATRICES)
def test_matrices_at_full_rank(kind: str) -> None:
    model = matrix(kind)
    for form in FORMS:
        label = "m"
        after, done = through(model, label, form)
        assert done == (form.method == "channel")
        if done:
            assert sum(n.is_op("MatMul", "Gemm") for n in after.graph.nodes) == 2
            assert lost(model, after) < 1e-5


@pytest.mark.parametrize("flat", ["Flatten", "Reshape"])
def test_a_matrix_behind_a_flatten_is_taken_apart_along_both_axes(flat: str) -> None:
    b = Builder(4)
    x = b.input("x", [3, 2, 6, 8])
    shape = [b.const(np.array([3, 96]))] if flat == "Reshape" else []
    h = b.op(flat, x, *shape)
    b.output(b.op("Gemm", h, b.weight(96, 7), b.weight(7), to="m"), [None, None])
    model = b.model()
    form = next(f for f in FORMS if f.grid)
    after, done = through(model, "m", form)
    assert done
    assert lost(model, after) < 1e-5


@pytest.mark.parametrize("attrs", [{}, {"strides": [2, 2], "pads": [1, 0, 1, 1]}, {"group": 2}])
def test_transposed_convolutions(attrs: dict[str, Any]) -> None:
    b = Builder(5)
    x = b.input("x", [1, 6, 5, 7])
    outs = 4 // attrs.get("group", 1)
    b.output(
        b.op("ConvTranspose", x, b.weight(6, outs, 3, 3), b.weight(4), to="y", **attrs), [None] * 4
    )
    model = b.model()
    done = {}
    for form in FORMS:
        after, done[form.name] = through(model, "y", form)
        if done[form.name]:
            assert lost(model, after) < 1e-5
    assert [name for name, good in done.items() if good] == ["input"]


def test_half_precision_that_cannot_hold_a_factor_is_left() -> None:
    b = Builder(6)
    x = b.input("x", [1, 4], 10)
    weight = np.diag([6e4, 1, 1, 1]).astype(np.float16)
    b.output(b.op("MatMul", x, b.const(weight), to="m"), [None, None], 10)
    model = b.model()
    onnx_api.infer_types(model)
    site = site_of(model.graph.nodes[0])
    assert isinstance(site, Site)
    form = FORMS[0]
    problems = problems_of(site, site.matrix(site.layer.weight.astype(np.float64)), None, None)
    start = form.start(problems[0])((2,))
    start[0] = start[0] * 10
    assert not put([site], factored(form, problems, [start]).links())
    assert len(model.graph.nodes) == 1
