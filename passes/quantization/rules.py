"""Which operators ONNX Runtime runs as integers between DequantizeLinear and QuantizeLinear.

Read off the graphs that ONNX Runtime 1.31 makes of small quantized ones, at the level `all`, on
x86-64 and in bodies too. An operator that is not here runs in float whatever stands around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Sharing(StrEnum):
    """How the grids of inputs and outputs hang together."""

    FREE = "free"
    """Each its own."""
    SAME = "same"
    """One grid for data input and outputs: the integers move, they do not change."""
    LIKED = "liked"
    """Any, but equal ones make it a plain copy."""


@dataclass(frozen=True)
class KernelRule:
    """An operator with integer kernels.

    Attributes:
        data: Positions of the activations it reads; None means all inputs.
        weight: Position of a constant that becomes int8, None if there is none.
        bias: Position of a constant that becomes int32, None if there is none.
        output_optional: Whether its output may stay in float without losing the kernel.
        absorbs: Whether a Relu or Clip after it becomes part of its output's grid.
        sharing: How grids hang together.
    """

    data: tuple[int, ...] | None = (0,)
    weight: int | None = None
    bias: int | None = None
    output_optional: bool = False
    absorbs: bool = False
    sharing: Sharing = Sharing.FREE


_MOVE = KernelRule(sharing=Sharing.SAME)

RULES: dict[str, KernelRule] = {
    "Conv": KernelRule(weight=1, bias=2, absorbs=True),
    "Gemm": KernelRule(weight=1, bias=2, output_optional=True, absorbs=True),
    "MatMul": KernelRule(weight=1, output_optional=True, absorbs=True),
    "Add": KernelRule(data=(0, 1), absorbs=True),
    "Mul": KernelRule(data=(0, 1), absorbs=True),
    "Concat": KernelRule(data=None, sharing=Sharing.LIKED),
    "Split": _MOVE,
    "MaxPool": _MOVE,
    "Reshape": _MOVE,
    "Transpose": _MOVE,
    "Squeeze": _MOVE,
    "Unsqueeze": _MOVE,
    "Slice": _MOVE,
    "Flatten": _MOVE,
    "DepthToSpace": _MOVE,
    "Resize": _MOVE,
    "GlobalAveragePool": KernelRule(),
    "Sigmoid": KernelRule(),
    "LeakyRelu": KernelRule(),
}

NO_KERNEL: frozenset[str] = frozenset({"ConvTranspose", "LSTM", "GRU", "RNN", "ConvInteger"})
"""Operators with weights that have no static integer kernel."""
