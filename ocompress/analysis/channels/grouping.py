"""From classes of elements to groups: classes that lie on the same axes are channels of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ocompress.analysis.channels.classes import Classes
from ocompress.analysis.channels.exchange import kinds
from ocompress.analysis.channels.group import CONSUMER, PRODUCER, Cut, Group, Part, Sink
from ocompress.analysis.channels.linear_rules import role_of
from ocompress.analysis.channels.relation import Repair, Spot, Stop, Use
from ocompress.analysis.channels.walk import Trail, Walker
from ocompress.ir import Model, Node, Value


def find_groups(model: Model, *, inner: bool) -> tuple[Group, ...]:
    """Return all groups of a model that a linear layer with a constant weight takes part in.

    Args:
        model: A model with recorded shapes.
        inner: Whether to follow the innermost axis first where an axis is split.
    """
    walker = Walker(model, inner=inner)
    seen: set[Spot] = set()
    found: list[Group] = []
    for _, node in model.nodes():
        for seed in _seeds(walker, node):
            if seed not in seen:
                trail, classes = walker.follow(seed)
                seen.update(trail.graph)
                found += _groups(walker, trail, classes)
    return tuple(found)


def _seeds(walker: Walker, node: Node) -> Iterator[Spot]:
    for index, value in enumerate(node.inputs):
        if value is None or value.constant is None or value.constant.ndim < 1:
            continue
        for axis in range(value.constant.ndim):
            if role_of(node, index, axis) in (PRODUCER, CONSUMER):
                spot = walker.relation(node).spot(index, axis)
                if (walker.extent(spot) or 0) > 1:
                    yield spot


def _groups(walker: Walker, trail: Trail, classes: Classes) -> Iterator[Group]:
    spots = list(classes.of)
    marks = np.zeros((classes.count, len(spots)), bool)
    for column, spot in enumerate(spots):
        marks[classes.of[spot], column] = True
    stops = list(
        {id(s): s for s in (*(s for _, s in trail.stops), *classes.stop.values())}.values()
    )
    number = {id(s): i for i, s in enumerate(stops)}
    reason = np.full((classes.count, 1), -1)
    for each, stop in classes.stop.items():
        reason[each] = number[id(stop)]
    keys = np.concatenate([reason, np.packbits(marks, axis=1)], axis=1)
    _, first, kind = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    alike = kinds(trail, classes.of, classes.count)
    for at in np.argsort(first):
        members = np.flatnonzero(kind.reshape(-1) == at)
        channel = np.full(classes.count, -1)
        channel[members] = np.arange(members.size)
        touched = [spot for spot, on in zip(spots, marks[members[0]], strict=True) if on]
        group = _group(walker, classes, touched, channel, members)
        same = group.refusal is None and bool((alike[members] == alike[members[0]]).all())
        yield replace(group, exchangeable=same)


def _group(
    walker: Walker,
    classes: Classes,
    spots: list[Spot],
    channel: np.ndarray,
    members: np.ndarray,
) -> Group:
    cuts: list[Cut] = []
    values: list[Part] = []
    sinks: list[Sink] = []
    repairs: dict[Repair, None] = {}
    for spot in spots:
        holder, axis = spot
        own = channel[classes.of[spot]]
        for node in walker.around(holder):
            for repair in walker.relation(node).repairs.get(spot, ()):
                repairs[repair] = None
        for node, index in _readers(holder):
            value = node.inputs[index]
            assert value is not None
            if value.constant is not None:
                role = role_of(node, index, axis)
                cuts.append(Cut(value, axis, own, node, index, role))
            elif spot in walker.relation(node).ends and not _weighed(node):
                sinks.append(Sink(node, index, axis, own))
        if isinstance(holder, Value) and holder.constant is None:
            values.append(Part(holder, axis, own))
    size = int(members.size)
    refusal = classes.stop.get(int(members[0]))
    if refusal is None and size == 1:
        refusal = Stop("single-channel", "its channels can only go all together, and one must stay")
    return Group(size, tuple(cuts), tuple(values), tuple(sinks), tuple(repairs), refusal)


def _readers(holder: Use | Value) -> list[tuple[Node, int]]:
    return [(holder.node, holder.index)] if isinstance(holder, Use) else holder.users


def _weighed(node: Node) -> bool:
    """Whether one operand is a constant, so that the sum is a linear layer."""
    return node.is_op("Gemm", "MatMul") and any(
        v is not None and v.constant is not None for v in node.inputs[:2]
    )
