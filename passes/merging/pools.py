"""Averages over windows, seen as depthwise convolutions."""

from __future__ import annotations

import math

import numpy as np

from ocompress.analysis import padding
from ocompress.analysis.linear_layer import Refusal
from ocompress.analysis.windows import window_of
from ocompress.ir import Node
from passes.merging import linear
from passes.merging.forms import Axis, LinearForm


def read(node: Node, channels: int) -> LinearForm | Refusal:
    """See an AveragePool as a depthwise convolution.

    Args:
        node: The AveragePool.
        channels: Channels of what it reads.

    Returns:
        Its form, whose weights are all one over the number of taps.
    """
    kernel = node.attr("kernel_shape")
    pads = padding.explicit_pads(node, len(kernel))
    if pads is None:
        return Refusal("auto-pad", f"the extents that {node.label!r} pads to are not known")
    window = window_of(
        kernel,
        channels,
        strides=node.attr("strides"),
        dilations=node.attr("dilations"),
        pads=pads,
    )
    form = LinearForm(channels, channels, window)
    if any(pads) and not node.attr("count_include_pad", 0):
        return Refusal(
            "uncounted-pads", f"{node.label!r} averages over fewer elements at the border"
        )
    if node.attr("ceil_mode", 0) and not _divides(node, form):
        return Refusal("ceil-mode", f"{node.label!r} may round its extents up")
    return form


def weight(form: LinearForm) -> np.ndarray:
    """Return the weight of an average, [channels, 1, *kernel]."""
    return np.full(form.shape, 1 / math.prod(form.window.kernel))


def _divides(node: Node, form: LinearForm) -> bool:
    value = node.inputs[0]
    if value is None:
        return False
    extents = linear.spatial(value, len(form.axes))
    return all(
        isinstance(extent, int) and _is_even(axis, extent)
        for axis, extent in zip(form.axes, extents, strict=True)
    )


def _is_even(axis: Axis, extent: int) -> bool:
    return (extent + axis.excess - 1) % axis.stride == 0
