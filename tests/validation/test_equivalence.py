"""Equal up to rounding: no false alarms, and no lies that go through."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.ir import Model, edit
from ocompress.validation.equivalence import RoundingEquivalence
from tests.build import Builder, feeds
from tests.graphs import ZOO
from tests.validation.nets import after, classifier

X = np.random.default_rng(3).standard_normal((4, 4)).astype(np.float32)


def difference(before: Model, other: Model, **given: Any) -> str:
    fed = given or {"x": X}
    return RoundingEquivalence([fed]).difference(before, other)


def scaled(model: Model, factor: float, kind: type = np.float32) -> Model:
    """Multiply the first weight of a kind."""
    other = model.clone()
    for value in other.graph.initializers.values():
        if value.data is not None and value.data.dtype == kind and value.data.ndim > 1:
            edit.set_weight(value, (value.data * factor).astype(kind))
            break
    return other


@pytest.mark.parametrize("name", sorted(ZOO))
def test_a_clone_is_the_same(name: str) -> None:
    model = ZOO[name]()
    look = RoundingEquivalence([feeds(model), feeds(model, seed=1)])
    assert look.difference(model, model.clone()) == ""


def test_rounding_is_excused_and_a_thousandth_is_not() -> None:
    model = classifier()
    assert difference(model, scaled(model, 1 + 2.0**-22)) == ""
    said = difference(model, scaled(model, 1.001))
    assert said.startswith("output 'y0' is off by 0.00038 of its scale, where rounding explains")


def test_small_channels_have_a_scale_of_their_own() -> None:
    def model(score: float) -> Model:
        b = Builder(0)
        x = b.input("x", ["n", 4])
        boxes = b.op("Mul", x, b.const(np.float32(1000)))
        scores = b.op("Mul", x, b.const(np.float32(score)))
        b.op("Concat", boxes, scores, to="y", axis=1)
        b.output("y", ["n", 8])
        return b.model()

    x = np.random.default_rng(3).standard_normal((32, 4)).astype(np.float32)
    assert "'y'" in difference(model(0.001), model(0.00101), x=x)


def test_a_lie_in_one_of_several_outputs_is_found() -> None:
    model = classifier(outputs=2)
    other = model.clone()
    last = list(other.graph.initializers.values())[-1]
    assert last.data is not None
    edit.set_weight(last, last.data + np.float32(0.1))
    assert "'y1'" in difference(model, other)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (after("Concat", np.zeros((4, 1), np.float32), axis=1), "another shape"),
        (after("Sqrt"), "NaN"),
        (after("Mul", np.float32(0)), "'y0' is off by 1"),
    ],
)
def test_shapes_and_nan_are_told(other: Model, says: str) -> None:
    assert says in difference(classifier(), other)


def test_infinities_in_both_are_the_same() -> None:
    mask = np.array([0, -np.inf, np.nan], np.float32)
    assert difference(after("Add", mask), after("Add", mask)) == ""
    assert "NaN" in difference(after("Add", mask), after("Add", -mask))


def test_what_does_not_run_any_more_is_told() -> None:
    b = Builder(0)
    x = b.input("x", ["n", 4])
    b.op("Reshape", x, b.const(np.array([7, 7], np.int64)), to="y0")
    b.output("y0", ["n", "k"])
    assert "no longer runs" in difference(classifier(), b.model())
    assert difference(b.model(), classifier()) == ""  # the original does not: nothing is known


# -- models that amplify rounding, decide at ties, or draw random numbers --------------------


def amplifier(epsilon: float) -> Model:
    """Subtract nearly equal products, and divide by what is left."""
    b = Builder(0)
    x = b.input("x", ["n", 4])
    w = b.weight(4, 3)
    first = b.op("MatMul", x, w)
    other = b.op("MatMul", b.op("Mul", x, b.const(np.float32(1 + epsilon))), w)
    gap = b.op("Sub", other, first)
    b.op("Div", first, b.op("Abs", gap), to="y")
    b.output("y", ["n", 3])
    return b.model()


def test_amplified_rounding_is_no_lie() -> None:
    # the same sums in another order differ by far more than rounding of the output
    model, other = amplifier(1e-4), amplifier(1e-4)
    for value in other.graph.initializers.values():
        if value.data is not None and value.data.ndim == 2:
            edit.set_weight(value, np.nextafter(value.data, np.float32(np.inf)))
    look = RoundingEquivalence([{"x": X}])
    assert look.difference(model, other) == ""
    assert "'y'" in look.difference(model, amplifier(1.2e-4))


def ties(order: tuple[int, ...]) -> Model:
    """Take the largest of sums that are equal but for their order."""
    b = Builder(0)
    x = b.input("x", ["n", 4])
    columns = np.ones((4, 6), np.float32)
    parts = [b.op("MatMul", x, b.const(columns * np.float32(0.1)))]
    terms = [b.op("Gather", x, b.const(np.array([i], np.int64)), axis=1) for i in order]
    total = terms[0]
    for term in terms[1:]:
        total = b.op("Add", total, term)
    parts.append(b.op("Mul", total, b.const(np.float32(0.1))))
    b.op("ArgMax", b.op("Concat", *parts, axis=1), to="y", axis=1, keepdims=0)
    b.output("y", ["n"], T.INT64)
    return b.model()


def best(factor: float) -> Model:
    """Take the largest of four sums, one of them larger by a factor."""
    b = Builder(0)
    columns = np.random.default_rng(1).standard_normal((4, 4)).astype(np.float32)
    columns[:, 1] *= np.float32(factor)
    b.op("ArgMax", b.op("MatMul", b.input("x", ["n", 4]), b.const(columns)), to="y", axis=1)
    b.output("y", ["n", 1], T.INT64)
    return b.model()


def test_ties_are_no_lie_and_other_classes_are() -> None:
    x = np.random.default_rng(0).standard_normal((256, 4)).astype(np.float32)
    look = RoundingEquivalence([{"x": x}])
    assert look.difference(ties((0, 1, 2, 3)), ties((3, 1, 0, 2))) == ""

    assert "% of output 'y' are other values" in look.difference(best(1.0), best(1.02))


@pytest.mark.parametrize("op", ["RandomNormalLike", "RandomUniformLike", "Bernoulli", "Dropout"])
def test_random_operators_are_no_lie(op: str) -> None:
    b = Builder(0)
    x = b.op("Sigmoid", b.input("x", ["n", 4]))
    if op == "Dropout":
        b.op(op, x, b.const(np.float32(0.5)), b.const(np.array(True)), to="y")
    else:
        b.op(op, x, to="y")
    b.output("y", ["n", 4])
    b.op("Mul", x, b.const(np.float32(2)), to="z")
    b.output("z", ["n", 4])
    model = b.model()
    look = RoundingEquivalence([{"x": X}])
    assert look.difference(model, model.clone()) == ""
    other = model.clone()
    node = next(n for _, n in other.nodes() if n.is_op("Mul"))
    edit.set_weight(edit.own_weight(node, 1), np.array(2.1, np.float32))
    assert "'z'" in look.difference(model, other)


def test_a_cast_to_a_number_that_names_no_type_breaks_nothing() -> None:
    model = half(1, computes=False)
    for _, node in model.nodes():
        if node.is_op("Cast"):
            node.set_attr("to", (1 << 40) + T.FLOAT)  # of which ONNX Runtime reads 32 bits
    assert difference(model, model.clone()) == ""


def half(factor: float, *, computes: bool) -> Model:
    """Make a product of 16-bit weights, in 16 bits or in 32."""
    b = Builder(0)
    kind = T.FLOAT16 if computes else T.FLOAT
    w = b.const((np.random.default_rng(1).standard_normal((4, 3)) * factor).astype(np.float16))
    if not computes:
        b.ops("Cast", [w], ["wide"], to=T.FLOAT)
    b.op("MatMul", b.input("x", ["n", 4], kind), w if computes else "wide", to="y")
    b.output("y", ["n", 3], kind)
    return b.model()


def test_half_precision_rounds_coarser() -> None:
    x = X.astype(np.float16)
    assert difference(half(1, computes=True), half(1.001, computes=True), x=x) == ""
    assert "'y'" in difference(half(1, computes=True), half(1.05, computes=True), x=x)
    # stored in 16 bits and computed in 32
    assert "'y'" in difference(half(1, computes=False), half(1.001, computes=False))
