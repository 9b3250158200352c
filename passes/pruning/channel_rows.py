"""What the report says of each group of channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ocompress.analysis.channels import Group
from ocompress.ir import Model
from ocompress.lossy.ablation import cost_together
from ocompress.lossy.engine import Reason
from ocompress.lossy.layer_times import Times, measured
from ocompress.lossy.refit import Built
from ocompress.pipeline import Context
from passes.pruning.channel_work import Cuts, first_node, layers_of

Row = dict[str, Any]


def details(
    model: Model, work: Cuts, counts: Sequence[int], built: Built | None, ctx: Context
) -> Row:
    """Return what the report holds of a run.

    Args:
        model: The model as it was.
        work: The groups.
        counts: How many channels of each went.
        built: The model without them, None if nothing was done.
        ctx: Has the data, and the guard that measures.
    """
    times = None
    if built is not None:
        gone = [order.channels[:count] for order, count in zip(work.orders, counts, strict=True)]
        left = work.account.left(gone)
        times = measured(model, built.model, ctx, left)
    rows = [_row(work, at, count, built, times) for at, count in enumerate(counts)]
    rows += [_whole(group, reason, times) for group, reason in work.refused]
    groups = [*work.groups, *(group for group, _ in work.refused)]
    nodes = {id(n): at for at, (_, n) in enumerate(model.nodes())}
    place = [(nodes[id(first_node(g))], bool(g.producers)) for g in groups]
    found: Row = {
        "groups": [rows[at] for at in sorted(range(len(rows)), key=place.__getitem__)],
        "criterion": work.criterion,
        "macs": round(work.account.total),
    }
    if built is not None and ctx.has_data:
        found |= _errors(model, work, counts, built, ctx)
    return found


def _row(work: Cuts, at: int, count: int, built: Built | None, times: Times | None) -> Row:
    group, order = work.groups[at], work.orders[at]
    row = _whole(group, None if count else work.why_whole(at), times)
    nothing = [other.channels[:0] for other in work.orders]
    row |= {
        "kept": group.size - count,
        "removed": count,
        "predicted_error": float(order.costs[count - 1]) if count else 0.0,
        "macs_saved": round(work.account.work.saved(at, nothing, order.channels[:count])),
    }
    readers = [c.node.label for c in group.consumers]
    fits = [built.fits[n] for n in readers if n in built.fits] if built else []
    if fits:
        row["output_error"] = max(f.before for f in fits)
        row["refitted_error"] = max(f.after for f in fits)
    return row


def _whole(group: Group, reason: Reason | None, times: Times | None) -> Row:
    """Return the row of a group as if it lost nothing."""
    made = bool(group.producers) or not group.values  # else they come in with the model
    row: Row = {
        "name": first_node(group).label if made else group.values[0].value.name,
        "channels": group.size,
        "kept": group.size,
        "removed": 0,
    }
    if times is not None:
        row |= times.of(layers_of(group))
    if reason is not None:
        row |= {"code": reason.code, "why": reason.why}
    return row


def _errors(model: Model, work: Cuts, counts: Sequence[int], built: Built, ctx: Context) -> Row:
    """Return what was thought all groups together would cost, and what they do cost."""
    reached = cost_together(model, built.model, ctx)
    cut = [(order, count) for order, count in zip(work.orders, counts, strict=True) if count]
    if reached is None or not all(order.probed for order, _ in cut):
        return {}
    predicted = sum(float(order.costs[count - 1]) for order, count in cut)
    return {"error": {"predicted": predicted, "reached": reached}}
