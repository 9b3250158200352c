"""How far the outputs of a changed model are from the original's, part by part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.gradients.seeds import Currency, amounts, choose
from ocompress.analysis.nonfinite import kinds_differ
from ocompress.analysis.output_parts import OutputPart, Spread, parts_of
from ocompress.analysis.running import sqnr_db
from ocompress.ir import Model

_CLASSES = (Currency.LOGITS, Currency.PROBABILITIES)
_FLOOR = 1e-12
"""Probability below which logarithms say nothing."""


@dataclass(frozen=True)
class Divergence:
    """What one change does to the outputs of a model.

    Attributes:
        sqnr_db: Signal over noise power of the part that suffers most, decibels.
        kl: Mean divergence KL(original || changed) over the classes, nats, summed over the parts
            that are scores of classes; None where there are none.
        cost: Over all parts, twice the divergence of scores of classes, and of others the power of
            the error over the part's variance around the means of its channels: offsets that all
            samples share are nothing that could be lost.
    """

    sqnr_db: float
    kl: float | None
    cost: float


class OutputErrors:
    """Running comparison of the outputs of a model and of variants of it.

    Memory does not grow with the data. NaN and infinities that both have do not count; those that
    one has alone are infinite errors.
    """

    def __init__(self, parts: Mapping[str, Sequence[OutputPart]]) -> None:
        """Start with nothing seen.

        Args:
            parts: Parts of each output, as `output_parts` finds them.
        """
        self._originals = [_OriginalPart(name, p) for name, found in parts.items() for p in found]
        self._sums: dict[str, dict[int, _PartSum]] = {}

    def update(
        self,
        original: Mapping[str, np.ndarray],
        changed: Mapping[str, np.ndarray],
        variant: str = "",
    ) -> None:
        """Take in what both make of a feed; outputs of another shape are left out.

        Args:
            original: Outputs by name. For all variants of one feed the arrays are the same
                objects, so that what only they decide is computed once.
            changed: Outputs of the variant.
            variant: Its name.
        """
        sums = self._sums.setdefault(variant, {})
        for at, part in enumerate(self._originals):
            reference, other = original.get(part.output), changed.get(part.output)
            if reference is None or other is None or reference.shape != other.shape:
                continue
            part.look_at(reference)
            sums.setdefault(at, _PartSum()).update(part, other)

    def result(self, variant: str = "") -> Divergence:
        """Return what was found; a part that is always zero says nothing beside others."""
        sums = self._sums.get(variant, {})
        pairs = [(self._originals[at], s) for at, s in sorted(sums.items()) if s.count]
        pairs = [(p, s) for p, s in pairs if p.spread.power > 0] or pairs
        divergences = [s.divergence for _, s in pairs if s.divergence is not None]
        noise = max((s.relative(p.spread.power) for p, s in pairs), default=0.0)
        costs = [
            s.relative(p.spread.variance) if s.divergence is None else 2 * s.divergence
            for p, s in pairs
        ]
        return Divergence(
            sqnr_db=sqnr_db(1.0, noise),
            kl=sum(divergences) if divergences else None,
            cost=sum(costs),
        )


def output_parts(
    model: Model, outputs: Mapping[str, np.ndarray]
) -> dict[str, tuple[OutputPart, ...]]:
    """Part every output of floats, or of amounts that are rounded to whole numbers.

    Args:
        model: Whose outputs they are; types should be inferred.
        outputs: What it makes of some samples, the more of them, the better sizes are known.
    """
    whole = amounts(model, outputs)
    real = {n: a for n, a in outputs.items() if n in whole or _is_real(a)}
    return {n: parts_of(real[n], seeding) for n, seeding in choose(model, real, {}).items()}


class _OriginalPart:
    """A part of an output of the original: how far it spreads, and what one feed made of it."""

    def __init__(self, output: str, part: OutputPart) -> None:
        self.output = output
        self.spread = Spread(part)
        self.axis = part.seeding.axis if part.seeding is not None else 0
        self._counts_classes = part.seeding is not None and part.seeding.currency in _CLASSES
        self._seen: np.ndarray | None = None
        self.values = np.zeros(0)
        self.finite = np.zeros(0, bool)
        self.classes: _Classes | None = None

    def look_at(self, output: np.ndarray) -> None:
        """Take in what a feed makes, once."""
        if output is self._seen:
            return
        self._seen = output
        self.spread.update(output)
        self.values = self.of(output)
        self.finite = np.isfinite(self.values)
        if self._counts_classes:
            self.classes = _Classes(np.moveaxis(self.values, self.axis, -1))

    def of(self, output: np.ndarray) -> np.ndarray:
        return np.asarray(self.spread.part.of(output), np.float64)


@dataclass
class _PartSum:
    count: int = 0
    _noise: float = 0.0
    _divergence: float = 0.0
    _rows: int = 0

    def update(self, original: _OriginalPart, changed: np.ndarray) -> None:
        x, y = original.values, original.of(changed)
        with np.errstate(over="ignore", invalid="ignore"):
            error = np.where(original.finite & np.isfinite(y), np.square(x - y), 0.0)
        error[kinds_differ(x, y)] = np.inf
        self.count += int(original.finite.sum())
        self._noise += float(error.sum())
        if original.classes is not None:
            rows = original.classes.divergences(np.moveaxis(y, original.axis, -1))
            self._divergence += float(rows.sum())
            self._rows += rows.size

    def relative(self, power: float) -> float:
        """Noise over a power of the signal."""
        if not self._noise:
            return 0.0
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
    return _Classes(reference).divergences(other)


class _Classes:
    """Scores of classes, or probabilities, that others are compared with."""

    def __init__(self, scores: np.ndarray) -> None:
        sums = scores.sum(-1) if scores.size and scores.min() >= 0 else None
        self._are_probabilities = sums is not None and bool(np.allclose(sums, 1, atol=1e-3))
        self._logs = self._log(scores)
        self._shares = np.exp(self._logs)

    def divergences(self, other: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", over="ignore"):
            terms = self._shares * (self._logs - self._log(other))
            found: np.ndarray = np.where(self._logs == -np.inf, 0.0, terms).sum(axis=-1)
        return np.where(np.isnan(found), np.inf, found).clip(0)

    def _log(self, scores: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", over="ignore"):
            logs = np.log(np.maximum(scores, _FLOOR)) if self._are_probabilities else scores
            return _log_softmax(logs)


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max(axis=-1, keepdims=True)
    found: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found


def _is_real(array: object) -> bool:
    if not isinstance(array, np.ndarray):
        return False
    return bool(array.dtype.kind == "f" or (array.dtype.kind == "V" and array.dtype.itemsize == 2))
