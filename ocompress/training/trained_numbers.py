"""The numbers that are trained of a weight."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_PLANES = 4


class TrainedNumbers:
    """Numbers that are trained.

    Attributes:
        tensor: The numbers, float32.
        size: About how large they are; what a learning rate is multiplied with.
        mask: Which of them may change; None for all.
        most: What their magnitudes sum up to at most; None for anything.
        pace: What their rate is multiplied with beside that.
        settled: Of numbers that are rounded one after the other, which are whole for good; None
            where all are rounded in every step.
    """

    def __init__(
        self,
        values: np.ndarray,
        mask: np.ndarray | None = None,
        size: float | None = None,
        *,
        bounded: bool = False,
    ) -> None:
        """Start with the values there are.

        Args:
            values: The numbers.
            mask: Which of them may change; all by default.
            size: About how large they are; their root mean square by default.
            bounded: Whether magnitudes may sum up to no more than they do: levels that spread
                would take more bits.
        """
        self.most = float(np.abs(values).sum(dtype=np.float64)) if bounded else None
        self.tensor = torch.from_numpy(np.array(values, np.float32))
        if self.tensor.dim() == _PLANES:
            self.tensor = self.tensor.contiguous(memory_format=torch.channels_last)
        self.tensor.requires_grad_()
        self.mask = None if mask is None or mask.all() else torch.from_numpy(mask)
        moving = values if mask is None else values[mask]
        mean = float(np.sqrt(np.mean(np.square(moving)))) if moving.size else 0.0
        self.size = mean if size is None else size
        self.pace = 1.0
        self.settled: Tensor | None = None

    @property
    def count(self) -> int:
        """Numbers that may change."""
        return int(self.tensor.numel() if self.mask is None else self.mask.sum())

    def bound(self) -> None:
        """Take the same from all magnitudes where they sum up to too much."""
        if self.most is None:
            return
        with torch.no_grad():
            sizes = self.tensor.abs()
            excess = float(sizes.sum(dtype=torch.float64)) - self.most
            if excess > 0:
                loose = sizes > 0 if self.settled is None else (sizes > 0) & ~self.settled
                less = loose * (excess / max(int(torch.count_nonzero(loose)), 1))
                self.tensor.copy_(torch.copysign((sizes - less).clamp_min(0), self.tensor))

    def held(self, gradient: Tensor) -> Tensor:
        """Return a gradient without what must not move."""
        if self.settled is not None:
            return gradient * ~self.settled
        return gradient if self.mask is None else gradient * self.mask

    def begin_to_settle(self) -> None:
        """Round no number in a step, but for those that do not change, until it is settled."""
        none = torch.zeros(self.tensor.shape, dtype=torch.bool)
        self.settled = none if self.mask is None else ~self.mask

    def settle(self, now: Tensor) -> None:
        """Round numbers for good, those settled before among them."""
        self.settled = now

    def levels(self, whole: Tensor) -> Tensor:
        """Return what they count for in a step, where gradients pass the rounding.

        Args:
            whole: What they are rounded to.
        """
        if self.settled is None:
            return self.tensor + (whole - self.tensor).detach()
        return torch.where(self.settled, whole, self.tensor)


class Places:
    """Where numbers stand in an array that is zero elsewhere: only they take time in a step."""

    def __init__(self, filled: np.ndarray) -> None:
        """Remember which places have a number."""
        self._shape = filled.shape
        self._index = None if filled.all() else torch.from_numpy(np.flatnonzero(filled))

    def filled(self, numbers: Tensor) -> Tensor:
        """Return the array; gradients reach the numbers."""
        if self._index is None:
            return numbers.reshape(self._shape)
        zeros = numbers.new_zeros(int(np.prod(self._shape)))
        return zeros.index_put((self._index,), numbers).reshape(self._shape)
