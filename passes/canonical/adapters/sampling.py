"""Upsample and Resize, whose definitions changed most."""

from __future__ import annotations

import numpy as np

from ocompress.ir import Node, Value, query
from passes.canonical.adapters.step import Refusal, Step, graph_of, nothing


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


def resize_11(node: Node) -> Step:
    """Write down how Resize of opset 10 samples.

    Coordinates are asymmetric. Nearest neighbour takes the floor where it enlarges and the
    ceiling where it reduces; one node cannot say both.
    """
    nearest = node.attr("mode", "nearest") == "nearest"
    scales = query.constant(node, 1)
    rounding = nearest_mode(scales) if nearest else "floor"

    def step() -> None:
        node.set_inputs([node.inputs[0], _no_region(node), node.inputs[1]])
        node.set_attr("coordinate_transformation_mode", "asymmetric")
        if nearest:
            node.set_attr("nearest_mode", rounding)

    return step


def nearest_mode(scales: np.ndarray | None) -> str:
    """Return the rounding of nearest-neighbour sampling at opset 10, for scales per axis.

    Raises:
        Refusal: If the scales are computed, or enlarge one axis and reduce another.
    """
    if scales is None:
        why = "its scales are computed, so that its rounding is not known"
        raise Refusal(why)
    if bool(np.all(scales >= 1)):
        return "floor"
    if bool(np.all(scales <= 1)):
        return "ceil"
    why = "it enlarges one axis and reduces another"
    raise Refusal(why)


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
