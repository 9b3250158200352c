"""Arithmetic on the weights of linear layers, per channel and in float64: pure numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.ir import DType


@dataclass(frozen=True)
class WeightForm:
    """Where the channels of a weight are.

    Conv stores `[M, C/g, taps...]`, ConvTranspose `[C, M/g, taps...]`, Gemm and MatMul `[K, N]`
    or `[N, K]`: in every layout axis 0 runs through all groups and axis 1 within one.

    Attributes:
        shape: Shape of the weight.
        out_axis: Axis of output channels.
        in_axis: Axis of input channels.
        groups: Number of groups; with more than one the channel axes are 0 and 1.
    """

    shape: tuple[int, ...]
    out_axis: int
    in_axis: int
    groups: int = 1

    @property
    def outputs(self) -> int:
        """Number of output channels over all groups."""
        return self._extent(self.out_axis)

    @property
    def inputs(self) -> int:
        """Number of input channels over all groups."""
        return self._extent(self.in_axis)

    def _extent(self, axis: int) -> int:
        return self.shape[axis] * (1 if axis == 0 else self.groups)

    def along(self, axis: int, values: np.ndarray) -> np.ndarray:
        """Shape per-channel values so that they multiply the weight.

        Args:
            axis: `out_axis` or `in_axis`.
            values: One value per channel of that axis over all groups, [channels], or a scalar.

        Returns:
            An array that broadcasts against the weight without enlarging it.
        """
        if values.ndim == 0:
            return values
        if self.groups == 1 or axis == 0:
            return values.reshape([-1 if i == axis else 1 for i in range(len(self.shape))])
        per_group = values.reshape(self.groups, self.shape[1])
        rows = np.repeat(per_group, self.shape[0] // self.groups, axis=0)
        return rows.reshape(*rows.shape, *[1] * (len(self.shape) - 2))

    def through(self, weight: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """Return what a constant input adds to every output channel.

        Args:
            weight: The weight, [two axes of channels, *taps].
            shift: The constant, one value per input channel, [inputs], or a scalar.

        Returns:
            One value per output channel, [outputs], where every tap meets the constant.
        """
        product = weight * self.along(self.in_axis, shift)
        pairs = product.sum(axis=tuple(range(2, weight.ndim)))
        if self.out_axis == 0:
            return np.asarray(pairs.sum(axis=1))
        grouped = pairs.reshape(self.groups, -1, pairs.shape[1])
        return np.asarray(grouped.sum(axis=1).reshape(-1))


def rounded(exact: np.ndarray, like: np.dtype[np.generic]) -> np.ndarray | None:
    """Round float64 values of any shape once to another float type.

    Returns:
        None where that overflows, is not a number, or loses more than rounding because values
        fall below the type's normal range (measured against the largest magnitude of each
        slice along axis 0, or of a vector).
    """
    with np.errstate(all="ignore"):
        result = exact.astype(like)
        back = result.astype(np.float64)
    if not np.isfinite(back).all():
        return None
    if like.itemsize == 2:
        axes = tuple(range(1, exact.ndim)) if exact.ndim > 1 else None
        lost = np.abs(back - exact).max(axis=axes, initial=0.0)
        largest = np.abs(exact).max(axis=axes, initial=0.0)
        if (lost > epsilon(like) * largest).any():
            return None
    return result


def epsilon(dtype: np.dtype[np.generic]) -> float:
    """Return the distance from 1 to the next number of a float type."""
    if DType.of(np.zeros(0, dtype)) is DType.BFLOAT16:
        return 2.0**-7
    return float(np.finfo(np.dtype(f"f{dtype.itemsize}")).eps)
