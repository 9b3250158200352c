"""Convolutions and their transposes, of any number of axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.analysis.gradients.registry import Gradients, rule
from ocompress.analysis.gradients.rules.spreading import fit
from ocompress.analysis.gradients.tape import Tape
from ocompress.ir import Node, Value


@dataclass(frozen=True)
class ConvWindow:
    """How a window goes over the axes after the channels; a number per axis each.

    Attributes:
        wide: Extents of what it goes over.
        narrow: Number of its positions.
        kernel: Extents of the window, before dilation.
        strides: Distance of two positions.
        dilations: Distance of two of its elements.
        begins: Padding in front.
    """

    wide: tuple[int, ...]
    narrow: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]

    @property
    def ends(self) -> tuple[int, ...]:
        """Padding behind with which the last position just fits; negative if elements are left."""
        reach = zip(self.narrow, self.strides, self.spans, strict=True)
        full = [(n - 1) * s + span for n, s, span in reach]
        rest = zip(full, self.wide, self.begins, strict=True)
        return tuple(f - wide - begin for f, wide, begin in rest)

    @property
    def spans(self) -> tuple[int, ...]:
        """Extents of the window after dilation."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))


def window_of(
    node: Node, wide: tuple[int, ...], narrow: tuple[int, ...], kernel: tuple[int, ...]
) -> ConvWindow:
    """Read the window of a Conv or a pooling off its attributes.

    Args:
        node: The node.
        wide: Extents of the input after the channels.
        narrow: Extents of the output after the channels.
        kernel: Extents of the window.
    """
    ones = (1,) * len(kernel)
    strides, dilations = (tuple(node.attr(n, ones)) for n in ("strides", "dilations"))
    pads = node.attr("pads", (0,) * (2 * len(kernel)))
    window = ConvWindow(wide, narrow, kernel, strides, dilations, tuple(pads[: len(kernel)]))
    auto = node.attr("auto_pad", "NOTSET")
    if auto == "NOTSET":
        return window
    none = ConvWindow(wide, narrow, kernel, strides, dilations, (0,) * len(kernel))
    totals = [max(0, end) for end in none.ends]
    share = {"SAME_UPPER": [t // 2 for t in totals], "SAME_LOWER": [t - t // 2 for t in totals]}
    begins = tuple(share.get(auto, (0,) * len(kernel)))
    return ConvWindow(wide, narrow, kernel, strides, dilations, begins)


@rule("Conv", inputs=(0,))
def conv(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = the transposed convolution of g."""
    weight = tape.fixed(node, 1)
    shapes = tape.shape(node.input(0))[2:], tape.shape(node.output)[2:]
    window = window_of(node, *shapes, weight.shape[2:])
    return [conv_back(tape, g, weight, int(node.attr("group", 1)), window)]


def conv_back(tape: Tape, g: Value, weight: np.ndarray, group: int, window: ConvWindow) -> Value:
    """Pass a gradient back through a convolution.

    Args:
        tape: Where to write.
        g: Gradient of the output, shape [N, M, *window.narrow].
        weight: Shape [M, C / group, *window.kernel].
        group: Number of groups.
        window: How it goes.

    Returns:
        Gradient of the input, shape [N, C, *window.wide].
    """
    if all(s == 1 for s in window.strides):
        return _mirrored_conv(tape, g, weight, group, window)
    ends = window.ends
    return tape.op(
        "ConvTranspose",
        g,
        tape.const(weight),
        group=group,
        kernel_shape=list(window.kernel),
        strides=list(window.strides),
        dilations=list(window.dilations),
        pads=[*window.begins, *(max(0, e) for e in ends)],
        output_padding=[max(0, -e) for e in ends],
    )


def _mirrored_conv(
    tape: Tape, g: Value, weight: np.ndarray, group: int, window: ConvWindow
) -> Value:
    """Convolve with the mirrored window, which is the transpose where all strides are 1.

    ONNX Runtime has faster kernels for Conv than for ConvTranspose, above all for depthwise ones.
    """
    grouped = weight.reshape(group, weight.shape[0] // group, *weight.shape[1:])
    swapped = np.swapaxes(grouped, 1, 2)
    joined = swapped.reshape(-1, *swapped.shape[2:])
    mirrored = np.flip(joined, axis=tuple(range(2, joined.ndim)))
    before = [s - 1 - b for s, b in zip(window.spans, window.begins, strict=True)]
    after = [s - 1 - e for s, e in zip(window.spans, window.ends, strict=True)]
    trimmed = fit(
        tape, g, [0, 0, *(min(0, b) for b in before)], [0, 0, *(min(0, a) for a in after)]
    )
    return tape.op(
        "Conv",
        trimmed,
        tape.const(np.ascontiguousarray(mirrored)),
        group=group,
        kernel_shape=list(window.kernel),
        dilations=list(window.dilations),
        pads=[*(max(0, b) for b in before), *(max(0, a) for a in after)],
    )


@rule("ConvTranspose", inputs=(0,))
def conv_transpose(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = the convolution of g with the same weight."""
    weight = tape.fixed(node, 1)
    kernel, made = weight.shape[2:], tape.shape(node.output)[2:]
    ones = (1,) * len(kernel)
    strides, dilations = (tuple(node.attr(n, ones)) for n in ("strides", "dilations"))
    narrow = tape.shape(node.input(0))[2:]
    begins = _transposed_begins(node, ConvWindow(made, narrow, kernel, strides, dilations, ones))
    window = ConvWindow(made, narrow, kernel, strides, dilations, begins)
    zeros = [0, 0]
    fitted = fit(tape, g, [*zeros, *window.begins], [*zeros, *window.ends])
    return [
        tape.op(
            "Conv",
            fitted,
            tape.const(weight),
            group=int(node.attr("group", 1)),
            kernel_shape=list(kernel),
            strides=list(strides),
            dilations=list(dilations),
        )
    ]


def _transposed_begins(node: Node, window: ConvWindow) -> tuple[int, ...]:
    """Return what a ConvTranspose cuts off in front, which the extents of its output may decide."""
    axes = len(window.kernel)
    auto = node.attr("auto_pad", "NOTSET")
    if auto == "VALID":
        return (0,) * axes
    if auto == "NOTSET" and node.attr("output_shape") is None:
        return tuple(node.attr("pads", (0,) * (2 * axes))[:axes])
    none = ConvWindow(
        *(window.wide, window.narrow, window.kernel), window.strides, window.dilations, (0,) * axes
    )
    extra = node.attr("output_padding", (0,) * axes)
    totals = [max(0, e + o) for e, o in zip(none.ends, extra, strict=True)]
    if auto == "SAME_UPPER":
        return tuple(t // 2 for t in totals)
    return tuple(t - t // 2 for t in totals)
