"""Building ahead: builders that would be idle begin what a search is likely to ask for next.

Guesses cost time that nobody else wanted and change nothing else: what a search decides depends on
the trials that it asks for, in the order in which it asks.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import TypeAlias

from ocompress.auto.chain import Chain
from ocompress.auto.trial import PlanTrial
from ocompress.auto.workshop import Builders, Made, OutOfTimeError

Walk: TypeAlias = Generator[Chain, PlanTrial, None]
"""What a search would ask for, one after the other, if it went on like that."""
_LOOK_SECONDS = 0.1
"""How often the clock is looked at."""


@dataclass
class Foresight:
    """What is being built, asked for or not.

    Attributes:
        builders: Build it.
        known: Returns the trial of a chain that need not be built, or else None.
        judged: Returns the trial of what was built.
        seconds: Returns the time that there is for a chain.
    """

    builders: Builders
    known: Callable[[Chain], PlanTrial | None]
    judged: Callable[[Made], PlanTrial]
    seconds: Callable[[], float]
    _running: dict[str, Future[Made]] = field(default_factory=dict)
    _walks: list[tuple[Walk, Chain | None]] = field(default_factory=list)

    def begin(self, chain: Chain) -> Future[Made]:
        """Begin to build a chain, if that is not so already."""
        text = str(chain)
        if text not in self._running:
            self._running[text] = self.builders.begin(chain, self.seconds())
        return self._running[text]

    def expect(self, walks: Sequence[Walk]) -> None:
        """Follow walks, in place of those before, as far as builders are idle."""
        if self.builders.count > 1:
            self._walks = [(walk, next(walk, None)) for walk in walks]
            self._go_on()

    def take(self, chain: Chain, is_over: Callable[[], bool]) -> Made:
        """Return what became of a chain.

        Raises:
            OutOfTimeError: If time is over before.
            OcompressError: Whatever it failed of, other than passes that broke.
        """
        future = self.begin(chain)
        while not future.done():
            self._wait(is_over)
            self._go_on()
        del self._running[str(chain)]
        return future.result()

    def settle(self, is_over: Callable[[], bool]) -> None:
        """Wait until nothing is being built.

        Raises:
            OutOfTimeError: If time is over before.
        """
        while any(not future.done() for future in self._running.values()):
            self._wait(is_over)

    def _wait(self, is_over: Callable[[], bool]) -> None:
        if is_over():
            msg = "the search for a plan is over"
            raise OutOfTimeError(msg)
        busy = [future for future in self._running.values() if not future.done()]
        wait(busy, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)

    def _go_on(self) -> None:
        """Follow all walks to where something must be built first, and begin that if some can."""
        self._walks = [self._followed(walk, chain) for walk, chain in self._walks]
        idle = self.builders.count - sum(not f.done() for f in self._running.values())
        for _, chain in self._walks:
            if idle > 0 and chain is not None and str(chain) not in self._running:
                self.begin(chain)
                idle -= 1

    def _followed(self, walk: Walk, chain: Chain | None) -> tuple[Walk, Chain | None]:
        while chain is not None:
            trial = self._trial(chain)
            if trial is None:
                break
            try:
                chain = walk.send(trial)
            except StopIteration:
                chain = None
        return walk, chain

    def _trial(self, chain: Chain) -> PlanTrial | None:
        future = self._running.get(str(chain))
        if future is None:
            return self.known(chain)
        done = future.done() and future.exception() is None
        return self.judged(future.result()) if done else None
