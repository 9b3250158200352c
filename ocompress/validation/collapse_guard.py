"""The guard against outputs that have nothing to do with the original's any more."""

from __future__ import annotations

from collections.abc import Sequence

from ocompress.io import Unlabelled
from ocompress.io.dataset import Dataset
from ocompress.ir import Model
from ocompress.pipeline.base import Numerics, Pass
from ocompress.pipeline.guard import Verdict
from ocompress.runtime import Level
from ocompress.validation.runs import Runner


class CollapseGuard:
    """Refuses candidates of which an output collapsed (`ocompress.validation.collapse`).

    Nearly no result does, so it is asked only once the last look at one found that. As a purse, it
    waits for a pass that makes good what others did.
    """

    kind = "collapse"
    limit = 0.0
    default = False

    def __init__(self, reference: Model, data: Dataset, *, threads: int = 1) -> None:
        """Take the data.

        Args:
            reference: The original.
            data: Feeds that results are judged on.
            threads: Threads within an operator; 0 takes all cores.
        """
        self._reference, self._data, self._threads = reference, Unlabelled(data), threads

    def judge(self, candidate: Model, best: Model) -> Verdict:
        """Run `candidate` and the original over all data; `best` is not looked at."""
        levels = (Level.ALL, Level.DISABLED)
        found = Runner(self._data, None, levels).run(self._reference, candidate, self._threads)
        for check in found.checks:
            if not check.passed and check.name.startswith("runs"):
                why = f"the model no longer runs: {check.message}"
                return Verdict(False, self.kind, why, runs=False)
        lost = next((check for check in found.related if not check.passed), None)
        return Verdict(lost is None, self.kind, "no output collapsed" if not lost else lost.message)

    def restart(self) -> None:
        """Begin a pipeline: there is nothing to spend."""

    def applies_to(self, item: Pass) -> bool:
        """Whether a pass may make outputs collapse."""
        return item.numerics is Numerics.LOSSY

    def open(self, item: Pass, best: Model, later: Sequence[Pass]) -> None:
        """Begin a pass: there is nothing to share."""

    def close(self, item: Pass, kept: Model, verdict: Verdict | None) -> None:
        """End a pass: nothing was spent."""
