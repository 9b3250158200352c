"""One proposal for many goals: what a pass found out about a model serves its next run on it."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ocompress.ir import Model, fingerprint
from ocompress.lossy.refit import Built
from ocompress.lossy.rehearsing import misled
from ocompress.pipeline import Context

if TYPE_CHECKING:
    from ocompress.lossy.engine import LossyPass, Plan, Proposal, Reason


@dataclass(frozen=True)
class _Remembered:
    """A proposal, the model that it is about, and whether data were looked at for it."""

    model: Model
    proposal: Proposal
    reasons: Mapping[str, Reason]
    sighted: bool


def proposed(item: LossyPass, model: Model, ctx: Context) -> tuple[LossyPass, Model, Proposal]:
    """Return what a pass proposes for a model.

    Args:
        item: The pass.
        model: The model as it is.
        ctx: Has the memory, where there is one.

    Returns:
        The pass that goes on, which may be the one that goes by the weights alone; the model that
        the proposal is about, whose nodes it names; the proposal. That model is another one of the
        same content if the proposal was known.
    """
    if ctx.proposals is None:
        able = _seeing(item, model, ctx)
        return able, model, able.propose(model, ctx)
    key = _key(item, model, ctx)
    subject = model.alias()
    known = ctx.proposals.get(key, subject)
    if known is None:
        able = _seeing(item, model, ctx)
        proposal = able.propose(subject, ctx)
        known = _Remembered(subject, proposal, dict(proposal.reasons), able is item)
        ctx.proposals.put(key, known, subject)
    able = item if known.sighted else item.blind() or item
    known.proposal.reasons = dict(known.reasons)
    return able, known.model, known.proposal


def built(item: LossyPass, model: Model, plan: Plan, ctx: Context) -> Built:
    """Return the model of a plan, fitted; levels that are near to each other have the same plan.

    Args:
        item: The pass.
        model: The model that the plan is about.
        plan: The moves.
        ctx: Has the memory, where there is one.
    """
    digest = None if ctx.proposals is None else _digest(plan)
    if ctx.proposals is None or digest is None:
        return item.build(model, plan, ctx, fit=True)
    key = (_key(item, model, ctx), digest)
    known: Built | None = ctx.proposals.made(key)
    if known is None:
        known = item.build(model, plan, ctx, fit=True)
        if type(known) is not Built:  # it may name nodes of the model, which a clone has not
            return known
        ctx.proposals.keep_made(key, known, known.model.weight_bytes)
    return replace(known, model=known.model.clone())


def _key(item: LossyPass, model: Model, ctx: Context) -> tuple[Hashable, ...]:
    """Return what a proposal depends on: the pass but for its goals, model, target, data."""
    settings = tuple((k, repr(v)) for k, v in item.settings().items() if k not in item.aims)
    what = (item.name, settings, item.goals_given)
    return (*what, fingerprint(model), ctx.target.name, ctx.seed, ctx.store.of)


def _digest(plan: Plan) -> str | None:
    """Return what tells plans apart, None if one cannot be written down."""
    moves = [(m.part, m.method, m.setting, m.edit) for _, m in sorted(plan.items())]
    try:
        return hashlib.sha256(pickle.dumps(moves)).hexdigest()
    except Exception:  # an edit that holds what has no form outside
        return None


def _seeing(item: LossyPass, model: Model, ctx: Context) -> LossyPass:
    """Return the pass, or the one that goes by the weights alone where data mislead it."""
    blind = item.blind()
    return blind if blind is not None and misled(item, blind, model, ctx) else item
