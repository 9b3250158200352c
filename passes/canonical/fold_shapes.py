"""Folding of shapes that are known while values are not."""

from __future__ import annotations

import numpy as np

from ocompress.ir import Facet, Model, Node, Shape, Value, edit, query
from ocompress.pipeline import Context, Outcome, Pass


class FoldShapes(Pass):
    """Replace Shape and Size, and what picks known extents from them, by constants.

    Before: s = Shape(x: float[N, 8]); n = Gather(s, 1)
    After:  n = 8
    Leaves alone: extents that are not known; shapes of formal outputs, which a file may declare
    as it likes.
    Numerics: exact.
    """

    name = "fold-shapes"
    internal = True
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES
    reads = Facet.TOPOLOGY | Facet.TYPES | Facet.WEIGHTS

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Fold in the main graph and in bodies."""
        folded = 0
        for _, node in model.nodes():
            if node.graph is None or not node.is_op("Shape", "Size"):
                continue
            shape = _trusted_shape(node.input(0))
            if shape is not None:
                folded += _fold(node, shape)
        return Outcome(self.may_change, {"shapes folded": folded}) if folded else Outcome()


def _trusted_shape(value: Value | None) -> Shape | None:
    if value is None or (value.is_output and value.constant is None):
        return None
    return value.shape


def _fold(node: Node, shape: Shape) -> int:
    if node.op_type == "Size":
        if not query.is_static(node.input(0)):
            return 0
        count = int(np.prod(np.asarray(shape, np.int64), dtype=np.int64))
        edit.to_constants(node, [np.asarray(count, np.int64)])
        return 1
    shape = shape[slice(int(node.attr("start", 0)), node.attr("end"))]
    numbers = known(shape)
    if numbers is not None:
        edit.to_constants(node, [numbers])
        return 1
    folded = 0
    for reader, index in node.output.users:
        picked = _picked(reader, shape) if index == 0 else None
        if picked is not None:
            edit.to_constants(reader, [picked])
            folded += 1
    return folded


def known(shape: Shape) -> np.ndarray | None:
    """Return extents as a vector of int64, None if one of them is not a number."""
    if all(isinstance(extent, int) for extent in shape):
        return np.asarray(shape, np.int64).reshape(len(shape))
    return None


def _picked(reader: Node, shape: Shape) -> np.ndarray | None:
    if reader.is_op("Gather") and reader.attr("axis", 0) in (0, -1):
        return gathered(shape, query.constant(reader, 1))
    if reader.is_op("Slice") and reader.input(1) is not None:
        bounds = [query.constant(reader, i) for i in (1, 2)]
        axes, steps = reader.input(3), reader.input(4)
        if (axes is None or axes.constant is not None) and (
            steps is None or steps.constant is not None
        ):
            return sliced(shape, bounds[0], bounds[1], query.constant(reader, 4))
    return None


def gathered(shape: Shape, indices: np.ndarray | None) -> np.ndarray | None:
    """Return the extents at `indices` in the shape of `indices`, None if one is not known."""
    if indices is None or np.any((indices < -len(shape)) | (indices >= len(shape))):
        return None
    numbers = known(tuple(shape[int(i)] for i in indices.reshape(-1)))
    return None if numbers is None else numbers.reshape(indices.shape)


def sliced(
    shape: Shape, start: np.ndarray | None, end: np.ndarray | None, step: np.ndarray | None
) -> np.ndarray | None:
    """Return the extents of a slice of a shape, None if one is not known."""
    if start is None or end is None or start.size != 1 or end.size != 1:
        return None
    stride = 1 if step is None else int(step.reshape(()))
    if stride <= 0:
        return None
    return known(shape[int(start.reshape(())) : int(end.reshape(())) : stride])
