"""What every run on a model needs: its data, what judges look at, and one call that is timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ocompress.front.large import LARGE
from ocompress.front.reference import check_domains, check_reading, try_out
from ocompress.front.request import Request
from ocompress.front.samples import Samples, open_samples
from ocompress.front.witness import UNCHECKED, witness
from ocompress.io import (
    Dataset,
    Feeds,
    OneCall,
    as_dataset,
    is_archive,
    one_call,
    synthetic_data,
)
from ocompress.io.dataset import axes_of, cut_at, samples_in
from ocompress.ir import Model
from ocompress.pipeline import Guard, Instrument
from ocompress.validation import AccuracyGuard, Measure
from ocompress.validation.equivalence import RoundingEquivalence
from ocompress.validation.meters import LastMeter

_MOST_OUTPUTS = 6
"""Outputs of which it is said how they are counted."""


class Bench:
    """The original and everything that results are judged by, opened once.

    Attributes:
        request: What was asked.
        original: The model that came in.
        path: Its file, None if it is in memory only.
        hooks: Hooks around passes.
        large: Whether it is too large to be run in passing.
        samples: What passes see, and what judges see.
        sample: One call of the model, None if nothing is known that it runs on.
        call: The feed that is timed, as data of one call; None if nothing can be run.
        remarks: What a reader of any result must know.
        meter: What the original ran for, for guards of all pipelines.
    """

    def __init__(
        self,
        request: Request,
        original: Model,
        path: Path | None,
        hooks: Sequence[Instrument],
        *,
        lossy: bool,
    ) -> None:
        """Open the data and run the original once.

        Args:
            request: What was asked.
            original: The model that came in.
            path: Its file.
            hooks: Hooks around passes.
            lossy: Whether passes change what the model computes, so that judges need samples of
                their own.
        """
        self.request, self.original, self.path, self.hooks = request, original, path, tuple(hooks)
        self._said: set[str] = set()
        self.meter = LastMeter()
        self.large = original.weight_bytes > LARGE
        self.samples: Samples = open_samples(request, original, apart=lossy)
        self.remarks: list[str] = list(self.samples.remarks)
        for sentence in self.samples.announcements:
            self.announce(sentence)
        self.sample = self._try_out()
        self.call = self._timed_call()

    @property
    def timed(self) -> Feeds | None:
        """The feed of the call that is timed, None if nothing is timed here."""
        wanted = self.request.device.is_host and self.request.measure
        return next(iter(self.call)) if wanted and self.call is not None else None

    def announce(self, sentence: str) -> None:
        """Say something before work starts, once."""
        if sentence in self._said:
            return
        self._said.add(sentence)
        for hook in self.hooks:
            hook.announce(sentence)

    def announce_metric(self, guard: AccuracyGuard) -> None:
        """Say what outputs were taken for; of many only the first ones."""
        for sentence in guard.reasons[:_MOST_OUTPUTS]:
            self.announce(sentence)
        rest = len(guard.reasons) - _MOST_OUTPUTS
        if rest > 0:
            self.announce(f"{rest} more outputs are counted, see the report")

    def witness(self) -> RoundingEquivalence | None:
        """Return what exact passes are looked at on; says so if there is nothing."""
        found = witness(
            self.original,
            self.samples.fit,
            self.sample,
            threads=self.request.threads,
            seed=self.request.seed,
        )
        if found is None and UNCHECKED not in self.remarks:
            self.remarks.append(UNCHECKED)
        return found

    def _try_out(self) -> Feeds | None:
        if self.large:
            check_domains(self.original)
            self.remarks.append("the model is too large to be timed here; use ocompress profile")
            return None
        threads = self.request.threads
        feeds, why = try_out(self.original, self.samples.fit, threads=threads)
        if feeds is None:
            self.remarks.append(f"latency was not measured: {why}")
        elif self.path is not None and not is_archive(self.path):
            check_reading(self.path, self.original, feeds, threads=threads)
        return feeds

    def _timed_call(self) -> Dataset | None:
        if self.sample is None:
            return None
        batch, fit = self.request.batch, self.samples.fit
        if batch == 1 and fit is not None:  # cut as the data are, which one sample does not tell
            count, axes = samples_in(fit, self.sample), axes_of(fit)
            return OneCall(fit.source, self.sample, count, cut_at=cut_at(fit), axes=axes)
        if batch == 1:
            return as_dataset([self.sample], self.original)
        data = fit if fit is not None else synthetic_data(self.original, batch)
        return one_call(self.original, data, batch, threads=self.request.threads)


def watched(guards: Sequence[Guard]) -> tuple[AccuracyGuard | None, Mapping[str, Measure]]:
    """Return the guard of the drop, None without, and how it counts losses of outputs."""
    guard = next((g for g in guards if isinstance(g, AccuracyGuard)), None)
    return guard, {} if guard is None else guard.measures
