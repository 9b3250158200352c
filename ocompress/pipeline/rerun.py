"""Passes of fixed pipelines that did the same to the same model in an earlier run."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ocompress.diagnostics import Remark
from ocompress.ir import Model, Snapshot, fingerprint
from ocompress.pipeline.base import Numerics, Outcome, Pass
from ocompress.pipeline.memo import LARGEST

if TYPE_CHECKING:
    from ocompress.pipeline.context import Context


@dataclass(frozen=True)
class _Done:
    """What a pass did.

    Attributes:
        outcome: What it reported.
        remarks: What it said.
        made: The model that it made; None if it changed nothing.
    """

    outcome: Outcome
    remarks: tuple[Remark, ...]
    made: Snapshot | None


def run_or_repeat(item: Pass, model: Model, ctx: Context) -> Outcome:
    """Run a pass, or do what it did in an earlier run.

    That is known of lossy passes, which take their time, of fixed pipelines, where neither limits
    nor clocks decide anything, and of runs that tell people what was done.

    Args:
        item: The pass.
        model: Changed in place.
        ctx: Has the memory, where there is one.
    """
    memo = ctx.proposals
    lossy = item.numerics is Numerics.LOSSY
    if memo is None or memo.files is None or not (lossy and ctx.fixed and ctx.tells):
        return ctx.run_one(item, model)
    name = memo.named(_key(item, model, ctx), model)
    known = memo.read(name, model)
    if isinstance(known, _Done):
        if known.made is not None:
            model.become(known.made.restored())
        for remark in known.remarks:
            ctx.diagnostics.add(remark)
        ctx.analyses.invalidate(known.outcome.changed)
        return known.outcome
    said = len(ctx.diagnostics.remarks)
    outcome = ctx.run_one(item, model)
    if model.weight_bytes <= LARGEST:
        made = Snapshot.of(model) if outcome else None
        memo.write(name, _Done(outcome, tuple(ctx.diagnostics.remarks[said:]), made), model)
    return outcome


def _key(item: Pass, model: Model, ctx: Context) -> tuple[Hashable, ...]:
    """Return what the result of a pass depends on, beside all the data, program and target."""
    original = None if ctx.original is None else fingerprint(ctx.original)
    settings = tuple((k, repr(v)) for k, v in item.settings().items())
    later = tuple(map(str, ctx.following))
    what = (item.name, settings, later, ctx.allow_slower, ctx.seed, ctx.store.of)
    return ("done", *what, fingerprint(model), original)
