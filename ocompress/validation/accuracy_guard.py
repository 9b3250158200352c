"""The guard behind `--max-drop`."""

from __future__ import annotations

from typing import Literal

from ocompress.io.dataset import Dataset
from ocompress.ir import Model
from ocompress.pipeline.guard import Verdict
from ocompress.validation.metric import Metric


class AccuracyGuard:
    """Refuses candidates whose quality on the data fell by more than is allowed."""

    def __init__(
        self,
        reference: Model,
        data: Dataset,
        max_drop: float,
        *,
        metric: Literal["agreement", "accuracy"] | Metric = "agreement",
        threads: int = 1,
    ) -> None:
        """Run the reference over the data once."""

    def judge(self, candidate: Model, best: Model) -> Verdict:
        """Compare `candidate` with the reference; `best` is not looked at."""
        raise NotImplementedError
