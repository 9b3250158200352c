"""Weights of Fastfood blocks, whose diagonals are trained."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ocompress.archive.fastfood import Fastfood, first, hadamard, permutation, told
from ocompress.archive.fastfood_rounding import COLUMN_BITS, ROW_BITS, few_bits, room, whole
from ocompress.training.forms import TiedForm
from ocompress.training.quantization_rules import rounded
from ocompress.training.trained_numbers import TrainedNumbers


class Diagonals(TiedForm):
    """Three diagonals; gradients pass the rounding to the bits that they have in a file."""

    name = "fastfood"

    def __init__(self, start: Fastfood, shape: tuple[int, ...]) -> None:
        """Start with the diagonals there are.

        Args:
            start: The diagonals.
            shape: Shape of the weight, whose rows are those of the matrix.
        """
        self._free = told(start.rows != 0, start.columns != 0, start.size)
        self._first = torch.from_numpy(first(start.size).astype(np.float32))
        super().__init__(
            TrainedNumbers(np.where(self._free, start.levels + first(start.size), 0), self._free),
            TrainedNumbers(start.rows, start.rows != 0),
            TrainedNumbers(start.columns, start.columns != 0),
        )
        left = hadamard(start.size).astype(np.float32)
        self._left, self._right = map(torch.from_numpy, (left, left[permutation(start.size)]))
        self._shape = shape

    @property
    def count(self) -> int:
        """Numbers of all diagonals."""
        return sum(leaf.count for leaf in self.leaves)

    def value(self) -> Tensor:
        """Multiply."""
        numbers, rows, columns = (leaf.tensor for leaf in self.leaves)
        levels = rounded(numbers - self._first) + self._first
        blocks = self._left @ (levels[..., None] * self._right)
        down, across, size = numbers.shape
        sums = blocks.permute(0, 2, 1, 3).reshape(down * size, across * size)
        sums = sums[: rows.numel(), : columns.numel()]
        found = sums * _short(columns, COLUMN_BITS) * _short(rows, ROW_BITS)[:, None]
        return found.reshape(self._shape)

    def exact(self) -> np.ndarray:
        """Multiply diagonals of a few bits, in which the blocks are found again."""
        given = [leaf.tensor.detach().numpy().astype(np.float64) for leaf in self.leaves]
        numbers, rows, columns = given
        times = np.minimum(room(numbers, rows.size, columns.size, spare=False), 1)
        each = np.repeat(times, numbers.shape[2])[: rows.size]
        found = whole(
            few_bits(rows / each, ROW_BITS),
            numbers * times[:, None, None],
            few_bits(columns, COLUMN_BITS),
        )
        return found.matrix.reshape(self._shape)


def _short(numbers: Tensor, bits: int) -> Tensor:
    """Return numbers of so many bits, through which gradients pass."""
    mantissa, exponent = torch.frexp(numbers.detach())
    short = torch.ldexp(torch.round(mantissa * 2**bits), exponent - bits)
    return numbers + (short - numbers.detach())
