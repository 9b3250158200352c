"""One layer at a time: what the outputs of a model lose when only that layer is quantized."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.gradients.seeds import Currency, Seeding, choose
from ocompress.analysis.nonfinite import kinds_differ
from ocompress.diagnostics import Finding
from ocompress.errors import RuntimeFailureError
from ocompress.io.dataset import Dataset, Feeds
from ocompress.ir import Model
from ocompress.runtime import Level, Session

SAMPLES = 32
"""Samples that tell layers apart well enough; one run per layer has its price."""
_CLASSES = (Currency.LOGITS, Currency.PROBABILITIES)
_MOST_KEPT = 256 << 20
"""Bytes of outputs of the original that are kept; beyond, it runs again beside each variant."""

Edit = Callable[[Model], bool]
"""Changes a clone of the model; False if it cannot."""


@dataclass(frozen=True, slots=True)
class Sensitivity(Finding):
    """What one change does to the outputs of the model.

    Attributes:
        node: The node that was changed.
        sqnr_db: Signal over noise power of the output that suffers most, decibels.
        kl: Mean divergence KL(original || changed) of the softmax over the classes of the first
            output that has any, nats; None where no output looks like scores of classes.
    """

    node: str
    sqnr_db: float
    kl: float | None


def sensitivity(
    model: Model,
    variants: Mapping[str, Edit],
    data: Dataset,
    progress: Callable[[int, int], None] = lambda _, __: None,
    *,
    samples: int = SAMPLES,
) -> dict[str, Sensitivity]:
    """Measure variants of a model against it, one after the other.

    The runtime does not fuse quantized operators here, so the result is that of the grids and
    not of one machine's kernels.

    Args:
        model: The original; not changed.
        variants: What to change, by the name of the node concerned.
        data: Feeds; the first `samples` are used.
        progress: Called with the number of variants done and their total.
        samples: Samples at most.

    Returns:
        A finding for every variant that could be made and run, in the order of `variants`.

    Raises:
        DataError: If the feeds do not fit.
        RuntimeFailureError: If the original cannot be run.
    """
    few = data.take(samples)
    original = _Original(model, few)
    found = {}
    for done, (name, edit) in enumerate(variants.items(), 1):
        clone = model.clone()
        if edit(clone):
            clone.sort()
            with contextlib.suppress(RuntimeFailureError):  # a type that this runtime lacks
                found[name] = _measure(name, clone, original)
        progress(done, len(variants))
    return found


class _Original:
    """The outputs of the original, kept or made again."""

    def __init__(self, model: Model, data: Dataset) -> None:
        self._data = data
        self._session: Session | None = Session(model, threads=0, level=Level.DISABLED)
        self._kept: list[dict[str, np.ndarray]] = []
        self.scores: tuple[str, int] | None = None
        size = 0
        for feeds in data:
            self._kept.append(self._session.run(feeds))
            if len(self._kept) == 1:
                self.scores = _scores(model, self._kept[0])
            size += sum(a.nbytes for a in self._kept[-1].values() if isinstance(a, np.ndarray))
            if size > _MOST_KEPT:
                self._kept = []
                return
        self._session = None

    def __iter__(self) -> Iterator[tuple[Feeds, dict[str, np.ndarray]]]:
        if self._session is None:
            yield from zip(self._data, self._kept, strict=True)
            return
        for feeds in self._data:
            yield feeds, self._session.run(feeds)


def _scores(model: Model, outputs: Mapping[str, np.ndarray]) -> tuple[str, int] | None:
    """Return the first output that holds scores of classes, and the axis of the classes."""
    real = {name: array for name, array in outputs.items() if _is_real(array)}
    for name, seeding in choose(model, real, {}).items():
        if isinstance(seeding, Seeding) and seeding.currency in _CLASSES:
            return name, seeding.axis
    return None


def _measure(name: str, variant: Model, original: _Original) -> Sensitivity:
    session = Session(variant, threads=0, level=Level.DISABLED)
    signal: dict[str, float] = {}
    noise: dict[str, float] = {}
    divergence, rows = 0.0, 0
    for feeds, wanted in original:
        got = session.run(feeds)
        for output, reference in wanted.items():
            there = got.get(output)
            if not _is_real(reference) or there is None or there.shape != reference.shape:
                continue
            x, y = (a.astype(np.float64) for a in (reference, there))
            power, error = _powers(x, y)
            signal[output] = signal.get(output, 0.0) + power
            noise[output] = noise.get(output, 0.0) + error
            x, y = np.nan_to_num(x), np.nan_to_num(y)
            if original.scores is not None and output == original.scores[0]:
                axis = original.scores[1]
                per_row = divergences(np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1))
                divergence, rows = divergence + float(per_row.sum()), rows + per_row.size
    ratios = [_db(signal[output], noise[output]) for output in signal]
    return Sensitivity(name, min(ratios, default=math.inf), divergence / rows if rows else None)


def _powers(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return signal and noise of two outputs of one shape; NaN and infinities in both are none."""
    if kinds_differ(x, y).any():
        return 0.0, math.inf
    finite = np.isfinite(x)
    x, y = np.where(finite, x, 0.0), np.where(finite, y, 0.0)
    return float(np.vdot(x, x)), float(np.square(x - y).sum())


def divergences(reference: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return KL(P || Q) in nats for each row of scores, shape of the leading axes.

    Args:
        reference: Scores before a softmax over the last axis, or probabilities over it.
        other: The same of what is compared.
    """
    if reference.size and reference.min() >= 0 and np.allclose(reference.sum(-1), 1, atol=1e-3):
        floor = 1e-12
        p, q = np.log(np.maximum(reference, floor)), np.log(np.maximum(other, floor))
    else:
        p, q = reference, other
    p, q = _log_softmax(p), _log_softmax(q)
    found: np.ndarray = (np.exp(p) * (p - q)).sum(axis=-1)
    return found.clip(0)


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max(axis=-1, keepdims=True)
    found: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found


def _is_real(array: object) -> bool:
    return isinstance(array, np.ndarray) and (array.dtype.kind == "f" or array.dtype.itemsize == 2)


def _db(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal and noise < math.inf else -math.inf
