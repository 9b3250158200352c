"""How far a compression goes: as far as the budget lets it, and only if that is faster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ocompress.ir import Model
from ocompress.pipeline import Context, Verdict

_FINEST = 0.03
"""Halving ends when the shares of work that are left differ by less."""
_LEAST = 0.1
_NOISE = 0.03
"""Part of the limit on latency that a measurement may be off by."""
FASTER = 0.99
"""A model counts as faster if it takes less than this part of the time."""


class HasModel(Protocol):
    """Something made from a plan."""

    @property
    def model(self) -> Model:
        """The model that was made."""
        ...


Plan = TypeVar("Plan")
Built = TypeVar("Built", bound=HasModel)


@dataclass
class BudgetSearch(Generic[Plan, Built]):
    """Looks for how much of the work may go.

    Attributes:
        model: The model as it was.
        plan: Gives a plan for a share of the work that may be left; None if it changes nothing.
        build: Makes the model of a plan; fitted to data or, for timing it, not.
        ctx: Has the guards.
    """

    model: Model
    plan: Callable[[float], Plan | None]
    build: Callable[[Plan, bool], Built]
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

    def nearest(self) -> tuple[Plan, Built] | None:
        """Return the plan that leaves most work and is fast enough, by halving.

        Returns:
            None if not even the one that leaves least is.
        """
        found: Plan | None = None
        low, high = 0.0, 1.0
        middle = _LEAST
        while high - low > _FINEST:
            plan = self.plan(middle)
            verdict = None
            if plan is not None:
                quick = self.build(plan, False)
                verdict = self.ctx.judged("latency", quick.model, self.model)
            if verdict and _fast_enough(verdict):
                found, low = plan, middle
            elif found is None:
                return None
            else:
                high = middle
            middle = (low + high) / 2
        return None if found is None else (found, self.build(found, True))

    def farthest(self) -> tuple[Plan, Built] | None:
        """Return the plan that leaves least work and keeps to the limit on the drop, by halving.

        Returns:
            None if not even the one that leaves most holds.
        """
        found: tuple[Plan, Built] | None = None
        low, high = _LEAST, 1.0
        while high - low > _FINEST:
            middle = (low + high) / 2
            plan = self.plan(middle)
            built = None if plan is None else self.build(plan, True)
            if plan is not None and built is not None and self._holds(built):
                found, high = (plan, built), middle
            else:
                low = middle
        return found

    def is_faster(self, built: Built) -> bool | None:
        """Return whether the model is measured faster; None if nothing is measured here."""
        verdict = self.ctx.judged("latency", built.model, self.model)
        if verdict is None:
            return None
        return verdict.held and verdict.figures.get("ratio", 1.0) < FASTER

    def _holds(self, built: Built) -> bool:
        verdict = self.ctx.judged("max-drop", built.model, self.model)
        return verdict is None or verdict.held


def _fast_enough(verdict: Verdict) -> bool:
    """Whether a model is within the limit on latency, not merely no slower than it was."""
    figures = verdict.figures
    if not verdict.held or "limit" not in figures:
        return verdict.held
    return figures["low_to_original"] <= figures["limit"] * (1 + _NOISE)
