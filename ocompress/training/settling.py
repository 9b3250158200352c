"""Levels and signs that are settled for good, some more and more, while all others make up for it.

Zhou et al., Incremental Network Quantization, 2017. Straight through the rounding of all levels,
training does not know what they cost: where few levels are not zero, most of the loss is theirs.
What matters most comes first, by the mean square of the gradient, which Adam keeps anyway: what is
left to make up for it then costs little when its turn comes, as in the order of GPTQ.

Signs are whole in every step, but as long as they may many of them go back and forth, and all
others are trained beside signs that nobody will write. They are settled in the same way, in each
weight by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ocompress.training.trained_numbers import TrainedNumbers

_BEGIN, _END = 0.05, 0.9
"""Parts of training between which numbers are settled; the rest is for steps, scales, biases."""
_EVERY = 50
"""Steps from one rounding to the next."""


class _Group:
    """Numbers that are ranked together."""

    def __init__(self, leaves: Sequence[TrainedNumbers]) -> None:
        self.leaves = leaves
        self._total = sum(leaf.count for leaf in leaves)
        for leaf in leaves:
            leaf.begin_to_settle()

    @property
    def is_done(self) -> bool:
        """Whether all are settled."""
        return all(bool(leaf.settled.all()) for leaf in self.leaves if leaf.settled is not None)

    def settle(self, share: float, optimizer: Any) -> None:
        """Settle a share of them, those that were settled before among them."""
        states = [optimizer.state.get(leaf.tensor, {}) for leaf in self.leaves]
        felt = torch.cat([_felt(f, s) for f, s in zip(self.leaves, states, strict=True)])
        fixed = len(felt) - self._total
        chosen = torch.zeros(len(felt), dtype=torch.bool)
        chosen[torch.topk(felt, fixed + round(share * self._total)).indices] = True
        sizes = [leaf.tensor.numel() for leaf in self.leaves]
        for leaf, state, part in zip(self.leaves, states, chosen.split(sizes), strict=True):
            now = part.reshape(leaf.tensor.shape)
            leaf.settle(now)
            if "exp_avg" in state:
                state["exp_avg"].mul_(~now)


class Settling:
    """Levels of several weights together, of which more and more are whole numbers for good.

    Signs are among them, whose values are whole before they are settled.

    Attributes:
        leaves: The numbers that levels are rounded of, and those that signs are of.
    """

    def __init__(
        self, levels: Sequence[TrainedNumbers], signs: Sequence[TrainedNumbers] = ()
    ) -> None:
        """Start with none that is settled."""
        self.leaves = [*levels, *signs]
        self._levels = _Group(levels)
        self._groups = [self._levels, *(_Group([leaf]) for leaf in signs)]

    @property
    def is_whole(self) -> bool:
        """Whether all levels are rounded."""
        return self._levels.is_done

    def step(self, done: int, part: float, optimizer: Any) -> None:
        """Settle some where it is time.

        Args:
            done: Steps of training so far.
            part: How far training is, from 0 to 1.
            optimizer: Adam; what it remembers of the direction of numbers that are settled is
                forgotten.
        """
        share = (part - _BEGIN) / (_END - _BEGIN)
        if share < 0 or (done % _EVERY and share < 1):
            return
        for group in self._groups:
            if not group.is_done:
                group.settle(min(share, 1.0), optimizer)

    def finish(self, optimizer: Any) -> None:
        """Round what is left, as training ends early."""
        if not self.is_whole:
            self._levels.settle(1.0, optimizer)


def _felt(leaf: TrainedNumbers, state: Any) -> Tensor:
    """Return how much each number matters, without end for those that are rounded or stay."""
    known = state.get("exp_avg_sq", torch.zeros_like(leaf.tensor))
    settled = leaf.settled
    found = known if settled is None else torch.where(settled, torch.inf, known)
    return found.reshape(-1)
