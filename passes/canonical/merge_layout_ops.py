"""Chains of nodes that only move elements or rename axes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ocompress.ir import Facet, Model, Node, edit, query
from ocompress.pipeline import Context, Outcome, Pass

_RENAMING = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")


class MergeLayoutOps(Pass):
    """Merge chains of Transpose and of Reshape-like nodes.

    Before: y = Transpose(Transpose(x, p), q); z = Reshape(Flatten(x), s)
    After:  y = Transpose(x, q after p); z = Reshape(x, s)
    Leaves alone: a Reshape whose target is computed or copies extents (0) of an input whose
    extents are not known; the first node of a chain, which others may read.
    Numerics: exact.
    """

    name = "merge-layout-ops"
    internal = True
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES | Facet.TYPES
    reads = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.TYPES

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Merge in the main graph and in bodies, first nodes first."""
        merged = 0
        for _, node in model.nodes():
            rule = _RULES.get(node.op_type)
            if rule is not None and not node.domain and node.graph is not None:
                merged += rule(node)
        return Outcome(self.may_change, {"layout nodes merged": merged}) if merged else Outcome()


def _transpose(node: Node) -> bool:
    before = query.made_by(node.input(0), "Transpose")
    if before is None:
        return False
    first, second = before.attr("perm"), node.attr("perm")
    rank = len(first or second or ()) or (node.inputs[0].rank if node.inputs[0] else None)
    if rank is None:
        return False
    node.set_attr("perm", composed(first or _reverse(rank), second or _reverse(rank)))
    node.set_input(0, before.input(0))
    return True


def _reverse(rank: int) -> list[int]:
    return list(range(rank - 1, -1, -1))


def composed(first: list[int], second: list[int]) -> list[int]:
    """Return the permutation that applies `first` and then `second`."""
    return [first[axis] for axis in second]


def _reshape(node: Node) -> bool:
    before = query.made_by(node.input(0), *_RENAMING)
    target = query.numbers(node, 1)
    if before is None or before.graph is None or target is None:
        return False
    if not node.attr("allowzero") and not target.all():
        shape = node.inputs[0].shape if node.inputs[0] is not None else None
        resolved = without_copies(target, shape)
        if resolved is None or node.graph is None:
            return False
        node.set_input(1, node.graph.constant(f"{node.label}_shape", resolved))
    node.set_input(0, before.input(0))
    return True


def without_copies(target: np.ndarray, shape: tuple[object, ...] | None) -> np.ndarray | None:
    """Return a Reshape target, [axes], with its zeros replaced by the extents they copy.

    Returns:
        None if one of those extents is not known or is itself 0.
    """
    full = target.copy()
    for axis in np.flatnonzero(target == 0):
        extent = shape[axis] if shape is not None and axis < len(shape) else None
        if not isinstance(extent, int) or extent == 0:
            return None
        full[axis] = extent
    return full


def _opposite(op_type: str) -> Callable[[Node], bool]:
    def rule(node: Node) -> bool:
        before = query.made_by(node.input(0), op_type)
        if before is None or node.graph is None or before.input(0) is None:
            return False
        here, there = query.numbers(node, 1), query.numbers(before, 1)
        if here is None or there is None or not here.size or not np.array_equal(here, there):
            return False
        source = before.inputs[0]
        if source is None or not edit.replace(node.output, source):
            return False
        node.graph.remove(node)
        return True

    return rule


_RULES: dict[str, Callable[[Node], bool]] = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Squeeze": _opposite("Unsqueeze"),
    "Unsqueeze": _opposite("Squeeze"),
}
