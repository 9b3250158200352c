"""How finely weights are rounded, as moves: one price of a bit for all weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ocompress.ir import Model, edit
from ocompress.lossy.engine import Plan, Proposal, Reason
from ocompress.lossy.layer_weights import LayerWeight
from ocompress.planning import Move
from passes.sharing.forecasts import Outlook
from passes.sharing.layer_problem import precision_of
from passes.sharing.pricing import Priced, flat, place, unflat
from passes.sharing.rounding import ZERO_BITS, plain
from passes.sharing.walking import read_by

if TYPE_CHECKING:
    from passes.sharing.building import BuiltLevels

_COARSEST, _FINEST = 0.002, 0.4
"""Parts of the bits of float32 between which the search looks."""
_FLOAT_BITS = 32
_CORRECTIONS, _NEAR = 5, 0.02
"""How often a forecast of the bits is corrected, and how near is near enough."""
_AIM, _ENOUGH, _ARCHIVES = 0.995, 0.99, 8
"""Parts of a size that are aimed at and that are near enough, and how many archives are made at
most to come near it."""
_MANY_BITS = 2.0
"""Bits of a weight from which on most are not zero, so that the order in which weights would go
tells nothing."""
_MANY = 256
"""Prices that are remembered."""


@dataclass(frozen=True, eq=False)
class Rounding:
    """Rounds a weight to few levels.

    Attributes:
        readers: Labels of the nodes that read the weight.
        index: Input of the first of them.
        price: What a bit may cost.
        priced: What errors cost.
        waves: Whether weights may be sums of cosines whose coefficients are rounded.
    """

    readers: tuple[str, ...]
    index: int
    price: float
    priced: Priced
    waves: bool = False

    @property
    def seen(self) -> bool:
        """Whether data tell what its layers read."""
        return self.priced.seen

    def kept(self, weight: np.ndarray) -> np.ndarray:
        """Return which elements of a weight are worth their bits, bool of its shape."""
        found: np.ndarray = weight != 0
        return found & (self.priced.costs > self.price * ZERO_BITS) if self.priced.seen else found

    def apply(self, model: Model) -> bool:
        """Round the weight by itself: no other makes up for the errors."""
        return round_alone(model, self) is not None


def round_alone(model: Model, move: Rounding) -> np.ndarray | None:
    """Round a weight, no other making up for the errors.

    Args:
        model: Changed in place.
        move: The weight, and what a bit may cost.

    Returns:
        The levels, (groups, inputs, outputs); None if there is no such weight.
    """
    weight = read_by(model, move)
    if weight is None:
        return None
    matrix = flat(weight, weight.array.astype(np.float64))
    lost = flat(weight, move.priced.costs).sum(axis=1, dtype=np.float64)
    power = np.square(matrix).sum(axis=1)
    cost = (lost + 1e-12 * lost.mean()) / np.maximum(power, 1e-12 * max(power.mean(), 1e-300))
    made = plain(matrix, cost, move.price, precision_of(weight.array))
    edit.set_weight(weight.value, unflat(weight, made.matrix).astype(weight.array.dtype))
    return made.levels


class Prices(Proposal):
    """Weights that may be rounded; each part is a weight.

    A share says where between the finest and the coarsest rounding, on a scale of the logarithm of
    the bits, which are estimated.

    Attributes:
        weights: The weights.
        sizes: Bytes of the archives that were made, by id of the plan, which is remembered.
    """

    least, finest = 0.0, 0.025

    def __init__(
        self,
        weights: Sequence[LayerWeight],
        priced: Callable[[bool], Mapping[int, Priced]],
        build: Callable[[Plan], BuiltLevels],
        archived: Callable[[Model], int],
        *,
        waves: bool,
    ) -> None:
        """Name the parts.

        Args:
            weights: Those that may be rounded.
            priced: Returns what errors cost, by id of a weight's value, given whether bits of a
                weight are many.
            build: Builds the model of a plan.
            archived: Returns the bytes of a model's archive.
            waves: Whether weights may be sums of cosines.
        """
        super().__init__({w.name: [n.label for n in w.nodes] for w in weights})
        self.weights, self._waves = weights, waves
        self.sizes: dict[int, int] = {}
        self._build, self._archived = build, archived
        self._last: tuple[Plan, BuiltLevels] | None = None
        self._outlook = lru_cache(2)(lambda many: Outlook(weights, priced(many), many=many))
        self.plan = lru_cache(_MANY)(self._plan)

    @property
    def elements(self) -> int:
        """How many weights there are."""
        return sum(w.array.size for w in self.weights)

    @property
    def whole_bits(self) -> int:
        """Bits of the weights as they are."""
        return 8 * sum(w.array.nbytes for w in self.weights)

    def leaving(self, share: float) -> Plan:
        """Return the rounding at a share of the way from the coarsest to the finest."""
        bits = _COARSEST * (_FINEST / _COARSEST) ** share * _FLOAT_BITS
        outlook = self._outlook(bits >= _MANY_BITS)
        return self.plan(outlook, outlook.price_of(bits))

    def taking(self, bits: float) -> Plan:
        """Return the rounding at which weights take so many bits in the mean.

        What is forecast is built, and corrected by what that takes.
        """
        outlook = self._outlook(bits >= _MANY_BITS)
        taken: dict[float, float] = {}
        wanted = bits
        for _ in range(_CORRECTIONS):
            plan = self.plan(outlook, outlook.price_of(wanted))
            made = self._built(plan).bits / max(self.elements, 1) if plan else bits
            taken[wanted] = made
            if abs(made - bits) <= _NEAR * bits:
                return plan
            wanted = min(max(_next(taken, bits), bits / 8), bits * 8)
        nearest = min(taken, key=lambda w: abs(taken[w] - bits))
        return self.plan(outlook, outlook.price_of(nearest))

    def known(self, plan: Plan) -> BuiltLevels | None:
        """Return the model of a plan if it is the last that was built."""
        return self._last[1] if self._last is not None and self._last[0] is plan else None

    def _built(self, plan: Plan) -> BuiltLevels:
        found = self.known(plan)
        if found is None:
            found = self._build(plan)
            self._last = plan, found
        return found

    def fitting(self, most: int) -> Plan:
        """Return the finest rounding whose archive takes at most so many bytes, about.

        Args:
            most: Those bytes.

        Returns:
            Nothing if none is found; the reason is noted then.
        """
        sizes: dict[float, int] = {}
        best: tuple[int, Plan] = (0, {})
        last = -1
        wanted = _AIM * 8 * most / max(self.elements, 1)
        outlook = self._outlook(wanted >= _MANY_BITS)
        for _ in range(_ARCHIVES):
            plan = self.plan(outlook, outlook.price_of(wanted))
            size = sizes[wanted] = self.sizes[id(plan)] = self._archived(self._built(plan).model)
            if best[0] < size <= most:
                best = size, plan
            if _ENOUGH * most <= size <= most or size == last:
                break
            wanted, last = _next(sizes, _AIM * most), size
        if not best[0]:
            why = f"no rounding that was tried makes the archive as small as {most} bytes"
            self.reasons |= dict.fromkeys(self.layers, Reason("too-large", why))
        return best[1]

    def _plan(self, outlook: Outlook, price: float) -> Plan:
        """Return the moves at a price of a bit."""
        found = {}
        for weight in self.weights:
            forecast = outlook.forecasts.get(weight.name)
            if forecast is None or not weight.array.any():
                continue
            readers = tuple(n.label for n in weight.nodes)
            of = outlook.priced[id(weight.value)]
            own = Rounding(readers, place(weight), price, of, self._waves)
            size = round(forecast.bits(price) / 8)
            what = f"about {8 * size / weight.array.size:.2g} bits a weight"
            row = (weight.name, "levels", what, forecast.error(price), size, 0.0)
            found[weight.name] = Move(*row, edit=own)
        return found


def _next(sizes: Mapping[float, float], wanted: float) -> float:
    """Return the bits that are likely to make a size.

    Between two that were tried they are a power of it. Beyond all, sizes grow by as much as between
    the nearest two: not everything in a file is weights. Of one, they are in proportion.
    """
    below = max((p for p in sizes.items() if p[1] <= wanted), default=None, key=lambda p: p[1])
    above = min((p for p in sizes.items() if p[1] > wanted), default=None, key=lambda p: p[1])
    if below and above and below[0] < above[0]:
        part = np.log(wanted / below[1]) / np.log(above[1] / below[1])
        return float(below[0] * (above[0] / below[0]) ** min(max(part, 0.05), 0.95))
    (bits, size), *others = sorted(sizes.items(), key=lambda p: abs(p[1] - wanted))
    ratio = wanted / size
    slopes = [(size - s) / (bits - b) for b, s in others[:1] if b != bits]
    if slopes and slopes[0] > 0:
        ratio = 1 + (wanted - size) / (slopes[0] * bits)
    return float(bits * min(max(ratio, 1 / 8), 8))
