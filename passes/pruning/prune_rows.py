"""What the report says of each weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ocompress.ir import Model, Node
from ocompress.lossy.ablation import cost_together
from ocompress.lossy.layer_times import measured
from ocompress.lossy.layer_weights import LayerWeight, weight_of
from ocompress.lossy.least_squares import Fit
from ocompress.pipeline import Context
from passes.pruning import magnitude
from passes.pruning.costs import Costed

Row = dict[str, Any]


def row_of(candidate: LayerWeight, before: np.ndarray, costed: Costed | None) -> Row:
    """Return the row of a weight that was looked at.

    Args:
        candidate: The weight as it is.
        before: As it was.
        costed: What was thought that each of its elements costs, None if nothing was measured.
    """
    after = candidate.array
    gone = (after == 0) & (before != 0)
    lost = before[gone]
    row = _whole(after, candidate.name) | {
        "pruned": int(lost.size),
        "threshold": float(magnitude.magnitudes(lost).max(initial=0.0)),
        "error": magnitude.energy(lost) / (magnitude.energy(before) or 1.0),
    }
    if costed is not None:
        row["predicted_error"] = float(costed.costs[gone].sum(dtype=np.float64))
    return row


def note_fits(rows: Sequence[tuple[LayerWeight, Row]], fits: Mapping[int, Fit]) -> None:
    """Write into the rows of weights what fitting what was left of them did.

    Args:
        rows: Weights with their rows.
        fits: What was done, by id of a node.
    """
    for candidate, row in rows:
        made = next((fits[id(n)] for n in candidate.nodes if id(n) in fits), None)
        if made is not None:
            row |= {"output_error": made.before, "refitted_error": made.after}


def with_others(model: Model, rows: Sequence[Row], ctx: Context) -> list[Row]:
    """Return rows of all layers in order, those that were left alone included.

    Args:
        model: The model.
        rows: The rows of those that were looked at; reasons are written into them.
        ctx: Knows what was left alone and why.
    """
    nodes = {n.label: n for _, n in model.nodes()}
    known = {row["name"]: row for row in rows}
    for remark in ctx.left_alone:
        if remark.node not in known:
            known[remark.node] = _untouched(nodes[remark.node])
        known[remark.node] |= {"code": remark.code, "why": remark.message}
    place = {label: at for at, label in enumerate(nodes)}
    return sorted(known.values(), key=lambda row: place[row["name"]])


def details(
    models: tuple[Model, Model], rows: Sequence[Row], layers: Mapping[str, list[str]], ctx: Context
) -> Row:
    """Return what the report holds of a run that changed something.

    Args:
        models: Before and after.
        rows: The rows; times are written into them.
        layers: Labels of the layers that have a weight, by name of its row, where not that alone.
        ctx: Has the data, and the guard that measures.
    """
    times = measured(*models, ctx)  # kernels are dense: zeros are multiplied, too
    if times is not None:
        for row in rows:
            row.update(times.of(layers.get(row["name"], [row["name"]])))
    found: Row = {}
    touched = [row for row in rows if row.get("pruned")]
    if ctx.has_data and all("predicted_error" in row for row in touched):
        reached = cost_together(*models, ctx)
        predicted = sum(row["predicted_error"] for row in touched)
        if reached is not None:
            found["error"] = {"predicted": predicted, "reached": reached}
    return found


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
