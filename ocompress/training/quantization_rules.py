"""Grids. Integers on the way from QuantizeLinear to DequantizeLinear are floats here.

Rounding passes gradients on as if it were not there (straight-through; Bengio et al., 2013). With
that the derivative by a step is the one of LSQ (Esser et al., 2020): the distance to the grid
inside the range, the limit outside.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ocompress.ir import DType
from ocompress.training.registry import Call, Function, UnsupportedError, rule


def rounded(x: Tensor) -> Tensor:
    """Return whole numbers, through which gradients pass."""
    return x + (torch.round(x) - x).detach()


def range_of(dtype: DType | None) -> tuple[int, int]:
    """Return the least and the largest integer of a type.

    Raises:
        UnsupportedError: If it is none of integers.
    """
    name = "UINT8" if dtype is None else dtype.name
    signed, _, bits = name.partition("INT")
    if signed not in ("", "U") or not bits.isdigit():
        msg = f"grids of {name.lower()} are not known"
        raise UnsupportedError(msg)
    width = int(bits)
    return (0, (1 << width) - 1) if signed else (-(1 << width - 1), (1 << width - 1) - 1)


def _spread(call: Call) -> Callable[[Tensor], Tensor]:
    """Return what brings scales and zero points to the rank of what they stand beside."""
    scales, shape = call.shape(1), call.shape()
    block, axis = int(call.attr("block_size", 0)), call.axis(default=1)
    if block:
        extent = shape[axis]
        return lambda s: s.repeat_interleave(block, axis).narrow(axis, 0, extent)
    if len(scales) == 1 and (scales[0] > 1 or len(shape) == 0 or shape[axis] == scales[0]):
        along = [-1 if i == axis else 1 for i in range(len(shape))]
        return lambda s: s.reshape(along)
    return lambda s: s.reshape([1] * len(shape)) if len(scales) == 1 else s


@rule("QuantizeLinear", since=10)
def quantize(call: Call) -> Function:
    """Nearest integers of a grid, within the range of their type."""
    zero = call.node.input(2)
    named = int(call.attr("output_dtype", 0))
    dtype = zero.dtype if zero is not None else DType.named(named) if named else DType.UINT8
    low, high = range_of(dtype)
    spread, floating = _spread(call), call.floating

    def apply(x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        levels = rounded(x.to(floating) / spread(scale))
        if zero is not None:
            levels = levels + spread(zero.to(floating))
        return torch.clamp(levels, low, high)

    return apply


@rule("DequantizeLinear", since=10)
def dequantize(call: Call) -> Function:
    """What the integers of a grid stand for."""
    source = call.node.input(0)
    range_of(source.dtype if source is not None else None)
    spread, floating = _spread(call), call.floating

    def apply(levels: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        levels = levels.to(floating)
        if zero is not None:
            levels = levels - spread(zero.to(floating))
        return levels * spread(scale)

    return apply


@rule("DynamicQuantizeLinear", since=11)
def dynamic_quantize(_: Call) -> Function:
    """Grids of 8 bits over the range of each tensor; the grid itself passes no gradient."""

    def apply(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        low, high = x.detach().min().clamp(max=0), x.detach().max().clamp(min=0)
        scale = (high - low) / 255
        scale = torch.where(scale == 0, torch.ones_like(scale), scale)
        zero = torch.clamp(torch.round(-low / scale), 0, 255)
        return torch.clamp(rounded(x / scale) + zero, 0, 255), scale, zero

    return apply


@rule("MatMulInteger", since=10)
def matmul_integer(call: Call) -> Function:
    """Products of integers less their zero points."""
    floating = call.floating
    signed = [v is not None and v.dtype is not None for v in call.node.inputs[:2]]
    if not all(signed) or int(np.prod(call.shape())) == 0:
        msg = "types are not known"
        raise UnsupportedError(msg)

    def apply(a: Tensor, b: Tensor, az: Tensor | None = None, bz: Tensor | None = None) -> Tensor:
        a, b = a.to(floating), b.to(floating)
        if az is not None:
            az = az.to(floating)
            a = a - (az.unsqueeze(-1) if az.dim() == 1 and az.numel() > 1 else az)
        return a @ (b if bz is None else b - bz.to(floating))

    return apply
