"""Variants of a model, computed together."""

from __future__ import annotations

import numpy as np

from ocompress.ir import Model, edit
from ocompress.ir.joined import joined
from ocompress.runtime import Session
from tests.build import Builder


def chain(layers: int = 4) -> Model:
    """Products in a row, with two outputs."""
    rng = np.random.default_rng(0)
    b = Builder(1)
    value = b.input("x", ["n", 8])
    for at in range(layers):
        weight = b.const(rng.standard_normal((8, 8)).astype(np.float32))
        value = b.op("MatMul", value, weight, to=f"h{at}")
    b.output("h1", ["n", 8])
    b.output(value, ["n", 8])
    return b.model()


def changed(model: Model, layer: int, factor: float) -> Model:
    variant = model.clone()
    node = variant.graph.nodes[layer]
    weight = edit.own_weight(node, 1)
    edit.set_weight(weight, weight.data * np.float32(factor))  # type: ignore[operator]
    return variant


def outputs(model: Model, x: np.ndarray) -> dict[str, np.ndarray]:
    return Session(model).run({"x": x})


def test_every_variant_keeps_its_outputs_and_common_nodes_are_computed_once() -> None:
    model = chain()
    variants = [model, *(changed(model, at, 1.5 + at) for at in range(4))]
    found = joined(variants)
    assert found is not None
    whole, names = found
    # the original's 4 nodes, and of each variant what comes from its change on: 4 + 3 + 2 + 1
    assert len(whole.graph) == 4 + 4 + 3 + 2 + 1
    assert len(whole.graph.initializers) == 4 + 4
    x = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    made = outputs(whole, x)
    for variant, own in zip(variants, names, strict=True):
        for name, wanted in outputs(variant, x).items():
            np.testing.assert_array_equal(made[own[name]], wanted)


def test_attributes_and_order_of_inputs_tell_nodes_apart() -> None:
    made = []
    for axis, turned in ((0, False), (1, False), (1, True)):
        b = Builder(1)
        x, y = b.input("x", [4, 4]), b.input("y", [4, 4])
        b.op("Concat", *((y, x) if turned else (x, y)), to="z", axis=axis)
        b.output("z", None)
        made.append(b.model())
    found = joined(made)
    assert found is not None
    assert len(found[0].graph) == 3


def test_random_numbers_are_not_shared() -> None:
    b = Builder(1)
    x = b.input("x", ["n", 4])
    b.op("RandomNormalLike", x, to="y")
    b.output("y", ["n", 4])
    model = b.model()
    assert joined([model, model.clone()]) is None


def test_defaults_of_inputs_that_differ_stay_apart() -> None:
    def with_default(value: float) -> Model:
        b = Builder(1)
        x = b.input("x", ["n", 4])
        b.op("Mul", x, b.const(np.full(4, value, np.float32), "scale"), to="y")
        b.output("y", ["n", 4])
        model = b.model()
        scale = model.graph.initializers["scale"]
        scale.is_input = True
        model.graph.inputs.append(scale)
        return model

    assert joined([with_default(1), with_default(2)]) is None


def test_outputs_that_are_left_out_tell_nodes_apart() -> None:
    b = Builder(1)
    b.ops("MaxPool", [b.input("x", [1, 1, 4])], ["y", "mask"], kernel_shape=[2])
    b.output("y", [1, 1, 3])
    b.output("mask", [1, 1, 3], 7)
    model = b.model()
    fewer = model.clone()
    fewer.graph.set_outputs(fewer.graph.outputs[:1])
    fewer.graph.nodes[0].outputs[1] = None
    found = joined([fewer, model])
    assert found is not None
    whole, names = found
    made = outputs(whole, np.zeros((1, 1, 4), np.float32))
    assert made[names[1]["mask"]].tolist() == [[[0, 1, 2]]]


def test_models_of_different_operator_sets_stay_apart() -> None:
    model = chain()
    other = model.clone()
    other.opsets[""] += 1
    assert joined([model, other]) is None
