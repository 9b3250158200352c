"""Forms of weights whose elements choose anew among the values there are, straight-through.

Beside the values that elements share, a number is trained for each element, and the element is the
value that is nearest to it. Gradients pass the choice as if it were not there.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from ocompress.archive.grids import Grid
from ocompress.training.forms import TiedForm, TrainedSteps
from ocompress.training.sign_planes import few_bits, short_columns, summed, unit_of
from ocompress.training.trained_numbers import Places, TrainedNumbers
from ocompress.training.word_form import Blocks, Book

_FEW_BITS = 0.002
"""Bits for each weight of a model that numbers of the columns of one of its matrices take, at most,
where it has none yet."""
_COLUMN = 16
"""Bits of such a number."""
_MATRIX = 2
_KERNELS = 0.03
"""Signs of kernels move that much more slowly than those of matrices: all places agree where they
should go, so that many would change at once."""
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
    """Sums of planes of signs, with numbers for each row and plane, and for each column.

    Numbers of columns are trained in proportion to what they are, where told so. Signs stay unless
    they are told to move; zeros always do.
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
        super().__init__(TrainedNumbers(scales))
        self._signs, self._shape = torch.from_numpy(signs.astype(np.float32)), shape
        self._turned = turned
        self._columns = torch.from_numpy(columns.astype(np.float32))
        self._latent: TrainedNumbers | None = None
        self._ratios: TrainedNumbers | None = None
        if moves:
            self._latent = TrainedNumbers(signs * scales.T[:, :, None], signs != 0)
            if len(shape) > _MATRIX:
                self._latent.pace = _KERNELS
            self.leaves = (*self.leaves, self._latent)
        if (columns != columns[0]).any():
            self.train_columns()

    @property
    def count(self) -> int:
        """Numbers of rows and columns, and signs that may change."""
        return sum(leaf.count for leaf in self.leaves)

    @property
    def wavering(self) -> TrainedNumbers | None:
        """The numbers that signs are of."""
        return self._latent

    @property
    def columns(self) -> int:
        """Columns of the matrix."""
        return len(self._columns)

    def train_columns(self) -> None:
        """Train a number for each column of a single plane; one keeps its own, as rows have theirs.

        Of several planes, archives know columns only by few numbers that are the same.
        """
        if self._ratios is None and len(self._signs) == 1:
            free = np.ones(len(self._columns), bool)
            free[unit_of(self._columns.numpy(), self._signs.numpy())] = False
            self._ratios = TrainedNumbers(np.zeros(len(free)), free, size=1.0)
            self.leaves = (*self.leaves, self._ratios)

    def _planes(self) -> Tensor:
        """Return the signs now; a weight beyond its scale no longer pulls (Hubara et al., 2016)."""
        if self._latent is None:
            return self._signs
        latent, scales = self._latent.tensor, self.leaf.detach()
        unit = latent / scales.T[:, :, None].abs().clamp_min(1e-12)
        found = torch.copysign(self._signs.abs(), latent.detach())
        return unit.clamp(-2, 2) + (found - unit.clamp(-2, 2)).detach()

    def _by_column(self) -> Tensor:
        """Return numbers of columns, of so few bits as files have; gradients pass the rounding."""
        if self._ratios is None:
            return self._columns
        found = self._columns * torch.exp(self._ratios.tensor)
        short = short_columns(found.detach().numpy().astype(np.float64)).astype(np.float32)
        return found + (torch.from_numpy(short) - found.detach())

    def begin_at(self, weight: np.ndarray) -> bool:
        """Start from what the weight was before it had signs: what is small there changes first.

        Beside a sign that may change, all start as far from changing otherwise. LeNet-300-100 with
        signs for all weights, 20,000 images, 15 epochs: divergence on held-out images 0.0467 so,
        0.0618 otherwise.

        Signs of kernels, which move slowly, stay as they are at first.

        Args:
            weight: Of the same shape.

        Returns:
            Whether there are other signs now.
        """
        if self._latent is None:
            return False
        matrix = weight.reshape(self._shape[0], -1)
        left = torch.from_numpy(np.array(matrix.T if self._turned else matrix, np.float32))
        left = left / self._columns
        stays = len(self._shape) > _MATRIX
        with torch.no_grad():
            for plane, scales in zip(self._latent.tensor, self.leaf.T, strict=True):
                plane.copy_(torch.copysign(left, plane) if stays else left)
                left = left - torch.copysign(scales[:, None], plane)
        return not stays

    def value(self) -> Tensor:
        """Add up, and multiply."""
        planes = (self._planes() * self.leaf.T[:, :, None]).sum(0)
        found = planes * self._by_column()
        return (found.T if self._turned else found).reshape(self._shape)

    def exact(self) -> np.ndarray:
        """Add up with numbers of few bits, so that all sums and products are exact."""
        scales = few_bits(self.leaf.detach().numpy().astype(np.float64))
        columns = self._by_column().detach().numpy().astype(np.float64)
        found = summed(scales, self._planes().detach().numpy(), columns)
        return np.ascontiguousarray(found.T if self._turned else found).reshape(self._shape)


def train_columns(forms: Iterable[TiedForm]) -> None:
    """Let signs have numbers for columns, too, where these are few beside all weights.

    Where a column has few rows, `binarize` gives it none, and a first layer loses most by that.

    Args:
        forms: All weights that are trained.
    """
    known = list(forms)
    total = sum(form.value().numel() for form in known)
    for form in known:
        if isinstance(form, Signs) and form.columns * _COLUMN <= _FEW_BITS * total:
            form.train_columns()
