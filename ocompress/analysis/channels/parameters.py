"""Numbers that operators are given as attributes, as constants, or joined at run time."""

from __future__ import annotations

from dataclasses import dataclass

from ocompress.analysis.channels.relation import UnfollowedError
from ocompress.ir import Node, Shape


@dataclass(frozen=True)
class Element:
    """One number of a wanted shape.

    Attributes:
        number: The number.
        node: The operator that reads the constant which holds it.
        index: Its input.
        position: Place in the constant.
    """

    number: int
    node: Node
    index: int
    position: int


Wanted = Element | None
"""None stands for a number that is known only at run time."""


def shape_elements(node: Node, index: int) -> list[Wanted] | None:
    """Return the numbers of a shape that is constant or joined from parts.

    Args:
        node: The operator that wants the shape.
        index: Its input, a vector of integers.

    Returns:
        One entry per number, or None if how many there are is not known.
    """
    value = node.input(index)
    if value is None:
        return None
    if value.constant is not None:
        numbers = value.constant.reshape(-1)
        return [Element(int(n), node, index, at) for at, n in enumerate(numbers)]
    maker = value.producer
    if maker is None or not maker.is_op("Concat"):
        extent = value.shape[0] if value.shape is not None and len(value.shape) == 1 else None
        return [None] * extent if isinstance(extent, int) else None
    found: list[Wanted] = []
    for at in range(len(maker.inputs)):
        part = shape_elements(maker, at)
        if part is None:
            return None
        found += part
    return found


def numbers(node: Node, index: int, name: str) -> list[int] | None:
    """Return integers from input `index` or, where that is omitted, from attribute `name`.

    Returns:
        None if they are computed or not given.
    """
    value = node.input(index)
    if value is not None:
        return None if value.constant is None else [int(n) for n in value.constant.reshape(-1)]
    given = node.attr(name, None)
    return None if given is None else [int(n) for n in given]


def axes_of(node: Node) -> list[int]:
    """Return the axes an operator is given, as input 1 or as an attribute; empty if none.

    Raises:
        UnfollowedError: If they are computed.
    """
    found = numbers(node, 1, "axes")
    if found is None and node.input(1) is not None:
        raise UnfollowedError(code="computed-axes", why=f"the axes of {node.label!r} are computed")
    return found or []


def slice_bounds(node: Node, shape: Shape) -> dict[int, tuple[int, int] | None]:
    """Return where slices along axes start and end.

    Args:
        node: A Slice.
        shape: Shape of what it cuts from.

    Returns:
        `(start, end)` by axis as indices from 0 up, start <= end; None where they are computed or
        the step is not 1.

    Raises:
        UnfollowedError: If which axes are sliced is computed.
    """
    names = ("starts", "ends", "axes", "steps")
    starts, ends, axes, steps = (numbers(node, i, n) for i, n in enumerate(names, start=1))
    bound = starts if starts is not None else ends
    if axes is None and (node.input(3) is not None or bound is None):
        raise UnfollowedError(code="computed-axes", why=f"the axes of {node.label!r} are computed")
    if axes is None:
        axes = list(range(len(bound or ())))
    if node.input(4) is None:
        steps = [1] * len(axes)
    found: dict[int, tuple[int, int] | None] = {}
    for at, axis in enumerate(a % len(shape) for a in axes):
        extent = shape[axis]
        found[axis] = None
        if starts is None or ends is None or steps is None or not isinstance(extent, int):
            continue
        if steps[at] == 1:
            start, end, _ = slice(starts[at], ends[at]).indices(extent)
            found[axis] = (start, max(start, end))
    return found
