"""Nodes: one operator call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import AttributeProto

from ocompress.ir.strings import decoded, encoded, write
from ocompress.ir.tensors import read_tensor, write_tensor
from ocompress.ir.value import Value

if TYPE_CHECKING:
    from ocompress.ir.graph import Graph

STANDARD_DOMAIN = ""
_DOMAIN_ALIASES = {"ai.onnx": STANDARD_DOMAIN}


class Node:
    """One operator call. Compared and hashed by identity.

    Inputs are changed with `set_input` and `set_inputs` only, so that every value knows its
    readers. Attributes are read with `attr` and written with `set_attr`; bodies of control flow
    are `Graph`s under `bodies`.

    Attributes:
        op_type: Operator name, `Conv`.
        domain: Operator-set domain, `""` for standard ONNX.
        overload: Overload of a model-local function.
        name: Name in the file; not necessarily unique.
        outputs: Values it makes; an omitted optional output is None.
        graph: The graph that holds it, None when it is in none.
    """

    __slots__ = (
        "_attributes",
        "_inputs",
        "bodies",
        "doc",
        "domain",
        "graph",
        "metadata",
        "name",
        "op_type",
        "outputs",
        "overload",
    )

    def __init__(
        self,
        op_type: str,
        inputs: Sequence[Value | None] = (),
        outputs: Sequence[Value | None] = (),
        *,
        domain: str = STANDARD_DOMAIN,
        name: str = "",
        attrs: dict[str, Any] | None = None,
    ) -> None:
        """Make a node; the outputs must not have a producer yet."""
        self.op_type = op_type
        self.domain = _DOMAIN_ALIASES.get(domain, domain)
        self.overload = ""
        self.name = name
        self.doc = ""
        self.metadata: dict[str, str] = {}
        self.graph: Graph | None = None
        self.bodies: dict[str, Graph | list[Graph]] = {}
        self._attributes: dict[str, AttributeProto] = {}
        self._inputs: list[Value | None] = []
        self.outputs: list[Value | None] = list(outputs)
        for value in self.outputs:
            if value is not None:
                value.producer = self
        self.set_inputs(inputs)
        for key, value in (attrs or {}).items():
            self.set_attr(key, value)

    # -- edges ------------------------------------------------------------------------------

    @property
    def inputs(self) -> tuple[Value | None, ...]:
        """Values it reads; an omitted optional input is None."""
        return tuple(self._inputs)

    def input(self, index: int) -> Value | None:
        """Return input `index`, None when omitted or past the end."""
        return self._inputs[index] if index < len(self._inputs) else None

    def set_input(self, index: int, value: Value | None) -> None:
        """Replace one input, extending the list with omitted ones where needed."""
        while len(self._inputs) <= index:
            self._inputs.append(None)
        old = self._inputs[index]
        if old is not None:
            old.detach(self, index)
        self._inputs[index] = value
        if value is not None:
            value.attach(self, index)

    def set_inputs(self, values: Sequence[Value | None]) -> None:
        """Replace all inputs."""
        for index, old in enumerate(self._inputs):
            if old is not None:
                old.detach(self, index)
        self._inputs = list(values)
        for index, value in enumerate(self._inputs):
            if value is not None:
                value.attach(self, index)

    @property
    def output(self) -> Value:
        """The first output.

        Raises:
            ValueError: If the node has none.
        """
        if not self.outputs or self.outputs[0] is None:
            msg = f"node {self.label} has no first output"
            raise ValueError(msg)
        return self.outputs[0]

    # -- attributes -------------------------------------------------------------------------

    @property
    def attributes(self) -> dict[str, AttributeProto]:
        """Attributes in ONNX's own form, bodies excepted; clones share them, so replace them."""
        return self._attributes

    def attr(self, name: str, default: Any = None) -> Any:
        """Return an attribute as a Python value (text decoded, tensors as arrays)."""
        proto = self._attributes.get(name)
        if proto is None or proto.ref_attr_name:
            return default
        value = onnx.helper.get_attribute_value(proto)
        if isinstance(value, bytes):
            return decoded(value)
        if isinstance(value, onnx.TensorProto):
            return read_tensor(value)
        if proto.type == AttributeProto.STRINGS:
            return [decoded(v) for v in value]
        return list(value) if proto.type in (AttributeProto.INTS, AttributeProto.FLOATS) else value

    def set_attr(self, name: str, value: Any) -> None:
        """Set an attribute from a Python value, array or `AttributeProto`; None removes it."""
        if value is None:
            self._attributes.pop(name, None)
        elif isinstance(value, AttributeProto):
            self._attributes[name] = value
        else:
            if isinstance(value, np.ndarray):
                value = write_tensor(value)
            elif isinstance(value, str):
                value = encoded(value)
            elif isinstance(value, list | tuple):
                value = [encoded(v) if isinstance(v, str) else v for v in value]
            empty = isinstance(value, list) and not value  # of what, cannot be seen
            kind = AttributeProto.INTS if empty else None
            attribute = onnx.helper.make_attribute("", value, attr_type=kind)
            write(attribute, "name", name)
            self._attributes[name] = attribute

    # -- bodies -----------------------------------------------------------------------------

    def subgraphs(self) -> Iterator[Graph]:
        """Iterate over the bodies of control flow, in order of attribute."""
        bodies = self.bodies.values()  # hardly any node has some, and every walk asks
        return iter([g for b in bodies for g in (b if isinstance(b, list) else (b,))])

    # -- identity ---------------------------------------------------------------------------

    @property
    def label(self) -> str:
        """What messages call it: its name, else its first output's."""
        if self.name:
            return self.name
        return next((v.name for v in self.outputs if v is not None), f"<{self.op_type}>")

    def is_op(self, *op_types: str) -> bool:
        """Whether it is one of these standard ONNX operators."""
        return self.domain == STANDARD_DOMAIN and self.op_type in op_types

    def __repr__(self) -> str:
        """Show operator and label."""
        return f"Node({self.op_type} {self.label})"
