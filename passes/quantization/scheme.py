"""Integer grids: the arithmetic of QuantizeLinear and DequantizeLinear, pure numpy."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field

import numpy as np

from passes.quantization.weights import QuantizedWeight

_TINY = float(np.finfo(np.float32).tiny)
_MOST_BIAS = 1 << 30
"""Bound on the magnitude of int32 biases, which leaves the accumulator as much room again."""


@dataclass(frozen=True)
class ActivationGrid:
    """An affine grid of all the integers of a type: `real = scale * (integer - zero_point)`.

    Attributes:
        scale: Step, a float32 number.
        zero_point: The integer that stands for 0.0.
        dtype: `uint8`, `int8`, `uint16` or `int16`.
    """

    scale: float
    zero_point: int
    dtype: str

    @property
    def low(self) -> float:
        """Smallest number of the grid."""
        return self.scale * (np.iinfo(self.dtype).min - self.zero_point)

    @property
    def high(self) -> float:
        """Largest number of the grid."""
        return self.scale * (np.iinfo(self.dtype).max - self.zero_point)

    def quantize(self, array: np.ndarray) -> np.ndarray:
        """Return the integers of an array of any shape as QuantizeLinear does (ties to even)."""
        info = np.iinfo(self.dtype)
        levels = np.rint(array.astype(np.float32) / np.float32(self.scale)) + self.zero_point
        integers: np.ndarray = np.clip(levels, info.min, info.max).astype(self.dtype)
        return integers

    def dequantize(self, integers: np.ndarray) -> np.ndarray:
        """Return the float32 numbers that integers, of any shape, stand for."""
        centred = integers.astype(np.int32) - self.zero_point
        return centred.astype(np.float32) * np.float32(self.scale)


@dataclass(frozen=True)
class Scheme:
    """The integers of a set of units.

    Attributes:
        grids: Of activations, by id of the value.
        weights: By id of the weight's value.
        biases: Float bias by id of the unit's node.
    """

    grids: Mapping[int, ActivationGrid] = field(default_factory=dict)
    weights: MutableMapping[int, QuantizedWeight] = field(default_factory=dict)
    biases: MutableMapping[int, np.ndarray] = field(default_factory=dict)


def affine_grid(low: float, high: float, dtype: str, *, symmetric: bool = False) -> ActivationGrid:
    """Return the grid that covers a range, widened to contain zero.

    A range without extent gets scale 1, so that zeros stay zeros. A range from zero up has the
    lowest integer as its zero point, which is what lets ONNX Runtime drop a Relu.

    Args:
        low: Lower end.
        high: Upper end.
        dtype: `uint8`, `int8`, `uint16` or `int16`.
        symmetric: Whether zero shall stand in the middle (127 levels on either side of 8 bits).
    """
    info = np.iinfo(dtype)
    low, high = min(0.0, float(low)), max(0.0, float(high))
    if symmetric:
        half = (info.max - info.min) // 2
        return ActivationGrid(_usable(max(-low, high) / half), int(info.min) + half + 1, dtype)
    scale = _usable((high - low) / (info.max - info.min))
    zero_point = int(np.clip(np.rint(info.min - low / scale), info.min, info.max))
    return ActivationGrid(scale, zero_point, dtype)


def bias_scales(input_scale: float, weight_scales: np.ndarray) -> np.ndarray:
    """Return scales of an int32 bias, (outputs,) or (), the products the runtime compares."""
    scales: np.ndarray = np.float32(input_scale) * weight_scales.astype(np.float32)
    return scales


def quantize_bias(bias: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Return int32 biases, saturated; `scales` has the shape of `bias` or is a scalar."""
    info = np.iinfo(np.int32)
    levels = np.rint(bias.astype(np.float64) / scales.astype(np.float64))
    return np.clip(levels, info.min, info.max).astype(np.int32)


def least_weight_scales(bias: np.ndarray, input_scale: float) -> np.ndarray:
    """Return the smallest weight scales whose int32 biases do not overflow, shape of `bias`."""
    scales: np.ndarray = np.abs(bias.astype(np.float64)) / (_MOST_BIAS * float(input_scale))
    return scales


def _usable(scale: float) -> float:
    rounded = float(np.float32(scale))
    return rounded if rounded >= _TINY else 1.0
