"""Branches that no sample takes, so that nothing judges what passes changed in them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ocompress.io import Dataset
from ocompress.ir import Graph, Model, Node
from ocompress.runtime import Session

_LEAST = 64
"""Elements from which on a constant in a branch is a weight that passes may change."""
_TAKEN = {"then_branch": True, "else_branch": False}


def never_taken(model: Model, data: Dataset | None) -> list[str]:
    """Say of every branch with weights that no sample takes that it was not judged.

    Args:
        model: What came in; it is run once more on the data if it has such branches. Branches
            inside bodies are not looked into.
        data: The samples that judge; None if nothing does.
    """
    nodes = [node for node in model.graph.nodes if any(True for _ in _weighty(node))]
    asked = {v.name: v for v in (node.input(0) for node in nodes) if v is not None}
    if data is None or not asked:
        return []
    seen: dict[str, set[bool]] = {name: set() for name in asked}
    made = [v for v in asked.values() if v.producer is not None]
    session = Session(model, extra_outputs=[v for v in made if not v.is_output]) if made else None
    for feeds in data:
        found = session.run(feeds, [v.name for v in made]) if session is not None else {}
        for name, value in asked.items():
            array = found.get(name, feeds.get(name, value.constant))
            if array is not None:
                seen[name].add(bool(np.all(array)))
    pairs = [(node, branch) for node in nodes for branch in _weighty(node)]
    return [
        f"no sample that judges takes {branch} of {node.op_type} {node.label!r}, so what passes "
        "changed in it was not judged; give samples that do with --data or --eval-data"
        for node, branch in pairs
        if any(seen[v.name] == {not _TAKEN[branch]} for v in node.inputs[:1] if v is not None)
    ]


def _weighty(node: Node) -> Iterator[str]:
    """Yield the names of an If's branches that hold weights."""
    if not node.is_op("If") or node.input(0) is None:
        return
    for branch in _TAKEN:
        body = node.bodies.get(branch)
        if isinstance(body, Graph):
            held = (v.data for g in body.graphs() for v in g.initializers.values())
            if any(array is not None and array.size >= _LEAST for array in held):
                yield branch
