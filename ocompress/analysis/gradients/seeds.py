"""Random gradients at the outputs that stand for a divergence from what the model says itself.

With a seed s at the outputs and g the gradient that it leads to at some value, E[g g'] over the
draws is the Gauss-Newton form of the Fisher information of the model's own predictions
(Martens, "New Insights and Perspectives on the Natural Gradient Method", 2020): a small change dy
of the value costs about E[(g . dy)^2] / 2. No label is needed.

Seeds are random signs times a root of the covariance of p - y, y a class drawn from the model's own
distribution p. Classes that are drawn give the same mean of products, but of a model that is sure
most of them say nothing and a rare one says it all: at one draw a sample, far fewer samples count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from ocompress.analysis.gradients.joining import joined_of
from ocompress.analysis.gradients.logits import may_be_logits, shaped_as_input, sums_to_one
from ocompress.analysis.gradients.origins import (
    FACTORS,
    LAYOUT,
    LINEAR,
    PASSING,
    POOLING,
    ROUNDING,
    amount_behind,
    behind,
    operator_of,
)
from ocompress.analysis.gradients.seedings import Currency, Joined, Seeding, class_axis
from ocompress.analysis.gradients.typed_ends import typed_ends
from ocompress.analysis.scales import GAP, Scales, scales_of
from ocompress.analysis.shapes import with_shapes
from ocompress.ir import Model, Value

__all__ = ["Currency", "Joined", "Seeding", "amounts", "choose", "fits", "seeding_as", "seeding_of"]

_FEW_CHANNELS = 4
"""A map of fewer channels is a picture or a few regressions rather than a map of classes."""
_NO_LOGITS = 64.0
"""Factor between the sizes of channels that those of one softmax do not have."""
_NO_CLASSES = re.compile(r"embed|feature|fingerprint|hidden", re.IGNORECASE)
"""What names of outputs have in them that are vectors rather than scores."""


def seeding_of(
    value: Value, output: np.ndarray, model: Model, *, beside: bool = False
) -> Seeding | Joined:
    """Choose how seeds of an output are drawn.

    An output that is put together of parts of different kinds has each part's; else boxes in pixels
    would leave nothing to the scores beside them.

    1. Behind Softmax: probabilities along its axis; LogSoftmax: logits along its axis. Behind
       Sigmoid: independent probabilities.
    2. Values within [0, 1] that sum to one along the class axis: probabilities (a softmax that is
       spelled out).
    3. Logits where the output has a class axis of at least two classes (the last axis of rank 2 and
       3, axis 1 of higher ranks), and comes from a matrix product or a convolution through nothing
       but changes of layout, constant offsets and factors, pooling and resizing. For rank 4 and
       more only if it is the model's one float output and has at least four channels: pictures and
       detection heads come from convolutions, too. Not where channels differ in size, or a few of
       them move, as no logits do, and not where the output is named otherwise (`embedding`) or has
       the extents of an input, unless its values move as logits do.
    4. Everything else, embeddings behind a normalization or Tanh among them: relative squares, of
       channels of very different size each group's own. Only by its name can an embedding that
       comes straight from a matrix product be told from logits; else name its currency.

    Args:
        value: The formal output.
        output: What the model made of the first feed.
        model: Whose output it is.
        beside: Whether it is a part of an output with other kinds of parts, as boxes are that come
            straight from a convolution; few channels are then classes only if they move as such.
    """
    last = behind(value, PASSING)

    def kind_of(piece: Value, made: np.ndarray, beside: bool) -> Seeding | Joined:
        return seeding_of(piece, made, model, beside=beside)

    joined = joined_of(value, output, kind_of)
    if joined is not None:
        return joined
    kind = operator_of(last)
    if last is not None and kind in ("Softmax", "LogSoftmax"):
        along = int(last.attr("axis", -1 if model.opset >= 13 else 1))
        soft = kind == "Softmax"
        return Seeding(Currency.PROBABILITIES if soft else Currency.LOGITS, along)
    if operator_of(behind(value, (*PASSING, *LAYOUT))) == "Sigmoid":
        return Seeding(Currency.BERNOULLI)
    axis = class_axis(output.shape)
    if axis is None:
        return _relative(output, -1)
    if sums_to_one(output, axis):
        return Seeding(Currency.PROBABILITIES, axis)
    maps = output.ndim > 3 and (output.shape[axis] < _FEW_CHANNELS or _float_outputs(model) > 1)
    last = behind(value, (*PASSING, *LAYOUT, *FACTORS, *POOLING))
    linear = operator_of(last) in LINEAR and _scales(output, _NO_LOGITS) is None
    linear = linear and not maps and _NO_CLASSES.search(value.name) is None
    alone = _float_outputs(model) == 1 and not beside
    like = shaped_as_input(output, model)
    if linear and may_be_logits(output, axis, alone=alone, like=like):
        return Seeding(Currency.LOGITS, axis)
    return _relative(output, axis)


def seeding_as(currency: Currency, output: np.ndarray) -> Seeding:
    """Return the seeding for a currency that somebody chose, along an output's usual class axis.

    Args:
        currency: What was chosen.
        output: What the model makes of some data, any shape.
    """
    axis = class_axis(output.shape)
    return Seeding(currency, -1 if axis is None else axis)


def fits(seeding: Seeding | Joined | None, output: np.ndarray) -> bool:
    """Whether there is a seeding and it is one for an output of these extents."""
    if not isinstance(seeding, Joined):
        return seeding is not None
    if output.ndim <= seeding.axis:
        return False
    return sum(len(there) for there in seeding.channels) == int(output.shape[seeding.axis])


def choose(
    model: Model, outputs: Mapping[str, np.ndarray], currencies: Mapping[str, Currency]
) -> dict[str, Seeding | Joined]:
    """Choose a seeding for every output, from what the first feed makes of it.

    Amounts that an output of integers is rounded from, or gives, count as squares.
    """
    by_name = typed_ends(model, outputs)
    found: dict[str, Seeding | Joined] = {}
    for name, array in outputs.items():
        end = by_name.get(name)
        if name in currencies:
            found[name] = seeding_as(currencies[name], array)
        elif end is None or array.dtype.kind in "iu":
            found[name] = seeding_as(Currency.SQUARES, array)
        else:
            found[name] = seeding_of(end, array, model)
    return found


def amounts(model: Model, outputs: Mapping[str, np.ndarray]) -> set[str]:
    """Return the names of outputs that are whole numbers but for amounts, not for labels.

    Args:
        model: Whose outputs they are; not changed.
        outputs: What it makes of some data.
    """
    whole = {n for n, a in outputs.items() if isinstance(a, np.ndarray) and a.dtype.kind in "iu"}
    ends = {v.name: v for v in model.graph.outputs if v.name in whole}
    if not any(v.producer is not None and v.producer.is_op(*ROUNDING) for v in ends.values()):
        return set()
    typed = {v.name: v for v in with_shapes(model, {}).graph.outputs if v.name in whole}
    return {name for name, value in typed.items() if amount_behind(value) is not None}


def _relative(output: np.ndarray, axis: int) -> Seeding | Joined:
    """Return relative squares, each group of channels of like size on its own."""
    seeding = Seeding(Currency.SQUARES, axis)
    found = _scales(output, GAP)
    if found is None:
        return seeding
    return Joined(found.axis % output.ndim, found.groups, [seeding] * len(found.groups))


def _scales(output: np.ndarray, gap: float) -> Scales | None:
    values = np.nan_to_num(np.asarray(output, np.float64), posinf=0.0, neginf=0.0)
    return scales_of(values, gap)


def _float_outputs(model: Model) -> int:
    return sum(v.dtype is not None and v.dtype.is_float for v in model.graph.outputs)
