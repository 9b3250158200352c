"""What the trials of a plan are judged by, and what builds them: the same wherever that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ocompress.analysis import MeasurementStore
from ocompress.auto import Workshop
from ocompress.front.bench import Bench, watched
from ocompress.front.budget import Budget
from ocompress.front.measuring import meters
from ocompress.front.plans import Planning
from ocompress.front.remembered import proposals
from ocompress.io import Split, hold_out
from ocompress.io.holdout import SHARE
from ocompress.pipeline import Instrument
from ocompress.validation import AccuracyGuard

_LARGEST_SHARE = 0.34
"""Part of the samples to fit to that plans are chosen on, at most."""


class Choice:
    """The judge of trials and their samples.

    Attributes:
        guard: Says what trials lost.
        budget: The limits, that on the drop included.
        split: The samples that passes see, and those that plans are chosen on.
        meters: What is measured of trials.
    """

    def __init__(self, bench: Bench, planning: Planning) -> None:
        """Set samples apart, and run the original on them."""
        self.bench = bench
        self.guard, self.budget, self.split = self._judge()
        self.meters = meters(bench, self.guard, planning)

    def workshop(self, instruments: Sequence[Instrument], measured: Path | None = None) -> Workshop:
        """Return what builds trials in this process.

        Args:
            instruments: Hooks around passes.
            measured: Where others find what is measured, if there is no cache.
        """
        bench, request = self.bench, self.bench.request
        return Workshop(
            original=bench.original,
            target=request.device,
            data=self.split.fit,
            meters=self.meters,
            seed=request.seed,
            equivalence=bench.witness(),
            store=MeasurementStore(folder=request.cache or measured, data=self.split.fit),
            instruments=instruments,
            proposals=proposals(request, self.split.fit),
        )

    def _judge(self) -> tuple[AccuracyGuard, Budget, Split]:
        """Return what judges trials, the budget with its limit on the drop, and the samples.

        Trials are chosen on samples that neither passes nor the final verdict see.
        """
        bench = self.bench
        assert bench.samples.fit is not None  # there are data
        split = hold_out(bench.samples.fit, share=self._share(), seed=bench.request.seed)
        budget = replace(bench.request.budget, goals_count=True)  # of plans, nobody set the goals
        guard, _ = watched(
            budget.guards(
                original=bench.original,
                data=split.held_out,
                feeds=None,
                passes=(),
                fitted=split.fit,
                threads=bench.request.threads,
                seed=bench.request.seed,
            )
        )
        assert guard is not None  # there are data and a limit
        bench.announce_metric(guard)
        bench.announce(
            f"plans are chosen on {split.held_out.samples} of the samples to fit to, which passes "
            "see only once the plan is made"
        )
        return guard, budget, split

    def _share(self) -> float:
        """Return the part of the samples to fit to that makes as many as the verdict has."""
        fit, judged = self.bench.samples.fit, self.bench.samples.judged_on
        assert fit is not None
        as_many = SHARE if judged is None else judged.samples / max(fit.samples, 1)
        return min(max(as_many, SHARE), _LARGEST_SHARE)
