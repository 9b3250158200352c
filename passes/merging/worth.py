"""When a merge pays, and when it may be done."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.ir import Dim
from passes.merging import forms
from passes.merging.forms import Form

_NODE_BYTES = 64
"""What a node takes in a file at the very least."""


def refusal(
    before: Fraction | int, after: Fraction | int, *, equal: bool = False
) -> Refusal | None:
    """Say why one layer is no cheaper than what it would stand for.

    Args:
        before: Multiply-accumulates as it is.
        after: Multiply-accumulates of the merged layer.
        equal: Whether as many are good enough, since a node goes.
    """
    if after < before or (equal and after == before):
        return None
    ratio = float(Fraction(after) / before) if before else float("inf")
    return Refusal("not-cheaper", f"one layer would take {ratio:.3g} times the multiplications")


def growth(freed: int, added: int, nodes: int) -> Refusal | None:
    """Say why a merge that saves no multiplications would make the file larger.

    Args:
        freed: Bytes of constants that nobody else reads.
        added: Bytes of the merged layer's constants.
        nodes: Nodes that go.
    """
    more = added - freed - _NODE_BYTES * nodes
    if more <= 0:
        return None
    return Refusal("larger", f"the file would grow by {more} bytes for no multiplication")


def padding(first: Form, second: Form, extents: Sequence[Dim], bias: np.ndarray) -> Refusal | None:
    """Say why a window that reads another one pads with something else than that makes there."""
    if not any(axis.begin or axis.end for axis in second.axes):
        return None
    if np.any(bias):
        return Refusal("padding", "the second layer pads with zeros, not with the first one's bias")
    if forms.pads_unseen(first, second, extents):
        return None
    return Refusal("padding", "the second layer pads with zeros where the first one sees data")
