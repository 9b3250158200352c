"""Upsample and Resize, whose definitions changed most."""

from __future__ import annotations

import numpy as np

from ocompress.ir import Node, Value, query
from passes.canonical.adapters.step import Step, graph_of, nothing


def upsample_7(node: Node) -> Step:
    """Put the two scales of images into one list."""
    if "scales" in node.attributes:
        return nothing
    scales = [1.0, 1.0, node.attr("height_scale", 1.0), node.attr("width_scale", 1.0)]

    def step() -> None:
        node.set_attr("height_scale", None)
        node.set_attr("width_scale", None)
        node.set_attr("scales", scales)

    return step


def upsample_9(node: Node) -> Step:
    """Move the scales to input 1."""
    scales = np.asarray(node.attr("scales", []), np.float32)

    def step() -> None:
        node.set_attr("scales", None)
        node.set_input(1, graph_of(node).constant(f"{node.label}_scales", scales))

    return step


def upsample_10(node: Node) -> Step:
    """Become a Resize, and say of computed scales what an Upsample may rely on: it enlarges."""
    computed = query.constant(node, 1) is None and node.attr("mode", "nearest") == "nearest"

    def step() -> None:
        if computed:
            node.set_input(1, _bounded(node, node.input(1), "Max"))
        node.op_type = "Resize"

    return step


def resize_11(node: Node) -> Step:
    """Write down how Resize of opset 10 samples.

    Coordinates are asymmetric. Nearest neighbour takes the floor along axes that it enlarges and
    the ceiling along those that it reduces. One node cannot say both, so where it may do both, or
    nobody knows beforehand, a second one reduces what the first has enlarged; axes do not mind
    each other.
    """
    nearest = node.attr("mode", "nearest") == "nearest"
    rounding = nearest_mode(node.input(1)) if nearest else ""

    def step() -> None:
        scales = node.input(1)
        node.set_inputs([node.inputs[0], _no_region(node), scales])
        node.set_attr("coordinate_transformation_mode", "asymmetric")
        if nearest:
            node.set_attr("nearest_mode", rounding or "ceil")
        if nearest and not rounding:
            node.set_input(0, _enlarged(node, scales))
            node.set_input(2, _bounded(node, scales, "Min"))

    return step


def nearest_mode(scales: Value | None) -> str:
    """Return the rounding of nearest-neighbour sampling at opset 10, for scales per axis.

    Returns:
        `floor` where no axis is reduced, `ceil` where none is enlarged, otherwise nothing.
    """
    known = None if scales is None else scales.constant
    if known is not None:
        return "floor" if np.all(known >= 1) else "ceil" if np.all(known <= 1) else ""
    bound = query.made_by(scales, "Max")
    least = [] if bound is None else [query.scalar(bound, i) for i in range(len(bound.inputs))]
    return "floor" if any(number is not None and number >= 1 for number in least) else ""


def _bounded(node: Node, scales: Value | None, op_type: str) -> Value:
    """Return scales that reduce no axis (Max) or enlarge none (Min)."""
    graph = graph_of(node)
    one = np.ones((), np.float32)
    known = None if scales is None else scales.constant
    if known is not None:
        bound = np.maximum(known, one) if op_type == "Max" else np.minimum(known, one)
        return graph.constant(f"{node.label}_scales", bound)
    limit = graph.constant(f"{node.label}_one", one)
    return graph.add_op(op_type, [scales, limit], name=f"{node.label}_scales").output


def _enlarged(node: Node, scales: Value | None) -> Value:
    """Return the input of a Resize, enlarged along the axes whose scale is more than 1."""
    first = graph_of(node).add_op(
        "Resize",
        [node.inputs[0], _no_region(node), _bounded(node, scales, "Max")],
        name=f"{node.label}_enlarged",
    )
    for name, attribute in node.attributes.items():
        first.set_attr(name, attribute)
    first.set_attr("nearest_mode", "floor")
    return first.output


def resize_13(node: Node) -> Step:
    """Leave out an empty region of interest and empty scales, which are now optional."""
    empty = [i for i in (1, 2) if _is_empty(query.constant(node, i))]
    if node.attr("coordinate_transformation_mode") == "tf_crop_and_resize":
        return nothing

    def step() -> None:
        for index in empty:
            node.set_input(index, None)

    return step


def _is_empty(array: np.ndarray | None) -> bool:
    return array is not None and array.size == 0


def _no_region(node: Node) -> Value:
    return graph_of(node).constant(f"{node.label}_roi", np.zeros(0, np.float32))


def grid_sample_20(node: Node) -> Step:
    """Use the new names of the interpolations."""
    names = {"bilinear": "linear", "bicubic": "cubic"}
    mode = node.attr("mode", "bilinear")
    return lambda: node.set_attr("mode", names.get(mode, mode))
