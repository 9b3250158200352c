"""What is taken out of which axis."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ocompress.ir import Node, Value

_NOTHING = np.zeros(0, np.int64)


class Taken:
    """Elements that go, as sorted indices [elements], by value or constant and axis."""

    def __init__(self) -> None:
        """Start with nothing taken."""
        self._values: dict[int, tuple[Value, dict[int, np.ndarray]]] = {}
        self._constants: dict[tuple[int, int], dict[int, np.ndarray]] = {}

    def add_value(self, value: Value, axis: int, gone: np.ndarray) -> None:
        """Take elements, [elements], out of an axis of an activation."""
        _add(self._values.setdefault(id(value), (value, {}))[1], axis, gone)

    def add_constant(self, node: Node, index: int, axis: int, gone: np.ndarray) -> None:
        """Take elements, [elements], out of an axis of a constant as one node reads it."""
        _add(self._constants.setdefault((id(node), index), {}), axis, gone)

    def values(self) -> Iterator[tuple[Value, dict[int, np.ndarray]]]:
        """Iterate over the activations with what they lose by axis."""
        yield from self._values.values()

    def of_constant(self, node: Node, index: int) -> dict[int, np.ndarray]:
        """Return what a constant loses by axis, as one node reads it."""
        return dict(self._constants.get((id(node), index), {}))

    def signature(self, node: Node, index: int) -> bytes:
        """Return something that is equal for readers whose constants lose the same."""
        axes = self._constants.get((id(node), index), {})
        groups = node.attr("group", 1) if node.is_op("Conv", "ConvTranspose") else 1
        return repr((groups, [(axis, axes[axis].tolist()) for axis in sorted(axes)])).encode()

    def result(self, node: Node, index: int, array: np.ndarray) -> np.ndarray:
        """Return what is left of a constant's array as one node reads it."""
        axes = self.of_constant(node, index)
        groups = int(node.attr("group", 1)) if node.is_op("Conv", "ConvTranspose") else 1
        if groups > 1 and index == 1 and 1 in axes:
            array = _cut_groups(array, groups, axes.pop(1))
        for axis, gone in axes.items():
            array = without(array, axis, gone)
        return array

    def of(self, value: Value | None, axis: int) -> np.ndarray:
        """Return what an activation loses along an axis."""
        if value is None or id(value) not in self._values:
            return _NOTHING
        return self._values[id(value)][1].get(axis, _NOTHING)

    def read(self, node: Node, index: int, axis: int) -> np.ndarray:
        """Return what an input loses along an axis, whether it is constant or not."""
        own = self._constants.get((id(node), index))
        return self.of(node.input(index), axis) if own is None else own.get(axis, _NOTHING)


def _add(axes: dict[int, np.ndarray], axis: int, gone: np.ndarray) -> None:
    if gone.size:
        axes[axis] = np.union1d(axes.get(axis, _NOTHING), gone)


def without(array: np.ndarray, axis: int, gone: np.ndarray) -> np.ndarray:
    """Return an array, any shape, that lacks some elements, [elements], of an axis."""
    return np.delete(array, gone, axis)


def _cut_groups(array: np.ndarray, groups: int, gone: np.ndarray) -> np.ndarray:
    """Cut the axis within groups of a convolution's weight; `gone` counts over all groups."""
    each = array.shape[1]
    parts = np.split(array, groups)
    return np.concatenate(
        [without(part, 1, gone[gone // each == g] % each) for g, part in enumerate(parts)]
    )
