"""The guard behind `--max-drop`."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence

from ocompress.errors import DataError, RuntimeFailureError
from ocompress.io.dataset import Dataset
from ocompress.ir import Model, fingerprint
from ocompress.pipeline.base import Numerics, Pass
from ocompress.pipeline.guard import Limit, Verdict
from ocompress.validation.drops import Drop
from ocompress.validation.measures import LossUnit, Measure
from ocompress.validation.meters import LastMeter
from ocompress.validation.metric import Metric
from ocompress.validation.relation import CollapsedError
from ocompress.validation.unit_limits import DropLimit, points
from ocompress.wording import counted

CONFIDENCE = 0.95
"""One-sided confidence of the upper end that has to be within twice the limit."""
_BOUND = 2.0
_ROUNDING = 1e-9
"""Slack for differences of shares: 1 - 0.99 must be within 0.01."""


class AccuracyGuard:
    """Refuses candidates whose quality on the data fell by more than is allowed.

    The reference runs once, when the guard is made. The estimate has to be within the limit, and
    the upper end of its interval within twice the limit; with a `confidence` of the user's own the
    upper end itself has to be within the limit. Expected accuracy, which nobody's labels confirm,
    has to be within half the limit, and its upper end within the limit. Outputs in several units
    are held against what each unit may lose (`DropLimit`); figures of verdicts are in the unit that
    may lose least. Of a pipeline, every pass that goes as far as the limit lets gets its share of
    what those before it have left (`open`): 1 % for three passes is not 1 % for the first.
    """

    kind = Limit.DROP

    def __init__(
        self,
        reference: Model,
        data: Dataset,
        max_drop: float,
        *,
        metric: str | Metric = "auto",
        confidence: float | None = None,
        default: bool = False,
        goals_count: bool = False,
        fitted: Dataset | None = None,
        alike: bool = True,
        threads: int = 1,
        meter: LastMeter | None = None,
    ) -> None:
        """Run the reference over the data once.

        Args:
            reference: The original.
            data: Feeds that nothing was fitted to, with labels where the metric needs them.
            max_drop: Largest loss allowed, in units of the metric: a share of the samples for
                expected accuracy, agreement and accuracy. By default some units may lose more.
            metric: What `--metric` may say, see `ocompress.validation.naming`, or the user's own.
            confidence: One-sided confidence at which the loss is within the limit.
            default: Whether nobody asked for the limit: then passes with a goal of their own are
                not limited.
            goals_count: Whether they are even so.
            fitted: Samples that passes are fitted to. What they show of a loss is too little, so
                more than the limit on them is more than the limit; None looks at `data` alone.
            alike: Whether these were drawn with `data`, so that they tell more of what is lost on
                such samples.
            threads: Threads within an operator; 0 takes all cores.
            meter: Has what a guard before this one had the reference run for.

        Raises:
            DataError: If the data do not fit the reference, have no usable labels, or are too few
                for the confidence asked for.
            RuntimeFailureError: If the reference cannot be loaded or run.
        """
        self.default, self._goals_count = default, goals_count
        self._confidence, self._metric = confidence, metric
        beside = None if fitted is data or isinstance(metric, Metric) else fitted
        self._meter = (meter or LastMeter()).of(
            reference, data, metric, fitted=beside, alike=alike, threads=threads
        )
        self._known: dict[str, Drop] = {}  # by the model
        self._samples = data.samples
        self._limits = DropLimit(max_drop, default, units=self._meter.units)
        self.max_drop = self._limits.whole(self._limits.strictest)
        self._budget = self._limits.spendable(self._limits.strictest)
        self.restart()
        if confidence is not None and self.needed > self._samples:
            raise DataError(self.too_few)

    @property
    def noun(self) -> str:
        """What is measured, for people."""
        return self._meter.noun

    @property
    def currency(self) -> str:
        """What figures of verdicts are counted in, for people."""
        return self._limits.currency(self.noun)

    @property
    def measures(self) -> Mapping[str, Measure]:
        """How losses of outputs are counted; empty where a score is."""
        return self._meter.measures

    @property
    def meaning(self) -> str:
        """What the limit means, for people: `at most 1 point of expected accuracy`."""
        if self.max_drop >= 1 and not isinstance(self._metric, Metric):
            return (
                f"none: --max-drop {self.max_drop:g} is all 100 points of {self.noun} that there "
                "are to lose; for one point write 0.01 or 1%"
            )
        sure = "" if self._confidence is None else f" at {100 * self._confidence:g} % confidence"
        whose = " (the default; set another with --max-drop)" if self.default else ""
        return f"{self._limits.meaning(self.noun, sure)}{whose}"

    @property
    def reasons(self) -> Sequence[str]:
        """How each output is counted and why, one sentence each; none where a score is."""
        return self._meter.reasons

    @property
    def limit(self) -> float:
        """What the present pass may leave the model with."""
        return self._base + self._share

    @property
    def needed(self) -> int:
        """Samples that it takes to show that the limit holds, if nothing at all is lost."""
        return self._needed[0]

    @property
    def _needed(self) -> tuple[int, LossUnit | None]:
        times = _BOUND if self._confidence is None else None
        return self._limits.needed(self._meter.margins(), self._confidence or CONFIDENCE, times)

    @property
    def too_few(self) -> str:
        """One sentence on how many samples are needed; empty where there are enough."""
        needed, unit = self._needed
        if needed <= self._samples:
            return ""
        noun = self.noun if unit is None else unit.noun
        return (
            f"{counted(self._samples, 'held-out sample')} cannot show that {noun} drops by at most "
            f"{points(self._limits.whole(unit))}, not even if none is lost: that takes {needed} "
            "held-out samples"
        )

    @property
    def _bound(self) -> float:
        """What the upper end has to be within if nobody asked for a confidence."""
        return _BOUND * self._budget

    def restart(self) -> None:
        """Begin a pipeline: nothing has been spent."""
        self._used = 0.0  # what the passes that are limited have spent
        self._base = 0.0  # what the model had lost when the present pass began
        self._free = 0.0  # what passes without a limit have lost at most
        self._share = self._budget

    def applies_to(self, item: Pass) -> bool:
        """Whether a pass is limited."""
        return item.numerics is Numerics.LOSSY and (
            self._goals_count or not (self.default and item.has_goal)
        )

    def open(self, item: Pass, best: Model, later: Sequence[Pass]) -> None:
        """Begin a pass: what may it spend?

        A pass with a goal of its own may spend all that is left, others their share of it.

        Args:
            item: The pass.
            best: The model that it gets.
            later: The passes that follow.
        """
        self._share = self._budget - self._used
        waiting = [p for p in later if self.applies_to(p) and not p.has_goal]
        if not item.has_goal and waiting:
            whole = item.appetite + sum(p.appetite for p in waiting)
            self._share *= item.appetite / whole

    def close(self, item: Pass, kept: Model, verdict: Verdict | None) -> None:
        """End a pass: what did it spend?

        Args:
            item: The pass.
            kept: The model that the next one gets.
            verdict: What this guard found of it; None if it was not asked or refused it.
        """
        if verdict is not None:
            now = verdict.figures["drop"]
            self._used += max(0.0, now - self._base)
            self._base = max(0.0, now)  # what was gained is chance, and owed by nobody
        elif item.numerics is Numerics.LOSSY and not self.applies_to(item):
            with contextlib.suppress(CollapsedError):  # which nothing makes up for
                found = self._drop(kept).value
                self._base = max(0.0, found.value)
                self._free = max(0.0, found.high - self._used)

    def judge(self, candidate: Model, best: Model) -> Verdict:
        """Compare `candidate` with the reference; `best` is not looked at."""
        try:
            return self._verdict(candidate)
        except (RuntimeFailureError, DataError) as error:
            return Verdict(False, self.kind, f"the model no longer runs: {error}", runs=False)
        except CollapsedError as error:
            return Verdict(False, self.kind, str(error))

    def again(self, figures: Mapping[str, float]) -> Verdict | None:
        """Return the verdict on what an earlier one had these figures for, by today's limit.

        None if it takes a look that was not taken then.
        """
        if "clear" in figures and figures["low"] <= self._most:
            return None
        return self._judged(self.noun, figures)

    def _verdict(self, candidate: Model) -> Verdict:
        drop = self._drop(candidate)
        found, worth = drop.value, self._worth(drop)
        known = {
            "value": found.value / worth,
            "low": found.low / worth,
            "high": found.high / worth,
            "least": drop.least / worth,
            "samples": float(drop.count),
        }
        if worth != 1:
            known["worth"] = worth
        known["reserve"] = self._limits.kept(drop.unit)
        if drop.clear:
            known["clear"] = 1.0
        if drop.fitted is not None:
            known["seen"] = drop.fitted.value.value / self._worth(drop.fitted)
        return self._judged(drop.noun, known, drop.fitted)

    def _judged(self, noun: str, known: Mapping[str, float], fitted: Drop | None = None) -> Verdict:
        """Hold figures against the limit.

        Args:
            noun: What is counted.
            known: The figures.
            fitted: The loss on samples that passes were fitted to, if there is more to say of it.
        """
        limit, value, high = self.limit, known["value"], known["high"]
        worth = known.get("worth", 1.0)
        bound = limit + known.get("reserve", self.max_drop - self._budget)
        if self._confidence is None:
            bound = max(self._free + self._bound, known["least"])
        within = value <= limit + _ROUNDING
        held = within and high <= bound + _ROUNDING
        why = f"{'within' if held else 'more than'} the {limit * worth:.4g} allowed"
        if within and not held:
            why = f"so it may be more than {bound * worth:.4g}, "
            why += f"which the limit of {limit * worth:.4g} rules out"
        seen = known.get("seen", -math.inf)
        if held and seen > limit + _ROUNDING:
            held = False
            of, price = (noun, worth) if fitted is None else (fitted.noun, self._worth(fitted))
            what = "" if of == noun else f"{of} by "  # of another output
            why = f"but {what}{seen * price:.4f} on samples it was fitted to, "
            why += f"more than the {limit * price:.4g} allowed"
        percent = round(100 * (self._confidence or CONFIDENCE))
        message = (
            f"{noun} fell by {value * worth:.4f} (at most {high * worth:.4f} with {percent} % "
            f"confidence, {known['samples']:.0f} samples), {why}"
        )
        figures = {**known, "limit": limit, "bound": bound, "drop": max(value, seen)}
        return Verdict(held, self.kind, message, figures)

    def found_finite(self, candidate: Model) -> bool:
        """Whether a candidate was judged and made finite numbers alone on all the data."""
        known = self._known.get(fingerprint(candidate))
        return known is not None and known.finite

    def _worth(self, drop: Drop) -> float:
        return self._limits.worth(drop.unit)

    @property
    def _most(self) -> float:
        """What has clearly lost more is not looked at any farther."""
        return max(self.limit, self._free + self._bound)

    def _drop(self, candidate: Model) -> Drop:
        """Return what a candidate loses; the manager asks about what a search has asked about."""
        key = fingerprint(candidate)
        known = self._known.get(key)
        if known is None or (known.clear and known.value.low <= self._most * self._worth(known)):
            level = self._confidence or CONFIDENCE
            known = self._known[key] = self._meter.drop(candidate, level, self._limits, self._most)
        return known
