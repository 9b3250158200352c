"""Constants multiplied and added around linear layers, in every spelling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocompress.analysis.weight_form import WeightForm, rounded
from passes.merging import affine
from tests.build import Builder
from tests.passes.canonical.folding import (
    CHANNELS_IN,
    CHANNELS_OUT,
    CONVS,
    GEMMS,
    data_shape,
    linear,
    run,
)

Spell = Callable[[Builder, str, tuple[int, ...]], str]


def mul_add(b: Builder, x: str, shape: tuple[int, ...]) -> str:
    return b.op("Add", b.op("Mul", x, b.positive(*shape)), b.weight(*shape))


def flipped_mul_add(b: Builder, x: str, shape: tuple[int, ...]) -> str:
    return b.op("Add", b.weight(*shape), b.op("Mul", b.positive(*shape), x))


def sub_mul_add(b: Builder, x: str, shape: tuple[int, ...]) -> str:
    return mul_add(b, b.op("Sub", x, b.weight(*shape)), shape)


def sub_div_mul_add(b: Builder, x: str, shape: tuple[int, ...]) -> str:
    return mul_add(b, b.op("Div", b.op("Sub", x, b.weight(*shape)), b.positive(*shape)), shape)


def constant_minus_x(b: Builder, x: str, shape: tuple[int, ...]) -> str:
    return b.op("Sub", b.weight(*shape), x)


SPELLINGS = [mul_add, flipped_mul_add, sub_mul_add, sub_div_mul_add, constant_minus_x]


def constant_shape(kind: str, channels: int) -> tuple[int, ...]:
    rank = len(data_shape(kind)) - 2
    if "ta" in kind:
        return (channels, 1)
    return (channels, *[1] * rank) if rank else (channels,)


@pytest.mark.parametrize("spell", SPELLINGS)
@pytest.mark.parametrize("kind", [*CONVS, *[g for g in GEMMS if "matrix" not in g]])
def test_behind(kind: str, spell: Spell) -> None:
    b = Builder()
    shape = constant_shape(kind.replace("ta", ""), CHANNELS_OUT)
    b.op("Identity", spell(b, linear(b, kind, b.input("x", data_shape(kind))), shape), to="y")
    b.output("y")
    result = run("fold-affine", b.model())
    assert set(result.ops) == {"Identity", kind.partition(":")[0].rstrip("123")}
    result.same()


@pytest.mark.parametrize("spell", SPELLINGS)
@pytest.mark.parametrize("kind", ["Conv:stride", "Conv1:group,nobias", "Gemm:alpha,ta", "Gemm:tb"])
def test_in_front(kind: str, spell: Spell) -> None:
    b = Builder()
    x = b.input("x", data_shape(kind))
    linear(b, kind, spell(b, x, constant_shape(kind, CHANNELS_IN)), to="y")
    b.output("y")
    result = run("fold-affine", b.model())
    assert list(result.ops) == [kind.partition(":")[0].rstrip("1")]
    result.same()


@pytest.mark.parametrize(
    "shape", [(), (1,), (1, 1, 1, 1), (CHANNELS_OUT, 1, 1), (1, CHANNELS_OUT, 1, 1)]
)
def test_shapes_of_constants(shape: tuple[int, ...]) -> None:
    b = Builder()
    h = linear(b, "Conv:pad", b.input("x", data_shape("Conv")))
    h = b.op("Mul", h, b.const(b.rng.uniform(0.5, 2, shape).astype(np.float32)))
    b.op("Add", h, b.const(b.rng.uniform(0.5, 2, shape).astype(np.float32)), to="y")
    b.output("y")
    result = run("fold-affine", b.model())
    assert list(result.ops) == ["Conv"]
    result.same()


@pytest.mark.parametrize("shape", [(7,), (1, 1, 5, 5), (2, 1, 1, 1), (1, 1, 4, 1, 1)])
def test_constants_that_vary_elsewhere(shape: tuple[int, ...]) -> None:
    b = Builder()
    h = linear(b, "Conv:stride", b.input("x", data_shape("Conv")))
    b.op("Mul", h, b.weight(*shape), to="y")
    b.output("y")
    result = run("fold-affine", b.model())
    assert result.codes == {"not-per-channel": 1}
    assert not result.outcome


def test_grey_image_broadcast_to_channels_is_left_alone() -> None:
    b = Builder()
    h = b.op("Mul", b.input("x", [1, 1, 7, 7]), b.weight(CHANNELS_IN, 1, 1))
    linear(b, "Conv", h, to="y")
    b.output("y")
    result = run("fold-affine", b.model())
    assert result.codes == {"unknown-shape": 1}
    assert not result.outcome


@pytest.mark.parametrize("kind", ["Conv:pad,group", "ConvTranspose", "MatMul"])
def test_one_add_stays_in_front_where_it_cannot_be_a_bias(kind: str) -> None:
    b = Builder()
    x = b.input("x", ["n", CHANNELS_IN] if kind == "MatMul" else data_shape(kind))
    linear(b, kind, sub_div_mul_add(b, x, constant_shape(kind, CHANNELS_IN)), to="y")
    b.output("y")
    result = run("fold-affine", b.model())
    assert result.ops == {"Add": 1, kind.partition(":")[0]: 1}
    result.same()
    again = run("fold-affine", result.after)
    assert not again.outcome
    assert sum(again.codes.values()) == 1


@pytest.mark.parametrize("left", [False, True])
def test_matmul_with_constant_on_either_side(left: bool) -> None:
    b = Builder()
    x, w = b.input("x", ["n", 5, 6]), b.weight(*((4, 5) if left else (6, 4)))
    h = b.op("MatMul", *((w, x) if left else (x, w)))
    shape = (4, 1) if left else (4,)
    h = b.op("Mul", b.op("Add", h, b.weight(*shape)), b.positive(*shape))
    b.op("Sub", h, b.weight(*shape), to="y")
    b.output("y")
    result = run("fold-affine", b.model())
    assert result.ops == {"MatMul": 1, "Add": 1}
    result.same()


def test_matmul_with_its_bias_is_left_to_itself() -> None:
    b = Builder()
    b.op("Add", b.op("MatMul", b.input("x", ["n", 6]), b.weight(6, 4)), b.weight(4), to="y")
    b.output("y")
    result = run("fold-affine", b.model())
    assert not result.outcome
    assert not result.codes


def test_stack_of_matrices() -> None:
    b = Builder()
    h = b.op("MatMul", b.input("x", [3, 5, 6]), b.weight(3, 6, 4))
    b.op("Mul", h, b.positive(4), to="y")
    b.output("y")
    result = run("fold-affine", b.model())
    assert result.ops == {"MatMul": 1}
    result.same()


def test_batch_norm_takes_what_follows_it() -> None:
    b = Builder()
    h = b.batch_norm(b.op("Relu", b.input("x", ["n", 4, 5, 5])), 4)
    h = b.op("Add", b.op("Mul", h, b.positive(4, 1, 1)), b.weight(1, 4, 1, 1))
    b.op("Div", b.op("Transpose", h, perm=[0, 2, 3, 1]), b.positive(4), to="y")
    b.output("y")
    result = run("fold-affine", b.model())
    assert result.ops == {"Relu": 1, "BatchNormalization": 1, "Transpose": 1}
    result.same()


def test_gemm_with_constant_left() -> None:
    b = Builder()
    h = b.op("Gemm", b.weight(4, 5), b.input("x", [5, 6]), b.weight(6), alpha=0.5, beta=2.0)
    mul_add_rows = b.op("Add", b.op("Mul", h, b.positive(4, 1)), b.weight(4, 1))
    b.op("Identity", mul_add_rows, to="y")
    b.output("y")
    result = run("fold-affine", b.model())
    assert set(result.ops) == {"Gemm", "Identity"}
    result.same()


def test_ends_of_layer_norm_and_gelu_stay() -> None:
    b = Builder()
    x = b.input("x", ["n", 5, 8])
    mean = b.op("ReduceMean", x, axes=[-1])
    d = b.op("Sub", x, mean)
    var = b.op("ReduceMean", b.op("Mul", d, d), axes=[-1])
    std = b.op("Sqrt", b.op("Add", var, b.const(np.float32(1e-5))))
    h = b.op("Div", d, std)
    h = b.op("Add", b.op("Mul", h, b.positive(8)), b.weight(8))
    h = b.op("Add", b.op("MatMul", h, b.weight(8, 8)), b.weight(8))
    e = b.op("Erf", b.op("Div", h, b.const(np.float32(2**0.5))))
    g = b.op("Mul", h, b.op("Add", e, b.const(np.float32(1))))
    g = b.op("Mul", g, b.const(np.float32(0.5)))
    b.op("MatMul", g, b.weight(8, 4), to="y")
    b.output("y")
    result = run("fold-affine", b.model())
    assert not result.outcome
    assert result.codes["layer-norm"] == 2
    assert result.codes["gelu"] == 1


def test_overflow_is_declined() -> None:
    b = Builder()
    h = linear(b, "Conv", b.input("x", data_shape("Conv")))
    h = b.op("Div", h, b.const(np.array([1, 0, 1, 1], np.float32).reshape(4, 1, 1)))
    b.op("Identity", h, to="y")
    b.output("y")
    result = run("fold-affine", b.model())
    assert result.codes == {"non-finite": 1}
    assert not result.outcome


def test_integers_are_left_alone() -> None:
    b = Builder()
    x = b.input("x", ["n", 6], 6)
    h = b.op("Mul", x, b.const(np.full(6, 2, np.int32)))
    b.op("MatMul", h, b.const(np.ones((6, 4), np.int32)), to="y")
    b.output("y", None, 6)
    result = run("fold-affine", b.model())
    assert not result.outcome


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["Mul", "Add", "Sub", "Div"]), st.booleans(), st.booleans()),
        min_size=1,
        max_size=5,
    ),
    front=st.booleans(),
    kind=st.sampled_from(["Conv", "ConvTranspose:group", "Gemm:alpha,tb", "MatMul"]),
    seed=st.integers(0, 100),
)
def test_any_chain(steps: list[tuple[str, bool, bool]], front: bool, kind: str, seed: int) -> None:
    b = Builder(seed)
    h = b.input("x", data_shape(kind))
    if not front:
        h = linear(b, kind, h)
    for op, flip, scalar in steps:
        channels = CHANNELS_IN if front else CHANNELS_OUT
        constant = b.positive(*(() if scalar else constant_shape(kind, channels)))
        first, second = (constant, h) if flip and op != "Div" else (h, constant)
        h = b.op(op, first, second)
    if front:
        h = linear(b, kind, h)
    b.op("Identity", h, to="y")
    b.output("y")
    result = run("fold-affine", b.model())
    result.same(1e-5)


def test_through_meets_every_tap() -> None:
    form = WeightForm((4, 1, 3), 0, 1, 2)
    weight = np.arange(12.0).reshape(4, 1, 3)
    assert form.inputs == 2
    np.testing.assert_array_equal(form.through(weight, np.array([1.0, 10.0])), [3, 12, 210, 300])
    flipped = WeightForm((2, 2, 1), 1, 0, 2)
    assert flipped.outputs == 4
    np.testing.assert_array_equal(
        flipped.through(np.arange(4.0).reshape(2, 2, 1), np.array([1.0, 10.0])), [0, 1, 20, 30]
    )
    np.testing.assert_array_equal(
        flipped.along(1, np.array([1.0, 2.0, 3.0, 4.0])).reshape(2, 2), [[1, 2], [3, 4]]
    )


def test_rounded_refuses_what_is_lost() -> None:
    half = np.dtype(np.float16)
    assert rounded(np.array([[7e4]]), half) is None
    assert rounded(np.array([[1e-6, 2e-6]]), half) is None
    assert rounded(np.array([[1.0, 1e-7]]), half) is not None
    assert rounded(np.array([np.nan]), np.dtype(np.float32)) is None


def test_axes_named_twice_are_not_followed() -> None:
    """Runtimes take such a Squeeze, which does not say how many axes its input has."""
    b = Builder()
    b.op("Squeeze", b.input("x", ["n", 1, 4]), b.const(np.array([1, 1])), to="y")
    b.output("y", ["n", 4])
    (node,) = b.model().graph.nodes
    assert affine.backward(node, (None, 0)) is None
