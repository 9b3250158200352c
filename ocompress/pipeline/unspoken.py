"""Nodes with large constants that a pass has no rule for: named, so that silence means done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Set

import numpy as np

from ocompress.ir import DType, Model, Node, query

CODE = "no-rule"
_MATRIX, _VECTOR = 512, 1 << 16
"""Elements from which on a constant of several axes, and one of a single axis, is worth a word."""

Held = dict[tuple[str, int], tuple[Node, int, np.ndarray | None]]
"""Nodes with how many elements a constant of theirs has and what they are, by label and input; of
what attributes hold, at -1, only the number is known."""


def held_by_others(model: Model, known: Iterable[str]) -> Held:
    """Return the large constants of nodes that are none of some standard operators.

    Args:
        model: Bodies of control flow are looked at, too.
        known: The operators.
    """
    found: Held = {}
    for _, node in model.nodes():
        if node.is_op(*known) or node.is_op("Constant") or node.op_type == "DequantizeLinear":
            continue  # what reads its result is asked
        for at, value in enumerate(node.inputs):
            array = None if value is None else value.constant
            if array is not None and _is_large(array, node):
                found[node.label, at] = node, int(array.size), array
        count = query.attribute_elements(node.attributes.values())
        if count >= _MATRIX:
            found[node.label, -1] = node, count, None
    return found


def unspoken(before: Held, after: Held, spoken: Set[str]) -> Iterator[tuple[Node, str]]:
    """Iterate over nodes whose constants are as they were and that nothing was said about.

    Args:
        before: What the model held before the pass.
        after: What it holds now.
        spoken: Labels of nodes that the pass said something about.

    Returns:
        Each node with a sentence.
    """
    totals: dict[int, int] = defaultdict(int)
    nodes: dict[int, Node] = {}
    for key in before.keys() & after.keys():
        node, count, array = after[key]
        if node.label not in spoken and _is_same(before[key][2], array):
            nodes[id(node)] = node
            totals[id(node)] += count
    for node, _, _ in after.values():
        if id(node) in totals:
            name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            count = totals.pop(id(node))
            yield node, f"there is no rule for {name}; its {count:,} weights stay as they are"


def in_functions(model: Model) -> Iterator[str]:
    """Iterate over sentences about functions that hold large constants."""
    for function in model.functions:
        attributes = (a for node in function.node for a in node.attribute)
        count = query.attribute_elements(attributes)
        if count >= _MATRIX:
            yield f"{count:,} weights inside the function {function.name} stay as they are"


def _is_same(before: np.ndarray | None, after: np.ndarray | None) -> bool:
    """Whether constants are equal, maybe in another type of floats."""
    if before is None or after is None or before is after:
        return before is after
    if before.shape != after.shape:
        return False
    wide = before if before.itemsize >= after.itemsize else before.astype(after.dtype)
    return bool(np.array_equal(wide, after.astype(wide.dtype)))


def _is_large(array: np.ndarray, node: Node) -> bool:
    kind = DType.of(array)
    packed = bool(node.domain) and kind is not DType.BOOL and kind.bits <= 8
    if not kind.is_float and not packed:
        return False
    several = sum(extent > 1 for extent in array.shape) > 1
    return array.size >= (_MATRIX if several else _VECTOR)
