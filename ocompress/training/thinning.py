"""Zeros that become more while weights are trained (Zhu and Gupta, To prune or not to prune, 2017).

What goes next is what costs least by the optimal brain damage of LeCun et al. (1990): the square of
a weight times the mean square of its gradient, which Adam keeps anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ocompress.training.forms import Free

_BEGIN, _END = 0.03, 0.6
"""Parts of all steps between which weights go; the rest is for those that are left."""
_EVERY = 50
"""Steps from one cut to the next."""


class Thinning:
    """Zeros of several weights together, whose share grows as a cubic does, fast at first.

    Attributes:
        forms: The weights.
        is_done: Whether as many are zero as shall be.
    """

    def __init__(self, forms: Mapping[str, Free], share: float) -> None:
        """Start with the zeros there are.

        Args:
            forms: The weights.
            share: Part of their elements that is zero in the end; no zero is ever undone.
        """
        self.forms, self._share = list(forms.values()), share
        self._total = sum(form.leaf.numel() for form in self.forms)
        self._start = self.zeros
        self.is_done = self._start >= share

    @property
    def zeros(self) -> float:
        """Part of the elements that is zero for good."""
        left = sum(form.count for form in self.forms)
        return 1 - left / self._total if self._total else 1.0

    def step(self, done: int, part: float, optimizer: Any) -> None:
        """Set some to zero where it is time.

        Args:
            done: Steps of training so far.
            part: How far training is, from 0 to 1.
            optimizer: Adam; what it remembers of weights that go is forgotten.
        """
        gone = (part - _BEGIN) / (_END - _BEGIN)
        if self.is_done or gone < 0 or (done % _EVERY and gone < 1):
            return
        left = (1 - min(gone, 1.0)) ** 3
        self._cut(self._share + (self._start - self._share) * left, optimizer)
        self.is_done = gone >= 1

    def finish(self, optimizer: Any) -> None:
        """Set to zero what is still to go, as training ends early."""
        if not self.is_done:
            self._cut(self._share, optimizer)
            self.is_done = True

    def _cut(self, share: float, optimizer: Any) -> None:
        states = [optimizer.state.get(form.leaf, {}) for form in self.forms]
        costs = torch.cat([_costs(f, s) for f, s in zip(self.forms, states, strict=True)])
        keep = self._total - round(share * self._total)
        kept = torch.zeros(self._total, dtype=torch.bool)
        kept[torch.topk(costs, keep).indices] = True
        kept &= costs >= 0
        sizes = [form.leaf.numel() for form in self.forms]
        for form, state, part in zip(self.forms, states, kept.split(sizes), strict=True):
            mask = part.reshape(form.leaf.shape)
            form.keep(mask)
            for name in ("exp_avg", "exp_avg_sq"):
                if name in state:
                    state[name].mul_(mask)


def _costs(form: Free, state: Mapping[str, Tensor]) -> Tensor:
    """Return what each element is worth, below zero for those that are gone."""
    found = form.leaf.detach().square()
    if "exp_avg_sq" in state:
        found = found * state["exp_avg_sq"]
    mask = form.leaves[0].mask
    found = found if mask is None else torch.where(mask, found, -torch.ones_like(found))
    return found.reshape(-1)
