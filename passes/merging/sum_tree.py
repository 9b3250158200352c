"""Adds that lead to one Add, as one sum of several terms."""

from __future__ import annotations

from dataclasses import dataclass

from ocompress.ir import Node, Value, edit, query
from passes.merging import linear
from passes.merging.linear import Linear


@dataclass(eq=False)
class Leaf:
    """A term of a sum.

    Attributes:
        add: The Add that reads it.
        at: As which input.
        value: What it is.
        layer: The linear layer that makes it, if one does.
    """

    add: Node
    at: int
    value: Value
    layer: Linear | None

    @property
    def is_private(self) -> bool:
        """Whether nobody but the sum reads it."""
        return query.only_reader(self.value) is self.add


class SumTree:
    """A sum: its last Add, the Adds that only lead to it, and what they add.

    Attributes:
        leaves: The terms, in order.
    """

    def __init__(self, root: Node, opset: int) -> None:
        """Collect the terms that lead to `root`."""
        self.leaves: list[Leaf] = []
        self._adds: list[Node] = [root]
        pending = [(root, 1), (root, 0)]
        while pending:
            add, at = pending.pop()
            value = add.inputs[at]
            assert value is not None
            layer = linear.made_by(value, opset)
            inner = value.producer
            if not isinstance(layer, Linear) and inner is not None and leads_to(inner, add):
                self._adds.append(inner)
                pending += [(inner, 1), (inner, 0)]
            else:
                found = layer if isinstance(layer, Linear) else None
                self.leaves.append(Leaf(add, at, value, found))

    def drop(self, leaf: Leaf) -> None:
        """Take a term out; the Add that read it goes."""
        add, kept = leaf.add, leaf.add.inputs[1 - leaf.at]
        assert kept is not None
        readers = add.output.users
        edit.replace(add.output, kept)
        for other in self.leaves:
            if other.add is add and other is not leaf and readers:
                other.add, other.at = readers[0]
        assert add.graph is not None
        add.graph.remove(add)
        self.leaves.remove(leaf)

    def forget_shapes(self, host: Leaf) -> None:
        """Forget the extents of sums that `host` is no part of; they may have become smaller."""
        value, sure = host.value, set()
        while (reader := query.only_reader(value)) is not None and reader in self._adds:
            sure.add(id(reader))
            value = reader.output
        for add in self._adds:
            if add.graph is not None and id(add) not in sure:
                add.output.set_type(add.output.dtype, None)


def is_root(node: Node) -> bool:
    """Whether a node is the last Add of a sum."""
    if not node.is_op("Add"):
        return False
    reader = query.only_reader(node.output)
    return reader is None or not leads_to(node, reader)


def leads_to(node: Node, add: Node) -> bool:
    """Whether a node is an Add that only another Add of the graph reads."""
    both = node.is_op("Add") and add.is_op("Add") and node.graph is add.graph
    return both and query.only_reader(node.output) is add
