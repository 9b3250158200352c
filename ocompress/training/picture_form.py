"""Weights over pictures, trained by their coefficients as sums of cosines."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ocompress.archive.cosines import Plane, cosines
from ocompress.ir import Node, Value
from ocompress.training.forms import Free

_LEAST = 4
"""Places along an axis below which sums of cosines say little more than weights."""
_PICTURES = 4
"""Axes of pictures in a batch."""


class FreeCosines(Free):
    """Every coefficient for itself, of cosines of length one; zeros stay where there is a mask."""

    name = "cosines"

    def __init__(self, values: np.ndarray, plane: Plane, *, turned: bool) -> None:
        """Start with the coefficients of the weight there is.

        Args:
            values: The weight.
            plane: How its inputs lie.
            turned: Whether outputs are columns.
        """
        self._plane, self._turned, self._shape = plane, turned, values.shape
        self._bases = _unit(plane.down), _unit(plane.across)
        matrix = values.reshape(len(values), -1)
        rows = torch.from_numpy(np.array(matrix.T if turned else matrix, np.float32))
        super().__init__(self._applied(rows, *map(torch.linalg.inv, self._bases)).numpy())

    def value(self) -> Tensor:
        """Add the cosines up."""
        found = self._applied(self.leaf, *self._bases)
        return (found.T if self._turned else found).reshape(self._shape)

    def exact(self) -> np.ndarray:
        """Add the cosines up."""
        return np.array(self.value().detach().numpy(), np.float32)

    def _applied(self, rows: Tensor, down: Tensor, across: Tensor) -> Tensor:
        plane = self._plane
        turned = rows.reshape(len(rows), -1, plane.down, plane.across, plane.apart)
        half = torch.einsum("rbvus,xu->rbvxs", turned, across)
        return torch.einsum("rbvxs,yv->rbyxs", half, down).reshape(rows.shape)


def _unit(extent: int) -> Tensor:
    """Return the cosines of archives, of length one, [places, frequencies]; nearly orthogonal."""
    basis = cosines(extent).astype(np.float64)
    return torch.from_numpy((basis / np.linalg.norm(basis, axis=0)).astype(np.float32))


def plane_of(value: Value) -> tuple[Plane, bool] | None:
    """Return how the inputs of a weight lie in pictures, and whether its outputs are columns.

    They do behind a Flatten or Reshape of pictures, and in kernels; None of small ones, and where
    readers differ.
    """
    found = {_seen(node, value) for node, _ in value.users}
    return found.pop() if len(found) == 1 else None


def _seen(node: Node, value: Value) -> tuple[Plane, bool] | None:
    shape = value.shape
    if shape is None or not all(isinstance(extent, int) for extent in shape):
        return None
    whole = [extent for extent in shape if isinstance(extent, int)]
    if node.is_op("Conv") and len(whole) == _PICTURES and min(whole[2:]) >= _LEAST:
        return Plane(whole[2], whole[3]), False
    if not node.is_op("Gemm", "MatMul") or node.input(1) is not value or len(whole) != 2:
        return None
    turned = not node.attr("transB", 0) if node.is_op("Gemm") else True
    flat = node.input(0)
    source = flat.producer if flat is not None else None
    seen = source.input(0) if source is not None and source.is_op("Flatten", "Reshape") else None
    extents = seen.shape if seen is not None else None
    if extents is None or len(extents) != _PICTURES:
        return None
    inputs = [extent for extent in extents[1:] if isinstance(extent, int)]
    count = whole[0] if turned else whole[1]
    if len(inputs) < 3 or int(np.prod(inputs)) != count or min(inputs[1:]) < _LEAST:
        return None
    return Plane(inputs[1], inputs[2]), turned
