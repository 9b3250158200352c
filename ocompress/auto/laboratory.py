"""Trials: chains that were built and measured, as today's limits judge them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ocompress.auto.chain import Chain
from ocompress.auto.foresight import Foresight, Walk
from ocompress.auto.goal import PlanBounds
from ocompress.auto.ledger import Ledger
from ocompress.auto.trial import PlanTrial
from ocompress.auto.workshop import Builders, Made, OutOfTimeError
from ocompress.errors import WorkerLostError
from ocompress.pipeline.guard import Verdict


@dataclass
class Laboratory:
    """Has chains built and measured, each once, and remembers what became of them.

    Attributes:
        original_bytes: Bytes of the original's file.
        builders: Build them.
        clock: Returns the time of a model over the original's; None where nothing is timed.
        alone: Whether nothing must be built while the clock runs, as it runs on this machine.
        wanted: What is measured of models beside their size: `archive`, `memory`, `latency`.
        bounds: Limits beside that on the drop.
        deadline: When no further trial begins, in seconds of `time.monotonic`.
        asked: Says whether somebody asked for an early end.
        judge: Judges again what trials of earlier searches lost; None if they must be made anew.
        ledger: Trials of earlier searches.
    """

    original_bytes: int
    builders: Builders
    clock: Callable[[Any], float | None] | None = None
    alone: bool = True
    wanted: Sequence[str] = ()
    bounds: PlanBounds = field(default_factory=PlanBounds)
    deadline: float = float("inf")
    asked: Callable[[], bool] = lambda: False
    judge: Callable[[Mapping[str, float]], Verdict | None] = lambda _: None
    ledger: Ledger = field(default_factory=lambda: Ledger(None))
    trials: dict[str, PlanTrial] = field(default_factory=dict)
    """All that were made, by text of the chain."""
    _times: dict[str, float | None] = field(default_factory=dict)
    _slowest: dict[str, float] = field(default_factory=dict)
    _settled: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _choices: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _foresight: Foresight = field(init=False)

    def __post_init__(self) -> None:
        """Prepare to build ahead."""
        self.hand_over(self.builders, self.clock)

    def hand_over(self, builders: Builders, clock: Callable[[Any], float | None] | None) -> None:
        """Have others build and time models from now on."""
        self.builders, self.clock = builders, clock
        self._foresight = Foresight(
            self.builders, known=self._told, judged=self._untimed, seconds=self._seconds_left
        )

    @property
    def is_over(self) -> bool:
        """Whether the search shall end; never before there is a first trial."""
        return bool(self.trials) and (time.monotonic() > self.deadline or self.asked())

    def set_aside(self, share: float) -> None:
        """Have trials end earlier, so that a share of the time that is left stays."""
        now = time.monotonic()
        self.deadline = now + (1 - share) * max(self.deadline - now, 0.0)

    def expect(self, walks: Sequence[Walk]) -> None:
        """Have idle builders begin what is likely to be asked for; nothing else follows from it.

        Args:
            walks: Each yields a chain, is sent its trial, and may yield another one then.
        """
        if self.clock is None or not self.alone:
            self._foresight.expect(walks)

    def evaluate(self, chains: Sequence[Chain]) -> Iterator[PlanTrial]:
        """Build and measure chains, side by side where there are several builders.

        Yields:
            Trials, in the order of the chains.

        Raises:
            OutOfTimeError: If the deadline is over.
        """
        if self.builders.count and not self.is_over:
            for chain in chains:
                if self._told(chain) is None:
                    self._foresight.begin(chain)
        for chain in chains:
            yield self._known(chain)

    def settled(self, chain: Chain, instead: Chain) -> Mapping[str, Any]:
        """Return options with which passes that go by the clock would choose the same without it.

        It is found out once, while nothing else is built.

        Args:
            chain: Has passes that go by the clock.
            instead: The same chain without a clock, as it was tried.

        Returns:
            The options by name of the pass; empty where nothing is timed, or not on this machine,
            and where the clock chose nothing else.

        Raises:
            OutOfTimeError: If the deadline is over.
        """
        if self.clock is None or not self.alone:
            return {}
        name = f"settled {chain}"
        known = self._settled[name] if name in self._settled else self.ledger.get(name)
        if known is None:
            self._check_time()
            self._foresight.settle(lambda: self.is_over)
            try:
                known = dict(self._foresight.take(chain, lambda: self.is_over).settled)
            except WorkerLostError:
                return {}
            known = {} if known == self._choices.get(str(instead)) else known
            self.ledger.put(name, known)
        self._settled[name] = known
        return known

    def without(self, trial: PlanTrial, names: Iterable[str]) -> PlanTrial:
        """Return a trial without some passes of its chain, as they did nothing on more samples."""
        chain = trial.chain.without_items(names)
        return self.trials.setdefault(str(chain), replace(trial, chain=chain))

    def _known(self, chain: Chain) -> PlanTrial:
        text = str(chain)  # levels are rounded there
        if text not in self.trials:
            found = self.trials[text] = self._told(chain) or self._try(chain)
            if (plain := found.plain) is not None:  # passes that did nothing need not be asked for
                self.trials.setdefault(str(plain.chain), plain)
        return self.trials[text]

    def _told(self, chain: Chain) -> PlanTrial | None:
        """Return the trial of this search or an earlier one, as today's limits judge it."""
        text = str(chain)
        if text in self.trials:
            return self.trials[text]
        figures = self.ledger.get(text)
        if figures is None or any(figures.get(name) is None for name in self.wanted):
            return None
        found = PlanTrial.of_figures(chain, figures)
        verdict = self.judge(found.lost) if found.lost else None
        return None if verdict is None else self._limited(found.judged(verdict))

    def _check_time(self) -> None:
        if self.is_over:
            msg = "the search for a plan is over"
            raise OutOfTimeError(msg)

    def _try(self, chain: Chain) -> PlanTrial:
        self._check_time()
        try:
            made = self._foresight.take(chain, lambda: self.is_over)
        except WorkerLostError as error:
            return PlanTrial(chain=chain, held=False, why=str(error))
        found = made.trial
        self._choices[str(chain)] = dict(made.settled)
        if self.clock is not None and made.key and found.drop is not None:
            found = replace(found, latency=self._time(made))
        found = replace(found, seconds=self._spent(made.spent))
        if found.drop is not None:
            for known in filter(None, (found, found.plain)):
                self.ledger.put(str(known.chain), known.figures())
        return self._limited(found)

    def _untimed(self, made: Made) -> PlanTrial:
        return self._limited(made.trial)

    def _time(self, made: Made) -> float | None:
        """Return how long a model takes over the original; equal ones are timed once."""
        assert self.clock is not None
        if made.key not in self._times:
            if self.alone:
                self._foresight.settle(lambda: self.is_over)
            self._times[made.key] = self.clock(made.model)
        return self._times[made.key]

    def _seconds_left(self) -> float:
        return self.deadline - time.monotonic() if self.trials else float("inf")

    def _spent(self, passes: Sequence[tuple[str, float]]) -> float:
        """Return how long passes take where nothing about the model is known yet."""
        for name, seconds in passes:
            self._slowest[name] = max(self._slowest.get(name, 0.0), seconds)
        return sum(self._slowest[name] for name, _ in passes)

    def _limited(self, found: PlanTrial) -> PlanTrial:
        """Hold a trial against the other limits."""
        over = self._beyond(found)
        return replace(found, held=False, over=over, why=found.why or over) if over else found

    def _beyond(self, found: PlanTrial) -> str:
        """Say which other limit a trial is beyond; empty if none.

        A model that is only put in order computes what the original does: if a clock calls it
        slower, that is noise.
        """
        most = self.bounds.latency
        if not found.chain.steps and most is not None and most >= 1:
            most = None
        limits = (
            ("times the original's latency", found.latency, most),
            ("times the original's bytes", found.size / self.original_bytes, self.bounds.size),
            ("bytes of memory", found.memory, self.bounds.memory),
        )
        for what, value, limit in limits:
            if limit is not None and value is not None and value > limit:
                return f"{value:.4g} {what}, more than the {limit:.4g} allowed"
        return ""
