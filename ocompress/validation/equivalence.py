"""Do two models compute the same, up to rounding? What passes promise that keep the outputs.

Both run without graph optimizations, so that the pass alone can make a difference. Most rewrites
keep every bit. Where some differ, the error is compared with the scale of its channel and the
precision of the model; and where it is larger, with what rounding does to this very model: the
original is run with weights and inputs that are off by a few units in the last place, and with the
runtime's own fusions. A model that amplifies rounding, decides at ties or draws random numbers is
excused as far as it moves by itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np

from ocompress.analysis.nonfinite import kinds_differ
from ocompress.errors import DataError, RuntimeFailureError
from ocompress.io.dataset import Feeds
from ocompress.ir import DType, Model, edit
from ocompress.runtime import Level
from ocompress.validation.decisions import as_float, is_float
from ocompress.validation.sources import LARGE, LiveSource

_UNITS, _HALF_UNITS = 256, 4
"""Units in the last place that an error may have, of the largest value in its channel; the second
where a model computes in 16 bits or less."""
_NUDGES, _HALF_NUDGES = (4, 16, 64), (1, 2, 4)
"""Units in the last place by which weights and inputs are moved to see what rounding does."""
_EXCUSE = 2.0
"""Factor by which an error may exceed what nudges do."""
_FEW = 16
"""Elements in a channel from which on it has a scale of its own."""
_FLOOR = 1e-6
"""Least scale of a channel, of the largest value in the output."""
_SMALL = 32
"""Elements from which on a vector is taken for weights, and no setting such as an exponent."""
_EPSILONS = {DType.DOUBLE: 2.0**-52, DType.FLOAT: 2.0**-23, DType.FLOAT16: 2.0**-10}
_COARSE = 2.0**-7
"""The unit in the last place of bfloat16 and of whatever else has few bits."""

_Outputs = list[dict[str, np.ndarray]]


class RoundingEquivalence:
    """Compares models on a few feeds; what the original gives is kept for the next question."""

    def __init__(self, feeds: Sequence[Feeds], *, threads: int = 1, seed: int = 0) -> None:
        """Keep the feeds; nothing runs yet.

        Args:
            feeds: Calls of the model, a few.
            threads: Threads within an operator; 0 takes all cores.
            seed: Makes the nudges repeatable.
        """
        self._feeds, self._threads, self._seed = list(feeds), threads, seed
        self._model: Model | None = None
        self._made: dict[Level, tuple[list[Feeds], _Outputs]] = {}
        self._moved: dict[str, float] | None = None

    def difference(self, before: Model, after: Model) -> str:
        """Say how the outputs of `after` differ, empty if by no more than rounding.

        Nothing is said where `before` cannot be run.
        """
        if before is not self._model:
            self._model, self._made, self._moved = before, {}, None
        failure = ""
        for level in (Level.DISABLED, Level.ALL):
            feeds, wanted = self._wanted(before, level)
            if not feeds:
                continue
            try:
                found = self._run(after, level, feeds)
            except (DataError, RuntimeFailureError) as error:
                failure = f"the model no longer runs: {error}"
                continue
            return self._judge(before, feeds, wanted, found)
        return failure

    def _wanted(self, model: Model, level: Level) -> tuple[list[Feeds], _Outputs]:
        """Return the feeds that a model runs on and what it gives, empty if it does not load."""
        if level not in self._made:
            feeds: list[Feeds] = []
            outputs: _Outputs = []
            with contextlib.suppress(RuntimeFailureError):
                source = LiveSource(model, level, self._threads)
                for feed in self._feeds:
                    with contextlib.suppress(DataError, RuntimeFailureError):
                        outputs.append(source.outputs(feed))
                        feeds.append(feed)
            self._made[level] = feeds, outputs
        return self._made[level]

    def _run(self, model: Model, level: Level, feeds: Sequence[Feeds]) -> _Outputs:
        source = LiveSource(model, level, self._threads)
        return [source.outputs(f) for f in feeds]

    def _judge(
        self, before: Model, feeds: Sequence[Feeds], wanted: _Outputs, found: _Outputs
    ) -> str:
        lacking = [name for name in wanted[0] if name not in found[0]]
        if lacking:
            return f"output {lacking[0]!r} is gone"
        errors, epsilon = _errors(wanted, found), _epsilon(before)
        units = _UNITS if epsilon <= _EPSILONS[DType.FLOAT] else _HALF_UNITS
        allowed = {n: units * epsilon if is_float(wanted[0][n]) else 0.0 for n in errors}
        if all(errors[n] <= allowed[n] for n in errors):
            return ""
        if self._moved is None:
            self._moved = self._sensitivity(before, feeds, wanted, epsilon)
        for name, error in errors.items():
            excused = max(allowed[name], _EXCUSE * self._moved.get(name, 0.0))
            if error > excused:
                return _sentence(name, error, excused, wanted[0][name])
        return ""

    def _sensitivity(
        self, model: Model, feeds: Sequence[Feeds], wanted: _Outputs, epsilon: float
    ) -> dict[str, float]:
        """Return the largest error of each output that rounding alone makes."""
        moved = dict.fromkeys(wanted[0], 0.0)
        for changed, level, moved_feeds in self._nudged(model, feeds, epsilon):
            try:
                errors = _errors(wanted, self._run(changed, level, moved_feeds))
            except (DataError, RuntimeFailureError):
                continue
            for name, error in errors.items():
                moved[name] = max(moved[name], error)
        return moved

    def _nudged(
        self, model: Model, feeds: Sequence[Feeds], epsilon: float
    ) -> Iterator[tuple[Model, Level, Sequence[Feeds]]]:
        yield model, Level.ALL, feeds
        for units in _NUDGES if epsilon <= _EPSILONS[DType.FLOAT] else _HALF_NUDGES:
            rng, size = np.random.default_rng([self._seed, units]), units * epsilon
            changed = model if model.weight_bytes > LARGE else _nudge_weights(model, size, rng)
            moved = [{n: _nudge(a, size, rng) for n, a in f.items()} for f in feeds]
            yield changed, Level.DISABLED, moved


def _nudge_weights(model: Model, size: float, rng: np.random.Generator) -> Model:
    changed = model.clone()
    for graph in changed.graph.graphs():
        for value in graph.initializers.values():
            array = value.data
            if array is not None and (array.ndim > 1 or array.size >= _SMALL):
                edit.set_weight(value, _nudge(array, size, rng))
    return changed


def _nudge(array: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """Return an array whose elements are off by a relative `size`; integers as they are."""
    if not is_float(array) or not array.size:
        return array
    factor = 1 + size * rng.uniform(-1, 1, array.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(as_float(array) * factor).astype(array.dtype)


def _epsilon(model: Model) -> float:
    """Return the unit in the last place of the coarsest numbers that a model computes in.

    Weights that are stored in few bits and widened before use do not count.
    """
    kinds = {v.dtype for v in (*model.graph.inputs, *model.graph.outputs)}
    for _, node in model.nodes():
        if node.is_op("Cast"):
            kinds.add(DType.named(node.attr("to", DType.FLOAT)))
        elif not node.is_op("DequantizeLinear"):
            kinds |= {DType.of(v.data) for v in node.inputs if v is not None and v.data is not None}
    floats = [_EPSILONS.get(k, _COARSE) for k in kinds if k is not None and k.is_float]
    return max(floats, default=_EPSILONS[DType.FLOAT])


def _errors(wanted: _Outputs, found: _Outputs) -> dict[str, float]:
    """Return the largest error of each output over the feeds; what is missing is infinite."""
    worst = dict.fromkeys(wanted[0], 0.0)
    for left, right in zip(wanted, found, strict=True):
        for name, array in left.items():
            error = _error(array, right[name]) if name in right else np.inf
            worst[name] = max(worst.get(name, 0.0), error)
    return worst


def _error(reference: np.ndarray, other: np.ndarray) -> float:
    """Return the largest error over the scale of its channel; of what is no float, a share."""
    if reference.shape != other.shape or reference.dtype != other.dtype:
        return np.inf
    if not reference.size:
        return 0.0
    if not is_float(reference):
        return float(np.mean(np.asarray(reference != other)))
    x, y = (np.asarray(as_float(a), np.float64) for a in (reference, other))
    if kinds_differ(x, y).any():
        return np.inf
    finite = np.isfinite(x)
    x, y = np.where(finite, x, 0.0), np.where(finite, y, 0.0)
    return _relative(np.abs(x), np.abs(x - y))


def _relative(size: np.ndarray, error: np.ndarray) -> float:
    """Return the largest error of any channel, along axis 1 or the last, over its own scale.

    Args:
        size: Absolute values, any shape.
        error: Absolute errors, the same shape.
    """
    if not error.any():
        return 0.0
    largest = float(size.max())
    if largest == 0:
        return np.inf
    worst = float(error.max()) / largest
    for axis in {1, size.ndim - 1} if size.ndim > 1 else ():
        if size.size // size.shape[axis] < _FEW:
            continue
        others = tuple(a for a in range(size.ndim) if a != axis)
        scale = np.maximum(size.max(axis=others), _FLOOR * largest)
        worst = max(worst, float((error.max(axis=others) / scale).max()))
    return worst


def _sentence(name: str, error: float, allowed: float, output: np.ndarray) -> str:
    if not is_float(output):
        return f"{100 * error:.3g} % of output {name!r} are other values"
    if np.isinf(error):
        return f"output {name!r} has another shape or type, or NaN and infinities elsewhere"
    return (
        f"output {name!r} is off by {error:.2g} of its scale, where rounding explains {allowed:.2g}"
    )
