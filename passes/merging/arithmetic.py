"""The numbers of merged layers: pure numpy, in float64.

Weights are [outputs, inputs / groups, *kernel].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from passes.merging import forms
from passes.merging.forms import LinearForm


def regrouped(weight: np.ndarray, groups: int, fewer: int) -> np.ndarray:
    """Write a weight with fewer groups; what was apart is tied by zeros.

    Args:
        weight: Weight of `groups` groups, (outputs, inputs / groups, *kernel).
        groups: Its groups.
        fewer: Groups wanted, a divisor.
    """
    if groups == fewer:
        return weight
    tied, (outputs, inputs, *taps) = groups // fewer, weight.shape
    parts = weight.reshape(fewer, tied, outputs // groups, inputs, *taps)
    whole = np.zeros((fewer, tied, outputs // groups, tied, inputs, *taps))
    at = np.arange(tied)
    whole[:, at, :, at] = parts.swapaxes(0, 1)
    return whole.reshape(outputs, tied * inputs, *taps)


def chained(
    first: np.ndarray, second: np.ndarray, form: LinearForm, reader: LinearForm
) -> np.ndarray:
    """Return the weight of the convolution that does what two in a row do.

    Args:
        first: Weight of the one that is read, (outputs, inputs / groups, *kernel).
        second: Weight of the one that reads it, in the same layout.
        form: LinearForm of the one that is read.
        reader: LinearForm of the one that reads it.
    """
    whole = forms.chained(form, reader)
    groups = whole.window.groups
    result = np.zeros(whole.shape)
    if not reader.is_depthwise:
        second = regrouped(second, reader.window.groups, groups)
    if not form.is_depthwise:
        first = regrouped(first, form.window.groups, groups)
    rows = list(zip(form.axes, reader.axes, whole.axes, strict=True))
    for late in np.ndindex(*reader.window.kernel):
        for early in np.ndindex(*form.window.kernel):
            at = tuple(
                (i * b.dilation * a.stride + j * a.dilation) // c.dilation
                for i, j, (a, b, c) in zip(late, early, rows, strict=True)
            )
            now = (slice(None), slice(None))
            pair = first[*now, *early], second[*now, *late]
            result[*now, *at] += _through(*pair, form, reader, groups)
    return result


def _through(
    first: np.ndarray, second: np.ndarray, form: LinearForm, reader: LinearForm, groups: int
) -> np.ndarray:
    """Return the product of the channels of two taps, [outputs, inputs / groups]."""
    if reader.is_depthwise:
        return np.asarray(first * second)
    if form.is_depthwise:
        scales = first.reshape(groups, 1, -1)
        scaled = second.reshape(groups, -1, scales.shape[2]) * scales
        return np.reshape(scaled, second.shape)
    rows = second.reshape(groups, -1, second.shape[1])
    columns = first.reshape(groups, -1, first.shape[1])
    return np.reshape(np.matmul(rows, columns), (len(second), -1))


def pushed(bias: np.ndarray, weight: np.ndarray, groups: int) -> np.ndarray:
    """Return what a constant of every channel becomes behind a layer that sees it everywhere.

    Args:
        bias: The constant, one number per input channel.
        weight: Weight of the layer, (outputs, inputs / groups, *kernel).
        groups: Its groups.
    """
    sums = weight.reshape(groups, -1, *weight.shape[1:])
    sums = sums.sum(axis=tuple(range(3, sums.ndim)))
    return np.reshape(np.einsum("goi,gi->go", sums, bias.reshape(groups, -1)), -1)


def summed(
    weights: Sequence[np.ndarray], parts: Sequence[LinearForm], whole: LinearForm
) -> np.ndarray:
    """Return the weight of the convolution that does what several on the same input add up to.

    Args:
        weights: Their weights, each (outputs, inputs / groups, *kernel).
        parts: Their forms.
        whole: The form of the sum.
    """
    groups = whole.window.groups
    result = np.zeros(whole.shape)
    for weight, part in zip(weights, parts, strict=True):
        at = (slice(None), slice(None), *forms.places(part, whole))
        result[at] += regrouped(weight, part.window.groups, groups)
    return result
