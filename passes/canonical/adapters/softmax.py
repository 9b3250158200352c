"""Softmax, LogSoftmax and Hardmax up to opset 12 see their input as a matrix cut at `axis`."""

from __future__ import annotations

from ocompress.ir import Node, Shape, Value
from passes.canonical.adapters.step import Step, graph_of


def softmax_13(node: Node) -> Step:
    """Name the one axis that is meant where there is one, else flatten around the node."""
    axis = int(node.attr("axis", 1))
    x = node.input(0)
    single = single_axis(axis, x.shape if x is not None else None)
    if single is not None:
        return lambda: node.set_attr("axis", single)
    return lambda: _flatten_around(node, axis)


def single_axis(axis: int, shape: Shape | None) -> int | None:
    """Return the axis that normalizing over all axes from `axis` on comes down to.

    Args:
        axis: Where the input is cut.
        shape: Shape of the input, None when unknown.

    Returns:
        The axis, or None when there are several or their number is not known.
    """
    if axis == -1:
        return -1
    if shape is None:
        return None
    first = axis + len(shape) if axis < 0 else axis
    wide = [i for i in range(first, len(shape)) if shape[i] != 1]
    if len(wide) > 1:
        return None
    if wide:
        return -1 if wide[0] == len(shape) - 1 else wide[0]
    return -1 if first < len(shape) else None


def _flatten_around(node: Node, axis: int) -> None:
    graph, x, label = graph_of(node), node.inputs[0], node.label
    flat = graph.add_op("Flatten", [x], name=f"{label}_flat", attrs={"axis": axis})
    shape = graph.add_op("Shape", [x], name=f"{label}_shape")
    node.set_input(0, flat.output)
    node.set_attr("axis", -1)
    matrix, made = Value(graph.names.fresh(f"{label}_matrix")), node.output
    node.outputs[0], matrix.producer = matrix, node
    name = graph.names.fresh(f"{label}_back")
    graph.add(Node("Reshape", [matrix, shape.output], [made], name=name), claim=False)
