"""Gradients of a rule beside central differences of ONNX's reference evaluator in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from ocompress.analysis.gradients.program import Program
from ocompress.ir import Model, from_proto
from ocompress.ir.onnx_api import infer_types
from ocompress.runtime import Session
from tests.build import Builder

Array = np.ndarray
Run = Callable[[Mapping[str, Array]], dict[str, Array]]


def check(
    build: Callable[[Builder], None],
    *,
    opset: int = 18,
    domain: Callable[[Array], Array] = lambda x: x,
    linear: bool = False,
    coarse: bool = False,
    fed: Mapping[str, Array] | None = None,
) -> None:
    """Compare the gradient of every float input with differences, element by element.

    Args:
        build: Adds inputs, nodes and outputs.
        opset: Operator set of the model.
        domain: Maps normal numbers into what the operator takes.
        linear: Whether differences may be taken by ONNX Runtime in float32 with a step of 1, for
            what the reference evaluator does not have.
        coarse: Whether the reference evaluator rounds the operator to float32.
        fed: Inputs that are not to be drawn.
    """
    b = Builder()
    build(b)
    proto = b.proto(opset, ir_version=8)
    model = from_proto(proto)
    model.sort()
    infer_types(model)
    rng = np.random.default_rng(7)
    feeds: dict[str, Array] = {}
    for value in model.graph.inputs:
        shape = [d if isinstance(d, int) else 2 for d in value.shape or ()]
        feeds[value.name] = np.asarray(domain(rng.standard_normal(shape)), np.float32)
    feeds |= fed or {}
    names = [n for n, a in feeds.items() if a.dtype.kind == "f"]
    run = _runtime(model) if linear else _reference(proto)
    step = 1.0 if linear else 3e-3 if coarse else 1e-5
    _compare(model, names, feeds, run, step, 2e-3 if coarse else 2e-4)


def _compare(
    model: Model,
    names: list[str],
    feeds: Mapping[str, Array],
    run: Run,
    step: float,
    tolerance: float,
) -> None:
    rng = np.random.default_rng(8)
    program = Program(model, names, feeds)
    assert not program.missing, program.missing
    made = program.forward(feeds)
    seeds = {n: np.asarray(rng.standard_normal(made[n].shape), np.float32) for n in program.seeded}
    found = program.backward(made, seeds)
    for name in names:
        expected = _differences(run, feeds, name, seeds, step)
        assert found[name].shape == feeds[name].shape
        assert np.abs(expected).max() > 1e-3, f"{name}: nothing to compare"
        np.testing.assert_allclose(found[name], expected, tolerance, tolerance / 10, err_msg=name)


def _differences(
    run: Run, feeds: Mapping[str, Array], name: str, seeds: Mapping[str, Array], step: float
) -> Array:
    base = feeds[name].astype(np.float64)
    slopes = np.zeros(base.size)
    for index in range(base.size):
        move = np.zeros(base.size)
        move[index] = step
        up, down = (
            run({**feeds, name: base + sign * move.reshape(base.shape)}) for sign in (1, -1)
        )
        slopes[index] = sum(
            float(((up[o].astype(np.float64) - down[o]) * s).sum()) for o, s in seeds.items()
        )
    return slopes.reshape(base.shape) / (2 * step)


def _runtime(model: Model) -> Run:
    session = Session(model)
    return lambda feeds: session.run(
        {n: np.asarray(a, np.float32) if a.dtype.kind == "f" else a for n, a in feeds.items()}
    )


def _reference(proto: onnx.ModelProto) -> Run:
    evaluator = ReferenceEvaluator(widened(proto))
    names = [o.name for o in proto.graph.output]

    def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
        wide: dict[str, Any] = {
            n: a.astype(np.float64) if a.dtype.kind == "f" else a for n, a in feeds.items()
        }
        return dict(zip(names, evaluator.run(None, wide), strict=True))

    return run


def widened(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model in float64."""
    wide = onnx.ModelProto()
    wide.CopyFrom(proto)
    for tensor in wide.graph.initializer:
        if tensor.data_type == T.FLOAT:
            array = numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    for value in [*wide.graph.input, *wide.graph.output]:
        if value.type.tensor_type.elem_type == T.FLOAT:
            value.type.tensor_type.elem_type = T.DOUBLE
    for node in wide.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == T.FLOAT:
                attribute.i = T.DOUBLE
            if attribute.t.data_type == T.FLOAT:
                array = numpy_helper.to_array(attribute.t).astype(np.float64)
                attribute.t.CopyFrom(numpy_helper.from_array(array))
    return wide


def unary(op: str, shape: Any = (2, 5), *rest: Any, **attrs: Any) -> Callable[[Builder], None]:
    """Return a builder of one operator on x; further inputs are constants."""

    def build(b: Builder) -> None:
        x = b.input("x", list(shape))
        others = ["" if r is None else b.const(np.asarray(r)) for r in rest]
        b.op(op, x, *others, to="y", **attrs)
        b.output("y")

    return build


def binary(op: str, left: Any, right: Any, **attrs: Any) -> Callable[[Builder], None]:
    """Return a builder of one operator on x and z."""

    def build(b: Builder) -> None:
        b.op(op, b.input("x", list(left)), b.input("z", list(right)), to="y", **attrs)
        b.output("y")

    return build
