"""What a validation found; plain data that reports format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ocompress.diagnostics import Finding
from ocompress.runtime import Level

RELATED = "related"
"""Name of the check that outputs have to do with those of the reference."""


@dataclass(frozen=True, slots=True)
class Interval(Finding):
    """An estimate with its 95 % interval.

    Attributes:
        value: The estimate.
        low: Lower end.
        high: Upper end.
        method: How the interval was made (`wilson`, `agresti-min`, `bootstrap`, `pairs`).
    """

    value: float
    low: float
    high: float
    method: str


@dataclass(frozen=True, slots=True)
class Check(Finding):
    """One requirement and whether it holds.

    Attributes:
        name: What is required: `checker`, `min_sqnr_db[logits]`.
        passed: Whether it holds.
        limit: What is allowed, in the form of the gate file; None when there is no limit.
        value: What was found; None when it was not measured.
        message: One sentence for people.
    """

    name: str
    passed: bool
    limit: float | int | str | None = None
    value: float | int | str | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Loss(Finding):
    """What an output lost, in the unit that its users mean.

    Attributes:
        part: Channels that are counted by themselves (`0..3`), empty for the whole output.
        unit: `expected`, `agreement`, `cosine`, `error`, `boxes`, `ctc`, `iou` or `relative`, see
            `ocompress.validation.measures`.
        drop: The loss, 0 for none, with its interval.
        count: Samples.
        temperature: What the original's scores were divided by, as labels of some samples tell; 1
            where no labels do.
        why: What the unit was chosen by, for people.
    """

    part: str
    unit: str
    drop: Interval
    count: int
    temperature: float = 1.0
    why: str = ""


@dataclass(frozen=True, slots=True)
class OutputComparison(Finding):
    """One output of the candidate against the same output of the reference.

    NaN and infinities are equal where both models have the same kind in the same place, and count
    as an infinite error where not. An output that changed its shape has an infinite error too.

    Attributes:
        name: Name of the output.
        elements: Elements of the reference.
        exact: Whether every element is equal.
        sqnr_db: Signal power over error power, decibels; `inf` when exact.
        max_abs_error: Largest absolute difference.
        mean_abs_error: Mean absolute difference.
        relative_error: Mean absolute difference over mean absolute reference.
        cosine: Cosine of the two outputs as vectors over all the data.
        new_nonfinite: Elements that became NaN or infinite.
        shape_changes: Feeds for which the shape differs.
        changed_nonfinite: Elements that are NaN or infinite in the reference, and something else
            in the candidate.
        nonfinite: Elements that are NaN or infinite in the reference, the same or not.
        agreement: Share of samples with the same decision, None where the output decides nothing
            (embeddings, regressions, probabilities that hardly ever fire).
        decision: How decisions are read off: `top-1 axis -1`, `x > 0.5`, `equal`.
        losses: What each part lost, in the unit of the output.
        worst_sample: Index of the sample with the largest error relative to its signal.
    """

    name: str
    elements: int
    exact: bool
    sqnr_db: float
    max_abs_error: float
    mean_abs_error: float
    relative_error: float
    cosine: float
    new_nonfinite: int
    shape_changes: int
    changed_nonfinite: int = 0
    nonfinite: int = 0
    agreement: Interval | None = None
    decision: str = ""
    worst_sample: int | None = None
    losses: tuple[Loss, ...] = ()

    @property
    def loss(self) -> Loss | None:
        """The part that lost most."""
        return max(self.losses, key=lambda found: found.drop.value, default=None)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to compare: no element, or the same NaN and infinities."""
        return self.elements == self.nonfinite and self.exact and not self.shape_changes

    @property
    def why_empty(self) -> str:
        """What the reference's output holds if there is nothing to compare."""
        if not self.elements:
            return "has no element for any sample"
        return "is NaN or infinite in every element"


@dataclass(frozen=True, slots=True)
class ScoreComparison(Finding):
    """A score of the reference, of the candidate, and what was lost.

    Attributes:
        name: `accuracy`, or `module:function` of the user's own metric.
        reference: Score of the reference, higher is better.
        candidate: Score of the candidate.
        drop: Reference minus candidate, with its paired interval.
        count: Independent observations (samples, or feeds where the metric gives one number).
        reference_interval: Interval of the reference's own score, where it is a proportion.
        candidate_interval: Interval of the candidate's own score, where it is a proportion.
        unlabelled: Samples that do not count because they have no label.
    """

    name: str
    reference: float
    candidate: float
    drop: Interval
    count: int
    reference_interval: Interval | None = None
    candidate_interval: Interval | None = None
    unlabelled: int = 0


@dataclass(frozen=True, slots=True)
class WorstSample(Finding):
    """A sample on which the candidate is furthest from the reference.

    Attributes:
        index: Position among the samples of the data, from 0.
        output: The output where it is furthest.
        sqnr_db: Signal over error of that sample's output, decibels.
        agrees: Whether the decision is still the same (all of them, where there are several).
    """

    index: int
    output: str
    sqnr_db: float
    agrees: bool


@dataclass(frozen=True, slots=True)
class LevelResult(Finding):
    """The candidate at one optimization level of ONNX Runtime, against the reference.

    Attributes:
        level: Optimization level.
        outputs: One comparison per output.
        accuracy: Task accuracy on the samples that have labels.
        metric: The user's own metric.
        worst: The worst samples, worst first.
    """

    derived: ClassVar[tuple[str, ...]] = ("agreement",)

    level: Level
    outputs: tuple[OutputComparison, ...]
    accuracy: ScoreComparison | None = None
    metric: ScoreComparison | None = None
    worst: tuple[WorstSample, ...] = ()

    @property
    def score(self) -> ScoreComparison | None:
        """What decides before losses of outputs do: the metric, or accuracy on all samples."""
        if self.metric is not None or self.accuracy is None or self.accuracy.unlabelled:
            return self.metric
        return self.accuracy

    @property
    def agreement(self) -> Interval | None:
        """Agreement of the output that agrees least."""
        counted = [o.agreement for o in self.outputs if o.agreement is not None]
        return min(counted, key=lambda i: i.value, default=None)

    @property
    def loss(self) -> Loss | None:
        """The largest loss of any output, each in its own unit."""
        counted = [o.loss for o in self.outputs if o.loss is not None]
        return max(counted, key=lambda found: found.drop.value, default=None)


@dataclass(frozen=True, slots=True)
class ValidationResult(Finding):
    """Everything a validation found.

    What was not compared did not pass, even if nothing speaks against it.

    Attributes:
        structure: Checks that need no limits: checker, interface, domains, loading, NaN.
        related: Whether outputs have still to do with the reference's, empty without data.
        levels: The candidate against the reference, per optimization level; empty without data.
        between_levels: The candidate's last level against its first, per output.
        gate: The checks of the gate, empty without one.
        samples: Samples compared.
        feeds: Runs compared.
        source: Where the data came from, empty without data.
        remarks: What was left out and why, one sentence each.
    """

    derived: ClassVar[tuple[str, ...]] = ("passed", "compared")

    structure: tuple[Check, ...]
    related: tuple[Check, ...] = ()
    levels: tuple[LevelResult, ...] = ()
    between_levels: tuple[OutputComparison, ...] = ()
    gate: tuple[Check, ...] = ()
    samples: int = 0
    feeds: int = 0
    source: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether outputs were compared and every check holds, those of the gate included."""
        return self.compared and not self.failures

    @property
    def checks(self) -> tuple[Check, ...]:
        """Every check, and one that fails where nothing was compared; for machines that count."""
        compared = Check("compared", self.compared, message=self.uncompared)
        return (*(() if self.compared else (compared,)), *self.held_to)

    @property
    def compared(self) -> bool:
        """Whether numbers of both models were compared."""
        return any(not o.is_empty for level in self.levels for o in level.outputs)

    @property
    def uncompared(self) -> str:
        """Why nothing was compared, empty if something was."""
        if self.compared:
            return ""
        if not self.source:
            return "there are no data to run the models on; give some with --data"
        if not any(level.outputs for level in self.levels):
            return "the models did not give a common output"
        whys = dict.fromkeys(o.why_empty for level in self.levels for o in level.outputs)
        return f"every output of the reference {' or '.join(whys)}"

    @property
    def collapsed(self) -> bool:
        """Whether an output has nothing to do with the reference's any more."""
        return any(not check.passed for check in self.related if check.name == RELATED)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that do not hold."""
        return tuple(c for c in self.held_to if not c.passed)

    @property
    def held_to(self) -> tuple[Check, ...]:
        """The checks: structure, relation and gate."""
        return (*self.structure, *self.related, *self.gate)
