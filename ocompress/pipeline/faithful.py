"""Passes that say they keep the outputs, and what is done about one that does not.

They are run one after the other and looked at together, because a look costs two sessions. Only
when the outputs differ is the pass looked for, by halving, and in a family its member. It is left
out, and the others run again from the model they began with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ocompress.analysis.manager import AnalysisManager
from ocompress.diagnostics import Diagnostics
from ocompress.ir import Model
from ocompress.pipeline.base import Family, Pass
from ocompress.pipeline.context import Context
from ocompress.pipeline.guard import Equivalence, Verdict

GUARD = "outputs"
"""What verdicts of this kind are called."""


@dataclass(frozen=True)
class CheckedStep:
    """A pass that changed the model.

    Attributes:
        place: Which of the passes it is.
        item: The pass.
        before: The model it was given.
        after: What it made of it.
        context: Its view of the surroundings.
    """

    place: int
    item: Pass
    before: Model
    after: Model
    context: Context


@dataclass(frozen=True)
class Lie:
    """A pass that changed outputs it said it would keep.

    Attributes:
        place: Which of the passes it is, or is a member of.
        name: The pass, or the member of a family.
        verdict: Says so.
    """

    place: int
    name: str
    verdict: Verdict


def find_lie(steps: Sequence[CheckedStep], judge: Equivalence) -> Lie | None:
    """Return the pass that changed the outputs, None if they are as they were.

    Args:
        steps: The passes that changed something, in order.
        judge: Compares outputs.
    """
    if not steps or not judge.difference(steps[0].before, steps[-1].after):
        return None
    start = steps[0].before
    found = first_that([s.after for s in steps], lambda m: bool(judge.difference(start, m)))
    step = steps[found]
    said, name = judge.difference(start, step.after), step.item.name
    if isinstance(step.item, Family):
        name = _member(step, judge) or name
    who = f"its pass {name!r}" if name != step.item.name else f"{name!r}"
    message = (
        f"{who} is meant to keep the outputs, but {said}; it was left out (this is a bug in that "
        "pass, please report it)"
    )
    return Lie(step.place, name, Verdict(False, GUARD, message))


def first_that(models: Sequence[Model], differs: Callable[[Model], bool]) -> int:
    """Return the index of a model that differs, while the one before it does not.

    Args:
        models: In order; the last one differs.
        differs: Whether one differs.
    """
    low, high = -1, len(models) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if differs(models[middle]):
            high = middle
        else:
            low = middle
    return high


def _member(step: CheckedStep, judge: Equivalence) -> str:
    """Return the member of a family that changed the outputs, empty if none can be told."""
    trail: list[tuple[str, Model]] = []
    context = replace(
        step.context,
        analyses=AnalysisManager(step.context.analyses.data),
        diagnostics=Diagnostics(),
        watch=lambda member, model: trail.append((member.name, model.clone())),
    )
    context.run_one(step.item, step.before.clone())

    def differs(model: Model) -> bool:
        return bool(judge.difference(step.before, model))

    if not trail or not differs(trail[-1][1]):
        return ""
    return trail[first_that([model for _, model in trail], differs)][0]
