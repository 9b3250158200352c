"""What a result may cost, and the guards that see to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ocompress.errors import DataError, OptionError
from ocompress.io import Dataset, Feeds, as_dataset
from ocompress.ir import Model
from ocompress.ir.weigh import serialized_bytes
from ocompress.pipeline import Guard
from ocompress.profiling import LatencyGuard, SizeGuard, profile
from ocompress.validation import AccuracyGuard, Metric

_SIZE_MARGIN, _SIZE_SLACK = 1.01, 4096
"""Factor and bytes by which a file may pass a limit on its size."""
_SECONDS = 0.3
"""Time for each model in the latency guard's first look."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits on a result; None is no limit.

    Attributes:
        max_drop: Loss of the metric that is allowed, absolute: 0.01 is one point of a hundred.
        metric: `agreement` (the same decisions as the original), `accuracy` (needs labels), or
            `module:function`.
        max_latency_ratio: Latency over the original's; measured only if the target is the host.
        max_size_ratio: Bytes of the file over the original's.
        max_latency_ms: Median latency of a run on this machine, milliseconds.
        max_bytes: Bytes of the file, its external data included.
    """

    max_drop: float | None = None
    metric: str = "agreement"
    max_latency_ratio: float | None = 1.0
    max_size_ratio: float | None = 1.0
    max_latency_ms: float | None = None
    max_bytes: float | None = None

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            OptionError: Naming the limit that makes no sense.
        """
        if self.max_drop is not None and not 0 <= self.max_drop < np.inf:
            msg = f"max drop {self.max_drop} must not be negative"
            raise OptionError(msg)
        for name in ("max_latency_ratio", "max_size_ratio", "max_latency_ms", "max_bytes"):
            limit = getattr(self, name)
            if limit is not None and not 0 < limit < np.inf:
                msg = f"{name.replace('_', ' ')} {limit} must be above 0"
                raise OptionError(msg)
        if ":" not in self.metric and self.metric not in ("agreement", "accuracy"):
            msg = f"metric {self.metric!r} is not agreement, accuracy or module:function"
            raise OptionError(msg)

    def user_metric(self) -> Metric | None:
        """Import the user's own metric, None for a named one.

        Raises:
            UsageError: If it cannot be imported.
        """
        return Metric.load(self.metric) if ":" in self.metric else None

    def check_data(self, data: Dataset | None) -> None:
        """See that there are data to measure the metric on.

        Raises:
            OptionError: If a drop is limited without data.
            DataError: If accuracy is wanted without labels.
        """
        if data is None and (self.max_drop is not None or ":" in self.metric):
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

    def guards(
        self,
        original: Model,
        data: Dataset | None,
        feeds: Feeds | None,
        *,
        threads: int,
        seed: int,
    ) -> list[Guard]:
        """Make the guards, the cheapest first.

        Args:
            original: What they compare with.
            data: For the metric.
            feeds: One call of the model, for latency; None leaves latency out.
            threads: Threads within an operator.
            seed: Makes the order of timed runs repeatable.
        """
        made: list[Guard] = []
        if self.max_size_ratio is not None or self.max_bytes is not None:
            made.append(SizeGuard(original, self.size_limit(serialized_bytes(original))))
        if self.max_drop is not None and data is not None:
            named: Literal["agreement", "accuracy"] = (
                "accuracy" if self.metric == "accuracy" else "agreement"
            )
            metric = self.user_metric() or named
            made.append(
                AccuracyGuard(original, data, self.max_drop, metric=metric, threads=threads)
            )
        limit = None if feeds is None else self._latency_ratio(original, feeds, threads)
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

    def _latency_ratio(self, original: Model, feeds: Feeds, threads: int) -> float | None:
        """Return the limit on latency as a ratio; one in milliseconds takes a measurement."""
        limits = [self.max_latency_ratio] if self.max_latency_ratio is not None else []
        if self.max_latency_ms is not None:
            one = as_dataset([feeds], original)
            timed = profile(original, data=one, threads=threads, seconds=_SECONDS, memory=False)
            limits.append(self.max_latency_ms / timed.model.latency.p50_ms)
        return min(limits, default=None)
