"""Predicting what a unit costs in float and as integers, from observed sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.ir import Value
from ocompress.planning import Cell
from ocompress.targets import Target
from passes.quantization.units import Unit

Elements = Callable[[Value], float]
"""Gives the number of elements of a value for one sample."""

_LARGE = 800_000
_THIN = 4
_ROWS = 8
_PADDED = ("Conv.dense", "Conv.thin")
"""Kinds whose costs were fitted to whole blocks of output channels."""
_MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Flatten", "DepthToSpace")


@dataclass(frozen=True)
class MeasuredTimes:
    """Times on this machine, nanoseconds.

    Attributes:
        cells: Of each unit in float and as integers, by id of its node.
        conversions: Of everything between units, where some of them are integers.
        integers: Those, by id of their nodes.
    """

    cells: Mapping[int, Cell]
    conversions: float
    integers: frozenset[int]


def kind(unit: Unit, elements: Elements) -> str:
    """Return the kind of operator that cost tables know a unit by."""
    op_type = unit.node.op_type
    if op_type == "Conv":
        return _conv_kind(unit, elements)
    if op_type in ("Gemm", "MatMul"):
        if unit.weight is None:
            return "MatMul.dynamic"
        rows = elements(unit.outputs[0]) / _width(unit)
        return f"{op_type}.rows" if rows >= _ROWS else f"{op_type}.row"
    return "move" if op_type in _MOVES else op_type


def cell(unit: Unit, elements: Elements, target: Target) -> Cell | None:
    """Return the two predicted times of a unit, None if the target has no integer kernel."""
    name = kind(unit, elements)
    if name not in target.int8_costs or name not in target.float_costs:
        return None
    padding = _padding(unit, target.channel_multiple) if name in _PADDED else 1.0
    work = (
        _macs(unit, elements) * padding,
        _size(unit, elements),
        _taps(unit, elements),
        _rows(unit, elements),
    )
    return Cell(target.float_costs[name].time_ns(*work), target.int8_costs[name].time_ns(*work))


def scaled(times: Cell, scale: float) -> Cell:
    """Return times of a machine that takes `scale` times as long."""
    return Cell(times.float_ns * scale, times.int8_ns * scale)


def macs_of(units: Sequence[Unit], elements: Elements) -> float:
    """Return the multiply-accumulates of units for one sample."""
    return sum(_macs(u, elements) for u in units)


def crossing_ns(target: Target, name: str, elements: float) -> float:
    """Return the time to `enter` or `leave` the integers, to `guard` a float or to `reorder`."""
    table = target.float_costs if name in ("guard", "reorder") else target.int8_costs
    return table[name].time_ns(0, elements) if name in table else 0.0


def _conv_kind(unit: Unit, elements: Elements) -> str:
    assert unit.weight is not None
    assert unit.weight.constant is not None
    shape = unit.weight.constant.shape
    if unit.depthwise:
        large = elements(unit.outputs[0]) > _LARGE
        return "Conv.depthwise-large" if large else "Conv.depthwise"
    if unit.groups > 1:
        return "Conv.grouped"
    if shape[1] <= _THIN:
        return "Conv.thin"
    return "Conv.pointwise" if np.prod(shape[2:]) == 1 else "Conv.dense"


def _macs(unit: Unit, elements: Elements) -> float:
    size = elements(unit.outputs[0])
    if unit.weight is not None and unit.weight.constant is not None:
        return size * unit.weight.constant.size / _width(unit)
    if unit.node.op_type == "MatMul":
        first, second = (elements(v) for _, v in unit.operands)
        return float(np.sqrt(first * second * size))  # exact for one matrix: MK * KN * MN
    return 0.0


def _taps(unit: Unit, elements: Elements) -> float:
    if not unit.depthwise or unit.weight is None or unit.weight.constant is None:
        return 0.0
    return elements(unit.outputs[0]) / _width(unit) * float(np.prod(unit.weight.constant.shape[2:]))


def _rows(unit: Unit, elements: Elements) -> float:
    """Return how many runs of memory an integer convolution copies to gather its patches.

    Channels come last there, so a row of the kernel is one run. Over three axes it copies
    every element of the kernel by itself.
    """
    if unit.node.op_type != "Conv" or unit.weight is None or unit.weight.constant is None:
        return 0.0
    kernel = unit.weight.constant.shape[2:]
    rows = np.prod(kernel if len(kernel) > 2 else kernel[:-1])
    return elements(unit.outputs[0]) / _width(unit) * float(rows)


def _padding(unit: Unit, multiple: int) -> float:
    """Return how much more a convolution multiplies because its kernels fill whole blocks."""
    width = _width(unit)
    return -(-width // multiple) * multiple / width


def _width(unit: Unit) -> int:
    assert unit.weight is not None
    assert unit.weight.constant is not None
    return max(1, int(unit.weight.constant.shape[unit.axis]))


def _size(unit: Unit, elements: Elements) -> float:
    if unit.node.op_type in ("GlobalAveragePool", "Split"):
        return elements(unit.operands[0][1])
    return elements(unit.outputs[0])
