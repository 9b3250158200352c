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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ocompress.analysis.gradients.logits import may_be_logits, shaped_as_input
from ocompress.analysis.gradients.origins import (
    FACTORS,
    LAYOUT,
    LINEAR,
    PASSING,
    POOLING,
    behind,
    operator_of,
)
from ocompress.analysis.gradients.typed_ends import typed_ends
from ocompress.analysis.rows import row_count
from ocompress.analysis.scales import GAP, Scales, scales_of
from ocompress.ir import Model, Node, Value

_TINY = 1e-6
_SUM_TOLERANCE = 1e-3
_FEW_CHANNELS = 4
"""A map of fewer channels is a picture or a few regressions rather than a map of classes."""
_NO_LOGITS = 64.0
"""Factor between the sizes of channels that those of one softmax do not have."""
_NO_CLASSES = re.compile(r"embed|feature|fingerprint|hidden", re.IGNORECASE)
"""What names of outputs have in them that are vectors rather than scores."""


class Currency(StrEnum):
    """What an output's divergence is counted in.

    Attributes:
        LOGITS: Kullback-Leibler divergence of the softmax along the class axis, summed over
            positions.
        PROBABILITIES: The same for an output that is that softmax already.
        BERNOULLI: Kullback-Leibler divergence of independent probabilities, summed.
        SQUARES: Half the squared error of a sample relative to the mean square of the output.
    """

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    BERNOULLI = "bernoulli"
    SQUARES = "squares"


@dataclass(frozen=True)
class Seeding:
    """How seeds of one output are drawn.

    Attributes:
        currency: What the divergence is counted in.
        axis: Axis of the classes, of no meaning for the currencies without one.
    """

    currency: Currency
    axis: int = -1

    def draw(self, output: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the gradient at an output.

        Args:
            output: What the model made, any float type.
            samples: Samples of the feed; the first axis of the output counts them, or the output
                is one sample.
            rng: Source of randomness.

        Returns:
            A seed of the output's shape, float32.
        """
        values = np.asarray(output, np.float64)
        if self.currency is Currency.SQUARES:
            return _squares(values, samples, rng)
        if self.currency is Currency.BERNOULLI:
            p = np.clip(values, _TINY, 1 - _TINY)
            return np.asarray(_signs(p.shape, rng) / np.sqrt(p * (1 - p)), np.float32)
        if self.currency is Currency.PROBABILITIES:
            root = np.sqrt(np.maximum(values, _TINY))
            drawn = _signs(root.shape, rng) / root
            return np.asarray(np.where(values > _TINY, drawn, 0), np.float32)
        p = _softmax(values, self.axis)
        drawn = _signs(p.shape, rng) * np.sqrt(p)
        return np.asarray(drawn - p * drawn.sum(self.axis, keepdims=True), np.float32)


@dataclass(frozen=True)
class Joined:
    """How seeds of an output are drawn whose parts are of different kinds, as boxes and scores.

    Attributes:
        axis: Axis along which the parts lie.
        channels: Indices along it of each part; together they are all there are.
        parts: How seeds of each are drawn.
    """

    axis: int
    channels: Sequence[np.ndarray]
    parts: Sequence[Seeding | Joined]

    def draw(self, output: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the gradient at an output, in its shape, as `Seeding.draw` does."""
        pieces = [np.take(np.asarray(output), there, self.axis) for there in self.channels]
        drawn = [s.draw(a, samples, rng) for s, a in zip(self.parts, pieces, strict=True)]
        back = np.argsort(np.concatenate(self.channels), kind="stable")
        return np.asarray(np.take(np.concatenate(drawn, self.axis), back, self.axis))


def seeding_of(value: Value, output: np.ndarray, model: Model) -> Seeding | Joined:
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
    """
    last = behind(value, PASSING)
    joined = _joined(last, output, model)
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
    if _sums_to_one(output, axis):
        return Seeding(Currency.PROBABILITIES, axis)
    maps = output.ndim > 3 and (output.shape[axis] < _FEW_CHANNELS or _float_outputs(model) > 1)
    last = behind(value, (*PASSING, *LAYOUT, *FACTORS, *POOLING))
    linear = operator_of(last) in LINEAR and _scales(output, _NO_LOGITS) is None
    linear = linear and not maps and _NO_CLASSES.search(value.name) is None
    alone, like = _float_outputs(model) == 1, shaped_as_input(output, model)
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


def class_axis(shape: tuple[int, ...]) -> int | None:
    """Return the axis that holds classes by convention, None where there is no second class."""
    axis = {0: None, 1: None, 2: -1, 3: -1}.get(len(shape), 1)
    return axis if axis is not None and shape[axis] > 1 else None


def choose(
    model: Model, outputs: Mapping[str, np.ndarray], currencies: Mapping[str, Currency]
) -> dict[str, Seeding | Joined]:
    """Choose a seeding for every output, from what the first feed makes of it."""
    by_name = typed_ends(model, outputs)
    return {
        name: seeding_as(currencies[name], array)
        if name in currencies
        else seeding_of(by_name[name], array, model)
        for name, array in outputs.items()
    }


def _joined(node: Node | None, output: np.ndarray, model: Model) -> Joined | None:
    if node is None:
        return None
    if node.is_op("Transpose"):
        return _moved(node, output, model)
    if not node.is_op("Concat"):
        return None
    axis = int(node.attr("axis", 0)) % output.ndim
    values = [v for v in node.inputs if v is not None and v.rank == output.ndim]
    extents = [e for v in values if v.shape and isinstance(e := v.shape[axis], int)]
    if len(extents) < len(node.inputs) or sum(extents) != output.shape[axis]:
        return None
    channels = np.split(np.arange(output.shape[axis]), np.cumsum(extents)[:-1])
    pieces = [np.take(output, there, axis) for there in channels]
    parts = [seeding_of(v, a, model) for v, a in zip(values, pieces, strict=True)]
    first = parts[0]
    if isinstance(first, Joined) and first.axis != axis and all(_alike(first, p) for p in parts):
        return first  # the same kinds side by side, for several scales of a detector
    kinds = {p.currency if isinstance(p, Seeding) else None for p in parts}
    return Joined(axis, channels, parts) if len(kinds) > 1 else None


def _moved(node: Node, output: np.ndarray, model: Model) -> Joined | None:
    """Return the parts of what a Transpose reads, where they lie in its output."""
    order = [int(axis) for axis in node.attr("perm", range(output.ndim)[::-1])]
    source = node.input(0)
    if source is None or len(order) != output.ndim:
        return None
    found = _joined(behind(source, PASSING), output.transpose(np.argsort(order)), model)
    return None if found is None else Joined(order.index(found.axis), found.channels, found.parts)


def _alike(first: Joined, other: Seeding | Joined) -> bool:
    if not isinstance(other, Joined) or first.axis != other.axis:
        return False
    pairs = zip(first.channels, other.channels, strict=False)
    same = len(first.channels) == len(other.channels)
    return same and all(np.array_equal(a, b) for a, b in pairs) and first.parts == other.parts


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


def _sums_to_one(output: np.ndarray, axis: int) -> bool:
    values = np.asarray(output, np.float64)
    if values.size == 0 or not (values.min() >= 0 and values.max() <= 1 + _SUM_TOLERANCE):
        return False
    return bool(np.all(np.abs(values.sum(axis=axis) - 1) <= _SUM_TOLERANCE))


def _softmax(values: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(values - values.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def _signs(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    found: np.ndarray = rng.integers(0, 2, shape) * 2.0 - 1
    return found


def _squares(values: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    rows = row_count(values.shape, samples)
    size = max(1, values.size // max(1, rows))
    rms = np.sqrt(np.mean(np.square(values))) if values.size else 0.0
    noise = rng.standard_normal(values.shape) / (max(float(rms), _TINY) * np.sqrt(size))
    return np.asarray(noise, np.float32)
