"""Operators that look elements up, and those that find where they are."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ocompress.training.registry import Call, Function, UnsupportedError, rule

_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _from_start(index: Tensor, extent: int) -> Tensor:
    """Return indices counted from the start."""
    index = index.long()
    return torch.where(index < 0, index + extent, index)


@rule("Gather")
def gather(call: Call) -> Function:
    """Slices along an axis, as an index of any shape says."""
    axis = call.axis()
    extent, shape = call.shape()[axis], call.shape(1)
    made = (*call.shape()[:axis], *shape, *call.shape()[axis + 1 :])
    known = call.arrays[1]
    if known is not None and known.ndim == 0:
        at = int(known) % extent
        return lambda x, _: x.select(axis, at)
    if known is not None:
        index = torch.from_numpy(np.where(known < 0, known + extent, known).astype(np.int64))
        flat = index.reshape(-1)
        return lambda x, _: x.index_select(axis, flat).reshape(made)
    if axis == 0 and call.rank() == 2:
        return lambda x, i: functional.embedding(_from_start(i, extent), x)
    return lambda x, i: x.index_select(axis, _from_start(i, extent).reshape(-1)).reshape(made)


@rule("GatherElements", since=11)
def gather_elements(call: Call) -> Function:
    """An element for each index along an axis."""
    axis = call.axis()
    extent = call.shape()[axis]
    return lambda x, i: torch.gather(x, axis, _from_start(i, extent))


def _places(call: Call, index: Tensor, batch: int = 0) -> tuple[Tensor, ...]:
    """Return an index per axis; those of the first axes count up."""
    found = [_from_start(i, call.shape()[batch + a]) for a, i in enumerate(index.unbind(-1))]
    rank = index.dim() - 1
    before = []
    for axis in range(batch):
        extents = [-1 if i == axis else 1 for i in range(rank)]
        before.append(torch.arange(index.shape[axis]).reshape(extents))
    return (*before, *found)


@rule("GatherND", since=11)
def gather_nd(call: Call) -> Function:
    """Slices at indices of several axes."""
    batch = int(call.attr("batch_dims", 0))
    return lambda x, index: x[_places(call, index, batch)]


@rule("ScatterElements", since=11)
def scatter_elements(call: Call) -> Function:
    """Elements put or added at an index each along an axis."""
    axis, how = call.axis(), call.attr("reduction", "none")
    extent = call.shape()[axis]
    if how == "none":
        return lambda x, i, new: torch.scatter(x, axis, _from_start(i, extent), new)
    word = _REDUCTIONS[how]
    return lambda x, i, new: torch.scatter_reduce(x, axis, _from_start(i, extent), new, word)


@rule("ScatterND", since=11)
def scatter_nd(call: Call) -> Function:
    """Slices put or added at indices of several axes."""
    how = call.attr("reduction", "none")
    if how not in ("none", "add"):
        msg = f"the reduction {how!r} is not known"
        raise UnsupportedError(msg)
    return lambda x, index, new: x.index_put(_places(call, index), new, accumulate=how == "add")


@rule("TopK", since=11, static=(1,))
def top(call: Call) -> Function:
    """The largest or smallest along an axis, the first of equal ones first."""
    axis, count = call.axis(default=-1), (call.ints(1) or [1])[0]
    largest = bool(call.attr("largest", 1))

    def apply(x: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        values, index = torch.sort(x, dim=axis, descending=largest, stable=True)
        return values.narrow(axis, 0, count), index.narrow(axis, 0, count)

    return apply


@rule("ArgMax", "ArgMin")
def extreme(call: Call) -> Function:
    """Where the largest or smallest is along an axis: the first of them, or the last."""
    axis, keep = call.axis(), bool(call.attr("keepdims", 1))
    find = torch.argmax if call.node.op_type == "ArgMax" else torch.argmin
    if not call.attr("select_last_index", 0):
        return lambda x: find(x, axis, keep)
    last = call.shape()[axis] - 1
    return lambda x: last - find(x.flip(axis), axis, keep)


@rule("CumSum", since=11, static=(1,))
def cumulative_sum(call: Call) -> Function:
    """Sums up to each element, from either side, with it or without."""
    axis = (call.ints(1) or [0])[0] % call.rank()
    before, back = call.attr("exclusive", 0), call.attr("reverse", 0)

    def apply(x: Tensor, _: Tensor) -> Tensor:
        turned = x.flip(axis) if back else x
        sums = torch.cumsum(turned, axis, dtype=x.dtype)
        sums = sums - turned if before else sums
        return sums.flip(axis) if back else sums

    return apply
