"""Validation from end to end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ocompress.io.dataset import Dataset
from ocompress.ir import Model
from ocompress.runtime import Level
from ocompress.validation.footprint import Footprint, serialized_footprint
from ocompress.validation.gate import Gate
from ocompress.validation.gating import judge
from ocompress.validation.measures import Measure
from ocompress.validation.metric import Metric
from ocompress.validation.naming import AUTO, Wanted
from ocompress.validation.result import Check, ValidationResult
from ocompress.validation.runs import Comparison, LevelRun, Runner
from ocompress.validation.sources import SourceOpener, live_opener
from ocompress.validation.structure import structure_checks


def validate(
    reference: Model,
    candidate: Model,
    data: Dataset | None = None,
    *,
    metric: Metric | Wanted | None = None,
    levels: Sequence[Level] = (Level.ALL, Level.DISABLED),
    gate: Gate | None = None,
    footprint: Footprint | None = None,
    threads: int = 1,
    opener: SourceOpener | None = None,
    measures: Mapping[str, Measure] | None = None,
    domains: Collection[str] = (),
    beside: Dataset | None = None,
) -> ValidationResult:
    """Compare a candidate with the model it was made from.

    Args:
        reference: The original.
        candidate: What became of it.
        data: Evaluation data, with labels for task accuracy; None checks the structure only.
        metric: The user's own metric, or units of outputs that somebody asked for.
        levels: Optimization levels of ONNX Runtime to run the candidate at; the reference runs
            once, at the first.
        gate: Limits to judge by.
        footprint: What the candidate takes, for a gate that limits it; None counts the bytes of
            the serialized models and leaves the rest unmeasured.
        threads: Threads within an operator; 0 takes all cores.
        opener: Where outputs come from, if not from sessions of this process.
        measures: How the loss of outputs is counted, where that was decided.
        domains: Operator domains that the passes which made the candidate declare; a gate that
            names some decides alone.
        beside: More samples of the same kind, which the candidate was fitted to. Margins and
            errors there tell more of how many samples are decided otherwise, and at what cost;
            None counts those of `data` alone.

    Raises:
        DataError: If the data do not fit the reference, or the metric fails.
        RuntimeFailureError: If the reference cannot be loaded or run. A candidate that cannot
            is a failed check.
    """
    gate_domains = gate.allowed_domains if gate is not None else None
    checks = structure_checks(reference, candidate, gate_domains, declared=domains)
    if data is None:
        found = Comparison([_loads(candidate, level, threads) for level in levels])
    else:
        wanted = metric if isinstance(metric, Wanted) else AUTO
        own = metric if isinstance(metric, Metric) else None
        found = Runner(data, own, levels, measures, wanted).run(
            reference, candidate, threads, opener, beside
        )
    verdicts: tuple[Check, ...] = ()
    if gate is not None:
        taken = footprint or serialized_footprint(reference, candidate)
        verdicts = judge(gate, candidate, found.levels, found.between, taken)
    return ValidationResult(
        structure=(*checks, *found.checks),
        related=found.related,
        levels=found.levels,
        between_levels=found.between,
        gate=verdicts,
        samples=found.samples,
        feeds=len(data) if data is not None else 0,
        source=data.source if data is not None else "",
        remarks=tuple(found.remarks),
    )


def _loads(candidate: Model, level: Level, threads: int) -> Check:
    run = LevelRun(level)
    run.open(candidate, live_opener(threads))
    return run.check
