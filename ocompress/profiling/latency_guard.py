"""The guard against passes that make a model slower."""

from __future__ import annotations

from ocompress.io.dataset import Feeds
from ocompress.ir import Model
from ocompress.pipeline.guard import Verdict


class LatencyGuard:
    """Refuses candidates that are clearly slower."""

    def __init__(
        self,
        reference: Model,
        feeds: Feeds,
        max_ratio: float = 1.0,
        *,
        margin: float = 0.03,
        threads: int = 1,
        seconds: float = 0.5,
        seed: int = 0,
    ) -> None:
        """Remember the reference and one feed to run."""

    def judge(self, candidate: Model, best: Model) -> Verdict:
        """Time `candidate` interleaved with `best` and the reference."""
        raise NotImplementedError
