"""Forms of weights: what of them is trained, and what they are made of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ocompress.archive.grids import Grid, values_of
from ocompress.training.quantization_rules import rounded
from ocompress.training.trained_numbers import TrainedNumbers

_STEPS_RATE = 0.1
"""Steps move that much more slowly, in proportion, than single weights: all levels go with them."""


class TiedForm(ABC):
    """A weight of a form.

    Attributes:
        leaves: What is trained of it.
    """

    name: ClassVar[str]
    """The field's word for it, for reports."""

    def __init__(self, *leaves: TrainedNumbers) -> None:
        """Start with what is trained."""
        self.leaves = leaves

    @property
    def leaf(self) -> Tensor:
        """The numbers of the first leaf."""
        return self.leaves[0].tensor

    @property
    def count(self) -> int:
        """Numbers that are trained."""
        return self.leaves[0].count

    @property
    def unrounded(self) -> TrainedNumbers | None:
        """The leaf whose numbers levels are rounded of, one after the other; None of others."""
        return None

    @property
    def wavering(self) -> TrainedNumbers | None:
        """The leaf whose numbers signs are of, settled one after the other; None of others."""
        return None

    @abstractmethod
    def value(self) -> Tensor:
        """Return the weight, through which gradients reach the leaves."""

    @abstractmethod
    def exact(self) -> np.ndarray:
        """Return the weight as it is written, float32, of the form it had."""


class Free(TiedForm):
    """Every element for itself; zeros stay where there is a mask."""

    name = "free"

    def __init__(self, values: np.ndarray, mask: np.ndarray | None = None) -> None:
        """Start with the values there are, of which those of a mask may change."""
        super().__init__(TrainedNumbers(values, mask))

    def keep(self, mask: Tensor) -> None:
        """Set what is not in a mask to zero, for good."""
        with torch.no_grad():
            self.leaf.mul_(mask)
        self.leaves[0].mask = mask

    def value(self) -> Tensor:
        """Return the leaf."""
        return self.leaf

    def exact(self) -> np.ndarray:
        """Return the leaf."""
        found: np.ndarray = self.leaf.detach().contiguous().numpy().copy()
        return found


class Tied(TiedForm):
    """Numbers that many places share, each with a sign of its own; zeros stay."""

    name = "tied"

    def __init__(self, numbers: np.ndarray, index: np.ndarray, signs: np.ndarray) -> None:
        """Start with the numbers there are.

        Args:
            numbers: The numbers, [n].
            index: Which one each place has, [elements].
            signs: What it is multiplied with there, of the weight's shape.
        """
        super().__init__(TrainedNumbers(numbers, numbers != 0))
        self._index = torch.from_numpy(index.reshape(-1).astype(np.int64))
        self._signs = torch.from_numpy(signs.astype(np.float32))

    def value(self) -> Tensor:
        """Look every place up."""
        return self.leaf.index_select(0, self._index).reshape(self._signs.shape) * self._signs

    def exact(self) -> np.ndarray:
        """Look every place up."""
        found: np.ndarray = (self.value().detach() + 0.0).numpy()
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
        super().__init__(TrainedNumbers(np.zeros(grid.scales.shape), size=_STEPS_RATE))
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
        return (self.levels() * steps[:, None, :, None]).reshape(self._shape)

    def levels(self) -> Tensor:
        """Return what integers count for now, [blocks down, rows, blocks across, columns]."""
        return self.whole()

    def whole(self) -> Tensor:
        """Return the integers that are written, of the same shape."""
        return self._levels

    def exact(self) -> np.ndarray:
        """Multiply steps of a few bits, or of float32."""
        start = self._start.numpy().astype(np.float64).reshape(-1)
        steps = start * np.exp(self.leaf.detach().numpy().astype(np.float64))
        if self._precision is not None:
            mantissa, exponent = np.frexp(steps)
            scaled = np.rint(np.ldexp(mantissa, self._precision))
            steps = np.ldexp(scaled, exponent - self._precision)
        grid = self._grid
        levels = self.whole().numpy().reshape(grid.levels.shape)
        new = Grid(
            steps.astype(np.float32),
            levels.astype(grid.levels.dtype),
            grid.rows_each,
            grid.columns_each,
        )
        return values_of(new, grid.levels.shape).reshape(self._shape) + np.float32(0)


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
        super().__init__(TrainedNumbers(values, mask))
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
        super().__init__(TrainedNumbers(np.zeros(values.shape), size=_STEPS_RATE))
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
        super().__init__(TrainedNumbers(values, mask))
        self._range = low, high

    def value(self) -> Tensor:
        """Round."""
        return torch.clamp(rounded(self.leaf), *self._range)

    def exact(self) -> np.ndarray:
        """Round."""
        found: np.ndarray = self.value().detach().contiguous().numpy().copy()
        return found
