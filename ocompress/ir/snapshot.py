"""Models as plain data: to be pickled, and restored elsewhere or later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto

from ocompress.ir.exporter import to_proto
from ocompress.ir.importer import from_proto
from ocompress.ir.model import Model
from ocompress.ir.names import Names
from ocompress.ir.packed import Packed
from ocompress.ir.value import Value

_MOST = (1 << 31) - 1
_Place = tuple[int, str]
"""Number of the graph that holds a constant, and its name."""


@dataclass(frozen=True)
class _Leaf:
    """A leaf of a packed constant.

    Attributes:
        name: Its name.
        doc: Its documentation string.
        data: Its array, any shape; or the place of a constant that has it, too.
    """

    name: str
    doc: str
    data: np.ndarray | _Place


@dataclass(frozen=True)
class _Form:
    """How a file holds a constant.

    Attributes:
        place: Of the constant.
        leaves: What it is made of.
        nodes: What makes it, serialized.
        is_code: See `Packed`.
        again: See `Packed`.
    """

    place: _Place
    leaves: tuple[_Leaf, ...]
    nodes: tuple[bytes, ...]
    is_code: bool
    again: Callable[[np.ndarray], Packed | None] | None


@dataclass(frozen=True)
class Snapshot:
    """A model with all that files of it do not hold: whoever restores it goes on as with itself.

    Attributes:
        content: The model as a file holds it whose constants are all plain.
        names: Names that are taken, and numbers of the next ones.
        forms: Constants that files hold as something smaller.
    """

    content: bytes
    names: Names
    forms: tuple[_Form, ...]

    @staticmethod
    def of(model: Model) -> Snapshot:
        """Return the snapshot of a model.

        Raises:
            ValueError: If it is larger than protobuf allows (2 GiB); hand over a file then.
        """
        proto = to_proto(model, packed=False)
        if proto.ByteSize() >= _MOST:
            msg = "a model of more than 2 GiB cannot be pickled; save it and hand over the path"
            raise ValueError(msg)
        constants = _constants(model)
        places: dict[int, _Place] = {}
        for place, value in constants.items():
            if value.packed is None:
                places.setdefault(id(value.data), place)
        forms = (
            _form(place, value.packed, places)
            for place, value in constants.items()
            if value.packed is not None
        )
        return Snapshot(proto.SerializeToString(), model.graph.names.copy(), tuple(forms))

    def restored(self) -> Model:
        """Return the model."""
        model = from_proto(ModelProto.FromString(self.content))
        constants = _constants(model)
        for form in self.forms:
            leaves = []
            for leaf in form.leaves:
                known = constants[leaf.data].data if isinstance(leaf.data, tuple) else leaf.data
                leaves.append(Value(leaf.name, data=known))
                leaves[-1].doc = leaf.doc
            nodes = tuple(map(NodeProto.FromString, form.nodes))
            constants[form.place].set_packed(Packed(tuple(leaves), nodes, form.is_code, form.again))
        model.graph.names.take(self.names)
        return model


def _form(place: _Place, made: Packed, places: dict[int, _Place]) -> _Form:
    leaves = (_Leaf(v.name, v.doc, _data(v, places)) for v in made.leaves)
    nodes = (node.SerializeToString() for node in made.nodes)
    return _Form(place, tuple(leaves), tuple(nodes), made.is_code, made.again)


def _data(leaf: Value, places: dict[int, _Place]) -> Any:
    return places.get(id(leaf.data), leaf.data)


def _constants(model: Model) -> dict[_Place, Value]:
    """Return the constants of all graphs."""
    graphs = enumerate(model.graph.graphs())
    return {(at, v.name): v for at, graph in graphs for v in graph.initializers.values()}
