"""What a result may cost, as a pass sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ocompress.ir import Model
from ocompress.pipeline.guard import Guard, Limit, Purse, Verdict
from ocompress.pipeline.storage import as_kept


@dataclass(frozen=True)
class Allowance:
    """The limits that a pass has to keep.

    Attributes:
        guards: What will judge the model after the pass.
    """

    guards: Sequence[Guard] = ()

    def has(self, limit: Limit) -> bool:
        """Whether something is limited."""
        return self._guard(limit) is not None

    def is_asked_for(self, limit: Limit) -> bool:
        """Whether something is limited because somebody said so, and not by default."""
        guard = self._guard(limit)
        return guard is not None and not (isinstance(guard, Purse) and guard.default)

    def left(self, limit: Limit) -> float | None:
        """Return what a limit still allows the pass.

        Returns:
            For the drop, what the model may have lost after this pass, in units of the metric;
            for latency and size, the largest ratio to the original. None without a limit.
        """
        guard = self._guard(limit)
        return None if guard is None else guard.limit

    @property
    def asks_for_speed(self) -> bool:
        """Whether the model has to become faster than it is."""
        ratio = self.left(Limit.LATENCY)
        return ratio is not None and ratio < 1

    def judged(self, limit: Limit, candidate: Model, best: Model) -> Verdict | None:
        """Return what the guard of a limit would say of a candidate, None if there is none.

        A pass that has a choice asks before it decides. What is judged is what the manager will
        make of the candidate: weights are held as those of `best` are.

        Args:
            limit: Which one.
            candidate: What might become of the model; nodes may have been appended anywhere.
            best: The model as the pass was given it.
        """
        guard = self._guard(limit)
        if guard is None:
            return None
        if any(node.bodies for node in candidate.graph.nodes):
            candidate.sort()  # what bodies read of outside, runtimes want to have seen before
        return guard.judge(as_kept(best, candidate), best)

    def _guard(self, limit: Limit) -> Guard | None:
        return next((guard for guard in self.guards if guard.kind == limit), None)
