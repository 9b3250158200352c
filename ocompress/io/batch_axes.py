"""Which axis of an input counts samples, as far as the graph tells.

As a rule it is the first. Recurrent layers are time-major unless their layout says otherwise: what
they read is `[steps, batch, features]`, and cut along its first axis a sequence would be divided
among samples. So the batch of each such layer is followed back to the inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ocompress.ir import Model, Node, Value
from ocompress.ir.onnx_api import infer_types

_LAYERS = {"RNN": (5,), "GRU": (5,), "LSTM": (5, 6)}
"""Recurrent operators and the positions of their states."""
_ALIKE = (
    "Cast", "Identity", "Dropout", "Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Tanh", "Sigmoid",
    "HardSigmoid", "HardSwish", "Gelu", "Clip", "Abs", "Neg", "Exp", "Log", "Sqrt", "Erf", "Not",
    "Add", "Sub", "Mul", "Div", "Pow", "Where", "Equal", "Greater", "Less", "Min", "Max", "And",
    "Softmax", "LogSoftmax", "LayerNormalization", "RMSNormalization", "Concat", "Slice", "Pad",
    "QuantizeLinear", "DequantizeLinear",
)  # fmt: skip
"""Operators whose axes are those of what they read."""

Axis = int | None
"""An axis that counts samples; None where nothing of an input does: all of it is one sample."""


def batch_axes(model: Model) -> dict[str, Axis]:
    """Return the axis that counts samples of the inputs of which recurrent layers tell.

    An input that a layer reads with an axis of extent one put in for the batch is one sample.
    Inputs of which different layers tell different axes are left out; other inputs that name an
    extent as the batch of a known one is named have their batch there.

    Args:
        model: Not changed.
    """
    if not any(node.is_op(*_LAYERS) for _, node in model.nodes()):
        return {}
    model = model.clone()
    infer_types(model)  # ranks tell where axes are
    found: dict[str, set[Axis]] = {}
    for _, node in model.nodes():
        if node.is_op(*_LAYERS):
            for value, axis in _batches(node):
                for name, there in _inputs_behind(value, axis):
                    found.setdefault(name, set()).add(there)
    known = {name: axes.pop() for name, axes in found.items() if len(axes) == 1}
    return known | _of_same_name(model, known)


def _batches(node: Node) -> Iterator[tuple[Value, int]]:
    """Yield what a recurrent layer reads, with the axis of its batch."""
    axis = 0 if node.attr("layout", 0) else 1
    places = {0: axis, 4: 0} | dict.fromkeys(_LAYERS[node.op_type], axis)
    for position, there in places.items():
        value = node.input(position)
        if value is not None:
            yield value, there


def _inputs_behind(value: Value, axis: Axis) -> Iterator[tuple[str, Axis]]:
    """Yield the inputs of the model that an axis of a value comes from, with their own."""
    left, seen = [(value, axis)], set()
    while left:
        value, axis = left.pop()
        if (id(value), axis) in seen or value.constant is not None:
            continue
        seen.add((id(value), axis))
        if value.producer is not None:
            left += _before(value.producer, value, axis)
        elif value.name and value.data is None:
            yield value.name, axis


def _before(node: Node, value: Value, axis: Axis) -> Iterator[tuple[Value, Axis]]:
    """Yield the inputs of a node on which an axis of its result lies, as far as that is known."""
    if node.is_op(*_ALIKE):
        yield from _alike(node, value, axis)
        return
    rule = _RULES.get(node.op_type) if node.is_op(node.op_type) else None
    first = node.input(0)
    if rule is None or first is None:
        return
    if axis is not None:
        yield from rule(node, first, value, axis)
    elif node.op_type != "Gather":
        yield first, None


def _alike(node: Node, value: Value, axis: Axis) -> Iterator[tuple[Value, Axis]]:
    """Yield the inputs that an operator aligns, by their last axes."""
    for read in node.inputs:
        if read is None or read.constant is not None:
            continue
        missing = 0
        if value.rank is not None and read.rank is not None:
            missing = value.rank - read.rank
        if axis is None or axis >= missing:
            yield read, None if axis is None else axis - missing


def _turned(node: Node, first: Value, value: Value, axis: int) -> Iterator[tuple[Value, Axis]]:
    rank = value.rank if value.rank is not None else first.rank
    order = node.attr("perm", list(range(rank or 0))[::-1])
    if axis < len(order):
        yield first, int(order[axis])


def _squeezed(node: Node, first: Value, _: Value, axis: int) -> Iterator[tuple[Value, Axis]]:
    axes = _axes_of(node, first.rank)
    if axes is not None:
        for gone in sorted(axes):
            axis += gone <= axis
        yield first, axis


def _unsqueezed(node: Node, first: Value, value: Value, axis: int) -> Iterator[tuple[Value, Axis]]:
    axes = _axes_of(node, value.rank)
    if axes is not None:
        yield first, None if axis in axes else axis - sum(a < axis for a in axes)


def _multiplied(_: Node, first: Value, value: Value, axis: int) -> Iterator[tuple[Value, Axis]]:
    if value.rank is not None and axis < value.rank - 1 and first.rank in (value.rank, None):
        yield first, axis


def _looked_up(node: Node, first: Value, _: Value, axis: int) -> Iterator[tuple[Value, Axis]]:
    ids = node.input(1)
    if first.constant is not None and ids is not None and not node.attr("axis", 0):
        yield ids, axis


_Rule = Callable[[Node, Value, Value, int], Iterator[tuple[Value, Axis]]]
_RULES: dict[str, _Rule] = {
    "Transpose": _turned,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "MatMul": _multiplied,
    "Gemm": _multiplied,
    "Gather": _looked_up,
}


def _axes_of(node: Node, rank: int | None) -> set[int] | None:
    """Return the axes that a node puts in or takes out, None where they are not known."""
    given = node.input(1)
    axes = node.attr("axes") if given is None else given.constant
    if axes is None or (rank is None and any(int(a) < 0 for a in axes)):
        return None
    return {int(a) % rank if rank else int(a) for a in axes}


def _of_same_name(model: Model, known: dict[str, Axis]) -> dict[str, Axis]:
    """Return the axes of other inputs that are named as the batch of one that is known."""
    shapes = {v.name: v.shape or () for v in model.graph.inputs}
    names = {
        shapes[name][axis]
        for name, axis in known.items()
        if axis is not None and axis < len(shapes.get(name, ()))
    }
    found: dict[str, Axis] = {}
    for name, shape in shapes.items():
        places = [
            a for a, extent in enumerate(shape) if isinstance(extent, str) and extent in names
        ]
        if name not in known and len(places) == 1:
            found[name] = places[0]
    return found
