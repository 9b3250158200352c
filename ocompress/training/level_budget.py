"""Levels that may become zero and zeros that may become levels, at no more bits than before.

Each level has a price, so that training makes the divergence and the bits of a coded file small
together. The price is what keeps the bits at what they were: it rises while levels take more than
that, and falls while they take less.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from ocompress.coding import LevelRates
from ocompress.training.trained_numbers import TrainedNumbers

_EVERY = 20
"""Steps between two looks at how many bits levels take."""
_AIM, _MOST = 0.996, 1.01
"""Bits that the price aims at, in proportion to those before, and those that are accepted."""
_FIRST = 2.0
"""First price of a bit, in proportion to the loss of a step shared out among all bits: where levels
were rounded to cost least, another bit saves about as much."""
_RISE, _FASTEST = 2.0, 0.2
"""Powers of e that the price changes by at a look, in proportion to what is beyond the aim, and
at most."""


class Levelled(Protocol):
    """A weight made of levels, whole numbers."""

    @property
    def latent(self) -> TrainedNumbers:
        """Numbers that are trained, one for each level, which is what they are rounded to."""

    def whole(self) -> np.ndarray:
        """Return the levels, [rows, columns]."""


class LevelBudget:
    """What all levels of a model may take in a coded file.

    Attributes:
        price: What a bit costs, in units of the loss; 0 before the first step.
        bits: How many they took at the last look.
    """

    def __init__(self, forms: Sequence[Levelled]) -> None:
        """Let them take what they take now.

        Args:
            forms: Weights whose levels may become zero and the other way round.
        """
        self._forms, self._steps = list(forms), 0
        self._slopes: list[torch.Tensor] = []
        self.price = self.bits = 0.0
        self._look()
        self._limit = self.bits

    @property
    def is_kept(self) -> bool:
        """Whether the levels there are take about as many bits as before, or fewer."""
        return self._count() <= _MOST * self._limit

    def begin(self) -> None:
        """Begin a pass over the samples with a look."""
        self._steps = 0

    def charge(self, loss: float) -> None:
        """Add the price of bits to the gradients of a step.

        Args:
            loss: The loss of the step.
        """
        if not self.price:
            self.price = _FIRST * loss / max(self._limit, 1.0)
        if self._steps % _EVERY == 0:
            self._look()
            beyond = self.bits / max(_AIM * self._limit, 1.0) - 1
            self.price *= float(np.exp(np.clip(_RISE * beyond, -_FASTEST, _FASTEST)))
        self._steps += 1
        for form, slope in zip(self._forms, self._slopes, strict=True):
            tensor = form.latent.tensor
            if tensor.grad is not None:
                tensor.grad += self.price * slope * torch.sign(tensor.detach())

    def _count(self) -> float:
        """Return the bits that levels take now."""
        found = (form.whole()[None] for form in self._forms)
        return sum(float(LevelRates.of(levels).bits(levels).sum()) for levels in found)

    def _look(self) -> None:
        """Find out what levels take, and what the next larger ones would take more."""
        self.bits, self._slopes = 0.0, []
        for form in self._forms:
            levels = form.whole()[None]
            rates = LevelRates.of(levels)
            self.bits += float(rates.bits(levels).sum())
            tensor = form.latent.tensor.detach()
            below = np.floor(np.abs(tensor.numpy())).astype(np.int64).reshape(levels.shape)
            more = np.maximum(rates.bits(below + 1) - rates.bits(below), 0.0)
            slope = torch.from_numpy(more.astype(np.float32)).reshape(tensor.shape)
            self._slopes.append(slope)
