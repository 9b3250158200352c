"""The outer search: families share what may be lost, and every point is a model that is measured.

What is cheap and known to be strong comes first: each way to hold numbers, then each structural
family as far as it goes with the best of these on top, then pairs and triples that share the limit,
then small steps around the best chain, and with time to spare what looked less promising. So the
best chain so far improves at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ocompress.auto.borders import Borders
from ocompress.auto.chain import Chain, Step
from ocompress.auto.families import FamilyKind, PlanFamily
from ocompress.auto.foresight import Walk
from ocompress.auto.goal import PlanGoal
from ocompress.auto.laboratory import Laboratory
from ocompress.auto.line import Line
from ocompress.auto.neighbours import alone, around
from ocompress.auto.partners import Partners
from ocompress.auto.race import Race
from ocompress.auto.ranking import BETTER, Ranking
from ocompress.auto.trial import PlanTrial

_MOST_STEPS = 6
"""Trials of small steps."""
_AFTERWARDS = 2.0
"""How many times as much as is allowed the chain loses that is trained first."""
_REPEATED = 0.6
"""Share of the time left when training begins that stays for doing it on all samples."""
_NEAR, _FAR = 1.3, 2.0
"""A family joins the best one only if by itself it comes this near to it; with time to spare, this
near."""


@dataclass
class PlanSearch:
    """Looks for the best chain.

    Attributes:
        laboratory: Builds and measures chains.
        goal: What is made small.
        families: What chains are made of.
        told: Is told of every better chain, and the trial that it was better than.
        tuning: Trains what a chain made, if it may take part.
    """

    laboratory: Laboratory
    goal: PlanGoal
    families: Sequence[PlanFamily]
    told: Callable[[PlanTrial, PlanTrial | None], None] = lambda *_: None
    tuning: PlanFamily | None = None
    best: PlanTrial | None = None
    _lines: dict[PlanFamily, Line] = field(default_factory=dict)
    _borders: Borders = field(init=False)
    _race: Race = field(init=False)

    def __post_init__(self) -> None:
        """Prepare to go along lines and by the clock."""
        self._borders = Borders(self.laboratory, self.families)
        self._race = Race(self.laboratory, self.goal, self._evaluate, lambda: self.best)

    def run(self) -> None:
        """Search until nothing better is likely.

        Raises:
            OutOfTimeError: If the time is over before; what was found is in `best`.
        """
        base = self._base()
        self._numbers(base)
        self._structures(self._at_best(base))
        self._pairs()
        self._other_numbers()
        self._spare()
        self._by_the_clock()
        self._steps()
        self._spare()
        if self.tuning is None:  # training makes more of the time that is left
            self._wider()
        self._tuned()
        self._by_the_clock()

    def finalists(self) -> list[PlanTrial]:
        """Return trials that may be carried out, the best first."""
        return self._ranking.finalists()

    def favoured(self, best: PlanTrial, among: Sequence[PlanTrial]) -> PlanTrial:
        """Return what is best otherwise of the trials that are about as good as one."""
        return self._ranking.favoured(best, among)

    def moved(self, trial: PlanTrial, part: float) -> Chain:
        """Return the chain of a trial, each level such that about a part is lost of what it was."""
        chain = trial.chain
        for step in chain.levers:
            if step.level is not None and step.family in self._lines:
                level = self._lines[step.family].moved(step.level, part)
                chain = chain.at(step.family, level)
        return chain

    @property
    def _ranking(self) -> Ranking:
        return Ranking(list(self.laboratory.trials.values()), self.goal)

    def _evaluate(self, chains: Sequence[Chain]) -> list[PlanTrial]:
        found: list[PlanTrial] = []
        for trial in self.laboratory.evaluate(chains):
            found.append(trial)
            self._take(trial)
        return found

    def _take(self, trial: PlanTrial) -> None:
        """Take a trial for the best if it is, without the passes that did nothing in it."""
        if not trial.held or not (self.best is None or self._is_better(trial, self.best)):
            return
        if trial.idle:
            self._evaluate([trial.shorter])
            return
        before, self.best = self.best, trial
        self.told(trial, before)

    def _is_better(self, trial: PlanTrial, other: PlanTrial) -> bool:
        return trial.value(self.goal) < other.value(self.goal) * BETTER

    def _of(self, *kinds: FamilyKind) -> list[PlanFamily]:
        return [f for f in self.families if f.kind in kinds]

    def _base(self) -> Chain:
        """Return what every chain begins and ends with: merged layers, packed weights."""
        (plain,) = self._evaluate([Chain()])
        base = plain
        for family in self._of(FamilyKind.MERGE, FamilyKind.STORAGE):
            (trial,) = self._evaluate([base.chain.having(Step(family))])
            does = trial.held and family.item not in trial.idle
            if does and trial.value(self.goal) <= base.value(self.goal):
                base = trial
        packing = [Step(f) for f in self._of(FamilyKind.STORAGE)]  # pays once numbers are few
        return Chain.of([*base.chain.steps, *(s for s in packing if s not in base.chain.steps)])

    def _numbers(self, base: Chain) -> None:
        """Try each way to hold numbers alone; milder ones of a way only if it loses too much."""
        families = self._of(FamilyKind.NUMBERS)
        whole = [f for f in families if f.lever is None]
        ways = {f.item for f in whole}
        lines = [self._line(f, base.having) for f in families if f.lever and f.item not in ways]
        likely = [base.having(Step(f)) for f in whole if f.clocked][:1]  # integers, mostly
        self._race.expect(lines, lambda: [w for chain in likely for w in self._openings(chain)])
        found = self._evaluate([base.having(Step(f)) for f in whole])
        trials = dict(zip(whole, found, strict=True))
        milder = [f for f in families if f.lever and f.item in ways and self._spoils(f, trials)]
        lines += [self._line(f, base.having) for f in milder]
        self._race.run(lines, lambda: self._openings(self._at_best(base)))

    def _spoils(self, family: PlanFamily, trials: Mapping[PlanFamily, PlanTrial]) -> bool:
        """Whether a way to hold numbers would be the best if only it lost less."""
        own = [t for f, t in trials.items() if f.item == family.item and f.item not in t.idle]
        gains = [t for t in own if self.best is None or self._is_better(t, self.best)]
        return bool(gains) and not any(t.held for t in own)

    def _at_best(self, base: Chain) -> Chain:
        """Return the base with the best way to hold numbers, milder so that structure may go."""
        step = self.best.chain.numbers if self.best is not None else None
        if step is None:
            return base
        if step.level is None:
            return base.having(step)
        milder = self._lines[step.family].level_for(1 / 3) or step.level
        return base.having(Step(step.family, milder))

    def _structures(self, base: Chain) -> None:
        """Go along each structural family."""
        lines = [self._line(f, base.having) for f in self._structural(base)]
        self._race.run(lines, lambda: self._race.walks(self._joining(_NEAR)))

    def _structural(self, base: Chain) -> list[PlanFamily]:
        """Return the structural families that go with how a chain holds numbers."""
        numbers = base.numbers
        integers = numbers is not None and numbers.family.item == "quant"
        families = [f for f in self._of(FamilyKind.STRUCTURE) if f.lever is not None]
        return [f for f in families if f.integers in (None, integers)]

    def _openings(self, base: Chain) -> list[Walk]:
        """Return the first trial of each structural family on a base."""
        firsts = [(f, f.lever.first) for f in self._structural(base) if f.lever]
        return [alone(base.having(Step(family, level))) for family, level in firsts]

    def _pairs(self, near: float = _NEAR) -> None:
        """Let families share the limit: the best one goes less far, another one joins it."""
        for _ in range(2):
            best, lines = self.best, self._joining(near)
            if not lines:
                return
            self._race.run(lines, lambda: [*self._race.walks(self._joining(near)), *self._others()])
            if self.best is best:
                return

    def _joining(self, near: float) -> list[Line]:
        """Return lines of families that may join the best chain."""
        return [] if self.best is None else self.partners.beside(self.best, near)

    def _wider(self) -> None:
        """Try what looked less promising: other partners, and the best chain's form in float.

        Beside few channels integers may gain little, and families that choose by float times more.
        """
        before = self.best
        self._pairs(_FAR)
        best = self.best
        if best is None or best.chain.numbers is None:
            return
        (bare,) = self._evaluate([best.chain.without(best.chain.numbers.family)])
        if bare.value(self.goal) <= _FAR * best.value(self.goal):
            self._race.run(list(self.partners.in_float(bare.chain, self.families)))
            if self.best is not best:
                self._other_numbers()
        if self.best is not before:
            self._spare()
            self._steps()

    @property
    def partners(self) -> Partners:
        """What is known of which families join a chain."""
        return Partners(self._lines, self.goal)

    def _other_numbers(self) -> None:
        """Try the other ways to hold numbers on the structure that was found."""
        if self.best is not None:
            self.laboratory.expect([alone(near) for near in around(self.best.chain)])
            self._evaluate(self._held_otherwise(self.best.chain))

    def _held_otherwise(self, chain: Chain) -> list[Chain]:
        """Return a chain with the other ways to hold numbers."""
        others = [f for f in self._of(FamilyKind.NUMBERS) if f.lever is None]
        now = chain.numbers
        if now is None:
            return [chain.having(Step(f)) for f in others]
        if now.level is not None:
            return []
        return [
            *(chain.having(Step(f)) for f in others if f != now.family),
            chain.without(now.family),
        ]

    def _others(self) -> list[Walk]:
        """Return what is asked for once families do not join any more."""
        chain = Chain() if self.best is None else self.best.chain
        return [alone(near) for near in (*self._held_otherwise(chain), *around(chain))]

    def _spare(self) -> None:
        """Try the best chain without each of its passes: those that earn nothing are left out."""
        best = self.best
        if best is None or len(best.chain.steps) < 2:
            return
        self._evaluate([best.chain.without(step.family) for step in best.chain.steps])
        self.best = self._ranking.barest(best)

    def _steps(self) -> None:
        """Move the levels of the best chain a little, one or two at a time, while that helps."""
        spent, seen = 0, set[str]()
        while self.best is not None and spent < _MOST_STEPS:
            best = self.best
            near = [c for c in around(best.chain) if str(c) not in seen]
            self.laboratory.expect([alone(c) for c in near[: _MOST_STEPS - spent]])
            for chain in near:
                seen.add(str(chain))
                self._evaluate([chain])
                spent += 1
                if self.best is not best or spent >= _MOST_STEPS:
                    break
            if self.best is best:
                return

    def _tuned(self) -> None:
        """Go on from where the best chain ends, as far as training makes good what that loses."""
        if self.tuning is None or self.best is None:
            return
        base = self.best.chain.having(Step(self.tuning))
        step = self.partners.lead(base)
        others = self.partners.of(self.best, _NEAR)
        family = step.family if step is not None else next(iter(others), None)
        start = None if family is None else self._lines[family].level_beyond(_AFTERWARDS)
        if family is None or start is None:
            return
        self.laboratory.set_aside(_REPEATED)
        line = Line(family, lambda level: base.having(Step(family, level)), start, most=4)
        self._race.run([line])

    def _by_the_clock(self) -> None:
        """Choose again which layers of the best chain compute in integers, by their times."""
        if self.best is not None and self.goal is PlanGoal.LATENCY:
            for chain in self._borders.chains(self.best.chain):
                self._evaluate([chain])

    def _line(self, family: PlanFamily, having: Callable[[Step], Chain]) -> Line:
        assert family.lever is not None
        line = Line(family, lambda level: having(Step(family, level)), family.lever.first)
        self._lines[family] = line
        return line
