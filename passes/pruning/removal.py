"""Taking channels out of a model for good: from weights, constants and the numbers that follow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ocompress.analysis.channels import Cut, Group
from ocompress.ir import Model, Node, Value, edit, inference
from passes.pruning.removed_indices import Taken, without
from passes.pruning.repair import repair

Removal = tuple[Group, Sequence[int] | np.ndarray]
"""A group, and which of its channels go."""


def remove(model: Model, removals: Iterable[Removal]) -> Taken:
    """Take channels of several groups out, in place.

    The result computes what the model would if the layers that read the channels had zeros for
    weights there, and if the channels were zero where they end in sums without weights.

    Args:
        model: The model that the groups are of, unchanged since.
        removals: Groups of one analysis, each at most once, with the channels that go.

    Returns:
        What went, as elements were counted before.

    Raises:
        ValueError: If a group is refused, would have no channel left, or has no such channel.
    """
    wanted = [(group, _checked(group, channels)) for group, channels in removals]
    wanted = [(group, channels) for group, channels in wanted if channels.size]
    taken = Taken()
    for group, channels in wanted:
        for part in group.values:
            taken.add_value(part.value, part.axis, part.at(channels))
        for cut in group.cuts:
            taken.add_constant(cut.node, cut.index, cut.axis, cut.at(channels))
    repairs = {id(r.node): r for group, _ in wanted for r in group.repairs}
    for needed in repairs.values():
        repair(needed, taken)
    _cut_constants([cut for group, _ in wanted for cut in group.cuts], taken)
    for value, axes in taken.values():
        _shrink(value, axes)
    if wanted:
        inference.infer_types(model)
    return taken


def _checked(group: Group, channels: Sequence[int] | np.ndarray) -> np.ndarray:
    wanted = np.unique(np.asarray(channels, np.int64))
    if group.refusal is not None and wanted.size:
        msg = f"channels of {group.name!r} cannot be removed: {group.refusal.why}"
        raise ValueError(msg)
    if wanted.size and (wanted[0] < 0 or wanted[-1] >= group.size):
        msg = f"group {group.name!r} has channels 0 to {group.size - 1}"
        raise ValueError(msg)
    if wanted.size >= group.size:
        msg = f"one channel of {group.name!r} must be left"
        raise ValueError(msg)
    return wanted


def _cut_constants(cuts: Sequence[Cut], taken: Taken) -> None:
    """Cut each constant once for all the readers that lose the same of it."""
    by_value: dict[int, dict[tuple[int, int], Cut]] = {}
    for cut in cuts:
        by_value.setdefault(id(cut.value), {})[id(cut.node), cut.index] = cut
    for uses in by_value.values():
        _cut_constant(list(uses.values()), taken)


def _cut_constant(uses: Sequence[Cut], taken: Taken) -> None:
    value = uses[0].value
    alike: dict[bytes, list[Cut]] = {}
    for use in uses:
        alike.setdefault(taken.signature(use.node, use.index), []).append(use)
    readers, array = value.use_count, value.constant
    assert array is not None, value.name
    for same in alike.values():
        first = same[0]
        result = _result(first.node, first.index, array, taken)
        if len(same) == readers:
            edit.set_weight(value, result)
            continue
        own = edit.own_weight(first.node, first.index)
        edit.set_weight(own, result)
        for use in same[1:]:
            if use.node.graph is first.node.graph:
                use.node.set_input(use.index, own)
            else:
                edit.set_weight(edit.own_weight(use.node, use.index), result)


def _result(node: Node, index: int, array: np.ndarray, taken: Taken) -> np.ndarray:
    axes = taken.of_constant(node, index)
    groups = int(node.attr("group", 1)) if node.is_op("Conv", "ConvTranspose") else 1
    if groups > 1 and index == 1 and 1 in axes:
        array = _cut_groups(array, groups, axes.pop(1))
    for axis, gone in axes.items():
        array = without(array, axis, gone)
    return array


def _cut_groups(array: np.ndarray, groups: int, gone: np.ndarray) -> np.ndarray:
    """Cut the axis within groups of a convolution's weight; `gone` counts over all groups."""
    each = array.shape[1]
    parts = np.split(array, groups)
    return np.concatenate(
        [without(part, 1, gone[gone // each == g] % each) for g, part in enumerate(parts)]
    )


def _shrink(value: Value, axes: dict[int, np.ndarray]) -> None:
    if value.shape is None:
        return
    shape = tuple(
        extent - len(axes[i]) if i in axes and isinstance(extent, int) else extent
        for i, extent in enumerate(value.shape)
    )
    value.set_type(value.dtype, shape)
