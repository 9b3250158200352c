"""Changes up to opset 9, and those around BatchNormalization."""

from __future__ import annotations

from ocompress.ir import DType, Node, Value
from passes.canonical.adapters.step import CannotAdapt, Step, graph_of, integers, nothing


def broadcast_7(node: Node) -> Step:
    """Replace `broadcast` and `axis` by trailing axes of the second input."""
    axis = node.attr("axis")
    a, b = node.input(0), node.input(1)
    missing = 0
    if node.attr("broadcast", 0) and axis is not None:
        if a is None or b is None or a.rank is None or b.rank is None:
            why = "it broadcasts along an axis and its ranks are not known"
            raise CannotAdapt(why)
        missing = a.rank - b.rank - (axis + a.rank if axis < 0 else axis)

    def step() -> None:
        node.set_attr("broadcast", None)
        node.set_attr("axis", None)
        if missing > 0 and b is not None:
            node.set_input(1, trailing_axes(node, b, missing))

    return step


def trailing_axes(node: Node, value: Value, count: int) -> Value:
    """Return `value` with `count` axes of extent 1 appended."""
    graph, rank = graph_of(node), value.rank or 0
    if value.constant is not None:
        wide = value.constant.reshape(*value.constant.shape, *[1] * count)
        return graph.constant(f"{value.name}_wide", wide)
    axes = list(range(rank, rank + count))
    added = graph.add_op("Unsqueeze", [value], name=f"{node.label}_wide", attrs={"axes": axes})
    if value.shape is not None:
        added.output.set_type(value.dtype, (*value.shape, *[1] * count))
    return added.output


def prelu_7(node: Node) -> Step:
    """Let a slope per channel meet axis 1."""
    x, slope = node.input(0), node.input(1)
    if x is None or slope is None or x.rank is None or slope.shape is None:
        why = "its ranks are not known"
        raise CannotAdapt(why)
    missing = x.rank - 2
    if len(slope.shape) != 1 or slope.shape[0] == 1 or missing <= 0:
        return nothing
    return lambda: node.set_input(1, trailing_axes(node, slope, missing))


def reshape_5(node: Node) -> Step:
    """Move the shape to input 1."""
    shape = node.attr("shape", [])

    def step() -> None:
        node.set_attr("shape", None)
        node.set_attr("consumed_inputs", None)
        node.set_input(1, integers(node, "shape", shape))

    return step


def cast_6(node: Node) -> Step:
    """Name the element type by number."""
    to = node.attr("to")
    if not isinstance(to, str) or to not in DType.__members__:
        why = "its target type is not known"
        raise CannotAdapt(why)
    return lambda: node.set_attr("to", int(DType[to]))


def pad_2(node: Node) -> Step:
    """Use the new name of the pads."""
    pads = node.attr("paddings")
    if pads is None:
        return nothing

    def step() -> None:
        node.set_attr("paddings", None)
        node.set_attr("pads", pads)

    return step


def batch_normalization_9(node: Node) -> Step:
    """Drop `spatial`, which must be 1."""
    if not node.attr("spatial", 1):
        why = "it normalizes per element (spatial=0)"
        raise CannotAdapt(why)
    return lambda: node.set_attr("spatial", None)


def batch_normalization_14(node: Node) -> Step:
    """Keep the one output of inference; more of them mean training."""
    if any(v is not None and v.use_count for v in node.outputs[1:]):
        why = "its training outputs are read"
        raise CannotAdapt(why)

    def step() -> None:
        del node.outputs[1:]

    return step
