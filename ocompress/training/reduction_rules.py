"""Sums, means and extremes along axes."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from ocompress.training.registry import Call, Function, UnsupportedError, rule


def _product(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keepdim, dtype=x.dtype)
    return x


def _sum(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    return torch.sum(x, axes, keepdim, dtype=x.dtype)


_KINDS: dict[str, Function] = {
    "ReduceL1": lambda x, axes, keep: _sum(x.abs(), axes, keep),
    "ReduceL2": lambda x, axes, keep: _sum(x.square(), axes, keep).sqrt(),
    "ReduceLogSum": lambda x, axes, keep: _sum(x, axes, keep).log(),
    "ReduceLogSumExp": torch.logsumexp,
    "ReduceMax": torch.amax,
    "ReduceMean": torch.mean,
    "ReduceMin": torch.amin,
    "ReduceProd": _product,
    "ReduceSum": _sum,
    "ReduceSumSquare": lambda x, axes, keep: _sum(x.square(), axes, keep),
}


@rule(*_KINDS, static=(1,))
def reduce(call: Call) -> Function:
    """Some axes, or all; of none the elements themselves, if the node says so."""
    apply, keep = _KINDS[call.node.op_type], bool(call.attr("keepdims", 1))
    axes = call.ints(1) if call.has(1) else call.attr("axes")
    rank = call.rank()
    if prod(call.shape()) == 0:
        msg = "there is nothing to reduce"
        raise UnsupportedError(msg)
    if not axes and (call.attr("noop_with_empty_axes", 0) or rank == 0):
        return lambda x, _=None: apply(x.unsqueeze(-1), (rank,), False)
    found = tuple(sorted({int(a) % rank for a in axes})) if axes else tuple(range(rank))
    return lambda x, _=None: apply(x, found, keep)
