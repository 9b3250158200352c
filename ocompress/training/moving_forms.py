"""Forms of weights whose elements choose anew among the values there are, straight-through.

Beside the values that elements share, a number is trained for each element, and the element is the
value that is nearest to it. Gradients pass the choice as if it were not there.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ocompress.archive.grids import Grid
from ocompress.training.forms import TiedForm, TrainedSteps
from ocompress.training.sign_planes import few_bits, summed
from ocompress.training.trained_numbers import Places, TrainedNumbers
from ocompress.training.word_form import Blocks, Book

_LOOKS = 8
"""Steps between two looks at which block of values is nearest."""


class MovingLevels(TrainedSteps):
    """Integers on a grid, and steps; zeros stay, and no integer is larger than the largest was."""

    name = "levels"

    def __init__(self, grid: Grid, shape: tuple[int, ...], precision: int | None) -> None:
        """Start with the steps and integers there are."""
        super().__init__(grid, shape, precision)
        start = self._levels.numpy().astype(np.float32)
        self._low, self._high = float(start.min()), float(start.max())
        self._has_zeros = bool((start == 0).any())
        self._places = Places(start != 0)
        self.leaves = (*self.leaves, TrainedNumbers(start[start != 0], bounded=True))

    @property
    def count(self) -> int:
        """Integers that may change, and steps."""
        return sum(leaf.count for leaf in self.leaves)

    @property
    def unrounded(self) -> TrainedNumbers:
        """The integers that are not zero, before they are rounded."""
        return self.leaves[1]

    def levels(self) -> Tensor:
        """Round, straight-through, or those that are settled."""
        return self._places.filled(self.leaves[1].levels(self._rounded()))

    def whole(self) -> Tensor:
        """Round to integers that there were between the least and the largest."""
        return self._places.filled(self._rounded())

    def _rounded(self) -> Tensor:
        latent = self.leaves[1].tensor.detach()
        found = torch.round(latent).clamp(self._low, self._high)
        if not self._has_zeros:
            found = torch.where(found == 0, torch.copysign(torch.ones_like(found), latent), found)
        return found


class Nearest(Book):
    """Few values, or blocks of values; zeros stay, and other elements choose the nearest."""

    def __init__(self, blocks: Blocks, shape: tuple[int, ...]) -> None:
        """Start with the words, and the word of each block."""
        super().__init__(blocks, shape)
        words, free = blocks.words, blocks.free[blocks.index]
        self.leaves = (*self.leaves, TrainedNumbers(words[blocks.index], free))
        self._looks = 0
        self._zeros = words.shape[1] == 1 and bool((words == 0).any())

    def value(self) -> Tensor:
        """Choose, and look up."""
        words, latent = (leaf.tensor for leaf in self.leaves)
        if words.shape[1] == 1:
            self._index = self._nearest_value(words.detach()[:, 0], latent.detach()[:, 0])
        elif self._looks % _LOOKS == 0:
            self._index = _nearest_block(words.detach(), latent.detach())
        self._looks += 1
        found = words.index_select(0, self._index)
        return self._blocks.joined(found + (latent - latent.detach()), self._shape)

    def _nearest_value(self, words: Tensor, latent: Tensor) -> Tensor:
        ordered, order = words.sort()
        if self._zeros:
            ordered, order = ordered[words[order] != 0], order[words[order] != 0]
        found = order[torch.bucketize(latent, (ordered[1:] + ordered[:-1]) / 2)]
        mask = self.leaves[1].mask
        return found if mask is None else torch.where(mask[:, 0], found, self._index)


def _nearest_block(words: Tensor, blocks: Tensor) -> Tensor:
    """Return the nearest word of each block."""
    return (words.square().sum(1) - 2 * blocks @ words.T).argmin(1)


class Signs(TiedForm):
    """Sums of planes of signs, with scales for each row and plane, and for each column.

    Scales of columns stay. Signs do unless they are told to move; zeros always do.
    """

    name = "signs"

    def __init__(
        self,
        scales: np.ndarray,
        signs: np.ndarray,
        columns: np.ndarray,
        shape: tuple[int, ...],
        *,
        turned: bool,
        moves: bool,
    ) -> None:
        """Start with the numbers there are.

        Args:
            scales: [rows, planes].
            signs: -1, 1, or 0 for what stays zero, [planes, rows, columns].
            columns: Above zero, [columns].
            shape: Shape of the weight.
            turned: Whether rows are the columns of the weight.
            moves: Whether signs are trained.
        """
        leaves = [TrainedNumbers(scales)]
        if moves:
            leaves.append(TrainedNumbers(signs * scales.T[:, :, None], signs != 0))
        super().__init__(*leaves)
        self._signs, self._shape = torch.from_numpy(signs.astype(np.float32)), shape
        self._turned = turned
        self._columns = torch.from_numpy(columns.astype(np.float32))

    @property
    def count(self) -> int:
        """Scales, and signs that may change."""
        return sum(leaf.count for leaf in self.leaves)

    def _planes(self) -> Tensor:
        """Return the signs now; a weight beyond its scale no longer pulls (Hubara et al., 2016)."""
        if len(self.leaves) == 1:
            return self._signs
        latent, scales = self.leaves[1].tensor, self.leaves[0].tensor.detach()
        unit = latent / scales.T[:, :, None].abs().clamp_min(1e-12)
        found = torch.copysign(self._signs.abs(), latent.detach())
        return unit.clamp(-2, 2) + (found - unit.clamp(-2, 2)).detach()

    def begin_at(self, weight: np.ndarray) -> bool:
        """Start from what the weight was before it had signs: what is small there changes first.

        Beside a sign that may change, all start as far from changing otherwise. LeNet-300-100 with
        signs for all weights, 20,000 images, 15 epochs: divergence on held-out images 0.0467 so,
        0.0618 otherwise.

        Args:
            weight: Of the same shape.

        Returns:
            Whether signs may change at all.
        """
        if len(self.leaves) == 1:
            return False
        matrix = weight.reshape(self._shape[0], -1)
        left = torch.from_numpy(np.array(matrix.T if self._turned else matrix, np.float32))
        left = left / self._columns
        with torch.no_grad():
            for plane, scales in zip(self.leaves[1].tensor, self.leaf.T, strict=True):
                plane.copy_(left)
                left = left - torch.copysign(scales[:, None], plane)
        return True

    def value(self) -> Tensor:
        """Add up, and multiply."""
        planes = (self._planes() * self.leaf.T[:, :, None]).sum(0)
        found = planes * self._columns
        return (found.T if self._turned else found).reshape(self._shape)

    def exact(self) -> np.ndarray:
        """Add up with scales of a few bits, so that all sums are exact."""
        scales = few_bits(self.leaf.detach().numpy().astype(np.float64))
        found = summed(scales, self._planes().detach().numpy(), self._columns.numpy())
        return np.ascontiguousarray(found.T if self._turned else found).reshape(self._shape)
