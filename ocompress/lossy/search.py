"""How far lossy moves go: as far as the budget lets, or no farther than it wants."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ocompress.ir import Model
from ocompress.lossy.refit import Built
from ocompress.pipeline import Context, Limit, Verdict

if TYPE_CHECKING:
    from ocompress.lossy.engine import LossyPass, Plan, Proposal

_NOISE = 0.03
"""Part of the limit on latency that a measurement may be off by."""
_AIM, _ENOUGH = 0.85, 0.8
"""Parts of the limit on the drop that the next plan is aimed at, and with which the search ends.
The samples that judge also choose: what comes nearest to the limit on them is beyond it on others
more often than not."""
_USUAL = 0.14
"""What is lost for each unit of error as predicted, about, before anything was judged: 0.05 to 0.25
for channels and weights of six nets. What is lost of expected accuracy and the divergence that
errors are counted in both go with how near samples are to a decision."""
_DIGITS = 3
"""Of shares, so that an option can say the same."""
_GUESSES = 8
"""Plans that are looked at to find the one of a certain error."""


@dataclass
class Search:
    """Looks for the share of what moves save that may go.

    Attributes:
        item: The pass.
        model: The model as it was.
        proposal: Gives a plan for every share.
        ctx: Has the allowance.
        refused: What the limit said that the last plan did not hold.
    """

    item: LossyPass
    model: Model
    proposal: Proposal
    ctx: Context
    refused: Verdict | None = None
    _plans: dict[float, Plan] = field(default_factory=dict)
    _points: list[tuple[float, float]] = field(default_factory=list)
    """Of each plan that was judged, its error as predicted and the drop."""
    _seen: dict[tuple[tuple[str, int], ...], tuple[Built | None, Verdict | None]] = field(
        default_factory=dict
    )

    @property
    def _finest(self) -> float:
        """Shares that differ by less are alike; what rounding makes equal is, whatever is said."""
        return max(self.proposal.finest, 2 * 0.1**_DIGITS)

    def holds(self, candidate: Model) -> bool:
        """Whether a model keeps to the limits on the drop and on the size."""
        return not any(v and not v.held for v in self._verdicts(candidate))

    def _verdicts(self, candidate: Model) -> list[Verdict | None]:
        """Return what is said of the drop, and of the size: what layers share may be copied.

        Of a proposal that goes further for the size, that is asked later.
        """
        limits = (Limit.DROP, *([] if self.proposal.goes_further else [Limit.SIZE]))
        return [self.ctx.allowance.judged(limit, candidate, self.model) for limit in limits]

    def nearest(self, limit: Limit) -> tuple[Plan, Built, float] | None:
        """Return the plan that leaves most and is fast or small enough, by halving.

        Args:
            limit: On latency or size.

        Returns:
            With what was made of it, and the share; None if not even the one that leaves least is.
        """
        found: tuple[Plan, float] | None = None
        low, high = 0.0, 1.0
        middle = self.proposal.least if limit is Limit.LATENCY else 0.0
        while high - low > self._finest:
            plan = self._plan(middle)
            verdict = None
            if plan:
                quick = self.item.build(self.model, plan, self.ctx, fit=False)
                verdict = self.ctx.allowance.judged(limit, quick.model, self.model)
            if verdict and is_enough(verdict):
                found, low = (plan, middle), middle
            elif found is None:
                return None
            else:
                high = middle
            middle = _between(low, high)
        if found is None or not found[0]:
            return None
        return found[0], self.item.build(self.model, found[0], self.ctx, fit=True), found[1]

    def farthest(self) -> tuple[Plan, Built, float] | None:
        """Return the plan that leaves least and keeps to the limits on the drop and on the size.

        Every plan that was judged tells what an error as predicted does to the drop; the next one
        is aimed at the limit, within what is still open. What cannot be predicted is halved.

        Returns:
            With what was made of it, and the share; None if not even the one that leaves most
            holds.
        """
        found: tuple[Plan, Built, float] | None = None
        low, high = self.proposal.least, 1.0
        middle = low if self.proposal.hopeful else self._first(low, high)
        while high - low > self._finest:
            plan = self._plan(middle)
            if not plan:  # so little may go that nothing does
                high, middle = middle, _between(low, middle)
                continue
            built, verdict = self._judged(plan)
            if built is not None:
                found, high = (plan, built, middle), middle
                if _is_used_up(verdict):
                    break
            else:
                low = middle
            by_size = built is None and verdict is not None and verdict.held
            middle = _between(low, high) if by_size else self._next(plan, verdict, low, high)
        return found

    def why_none(self, *, within: bool) -> tuple[str, str]:
        """Return a code and a sentence on why no plan holds a limit, on the drop if `within`."""
        refused, noun = self.refused, self.item.noun
        if within and refused is not None and refused.guard == Limit.SIZE:
            return "larger", f"with any choice of {noun}, {refused.message}"
        if not within or refused is None or refused.figures:
            why = f"no choice of {noun} stays within the limit"
            return "too-lossy" if within else "too-slow", why
        # nothing was measured, as where an output became a constant
        code = "too-lossy" if refused.runs else "no-longer-runs"
        return code, f"with any choice of {noun}, {refused.message}"

    def _plan(self, share: float) -> Plan:
        if share not in self._plans:
            self._plans[share] = self.proposal.leaving(share)
        return self._plans[share]

    def _judged(self, plan: Plan) -> tuple[Built | None, Verdict | None]:
        """Build and judge a plan, once: neighbouring shares may have the same."""
        key = tuple(sorted((part, id(move)) for part, move in plan.items()))
        if key not in self._seen:
            built = self.item.build(self.model, plan, self.ctx, fit=True)
            found = self._verdicts(built.model)
            refused = next((v for v in found if v is not None and not v.held), None)
            self.refused = refused or self.refused
            self._seen[key] = None if refused else built, found[0]  # what is refused is let go
        return self._seen[key]

    def _next(self, plan: Plan, verdict: Verdict | None, low: float, high: float) -> float:
        """Return the share of the plan that is tried next, between two that were."""
        middle = _between(low, high)
        figures = verdict.figures if verdict is not None else {}
        drop, limit = figures.get("drop", 0.0), figures.get("limit", 0.0)
        error = sum(move.error for move in plan.values())
        if drop <= 0 or limit <= 0 or error <= 0 or (verdict and not verdict.held and drop < limit):
            return middle
        self._points.append((error, drop))
        return self._aimed(self._wanted(_AIM * limit), low, high)

    def _first(self, low: float, high: float) -> float:
        """Return the share of the plan that is tried first."""
        middle = _between(low, high)
        limit = self.ctx.allowance.left(Limit.DROP)
        if not limit or not sum(move.error for move in self._plan(middle).values()) > 0:
            return middle
        return self._aimed(_AIM * limit / _USUAL, low, high)

    def _aimed(self, wanted: float, low: float, high: float) -> float:
        """Return the share of the plan of a certain error, between two that were tried."""
        first, last = low, high
        for _ in range(_GUESSES):
            between = (first + last) / 2
            if sum(move.error for move in self._plan(between).values()) > wanted:
                first = between
            else:
                last = between
        margin = self._finest / 2
        return round(min(max(last, low + margin), high - margin), _DIGITS)

    def _wanted(self, drop: float) -> float:
        """Return the error that is likely to cost a drop.

        Between a plan that costs less and one that costs more, drops are a power of errors; beyond
        all that were judged they are in proportion.
        """
        below = max((p for p in self._points if p[1] < drop), default=None)
        above = min((p for p in self._points if p[1] >= drop), default=None)
        if below and above and below[0] < above[0]:
            part = math.log(drop / below[1]) / math.log(above[1] / below[1])
            return float(below[0] * (above[0] / below[0]) ** part)
        error, cost = self._points[-1]
        return error * drop / cost


def _between(low: float, high: float) -> float:
    return round((low + high) / 2, _DIGITS)


def _is_used_up(verdict: Verdict | None) -> bool:
    figures = verdict.figures if verdict is not None else {}
    return figures.get("limit", 0.0) > 0 and figures["drop"] >= _ENOUGH * figures["limit"]


def is_enough(verdict: Verdict) -> bool:
    """Whether a model is within the limit, and not merely no slower or larger than it was."""
    figures = verdict.figures
    if verdict.guard == Limit.SIZE and "ratio" in figures:
        return figures["ratio"] <= figures["limit"]
    if not verdict.held or "low_to_original" not in figures:
        return verdict.held
    return figures["low_to_original"] <= figures["limit"] * (1 + _NOISE)
