"""The engine under lossy passes: they propose moves, it chooses, and proves that they pay.

A pass says what could become of each part of a model, at what cost (`LossyPass.propose`), and
makes the model of chosen moves (`build`). How far it goes is decided in one place, whatever the
moves are: what the options ask for; as far as the limit on the drop lets; no farther than a limit
on the latency wants; and only what is measured to be faster, where that is what moves are for.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ocompress.ir import Model
from ocompress.lossy import applying
from ocompress.lossy.layer_times import measured
from ocompress.lossy.proposal import Chosen, Plan, Proposal, Reason
from ocompress.lossy.refit import Built
from ocompress.lossy.remembering import built, proposed
from ocompress.lossy.search import Search, is_enough
from ocompress.pipeline import Context, Limit, Numerics, Outcome, Pass, Verdict, goals
from ocompress.pipeline.goals import Gauge

__all__ = ["FASTER", "Chosen", "LossyPass", "Plan", "Proposal", "Reason", "choose"]

FASTER = 0.99
"""Layers and models count as faster if they take less than this part of the time."""


class LossyPass(Pass):
    """A pass that proposes moves; what they have in common is done by the engine."""

    numerics = Numerics.LOSSY
    noun: ClassVar[str] = "moves"
    """What its moves are, for people."""
    aims: ClassVar[tuple[str, ...]] = ()
    """Goals that only `asked` looks at, so that one proposal serves all settings."""
    overlaps: ClassVar[bool] = False
    """Whether moves change layers of other parts, so that each has to be timed alone."""

    def blind(self) -> LossyPass | None:
        """Return the same pass going by the weights alone, where few samples might mislead it.

        The two are rehearsed against each other then, see `rehearsing.misled`. A pass with a
        switch `fit` does without it.
        """
        switch: dict[str, Any] = {"fit": False}
        return replace(self, **switch) if getattr(self, "fit", None) is True else None

    @abstractmethod
    def propose(self, model: Model, ctx: Context) -> Proposal:
        """Say what could become of each part of a model, and what it would cost.

        Args:
            model: The model as it is; not changed.
            ctx: Has data, target and analyses; is told what is left alone.
        """

    @abstractmethod
    def asked(self, proposal: Any) -> Plan:
        """Return the plan that the options ask for, where no limit says how far to go.

        Args:
            proposal: What `propose` returned. Reasons are noted in it.
        """

    def build(self, model: Model, plan: Plan, ctx: Context, *, fit: bool) -> Built:
        """Return a new model with moves made.

        The default applies the edits to a clone and fits what stands behind the first of them to
        what the original's layers make.

        Args:
            model: Not changed.
            plan: The moves.
            ctx: Has the data.
            fit: Whether layers are fitted; a model that is only timed need not be.
        """
        return applying.build(model, plan, ctx, fit=fit and ctx.has_data)

    def retreats(
        self, model: Model, proposal: Any, chosen: Chosen, verdict: Verdict, ctx: Context
    ) -> Iterator[Plan]:
        """Yield the plans to fall back to, one after the other, where a choice is not faster.

        The default leaves those parts as they are whose moves do not make their layers faster;
        the proposal learns of that. The verdict is the guard's on the choice.
        """
        yield _paying(self, model, proposal, chosen, ctx)

    def gauges(self, model: Model, proposal: Any, chosen: Chosen, ctx: Context) -> Iterator[Gauge]:
        """Yield how far the goals that its options set were reached, for all parts together.

        The default knows `max_macs`. Goals for each part need none: `finish` names those parts.

        Args:
            model: The model as it was.
            proposal: What `propose` returned.
            chosen: What came of it.
            ctx: Has the data.
        """
        if "max_macs" in self.goals_given:
            after = model if chosen.built is None else chosen.built.model
            yield goals.work_left(model, after, getattr(self, "max_macs"), ctx)  # noqa: B009

    def settled(self, proposal: Any, chosen: Chosen) -> dict[str, Any]:
        """Return options with which the pass chooses the same without limits and clocks.

        By default none is known.

        Args:
            proposal: What `propose` returned.
            chosen: What came of it.
        """
        return {}

    def finish(self, model: Model, proposal: Any, chosen: Chosen, ctx: Context) -> Outcome:
        """Say what was done, and change the model.

        The default names the parts in the report with what was thought and what was found.
        """
        return applying.finish(self, model, proposal, chosen, ctx)

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Propose, choose, build and prove."""
        item, subject, proposal = proposed(self, model, ctx)
        proposal.serve(item, ctx)
        face = model if subject is model else subject.alias()
        chosen = choose(item, subject, proposal, ctx)
        said = [] if ctx.previewing else list(item.gauges(subject, proposal, chosen, ctx))
        outcome = item.finish(face, proposal, chosen, ctx)
        more = goals.told(said, ctx)
        if rows := proposal.explained(chosen.plan):
            more["choices"] = rows
        if chosen.built is not None and (options := item.settled(proposal, chosen)):
            more["settled"] = options
        if more:
            outcome = replace(outcome, details={**outcome.details, **more})
        if face.graph is not subject.graph:
            model.become(face)
        return outcome


def choose(item: LossyPass, model: Model, proposal: Proposal, ctx: Context) -> Chosen:
    """Choose moves and build them.

    Args:
        item: The pass.
        model: The model as it is.
        proposal: What could be done.
        ctx: Has the allowance.

    Returns:
        What was chosen; where nothing was, the proposal holds the reason for each part.
    """
    search = Search(item, model, proposal, ctx)
    within = ctx.allowance.has(Limit.DROP)
    hurried = item.saves_time and ctx.allowance.asks_for_speed
    searched = not item.has_goal and proposal.searched
    if searched and (within or hurried):
        found = search.farthest() if within else search.nearest(Limit.LATENCY)
        if found is None:
            return _nothing(proposal, *search.why_none(within=within))
        chosen = Chosen(*found)
    else:
        plan = item.asked(proposal)
        made = (proposal.known(plan) or built(item, model, plan, ctx)) if plan else None
        chosen = Chosen(plan, made)
    chosen = _small_enough(search, chosen)
    verdict = _too_slow(item, model, proposal, chosen, ctx)
    if verdict is None:
        return chosen
    for plan in item.retreats(model, proposal, chosen, verdict, ctx):
        less = Chosen(plan, item.build(model, plan, ctx, fit=True) if plan else None)
        # it need not be a part of what was held against the limit on the drop
        if _too_slow(item, model, proposal, less, ctx) is None and (
            not searched or less.built is None or search.holds(less.built.model)
        ):
            return less
    why = f"with these {item.noun} the model does not measure faster here: nothing was changed"
    return _nothing(proposal, "not-faster", why, chosen.plan)


def _small_enough(search: Search, chosen: Chosen) -> Chosen:
    """Return a choice that leaves less than asked for, where the file is too large otherwise."""
    if not search.proposal.goes_further:
        return chosen
    model = search.model if chosen.built is None else chosen.built.model
    verdict = search.ctx.allowance.judged(Limit.SIZE, model, search.model)
    found = None if verdict is None or is_enough(verdict) else search.nearest(Limit.SIZE)
    if found is None or not search.holds(found[1].model):
        return chosen
    return Chosen(*found)


def _too_slow(
    item: LossyPass, model: Model, proposal: Proposal, chosen: Chosen, ctx: Context
) -> Verdict | None:
    """Return what the guard says of a model that has to be faster and is not; else None."""
    if not item.saves_time or chosen.built is None or not proposal.is_timed(chosen.plan):
        return None
    verdict = ctx.allowance.judged(Limit.LATENCY, chosen.built.model, model)
    if verdict is None or (verdict.held and verdict.figures.get("ratio", 1.0) < FASTER):
        return None
    return verdict


def _paying(
    item: LossyPass, model: Model, proposal: Proposal, chosen: Chosen, ctx: Context
) -> Plan:
    """Return the moves whose layers are faster, each made alone where it moves others' layers."""
    assert chosen.built is not None
    found = {}
    together = None if item.overlaps else measured(model, chosen.built.model, ctx)
    for done, (part, move) in enumerate(chosen.plan.items()):
        times = together
        if item.overlaps:
            ctx.progress(f"{ctx.source}: timing {item.noun}", done, len(chosen.plan))
            alone = item.build(model, {part: move}, ctx, fit=False).model
            times = measured(model, alone, ctx)
        row = {} if times is None else proposal.times_of(part, times)
        if row and row["ms_after"] < row["ms_before"] * FASTER:
            found[part] = move
            continue
        why = f"with {move.setting} its layers do not measure faster here"
        proposal.reasons[part] = Reason("not-faster", why)
    for part in chosen.plan.keys() - found.keys():
        proposal.drop(chosen.plan, part)
    return found


def _nothing(
    proposal: Proposal, code: str, why: str, parts: Mapping[str, object] | None = None
) -> Chosen:
    for part in proposal.layers if parts is None else parts:
        proposal.reasons[part] = Reason(code, why)
    return Chosen()
