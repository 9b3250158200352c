"""When a merge pays, and when it may be done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.ir import Dim
from passes.merging import forms
from passes.merging.forms import LinearForm

_NODE_BYTES = 64
"""What a node takes in a file at the very least."""
_DEPTHWISE, _GROUPED = Fraction(2), Fraction(3, 2)
"""How much longer a multiplication takes in depthwise kernels, and in groups that do not fill
the blocks of channels (measured: 2 to 4 and 1.2 to 1.7)."""


@dataclass(frozen=True)
class LayerWork:
    """A layer and how often it multiplies by its weights, in proportion.

    Attributes:
        form: The layer.
        places: How often; of a transposed convolution the places it reads.
        transposed: Whether it is a transposed convolution, whose kernel has no blocks.
    """

    form: LinearForm
    places: Fraction = Fraction(1)
    transposed: bool = False

    @property
    def macs(self) -> Fraction:
        """Multiply-accumulates."""
        return self.places * self.form.weights

    def effort(self, block: int) -> Fraction:
        """Return multiply-accumulates as kernels do them, whole blocks of outputs at a time.

        Args:
            block: Outputs that are computed at once.
        """
        form, groups = self.form, self.form.window.groups
        if self.transposed:
            return self.macs
        if form.is_depthwise and groups > 1:
            return _DEPTHWISE * self.macs * Fraction(_whole(groups, block), groups)
        outputs, inputs = form.outputs // groups, form.inputs // groups
        filled = groups == 1 or (outputs % block == 0 and inputs % block == 0)
        factor = Fraction(1) if filled else _GROUPED
        return factor * self.macs * Fraction(_whole(outputs, block), outputs)


def _whole(channels: int, block: int) -> int:
    return -(-channels // block) * block


def refusal(
    before: Sequence[LayerWork], after: LayerWork, block: int, *, equal: bool = False
) -> Refusal | None:
    """Say why one layer is no cheaper than what it would stand for.

    Multiply-accumulates must fall, and so must what kernels make of them: a depthwise layer
    before a pointwise one of a single output is fewer multiplications as one layer of a single
    output, but kernels would compute a block of outputs and drop all but one.

    Args:
        before: The layers as they are.
        after: The merged layer.
        block: Outputs that kernels compute at once, the target's `channel_multiple`.
        equal: Whether as many multiply-accumulates are good enough, since a node goes.
    """
    macs, effort = sum(w.macs for w in before), sum(w.effort(block) for w in before)
    if after.macs > macs or (after.macs == macs and not equal):
        why = f"one layer would take {_ratio(after.macs, macs)} times the multiplications"
        return Refusal("not-cheaper", why)
    if after.effort(block) > effort:
        times = _ratio(after.effort(block), effort)
        return Refusal("slower", f"its few outputs would leave kernels {times} times the work")
    return None


def _ratio(after: Fraction, before: Fraction | int) -> str:
    return f"{float(after / before):.3g}" if before else "infinitely many"


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


def padding(
    first: LinearForm, second: LinearForm, extents: Sequence[Dim], bias: np.ndarray
) -> Refusal | None:
    """Say why a window that reads another one pads with something else than that makes there.

    Args:
        first: The window that is read.
        second: The one that reads it.
        extents: Of what the first reads.
        bias: Of the first, [channels].
    """
    if not any(axis.begin or axis.end for axis in second.axes):
        return None
    if np.any(bias):
        return Refusal("padding", "the second layer pads with zeros, not with the first one's bias")
    if forms.pads_unseen(first, second, extents):
        return None
    return Refusal("padding", "the second layer pads with zeros where the first one sees data")
