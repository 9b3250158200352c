"""How far the outputs of a changed model are from the original's, part by part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ocompress.analysis.gradients.seeds import Currency, choose
from ocompress.analysis.nonfinite import kinds_differ
from ocompress.analysis.output_parts import OutputPart, Spread, parts_of
from ocompress.analysis.running import sqnr_db
from ocompress.ir import Model

_CLASSES = (Currency.LOGITS, Currency.PROBABILITIES)


@dataclass(frozen=True)
class Divergence:
    """What one change does to the outputs of a model.

    Attributes:
        sqnr_db: Signal over noise power of the part that suffers most, decibels.
        kl: Mean divergence KL(original || changed) over the classes, nats, summed over the parts
            that are scores of classes; None where there are none.
        cost: Over all parts, twice the divergence of scores of classes, and of others the power of
            the error over that of the part.
    """

    sqnr_db: float
    kl: float | None
    cost: float


class OutputErrors:
    """Running comparison of the outputs of two models; memory does not grow with the data.

    NaN and infinities that both have do not count; those that one has alone are infinite errors.
    """

    def __init__(self, parts: Mapping[str, Sequence[OutputPart]]) -> None:
        """Start with nothing seen.

        Args:
            parts: Parts of each output, as `output_parts` finds them.
        """
        self._sums = {name: [_PartSum(Spread(p)) for p in found] for name, found in parts.items()}

    def update(self, original: Mapping[str, np.ndarray], changed: Mapping[str, np.ndarray]) -> None:
        """Take in what both make of a feed; outputs of another shape are left out."""
        for name, sums in self._sums.items():
            reference, other = original.get(name), changed.get(name)
            if reference is None or other is None or reference.shape != other.shape:
                continue
            for part in sums:
                part.update(reference, other)

    def result(self) -> Divergence:
        """Return what was found; a part that is always zero says nothing beside others."""
        seen = [s for sums in self._sums.values() for s in sums if s.count]
        seen = [s for s in seen if s.spread.power > 0] or seen
        divergences = [s.divergence for s in seen if s.divergence is not None]
        noise = [s.relative for s in seen]
        costs = [2 * s.divergence if s.divergence is not None else s.relative for s in seen]
        return Divergence(
            sqnr_db=sqnr_db(1.0, max(noise, default=0.0)),
            kl=sum(divergences) if divergences else None,
            cost=sum(costs),
        )


def output_parts(
    model: Model, outputs: Mapping[str, np.ndarray]
) -> dict[str, tuple[OutputPart, ...]]:
    """Part every output of floats.

    Args:
        model: Whose outputs they are; types should be inferred.
        outputs: What it makes of some samples, the more of them, the better sizes are known.
    """
    real = {name: array for name, array in outputs.items() if _is_real(array)}
    return {n: parts_of(real[n], seeding) for n, seeding in choose(model, real, {}).items()}


@dataclass
class _PartSum:
    spread: Spread
    count: int = 0
    _noise: float = 0.0
    _divergence: float = 0.0
    _rows: int = field(default=0)

    def update(self, original: np.ndarray, changed: np.ndarray) -> None:
        part = self.spread.part
        self.spread.update(original)
        x, y = (np.asarray(part.of(a), np.float64) for a in (original, changed))
        finite = np.isfinite(x)
        with np.errstate(over="ignore", invalid="ignore"):
            error = np.where(finite & np.isfinite(y), np.square(x - y), 0.0)
        error[kinds_differ(x, y)] = np.inf
        self.count += int(finite.sum())
        self._noise += float(error.sum())
        if part.seeding is not None and part.seeding.currency in _CLASSES:
            axis = part.seeding.axis
            rows = divergences(np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1))
            self._divergence, self._rows = (
                self._divergence + float(rows.sum()),
                self._rows + rows.size,
            )

    @property
    def relative(self) -> float:
        """Noise over signal power."""
        if not self._noise:
            return 0.0
        power = self.spread.power
        return self._noise / self.count / power if power else math.inf

    @property
    def divergence(self) -> float | None:
        """Mean divergence of a row, None for what is no scores of classes."""
        return self._divergence / self._rows if self._rows else None


def divergences(reference: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return KL(P || Q) in nats for each row of scores, shape of the leading axes.

    Args:
        reference: Scores before a softmax over the last axis, or probabilities over it; minus
            infinity is a class that cannot be.
        other: The same of what is compared.
    """
    if reference.size and reference.min() >= 0 and np.allclose(reference.sum(-1), 1, atol=1e-3):
        floor = 1e-12
        p, q = np.log(np.maximum(reference, floor)), np.log(np.maximum(other, floor))
    else:
        p, q = reference, other
    with np.errstate(invalid="ignore", over="ignore"):
        p, q = _log_softmax(p), _log_softmax(q)
        found: np.ndarray = np.where(p == -np.inf, 0.0, np.exp(p) * (p - q)).sum(axis=-1)
    return np.where(np.isnan(found), np.inf, found).clip(0)


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max(axis=-1, keepdims=True)
    found: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found


def _is_real(array: object) -> bool:
    return isinstance(array, np.ndarray) and (array.dtype.kind == "f" or array.dtype.itemsize == 2)
