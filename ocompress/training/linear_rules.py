"""Matrix products and convolutions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ocompress.training.registry import Call, Function, UnsupportedError, rule
from ocompress.training.windows import SlidingWindow, padding

_CONVS: dict[int, Any] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_PLANES = 2
_TRANSPOSED: dict[int, Any] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


@rule("MatMul")
def matmul(_: Call) -> Function:
    """Products of the last two axes."""
    return torch.matmul


@rule("Gemm", since=7)
def gemm(call: Call) -> Function:
    """One product and an offset, each with a factor."""
    alpha, beta = call.attr("alpha", 1.0), call.attr("beta", 1.0)
    flip_a, flip_b = call.attr("transA", 0), call.attr("transB", 0)
    bias = call.shapes[2] if len(call.shapes) > 2 else None
    if not flip_a and alpha == beta == 1.0 and (bias is None or len(bias) == 1):
        if flip_b:
            return functional.linear
        if bias is not None:
            return lambda a, b, c: torch.addmm(c, a, b)

    def apply(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        a = a.t() if flip_a else a
        b = b.t() if flip_b else b
        if c is None:
            return (a @ b) * alpha
        return torch.addmm(c, a, b, alpha=alpha, beta=beta)

    return apply


@rule("Einsum", since=12)
def einsum(call: Call) -> Function:
    """Sums of products, as a formula says."""
    formula = str(call.attr("equation")).replace(" ", "")
    return lambda *xs: torch.einsum(formula, *xs)


def _channels_last(x: Tensor, w: Tensor, b: Tensor | None, **given: Any) -> Tensor:
    """Convolve with the channels of a pixel side by side.

    Forward and backward take half to a quarter of the time so (LeNet-5, ResNet), and what
    follows keeps the order.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    return functional.conv2d(x, w.contiguous(memory_format=torch.channels_last), b, **given)


@rule("Conv")
def conv(call: Call) -> Function:
    """Convolutions of one to three axes."""
    window = SlidingWindow.of(call, call.shape(1)[2:])
    apply = _CONVS.get(window.axes)
    if apply is None:
        msg = f"convolutions of {window.axes} axes are not known"
        raise UnsupportedError(msg)
    if window.axes == _PLANES:
        apply = _channels_last
    groups = int(call.attr("group", 1))
    given = {"stride": window.strides, "dilation": window.dilations, "groups": groups}
    if window.begins == window.ends:
        pads = window.begins
        return lambda x, w, b=None: apply(x, w, b, padding=pads, **given)
    around = padding(window.begins, window.ends)
    return lambda x, w, b=None: apply(functional.pad(x, around), w, b, **given)


@rule("ConvTranspose")
def conv_transpose(call: Call) -> Function:
    """Convolutions backwards: all of the result, from which pads are cut off."""
    kernel = call.shape(1)[2:]
    axes = len(kernel)
    apply = _TRANSPOSED.get(axes)
    if apply is None:
        msg = f"convolutions of {axes} axes are not known"
        raise UnsupportedError(msg)
    strides = [int(s) for s in call.attr("strides", [1] * axes)]
    dilations = [int(d) for d in call.attr("dilations", [1] * axes)]
    given = {"stride": strides, "dilation": dilations, "groups": int(call.attr("group", 1))}
    whole = [
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip(call.shape()[2:], strides, kernel, dilations, strict=True)
    ]
    begins, ends = _cuts(call, whole, strides)
    if not any(begins) and not any(ends):
        return lambda x, w, b=None: apply(x, w, b, **given)
    if begins == ends and all(c > 0 for c in begins):
        return lambda x, w, b=None: apply(x, w, b, padding=begins, **given)
    around = padding([-c for c in begins], [-c for c in ends])
    spread = (-1, *[1] * axes)

    def cut(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        made = functional.pad(apply(x, w, **given), around)
        return made if b is None else made + b.reshape(spread)

    return cut


def _cuts(call: Call, whole: list[int], strides: list[int]) -> tuple[list[int], list[int]]:
    """Return what is cut off before and after each axis; less than zero is added."""
    axes = len(whole)
    extra = [int(e) for e in call.attr("output_padding", [0] * axes)]
    how = call.attr("auto_pad", "NOTSET")
    wanted = call.attr("output_shape")
    if wanted is None and how.startswith("SAME"):
        wanted = [n * s for n, s in zip(call.shape()[2:], strides, strict=True)]
    if wanted is None:
        pads = [int(p) for p in call.attr("pads", [0] * 2 * axes)]
        pads = [0] * 2 * axes if how == "VALID" else pads
        return pads[:axes], [p - e for p, e in zip(pads[axes:], extra, strict=True)]
    begins, ends = [], []
    for full, add, extent in zip(whole, extra, wanted[-axes:], strict=True):
        total = max(full + add - int(extent), 0)
        begins.append(total // 2 if how == "SAME_UPPER" else total - total // 2)
        ends.append(full - int(extent) - begins[-1])
    return begins, ends
