"""Words that blocks of a weight are made of, and the form in which they are written."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from ocompress.archive.grids import find_grid
from ocompress.training.forms import TiedForm
from ocompress.training.trained_numbers import TrainedNumbers

_REPEATED = 4
"""Blocks that are the same in the mean, at least, in a weight of few blocks."""
_KERNEL_AXES = 3
_SIZES = (16, 8, 5, 4, 3, 2)
"""Elements of a block that are tried, beside slices of kernels and rows."""
_LARGEST_UNITS = 127
"""Magnitude of words that are whole numbers of 8 bits, in their unit."""


def coded_bits(choices: np.ndarray) -> float:
    """Return what choices take that are coded by how often each is made."""
    _, counts = np.unique(choices, return_counts=True)
    return float(-(counts * np.log2(counts / choices.size)).sum())


@dataclass(frozen=True, eq=False)
class Blocks:
    """A weight as words.

    Attributes:
        words: float32 [words, elements of a block].
        index: Word of each block, int [blocks].
        turned: Whether blocks go along columns of a matrix.
        largest: What the largest magnitude is, where words are whole numbers times one unit; None
            if they are not.
    """

    words: np.ndarray
    index: np.ndarray
    turned: bool = False
    largest: int | None = None

    @property
    def bits(self) -> float:
        """About what words take, each as it is, and choices by how often each is made."""
        each = 32 if self.largest is None else 8
        return each * self.words.size + coded_bits(self.index)

    @property
    def free(self) -> np.ndarray:
        """What of the words is trained: in whole numbers a zero is a number like others."""
        filled: np.ndarray = self.words != 0
        if self.largest is not None:
            filled = np.repeat(filled.any(axis=1, keepdims=True), filled.shape[1], axis=1)
        return filled

    def joined(self, blocks: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return the weight, of a shape, that blocks [blocks, elements] make."""
        return blocks.reshape(shape[::-1]).T if self.turned else blocks.reshape(shape)

    def written(self, words: Tensor) -> Tensor:
        """Return trained words as they are written: whole numbers as large as they were."""
        most = float(words.abs().max())
        if self.largest is None or not most:
            return words
        unit = float(np.float32(most / self.largest))
        levels = np.rint(words.numpy().astype(np.float64) / unit)
        return torch.from_numpy((levels * unit + 0.0).astype(np.float32))


def few_blocks(values: np.ndarray) -> Blocks | None:
    """Look for whole kernels, rows, and runs of elements of rows or columns that repeat."""
    sizes = [prod(values.shape[2:])] if values.ndim >= _KERNEL_AXES else []
    for turned in (False, True) if values.ndim == 2 else (False,):
        seen = np.ascontiguousarray(values.T) if turned else values
        for size in dict.fromkeys((*sizes, seen.shape[-1], *_SIZES)):
            if size < 2 or values.size % size:
                continue
            words, index = np.unique(seen.reshape(-1, size), axis=0, return_inverse=True)
            filled = np.count_nonzero(words, axis=1) > 0
            index = index.reshape(-1)
            if np.count_nonzero(filled) * _REPEATED <= np.count_nonzero(filled[index]):
                return Blocks(words, index, turned, _units(words))
    return None


def _units(words: np.ndarray) -> int | None:
    grid = find_grid(words, *words.shape)
    largest = int(np.abs(grid.levels).max()) if grid is not None else 0
    return largest if 0 < largest <= _LARGEST_UNITS else None


class Book(TiedForm):
    """Few values, or blocks of values, and who has which; zeros in them stay."""

    name = "shared"

    def __init__(self, blocks: Blocks, shape: tuple[int, ...]) -> None:
        """Start with the words, and the word of each block."""
        super().__init__(TrainedNumbers(blocks.words, blocks.free))
        self._blocks, self._shape = blocks, shape
        self._index = torch.from_numpy(blocks.index.astype(np.int64))

    def value(self) -> Tensor:
        """Look every block up."""
        return self._blocks.joined(self.leaf.index_select(0, self._index), self._shape)

    def exact(self) -> np.ndarray:
        """Look every block up."""
        words = self._blocks.written(self.leaves[0].tensor.detach())
        found = self._blocks.joined(words.index_select(0, self._index), self._shape)
        return np.ascontiguousarray(found.numpy())
