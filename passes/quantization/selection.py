"""Choosing between time and noise: the placements worth having, and the one to take.

Noise of units adds up, as far as they err independently; so a price on noise keeps the choice a
minimum cut, and every price gives a placement that no other one beats in both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ocompress.analysis.running import sqnr_db
from passes.quantization.noise import Noise
from passes.quantization.placement import Placement, PlacementProblem

_FLOOR = 3e-3
"""Noise over signal below which less is worth nothing any more, about 25 dB."""
_RUIN = 0.1
"""Noise over signal that makes a result useless."""
_BYTES_WORTH, _MOST_TOLERABLE = 0.01, 0.01
"""Share of the time that weights in a quarter of the bytes are worth, and the noise that they are
worth at most, 20 dB."""
_ABOVE = 1e-6
"""What counts as above a line, logarithms of noise."""
_STEPS = range(-8, 20)
_FEWER_STEPS = range(-8, 20, 4)
_MANY_UNITS = 2000


@dataclass(frozen=True)
class Selection:
    """A placement and what it is expected to cost.

    Attributes:
        placement: The choices.
        noise: Noise over signal power of the worst output.
        time: Time of the units over that in float.
    """

    placement: Placement
    noise: float
    time: float

    @property
    def sqnr_db(self) -> float:
        """Expected signal over noise, decibels."""
        return sqnr_db(1.0, max(self.noise, 1e-12))


def front(problem: PlacementProblem, noise: Noise) -> list[Selection]:
    """Return the placements that are cheapest for some price on noise, from fast to faithful.

    The last one leaves everything in float.

    Args:
        problem: The units and their times.
        noise: Their noise.
    """
    steps = _STEPS if len(problem.units) < _MANY_UNITS else _FEWER_STEPS
    whole = max(problem.float_ns, 1.0)
    found: list[Selection] = []
    seen: set[tuple[object, ...]] = set()
    for price in (0.0, *(whole * 10 ** (k / 4) for k in steps)):
        placement = problem.solve((units, price * part) for units, part in noise.parts)
        if tuple(placement.choices) not in seen:
            seen.add(tuple(placement.choices))
            total = noise.total(placement.chosen)
            found.append(Selection(placement, total, placement.ns / whole))
    if found[-1].placement.chosen:
        found.append(Selection(problem.nothing(), 0.0, 1.0))
    return found


def best(selections: Sequence[Selection], rate: float, *, limited: bool = False) -> int:
    """Return the index of the selection with the best exchange of time for noise.

    It is the one that costs least if a noise lower by a factor e is worth `rate` of the time; from
    20 to 10 dB noise gets ever dearer, for a result that nobody can use is not fast. Where that
    leaves less than 25 dB and nobody said what may be lost, it is the knee of the front from there
    on: as long as a per cent of time takes off more noise (in logarithms) than it does on the
    average up to the float model, it is spent.

    Args:
        selections: From fast to faithful, the last one without noise.
        rate: Share of the time that a noise lower by a factor e is worth; 0 takes the fastest.
        limited: Whether somebody said what may be lost, in the unit that counts, or a plan was
            found so: along its lines the knee would go to and fro.
    """
    costs = [math.log(max(s.time, 1e-9)) + _cost(s.noise, rate) for s in selections]
    first = costs.index(min(costs))
    noisy = rate and selections[first].noise > _FLOOR
    return _knee(selections, first) if noisy and not limited else first


def _knee(selections: Sequence[Selection], first: int) -> int:
    """Return the selection that lies furthest above the line from `first` to the last one."""
    start, end = selections[first], selections[-1]
    gains = [math.log((start.noise + _FLOOR) / (s.noise + _FLOOR)) for s in selections[first:]]
    average = gains[-1] / max(end.time - start.time, 1e-9)
    above = [
        gain - average * (s.time - start.time)
        for gain, s in zip(gains, selections[first:], strict=True)
    ]
    most = max(above)
    return first + (above.index(most) if most > _ABOVE else 0)


def _cost(noise: float, rate: float) -> float:
    return rate * math.log(noise + _FLOOR) + (noise / _RUIN) ** 2 if rate else 0.0


def tolerable(rate: float) -> float:
    """Return the noise over signal power that smaller weights alone are worth.

    Args:
        rate: Share of the time that noise lower by a factor e is worth; the default leaves 33 dB.
    """
    if rate * math.log(1 + _MOST_TOLERABLE / _FLOOR) <= _BYTES_WORTH:
        return _MOST_TOLERABLE
    return _FLOOR * math.expm1(_BYTES_WORTH / rate)
