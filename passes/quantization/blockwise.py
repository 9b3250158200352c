"""Weights on small integer grids, with a scale and a zero point per block of inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BlockGrid:
    """What integers and how many inputs share a scale.

    Attributes:
        bits: 2, 4 or 8.
        block: Inputs that share a scale and a zero point; 0 = all of an output channel.
        symmetric: Whether integers are signed and the zero point is 0.
    """

    bits: int
    block: int
    symmetric: bool

    @property
    def low(self) -> int:
        """Smallest integer."""
        return -(1 << self.bits - 1) if self.symmetric else 0

    @property
    def high(self) -> int:
        """Largest integer."""
        return self.low + (1 << self.bits) - 1

    @property
    def dtype(self) -> str:
        """Name of the ONNX element type in lower case."""
        return f"{'' if self.symmetric else 'u'}int{self.bits}"

    def width(self, inputs: int) -> int:
        """Return the inputs per block of a weight with that many inputs."""
        return self.block or max(1, inputs)


@dataclass(frozen=True)
class BlockWeight:
    """A weight as integers; a last block that is not full is as good as any other.

    Attributes:
        integers: int8, or uint8 when not symmetric, one a byte; shape (channels, inputs).
        scales: float32, shape (channels, blocks).
        zero_points: Type of the integers, shape (channels, blocks).
        grid: What the integers mean.
    """

    integers: np.ndarray
    scales: np.ndarray
    zero_points: np.ndarray
    grid: BlockGrid

    def dequantize(self) -> np.ndarray:
        """Return the float32 weight it stands for, shape (channels, inputs)."""
        inputs = self.integers.shape[1]
        width = self.grid.width(inputs)
        scales = np.repeat(self.scales, width, axis=1)[:, :inputs]
        zeros = np.repeat(self.zero_points.astype(np.float32), width, axis=1)[:, :inputs]
        real: np.ndarray = (self.integers.astype(np.float32) - zeros) * scales
        return real

    @property
    def bytes(self) -> int:
        """Bytes of integers, scales and zero points in a file."""
        zeros = 0 if self.grid.symmetric else self.zero_points.size
        packed = sum(-(-n * self.grid.bits // 8) for n in (self.integers.size, zeros))
        return packed + self.scales.nbytes


def blocks_of(rows: np.ndarray, grid: BlockGrid) -> np.ndarray:
    """Return a weight cut into blocks, the last filled up with zeros.

    Args:
        rows: Shape (channels, inputs).
        grid: Says how wide a block is.

    Returns:
        Shape (channels, blocks, width).
    """
    channels, inputs = rows.shape
    width = grid.width(inputs)
    count = -(-inputs // width)
    padded = np.pad(rows, ((0, 0), (0, count * width - inputs)))
    return padded.reshape(channels, count, width)


def plain_grid(blocks: np.ndarray, grid: BlockGrid) -> tuple[np.ndarray, np.ndarray]:
    """Return the scales and zero points that reach from the smallest to the largest element.

    Args:
        blocks: Shape (..., width).
        grid: The integers.

    Returns:
        Scales, float32, and zero points, whole numbers as float32, of shape (...).
    """
    if grid.symmetric:
        scales = np.abs(blocks).max(axis=-1, initial=0.0) / grid.high
        zeros = np.zeros_like(scales)
    else:
        low, high = blocks.min(axis=-1, initial=0.0), blocks.max(axis=-1, initial=0.0)
        scales = (high - low) / grid.high
        zeros = np.rint(-low / _safe(scales))
    return _safe(scales), zeros.astype(np.float32)


def round_to(
    weights: np.ndarray, scales: np.ndarray, zeros: np.ndarray, grid: BlockGrid
) -> np.ndarray:
    """Return the nearest integers, as float32; the shapes must broadcast."""
    integers: np.ndarray = np.clip(np.rint(weights / scales) + zeros, grid.low, grid.high)
    return integers


def assemble(
    integers: np.ndarray, scales: np.ndarray, zeros: np.ndarray, grid: BlockGrid
) -> BlockWeight:
    """Make a weight of integers, (channels, inputs), scales and zeros, (channels, blocks)."""
    kind = np.int8 if grid.symmetric else np.uint8
    return BlockWeight(integers.astype(kind), scales.astype(np.float32), zeros.astype(kind), grid)


def _safe(scales: np.ndarray) -> np.ndarray:
    """Put 1 in place of scales that are zero or too small to divide by."""
    safe: np.ndarray = np.where(scales >= np.finfo(np.float32).tiny, scales, 1.0)
    return safe.astype(np.float32)
