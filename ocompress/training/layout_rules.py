"""Operators that move elements and compute nothing."""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ocompress.training.registry import Call, Function, UnsupportedError, rule
from ocompress.training.windows import padding


@rule("Reshape", since=5, static=(1,))
def reshape(call: Call) -> Function:
    """Other extents; 0 is the one that was there, -1 what is left."""
    wanted = call.ints(1) or []
    if not call.attr("allowzero", 0):
        wanted = [call.shape()[i] if e == 0 else e for i, e in enumerate(wanted)]
    return lambda x, _: x.reshape(wanted)


@rule("Flatten")
def flatten(call: Call) -> Function:
    """A matrix: the axes before one, and the others."""
    axis = int(call.attr("axis", 1))
    axis += call.rank() if axis < 0 else 0
    rows = prod(call.shape()[:axis])
    columns = prod(call.shape()[axis:])
    return lambda x: x.reshape(rows, columns)


@rule("Squeeze", since=13, static=(1,))
def squeeze(call: Call) -> Function:
    """Without axes of extent one."""
    axes = call.ints(1)
    extents = call.shape()
    gone = {a % call.rank() for a in axes} if axes is not None else None
    kept = [e for i, e in enumerate(extents) if (e != 1 if gone is None else i not in gone)]
    return lambda x, _=None: x.reshape(kept)


@rule("Unsqueeze", since=13, static=(1,))
def unsqueeze(call: Call) -> Function:
    """With more axes of extent one."""
    axes = call.ints(1) or []
    rank = call.rank() + len(axes)
    new, rest = {a % rank for a in axes}, iter(call.shape())
    extents = [1 if i in new else next(rest) for i in range(rank)]
    return lambda x, _: x.reshape(extents)


@rule("Transpose")
def transpose(call: Call) -> Function:
    """Axes in another order, reversed unless said otherwise."""
    order = [int(a) for a in call.attr("perm", range(call.rank())[::-1])]
    return lambda x: x.permute(order)


@rule("Concat", since=4)
def concat(call: Call) -> Function:
    """Tensors one after the other along an axis."""
    axis = call.axis()

    def joined(*parts: Tensor) -> Tensor:
        full = [part for part in parts if part.numel()]  # others may have any extents
        return torch.cat(full or parts, axis)

    return joined


@rule("Split", since=13, static=(1,))
def split(call: Call) -> Function:
    """Parts along an axis: of given extents, or alike but for the last."""
    axis = call.axis()
    extent, parts = call.shape()[axis], int(call.attr("num_outputs", len(call.node.outputs)))
    each = -(-extent // parts)
    sizes = call.ints(1) or [max(0, min(each, extent - each * i)) for i in range(parts)]
    return lambda x, _=None: torch.split(x, sizes, axis)


@rule("Expand", since=8, static=(1,))
def expand(call: Call) -> Function:
    """Axes of extent one, stretched."""
    extents = np.broadcast_shapes(call.shape(), tuple(call.ints(1) or ()))
    return lambda x, _: x.expand(extents)


@rule("Tile", since=6, static=(1,))
def tile(call: Call) -> Function:
    """The whole several times along each axis."""
    times = call.ints(1) or []
    return lambda x, _: x.repeat(times)


@rule("Pad", since=11, static=(1, 2, 3))
def pad(call: Call) -> Function:
    """More elements around: a constant, or others of the tensor."""
    rank, given = call.rank(), call.ints(1) or []
    axes = call.ints(3)
    axes = list(range(rank)) if axes is None else [a % rank for a in axes]
    begins, ends = [0] * rank, [0] * rank
    for at, axis in enumerate(axes):
        begins[axis], ends[axis] = given[at], given[at + len(axes)]
    mode = call.attr("mode", "constant")
    if mode == "constant":
        number = call.known(2).reshape(()).item() if call.has(2) else 0
        around = padding(begins, ends)
        return lambda x, *_: functional.pad(x, around, value=number)
    if min(begins + ends) < 0:
        msg = "elements are cut off at one side and mirrored at another"
        raise UnsupportedError(msg)
    modes = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}
    found = []
    for axis, pair in enumerate(zip(begins, ends, strict=True)):
        if any(pair):
            index = np.pad(np.arange(call.shape()[axis]), pair, mode=modes[mode])  # type: ignore[call-overload]
            found.append((axis, torch.from_numpy(index)))

    def apply(x: Tensor, *_: Tensor | None) -> Tensor:
        for axis, index in found:
            x = x.index_select(axis, index)
        return x

    return apply


@rule("DepthToSpace")
def depth_to_space(call: Call) -> Function:
    """Channels become squares of pixels."""
    block = int(call.attr("blocksize"))
    n, c, h, w = call.shape()
    c //= block * block
    if call.attr("mode", "DCR") == "DCR":
        split, order = (n, block, block, c, h, w), (0, 3, 4, 1, 5, 2)
    else:
        split, order = (n, c, block, block, h, w), (0, 1, 4, 2, 5, 3)
    made = (n, c, h * block, w * block)
    return lambda x: x.reshape(split).permute(order).reshape(made)


@rule("SpaceToDepth")
def space_to_depth(call: Call) -> Function:
    """Squares of pixels become channels."""
    block = int(call.attr("blocksize"))
    n, c, h, w = call.shape()
    split = (n, c, h // block, block, w // block, block)
    order = (0, 3, 5, 1, 2, 4) if call.attr("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    made = (n, c * block * block, h // block, w // block)
    return lambda x: x.reshape(split).permute(order).reshape(made)


@rule("Trilu", since=14, static=(1,))
def triangle(call: Call) -> Function:
    """One side of a diagonal."""
    shift = (call.ints(1) or [0])[0]
    keep = torch.triu if call.attr("upper", 1) else torch.tril
    return lambda x, _=None: keep(x, shift)


@rule("Shape", since=1)
def shape(call: Call) -> Function:
    """Extents of the axes from one to another."""
    start, end = call.attr("start", 0), call.attr("end")
    extents = torch.tensor(call.shape()[start:end], dtype=torch.int64)
    return lambda _: extents


@rule("Size")
def size(call: Call) -> Function:
    """Number of elements."""
    found = torch.tensor(prod(call.shape()), dtype=torch.int64)
    return lambda _: found


@rule("Slice", since=10, static=(1, 2, 3, 4))
def cut(call: Call) -> Function:
    """Every so manyth element from one to another along some axes."""
    starts, ends = call.ints(1) or [], call.ints(2) or []
    axes = call.ints(3) or list(range(len(starts)))
    steps = call.ints(4) or [1] * len(starts)
    plain: list[slice] = [slice(None)] * call.rank()
    turned: list[tuple[int, Tensor]] = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        at = axis % call.rank()
        extent = call.shape()[at]
        if step > 0:
            plain[at] = slice(*slice(start, end, step).indices(extent))
            continue
        stop = None if end < -extent else end
        index = np.arange(extent)[slice(start, stop, step)].copy()
        turned.append((at, torch.from_numpy(index)))
    where = tuple(plain)

    def apply(x: Tensor, *_: Tensor | None) -> Tensor:
        x = x[where]
        for axis, index in turned:
            x = x.index_select(axis, index)
        return x

    return apply
