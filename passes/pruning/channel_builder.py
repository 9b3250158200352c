"""Making a model with fewer channels, the layers that read them fitted anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis import AnalysisManager
from ocompress.analysis.channels import ChannelGroups
from ocompress.analysis.linear_rows import Site, site_of
from ocompress.ir import Model, Node, reads
from ocompress.lossy.applying import twins_of
from ocompress.lossy.refit import Built, Job, refit
from ocompress.pipeline import Context
from passes.pruning.removal import Removal, remove


@dataclass(frozen=True)
class TakeChannels:
    """Takes channels out of a group, wherever they lie.

    Attributes:
        asked: How the groups of a model are found.
        place: Which of them it is.
        channels: What goes, rising.
    """

    asked: ChannelGroups
    place: int
    channels: tuple[int, ...]

    def apply(self, model: Model) -> bool:
        """Take the channels out."""
        return bool(_remove([self], model)[0])


def build(model: Model, edits: Mapping[str, TakeChannels], ctx: Context | None) -> Built:
    """Return the model without channels of several groups at once.

    Args:
        model: Not changed.
        edits: What goes, by part.
        ctx: Has the data that layers are fitted to; None fits none.
    """
    clone = model.clone()
    twins = twins_of(clone, model)
    removals, lost = _remove(edits.values(), clone)
    done = frozenset(edits)
    if ctx is None or not removals:
        return Built(clone, done=done)
    fits = refit(model, clone, twins, _jobs(clone, removals), ctx, lost=lost)
    labels = {id(n): n.label for n in clone.graph.nodes}
    return Built(clone, {labels[key]: made for key, made in fits.items()}, done)


def _remove(
    edits: Iterable[TakeChannels], model: Model
) -> tuple[list[Removal], dict[str, dict[int, np.ndarray]]]:
    """Take channels out; also return which elements values lack, by name and axis."""
    wanted = list(edits)
    if not wanted:
        return [], {}
    found = wanted[0].asked.compute(model, AnalysisManager())
    removals: list[Removal] = [(found[e.place], e.channels) for e in wanted if e.channels]
    taken = remove(model, removals)
    model.sort()
    return removals, {value.name: axes for value, axes in taken.values()}


def _jobs(model: Model, removals: Sequence[Removal]) -> list[Job]:
    """Return what to fit: all layers behind one that lost channels."""
    behind = _behind(model, {id(cut.node) for group, _ in removals for cut in group.cuts})
    by_weight: dict[int, list[Node]] = {}
    for node in model.graph.nodes:
        site = site_of(node) if id(node) in behind else None
        if isinstance(site, Site):
            by_weight.setdefault(id(node.inputs[site.layer.weight_at]), []).append(node)
    return [Job(nodes, masked=False, by_place=True) for nodes in by_weight.values()]


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
