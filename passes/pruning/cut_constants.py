"""Rewriting constants along which channels lie, each once for all that need the same of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ocompress.analysis.channels import Cut
from ocompress.ir import Node, edit


class Change(Protocol):
    """What becomes of constants along which channels lie."""

    def signature(self, node: Node, index: int) -> bytes:
        """Return something that is equal for readers whose constants become the same."""
        ...

    def result(self, node: Node, index: int, array: np.ndarray) -> np.ndarray:
        """Return what becomes of a constant's array as one node reads it."""
        ...


def rewrite(cuts: Sequence[Cut], change: Change) -> None:
    """Rewrite each constant once for all the readers that need the same of it.

    Args:
        cuts: Where channels lie.
        change: What becomes of the constants.
    """
    by_value: dict[int, dict[tuple[int, int], Cut]] = {}
    for cut in cuts:
        by_value.setdefault(id(cut.value), {})[id(cut.node), cut.index] = cut
    for uses in by_value.values():
        _rewrite_one(list(uses.values()), change)


def _rewrite_one(uses: Sequence[Cut], change: Change) -> None:
    value = uses[0].value
    alike: dict[bytes, list[Cut]] = {}
    for use in uses:
        alike.setdefault(change.signature(use.node, use.index), []).append(use)
    readers, array = value.use_count, value.constant
    assert array is not None, value.name
    for same in alike.values():
        first = same[0]
        result = change.result(first.node, first.index, array)
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
