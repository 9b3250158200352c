"""Residual branches, and what may stand for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_layer import LINEAR
from ocompress.analysis.portions import FeedSizes, portion
from ocompress.analysis.segment_runner import Walk
from ocompress.io import Dataset
from ocompress.ir import Model, Node, Value, edit, reads

_MOST_RANK = 5


@dataclass(frozen=True)
class Branch:
    """An Add of something to what was made of it.

    Attributes:
        add: The Add.
        shortcut: What the branch starts from and is added to.
        nodes: What goes if the branch goes, in order.
    """

    add: Node
    shortcut: Value
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class BranchAffine:
    """What stands for a branch: a factor and an offset per channel of the shortcut.

    Attributes:
        scale: Shape that broadcasts against the shortcut.
        offset: The same shape.
        error: What is left of the variance of the Add's output, relative.
    """

    scale: np.ndarray
    offset: np.ndarray
    error: float


def find_branches(model: Model) -> list[Branch]:
    """Return the residual branches of the main graph that hold a layer, in order."""
    found = (branch_at(node) for node in model.graph.nodes)
    return [branch for branch in found if branch is not None]


def branch_at(node: Node) -> Branch | None:
    """Return the residual branch that ends in a node and holds a layer, None if there is none."""
    if not node.is_op("Add"):
        return None
    first, second = node.inputs
    return _branch(node, first, second) or _branch(node, second, first)


def fit_affine(model: Model, branches: list[Branch], data: Dataset) -> dict[int, BranchAffine]:
    """Fit to every Add's output a factor and an offset per channel of its shortcut.

    Args:
        model: Not changed.
        branches: Its branches, in order.
        data: Feeds.

    Returns:
        By id of the Add; those without a known number of channels, or of values that are not
        finite, are left out.
    """
    walk, sizes = Walk(model, data), FeedSizes(model, data)
    left = [branch for branch in branches if channel_axis(branch.shortcut) is not None]
    found = {}
    while left:
        together = portion((b, sum(sizes.of(v) for v in _seen(b))) for b in left)
        left = left[len(together) :]
        values = {v.name: v for branch in together for v in _seen(branch)}
        sums: dict[int, np.ndarray] = {}
        for seen in walk.show(together[-1].add, list(values.values()), past=True):
            for branch in together:
                terms = _terms(branch, seen)
                sums[id(branch.add)] = sums.get(id(branch.add), 0) + terms
        for branch in together:
            own, axis = sums.get(id(branch.add)), channel_axis(branch.shortcut)
            if own is not None and axis is not None and np.isfinite(own).all():
                found[id(branch.add)] = _affine(own, axis, branch.shortcut.rank or 1)
    return found


def _seen(branch: Branch) -> tuple[Value, Value]:
    return branch.shortcut, branch.add.output


def _terms(branch: Branch, seen: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return sums over the rows of one feed: their number, x, y, and products, (6, channels)."""
    axis = channel_axis(branch.shortcut)
    assert axis is not None
    x, y = (_rows(seen[v.name], axis) for v in _seen(branch))
    with np.errstate(all="ignore"):
        found: np.ndarray = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y]).sum(axis=1)
    return found


def replace_branch(branch: Branch, affine: BranchAffine, like: np.dtype[np.generic]) -> bool:
    """Put the affine in a branch's place; False if the Add's output cannot be replaced."""
    graph = branch.add.graph
    assert graph is not None
    scaling, name = affine_labels(branch)
    scale = graph.constant(f"{name}_scale", affine.scale.astype(like))
    offset = graph.constant(f"{name}_offset", affine.offset.astype(like))
    scaled = graph.add_op("Mul", [branch.shortcut, scale], name=scaling).output
    moved = graph.add_op("Add", [scaled, offset], name=name).output
    old = branch.add.output
    moved.set_type(old.dtype, old.shape)
    scaled.set_type(old.dtype, old.shape)
    if not edit.replace(old, moved):
        return False
    edit.remove_unread(branch.add)
    return True


def affine_labels(branch: Branch) -> tuple[str, str]:
    """Return the labels of the Mul and the Add that stand for a branch."""
    return f"{branch.add.label}_affine_scaled", f"{branch.add.label}_affine"


def _branch(add: Node, shortcut: Value | None, end: Value | None) -> Branch | None:
    """Return the branch from one operand of an Add to the other, None if there is none."""
    if shortcut is None or end is None or shortcut.data is not None or end.producer is None:
        return None
    if shortcut.shape is None or shortcut.shape != end.shape or end is shortcut:
        return None
    if end.is_output or len(end.users) != 1:
        return None
    between = _between(shortcut, end)
    if between is None or not any(n.is_op(*LINEAR) for n in between):
        return None
    return Branch(add, shortcut, tuple(between))


def _between(start: Value, end: Value) -> list[Node] | None:
    """Return all that makes `end` of `start` alone; None if something else enters or leaves."""
    inside = _behind(start, end)
    if inside is None:
        return None
    made = [v for node in inside.values() for v in node.outputs if v is not None and v is not end]
    leaves = any(v.is_output or any(id(r) not in inside for r, _ in v.users) for v in made)
    return None if leaves else list(inside.values())


def _behind(start: Value, end: Value) -> dict[int, Node] | None:
    """Return the nodes from `start` to `end` by id; None if the model's inputs enter elsewhere."""
    assert end.producer is not None
    inside: dict[int, Node] = {}
    open_ = [end.producer]
    reached = False
    while open_:
        node = open_.pop()
        if id(node) in inside:
            continue
        if node.graph is not end.producer.graph or node.bodies:
            return None
        inside[id(node)] = node
        sources = [v for v in reads(node) if v.data is None]
        reached |= any(v is start for v in sources)
        makers = [v.producer for v in sources if v is not start]
        if None in makers:
            return None
        open_.extend(m for m in makers if m is not None)
    return inside if reached else None


def channel_axis(value: Value) -> int | None:
    """Return the axis of channels: 1 of images, the last of sequences."""
    if value.shape is None or not 2 <= len(value.shape) <= _MOST_RANK:
        return None
    axis = 1 if len(value.shape) >= 4 else len(value.shape) - 1
    return axis if isinstance(value.shape[axis], int) else None


def _rows(array: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis]).astype(np.float64)


def _affine(sums: np.ndarray, axis: int, rank: int) -> BranchAffine:
    count, x, y, xx, xy, yy = sums
    count = np.maximum(count, 1)
    covariance, variance = xy / count - x * y / count**2, xx / count - (x / count) ** 2
    scale = np.where(variance > 1e-12, covariance / np.maximum(variance, 1e-12), 1.0)
    offset = y / count - scale * x / count
    power = yy / count - (y / count) ** 2
    left = (power - 2 * scale * covariance + scale**2 * variance).clip(0)
    shape = [-1 if i == axis else 1 for i in range(rank)]
    error = float(left.sum() / max(float(power.sum()), 1e-30))
    return BranchAffine(scale.reshape(shape), offset.reshape(shape), error)
