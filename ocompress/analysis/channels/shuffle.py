"""Channel shuffles: Reshape, Transpose, Reshape that deal channels out in turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.ir import Node, Value, query


@dataclass(frozen=True)
class Shuffle:
    """Three operators that permute the elements of one axis.

    Attributes:
        apart: The Reshape that splits the axis into groups and members.
        swap: The Transpose.
        together: The Reshape that joins members and groups.
        axis: The axis, in the first input and the last output.
        groups: Number of groups, that is how many neighbours of the result come from all in turn.
        order: Which element of the source comes where in the result.
    """

    apart: Node
    swap: Node
    together: Node
    axis: int
    groups: int
    order: np.ndarray

    @property
    def source(self) -> Value:
        """What is shuffled."""
        value = self.apart.inputs[0]
        assert value is not None
        return value

    @property
    def result(self) -> Value:
        """What comes out."""
        return self.together.output


def shuffle_at(node: Node) -> Shuffle | None:
    """Return the shuffle that a Reshape begins or ends, None if there is none."""
    if not node.is_op("Reshape"):
        return None
    return _starting(node) or _ending(node)


def _ending(node: Node) -> Shuffle | None:
    swap = query.made_by(node.input(0), "Transpose")
    apart = None if swap is None else query.made_by(swap.input(0), "Reshape")
    return None if apart is None else _starting(apart)


def _starting(apart: Node) -> Shuffle | None:
    swap = query.only_reader(apart.output)
    if swap is None or not swap.is_op("Transpose"):
        return None
    together = query.only_reader(swap.output)
    if together is None or not together.is_op("Reshape") or apart.input(0) is None:
        return None
    source, split, result = apart.inputs[0], apart.output.shape, together.output.shape
    if source is None or source.constant is not None or source.shape is None:
        return None
    if split is None or result is None or len(split) != len(source.shape) + 1:
        return None
    order = swap.attr("perm", None) or []
    axis = next((a for a, to in enumerate(order) if a != to), None)
    swapped = [*range(len(split))]
    if axis is None or axis + 1 >= len(split):
        return None
    swapped[axis], swapped[axis + 1] = axis + 1, axis
    groups, members, whole = split[axis], split[axis + 1], source.shape[axis]
    if order != swapped or not isinstance(groups, int) or not isinstance(members, int):
        return None
    if whole != groups * members or result[axis : axis + 1] != (whole,):
        return None
    kept = (*source.shape[:axis], *source.shape[axis + 1 :])
    if (*split[:axis], *split[axis + 2 :]) != kept or not _fixed(apart, together):
        return None
    if (*result[:axis], *result[axis + 1 :]) != kept:
        return None
    numbers = np.arange(groups * members).reshape(groups, members).T.reshape(-1)
    return Shuffle(apart, swap, together, axis, groups, numbers)


def _fixed(*nodes: Node) -> bool:
    return all(query.constant(node, 1) is not None for node in nodes)
