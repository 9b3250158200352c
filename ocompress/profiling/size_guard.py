"""The guard against passes that make a file bigger."""

from __future__ import annotations

from ocompress.ir import Model
from ocompress.pipeline.guard import Verdict


class SizeGuard:
    """Refuses candidates whose file would be too big beside the original's."""

    def __init__(self, reference: Model, max_ratio: float = 1.0) -> None:
        """Measure the reference."""

    def judge(self, candidate: Model, best: Model) -> Verdict:
        """Compare the serialized sizes."""
        raise NotImplementedError
