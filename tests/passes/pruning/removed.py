"""Removes channels and compares with the model in which they are zeroed where they are read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ocompress.analysis import AnalysisManager
from ocompress.analysis.channels import ChannelGroups, Cut, Group
from ocompress.ir import Model, Node, edit, onnx_api
from ocompress.runtime import Level, Session
from passes.pruning.removal import remove
from tests.build import feeds
from tests.contract.harness import check

Choice = tuple[Group, Sequence[int]]


def groups_of(model: Model, split: str = "inner") -> tuple[Group, ...]:
    onnx_api.infer_types(model)
    return AnalysisManager().get(ChannelGroups(split), model)


def group_of(model: Model, label: str, split: str = "inner") -> Group:
    """Return the group that a layer of that name makes."""
    return next(
        g for g in groups_of(model, split) if any(c.node.label == label for c in g.producers)
    )


def zeroed(model: Model, choices: Iterable[Choice]) -> Model:
    """Return a copy whose layers have zeros where they read the channels."""
    twin = model.clone()
    nodes = {id(a): b for (_, a), (_, b) in zip(model.nodes(), twin.nodes(), strict=True)}
    for group, channels in choices:
        for cut in group.consumers:
            _zero(nodes[id(cut.node)], cut, channels)
        for sink in group.sinks:
            node = nodes[id(sink.node)]
            mask = np.isin(sink.channel, channels, invert=True)
            _mask(node, sink.index, sink.axis, mask)
    twin.sort()
    return twin


def _zero(node: Node, cut: Cut, channels: Sequence[int]) -> None:
    own = edit.own_weight(node, cut.index)
    assert own.data is not None
    weight = own.data.copy()
    gone = cut.at(channels)
    groups = len(cut.channel) // weight.shape[cut.axis]
    if groups > 1:  # counted over all groups of a convolution
        view = weight.reshape(groups, -1, *weight.shape[1:])
        view[gone // weight.shape[1], :, gone % weight.shape[1]] = 0
    else:
        np.moveaxis(weight, cut.axis, 0)[gone] = 0
    edit.set_weight(own, weight)


def _mask(node: Node, index: int, axis: int, mask: np.ndarray) -> None:
    value = node.inputs[index]
    assert value is not None
    assert value.dtype is not None
    assert node.graph is not None
    assert value.rank is not None
    shape = [-1 if a == axis else 1 for a in range(value.rank)]
    factor = node.graph.constant("mask", mask.astype(value.dtype.numpy).reshape(shape))
    node.set_input(index, node.graph.add_op("Mul", [value, factor], name="masked").output)


def compare(model: Model, choices: Sequence[Choice], tolerance: float = 1e-4) -> Model:
    """Remove and compare outputs on random feeds; return the smaller model."""
    kept = {id(w): w.copy() for w in model.weights()}
    wanted = Session(zeroed(model, choices), level=Level.DISABLED).run(feeds(model))
    twin, mine = model.clone(), [(g, list(c)) for g, c in choices]
    remove(model, mine)
    for weight in twin.weights():
        np.testing.assert_array_equal(weight, kept[id(weight)])  # shared, so never edited
    model.sort()
    check(model)
    got = Session(model, level=Level.DISABLED).run(feeds(model))
    assert wanted.keys() == got.keys()
    for name, array in wanted.items():
        scale = max(1.0, float(np.abs(array).max(initial=0.0)))
        np.testing.assert_allclose(got[name], array, rtol=0, atol=tolerance * scale)
    return model


def some(group: Group, share: float, rng: np.random.Generator) -> list[int]:
    """Pick channels of a group, never all."""
    count = min(round(share * group.size), group.size - 1)
    return sorted(rng.choice(group.size, count, replace=False).tolist())
