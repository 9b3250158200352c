"""The guard against passes that make a file bigger."""

from __future__ import annotations

from ocompress.ir import Model
from ocompress.ir.records import written_bytes
from ocompress.ir.serialized_size import serialized_bytes
from ocompress.pipeline.guard import Limit, Verdict


class SizeGuard:
    """Refuses candidates whose file would be too big beside the original's; deterministic."""

    kind = Limit.SIZE

    def __init__(self, reference: Model, max_ratio: float = 1.0) -> None:
        """Measure the reference.

        Args:
            reference: The original.
            max_ratio: Most bytes of a candidate, as a multiple of the reference's.
        """
        self.limit = max_ratio
        self._reference = reference
        self._bytes = max(serialized_bytes(reference), 1)

    def judge(self, candidate: Model, best: Model) -> Verdict:
        """Compare the serialized sizes.

        A candidate no bigger than `best` is held in any case: what came before it was bigger
        than allowed, and this pass is not to blame.
        """
        size = written_bytes(candidate, self._reference)
        ratio = size / self._bytes
        held = ratio <= self.limit or size <= written_bytes(best, self._reference)
        relation = "within" if ratio <= self.limit else "more than"
        message = (
            f"the model takes {size} bytes, {ratio:.4f} times the original, {relation} the "
            f"{self.limit:g} allowed"
        )
        figures = {"ratio": ratio, "bytes": float(size), "limit": self.limit}
        return Verdict(held, self.kind, message, figures)
