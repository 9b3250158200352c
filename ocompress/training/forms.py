"""Forms of weights: what of them is trained, and what they are made of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ocompress.archive.grids import Grid, values_of
from ocompress.training.quantization_rules import rounded

_PLANES = 4
_STEPS_RATE = 0.1
"""Steps move that much more slowly, in proportion, than single weights: all levels go with them."""


class TiedForm(ABC):
    """A weight of a form.

    Attributes:
        leaf: The tensor that is trained.
        size: About how large its elements are; what a learning rate is multiplied with.
    """

    name: ClassVar[str]
    """The field's word for it, for reports."""

    def __init__(self, leaf: np.ndarray, mask: np.ndarray | None = None) -> None:
        """Start with the values there are.

        Args:
            leaf: What is trained, float32.
            mask: Which elements of it may change; all by default.
        """
        self.leaf = torch.from_numpy(np.array(leaf, np.float32))
        if self.leaf.dim() == _PLANES:
            self.leaf = self.leaf.contiguous(memory_format=torch.channels_last)
        self.leaf.requires_grad_()
        self._mask = None if mask is None or mask.all() else torch.from_numpy(mask)
        moving = leaf if mask is None else leaf[mask]
        self.size = float(np.sqrt(np.mean(np.square(moving)))) if moving.size else 0.0

    @property
    def count(self) -> int:
        """Numbers that are trained."""
        return int(self.leaf.numel() if self._mask is None else self._mask.sum())

    @abstractmethod
    def value(self) -> Tensor:
        """Return the weight, through which gradients reach the leaf."""

    @abstractmethod
    def exact(self) -> np.ndarray:
        """Return the weight as it is written, float32, of the form it had."""

    def held(self, gradient: Tensor) -> Tensor:
        """Return a gradient of the leaf without what must not move."""
        return gradient if self._mask is None else gradient * self._mask


class Free(TiedForm):
    """Every element for itself; zeros stay where there is a mask."""

    name = "free"

    def value(self) -> Tensor:
        """Return the leaf."""
        return self.leaf

    def exact(self) -> np.ndarray:
        """Return the leaf."""
        found: np.ndarray = self.leaf.detach().contiguous().numpy().copy()
        return found


class Book(TiedForm):
    """Few values, or blocks of values, and who has which; zeros in them stay."""

    name = "shared"

    def __init__(self, words: np.ndarray, index: np.ndarray, shape: tuple[int, ...]) -> None:
        """Start with the words [words, elements of a block] and the word of each block."""
        super().__init__(words, words != 0)
        self._index, self._shape = torch.from_numpy(index.astype(np.int64)), shape

    def value(self) -> Tensor:
        """Look every block up."""
        return self.leaf.index_select(0, self._index).reshape(self._shape)

    def exact(self) -> np.ndarray:
        """Look every block up."""
        found: np.ndarray = self.value().detach().numpy()
        return found


class TrainedSteps(TiedForm):
    """Integers on a grid that stay, times steps that are trained, in proportion."""

    name = "grid"

    def __init__(self, grid: Grid, shape: tuple[int, ...], precision: int | None) -> None:
        """Start with the steps there are.

        Args:
            grid: TrainedSteps of blocks, and integers.
            shape: Shape of the weight.
            precision: Bits that steps are rounded to, None for all of float32.
        """
        super().__init__(np.zeros(grid.scales.shape, np.float32))
        self.size = _STEPS_RATE
        self._grid, self._shape, self._precision = grid, shape, precision
        rows, columns = grid.levels.shape
        down = -(-rows // grid.rows_each)
        self._start = torch.from_numpy(grid.scales.astype(np.float32).reshape(down, -1))
        self._levels = torch.from_numpy(
            grid.levels.reshape(down, rows // down, -1, columns // self._start.shape[1])
        )

    def value(self) -> Tensor:
        """Multiply."""
        steps = self._start * torch.exp(self.leaf.reshape(self._start.shape))
        return (self._levels * steps[:, None, :, None]).reshape(self._shape)

    def exact(self) -> np.ndarray:
        """Multiply steps of a few bits, or of float32."""
        start = self._start.numpy().astype(np.float64).reshape(-1)
        steps = start * np.exp(self.leaf.detach().numpy().astype(np.float64))
        if self._precision is not None:
            mantissa, exponent = np.frexp(steps)
            scaled = np.rint(np.ldexp(mantissa, self._precision))
            steps = np.ldexp(scaled, exponent - self._precision)
        grid = self._grid
        new = Grid(steps.astype(np.float32), grid.levels, grid.rows_each, grid.columns_each)
        return values_of(new, grid.levels.shape).reshape(self._shape)


class Stepped(TiedForm):
    """Multiples of steps that stay; gradients pass the rounding to the nearest of them."""

    name = "levels"

    def __init__(
        self, values: np.ndarray, steps: np.ndarray, mask: np.ndarray | None = None
    ) -> None:
        """Start with the values there are.

        Args:
            values: Multiples of the steps.
            steps: Above zero, one for each value (broadcast).
            mask: Which values may change; all by default.
        """
        super().__init__(values, mask)
        self._exact = np.asarray(steps, np.float64)
        self._steps = torch.from_numpy(self._exact.astype(np.float32))

    def value(self) -> Tensor:
        """Round."""
        return rounded(self.leaf / self._steps) * self._steps

    def exact(self) -> np.ndarray:
        """Round."""
        levels = np.rint(self.leaf.detach().numpy().astype(np.float64) / self._exact)
        return np.asarray(levels * self._exact + 0.0, np.float32)


class TrainedScales(TiedForm):
    """Steps of a grid that the model itself has, in proportion to what they were."""

    name = "steps"

    def __init__(self, values: np.ndarray) -> None:
        """Start with the steps there are."""
        super().__init__(np.zeros(values.shape, np.float32))
        self.size = _STEPS_RATE
        self._start = torch.from_numpy(np.array(values, np.float32))

    def value(self) -> Tensor:
        """Multiply."""
        return self._start * torch.exp(self.leaf)

    def exact(self) -> np.ndarray:
        """Multiply."""
        found: np.ndarray = self.value().detach().numpy().copy()
        return found


class Codes(TiedForm):
    """Integers of a grid that the model itself has; gradients pass the rounding."""

    name = "integers"

    def __init__(self, values: np.ndarray, mask: np.ndarray | None, low: int, high: int) -> None:
        """Start with the integers there are.

        Args:
            values: The integers, float32.
            mask: Which of them may change; all by default.
            low: The least that the type holds.
            high: The largest.
        """
        super().__init__(values, mask)
        self._range = low, high

    def value(self) -> Tensor:
        """Round."""
        return torch.clamp(rounded(self.leaf), *self._range)

    def exact(self) -> np.ndarray:
        """Round."""
        found: np.ndarray = self.value().detach().contiguous().numpy().copy()
        return found
