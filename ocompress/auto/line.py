"""How far one lever may go: a search along a line, a trial at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ocompress.auto.chain import Chain
from ocompress.auto.families import Lever, PlanFamily
from ocompress.auto.foresight import Walk
from ocompress.auto.goal import PlanGoal
from ocompress.auto.trial import PlanTrial

_AIM = 0.93
"""Part of what may be lost that the next model is aimed at."""
_LEAST, _MOST = 1e-6, 1e6
"""Figures beyond count as these."""
_SLOPE = 4.0
"""How many times as fast as the level falls, in logarithms, what is lost tends to rise."""
_STEEPER = 2.0
"""Factor by which two trials may say otherwise: few samples hardly tell neighbours apart."""
_ALIKE = 1.001
"""Levels that differ by less than this factor are the same."""
_STRIDES = (4, 2, 1)
"""Of so many finest steps one is taken, as long as as much stays open on both sides."""
_PAYS = 0.6
"""How fast what a goal counts falls with the level, in logarithms, about."""
_INNER = 0.12
"""Share of what is still open that the next level keeps from both of its ends."""


@dataclass
class Line:
    """Looks for the lowest level of a family at which a chain still holds.

    Attributes:
        family: Has the lever.
        make: Returns the chain of a level.
        first: The level that is tried first.
        most: Trials, at most.
        trials: What was tried, in order.
    """

    family: PlanFamily
    make: Callable[[float], Chain]
    first: float
    most: int = 6
    trials: list[PlanTrial] = field(default_factory=list)
    done: bool = False
    _levels: list[float] = field(default_factory=list)

    @property
    def lever(self) -> Lever:
        """The lever."""
        assert self.family.lever is not None
        return self.family.lever

    def ask(self) -> Chain:
        """Return the chain to try next."""
        level = self._inside(self._next())
        self._levels.append(level)
        return self.make(level)

    def tell(self, trial: PlanTrial) -> None:
        """Learn what became of it."""
        self.trials.append(trial)
        self.done = len(self.trials) >= self.most or self._is_found()

    def walk(self, is_hopeful: Callable[[Line], bool]) -> Walk:
        """Yield what it would try next, and next after that, as long as there is hope."""
        ahead = replace(self, trials=list(self.trials), _levels=list(self._levels))
        while not ahead.done and (not ahead.trials or is_hopeful(ahead)):
            ahead.tell((yield ahead.ask()))

    def best(self) -> PlanTrial | None:
        """Return the trial of the lowest level that holds and does something."""
        held = [t for t in self.trials if self._counts(t)]
        return min(held, key=self._key, default=None)

    def level_for(self, share: float) -> float | None:
        """Return the level at which about a share is lost of what its best trial loses.

        None if nothing is known.
        """
        best = self.best()
        if best is None or best.drop is None:
            return None
        return self._possible(self._level_at(share * best.drop, lambda t: t.drop or 0.0))

    def level_beyond(self, strain: float) -> float | None:
        """Return the level at which about so many times as much is lost as is allowed.

        None if nothing is known.
        """
        return self._possible(self._level_at(strain, lambda t: t.strain))

    def moved(self, level: float, part: float) -> float:
        """Return the level at which about a part is lost of what is lost at another one.

        It is another one by a finest step at least, as far as there are any. A part above 1 is
        more.
        """
        lever = self.lever
        if lever.whole:
            return max(level - 1, 1) if part < 1 else min(level + 1, lever.low)
        now, then = (self._level_at(strain, lambda t: t.strain) for strain in (1.0, part))
        ratio = part ** (-1 / _SLOPE) if now is None or then is None else then / now
        step = 1 + lever.finest
        ratio = max(ratio, step) if part < 1 else min(ratio, 1 / step)
        return min(max(lever.near(level * ratio), lever.low), lever.high)

    def _possible(self, level: float | None) -> float | None:
        if level is None or self.lever.whole:
            return None if level is None else round(level)
        return min(max(self.lever.near(level), self.lever.low), self.lever.high)

    def _level_at(self, wanted: float, of: Callable[[PlanTrial], float]) -> float | None:
        """Return the level at which a figure of trials has about a value."""
        lowest: dict[float, float] = {}  # one model may come of several levels
        for trial in self.trials:
            if trial.drop is not None and self.family.item not in trial.idle:
                lost, level = min(max(of(trial), _LEAST), _MOST), self._level(trial)
                lowest[lost] = min(level, lowest.get(lost, level))
        if not lowest:
            return None
        return _interpolated(sorted((level, lost) for lost, level in lowest.items()), wanted)

    def promise(self, goal: PlanGoal) -> float:
        """Return about what a goal will count at the lowest level that holds.

        It goes on from the trial that is nearest to it, as far as what trials lost tells.
        """
        active = [t for t in self.trials if self.family.item not in t.idle]
        wanted = None if self.lever.whole else self._level_at(_AIM, lambda t: t.strain)
        if wanted is None:
            return min((t.value(goal) for t in active or self.trials), default=0.0)
        ratio, near = min(
            ((wanted / self._level(t), t) for t in active), key=lambda pair: abs(math.log(pair[0]))
        )
        ratio = max(ratio, self.lever.low / self._level(near))
        return near.value(goal) * math.exp(_PAYS * math.log(ratio))

    @property
    def is_absent(self) -> bool:
        """Whether there is nothing in the model that the family could take away."""
        takes = self.lever.whole or self.lever.removed
        return takes and all(self.family.item in t.idle for t in self.trials)

    def _counts(self, trial: PlanTrial) -> bool:
        return trial.held and self.family.item not in trial.idle

    def _level(self, trial: PlanTrial) -> float:
        return self._levels[self.trials.index(trial)]

    def _key(self, trial: PlanTrial) -> float:
        level = self._level(trial)
        return -level if self.lever.whole else level

    def _ends(self) -> tuple[float, float]:
        """Return the highest level that fails and the lowest one that holds."""
        fails = [self._level(t) for t in self.trials if not self._counts(t)]
        holds = [self._level(t) for t in self.trials if self._counts(t)]
        low = max([x for x in fails if not holds or x < min(holds)], default=self.lever.low)
        return low, min(holds, default=self.lever.high)

    def _is_found(self) -> bool:
        if self.lever.whole:
            return not self._counts(self.trials[-1])
        low, high = self._ends()
        return high / low < (1 + self.lever.finest) * _ALIKE or low >= self.lever.high * 0.93

    def _next(self) -> float:
        if not self.trials:
            return self.first
        if self.lever.whole:
            return self._levels[-1] + 1
        low, high = self._ends()
        wanted = None if self._is_flat() else self._level_at(_AIM, lambda t: t.strain)
        start, end = math.log(low), math.log(high)
        room = _INNER * (end - start)
        middle = (start + end) / 2 if wanted is None else math.log(wanted)
        return math.exp(min(max(middle, start + room), end - room))

    def _is_flat(self) -> bool:
        """Whether the last level made a model that another one had made, so that steps are wide."""
        *before, last = [(t.drop, t.size, t.idle) for t in self.trials]
        return last in before

    def _inside(self, level: float) -> float:
        """Return the step near to a level that was not tried, a large one where much is open.

        So searches under different limits come by the same models.
        """
        if self.lever.whole or not self.trials:
            return level
        low, high = self._ends()
        for stride in _STRIDES:
            ratio = (1 + self.lever.finest) ** stride
            near = self.lever.near(level, stride)
            for found in (near, near * ratio, near / ratio):
                if low * ratio / _ALIKE <= found <= high / ratio * _ALIKE:
                    return found
        return level


def _interpolated(points: list[tuple[float, float]], drop: float) -> float:
    """Return the level of a drop: between two points, or beyond the nearest two or one.

    The logarithm of what is lost is taken to be linear in that of the level; beyond all points it
    goes on from the nearest.
    """
    logs = [(math.log(level), math.log(lost)) for level, lost in points]
    wanted = math.log(max(drop, _LEAST))
    below = [p for p in logs if p[1] >= wanted]
    above = [p for p in logs if p[1] < wanted]
    if not (below and above):
        (x0, y0), (x1, y1) = (logs[-1], logs[-2:][0]) if below else (logs[0], logs[:2][-1])
        slope = (y1 - y0) / (x0 - x1) if x0 != x1 else _SLOPE
        slope = min(max(slope, _SLOPE / _STEEPER), _SLOPE * _STEEPER)
        return math.exp(x0 - (wanted - y0) / slope)
    (x0, y0), (x1, y1) = max(below), min(above)
    if abs(y0 - y1) < 1e-9 or x0 == x1:
        return math.exp((x0 + x1) / 2)
    return math.exp(x0 + (wanted - y0) * (x1 - x0) / (y1 - y0))
