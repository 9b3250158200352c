"""Gradients of reductions and of normalizations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ocompress.analysis.gradients.program import Program
from ocompress.ir.onnx_api import infer_types
from tests.analysis.gradients.differences import check, unary
from tests.build import Builder

F = np.float32
RNG = np.random.default_rng(4)
AXES = np.array([1, -1], np.int64)
REDUCTIONS = ["Sum", "Mean", "Max", "Min", "L1", "L2", "SumSquare", "LogSumExp"]


def scale(*shape: int) -> Any:
    return RNG.uniform(0.5, 1.5, shape).astype(F)


@pytest.mark.parametrize("op", REDUCTIONS)
@pytest.mark.parametrize("keep", [0, 1])
def test_reductions_over_some_axes(op: str, keep: int) -> None:
    check(unary(f"Reduce{op}", (2, 3, 2, 2), AXES, keepdims=keep))


@pytest.mark.parametrize("op", ["Sum", "Mean", "Max", "L2"])
def test_reductions_over_all_axes(op: str) -> None:
    check(unary(f"Reduce{op}", (2, 3), keepdims=0))


def test_axes_as_an_attribute() -> None:
    check(unary("ReduceMean", (2, 3, 4), axes=[-1], keepdims=0), opset=11)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [-1, 1])
def test_softmax_along_one_axis(op: str, axis: int) -> None:
    check(unary(op, (2, 3, 4), axis=axis))


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_softmax_over_all_axes_from_one_on(op: str) -> None:
    x = RNG.standard_normal((2, 3, 2)).astype(F)
    seed = RNG.standard_normal((2, 3, 2)).astype(F)
    found = []
    for opset, shape in ((11, [2, 3, 2]), (13, [2, 6])):
        b = Builder()
        b.op(op, b.input("x", shape), to="y", axis=1)
        b.output("y")
        model = b.model(opset)
        infer_types(model)
        feeds = {"x": x.reshape(shape)}
        program = Program(model, ["x"], feeds)
        made = program.forward(feeds)
        found.append(program.backward(made, {"y": seed.reshape(shape)})["x"].reshape(x.shape))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axis", [-1, 1])
def test_layer_normalization(axis: int) -> None:
    shape = (4,) if axis == -1 else (3, 4)
    check(unary("LayerNormalization", (2, 3, 4), scale(*shape), scale(*shape), axis=axis))


def test_root_mean_square_normalization() -> None:
    check(unary("RMSNormalization", (2, 3, 4), scale(4)), opset=23)


def test_batch_normalization() -> None:
    rest = scale(3), scale(3), scale(3), scale(3)
    check(unary("BatchNormalization", (2, 3, 2, 2), *rest, epsilon=1e-2))


def test_instance_normalization() -> None:
    check(unary("InstanceNormalization", (2, 3, 3, 2), scale(3), scale(3)))


def test_group_normalization() -> None:
    check(
        unary("GroupNormalization", (2, 4, 3), scale(4), scale(4), num_groups=2),
        opset=21,
        coarse=True,
    )


@pytest.mark.parametrize("axis", [-1, 1])
def test_two_norm(axis: int) -> None:
    check(unary("LpNormalization", (2, 3, 4), axis=axis, p=2))
