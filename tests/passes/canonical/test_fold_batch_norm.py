"""Batch normalization behind and in front of every linear layer."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto as T
from onnx import helper

from passes.merging.affine import batch_norm
from tests.build import Builder
from tests.passes.canonical.folding import (
    CHANNELS_IN,
    CHANNELS_OUT,
    CONVS,
    GEMMS,
    Result,
    data_shape,
    linear,
    run,
)


def behind(kind: str, opset: int = 17) -> Result:
    b = Builder()
    x = b.input("x", data_shape(kind))
    b.batch_norm(linear(b, kind, x), CHANNELS_OUT, to="y")
    b.output("y")
    return run("fold-batch-norm", b.model(opset))


@pytest.mark.parametrize("kind", [*CONVS, *GEMMS])
def test_behind(kind: str) -> None:
    result = behind(kind)
    assert list(result.ops) == [kind.partition(":")[0].rstrip("123")]
    assert not result.codes
    result.same()


@pytest.mark.parametrize("opset", [8, 9, 13, 15])
def test_opsets(opset: int) -> None:
    result = behind("Conv:pad", opset)
    assert list(result.ops) == ["Conv"]
    result.same()


def test_behind_matmul_one_add_stays() -> None:
    result = behind("MatMul")
    assert result.ops == {"MatMul": 1, "Add": 1}
    result.same()


FRONT = [k for k in CONVS if "pad" not in k and "Transpose" not in k]


@pytest.mark.parametrize("kind", [*FRONT, *[g for g in GEMMS if "ta" not in g]])
def test_in_front(kind: str) -> None:
    b = Builder()
    x = b.input("x", data_shape(kind))
    b.op("Identity", linear(b, kind, b.batch_norm(x, CHANNELS_IN)), to="y")
    b.output("y")
    result = run("fold-batch-norm", b.model())
    assert "BatchNormalization" not in result.ops
    result.same()


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("Conv:pad", "padding"),
        ("ConvTranspose", "overlap"),
        ("MatMul", "no-bias"),
        ("Gemm:ta", "axis"),
    ],
)
def test_in_front_shift_that_cannot_move(kind: str, code: str) -> None:
    b = Builder()
    shape = [3, CHANNELS_IN] if kind == "MatMul" else data_shape(kind)
    channels = 3 if code == "axis" else CHANNELS_IN
    linear(b, kind, b.batch_norm(b.input("x", shape), channels), to="y")
    b.output("y")
    result = run("fold-batch-norm", b.model())
    assert result.codes == {code: 1}
    assert not result.outcome


@pytest.mark.parametrize("kind", ["Conv:pad,group", "ConvTranspose:group,stride", "MatMul"])
def test_in_front_scale_alone_always_moves(kind: str) -> None:
    b = Builder()
    x = b.input("x", [3, CHANNELS_IN] if kind == "MatMul" else data_shape(kind))
    zero = b.const(np.zeros(CHANNELS_IN, np.float32))
    one = b.positive(CHANNELS_IN)
    h = b.op("BatchNormalization", x, one, zero, zero, b.positive(CHANNELS_IN))
    linear(b, kind, h, to="y")
    b.output("y")
    result = run("fold-batch-norm", b.model())
    assert "BatchNormalization" not in result.ops
    result.same()


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [(np.float16, "Conv"), (np.float64, "Gemm"), (ml_dtypes.bfloat16, "Conv")],
)
def test_element_types_are_kept(dtype: Any, kind: str) -> None:
    b = Builder(1)
    code = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    h = linear(b, kind, b.input("x", data_shape(kind), code), dtype=dtype)
    params = [b.const(b.rng.uniform(0.5, 1.5, 4).astype(dtype)) for _ in range(4)]
    b.op("BatchNormalization", h, *params, to="y")
    b.output("y", None, code)
    result = run("fold-batch-norm", b.model(15))
    assert list(result.ops) == [kind]
    weight = result.after.graph.nodes[0].inputs[1]
    assert weight is not None
    assert weight.data is not None
    assert weight.data.dtype == dtype
    if dtype is not ml_dtypes.bfloat16:  # the runtime has no bfloat16 Conv on the CPU
        result.same(2e-3 if dtype is np.float16 else 1e-14)


def test_float16_below_normal_range_is_declined() -> None:
    b = Builder()
    x = b.input("x", data_shape("Conv"), T.FLOAT16)
    h = b.op("Conv", x, b.weight(4, 6, 3, 3, dtype=np.float16))
    ones = b.const(np.ones(4, np.float16))
    tiny = b.const(np.full(4, 1e-5, np.float16))
    b.op("BatchNormalization", h, tiny, ones, ones, ones, to="y")
    b.output("y", None, T.FLOAT16)
    result = run("fold-batch-norm", b.model(15))
    assert result.codes == {"non-finite": 1}


def test_zero_variance_is_declined() -> None:
    b = Builder()
    h = linear(b, "Conv", b.input("x", data_shape("Conv")))
    ones, bad = b.const(np.ones(4, np.float32)), b.const(np.full(4, -1.0, np.float32))
    b.op("BatchNormalization", h, ones, ones, ones, bad, to="y")
    b.output("y")
    result = run("fold-batch-norm", b.model())
    assert result.codes == {"non-finite": 1}
    assert not result.outcome


def _two_readers(b: Builder, h: str) -> None:
    b.batch_norm(h, CHANNELS_OUT, to="y")
    b.op("Relu", h, to="z")
    b.output("z")


def _conv_is_output(b: Builder, h: str) -> None:
    b.batch_norm(h, CHANNELS_OUT, to="y")
    b.output(h)


def _dynamic_mean(b: Builder, h: str) -> None:
    one = b.positive(CHANNELS_OUT)
    mean = b.op("Relu", b.input("mean", [CHANNELS_OUT]))
    b.op("BatchNormalization", h, one, one, mean, one, to="y")


def _training(b: Builder, h: str) -> None:
    one = b.positive(CHANNELS_OUT)
    b.ops("BatchNormalization", [h, one, one, one, one], ["y", "m", "v"], training_mode=1)


def _relu_between(b: Builder, h: str) -> None:
    b.batch_norm(b.op("Relu", h), CHANNELS_OUT, to="y")


@pytest.mark.parametrize(
    ("finish", "code"),
    [
        (_two_readers, "several-readers"),
        (_conv_is_output, "is-output"),
        (_dynamic_mean, "dynamic-parameter"),
        (_training, "training"),
        (_relu_between, "no-linear-neighbour"),
    ],
)
def test_left_alone(finish: Any, code: str) -> None:
    b = Builder()
    finish(b, linear(b, "Conv", b.input("x", data_shape("Conv"))))
    b.output("y")
    result = run("fold-batch-norm", b.model())
    assert result.codes == {code: 1}
    assert not result.outcome


def test_extra_outputs_before_opset_14_mean_training() -> None:
    b = Builder()
    h, one = linear(b, "Conv", b.input("x", data_shape("Conv"))), b.positive(CHANNELS_OUT)
    b.ops("BatchNormalization", [h, one, one, one, one], ["y", "a", "b", "c", "d"])
    b.output("y")
    assert run("fold-batch-norm", b.model(9)).codes == {"training": 1}


def test_dynamic_weight_is_declined() -> None:
    b = Builder()
    x, w = b.input("x", data_shape("Conv")), b.input("w", [4, 6, 3, 3])
    b.batch_norm(b.op("Conv", x, w), 4, to="y")
    b.output("y")
    assert run("fold-batch-norm", b.model()).codes == {"dynamic-weight": 1}


@pytest.mark.parametrize("large", [False, True])
def test_shared_weight_is_copied_when_small(large: bool) -> None:
    b = Builder()
    channels = 80 if large else 4
    x = b.input("x", [1, channels, 5, 5])
    weight = b.weight(channels, channels, 3, 3)
    for name in ("y", "z"):
        b.batch_norm(b.op("Conv", x, weight), channels, to=name)
        b.output(name)
    result = run("fold-batch-norm", b.model())
    assert result.codes == ({"shared-weight": 2} if large else {})
    assert ("BatchNormalization" in result.ops) is large
    result.same()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    groups=st.sampled_from([1, 2, 3]),
    taps=st.integers(1, 3),
    stride=st.integers(1, 3),
    pad=st.integers(0, 1),
    transpose=st.booleans(),
    biased=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_convolution(
    groups: int, taps: int, stride: int, pad: int, transpose: bool, biased: bool, seed: int
) -> None:
    b = Builder(seed)
    i, o = 2 * groups, 3 * groups
    shape = (i, o // groups) if transpose else (o, i // groups)
    bias = [b.weight(o)] if biased else []
    b.batch_norm(
        b.op(
            "ConvTranspose" if transpose else "Conv",
            b.input("x", [2, i, 6, 5]),
            b.weight(*shape, taps, taps),
            *bias,
            group=groups,
            strides=[stride, 1],
            pads=[min(pad, taps - 1)] * 4,
        ),
        o,
        to="y",
    )
    b.output("y")
    result = run("fold-batch-norm", b.model())
    assert "BatchNormalization" not in result.ops
    result.same(5e-6)


def test_arithmetic() -> None:
    scale, shift = batch_norm(
        np.array([2.0]), np.array([1.0]), np.array([3.0]), np.array([3.0]), 1.0
    )
    assert scale == pytest.approx(1.0)
    assert shift == pytest.approx(-2.0)
