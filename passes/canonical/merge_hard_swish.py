"""Spelled-out hard swishes become one operator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ocompress.ir import DType, Facet, Model, Node, Value, query
from ocompress.pipeline import Context, Numerics, Outcome, Pass

_SCALES = ("Mul", "Div")
_CLOSE = 1e-6
"""Relative difference from the constants of a hard swish that rounding to float32 explains."""
_LONGEST = 4
"""Nodes of one chain of constants that are followed."""


@dataclass(frozen=True)
class _Scaled:
    """A value that is a multiple of something.

    Attributes:
        base: The something.
        scale: The factor.
    """

    base: Value
    scale: float


class MergeHardSwish(Pass):
    """Write x * clip(x + 3, 0, 6) / 6, however it is spelled, as HardSwish.

    Before: y = Div(Mul(x, Clip(Add(x, 3), 0, 6)), 6)
    After:  y = HardSwish(x)
    Exporters spell it in many ways, with the sixth at any place or part of the next layer: then one
    Mul stays. ONNX Runtime makes HardSwish part of the convolution before it; the operators that it
    is spelled with run one by one, and each convolution's layout is changed before and behind them.
    (Howard et al., Searching for MobileNetV3, 2019.)
    Leaves alone: element types without a kernel, opsets before 14, intermediate results that
    others read.
    Numerics: rounding only.
    """

    name = "merge-hard-swish"
    internal = True
    numerics = Numerics.ROUNDING
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES
    reads = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.TYPES

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Look at every product, bodies included."""
        del ctx
        if model.opset < 14:
            return Outcome()
        done = sum(_merge(node) for _, node in list(model.nodes()) if node.is_op("Mul"))
        return Outcome(self.may_change, {"hard swishes merged": done}) if done else Outcome()


def _merge(node: Node) -> bool:
    """Rewrite a product that is a multiple of a hard swish."""
    found = _swish(node)
    if found is None or node.graph is None:
        return False
    after = None if node.output.is_output else query.only_reader(node.output)
    scale = None if after is None or after.graph is not node.graph else _scale(after, node.output)
    if after is not None and scale is not None:
        node.op_type = "HardSwish"
        node.set_inputs([found.base])
        _become_scale(after, node.output, found.scale * scale)
    elif math.isclose(found.scale, 1.0, rel_tol=_CLOSE):
        node.op_type = "HardSwish"
        node.set_inputs([found.base])
    else:
        made = node.graph.add_op("HardSwish", [found.base], name=f"{node.label}_swish").output
        made.set_type(node.output.dtype, node.output.shape)
        _become_scale(node, made, found.scale)
    return True


def _become_scale(node: Node, value: Value, scale: float) -> None:
    """Let a node multiply a value by a number, or hand it on if that is 1."""
    assert node.graph is not None
    if math.isclose(scale, 1.0, rel_tol=_CLOSE):
        node.op_type = "Identity"
        node.set_inputs([value])
        return
    assert value.dtype is not None
    number = np.asarray(scale).astype(value.dtype.numpy)
    node.op_type = "Mul"
    node.set_inputs([value, node.graph.constant(f"{node.label}_scale", number)])


def _swish(node: Node) -> _Scaled | None:
    """See a product as a multiple of the hard swish of some value."""
    if len(node.inputs) != 2:
        return None
    for at in (0, 1):
        left, right = node.input(at), node.input(1 - at)
        if left is None or right is None or left is right:
            continue
        gate, other = _gate(left, node), _unscaled(right, node)
        for plain in (other, _Scaled(right, 1.0)):  # the gate may read what was scaled
            if gate is not None and plain.base is gate.base and _is_fit(plain.base, node):
                return _Scaled(plain.base, plain.scale * gate.scale)
    return None


def _is_fit(value: Value, node: Node) -> bool:
    """Whether there is a kernel, and none of the numbers gave the result more axes."""
    return value.dtype == DType.FLOAT and value.rank is not None and _is_alike(value, node.output)


def _is_alike(value: Value, other: Value) -> bool:
    return value.rank == other.rank


def _gate(value: Value, reader: Node) -> _Scaled | None:
    """See a value as a multiple of clip(x / 6 + 1/2, 0, 1)."""
    scaled = _unscaled(value, reader)
    maker = _own(scaled.base, reader)
    if maker is None:
        return None
    if maker.is_op("HardSigmoid"):
        inner, high = maker.input(0), 1.0
        scale, shift = float(maker.attr("alpha", 0.2)), float(maker.attr("beta", 0.5))
    else:
        clipped = _clipped(maker)
        if clipped is None:
            return None
        inner, high = clipped
        scale, shift, inner = _affine(inner, reader)
    slope_fits = math.isclose(scale / high, 1 / 6, rel_tol=_CLOSE)
    if inner is None or not (slope_fits and math.isclose(shift / high, 0.5, rel_tol=_CLOSE)):
        return None
    return _Scaled(inner, scaled.scale * high)


def _clipped(node: Node) -> tuple[Value | None, float] | None:
    """Return what a node clips to [0, h], and h."""
    if node.is_op("Clip") and len(node.inputs) == 3 and query.scalar(node, 1) == 0.0:
        high = query.scalar(node, 2)
        return None if high is None or not 0 < high < math.inf else (node.input(0), high)
    if node.is_op("Min") and len(node.inputs) == 2:
        for at in (0, 1):
            high, relu = query.scalar(node, 1 - at), _own(node.input(at), node)
            if high is not None and 0 < high < math.inf and relu is not None and relu.is_op("Relu"):
                return relu.input(0), high
    return None


def _affine(value: Value | None, reader: Node) -> tuple[float, float, Value | None]:
    """Return a, b and x where a value is a x + b, as far as single numbers make it so."""
    steps: list[tuple[float, float]] = []
    while len(steps) < _LONGEST and (maker := _own(value, reader)) is not None:
        step = _step(maker)
        if step is None:
            break
        at, factor, summand = step
        steps.append((factor, summand))
        value = maker.input(at)
    scale, shift = 1.0, 0.0
    for factor, summand in reversed(steps):
        scale, shift = scale * factor, shift * factor + summand
    return scale, shift, value


def _step(node: Node) -> tuple[int, float, float] | None:
    """See a node as a x + b with numbers: which input x is, a and b."""
    if len(node.inputs) != 2 or not node.is_op("Add", "Sub", "Mul", "Div"):
        return None
    for at in (0, 1):
        number = query.scalar(node, 1 - at)
        if number is None or not math.isfinite(number) or query.constant(node, at) is not None:
            continue
        if node.is_op("Add"):
            return at, 1.0, number
        if node.is_op("Sub"):
            return (0, 1.0, -number) if at == 0 else (1, -1.0, number)
        if node.is_op("Mul"):
            return at, number, 0.0
        if at == 0 and number != 0:
            return at, 1 / number, 0.0
    return None


def _scale(node: Node, value: Value) -> float | None:
    """Return the factor by which a node multiplies a value, None if it does something else."""
    step = _step(node) if node.is_op(*_SCALES) else None
    if step is None or node.input(step[0]) is not value or step[1] == 0:
        return None
    return step[1] if _is_alike(value, node.output) else None


def _unscaled(value: Value, reader: Node) -> _Scaled:
    """Return what a value is a multiple of."""
    scale = 1.0
    for _ in range(_LONGEST):
        maker = _own(value, reader)
        step = None if maker is None or not maker.is_op(*_SCALES) else _step(maker)
        inner = None if maker is None or step is None else maker.input(step[0])
        if step is None or inner is None or step[1] == 0:
            break
        value, scale = inner, scale * step[1]
    return _Scaled(value, scale)


def _own(value: Value | None, reader: Node) -> Node | None:
    """Return the maker of a value that nothing but one node of the same graph reads."""
    if value is None or value.producer is None or query.only_reader(value) is None:
        return None
    return value.producer if value.producer.graph is reader.graph else None
