"""The parts adapters are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ocompress.ir import DType, Graph, Node, Value

Step = Callable[[], None]
"""Rewrites the node that was looked at."""
Adapter = Callable[[Node], Step]


class CannotAdapt(Exception):  # noqa: N818  (an answer, not an error)
    """The node cannot be brought over the change; the text is a clause that says why."""


def nothing() -> None:
    """Leave the node as it is."""


def graph_of(node: Node) -> Graph:
    """Return the graph that holds the node."""
    assert node.graph is not None, node.label
    return node.graph


def dtype_of(node: Node) -> DType:
    """Return the element type of the node's first input.

    Raises:
        CannotAdapt: If it is not known.
    """
    candidates = (node.input(0), node.output)
    found = next((v.dtype for v in candidates if v is not None and v.dtype is not None), None)
    if found is None:
        why = "the element type of its input is not known"
        raise CannotAdapt(why)
    return found


def integers(node: Node, name: str, values: Sequence[int]) -> Value:
    """Add a vector of integers beside the node."""
    return graph_of(node).constant(f"{node.label}_{name}", np.asarray(values, np.int64))


def attribute_to_input(attribute: str, index: int) -> Adapter:
    """Make an adapter for a list of integers that moved from an attribute to an input."""

    def adapt(node: Node) -> Step:
        values = node.attr(attribute)

        def step() -> None:
            node.set_attr(attribute, None)
            if values:
                node.set_input(index, integers(node, attribute, values))

        return step if attribute in node.attributes else nothing

    return adapt


def drop(*attributes: str) -> Adapter:
    """Make an adapter that forgets attributes without a meaning at inference."""

    def adapt(node: Node) -> Step:
        def step() -> None:
            for name in attributes:
                node.set_attr(name, None)

        return step

    return adapt


def fill(attribute: str, value: object) -> Adapter:
    """Make an adapter that writes down a default that changed."""

    def adapt(node: Node) -> Step:
        if attribute in node.attributes:
            return nothing
        return lambda: node.set_attr(attribute, value)

    return adapt


def rename(op_type: str) -> Adapter:
    """Make an adapter for an operator that only got another name."""

    def adapt(node: Node) -> Step:
        def step() -> None:
            node.op_type = op_type

        return step

    return adapt


def refuse(why: str) -> Adapter:
    """Make an adapter for a change that cannot be bridged."""

    def adapt(_: Node) -> Step:
        raise CannotAdapt(why)

    return adapt
