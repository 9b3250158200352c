"""How linear layers walk over what they read, and how the layer walks that stands for two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ocompress.analysis.linear_layer import Refusal
from ocompress.analysis.windows import Window
from ocompress.ir import Dim


@dataclass(frozen=True)
class LinearForm:
    """A linear layer without its numbers.

    Its weight is thought of as [outputs, inputs / groups, *kernel], whatever the operator.

    Attributes:
        outputs: Channels it makes.
        inputs: Channels it reads.
        window: How it walks; products of matrices have no spatial axes.
    """

    outputs: int
    inputs: int
    window: Window

    @property
    def weights(self) -> int:
        """Number of weights, so multiply-accumulates at every place."""
        taps = math.prod(self.window.kernel)
        return self.outputs * self.inputs // self.window.groups * taps

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of its weight."""
        return (self.outputs, self.inputs // self.window.groups, *self.window.kernel)

    @property
    def axes(self) -> list[Axis]:
        """The spatial axes."""
        w = self.window
        rows = zip(w.kernel, w.strides, w.dilations, w.pads, strict=True)
        return [Axis(k, s, d if k > 1 else 1, *pads) for k, s, d, pads in rows]

    @property
    def is_point(self) -> bool:
        """Whether it makes every place of its output from that place alone."""
        return all(axis == POINT for axis in self.axes)

    @property
    def is_depthwise(self) -> bool:
        """Whether every channel is made of one channel, each of another one."""
        return self.inputs == self.outputs == self.window.groups


@dataclass(frozen=True)
class Axis:
    """How a layer walks along one spatial axis."""

    kernel: int
    stride: int
    dilation: int
    begin: int
    end: int

    @property
    def span(self) -> int:
        """Distance from the first tap to the last one."""
        return (self.kernel - 1) * self.dilation

    @property
    def excess(self) -> int:
        """What the output would have more than the input, at a stride of one."""
        return self.begin + self.end - self.span

    def extent(self, given: int) -> int:
        """Return the extent of the output for one of the input."""
        return max(0, (given + self.excess - 1) // self.stride + 1)


POINT = Axis(1, 1, 1, 0, 0)


def form_of(outputs: int, inputs: int, axes: Sequence[Axis], groups: int) -> LinearForm:
    """Make a form from its axes."""
    window = Window(
        kernel=tuple(a.kernel for a in axes),
        strides=tuple(a.stride for a in axes),
        dilations=tuple(a.dilation for a in axes),
        pads=tuple((a.begin, a.end) for a in axes),
        groups=groups,
    )
    return LinearForm(outputs, inputs, window)


def per_channel(channels: int, axes: Sequence[Axis]) -> LinearForm:
    """Return the form of what makes every channel from itself."""
    return form_of(channels, channels, axes, channels)


def chained(first: LinearForm, second: LinearForm) -> LinearForm:
    """Return the form of the layer that does what two convolutions in a row do.

    Wherever the second one does not pad it is exact, extents included: rounding down after
    each division is rounding down once.
    """
    axes = [_chained(a, b) for a, b in zip(first.axes, second.axes, strict=True)]
    groups = math.gcd(first.window.groups, second.window.groups)
    return form_of(second.outputs, first.inputs, axes, groups)


def _chained(first: Axis, second: Axis) -> Axis:
    steps = [a for k, a in ((first.kernel, first.dilation), _seen(first, second)) if k > 1]
    dilation = math.gcd(*steps) or 1
    return Axis(
        kernel=(first.span + second.span * first.stride) // dilation + 1,
        stride=first.stride * second.stride,
        dilation=dilation,
        begin=first.begin + second.begin * first.stride,
        end=first.end + second.end * first.stride,
    )


def _seen(first: Axis, second: Axis) -> tuple[int, int]:
    """Return taps and dilation of the second layer in steps over the input of the first."""
    return second.kernel, second.dilation * first.stride


def pads_unseen(first: LinearForm, second: LinearForm, extents: Sequence[Dim]) -> bool:
    """Whether the first layer, without its bias, makes zeros wherever the second one pads.

    Args:
        first: The layer that is read.
        second: The layer that reads it.
        extents: Spatial extents of what the first one reads, as far as they are known.
    """
    rows = zip(first.axes, second.axes, extents, strict=True)
    return all(_begins(a, b) and _ends(a, b, extent) for a, b, extent in rows)


def _begins(first: Axis, second: Axis) -> bool:
    return not second.begin or first.span < first.stride + first.begin


def _ends(first: Axis, second: Axis, extent: Dim) -> bool:
    if not second.end or first.span <= first.end:
        return True
    return isinstance(extent, int) and _next_place(first, extent) >= extent


def _next_place(axis: Axis, extent: int) -> int:
    """Return where the first place behind the output would begin to read."""
    return axis.extent(extent) * axis.stride - axis.begin


def areas(
    first: LinearForm, second: LinearForm, extents: Sequence[Dim]
) -> tuple[Fraction, Fraction]:
    """Return how many places two convolutions in a row have, at least in proportion.

    Along an axis of unknown extent the first one is taken to have as few places for each of
    the second one as there may be.
    """
    before = after = Fraction(1)
    for a, b, extent in zip(first.axes, second.axes, extents, strict=True):
        if isinstance(extent, int):
            before *= a.extent(extent)
            after *= b.extent(a.extent(extent))
        else:
            before *= least_ratio(b)
    return before, after


def least_ratio(axis: Axis) -> Fraction:
    """Return how many places of its input a window has for each of its output, at least."""
    smallest = max(1, 1 - axis.excess)  # extent of an input that has an output at all
    first = Fraction(axis.stride * smallest, axis.stride + smallest + axis.excess - 1)
    return min(first, Fraction(axis.stride))


def summed(one: LinearForm, other: LinearForm, extents: Sequence[Dim]) -> LinearForm | Refusal:
    """Return the form of the convolution that does what two on the same input add up to.

    Args:
        one: A form.
        other: A form with as many outputs and inputs.
        extents: Spatial extents of the input, as far as they are known.
    """
    if (one.outputs, one.inputs) != (other.outputs, other.inputs):
        return Refusal("broadcast", "what is added does not have the same channels")
    axes = []
    for a, b, extent in zip(one.axes, other.axes, extents, strict=True):
        axis = _summed(a, b, extent)
        if isinstance(axis, Refusal):
            return axis
        axes.append(axis)
    groups = math.gcd(one.window.groups, other.window.groups)
    return form_of(one.outputs, one.inputs, axes, groups)


def _summed(one: Axis, other: Axis, extent: Dim) -> Axis | Refusal:
    if one.stride != other.stride:
        return Refusal("other-stride", "the layers that are added take other strides")
    same = one.excess == other.excess
    if not same and not (isinstance(extent, int) and one.extent(extent) == other.extent(extent)):
        return Refusal("other-extents", "the layers that are added may make other extents")
    first = max(one.begin, other.begin)
    last = max(one.span - one.begin, other.span - other.begin)
    steps = [a.dilation for a in (one, other) if a.kernel > 1]
    dilation = math.gcd(*steps, first - one.begin, first - other.begin) or 1
    kernel = (first + last) // dilation + 1
    return Axis(kernel, one.stride, dilation, first, max(one.excess, other.excess) + last)


def places(part: LinearForm, whole: LinearForm) -> list[slice]:
    """Return where the taps of one of the layers that are added lie in the kernel of the sum."""
    found = []
    for a, b in zip(part.axes, whole.axes, strict=True):
        start, step = (b.begin - a.begin) // b.dilation, a.dilation // b.dilation
        found.append(slice(start, start + (a.kernel - 1) * step + 1, max(step, 1)))
    return found
