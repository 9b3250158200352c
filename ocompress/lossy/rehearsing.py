"""Whether so few samples tell more than the weights alone do."""

from __future__ import annotations

import math
from dataclasses import replace

from ocompress.analysis import AnalysisManager
from ocompress.analysis.left_out import Dealt, parts_of
from ocompress.analysis.observe import has_free_batch
from ocompress.analysis.sensitivity import Edit, sensitivity
from ocompress.diagnostics import Diagnostics, Severity
from ocompress.ir import Model
from ocompress.pipeline import Allowance, Context, Limit, Pass

FEW = 32
"""Samples up to which a pass is rehearsed; on more, data were better than none on all our nets."""
_FEWEST = 6


def misled(item: Pass, blind: Pass, model: Model, ctx: Context) -> bool:
    """Say whether a pass that goes by few samples does worse than one that goes by the weights.

    Both run on clones, the one with two samples of three, and the third judges what the model's
    outputs lose. What it says of itself on the samples that it is fitted to would say nothing.
    A limit on the drop sees to it anyway, on samples that are held out, and what a fixed pipeline
    says was found so.

    Args:
        item: The pass as it goes by data.
        blind: The same with its goal, going by the weights alone.
        model: The model as it is; not changed.
        ctx: Has the data.

    Returns:
        True, with a remark, only if the other is clearly better: by more than chance makes it.
    """
    if not ctx.has_data or ctx.previewing or ctx.fixed or isinstance(ctx.data, Dealt):
        return False
    limited = not item.has_goal and ctx.allowance.has(Limit.DROP)
    parts = parts_of(ctx.data) if _FEWEST <= ctx.data.samples <= FEW else None
    if limited or parts is None or not has_free_batch(model):
        return False
    fit, judge = parts
    variants = {"seen": _run(item, fit, ctx), "blind": _run(blind, None, ctx)}
    found = sensitivity(model, variants, judge, samples=judge.samples)
    costs = [found[name].cost if name in found else math.inf for name in variants]
    if not costs[0] > costs[1] * (1 + judge.samples**-0.5):
        return False
    why = (
        f"{ctx.data.samples} samples are too few to help, so the weights alone decide: fitted to "
        f"two thirds of them, the model loses {costs[0]:.2g} on the rest; without data, "
        f"{costs[1]:.2g}"
    )
    ctx.remark(Severity.NOTE, "few-samples", why)
    return True


def _run(item: Pass, data: Dealt | None, ctx: Context) -> Edit:
    def run(model: Model) -> bool:
        own = replace(
            ctx,
            analyses=AnalysisManager(data),
            diagnostics=Diagnostics(),
            following=(),
            allowance=Allowance(),
            left_alone=[],
        )
        return bool(own.run_one(item, model))

    return run
