"""Rows times the matrix are the layer's outputs, for every kind of layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ocompress.analysis.linear_layer import Refusal
from ocompress.analysis.linear_rows import Site, bias_place, site_of
from ocompress.ir import Model, onnx_api
from ocompress.runtime import Level, Session
from tests.build import Builder

CONVS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 6, 9, 8), (4, 6, 3, 2), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    ((2, 6, 9, 8), (8, 3, 3, 3), {"group": 2, "dilations": [2, 1]}),
    ((2, 6, 9, 8), (6, 1, 3, 3), {"group": 6, "pads": [1, 1, 1, 1]}),
    ((2, 6, 9, 8), (5, 6, 1, 1), {}),
    ((2, 6, 9, 8), (4, 6, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ((3, 4, 11), (5, 4, 3), {"pads": [1, 1]}),
    ((1, 2, 4, 5, 6), (3, 2, 2, 2, 2), {}),
]
TRANSPOSED: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 4, 5, 6), (4, 3, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ((2, 4, 5, 6), (4, 3, 3, 2), {"strides": [3, 2], "output_padding": [1, 1], "group": 2}),
    ((2, 4, 5, 6), (4, 3, 2, 2), {"dilations": [2, 1], "pads": [0, 1, 1, 0]}),
    ((2, 4, 7), (4, 6, 4), {"strides": [2], "group": 4}),
]


def check(model: Model, x: np.ndarray, bias: np.ndarray | None = None) -> Site:
    onnx_api.infer_types(model)
    node = next(n for _, n in model.nodes() if n.label == "y")
    site = site_of(node)
    assert isinstance(site, Site)
    y = Session(model, level=Level.DISABLED).run({"x": x})["y"]
    places = site.places(x, site.least_rows, np.random.default_rng(0))
    assert len(places) == site.result_places(y)
    some = places[::2]
    matrix = site.matrix(site.layer.weight)
    assert matrix.shape == (site.groups, site.inputs, site.outputs)
    made = np.einsum("npgi,gio->npgo", site.rows(x, some), matrix)
    made = made.reshape(*made.shape[:2], -1) + (0 if bias is None else bias)
    wanted = site.results(y, some)
    np.testing.assert_allclose(made, wanted.reshape(*wanted.shape[:2], -1), atol=1e-4)
    np.testing.assert_array_equal(site.weight(matrix), site.layer.weight)
    return site


@pytest.mark.parametrize(
    ("kernel", "group", "least", "fitted"),
    [
        ((16, 8, 3, 3), 1, 4096, 32768),
        ((64, 64, 3, 3), 1, 4608, 36864),
        ((16, 512, 3, 3), 1, 36864, 36864),  # products of all pairs of inputs are much work
        ((4096, 1, 3, 3), 4096, 4096, 4096),  # and rows of many groups many numbers
        ((512, 64, 3, 3), 1, 4608, 30840),
    ],
)
def test_a_fit_is_made_from_more_rows_where_they_are_cheap(
    kernel: tuple[int, ...], group: int, least: int, fitted: int
) -> None:
    b = Builder()
    x = b.input("x", (1, kernel[1] * group, 8, 8))
    b.op("Conv", x, b.weight(*kernel), to="y", group=group)
    b.output("y")
    site = site_of(b.model().graph.nodes[0])
    assert isinstance(site, Site)
    assert (site.least_rows, site.fit_rows) == (least, fitted)


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(("shape", "kernel", "attrs"), CONVS)
def test_conv(shape: tuple[int, ...], kernel: tuple[int, ...], attrs: dict[str, Any]) -> None:
    b = Builder()
    bias = numbers(kernel[0])
    b.op("Conv", b.input("x", shape), b.weight(*kernel), b.const(bias), to="y", **attrs)
    b.output("y")
    assert bias_place(check(b.model(), numbers(*shape), bias)) is not None


@pytest.mark.parametrize(("shape", "kernel", "attrs"), TRANSPOSED)
def test_conv_transpose(
    shape: tuple[int, ...], kernel: tuple[int, ...], attrs: dict[str, Any]
) -> None:
    b = Builder()
    b.op("ConvTranspose", b.input("x", shape), b.weight(*kernel), to="y", **attrs)
    b.output("y")
    check(b.model(), numbers(*shape))


@pytest.mark.parametrize("attrs", [{}, {"transA": 1}, {"transB": 1, "alpha": 0.5}])
def test_gemm(attrs: dict[str, Any]) -> None:
    b = Builder()
    shape = (5, 7) if attrs.get("transA") else (7, 5)
    kernel = (3, 5) if attrs.get("transB") else (5, 3)
    b.op("Gemm", b.input("x", shape), b.weight(*kernel), to="y", **attrs)
    b.output("y")
    check(b.model(), numbers(*shape))


@pytest.mark.parametrize("shape", [(7, 5), (2, 4, 5), (2, 3, 4, 5)])
def test_matmul(shape: tuple[int, ...]) -> None:
    b = Builder()
    b.op("MatMul", b.input("x", shape), b.weight(5, 3), to="y")
    b.output("y")
    assert bias_place(check(b.model(), numbers(*shape))) is None


def test_matmul_with_the_weight_on_the_left() -> None:
    b = Builder()
    b.op("MatMul", b.weight(3, 5), b.input("x", (2, 5, 4)), to="y")
    b.output("y")
    check(b.model(), numbers(2, 5, 4))


def test_the_bias_of_a_matmul_is_the_add_behind_it() -> None:
    b = Builder()
    h = b.op("MatMul", b.input("x", (2, 4, 5)), b.weight(5, 3), to="m")
    b.op("Add", b.const(numbers(3), "bias"), h, to="y")
    b.output("y")
    model = b.model()
    onnx_api.infer_types(model)
    site = site_of(next(n for _, n in model.nodes() if n.label == "m"))
    assert isinstance(site, Site)
    place = bias_place(site)
    assert place is not None
    assert (place[0].label, place[1]) == ("y", 0)


def test_what_depends_on_unknown_extents_is_refused() -> None:
    b = Builder()
    x = b.input("x", ["n", 3, "h", "w"])
    b.op("Conv", x, b.weight(4, 3, 3, 3), to="y", auto_pad="SAME_LOWER")
    b.output("y")
    model = b.model()
    found = site_of(next(n for _, n in model.nodes() if n.label == "y"))
    assert isinstance(found, Refusal)
    assert found.code == "auto-pad"
