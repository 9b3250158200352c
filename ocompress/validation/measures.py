"""What an output loses, in the unit that its users mean.

| output | unit | what is lost |
|---|---|---|
| scores of classes | `expected` | accuracy, as the original's own probabilities expect it |
| scores of classes that are hardly ever sure | `agreement` | share of samples decided otherwise |
| one probability that fires now and then | `expected` | the same, of two classes |
| integers but for rounded amounts, booleans, text | `agreement` | share that is not equal |
| embeddings | `cosine` | one minus the cosine of each row |
| objects of a detector | `boxes` | one minus F1 of objects of both, see `boxes` |
| texts spelled step by step | `ctc` | edit distance over the length, see `texts` |
| masks, one or of classes | `iou` | one minus intersection over union, see `masks` |
| everything else, part by part | `error` | squared error over the part's own variance |
| the same, where asked for | `relative` | mean absolute error over mean absolute value |

With p the probabilities of the original and q what the candidate decides, the drop of accuracy to
be expected is mean(p[argmax p] - p[q]) if the original is calibrated. It follows the true drop,
where disagreement, which counts every coin flip between two likely classes in full, is several
times larger. Where some labels are known, a temperature (Guo et al., On Calibration of Modern
Neural Networks, 2017) corrects an original that is surer, or less sure, than it is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from ocompress.analysis.gradients.seeds import Currency, Joined, Seeding
from ocompress.analysis.output_parts import OutputPart
from ocompress.analysis.rows import by_sample, row_count
from ocompress.validation.box_layouts import joined as join_columns
from ocompress.validation.decisions import DecisionRule, Kind, agree, as_float
from ocompress.validation.tally import Matching

_TINY = 1e-12


class LossUnit(StrEnum):
    """What a loss is counted in."""

    EXPECTED = "expected"
    AGREEMENT = "agreement"
    COSINE = "cosine"
    ERROR = "error"
    BOXES = "boxes"
    CTC = "ctc"
    IOU = "iou"
    RELATIVE = "relative"

    @property
    def noun(self) -> str:
        """What is lost, for people."""
        return {
            LossUnit.EXPECTED: "expected accuracy",
            LossUnit.AGREEMENT: "agreement",
            LossUnit.COSINE: "cosine similarity",
            LossUnit.ERROR: "explained variance",
            LossUnit.BOXES: "F1 of boxes",
            LossUnit.CTC: "character accuracy",
            LossUnit.IOU: "IoU of masks",
            LossUnit.RELATIVE: "relative accuracy",
        }[self]

    @property
    def counts_flips(self) -> bool:
        """Whether all that differs from the original counts in full, likely or not."""
        return self in (LossUnit.AGREEMENT, LossUnit.BOXES, LossUnit.CTC, LossUnit.IOU)

    @property
    def is_share(self) -> bool:
        """Whether the loss is of samples or things that are either lost or not."""
        return self.counts_flips or self is LossUnit.EXPECTED


@dataclass(frozen=True)
class Measure:
    """How the loss of one output is counted.

    Attributes:
        unit: The unit.
        rule: How decisions are read off; None where the output decides nothing.
        seeding: What kind of output it is.
        parts: Parts that are counted each by itself.
        temperature: What logarithms of probabilities are divided by.
        instead: How it is counted where its probabilities are not to be believed, its decision
            hardly ever goes one of the two ways, or the original finds nothing that could be lost.
        matching: How texts, masks, boxes or numbers are compared, None for other units.
        numbers: How the output itself is counted where one class wins in every sample; it is given
            outputs, not what this one prepares.
        joined: Outputs whose columns are put together to be compared; empty for the output alone.
        counts: Whether it is counted at all: scores of boxes are, with the boxes.
        why: What the unit was chosen by, for people.
    """

    unit: LossUnit
    rule: DecisionRule | None = None
    seeding: Seeding | Joined | None = None
    parts: tuple[OutputPart, ...] = field(default=(OutputPart(),))
    temperature: float = 1.0
    instead: Measure | None = None
    matching: Matching | None = None
    joined: tuple[str, ...] = ()
    numbers: Measure | None = None
    counts: bool = True
    why: str = ""

    def of(self, name: str, outputs: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return what is compared of a run's outputs, None if it is not there.

        Args:
            name: The output that the measure is of.
            outputs: All of the run.
        """
        if not self.joined:
            return outputs.get(name)
        parts = [outputs[n] for n in self.joined if n in outputs]
        return join_columns(parts) if len(parts) == len(self.joined) else None

    def prepare(self, reference: np.ndarray) -> np.ndarray:
        """Return what a candidate's output will be compared with.

        Args:
            reference: The original's output.

        Returns:
            Probabilities with the classes last, float32 [samples, ..., classes], for `expected`;
            decisions for `agreement`; what a matching compares; else the output itself.
        """
        if self.matching is not None:
            return self.matching.prepare(reference)
        if self.unit is LossUnit.AGREEMENT:
            return self._decided(reference)
        if self.unit is not LossUnit.EXPECTED:
            return as_float(reference)
        scores = self._scores(reference) / self.temperature
        powers = np.exp(scores - scores.max(-1, keepdims=True))
        return np.asarray(powers / powers.sum(-1, keepdims=True), np.float32)

    def scores_like(self, prepared: np.ndarray, candidate: np.ndarray) -> np.ndarray | None:
        """Return the candidate's scores of classes in the shape of `prepared`; None if it has not.

        Args:
            prepared: Probabilities that `prepare` made of the original's output.
            candidate: The candidate's output.
        """
        pair = self.rule is not None and self.rule.kind is Kind.THRESHOLD
        if candidate.ndim + pair != prepared.ndim:
            return None
        found = self._scores(candidate)
        return found if found.shape == prepared.shape else None

    def _scores(self, output: np.ndarray) -> np.ndarray:
        """Return logits of an output, or logarithms of its probabilities, with the classes last."""
        values = np.asarray(as_float(output), np.float64)
        if self.rule is not None and self.rule.kind is Kind.THRESHOLD:
            return np.log(np.maximum(np.stack([1 - values, values], -1), _TINY))
        scores = np.moveaxis(values, self._axis, -1)
        return np.log(np.maximum(scores, _TINY)) if self._is_softmax else scores

    def losses(self, prepared: np.ndarray, candidate: np.ndarray, samples: int) -> np.ndarray:
        """Return what each sample loses.

        Args:
            prepared: What `prepare` made of the original's output.
            candidate: The candidate's output.
            samples: Samples of the feed.

        Returns:
            Losses [parts, samples], or [parts, 1] where the output does not tell them apart. For
            `error`, mean squared errors that are still to be divided by the variance.
        """
        if self.unit is LossUnit.EXPECTED:
            return self._expected(prepared, candidate, samples)[None]
        if self.unit is LossUnit.AGREEMENT:
            return 1 - agree(prepared, self._decided(candidate), samples)[None]
        if prepared.shape != candidate.shape:
            lost = np.inf if self.unit is LossUnit.ERROR else 1.0
            return np.full((len(self.parts), row_count(prepared.shape, samples)), lost)
        other = as_float(candidate)
        if self.unit is LossUnit.COSINE:
            return _per_sample(_cosine_loss(prepared, other), samples)[None]
        return np.stack([_squared(p.of(prepared), p.of(other), samples) for p in self.parts])

    def decided_by(self, prepared: np.ndarray) -> np.ndarray:
        """Return what the measure that counts instead is given, of [samples, ..., classes]."""
        if self.matching is not None:
            return prepared
        assert self.rule is not None
        if self.rule.kind is Kind.THRESHOLD:
            return np.asarray(prepared[..., 1])
        undecided = np.isnan(prepared).any(-1)
        return np.where(undecided, np.int32(-1), prepared.argmax(-1).astype(np.int32))

    def margins(self, prepared: np.ndarray, samples: int) -> np.ndarray:
        """Return what samples would lose by flipping to the second best decision, (samples,)."""
        if self.unit is not LossUnit.EXPECTED or prepared.shape[-1] < 2:
            return np.ones(row_count(prepared.shape, samples))
        two = np.partition(prepared, -2, axis=-1)[..., -2:]
        return _per_sample(np.abs(two[..., 1] - two[..., 0]), samples)

    @property
    def _axis(self) -> int:
        return self.rule.axis if self.rule is not None else -1

    @property
    def _is_softmax(self) -> bool:
        return isinstance(self.seeding, Seeding) and (
            self.seeding.currency is Currency.PROBABILITIES
        )

    def _decided(self, output: np.ndarray) -> np.ndarray:
        assert self.rule is not None
        return self.rule.labels_of(self.rule.decide(output), True)

    def _expected(self, p: np.ndarray, candidate: np.ndarray, samples: int) -> np.ndarray:
        best = p.max(-1)
        decided = self._decided(candidate).astype(np.int64)
        if decided.shape != best.shape:
            return np.ones(row_count(p.shape, samples))
        known = decided >= 0
        got = np.take_along_axis(p, np.where(known, decided, 0)[..., None], -1)[..., 0]
        lost = np.where(known, best - got, best)  # what decides nothing is right in no case
        return _per_sample(np.asarray(lost, np.float64), samples)


def _per_sample(values: np.ndarray, samples: int) -> np.ndarray:
    """Return means over all but the samples, [samples] or [1]; of nothing, 0."""
    rows = by_sample(values, samples)
    return np.asarray(rows.mean(axis=1) if rows.size else np.zeros(len(rows)), np.float64)


def _squared(reference: np.ndarray, other: np.ndarray, samples: int) -> np.ndarray:
    """Return mean squared errors per sample; what both have as NaN or infinity is no error."""
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.square(np.asarray(reference, np.float64) - np.asarray(other, np.float64))
    finite = np.isfinite(reference)
    error = np.where(finite & ~np.isfinite(error), np.inf, error)
    return _per_sample(np.where(finite, error, 0.0), samples)


def _cosine_loss(reference: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return one minus the cosine along the last axis; 0 of two rows of zeros, 1 of NaN."""
    x, y = np.asarray(reference, np.float64), np.asarray(other, np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        size = np.sqrt(np.square(x).sum(-1) * np.square(y).sum(-1))
        found = 1 - (x * y).sum(-1) / size
    both = (x == 0).all(-1) & (y == 0).all(-1)
    return np.where(both, 0.0, np.where(np.isfinite(found), np.maximum(found, 0.0), 1.0))
