"""The guard against outputs that become NaN or infinite."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ocompress.analysis.nonfinite import kinds_differ
from ocompress.errors import DataError, RuntimeFailureError
from ocompress.io.dataset import Dataset
from ocompress.ir import Model
from ocompress.pipeline.guard import Verdict
from ocompress.runtime import Level
from ocompress.validation.decisions import as_float, is_float
from ocompress.validation.sources import LiveSource
from ocompress.wording import counted

_SAMPLES = 256
"""Samples that are looked at, at most; what is written is checked on all of them."""


class FiniteGuard:
    """Refuses candidates that give NaN or infinities where the original does not.

    Whatever may be lost: a channel that is constant has no deviation to be divided by, and the
    best state before is worth more than nothing.
    """

    kind = "finite"
    limit = 0.0

    def __init__(
        self,
        reference: Model,
        data: Dataset,
        *,
        threads: int = 1,
        known: Callable[[Model], bool] = lambda _: False,
    ) -> None:
        """Take the first samples.

        Args:
            reference: The original; it runs only where a candidate has such values.
            data: Feeds that results are judged on.
            threads: Threads within an operator; 0 takes all cores.
            known: Whether somebody saw on these very data that a candidate's outputs are finite.
        """
        self._reference, self._threads, self._known = reference, threads, known
        self._data = data.take(_SAMPLES)

    def judge(self, candidate: Model, best: Model) -> Verdict:
        """Run `candidate` and, where its outputs are not finite, the original; `best` is not.

        What a search has judged on the same data does not run again.
        """
        try:
            lost = 0 if self._known(candidate) else self._lost(candidate)
        except (RuntimeFailureError, DataError) as error:
            return Verdict(False, self.kind, f"the model no longer runs: {error}", runs=False)
        where = f"on {counted(self._data.samples, 'sample')}"
        message = f"{counted(lost, 'value')} of the outputs became NaN or infinite {where}"
        return Verdict(not lost, self.kind, message, {"lost": float(lost)})

    def _lost(self, candidate: Model) -> int:
        """Return how many values of outputs are not finite, and not so in the original either."""
        source = LiveSource(candidate, Level.ALL, self._threads)
        reference: LiveSource | None = None
        lost = 0
        for feeds in self._data:
            odd = {
                name: values
                for name, made in source.outputs(feeds).items()
                if is_float(made) and not np.isfinite(values := as_float(made)).all()
            }
            if not odd:
                continue
            reference = reference or LiveSource(self._reference, Level.ALL, self._threads)
            known = reference.outputs(feeds)
            for name, values in odd.items():
                if name in known and known[name].shape == values.shape:
                    lost += int(kinds_differ(as_float(known[name]), values).sum())
        return lost
