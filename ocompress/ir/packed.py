"""Constants that a file holds as something smaller and the nodes that make them of it.

A weight stored as float16 behind a Cast, a mask behind an Expand: to every pass such a value is a
constant like any other, with its whole array. The smaller form is kept beside the array and is
written to files for as long as nobody replaces the array.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto

from ocompress.ir.dtypes import DType
from ocompress.ir.graph import Graph
from ocompress.ir.importer import from_proto
from ocompress.ir.model import Model
from ocompress.ir.node import Node
from ocompress.ir.strings import decoded, extend
from ocompress.ir.stubs import by_reference
from ocompress.ir.value import Value


@dataclass(frozen=True, eq=False)
class Packed:
    """How a file holds a constant.

    Attributes:
        leaves: Constants that are in no graph; clones share them.
        nodes: What makes the constant of them, in order; its first output comes from the last.
        is_code: Whether the leaves are another way to write the elements of the constant, which
            then count, rather than less that is repeated or looked up.
        again: Returns how files hold another array, of the same shape, in the same form; None where
            it does not have that form. Without it new arrays are held as they are.
        is_final: Whether numbers that are trained could not have that form, so that these stay.
    """

    leaves: tuple[Value, ...]
    nodes: tuple[NodeProto, ...]
    is_code: bool = False
    again: Callable[[np.ndarray], Packed | None] | None = None
    is_final: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        arrays = {id(v.data): v.data for v in self.leaves if v.data is not None}
        held = sum(-(-a.size * DType.of(a).bits // 8) for a in arrays.values())
        return int(held + sum(node.ByteSize() for node in self.nodes))

    @property
    def largest(self) -> Value:
        """The leaf that takes most bytes.

        Raises:
            ValueError: If there is none.
        """
        return max(self.leaves, key=lambda v: 0 if v.data is None else v.data.nbytes)


class Recipe:
    """Leaves and nodes that make one constant, written down one after the other.

    Names are short, because a file has many of them; the exporter makes them unique. Leaves that
    are the same array are stored once in every graph.
    """

    def __init__(self, *, nibbles: bool = False) -> None:
        """Begin with nothing.

        Args:
            nibbles: Whether the runtimes that read it know integers of 4 bits, and the model's
                operator set does.
        """
        self.nibbles = nibbles
        self._leaves: list[Value] = []
        self._nodes: list[NodeProto] = []
        self._known: dict[int, tuple[np.ndarray, str]] = {}  # arrays are kept, so ids stay theirs

    def leaf(self, array: np.ndarray) -> str:
        """Take in a constant of any shape that the file holds as it is; return its name.

        Read-only arrays are shared with other constants that are made of the same ones.
        """
        if id(array) not in self._known:
            name = f"c{len(self._leaves)}"
            self._leaves.append(Value(name, data=array))
            self._known[id(array)] = array, name
        return self._known[id(array)][1]

    def op(self, op_type: str, *inputs: str, **attrs: Any) -> str:
        """Take in an operator of the standard domain; return the name of its one output."""
        node = NodeProto(op_type=op_type)
        name = f"v{len(self._nodes)}"
        extend(node, "input", inputs)
        extend(node, "output", [name])
        for key, content in attrs.items():
            node.attribute.append(onnx.helper.make_attribute(key, content))
        self._nodes.append(node)
        return name

    def packed(self) -> Packed:
        """Return the form of a constant that the last operator makes."""
        return Packed(tuple(self._leaves), tuple(self._nodes), is_code=True)


def recipe(value: Value) -> list[Node] | None:
    """Return the nodes that make a value of constants only, in order.

    Returns:
        None if one of them reads anything else, has a body, or makes several values.
    """
    found: dict[int, Node] = {}
    pending: list[tuple[Value, bool]] = [(value, False)]
    while pending:
        current, seen = pending.pop()
        node = current.producer
        if current.constant is not None or (node is not None and id(node) in found):
            continue
        if node is None or node.bodies or len(node.outputs) != 1:
            return None
        if seen:
            found[id(node)] = node
        else:
            pending.append((current, True))
            pending += [(v, False) for v in node.inputs if v is not None]
    return list(found.values())


def pack(value: Value, array: np.ndarray, nodes: list[Node], home: Graph) -> None:
    """Make a constant of a computed value that a file goes on computing.

    Args:
        value: No formal output; its readers, all of them at or inside `home`, go on reading it.
        array: What it is, any shape.
        nodes: Its `recipe`; those that nobody else reads are removed.
        home: The graph that gets the constant.
    """
    maker = value.producer
    assert maker is not None, value.name
    assert maker.graph is not None, value.name
    names, packed = maker.graph.names, _packed(nodes)
    same_home = maker.graph is home
    for node in reversed(nodes):
        if node is maker or all(v is None or v.use_count == 0 for v in node.outputs):
            assert node.graph is not None, node.label
            node.graph.remove(node)
    if same_home:
        names.claim(value.name)
    else:
        value.name = names.fresh(value.name)
    for name in _own_names(packed):
        names.claim(name)
    value.producer, value.data = None, array
    value.set_packed(packed)
    home.initializers[value.name] = value


def unpacked(model: Model) -> Model:
    """Return a model that has the nodes which files of this one have; arrays are shared."""
    from ocompress.ir.exporter import to_proto  # cycle: the exporter writes packed constants

    store, read = by_reference()
    return from_proto(to_proto(model, store), read)


def is_exact(array: np.ndarray, dtype: DType) -> bool:
    """Whether all elements of a float array, any shape, are some of a narrower type as well."""
    with np.errstate(all="ignore"):
        return bool(np.array_equal(array.astype(dtype.numpy).astype(array.dtype), array))


def cast(value: Value, dtype: DType, graph: Graph) -> bool:
    """Have files hold a float constant in a narrower type, behind a Cast.

    Args:
        value: A constant of `graph`.
        dtype: The narrower type.
        graph: Its graph.

    Returns:
        False, with nothing changed, if an element is not exactly representable.
    """
    array = value.constant
    assert array is not None, value.name
    if not is_exact(array, dtype):
        return False
    narrow = array.astype(dtype.numpy)
    leaf = Value(graph.names.fresh(f"{value.name}_{dtype.name.lower()}"), data=narrow)
    node = NodeProto(op_type="Cast")
    node.attribute.append(onnx.helper.make_attribute("to", int(DType.of(array))))
    extend(node, "input", [leaf.name])
    extend(node, "output", [value.name])
    value.set_packed(Packed((leaf,), (node,)))
    return True


def _packed(nodes: list[Node]) -> Packed:
    from ocompress.ir.exporter import node_proto  # cycle: the exporter writes packed constants

    leaves: list[Value] = []
    made: list[NodeProto] = []
    seen: set[int] = set()
    for value in (v for node in nodes for v in node.inputs if v is not None):
        if value.constant is None or id(value) in seen:
            continue
        seen.add(id(value))
        if value.packed is None:
            leaves.append(Value(value.name, data=value.constant))
            leaves[-1].doc = value.doc
            continue
        below = _told_apart(value.packed, value.name)
        leaves += below.leaves
        made += below.nodes
    return Packed(tuple(leaves), (*made, *(node_proto(node) for node in nodes)))


def renamed(packed: Packed, names: Mapping[str, str]) -> Packed:
    """Return a form with other names, by their old ones, of leaves and of what nodes make."""
    leaves, nodes = [], []
    for leaf in packed.leaves:
        leaves.append(Value(names.get(leaf.name, leaf.name), data=leaf.data))
        leaves[-1].doc = leaf.doc
    for node in packed.nodes:
        nodes.append(NodeProto())
        nodes[-1].CopyFrom(node)
        for field, old in (("input", node.input), ("output", node.output)):
            nodes[-1].ClearField(field)
            extend(nodes[-1], field, (names.get(n, n) for n in map(decoded, old)))
    return replace(packed, leaves=tuple(leaves), nodes=tuple(nodes))


def _told_apart(packed: Packed, name: str) -> Packed:
    """Return the form of a constant of that name, with names that no other constant's form has.

    Names of recipes are numbers, which the forms of several constants have in common.
    """
    names: dict[str, str] = {}
    if packed.is_code:
        inner = [leaf.name for leaf in packed.leaves]
        inner += [decoded(made) for node in packed.nodes[:-1] for made in node.output]
        names = {n: n if n.startswith(name) else f"{name}_{n}" for n in inner}
    return renamed(packed, names | {decoded(packed.nodes[-1].output[0]): name})


def _own_names(packed: Packed) -> list[str]:
    inner = [name for node in packed.nodes[:-1] for name in node.output]
    names = [*inner, *(node.name for node in packed.nodes if node.name)]
    return [*(leaf.name for leaf in packed.leaves), *map(decoded, names)]
