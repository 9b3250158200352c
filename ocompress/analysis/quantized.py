"""Reading a quantized model: its grids, and which nodes compute in integers.

A model in QDQ form says `y = DQ(Q(op(DQ(Q(x)), DQ(W))))`. What stands for the float value `x`
is what comes out of its DequantizeLinear.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ocompress.ir import Graph, Model, Node, Shape, Value, query

Q, DQ = "QuantizeLinear", "DequantizeLinear"
_WITH_WEIGHT = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class TensorGrid:
    """One scale for a whole tensor: `real = scale * (code - zero_point)`.

    Attributes:
        scale: Step.
        zero_point: The code of 0.0.
        dtype: Integer type as numpy names it.
    """

    scale: float
    zero_point: int
    dtype: str

    @property
    def ends(self) -> tuple[int, int]:
        """Smallest and largest code."""
        info = np.iinfo(self.dtype)
        return int(info.min), int(info.max)

    @property
    def low(self) -> float:
        """Smallest number of the grid."""
        return self.scale * (self.ends[0] - self.zero_point)

    @property
    def high(self) -> float:
        """Largest number of the grid."""
        return self.scale * (self.ends[1] - self.zero_point)

    def codes(self, array: np.ndarray) -> np.ndarray:
        """Return the codes that numbers ask for, not clipped; float32 of the same shape."""
        found: np.ndarray = np.rint(array.astype(np.float32) / np.float32(self.scale))
        found += np.float32(self.zero_point)
        return found

    def rounded(self, array: np.ndarray) -> np.ndarray:
        """Return the numbers of the grid that an array is rounded to, float32 in its shape."""
        kept = self.codes(array).clip(*self.ends) - np.float32(self.zero_point)
        found: np.ndarray = kept * np.float32(self.scale)
        return found


@dataclass(frozen=True, eq=False)
class SeenValue:
    """A float value of the quantized model, or what its readers get of it.

    Attributes:
        name: Its name.
        aliases: Names it may have in the float model, the likeliest first.
        shown: Name of the value that readers get: the dequantized one where there is one.
        grid: The grid it is rounded to, None if it is not or by channel.
        inside: Whether only bodies of control flow restore it; `shown` is not rounded then.
        shape: Its shape, None when unknown.
    """

    name: str
    aliases: tuple[str, ...]
    shown: str
    grid: TensorGrid | None
    inside: bool
    shape: Shape | None = None

    def may_be(self, other: Value) -> bool:
        """Whether nothing in their shapes says that a value is another one."""
        if self.shape is None or other.shape is None:
            return True
        if len(self.shape) != len(other.shape):
            return False
        pairs = zip(self.shape, other.shape, strict=True)
        return all(a == b for a, b in pairs if isinstance(a, int) and isinstance(b, int))


@dataclass(frozen=True, eq=False)
class QuantizedLayer:
    """A node of the quantized model and the Relu or Clip whose output it is rounded after.

    Attributes:
        node: The node.
        tail: The Relu or Clip that belongs to it.
        data: Input position and value name of the activations it reads.
        constants: What restores constants from integers, by input position: a DequantizeLinear,
            or the Mul after a Cast.
        outputs: Names of the float values that it makes, those after the tail.
        quantized: Whether it computes on integers, or with a weight that was rounded.
    """

    node: Node
    tail: Node | None
    data: tuple[tuple[int, str], ...]
    constants: Mapping[int, Node]
    outputs: tuple[str, ...]
    quantized: bool


@dataclass(frozen=True, eq=False)
class Quantization:
    """What is quantized in a model.

    Attributes:
        values: Float values by name, inputs first.
        layers: Nodes in graph order, QuantizeLinear and DequantizeLinear left out.
    """

    values: Mapping[str, SeenValue]
    layers: tuple[QuantizedLayer, ...]


def read(model: Model) -> Quantization:
    """Find grids and layers of a model in QDQ form; types should be inferred.

    Args:
        model: Not changed.
    """
    found = [_layer(node) for _, node in model.nodes() if not is_plumbing(node)]
    tails = {id(f.tail) for f in found if f.tail is not None}
    layers = tuple(f for f in found if id(f.node) not in tails and f.outputs)
    values = {v.name: _seen(v, home) for home, v in _values(model.graph)}
    return Quantization(values, layers)


def is_plumbing(node: Node) -> bool:
    """Whether a node only carries a value from floats to integers or back, or does nothing."""
    return node.is_op(Q, DQ) or _is_guard(node)


def quantizers(value: Value) -> list[Node]:
    """Return the QuantizeLinear nodes that read a value, directly or behind a guard."""
    found = []
    for node, index in value.users:
        if node.is_op(Q) and index == 0:
            found.append(node)
        elif _is_guard(node):
            found += quantizers(node.output)
    return found


def grid_of(node: Node) -> TensorGrid | None:
    """Return the grid of a QuantizeLinear, None if it is computed or by channel."""
    scale, zero = query.constant(node, 1), query.constant(node, 2)
    if scale is None or scale.size != 1 or not float(scale.reshape(-1)[0]) > 0:
        return None
    if zero is None:
        return (
            None
            if node.input(2) is not None
            else TensorGrid(float(scale.reshape(-1)[0]), 0, "uint8")
        )
    if zero.size != 1 or zero.dtype.kind not in "iu" or zero.dtype.name not in np.sctypeDict:
        return None  # types narrower than a byte are left to later
    return TensorGrid(float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0]), zero.dtype.name)


def _values(graph: Graph) -> Iterator[tuple[Graph, Value]]:
    for inner in graph.graphs():
        yield from ((inner, v) for v in inner.inputs if v.data is None and _is_float(v))
        for node in inner.nodes:
            if not is_plumbing(node):
                yield from ((inner, v) for v in node.outputs if v is not None and _is_float(v))


def _seen(value: Value, home: Graph) -> SeenValue:
    readers = quantizers(value)
    grid = grid_of(readers[0]) if len({_parameters(r) for r in readers}) == 1 else None
    restorers = [n for r in readers for n, _ in r.output.users if n.is_op(DQ)]
    here = [n.output for n in restorers if n.graph is home]
    names = [value.name, *(v.name for v in here if v.is_output)]
    rounded = here[0].name if here and grid is not None else value.name
    inside = bool(restorers) and not here and grid is not None
    return SeenValue(value.name, tuple(names), rounded, grid, inside, value.shape)


def _parameters(node: Node) -> tuple[object, ...]:
    return tuple(None if v is None else v.name for v in node.inputs[1:])


def _layer(node: Node) -> QuantizedLayer:
    data: list[tuple[int, str]] = []
    constants: dict[int, Node] = {}
    rounded = True
    for index, value in enumerate(node.inputs):
        if value is None or value.constant is not None or not _is_float(value):
            continue
        stored = _stored(value)
        if stored is not None:
            constants[index] = stored
            continue
        restore = query.made_by(value, DQ)
        source = restore.input(0) if restore is not None else None
        if restore is not None and source is not None and source.constant is not None:
            constants[index] = restore
            continue
        quantize = query.made_by(source, Q)
        rounded &= restore is not None
        data.append((index, _bare(quantize.input(0) if quantize is not None else value)))
    tail = _tail(node)
    ends = node.outputs if tail is None else tail.outputs
    floats = [v for v in ends if v is not None and _is_float(v)]
    weighted = node.is_op(*_WITH_WEIGHT) and (1 in constants or 0 in constants)
    moved = bool(data) and rounded and any(quantizers(v) for v in floats)
    quantized = weighted or (moved and not _has_float_weight(node))
    return QuantizedLayer(
        node, tail, tuple(data), constants, tuple(v.name for v in floats), quantized
    )


def _stored(value: Value) -> Node | None:
    """Return the Mul that makes a float weight of integers in the file, None if there is none."""
    made = query.made_by(value, "Mul")
    cast = query.made_by(made.input(0), "Cast") if made is not None else None
    if made is None or cast is None or query.constant(made, 1) is None:
        return None
    codes = query.constant(cast, 0)
    return made if codes is not None and codes.dtype.kind in "iu" else None


def _has_float_weight(node: Node) -> bool:
    return node.is_op(*_WITH_WEIGHT) and query.constant(node, 1) is not None


def _tail(node: Node) -> Node | None:
    if len(node.outputs) != 1 or node.outputs[0] is None or quantizers(node.output):
        return None
    reader = query.only_reader(node.output)
    if reader is None or reader.graph is not node.graph:
        return None
    follows = reader.is_op("Relu", "Clip", "LeakyRelu") and bool(quantizers(reader.output))
    return reader if follows else None


def _is_guard(node: Node) -> bool:
    return node.is_op("LeakyRelu") and node.attr("alpha", 0.01) == 1.0


def _bare(value: Value | None) -> str:
    assert value is not None
    maker = value.producer
    if maker is not None and _is_guard(maker):
        return _bare(maker.input(0))
    return value.name


def _is_float(value: Value) -> bool:
    return value.dtype is None or value.dtype.is_float
