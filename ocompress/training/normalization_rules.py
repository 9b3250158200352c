"""Normalizations, softmax among them."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from ocompress.training.registry import Call, Function, UnsupportedError, rule
from ocompress.training.windows import padding


@rule("Softmax", since=13)
def softmax(call: Call) -> Function:
    """Shares that add up to one along an axis."""
    axis = call.axis(default=-1)
    return lambda x: torch.softmax(x, axis)


@rule("LogSoftmax", since=13)
def log_softmax(call: Call) -> Function:
    """Logarithms of shares."""
    axis = call.axis(default=-1)
    return lambda x: torch.log_softmax(x, axis)


@rule("BatchNormalization", since=9)
def batch_normalization(call: Call) -> Function:
    """Constant mean and variance per channel, as in inference."""
    if call.attr("training_mode", 0):
        msg = "it takes mean and variance from the batch"
        raise UnsupportedError(msg)
    call.only()
    epsilon = call.attr("epsilon", 1e-5)

    def apply(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return functional.batch_norm(x, mean, variance, scale, bias, False, 0.0, epsilon)

    return apply


@rule("InstanceNormalization", since=6)
def instance_normalization(call: Call) -> Function:
    """Mean and variance of every channel of every sample."""
    epsilon = call.attr("epsilon", 1e-5)
    groups = call.shape()[1]
    return lambda x, scale, bias: functional.group_norm(x, groups, scale, bias, epsilon)


@rule("GroupNormalization", since=21)
def group_normalization(call: Call) -> Function:
    """Mean and variance of groups of channels of every sample."""
    epsilon, groups = call.attr("epsilon", 1e-5), int(call.attr("num_groups"))
    return lambda x, scale, bias: functional.group_norm(x, groups, scale, bias, epsilon)


@rule("LayerNormalization", since=17)
def layer_normalization(call: Call) -> Function:
    """Mean and variance of the axes from one on."""
    axis, epsilon = call.axis(default=-1), call.attr("epsilon", 1e-5)
    extents = call.shape()[axis:]
    given = [shape for shape in call.shapes[1:] if shape is not None]
    if not call.wants(1) and not call.wants(2) and all(shape == extents for shape in given):
        return lambda x, w, b=None: functional.layer_norm(x, extents, w, b, epsilon)
    axes = tuple(range(axis, call.rank()))

    def apply(x: Tensor, w: Tensor, b: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        mean = x.mean(axes, keepdim=True)
        scale = (x.var(axes, correction=0, keepdim=True) + epsilon).rsqrt()
        y = (x - mean) * scale * w
        return y if b is None else y + b, mean, scale

    return apply


@rule("RMSNormalization", since=23)
def rms_normalization(call: Call) -> Function:
    """Root mean square of the axes from one on."""
    axes = tuple(range(call.axis(default=-1), call.rank()))
    epsilon = call.attr("epsilon", 1e-5)
    return lambda x, w: x * (x.square().mean(axes, keepdim=True) + epsilon).rsqrt() * w


@rule("LpNormalization")
def lp_normalization(call: Call) -> Function:
    """Vectors along an axis of length one; those of length zero stay."""
    axis, order = call.axis(default=-1), float(call.attr("p", 2))

    def apply(x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, order, axis, keepdim=True)
        return x / torch.where(length == 0, torch.ones_like(length), length)

    return apply


@rule("MeanVarianceNormalization", since=9)
def mean_variance_normalization(call: Call) -> Function:
    """Mean and standard deviation of some axes."""
    axes = tuple(int(a) for a in call.attr("axes", [0, 2, 3]))

    def apply(x: Tensor) -> Tensor:
        centred = x - x.mean(axes, keepdim=True)
        return centred / (centred.square().mean(axes, keepdim=True).sqrt() + 1e-9)

    return apply


@rule("LRN")
def local_response_normalization(call: Call) -> Function:
    """Squares of neighbouring channels; of an even number, one more lies after than before."""
    size, bias = int(call.attr("size")), call.attr("bias", 1.0)
    alpha, beta = call.attr("alpha", 1e-4) / size, call.attr("beta", 0.75)
    around = padding([(size - 1) // 2, 0], [size // 2, 0])

    def apply(x: Tensor) -> Tensor:
        flat = x.square().reshape(x.shape[0], 1, x.shape[1], max(1, prod(x.shape[2:])))
        sums = functional.avg_pool2d(functional.pad(flat, around), (size, 1), 1) * size
        return x * (bias + alpha * sums.reshape(x.shape)) ** -beta

    return apply
