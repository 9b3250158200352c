"""Maxima and averages of windows."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ocompress.training.registry import Call, Function, UnsupportedError, rule
from ocompress.training.windows import SlidingWindow, padding

_MAXIMA: dict[int, Any] = {
    1: functional.max_pool1d,
    2: functional.max_pool2d,
    3: functional.max_pool3d,
}
_MEANS: dict[int, Any] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}
_CONVS: dict[int, Any] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


def _window(call: Call) -> tuple[SlidingWindow, tuple[int, ...]]:
    """Return the windows of a pooling, and how many there are; ONNX Runtime's own count if known.

    Whether a last window that begins in the padding counts has changed between versions.
    """
    window = SlidingWindow.of(call, [int(k) for k in call.attr("kernel_shape")])
    if window.axes not in _MAXIMA:
        msg = f"pooling along {window.axes} axes is not known"
        raise UnsupportedError(msg)
    made = call.made[0] if call.made else None
    if made is None and call.attr("ceil_mode", 0):
        msg = "the number of windows is rounded up"
        raise UnsupportedError(msg)
    return window, window.counts(call.shape()[2:]) if made is None else made[2:]


@rule("MaxPool", since=8)
def max_pool(call: Call) -> Function:
    """Maxima; what is added around counts for nothing."""
    call.only()
    window, counts = _window(call)
    extents = call.shape()[2:]
    pool = _MAXIMA[window.axes]
    given = {"stride": window.strides, "dilation": window.dilations}
    ends = window.needed_ends(extents, counts)
    small = all(2 * b <= k for b, k in zip(window.begins, window.kernel, strict=True))
    if window.begins == window.ends and window.counts(extents) == counts and small:
        pads = window.begins

        def plain(x: Tensor) -> Tensor:
            return pool(x, window.kernel, padding=pads, **given)

        return _of_integers(plain)
    around = padding(window.begins, ends)

    def padded(x: Tensor) -> Tensor:
        return pool(functional.pad(x, around, value=-math.inf), window.kernel, **given)

    return _of_integers(padded)


def _of_integers(pool: Function) -> Function:
    def apply(x: Tensor) -> Tensor:
        return pool(x) if x.is_floating_point() else pool(x.to(torch.float32)).to(x.dtype)

    return apply


@rule("AveragePool", since=7)
def average_pool(call: Call) -> Function:
    """Means; of what is added around, pads count if the node says so, and nothing else."""
    window, counts = _window(call)
    extents, whole = call.shape()[2:], bool(call.attr("count_include_pad", 0))
    pool = _MEANS[window.axes]
    ends = window.needed_ends(extents, counts)
    dense = all(d == 1 for d in window.dilations)
    if dense and not any(window.begins) and all(e <= 0 for e in ends):
        kernel, strides = window.kernel, window.strides
        cut = padding([0] * window.axes, ends)
        if window.counts(extents) == counts:
            return lambda x: pool(x, kernel, strides)
        return lambda x: pool(functional.pad(x, cut), kernel, strides)
    around = padding(window.begins, ends)
    inside = torch.ones(1, 1, *extents, dtype=call.floating)
    if whole:
        inside = functional.pad(inside, padding(window.begins, window.ends), value=1.0)
        rest = [e - w for e, w in zip(ends, window.ends, strict=True)]
        inside = functional.pad(inside, padding([0] * window.axes, rest))
    else:
        inside = functional.pad(inside, around)
    sums = _sums(window, call.floating)
    share = 1 / sums(inside)
    return lambda x: sums(functional.pad(x, around)) * share


def _sums(window: SlidingWindow, floating: torch.dtype) -> Function:
    """Return the sums of windows, the gaps between taps left out."""
    ones = torch.ones(1, 1, *window.kernel, dtype=floating)
    conv, given = _CONVS[window.axes], {"stride": window.strides, "dilation": window.dilations}

    def apply(x: Tensor) -> Tensor:
        single = x.reshape(-1, 1, *x.shape[2:])
        made = conv(single, ones, **given)
        return made.reshape(*x.shape[:2], *made.shape[2:])

    return apply


@rule("GlobalAveragePool")
def global_average_pool(call: Call) -> Function:
    """Means of all but the first two axes."""
    axes = tuple(range(2, call.rank()))
    return lambda x: x.mean(axes, keepdim=True)


@rule("GlobalMaxPool")
def global_max_pool(call: Call) -> Function:
    """Maxima of all but the first two axes."""
    axes = tuple(range(2, call.rank()))
    return lambda x: x.amax(axes, keepdim=True)
