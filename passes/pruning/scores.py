"""Scores of what may go, and the line between what goes and what stays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.lossy.layer_weights import LayerWeight
from passes.pruning import magnitude
from passes.pruning.costs import Costed
from passes.pruning.patterns import Pattern

Chosen = Callable[[LayerWeight], np.ndarray]
"""Says of a candidate which units go, in one dimension; to be asked in the order of the group."""


@dataclass(frozen=True)
class Scores:
    """Scores of units, by what was measured or by magnitude.

    Attributes:
        pattern: Which weights are a unit.
        mean: Whether magnitudes of a unit are averaged (l1) or their squares are (l2).
        costed: What was measured, by id of a candidate's value.
        norms: What magnitudes are divided by, by id of the value; 1 where there is none.
    """

    pattern: Pattern
    mean: bool
    costed: Mapping[int, Costed]
    norms: Mapping[int, float]

    def of(self, candidate: LayerWeight) -> np.ndarray:
        """Return one score per unit, float32, in one dimension."""
        known = self.costed.get(id(candidate.value))
        if known is not None:
            return self.pattern.means(known.costs, candidate.form)
        if self.pattern.is_block and not self.mean:
            square = np.square(candidate.array.astype(np.float32, copy=False))
            scores = np.sqrt(self.pattern.means(square, candidate.form))
        else:
            size = magnitude.magnitudes(candidate.array).reshape(candidate.form.shape)
            scores = self.pattern.means(size, candidate.form)
        found: np.ndarray = scores / np.float32(self.norms.get(id(candidate.value), 1.0))
        return found

    def line(self, group: Sequence[LayerWeight], share: float) -> Chosen:
        """Draw the line below which a share of the weights of a group lies."""
        if self.pattern.is_block:
            sizes = [self.pattern.sizes(c.form) for c in group]
            count = round(share * sum(int(s.sum()) for s in sizes))
            chosen = magnitude.cheapest([self.of(c) for c in group], sizes, count)
            by_id = {id(c.value): units for c, units in zip(group, chosen, strict=True)}
            return lambda candidate: by_id[id(candidate.value)]
        count = round(share * sum(int(np.prod(c.form.shape)) for c in group))

        def scores() -> Iterable[np.ndarray]:
            return (self.of(c) for c in group)

        line = magnitude.cut(scores, count)
        return lambda candidate: line.mask(self.of(candidate))

    def groups_mask(self, candidate: LayerWeight) -> np.ndarray:
        """Return what N:M zeroes of a weight."""
        known = self.costed.get(id(candidate.value))
        scores = candidate.array if known is None else known.costs
        return self.pattern.groups_mask(scores, candidate.form)
