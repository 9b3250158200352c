"""What there is to replace, told without fitting anything."""

from __future__ import annotations

from collections.abc import Sequence

from ocompress.analysis.work import one_sample, work_of
from ocompress.ir import Model
from ocompress.lossy.layer_weights import LayerWeight
from ocompress.pipeline import Context, Outcome
from passes.factorization.forms import ChainForm
from passes.factorization.layers import survey


def preview(
    model: Model, weights: Sequence[LayerWeight], forms: Sequence[ChainForm], ctx: Context
) -> Outcome:
    """Count the layers that a form suits, and what part of the work they are.

    Args:
        model: The model.
        weights: Constants of linear layers with the nodes that read them.
        forms: What could take their place.
        ctx: Is told which layers no form suits.
    """
    total = sum(work_of(model, one_sample(model, ctx.analyses.data)).values())
    count, work = 0, 0.0
    for layer in survey(model, weights, ctx, blind=True):
        able = [form for form in forms if form.transposes or not layer.site.transposed]
        if all(form.refusal(layer.problems[0]) for form in able):
            ctx.skip(layer.site.node, "no-form", "no form suits it")
        else:
            count, work = count + len(layer.sites), work + layer.macs
    if not count:
        return Outcome()
    share = round(100 * work / total) if total else 0
    return Outcome(counts={"layers that may be replaced": count, "% of the work": share})
