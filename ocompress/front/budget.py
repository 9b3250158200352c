"""What a result may cost, and the guards that see to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.errors import DataError, OptionError
from ocompress.front.limits import read_drop
from ocompress.io import Dataset, Feeds, as_dataset
from ocompress.ir import Model
from ocompress.ir.serialized_size import serialized_bytes
from ocompress.pipeline import Guard, Numerics, Pass
from ocompress.profiling import LatencyGuard, SizeGuard, profile
from ocompress.validation import AccuracyGuard, FiniteGuard, Metric, is_own, wanted_by
from ocompress.validation.meters import LastMeter
from ocompress.validation.unit_limits import DEFAULT_DROP

_SIZE_MARGIN, _SIZE_SLACK = 1.01, 4096
"""Factor and bytes by which a file may pass a limit on its size."""
_SECONDS = 0.3
"""Time for each model in the latency guard's first look."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits on a result; None is no limit.

    Attributes:
        max_drop: Loss of the metric that is allowed, absolute: 0.01 or "1%" is one point of a
            hundred. None limits lossy passes without a goal of their own by a default for each unit
            (`ocompress.validation.unit_limits`).
        metric: What is lost: `auto` (accuracy where there are labels, else the unit of each
            output), `accuracy`, a unit (`ocompress.validation.measures`), `OUTPUT=UNIT` for single
            outputs, separated by commas, or `module:function`.
        confidence: One-sided confidence at which the loss has to be within `max_drop`. None wants
            the estimate within it, and the upper end of its 95 % interval within twice of it.
        max_latency_ratio: Latency over the original's; measured only if the target is the host.
        max_size_ratio: Bytes of the file over the original's.
        max_latency_ms: Median latency of a run on this machine, milliseconds.
        max_bytes: Bytes of the file, its external data included.
        goals_count: Whether the default limits passes with a goal of their own, too.
    """

    max_drop: float | str | None = None
    metric: str = "auto"
    confidence: float | None = None
    max_latency_ratio: float | None = 1.0
    max_size_ratio: float | None = 1.0
    max_latency_ms: float | None = None
    max_bytes: float | None = None
    goals_count: bool = False

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            OptionError: Naming the limit that makes no sense.
        """
        if self.max_drop is not None:
            object.__setattr__(self, "max_drop", read_drop(self.max_drop, own=is_own(self.metric)))
        if self.confidence is not None and not 0.5 < self.confidence < 1:
            msg = f"confidence {self.confidence:g} must be above 0.5 and below 1, such as 0.95"
            raise OptionError(msg)
        for name in ("max_latency_ratio", "max_size_ratio", "max_latency_ms", "max_bytes"):
            limit = getattr(self, name)
            if limit is not None and not 0 < limit < np.inf:
                like = {"ratio": "0.5", "ms": "5", "bytes": "2e6"}[name.rsplit("_", 1)[-1]]
                msg = f"{name.replace('_', ' ')} {limit} must be above 0, such as {like}"
                raise OptionError(msg)
        if not is_own(self.metric):
            wanted_by(self.metric)

    @property
    def limit(self) -> float | None:
        """The limit on the drop that the user set, as a share."""
        return None if self.max_drop is None else float(self.max_drop)

    def user_metric(self) -> Metric | None:
        """Import the user's own metric, None for a named one.

        Raises:
            UsageError: If it cannot be imported.
        """
        return Metric.load(self.metric) if is_own(self.metric) else None

    def check_data(self, data: Dataset | None) -> None:
        """See that there are data to measure the metric on.

        Raises:
            OptionError: If a drop is limited without data.
            DataError: If accuracy is wanted without labels.
        """
        wanted = self.max_drop is not None or self.confidence is not None
        if data is None and (wanted or self.metric != "auto"):
            msg = "a limit on the drop or a metric needs data to measure on; give some with --data"
            raise OptionError(msg)
        if self.metric == "accuracy" and (data is None or data.labels is None):
            msg = "metric 'accuracy' needs labels; give some with --labels or in the data"
            raise DataError(msg)

    def size_limit(self, original: int) -> float:
        """Return the largest ratio of sizes that still counts as within the limit.

        Names and records of types may make a file of the same weights a little bigger.

        Args:
            original: Bytes of the original.
        """
        limit = self.max_size_ratio if self.max_size_ratio is not None else np.inf
        most = self.max_bytes / max(original, 1) if self.max_bytes is not None else np.inf
        return min(max(limit * _SIZE_MARGIN, limit + _SIZE_SLACK / max(original, 1)), most)

    def most_bytes(self, original: int | None) -> float | None:
        """Return the bytes that a file may take if it is to be smaller, None for any number.

        Args:
            original: Bytes of the original; None if they are not known.
        """
        found = [] if self.max_bytes is None else [self.max_bytes]
        ratio = self.max_size_ratio
        if ratio is not None and ratio < 1 and original is not None:
            found.append(ratio * original)
        return min(found, default=None)

    def guards(
        self,
        original: Model,
        data: Dataset | None,
        feeds: Feeds | None,
        passes: Sequence[Pass],
        *,
        fitted: Dataset | None = None,
        alike: bool = True,
        seen: Dataset | None = None,
        threads: int,
        seed: int,
        meter: LastMeter | None = None,
    ) -> list[Guard]:
        """Make the guards, the cheapest first.

        Args:
            original: What they compare with.
            data: For the metric; no pass has seen them.
            feeds: One call of the model, for latency; None leaves latency out.
            passes: What will be judged.
            fitted: What passes see of the data.
            alike: Whether these were drawn with `data`.
            seen: What outputs have to stay finite on; it may be made up.
            threads: Threads within an operator.
            seed: Makes the order of timed runs repeatable.
            meter: Has what earlier guards had the original run for.
        """
        made: list[Guard] = []
        if self.max_size_ratio is not None or self.max_bytes is not None:
            made.append(SizeGuard(original, self.size_limit(serialized_bytes(original))))
        limit, judge = self._limit_for(passes), None
        if limit is not None and data is not None:
            judge = AccuracyGuard(
                original,
                data,
                limit,
                metric=self.user_metric() or self.metric,
                confidence=self.confidence,
                default=self.max_drop is None,
                goals_count=self.goals_count,
                fitted=fitted,
                alike=alike,
                threads=threads,
                meter=meter,
            )
        if seen is not None:
            known = {} if judge is None or seen is not data else {"known": judge.found_finite}
            made.append(FiniteGuard(original, seen, threads=threads, **known))
        made += [] if judge is None else [judge]
        limit = None if feeds is None else self.latency_ratio(original, feeds, threads)
        if limit is not None and feeds is not None:
            guard = LatencyGuard(
                original,
                feeds,
                limit,
                threads=threads,
                seconds=_SECONDS,
                seed=seed,
            )
            made.append(guard)
        return made

    def latency_ratio(self, original: Model, feeds: Feeds, threads: int) -> float | None:
        """Return the limit on latency as a ratio; one in milliseconds takes a measurement."""
        limits = [self.max_latency_ratio] if self.max_latency_ratio is not None else []
        if self.max_latency_ms is not None:
            one = as_dataset([feeds], original)
            timed = profile(original, data=one, threads=threads, seconds=_SECONDS, memory=False)
            limits.append(self.max_latency_ms / timed.model.latency.p50_ms)
        return min(limits, default=None)

    def _limit_for(self, passes: Sequence[Pass]) -> float | None:
        """Return the limit on the drop, the default one where a pass has nothing to go by."""
        if self.limit is not None:
            return self.limit
        lost = [p for p in passes if p.numerics is Numerics.LOSSY and not p.has_goal]
        return DEFAULT_DROP if lost or self.goals_count else None
