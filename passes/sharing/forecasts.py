"""How many bits weights will take at a price of a bit, and what that will cost, about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ocompress.lossy.layer_weights import LayerWeight
from passes.sharing.pricing import Priced
from passes.sharing.rounding import FINEST, ZERO_BITS, step_for

_LEVEL_COST = 6.0
"""What rounding a weight that is left costs, in prices of a bit, about."""
_SHAPE_BITS = 2.05
"""Bits of a number from a normal distribution, rounded to a step of its deviation."""
_TIMES = 4.0
"""Squared step, in that of many bits, about."""
_HALVINGS = 40
_SEEN = 20_000
"""Weights of a layer that levels are counted of, about."""
_OCTAVES, _TRIED_STEPS = (-7.0, 5.0), 37
"""Steps that levels are counted at, relative to the root of mean squares, in powers of two."""


class Outlook:
    """What prices of a bit make of weights, as far as costs of single weights tell.

    Attributes:
        priced: What errors cost, by id of a weight's value.
        forecasts: About what rounding each weight costs and saves, by name; none of weights that
            cost nothing.
    """

    def __init__(
        self, weights: Sequence[LayerWeight], priced: Mapping[int, Priced], *, many: bool
    ) -> None:
        """Look at costs.

        Args:
            weights: The weights.
            priced: What their errors cost.
            many: Whether bits of a weight are many, so that most are not zero.
        """
        self.priced = priced
        self.forecasts: dict[str, Forecast | FineForecast] = {}
        for weight in weights:
            known = priced[id(weight.value)]
            if known.costs.any():
                fine = many and known.seen
                own = FineForecast(weight.array, known) if fine else None
                self.forecasts[weight.name] = own or Forecast(weight.array, known.costs)
        self._elements = sum(w.array.size for w in weights)

    def price_of(self, bits: float) -> float:
        """Return about the price at which weights take so many bits in the mean."""
        low, high = -200.0, 100.0  # in powers of two
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            many = sum(f.bits(2.0**middle) for f in self.forecasts.values())
            low, high = (middle, high) if many > bits * self._elements else (low, middle)
        return float(2.0**high)


class Forecast:
    """About what rounding a weight costs and saves, at any price of a bit."""

    def __init__(self, weight: np.ndarray, costs: np.ndarray) -> None:
        """Sort the weights by what they cost.

        Args:
            weight: The weight.
            costs: What losing each element costs, of its shape.
        """
        squares = np.square(weight.reshape(-1).astype(np.float64))
        each = costs.reshape(-1).astype(np.float64)
        order = np.argsort(each)
        self._costs = each[order]
        self._lost = np.concatenate([[0.0], np.cumsum(self._costs)])
        self._power = np.concatenate([[0.0], np.cumsum(squares[order])])
        alive = squares > 0
        level = float(np.median(each[alive] / squares[alive])) if alive.any() else 1.0
        self._step = _TIMES * step_for(1.0, level) ** 2

    def bits(self, price: float) -> float:
        """Return about how many bits the weight takes."""
        gone, count = self._gone(price), len(self._costs)
        left = count - gone
        if not left:
            return 0.0
        share = min(max(left / count, 1e-12), 1 - 1e-12)
        where = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
        power = (self._power[-1] - self._power[gone]) / left
        size = 0.5 * np.log2(max(power, 1e-300) / max(self._step * price, 1e-300)) + _SHAPE_BITS
        return float(count * where + left * max(size, 1.4))

    def error(self, price: float) -> float:
        """Return about what rounding costs at the model's outputs."""
        gone = self._gone(price)
        left = (len(self._costs) - gone) * _LEVEL_COST * price
        return float(self._lost[gone] + min(left, self._lost[-1] - self._lost[gone]))

    def _gone(self, price: float) -> int:
        return int(np.searchsorted(self._costs, price * ZERO_BITS, side="right"))


class FineForecast:
    """About what rounding a weight costs and saves, at prices at which most are not zero."""

    def __init__(self, weight: np.ndarray, priced: Priced) -> None:
        """Find out what levels take by steps.

        Args:
            weight: The weight.
            priced: What losing each element costs.
        """
        each = priced.costs.reshape(-1).astype(np.float64)
        squares = np.square(weight.reshape(-1).astype(np.float64))
        used = squares > 0
        self._count, self._lost = len(each), float(each.sum())
        # steps of groups follow what errors of theirs cost, others are alike for all of a layer
        sizes = np.sqrt(each)
        if len(priced.curvature) == 1:
            sizes = np.sqrt(squares * (each[used] / squares[used]).mean())
        sizes = sizes[:: max(1, len(sizes) // _SEEN)]
        self._rms = float(np.sqrt(np.square(sizes).mean()))
        self._steps = np.linspace(*_OCTAVES, _TRIED_STEPS)
        self._entropies = [_entropy(sizes / (self._rms * 2.0**s)) for s in self._steps]

    def bits(self, price: float) -> float:
        """Return about how many bits the weight takes."""
        step = np.log2(FINEST * step_for(price, 1.0) / self._rms)
        finer = max(_OCTAVES[0] - step, 0.0)
        return float(self._count * (np.interp(step, self._steps, self._entropies) + finer))

    def error(self, price: float) -> float:
        """Return about what rounding costs at the model's outputs."""
        return min(self._count * (FINEST * step_for(price, 1.0)) ** 2 / 12, self._lost)


def _entropy(sizes: np.ndarray) -> float:
    """Return the bits of a level and its sign, of magnitudes in steps."""
    levels = np.rint(sizes).astype(np.int64)
    share = np.bincount(levels) / len(levels)
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum() + np.count_nonzero(levels) / len(levels))
