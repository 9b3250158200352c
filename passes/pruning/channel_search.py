"""Which groups are faster for losing channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ocompress.analysis.channels import Group
from ocompress.lossy.budget_search import FASTER, BudgetSearch
from ocompress.lossy.layer_times import measured
from ocompress.lossy.refit import Built
from ocompress.pipeline import Context
from passes.pruning.channel_builder import Builder

Counts = list[int]
"""How many channels of each group go."""


def search_for(
    builder: Builder, plan: Callable[[float], Counts], ctx: Context
) -> BudgetSearch[Counts, Built]:
    """Return the search for how many channels may go.

    Args:
        builder: Makes the models.
        plan: Gives the counts for a share of the work that may be left.
        ctx: Has the guards.
    """

    def some(left: float) -> Counts | None:
        counts = plan(left)
        return counts if any(counts) else None

    def build(counts: Counts, fit: bool) -> Built:
        return builder.build(counts, fit=None if fit else False)

    return BudgetSearch(builder.model, some, build, ctx)


def paying(
    builder: Builder, groups: Sequence[Group], counts: Sequence[int], ctx: Context
) -> list[bool]:
    """Return for each group whether losing its channels alone makes its layers faster."""
    found = []
    stage = f"{ctx.source}: timing groups"
    for at, (group, count) in enumerate(zip(groups, counts, strict=True)):
        ctx.progress(stage, at, len(counts))
        alone = [count if i == at else 0 for i in range(len(counts))]
        found.append(bool(count) and _pays(builder, group, alone, ctx))
    return found


def _pays(builder: Builder, group: Group, counts: Sequence[int], ctx: Context) -> bool:
    variant = builder.build(counts, fit=False).model
    times = measured(builder.model, variant, ctx)
    row = {} if times is None else times.of(layers_of(group))
    return bool(row) and row["ms_after"] < row["ms_before"] * FASTER


def layers_of(group: Group) -> set[str]:
    """Return the labels of all nodes that make or read the channels of a group."""
    near = {cut.node.label for cut in group.cuts}
    return near | {n.label for part in group.values for n, _ in part.value.users}
