"""How far channels go: as far as the budget lets them, and only where that is faster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ocompress.analysis.channels import Group
from ocompress.pipeline import Context
from passes.pruning.channel_builder import Builder, Built
from passes.pruning.timing import measured

_FINEST = 0.03
"""Halving ends when the shares of work that are left differ by less."""
_LEAST = 0.1
_FASTER = 0.99
"""A model counts as faster if it takes less than this part of the time."""


@dataclass
class Search:
    """Looks for how many channels may go.

    Attributes:
        builder: Makes the models.
        groups: The groups that may lose channels.
        plan: Gives the counts for a share of the work that may be left.
        ctx: Has the guards.
    """

    builder: Builder
    groups: Sequence[Group]
    plan: Callable[[float], list[int]]
    ctx: Context

    @property
    def limited(self) -> bool:
        """Whether there is a limit on the drop to go as far as."""
        return any(g.kind == "max-drop" for g in self.ctx.guards)

    @property
    def hurried(self) -> bool:
        """Whether the model has to become faster than it is."""
        return any(
            g.kind == "latency" and getattr(g, "max_ratio", 1.0) < 1 for g in self.ctx.guards
        )

    def nearest(self) -> tuple[list[int], Built] | None:
        """Return the counts that leave most work and are fast enough, by halving.

        Returns:
            None if not even the largest cut is.
        """
        found: list[int] | None = None
        low, high = 0.0, 1.0
        middle = _LEAST
        while high - low > _FINEST:
            counts = self.plan(middle)
            built = self.builder.build(counts, fit=False) if any(counts) else None
            verdict = built and self.ctx.judged("latency", built.model, self.builder.model)
            if verdict and verdict.held:
                found, low = counts, middle
            elif found is None:
                return None
            else:
                high = middle
            middle = (low + high) / 2
        return None if found is None else (found, self.builder.build(found))

    def farthest(self) -> tuple[list[int], Built] | None:
        """Return the counts that leave least work and keep to the limit on the drop, by halving.

        Returns:
            None if not even the smallest cut holds.
        """
        found: tuple[list[int], Built] | None = None
        low, high = _LEAST, 1.0
        while high - low > _FINEST:
            middle = (low + high) / 2
            counts = self.plan(middle)
            built = self.builder.build(counts) if any(counts) else None
            if built is not None and self._holds(built):
                found, high = (counts, built), middle
            else:
                low = middle
        return found

    def is_faster(self, built: Built) -> bool | None:
        """Return whether the model is measured faster; None if nothing is measured here."""
        verdict = self.ctx.judged("latency", built.model, self.builder.model)
        if verdict is None:
            return None
        return verdict.held and verdict.figures.get("ratio", 1.0) < _FASTER

    def paying(self, counts: Sequence[int]) -> list[bool]:
        """Return for each group whether losing its channels alone makes its layers faster."""
        found = []
        stage = f"{self.ctx.source}: timing groups"
        for at, (group, count) in enumerate(zip(self.groups, counts, strict=True)):
            self.ctx.progress(stage, at, len(counts))
            alone = [count if i == at else 0 for i in range(len(counts))]
            found.append(bool(count) and self._pays(group, alone))
        return found

    def _pays(self, group: Group, counts: Sequence[int]) -> bool:
        variant = self.builder.build(counts, fit=False).model
        times = measured(self.builder.model, variant, self.ctx)
        row = {} if times is None else times.of(layers_of(group))
        return bool(row) and row["ms_after"] < row["ms_before"] * _FASTER

    def _holds(self, built: Built) -> bool:
        verdict = self.ctx.judged("max-drop", built.model, self.builder.model)
        return verdict is None or verdict.held


def layers_of(group: Group) -> set[str]:
    """Return the labels of all nodes that make or read the channels of a group."""
    near = {cut.node.label for cut in group.cuts}
    return near | {n.label for part in group.values for n, _ in part.value.users}
