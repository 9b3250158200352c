"""From an operator that makes channels to the operators that weigh them, through what keeps them.

Between the two, a channel may be scaled at will: what one end is divided by, the other multiplies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.ir import Node, Value

HOMOGENEOUS = ("Relu", "LeakyRelu", "PRelu", "Identity", "Dropout")
POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
SOURCES = ("Conv", "Gemm", "MatMul", "LayerNormalization")


@dataclass(frozen=True)
class ChainPart:
    """A constant with an axis of the channels.

    Attributes:
        node: The operator that reads it.
        index: Where.
        axis: Axis of the channels.
    """

    node: Node
    index: int
    axis: int

    @property
    def array(self) -> np.ndarray:
        """The constant."""
        value = self.node.input(self.index)
        assert value is not None
        assert value.constant is not None
        return value.constant

    def peaks(self) -> np.ndarray:
        """Return the largest magnitude of each channel, float64 of shape (channels,)."""
        others = tuple(a for a in range(self.array.ndim) if a != self.axis % self.array.ndim)
        found: np.ndarray = np.abs(self.array).max(axis=others, initial=0.0).astype(np.float64)
        return found


@dataclass
class ChannelChain:
    """Channels that can be scaled.

    Attributes:
        source: The operator that makes them.
        channels: How many.
        axis: Their axis in what the source makes.
        makers: What is divided: weight and bias of the source, biases and the like on the way.
        weighers: What is multiplied: weights of the operators at the end.
        seen: Names of the values at the end, with the axis of the channels.
        through: Operators on the way.
    """

    source: Node
    channels: int
    axis: int
    makers: list[ChainPart] = field(default_factory=list)
    weighers: list[ChainPart] = field(default_factory=list)
    seen: list[tuple[str, int]] = field(default_factory=list)
    through: list[Node] = field(default_factory=list)


def find_chain(node: Node) -> ChannelChain | Refusal | None:
    """Return the chain that starts at an operator, why there is none, or None for other operators.

    Args:
        node: Any operator.
    """
    if not node.is_op(*SOURCES) or not node.outputs or node.outputs[0] is None:
        return None
    made = _source(node)
    if made is None:
        return None
    refusal = _follow(made, node.outputs[0], made.axis)
    if refusal is not None:
        return refusal
    shared = next((p for p in (*made.makers, *made.weighers) if _is_shared(p)), None)
    if shared is not None:
        name = shared.node.inputs[shared.index]
        return Refusal("shared-weight", f"something else reads {name.name if name else ''!r}, too")
    if not made.weighers:
        return Refusal("no-weigher", "nothing with a constant weight reads its channels")
    return made


def _source(node: Node) -> ChannelChain | None:
    at = 1
    weight = node.input(at)
    if weight is None or weight.constant is None or weight.constant.dtype != np.float32:
        return None
    rank = weight.constant.ndim
    bias_at: int | None = 2
    if node.is_op("LayerNormalization"):
        if rank != 1 or node.attr("axis", -1) not in (-1, (node.output.rank or 0) - 1):
            return None
        axis, own = -1, 0
    elif node.is_op("Conv"):
        axis, own = 1, 0
    elif rank != 2:
        return None
    else:
        own = 0 if node.is_op("Gemm") and node.attr("transB", 0) else 1
        axis, bias_at = -1, 2 if node.is_op("Gemm") else None
    chain = ChannelChain(node, int(weight.constant.shape[own]), axis, [ChainPart(node, at, own)])
    bias = None if bias_at is None else node.input(bias_at)
    if bias is not None and bias_at is not None:
        if bias.constant is None or bias.constant.shape != (chain.channels,):
            return None
        chain.makers.append(ChainPart(node, bias_at, 0))
    return chain


def _follow(chain: ChannelChain, value: Value, axis: int) -> Refusal | None:
    if value.is_output:
        return Refusal("is-output", "its channels are an output of the model")
    if not value.users:
        return Refusal("no-weigher", "nothing reads its channels")
    for node, index in value.users:
        refusal = _through(chain, node, index, axis)
        if refusal is not None:
            return refusal
    return None


def _through(chain: ChannelChain, node: Node, index: int, axis: int) -> Refusal | None:
    if node.graph is not chain.source.graph:
        return Refusal("other-graph", f"{node.label!r} reads its channels in another graph")
    weigher = _weigher(node, index, axis, chain.channels)
    if weigher is not None:
        chain.weighers.append(weigher)
        value = node.input(index)
        assert value is not None
        chain.seen.append((value.name, axis))
        return None
    if len(node.outputs) != 1 or not node.outputs[0]:
        return Refusal("odd-outputs", f"{node.label!r} makes more than one value of its channels")
    keeps = index == 0 and (node.is_op(*HOMOGENEOUS) or (axis == 1 and node.is_op(*POOLS)))
    if not keeps:
        bias = _bias(node, index, axis, chain.channels)
        if bias is None:
            why = f"{node.op_type} {node.label!r} does not keep scaled channels apart"
            return Refusal("not-homogeneous", why)
        chain.makers.append(bias)
    chain.through.append(node)
    return _follow(chain, node.output, axis)


def _weigher(node: Node, index: int, axis: int, channels: int) -> ChainPart | None:
    weight = node.input(1)
    if index != 0 or weight is None or weight.constant is None:
        return None
    array = weight.constant
    if array.dtype != np.float32:
        return None
    if node.is_op("Conv") and axis == 1:
        if node.attr("group", 1) == 1:
            return ChainPart(node, 1, 1) if array.shape[1] == channels else None
        each = array.shape[1] == 1 and array.shape[0] == channels
        return ChainPart(node, 1, 0) if each else None
    last = axis == -1 or (axis == 1 and node.input(0) is not None and node.input(0).rank == 2)  # type: ignore[union-attr]
    if not last or array.ndim != 2 or node.attr("transA", 0) or not node.is_op("Gemm", "MatMul"):
        return None
    own = 1 if node.is_op("Gemm") and node.attr("transB", 0) else 0
    return ChainPart(node, 1, own) if array.shape[own] == channels else None


def _bias(node: Node, index: int, axis: int, channels: int) -> ChainPart | None:
    """Return the constant that an Add has beside the channels, if it lies along them."""
    if not node.is_op("Add"):
        return None
    other = node.input(1 - index)
    if other is None or other.constant is None or other.constant.size != channels:
        return None
    array, rank = other.constant, node.output.rank
    value = node.input(index)
    if axis != -1 and (value is None or value.rank != rank):
        return None  # the sum has more axes, and the channels are elsewhere in it
    place = array.ndim - 1 if axis == -1 else array.ndim - ((rank or 0) - axis)
    if rank is None or not 0 <= place < array.ndim or array.shape[place] != channels:
        return None
    return ChainPart(node, 1 - index, place)


def _is_shared(part: ChainPart) -> bool:
    value = part.node.input(part.index)
    return value is None or value.use_count > 1 or value.is_output


def pads(parts: Sequence[ChainPart]) -> bool:
    """Whether an operator fills in zeros around its input."""
    plain = ("NOTSET", "VALID")
    nodes = [p.node for p in parts]
    return any(
        any(n.attr("pads") or []) or n.attr("auto_pad", "NOTSET") not in plain for n in nodes
    )
