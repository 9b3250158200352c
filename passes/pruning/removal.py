"""Taking channels out of a model for good: from weights, constants and the numbers that follow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ocompress.analysis.channels import Group
from ocompress.ir import Model, Value, inference
from passes.pruning.cut_constants import rewrite
from passes.pruning.removed_indices import Taken
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
    rewrite([cut for group, _ in wanted for cut in group.cuts], taken)
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


def _shrink(value: Value, axes: dict[int, np.ndarray]) -> None:
    if value.shape is None:
        return
    shape = tuple(
        extent - len(axes[i]) if i in axes and isinstance(extent, int) else extent
        for i, extent in enumerate(value.shape)
    )
    value.set_type(value.dtype, shape)
