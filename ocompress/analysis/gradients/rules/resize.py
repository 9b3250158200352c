"""Resizing, which is a linear map along each axis."""

from __future__ import annotations

import numpy as np

from ocompress.analysis.gradients.registry import Gradients, rule
from ocompress.analysis.gradients.rules.spreading import contract
from ocompress.analysis.gradients.tape import StoppedError, Tape
from ocompress.errors import RuntimeFailureError
from ocompress.ir import DType, Graph, Model, Node, Value, schemas
from ocompress.runtime import Session


@rule("Resize", "Upsample", inputs=(0,))
def resize(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g times the transposed map of each axis; a sum where elements repeat."""
    shape, made = list(tape.shape(node.input(0))), tape.shape(node.output)
    crops = node.attr("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    if crops or node.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        msg = "its coordinates have no rule"
        raise StoppedError(msg)
    present = list(made)
    for axis, (extent, whole) in enumerate(zip(shape, made, strict=True)):
        factor = _factor(tape, node, axis)
        if extent == whole and factor in (None, 1.0):
            continue
        matrix = _map_along(tape, node, axis, factor)
        g = _along(tape, g, present, axis, matrix)
        present[axis] = extent
    return [g]


def _along(tape: Tape, g: Value, present: list[int], axis: int, matrix: np.ndarray) -> Value:
    whole, extent = matrix.shape
    repeat = whole // extent
    if whole == extent * repeat and np.array_equal(matrix, np.eye(extent).repeat(repeat, axis=0)):
        lead, rest = present[:axis], present[axis + 1 :]
        blocks = tape.reshape(g, [*lead, extent, repeat, *rest])
        return tape.reshape(tape.total(blocks, [axis + 1]), [*lead, extent, *rest])
    return contract(tape, g, len(present), axis, matrix)


def _factor(tape: Tape, node: Node, axis: int) -> float | None:
    """Return the scale along an axis, None where sizes are given instead."""
    given = node.attr("scales")
    if given is not None:
        return float(given[axis])
    index = 1 if node.op_type == "Upsample" or tape.opset < 11 else 2
    scales = tape.fixed(node, index) if node.input(index) is not None else np.zeros(0)
    if scales.size == 0:
        return None
    axes = node.attr("axes")
    if axes is None:
        return float(scales[axis])
    rank = len(tape.shape(node.input(0)))
    by_axis = {int(a) % rank: float(s) for a, s in zip(axes, scales, strict=True)}
    return by_axis.get(axis, 1.0)


def _map_along(tape: Tape, node: Node, axis: int, factor: float | None) -> np.ndarray:
    """Ask the operator itself what it does to each unit vector along an axis.

    Returns:
        The map, shape [extent of the output, extent of the input].
    """
    shape, made = tape.shape(node.input(0)), tape.shape(node.output)
    extent, whole = shape[axis], made[axis]
    # The unit vectors lie along another axis, which stays as it is.
    other = 0 if axis else 1
    if len(shape) < 2:
        msg = "it has one axis only"
        raise StoppedError(msg)
    full = [extent if i in (axis, other) else 1 for i in range(len(shape))]
    units = np.eye(extent, dtype=np.float32).reshape(full)
    wanted = [whole if i == axis else d for i, d in enumerate(full)]
    scales = None if factor is None else [factor if i == axis else 1.0 for i in range(len(shape))]
    answer = _run(node, tape.opset, units, wanted, scales)
    rows = answer.reshape(extent, whole) if other < axis else answer.reshape(whole, extent).T
    return np.ascontiguousarray(rows.T)


def _run(
    node: Node, opset: int, units: np.ndarray, sizes: list[int], scales: list[float] | None
) -> np.ndarray:
    graph = Graph("one_axis")
    x = Value(graph.names.fresh("x"), dtype=DType.FLOAT, shape=units.shape)
    x.is_input = True
    graph.inputs.append(x)
    attributes = {k: v for k, v in node.attributes.items() if k != "axes"}
    inputs: list[Value | None] = [x]
    if "scales" in attributes:
        attributes["scales"] = scales  # type: ignore[assignment]
    elif node.op_type == "Upsample" or opset < 11:
        inputs.append(graph.constant("scales", np.asarray(scales, np.float32)))
    elif scales is not None:
        inputs += [None, graph.constant("scales", np.asarray(scales, np.float32))]
        if opset < 13:  # the range of the crop could not be left out
            inputs[1] = graph.constant("roi", np.zeros(0, np.float32))
    else:
        empty = graph.constant("none", np.zeros(0, np.float32)) if opset < 13 else None
        inputs += [empty, empty, graph.constant("sizes", np.asarray(sizes, np.int64))]
    made = graph.add_op(node.op_type, inputs, name="y", attrs=attributes).output
    made.set_type(DType.FLOAT, None)
    graph.set_outputs([made])
    model = Model(graph, {"": opset})
    model.shell.ir_version = schemas.lowest_ir_version(opset)
    try:
        return Session(model).run({x.name: units})[made.name]
    except RuntimeFailureError as error:
        msg = "the runtime does not resize one axis alone in this way"
        raise StoppedError(msg) from error
