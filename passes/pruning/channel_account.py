"""The work of a model as channels of its groups go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ocompress.analysis.channels import Group
from ocompress.analysis.linear_layer import LINEAR
from ocompress.analysis.work import work_of
from ocompress.io import Feeds
from ocompress.ir import Model, Node

_AS_IT_IS: Mapping[int, np.ndarray] = {}
_SUMMED = -1
"""Stands for the axis that a product of two activations sums over."""


class Account:
    """The multiply-accumulates of a model, as channels of its groups go."""

    def __init__(self, model: Model, groups: Sequence[Group], sample: Feeds | None) -> None:
        """Count those of the model as it is.

        Args:
            model: The model.
            groups: Groups of its channels.
            sample: A feed of one sample, which says how large free extents are.
        """
        self._work = work_of(model, sample)
        self.total = sum(self._work.values())
        self._shares: dict[int, dict[int, list[tuple[int, np.ndarray]]]] = {}
        """By node and axis: the groups that lie there, with the part each channel takes."""
        self._labels: dict[int, str] = {}
        self._touched: list[set[int]] = []
        self._groups: dict[int, list[int]] = {}
        """By node: the groups that lie there."""
        for at, group in enumerate(groups):
            touched = set()
            for node, axis, channel in _lying(group):
                if not self._work.get(id(node)):
                    continue
                held = channel[channel >= 0]
                share = np.bincount(held, minlength=group.size) / len(channel)
                self._labels[id(node)] = node.label
                axes = self._shares.setdefault(id(node), {})
                axes.setdefault(axis, []).append((at, share))
                touched.add(id(node))
            self._touched.append(touched)
            for key in touched:
                self._groups.setdefault(key, []).append(at)

    def of(self, gone: Sequence[np.ndarray]) -> float:
        """Return the multiply-accumulates that are left.

        Args:
            gone: For each group which channels go, by number, (removed,).
        """
        return sum(self._left(node, gone) for node in self._work)

    def saved(self, at: int, gone: Sequence[np.ndarray], more: np.ndarray) -> float:
        """Return what is saved if one group loses more channels.

        Args:
            at: The group.
            gone: For each group which channels go already, by number, (removed,).
            more: Which channels of the group go then, by number, (removed,).
        """
        then = {at: more}
        return sum(self._left(n, gone) - self._left(n, gone, then) for n in self._touched[at])

    def mingled(self, at: int) -> list[int]:
        """Return the groups whose savings depend on what one group has lost, itself included."""
        return sorted({at, *(i for node in self._touched[at] for i in self._groups[node])})

    def left(self, gone: Sequence[np.ndarray]) -> dict[str, float]:
        """Return the part of its multiply-accumulates that each layer of a group is left with.

        Args:
            gone: For each group which channels go, by number, (removed,).

        Returns:
            By label of the node.
        """
        return {
            self._labels[node]: self._left(node, gone) / self._work[node] for node in self._shares
        }

    def _left(
        self, node: int, gone: Sequence[np.ndarray], then: Mapping[int, np.ndarray] = _AS_IT_IS
    ) -> float:
        """Return what is left of a node's work; `then` has what groups lose instead, by number."""
        left = self._work[node]
        for shares in self._shares.get(node, {}).values():
            lost = sum(float(share[then.get(at, gone[at])].sum()) for at, share in shares)
            left *= max(0.0, 1 - lost)
        return left


def _lying(group: Group) -> Iterator[tuple[Node, int, np.ndarray]]:
    """Yield the products that are less work without channels: node, axis, channel by element."""
    for cut in group.cuts:
        if cut.node.is_op(*LINEAR) and _is_weight(cut.node, cut.index):
            yield cut.node, cut.axis, cut.channel
    summed = {id(s.node): s for s in group.sinks}  # both operands lie along the axis
    for sink in summed.values():
        yield sink.node, _SUMMED, sink.channel


def _is_weight(node: Node, index: int) -> bool:
    """Whether an operand is a weight; a bias of rank 2 is none, and no work."""
    if index > 1:
        return False
    value = node.input(index) if node.is_op(*LINEAR) else None
    return value is not None and value.constant is not None and value.constant.ndim >= 2
