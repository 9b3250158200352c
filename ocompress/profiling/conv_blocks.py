"""Output channels of a float convolution as the kernels of ONNX Runtime see them."""

from __future__ import annotations

import math
from dataclasses import dataclass

_BLOCKS = 4
"""Blocks of channels that a kernel computes at once, at most."""
_LATENCY, _PORTS = 4, 2
"""Cycles until the result of a multiplication can be added to, and how many begin in each."""


@dataclass(frozen=True)
class ConvBlocks:
    """How many channels' worth of work a convolution has for the channels that it makes.

    Channels come in blocks as wide as a register, up to four blocks at once. For each of them, a
    kernel holds some neighbouring outputs of a row in registers; with few blocks or at the end of
    a row these are too few to fill the time that a sum takes until it can be added to. So the
    last blocks of a layer take longer than their share, the more so the shorter its rows are.

    Attributes:
        block: Channels of a block, 1 or more.
        row: Outputs of a row; 0 counts whole blocks only, as for integers, which are multiplied
            as matrices.
    """

    block: int
    row: int = 0

    def of(self, channels: float) -> float:
        """Return how many channels there might be for the same work, at least as many."""
        blocks = math.ceil(channels / self.block - 1e-9)
        if not self.row:
            return float(blocks * self.block)
        sets, rest = divmod(blocks, _BLOCKS)
        part = self._cycles(rest) / self._cycles(_BLOCKS) if rest else 0.0
        return (sets + part) * _BLOCKS * self.block

    def _cycles(self, blocks: int) -> float:
        """Return how long a row takes for each input and element of the kernel."""
        # a wide register stands for twice as many of them, each of twice the values
        held = 6 if self.block > _NARROW else 3
        turns, rest = divmod(self.row, held)
        return turns * _turn(blocks * held) + (_turn(blocks * rest) if rest else 0.0)


_NARROW = 8
"""Channels of a block with registers of 256 bits."""


def _turn(sums: int) -> float:
    return max(_LATENCY, sums / _PORTS)
