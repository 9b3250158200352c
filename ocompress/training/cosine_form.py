"""Weights that are sums of cosines over pictures, whose coefficients are trained."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ocompress.archive.cosines import Coefficients, cosines, summed
from ocompress.training.forms import TiedForm
from ocompress.training.trained_numbers import Places, TrainedNumbers

_MOST = 1 << 24
"""Integers up to which float32 has all."""


class Cosines(TiedForm):
    """Whole coefficients, of which zeros stay, and one step that stays."""

    name = "cosines"

    def __init__(self, found: Coefficients, shape: tuple[int, ...], *, turned: bool) -> None:
        """Start with the coefficients there are.

        Args:
            found: The coefficients.
            shape: Shape of the weight.
            turned: Whether rows are the columns of the weight.
        """
        levels = found.levels.astype(np.float32)
        self._places = Places(levels != 0)
        super().__init__(TrainedNumbers(levels[levels != 0], bounded=True))
        self._start, self._shape, self._turned = found, shape, turned
        self._largest = float(np.abs(levels).max())
        plane = found.plane
        self._down, self._across = (
            torch.from_numpy(cosines(extent).astype(np.float32))
            for extent in (plane.down, plane.across)
        )

    @property
    def unrounded(self) -> TrainedNumbers:
        """The coefficients that are not zero."""
        return self.leaves[0]

    def _rounded(self) -> Tensor:
        return torch.round(self.leaf.detach()).clamp(-self._largest, self._largest)

    def value(self) -> Tensor:
        """Round, and add the cosines up."""
        plane = self._start.plane
        levels = self._places.filled(self.leaves[0].levels(self._rounded()))
        turned = levels.reshape(len(levels), -1, plane.down, plane.across, plane.apart)
        across = torch.einsum("rbvus,xu->rbvxs", turned, self._across)
        found = torch.einsum("rbvxs,yv->rbyxs", across, self._down).reshape(levels.shape)
        found = found * self._start.step
        return (found.T if self._turned else found).reshape(self._shape)

    def exact(self) -> np.ndarray:
        """Round, and add up in whole numbers, of which float32 has all."""
        levels = self._places.filled(self._rounded()).numpy().astype(np.int64)
        sums = summed(levels, self._start.plane)
        single = (sums * self._start.step).astype(np.float32)
        if np.abs(sums).max() > _MOST or not (single == sums * self._start.step).all():
            sums = summed(self._start.levels, self._start.plane)  # too large; so is no other
            single = (sums * self._start.step).astype(np.float32)
        found = single + np.float32(0)
        return np.ascontiguousarray(found.T if self._turned else found).reshape(self._shape)
