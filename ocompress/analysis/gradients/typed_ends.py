"""Formal outputs with the shapes of what they are put together of, which few files record."""

from __future__ import annotations

from collections.abc import Collection

from ocompress.analysis.gradients.origins import LAYOUT, PASSING, behind
from ocompress.analysis.shapes import with_shapes
from ocompress.ir import Model, Value


def typed_ends(model: Model, names: Collection[str]) -> dict[str, Value]:
    """Return formal outputs by name, of a clone whose shapes are inferred if that says more.

    An exporter need not record the shapes of inner values, and most leave them out. Without them
    nobody can tell which channels of a Concat are boxes and which are scores.

    Args:
        model: Not changed.
        names: The outputs that are looked at.
    """
    found = {v.name: v for v in model.graph.outputs if v.name in names}
    if any(_lacks_extents(value) for value in found.values()):
        found = {v.name: v for v in with_shapes(model, {}).graph.outputs if v.name in names}
    return found


def _lacks_extents(value: Value) -> bool:
    """Whether an output is joined of pieces whose extents are not recorded."""
    pending = [value]
    while pending:
        node = behind(pending.pop(), (*PASSING, *LAYOUT))
        if node is None or not node.is_op("Concat"):
            continue
        pieces = [v for v in node.inputs if v is not None]
        if any(v.shape is None or any(not isinstance(e, int) for e in v.shape[1:]) for v in pieces):
            return True
        pending += pieces
    return False
