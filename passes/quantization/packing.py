"""How integer weights lie in the tensors that operators read."""

from __future__ import annotations

import numpy as np

from ocompress.ir import DType
from passes.quantization.blockwise import BlockWeight


def as_tensor(integers: np.ndarray, dtype: str) -> np.ndarray:
    """Return integers, of any shape, in an ONNX type, two or four of which may share a byte."""
    kind: np.dtype[np.generic] = DType[dtype.upper()].numpy
    return np.ascontiguousarray(integers).astype(kind)


def unsigned(weight: BlockWeight) -> tuple[np.ndarray, np.ndarray]:
    """Return integers and zero points counted from 0, both uint8."""
    offset = -weight.grid.low
    return (
        (weight.integers.astype(np.int16) + offset).astype(np.uint8),
        (weight.zero_points.astype(np.int16) + offset).astype(np.uint8),
    )


def pack_neighbours(integers: np.ndarray, bits: int) -> np.ndarray:
    """Put neighbours of the last axis into one byte, the first in its lowest bits.

    Args:
        integers: uint8, shape (..., n).
        bits: Bits of each.

    Returns:
        uint8, shape (..., bytes).
    """
    share = 8 // bits
    missing = -integers.shape[-1] % share
    padded = np.pad(integers, [(0, 0)] * (integers.ndim - 1) + [(0, missing)])
    packed = np.zeros((*padded.shape[:-1], padded.shape[-1] // share), np.uint8)
    for place in range(share):
        packed |= padded[..., place::share] << np.uint8(bits * place)
    return packed


def pack_stripes(integers: np.ndarray, bits: int) -> np.ndarray:
    """Put equal stripes of the last axis on top of each other, the first in the lowest bits.

    Unpacked stripes only need to be concatenated.

    Args:
        integers: uint8, shape (..., n), n a multiple of 8 / bits.
        bits: Bits of each.

    Returns:
        uint8, shape (..., n * bits / 8).
    """
    stripes = np.split(integers, 8 // bits, axis=-1)
    packed = np.zeros(stripes[0].shape, np.uint8)
    for place, stripe in enumerate(stripes):
        packed |= stripe << np.uint8(bits * place)
    return packed


def for_matmul_nbits(weight: BlockWeight) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the inputs of a MatMulNBits: integers, scales, zero points.

    Returns:
        uint8 of shape (channels, blocks, bytes of a block), float32 of shape (channels, blocks),
        and uint8 of shape (channels, bytes).
    """
    grid = weight.grid
    integers, zeros = unsigned(weight)
    channels, inputs = integers.shape
    count = weight.scales.shape[1]
    padded = np.pad(integers, ((0, 0), (0, count * grid.block - inputs)))
    blocks = padded.reshape(channels, count, grid.block)
    return pack_neighbours(blocks, grid.bits), weight.scales, pack_neighbours(zeros, grid.bits)
