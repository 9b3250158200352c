"""Where the output of a layer goes on its way into a Concat."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from ocompress.analysis.linear_layer import Refusal
from ocompress.ir import Node
from passes.merging.chains import between
from passes.merging.linear import Linear

_BENT = ("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Clip", "Gelu", "Mish")
_BOUNDED = ("Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Softsign", "Erf", "Sign")
_OTHERS = ("Softplus", "Abs", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Floor", "Ceil", "Round")
_FUNCTIONS = (*_BENT, *_BOUNDED, *_OTHERS)
"""Operators that look at every element alone."""


@dataclass(frozen=True)
class Tail:
    """A layer, elementwise functions behind it, and the Concat they end in.

    Attributes:
        layer: The layer.
        steps: The functions, in order.
        concat: The Concat.
        position: Which of its inputs.
    """

    layer: Linear
    steps: tuple[Node, ...]
    concat: Node
    position: int

    @property
    def kind(self) -> Hashable:
        """Equal for layers that walk in the same way."""
        if self.layer.is_conv:
            return self.layer.form.window
        layer = self.layer.layer
        return layer.data_channel, layer.out_channel, layer.data_rank

    @property
    def functions(self) -> Hashable:
        """Equal where the same functions follow."""
        return tuple(_signature(node) for node in self.steps)


def tail_of(layer: Linear) -> Tail | Refusal:
    """Follow the output of a layer to a Concat along its channels."""
    value = layer.output
    steps: list[Node] = []
    while True:
        refusal = between(value, layer.node.graph)
        if refusal is not None:
            return refusal
        node, position = value.users[0]
        if node.is_op("Concat"):
            axis = int(node.attr("axis", 1)) % layer.layer.out_rank
            if axis != layer.layer.out_channel:
                return Refusal("no-concat", "the Concat it ends in is not along its channels")
            return Tail(layer, tuple(steps), node, position)
        if not _is_function(node, position):
            why = "its outputs meet no Concat; a Split would spare no multiplication"
            return Refusal("no-concat", why)
        steps.append(node)
        value = node.output


def _is_function(node: Node, at: int) -> bool:
    if at != 0 or not node.is_op(*_FUNCTIONS):
        return False
    rest = [value for value in node.inputs[1:] if value is not None]
    return all(v.constant is not None and v.constant.size == 1 for v in rest)


def _signature(node: Node) -> Hashable:
    attributes = tuple(
        (name, proto.SerializeToString(deterministic=True))
        for name, proto in sorted(node.attributes.items())
    )
    constants = tuple(
        None if value is None or value.constant is None else value.constant.tobytes()
        for value in node.inputs[1:]
    )
    return node.op_type, attributes, constants
