"""How finely weights are rounded, as moves: one price of a bit for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ocompress.ir import Model, edit
from ocompress.lossy.engine import Plan, Proposal
from ocompress.lossy.layer_weights import LayerWeight
from ocompress.planning import Move
from passes.sharing.pricing import Priced, flat, unflat
from passes.sharing.rounding import PLAIN_STEP, STEP, plain

ZERO_BITS = 9.0
"""Bits that a weight takes that is not zero where most are: what costs less to lose is lost."""
_COARSEST, _FINEST = 0.002, 0.4
"""Parts of the bits of float32 between which the search looks."""
_LEVEL_COST = 6.0
"""What rounding a weight that is left costs, in prices of a bit, about."""
_HALVINGS = 40


@dataclass(frozen=True)
class Rounding:
    """Rounds a weight to few levels.

    Attributes:
        readers: Labels of the nodes that read the weight.
        index: Input of the first of them.
        price: What a bit may cost.
        priced: What errors cost.
    """

    readers: tuple[str, ...]
    index: int
    price: float
    priced: Priced

    def kept(self, weight: np.ndarray) -> np.ndarray:
        """Return which elements of a weight are worth their bits, bool of its shape."""
        found: np.ndarray = weight != 0
        return found & (self.priced.costs > self.price * ZERO_BITS) if self.priced.seen else found

    def apply(self, model: Model) -> bool:
        """Round the weight by itself: nothing makes up for the errors."""
        return round_alone(model, self) is not None


def round_alone(model: Model, move: Rounding) -> np.ndarray | None:
    """Round a weight that no data tell about.

    Args:
        model: Changed in place.
        move: The weight, and what a bit may cost.

    Returns:
        The levels, (groups, inputs, outputs); None if there is no such weight.
    """
    from ocompress.lossy.layer_weights import weight_of

    node = next((n for _, n in model.nodes() if n.label == move.readers[0]), None)
    found = weight_of(node) if node is not None else None
    if node is None or found is None:
        return None
    value, form = found
    weight = LayerWeight(value, form, [node])
    matrix = flat(weight, weight.array.astype(np.float64))
    cost = move.priced.curvature
    if cost.ndim != 2 or cost.shape != (1, matrix.shape[2]):
        cost = np.full((1, matrix.shape[2]), 1 / max(float(np.square(matrix).sum()), 1e-300))
    made = plain(matrix, cost, move.price, weight.precision)
    edit.set_weight(value, unflat(weight, made.matrix).astype(weight.array.dtype))
    return made.levels
