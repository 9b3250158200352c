"""Carrying a plan out on all samples, and remembering what became of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ocompress.auto import BETTER, Chain, Ledger, PlanGoal, PlanTrial
from ocompress.front.bench import Bench
from ocompress.front.beside import exceeding, measured
from ocompress.front.budget import Budget
from ocompress.front.job import attempt
from ocompress.front.limited import Limited, chain_of
from ocompress.profiling import seems_slower
from ocompress.report import Optimization


@dataclass(frozen=True)
class Outcome:
    """What became of a plan on all samples.

    Attributes:
        excess: What it lost over what is allowed, counted from what no loss would look like.
        why: Why it does not hold, empty if it does.
        value: What is made small of it, 0 where that is not measured.
        seconds: How long it took.
    """

    excess: float
    why: str
    value: float
    seconds: float


@dataclass
class Carrier:
    """Carries plans out, each once, however often the same search is run.

    Attributes:
        bench: The original and what judges look at.
        goal: What is made small.
        budget: Limits on the result.
        deadline: When to be done, in seconds of `time.monotonic`.
        ledger: Remembers what became of plans.
        name: What tells the search from others there.
        output: Where results go, None for nowhere.
        files: What must survive.
    """

    bench: Bench
    goal: PlanGoal
    budget: Budget
    deadline: float
    ledger: Ledger
    name: str
    output: Path | None
    files: Sequence[Path]
    _left: float = field(init=False)
    """Seconds left, as they were when the same search was finished for the first time."""
    _done: dict[str, Optimization] = field(default_factory=dict)
    """The result that is written, by its chain."""

    def __post_init__(self) -> None:
        """Begin with the time that there is; or was, so that the same plans are carried out."""
        self._left = self.deadline - time.monotonic()
        key = f"time to carry out: {self.name}"
        self._left = float((self.ledger.get(key) or {}).get("left", self._left))
        self.ledger.put(key, {"left": self._left})

    @property
    def time(self) -> float:
        """Seconds left."""
        return min(self._left, self.deadline - time.monotonic())

    @contextlib.contextmanager
    def spending(self, what: str) -> Iterator[None]:
        """Count the time of the block, or what it took when the search was first finished.

        Args:
            what: Names the block.
        """
        begun, key = time.monotonic(), f"{what} in {self.name}"
        try:
            yield
        finally:
            known = self.ledger.get(key) or {"seconds": time.monotonic() - begun}
            self.ledger.put(key, known)
            self._left -= float(known["seconds"])

    def outcome(
        self, trial: PlanTrial, *, last: bool = False, below: float = float("inf")
    ) -> Outcome:
        """Carry a plan out, unless an earlier run of the same search did.

        The result is written if it holds and what is made small is clearly below a value.

        Args:
            trial: The plan.
            last: Whether there is no other one, so that it is written whatever it is.
            below: The value.
        """
        key = f"carried out: {trial.chain} in {self.name}"
        known = self.ledger.get(key)
        if known is not None and known.keys() == Outcome.__annotations__.keys():
            self._left -= known["seconds"]
            return Outcome(**known)
        begun = time.monotonic()
        done = self._attempt(trial, last=last, wanted=lambda d: self._value(d) < BETTER * below)
        why = "; ".join(done.broken) or self._slower(trial, done)
        found = Outcome(exceeding(done), why, self._value(done), time.monotonic() - begun)
        self._left -= found.seconds
        if last or (not why and found.value < BETTER * below):
            self._done = {str(trial.chain): done}
        self.ledger.put(key, asdict(found))
        return found

    def limited(self, chain: Chain) -> Chain | None:
        """Return a chain with the levels to which its passes go of themselves under the limits.

        None if the time is over before that is known, in this run or an earlier one.
        """
        key = f"by limits: {chain} in {self.name}"
        known = self.ledger.get(key)
        if known is None:
            finder = Limited(self.bench, self.budget, time.monotonic() + self.time)
            known = {"found": finder.find(chain)}
            self.ledger.put(key, known)
        return None if known["found"] is None else chain_of(known["found"], chain)

    def result(self, trial: PlanTrial) -> Optimization:
        """Return the result of a plan that was carried out, written."""
        return self._done.get(str(trial.chain)) or self._attempt(trial)

    def spare(self, trial: PlanTrial) -> frozenset[str]:
        """Return the passes that nobody asked for but the plan."""
        packs = {"pack-weights"} if self.bench.request.storage != "plain" else frozenset[str]()
        return frozenset(step.family.item for step in trial.chain.steps) - packs

    def _attempt(
        self,
        trial: PlanTrial,
        *,
        last: bool = True,
        wanted: Callable[[Optimization], bool] = lambda _: True,
    ) -> Optimization:
        request = replace(self.bench.request, passes=trial.chain.pipeline(), budget=self.budget)
        spare = self.spare(trial)
        return attempt(
            self.bench, request, self.output, self.files, last=last, spare=spare, wanted=wanted
        )

    def _value(self, done: Optimization) -> float:
        """Return what is made small of a result, 0 where it is not measured."""
        names = {
            PlanGoal.LATENCY: "latency_ratio",
            PlanGoal.SIZE: "bytes",
            PlanGoal.ARCHIVE: "archive_bytes",
        }
        found = measured(done).get(names.get(self.goal, ""))
        return 0.0 if found is None else float(found)

    def _slower(self, trial: PlanTrial, done: Optimization) -> str:
        """Return why a plan for the latency is no better than the original, empty if it is."""
        profile = done.profile
        for_time = self.goal is PlanGoal.LATENCY and trial.chain.steps
        ratio = profile.ratio if profile is not None else None
        if not for_time or ratio is None or not seems_slower(ratio):
            return ""
        return f"the result takes {ratio.value:.2f} times the original's time"
