"""What the report says of each weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ocompress.ir import Model, Node
from ocompress.lossy import applying
from ocompress.lossy.engine import Chosen
from ocompress.lossy.layer_times import measured
from ocompress.lossy.layer_weights import LayerWeight, weight_of
from ocompress.lossy.least_squares import Fit
from ocompress.pipeline import Context
from passes.pruning import magnitude
from passes.pruning.costs import Costed
from passes.pruning.zeroing import Zeros

Row = dict[str, Any]


def details(model: Model, proposal: Zeros, chosen: Chosen, ctx: Context) -> Row:
    """Return what the report holds of a run: a row for every layer, in order.

    Args:
        model: The model as it was.
        proposal: What was looked at.
        chosen: What came of it.
        ctx: Knows what was left alone and why; has the data, and the guard that measures.
    """
    built = chosen.built
    after = model if built is None else built.model
    weights = {n.label: w for _, n in after.nodes() if (w := weight_of(n)) is not None}
    shown = proposal.costed if proposal.criterion == "obs" else {}
    rows = []
    for weight in proposal.weights:
        now = weights[weight.name][0].constant
        assert now is not None
        row = _row(weight.name, weight.array, now, shown.get(id(weight.value)))
        made = None if built is None else _fit_of(weight, built.fits)
        if made is not None:
            row |= {"output_error": made.before, "refitted_error": made.after}
        rows.append(row)
    found: Row = {"layers": _with_others(after, rows, ctx), "criterion": proposal.criterion}
    if built is None:
        return found
    found["sparsity"] = share_of_zeros(after)
    times = measured(model, after, ctx)  # kernels are dense: zeros are multiplied, too
    if times is not None:
        for row in found["layers"]:
            row.update(times.of(proposal.layers.get(row["name"], [row["name"]])))
    touched = [row for row in rows if row["pruned"]]
    if all("predicted_error" in row for row in touched):
        predicted = sum(row["predicted_error"] for row in touched)
        found |= applying.together(model, built, predicted, ctx)
    return found


def _row(name: str, before: np.ndarray, after: np.ndarray, costed: Costed | None) -> Row:
    """Return the row of a weight that was looked at."""
    gone = (after == 0) & (before != 0)
    lost = before[gone]
    row = _whole(after, name) | {
        "pruned": int(lost.size),
        "threshold": float(magnitude.magnitudes(lost).max(initial=0.0)),
        "error": magnitude.energy(lost) / (magnitude.energy(before) or 1.0),
    }
    if costed is not None:
        row["predicted_error"] = float(costed.costs[gone].sum(dtype=np.float64))
    return row


def _fit_of(weight: LayerWeight, fits: Mapping[str, Fit]) -> Fit | None:
    return next((fits[n.label] for n in weight.nodes if n.label in fits), None)


def _with_others(model: Model, rows: Sequence[Row], ctx: Context) -> list[Row]:
    """Return rows of all layers in order, those that were left alone included."""
    nodes = {n.label: n for _, n in model.nodes()}
    known = {row["name"]: row for row in rows}
    for remark in ctx.left_alone:
        if remark.node not in known:
            known[remark.node] = _untouched(nodes[remark.node])
        known[remark.node] |= {"code": remark.code, "why": remark.message}
    place = {label: at for at, label in enumerate(nodes)}
    return sorted(known.values(), key=lambda row: place[row["name"]])


def share_of_zeros(model: Model) -> float:
    """Return the share of zeros among the weights of all layers; shared ones count once."""
    found = [weight_of(node) for _, node in model.nodes() if not node.is_op("Gather")]
    arrays = {id(w[0]): w[0].constant for w in found if w is not None}.values()
    known = [a for a in arrays if a is not None]
    zeros = sum(a.size - int(np.count_nonzero(a)) for a in known)
    return zeros / max(1, sum(a.size for a in known))


def _untouched(node: Node) -> Row:
    weight = weight_of(node)
    if weight is None or weight[0].constant is None:
        return {"name": node.label}
    return _whole(weight[0].constant, node.label)


def _whole(weight: np.ndarray, name: str) -> Row:
    kept = int(np.count_nonzero(weight))
    return {
        "name": name,
        "shape": list(weight.shape),
        "weights": weight.size,
        "kept": kept,
        "removed": weight.size - kept,
        "sparsity": (weight.size - kept) / max(1, weight.size),
    }
