"""Setting weights to zero, and how many of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.ir import Facet, Model, Node, edit
from ocompress.lossy import refit
from ocompress.lossy.layer_weights import LayerWeight
from ocompress.lossy.refit import Job
from ocompress.pipeline import Context, Outcome
from passes.pruning import prune_rows
from passes.pruning.costs import Costed

HALF, DEEPEST = 0.5, 0.96
"""Share of the weights that goes if nothing says how many, and the largest that is tried."""
_FINEST = 0.02
"""Halving ends when the shares differ by less."""


@dataclass(frozen=True)
class Cutting:
    """Weights of a model, and what is known of them.

    Attributes:
        original: The model as it is.
        weights: Those that may lose elements.
        costed: What elements of a weight cost, by id of its value.
        criterion: What the costs are.
        ctx: Has the data and the guards.
        refit: Whether what is left is fitted to data.
    """

    original: Model
    weights: Sequence[LayerWeight]
    costed: Mapping[int, Costed]
    criterion: str
    ctx: Context
    refit: bool

    def cut(self, model: Model, masks: Sequence[np.ndarray]) -> Outcome:
        """Zero elements and fit the others.

        Args:
            model: The original itself, or a clone of it; changed.
            masks: What becomes zero of each weight, bool of its shape.
        """
        reference = self.original.clone()
        pairs = zip(self.original.nodes(), model.nodes(), reference.nodes(), strict=True)
        same = [(mine, theirs, kept) for (_, mine), (_, theirs), (_, kept) in pairs]
        twins: dict[int, Node] = {id(mine): theirs for mine, theirs, _ in same}
        kept = {id(theirs): old for _, theirs, old in same}
        rows, changed = [], []
        for weight, mask in zip(self.weights, masks, strict=True):
            known = self.costed.get(id(weight.value))
            shown = known if self.criterion == "obs" else None
            own, before = weight.twin(twins), weight.array
            _apply(own, mask, self.ctx)
            rows.append(prune_rows.row_of(own, before, shown))
            if rows[-1]["pruned"]:
                changed.append((own, rows[-1], known))
        rows = prune_rows.with_others(model, rows, self.ctx)
        if not changed:
            return Outcome(details={"layers": rows, "criterion": self.criterion})
        if self.refit and self.ctx.has_data:
            jobs = [Job(w.nodes, minds=k.minds if k is not None else None) for w, _, k in changed]
            fits = refit.refit(reference, model, kept, jobs, self.ctx)
            prune_rows.note_fits([(w, row) for w, row, _ in changed], fits)
        layers = {w.name: [n.label for n in w.nodes] for w in self.weights}
        details: prune_rows.Row = {"layers": rows, "criterion": self.criterion}
        details["sparsity"] = prune_rows.share_of_zeros(model)
        details |= prune_rows.details((reference, model), rows, layers, self.ctx)
        made = sum(row["pruned"] for _, row, _ in changed)
        return Outcome(Facet.WEIGHTS, {"weights pruned": len(changed), "zeros made": made}, details)


def as_far_as_allowed(work: Cutting, masks: Callable[[float], Sequence[np.ndarray]]) -> Outcome:
    """Zero as many weights as the limit on the drop lets, by halving.

    Args:
        work: The weights; their model is changed.
        masks: Gives the masks of a share of zeros; those of a larger share hold those of a
            smaller one.
    """
    model, ctx = work.original, work.ctx
    best: tuple[Model, Outcome] | None = None
    low, high, share = 0.0, DEEPEST, HALF
    while high - low > _FINEST:
        candidate = model.clone()
        outcome = work.cut(candidate, masks(share))
        verdict = ctx.judged("max-drop", candidate, model) if outcome else None
        if verdict is None or verdict.held:
            best, low = (candidate, outcome), share
        else:
            high = share
        share = (low + high) / 2
    if best is None:
        for weight in work.weights:
            why = "the outputs would lose more than the limit on the drop lets"
            ctx.skip(weight.nodes[0], "too-lossy", why)
        return Outcome()
    model.become(best[0])
    return best[1]


def _apply(weight: LayerWeight, mask: np.ndarray, ctx: Context) -> None:
    """Zero what the mask says."""
    array = weight.array
    if not np.count_nonzero(array[mask]):
        ctx.skip(weight.nodes[0], "already-sparse", "it has as many zeros as asked for")
        return
    result = array.copy()
    result[mask] = 0
    edit.set_weight(weight.value, result)
