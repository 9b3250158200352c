"""The standard Attention in products and a Softmax, as ONNX Runtime itself computes it."""

from __future__ import annotations

import math

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.ir import DType, Graph, Node, Shape, Value

_FLOATS = (DType.FLOAT, DType.DOUBLE, DType.FLOAT16)
_PAST, _LENGTHS = slice(4, 6), 6
_MASK = 3


def split_attention(graph: Graph, node: Node, _: int) -> Refusal | None:
    """Spell y = Softmax(q k' scale + mask) v; q, k, v are [n, heads, places, channels].

    Operands of rank 3, [n, places, heads * channels], are taken apart and put together around it.

    Args:
        graph: Where the node lies.
        node: An Attention; the last of the new operators has its result.

    Returns:
        Why it stays, None if it does not.
    """
    heads = _heads(node)
    refusal = _beyond(node) or (heads if isinstance(heads, Refusal) else None)
    if refusal is not None or isinstance(heads, Refusal):
        return refusal
    parts = _Parts(graph, node)
    q, k, v = (parts.apart(value, heads) for value in node.inputs[:3])
    scale = node.attr("scale") or 1 / math.sqrt(_channels(q))
    turned = parts.op("Transpose", [k], _turned(k.shape), perm=[0, 1, 3, 2])
    scaled = parts.op("Mul", [q, parts.number(scale)], q.shape)
    scores = (*(q.shape or ())[:3], (k.shape or ())[2])
    made = parts.op("MatMul", [scaled, turned], scores)
    mask, causal = node.input(_MASK), bool(node.attr("is_causal", 0))
    if mask is not None and mask.dtype == DType.BOOL:
        shares = parts.seen(made, mask, scores, causal=causal)
    else:
        for added in (mask, parts.causal(scores) if causal else None):
            made = made if added is None else parts.op("Add", [made, added], scores)
        shares = parts.op("Softmax", [made], scores, axis=-1)
    parts.close(shares, v, together=node.inputs[0] is not None and node.inputs[0].rank == 3)
    return None


def _beyond(node: Node) -> Refusal | None:
    """Return what an Attention does besides that has no short spelling."""
    if node.attr("softcap", 0) or node.attr("softmax_precision", 0):
        return Refusal("attention-form", "its scores are capped, or kept in another type")
    later = node.inputs[_PAST] + node.inputs[_LENGTHS:]
    if any(later) or any(v is not None and v.use_count for v in node.outputs[1:]):
        return Refusal("attention-cache", "it takes or gives keys and values from before")
    if any(v is None or v.dtype not in _FLOATS for v in node.inputs[:3]):
        return Refusal("unknown-type", "the element type of its operands is not known")
    return None


def _heads(node: Node) -> int | Refusal:
    """Return how many heads there are, as many of queries as of keys."""
    shapes = [None if v is None else v.shape for v in node.inputs[:3]]
    ranks = {None if s is None else len(s) for s in shapes}
    if ranks == {4}:
        counts = {s[1] for s in shapes if s is not None}
    elif ranks == {3}:
        counts = {node.attr("q_num_heads"), node.attr("kv_num_heads")}
    else:
        return Refusal("unknown-rank", "the ranks of its operands are not known")
    known = all(s is not None and isinstance(s[-1], int) for s in shapes)
    heads = next(iter(counts))
    if not known or not all(isinstance(c, int) for c in counts):
        return Refusal("unknown-extent", "its heads or channels are not known")
    if len(counts) > 1 or not heads:
        return Refusal("grouped-heads", "several heads of queries share one of keys")
    places = [s[-2] for s in shapes[:2] if s is not None]
    if node.attr("is_causal", 0) and not all(isinstance(p, int) for p in places):
        return Refusal("unknown-extent", "its mask depends on extents that are not known")
    return int(heads)


def _channels(value: Value) -> int:
    extent = (value.shape or (1,))[-1]
    assert isinstance(extent, int)
    return extent


def _turned(shape: Shape | None) -> Shape:
    n, heads, places, channels = shape or ()
    return n, heads, channels, places


def _earlier(shape: Shape) -> np.ndarray:
    rows, columns = (int(extent) for extent in shape[2:] if isinstance(extent, int))
    return np.tril(np.ones((rows, columns), bool))


class _Parts:
    """Makes the operators of one Attention."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self._graph, self._node = graph, node
        first = node.inputs[0]
        assert first is not None
        assert first.dtype is not None
        self._dtype = first.dtype
        self._least = float(np.finfo(np.dtype(f"f{np.dtype(first.dtype.numpy).itemsize}")).min)

    def op(self, op_type: str, inputs: list[Value], shape: Shape | None, **attrs: object) -> Value:
        name = f"{self._node.label}_{op_type.lower()}"
        made = self._graph.add_op(op_type, inputs, name=name, attrs=attrs).output
        made.set_type(self._dtype, shape)
        return made

    def number(self, number: float | np.ndarray) -> Value:
        array = np.asarray(number).astype(self._dtype.numpy)
        return self._graph.constant(f"{self._node.label}_number", array)

    def integers(self, *numbers: int) -> Value:
        return self._graph.constant(f"{self._node.label}_shape", np.array(numbers, np.int64))

    def apart(self, value: Value | None, heads: int) -> Value:
        """Return an operand with an axis of heads, [n, heads, places, channels]."""
        assert value is not None
        if value.rank == 4:
            return value
        n, places, _ = value.shape or ()
        channels = _channels(value) // heads
        shape = self.integers(0, 0, heads, channels)
        split = self.op("Reshape", [value, shape], (n, places, heads, channels))
        return self.op("Transpose", [split], (n, heads, places, channels), perm=[0, 2, 1, 3])

    def causal(self, shape: Shape) -> Value:
        """Return what is added so that no place sees later ones, [places, places]."""
        return self.number(np.where(_earlier(shape), 0.0, self._least))

    def seen(self, scores: Value, mask: Value, shape: Shape, *, causal: bool) -> Value:
        """Return the shares of a mask of truths; places that see nothing give 0, not NaN."""
        if causal:
            kept = self._graph.constant(f"{self._node.label}_earlier", _earlier(shape))
            mask = self.op("And", [mask, kept], None)
            mask.set_type(DType.BOOL, None)
        made = self.op("Where", [mask, scores, self.number(self._least)], shape)
        shares = self.op("Softmax", [made], shape, axis=-1)
        if not causal and mask.constant is not None and mask.constant.any(axis=-1).all():
            return shares
        return self.op("Where", [mask, shares, self.number(0.0)], shape)

    def close(self, shares: Value, v: Value, *, together: bool) -> None:
        """Let the node be the last operator, whose result keeps its name."""
        node, shape = self._node, (*(shares.shape or ())[:3], (v.shape or ())[3])
        for key in list(node.attributes):
            node.set_attr(key, None)
        node.outputs = node.outputs[:1]
        if not together:
            node.op_type = "MatMul"
            node.set_inputs([shares, v])
            return
        made = self.op("MatMul", [shares, v], shape)
        n, heads, places, channels = shape
        made = self.op("Transpose", [made], (n, places, heads, channels), perm=[0, 2, 1, 3])
        node.op_type = "Reshape"
        node.set_inputs([made, self.integers(0, 0, -1)])
