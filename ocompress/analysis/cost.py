"""What a model holds and computes: parameters, bytes, multiply-accumulates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ocompress.analysis.macs import Shapes, macs, resolver
from ocompress.analysis.shapes import observe_shapes, with_shapes
from ocompress.diagnostics import Finding
from ocompress.ir import DType, Model, Node, Value

Constant = tuple[DType, np.ndarray, Value]

_NO_WEIGHTS = {DType.INT64, DType.UINT64, DType.BOOL, DType.STRING}
"""Element types of shapes, indices and flags rather than weights."""


@dataclass(frozen=True, slots=True)
class Cost(Finding):
    """What a model holds and computes, counted from the graph alone.

    Attributes:
        parameters: Elements of weights (constants other than int64, bool and text).
        nonzero: Those that are not zero (not their zero point, where quantized).
        weight_bytes: Bytes of all constants by element type.
        ops: Nodes by operator, bodies included.
        macs: Multiply-accumulates by operator; a batch of unknown size counts as 1.
        unknown: Labels of nodes whose multiply-accumulates could not be counted.
    """

    derived: ClassVar[tuple[str, ...]] = ("total_macs", "total_weight_bytes")

    parameters: int
    nonzero: int
    weight_bytes: Mapping[str, int] = field(default_factory=dict)
    ops: Mapping[str, int] = field(default_factory=dict)
    macs: Mapping[str, int] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    @property
    def total_macs(self) -> int:
        """Multiply-accumulates of all operators that could be counted."""
        return sum(self.macs.values())

    @property
    def total_weight_bytes(self) -> int:
        """Bytes of all constants."""
        return sum(self.weight_bytes.values())


def count(
    model: Model, shapes: Mapping[str, Sequence[int]] | None = None, *, run: bool = False
) -> Cost:
    """Count parameters, bytes and multiply-accumulates.

    Multiply-accumulates are those of one run; what is computed of constants alone is done at load.
    Bodies of control flow count once, as if their condition held and their loop ran a single time.
    Quantized models count like float ones.

    Args:
        model: Not changed.
        shapes: Shapes of inputs by name, where the model leaves extents free.
        run: Whether to run the model once on random numbers where shape inference falls short.

    Raises:
        DataError: If a shape names no input or contradicts its rank.
    """
    shaped = with_shapes(model, shapes or {})
    amounts = _amounts(shaped, resolver(shaped, {}))
    if run and any(amount is None for _, amount in amounts):
        gaps = [node for node, amount in amounts if amount is None]
        observed = observe_shapes(shaped, gaps, shapes or {})
        amounts = _amounts(shaped, resolver(shaped, observed))
    ops: Counter[str] = Counter()
    done: Counter[str] = Counter()
    for node, amount in amounts:
        kind = node.op_type if not node.domain else f"{node.domain}::{node.op_type}"
        ops[kind] += 1
        if amount:
            done[kind] += amount
    weights = [(d, v) for t, d, v in _constants(model, coded=False) if t not in _NO_WEIGHTS]
    return Cost(
        parameters=sum(data.size for data, _ in weights),
        nonzero=sum(_nonzero(data, value) for data, value in weights),
        weight_bytes=_bytes_by_type(list(_constants(model, coded=True))),
        ops=_sorted(ops),
        macs=_sorted(done),
        unknown=tuple(node.label for node, amount in amounts if amount is None),
    )


def _amounts(model: Model, shapes: Shapes) -> list[tuple[Node, int | None]]:
    """Return the multiply-accumulates of every node; none of those that are done at load."""
    done: set[int] = set()
    found: list[tuple[Node, int | None]] = []
    for _, node in model.nodes():
        inputs = [v for v in node.inputs if v is not None]
        constant = all(v.constant is not None or id(v) in done for v in inputs)
        if inputs and constant and not node.bodies:
            done.update(id(v) for v in node.outputs if v is not None)
            found.append((node, 0))
        else:
            found.append((node, macs(node, shapes)))
    return found


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _constants(model: Model, *, coded: bool) -> Iterator[Constant]:
    """Iterate over constants of graphs and Constant nodes, those that share an array once."""
    seen: set[int] = set()
    for graph in model.graph.graphs():
        for value in graph.written(coded=coded):
            if value.data is not None and value.dtype is not None and id(value.data) not in seen:
                seen.add(id(value.data))
                yield value.dtype, value.data, value
        for node in graph.nodes:
            tensor = node.attr("value") if node.is_op("Constant") else None
            if isinstance(tensor, np.ndarray):
                yield DType.of(tensor), tensor, node.output


def _nonzero(data: np.ndarray, value: Value) -> int:
    """Count the elements that are not zero, or not their zero point where quantized."""
    for node, index in value.users:
        point = node.input(2)
        if index == 0 and node.is_op("DequantizeLinear") and point is not None:
            zero = point.constant
            if zero is not None and zero.ndim <= 1:
                return _differ(data, zero, int(node.attr("axis", 1)))
    return int(np.count_nonzero(data))


def _differ(data: np.ndarray, zero: np.ndarray, axis: int) -> int:
    if zero.size > 1:
        # ONNX Runtime says what is wrong with a file where they do not fit
        if not -data.ndim <= axis < data.ndim or data.shape[axis] != zero.size:
            return int(np.count_nonzero(data))
        extents = [1] * data.ndim
        extents[axis] = zero.size
        zero = zero.reshape(extents)
    else:
        zero = zero.reshape(())
    return int(np.count_nonzero(data != zero))


def _bytes_by_type(constants: Iterable[Constant]) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for dtype, data, _ in constants:
        if dtype is DType.STRING:
            size = sum(len(str(text).encode()) for text in data.reshape(-1))
        else:
            size = -(-data.size * dtype.bits // 8)
        totals[dtype.name.lower()] += size
    return _sorted(totals)
