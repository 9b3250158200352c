"""Making a model with fewer channels, the layers that read them fitted anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.channels import ChannelGroups
from ocompress.analysis.linear_rows import Site, site_of
from ocompress.ir import Model, Node, reads
from ocompress.lossy import refit
from ocompress.lossy.refit import Built, Job
from ocompress.pipeline import Context
from passes.pruning.channel_costs import Order
from passes.pruning.removal import Removal, remove


@dataclass(frozen=True)
class Builder:
    """Takes channels out of clones of a model.

    Attributes:
        model: The model; not changed.
        asked: How its groups are found.
        places: Which of the groups found lose channels.
        orders: For each of them the order in which its channels go.
        fit: Whether layers are fitted to data.
        ctx: Has the data.
    """

    model: Model
    asked: ChannelGroups
    places: Sequence[int]
    orders: Sequence[Order]
    fit: bool
    ctx: Context

    def build(self, counts: Sequence[int], *, fit: bool | None = None) -> Built:
        """Return the model without the first channels of each order.

        Args:
            counts: How many channels of each group go.
            fit: Whether layers are fitted, instead of what the builder says.

        Raises:
            DataError: If layers are to be fitted and there are no data.
        """
        clone = self.model.clone()
        pairs = zip(clone.graph.nodes, self.model.graph.nodes, strict=True)
        twins = {id(node): twin for node, twin in pairs}
        found = self.asked.compute(clone, self.ctx.analyses)
        removals = [
            (found[place], np.sort(order.channels[:count]))
            for place, order, count in zip(self.places, self.orders, counts, strict=True)
            if count
        ]
        taken = remove(clone, removals)
        clone.sort()
        if not (self.fit if fit is None else fit) or not removals:
            return Built(clone)
        lost = {value.name: axes for value, axes in taken.values()}
        jobs = _jobs(clone, removals)
        fits = refit.refit(self.model, clone, twins, jobs, self.ctx, lost=lost)
        labels = {id(n): n.label for n in clone.graph.nodes}
        return Built(clone, {labels[key]: made for key, made in fits.items()})


def _jobs(model: Model, removals: Sequence[Removal]) -> list[Job]:
    """Return what to fit: all layers behind one that lost channels."""
    behind = _behind(model, {id(cut.node) for group, _ in removals for cut in group.cuts})
    by_weight: dict[int, list[Node]] = {}
    for node in model.graph.nodes:
        site = site_of(node) if id(node) in behind else None
        if isinstance(site, Site):
            by_weight.setdefault(id(node.inputs[site.layer.weight_at]), []).append(node)
    return [Job(nodes, masked=False) for nodes in by_weight.values()]


def _behind(model: Model, changed: set[int]) -> set[int]:
    """Return the ids of the nodes that read what changed nodes make, near or far."""
    touched: set[int] = set()
    found: set[int] = set()
    for node in model.graph.nodes:
        behind = any(id(v) in touched for v in reads(node))
        if behind:
            found.add(id(node))
        if behind or id(node) in changed:
            touched.update(id(v) for v in node.outputs if v is not None)
    return found
