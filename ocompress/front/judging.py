"""Judging a result by the data: figures always, loud words where nothing else would speak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ocompress import validation
from ocompress.errors import DataError
from ocompress.front.budget import Budget
from ocompress.front.request import Request
from ocompress.front.samples import Samples
from ocompress.io import Unlabelled
from ocompress.ir import Model
from ocompress.pipeline import PipelineResult, Status
from ocompress.pipeline.goals import CODE as GOAL_MISSED
from ocompress.profiling import NOISE, ProfileResult, exceeds
from ocompress.report.figures import byte_text
from ocompress.validation import Measure, OutputComparison, ValidationResult
from ocompress.wording import counted

_FAR_OFF_DB = 10.0
"""SQNR of an output below which a result that no limit guards is remarked on, decibels."""
_MUCH_TEXT = 0.2
"""Part of a file from which on notes on nodes are worth a remark."""
_BESIDE = ("accuracy", "agreement", "cosine", "error")
"""Metrics whose figures stand in every report: losses there are in the units of the outputs."""


def judge(
    request: Request,
    original: Model,
    written: Model,
    samples: Samples,
    measures: Mapping[str, Measure],
) -> tuple[ValidationResult, list[str]]:
    """Validate a result, without labels if they do not fit and nobody asked for them.

    Args:
        request: What was asked.
        original: What came in.
        written: What came out.
        samples: What is judged on, and what was drawn with it.
        measures: How losses of outputs are counted, as far as a limit decided that.

    Returns:
        What was found, and remarks.

    Raises:
        DataError: If labels or a metric that were asked for do not fit.
    """
    data = samples.judged_on
    own = request.budget.user_metric()
    how: dict[str, Any] = {
        "threads": request.threads,
        "domains": request.pipeline.domains(),
        "beside": samples.beside,
        "measures": {} if request.budget.metric in _BESIDE else measures,
    }
    try:
        return validation.validate(original, written, data, metric=own, **how), []
    except DataError as error:
        wanted = request.labels is not None or request.budget.metric == "accuracy"
        if data is None or data.labels is None or wanted:
            raise
        found = validation.validate(original, written, Unlabelled(data), **how)
        return found, [f"accuracy was not measured: {error}"]


def far_off(budget: Budget, found: ValidationResult, counted: str) -> list[str]:
    """Return a remark on each output that is bad, if not lost, where nobody set a limit.

    Args:
        budget: What the user asked for.
        found: What became of the outputs.
        counted: What a limit by default counted, empty where there was none.
    """
    if found.collapsed or budget.limit is not None or not found.levels:  # a failure says it itself
        return []
    remedy = "set --max-drop to roll back passes that cost too much"
    if counted:
        remedy = f"the default limit counts {counted}; --metric error limits the numbers themselves"
    return [
        f"output {output.name!r} {_how_far(output)}; {remedy}"
        for output in found.levels[0].outputs
        if output.sqnr_db < _FAR_OFF_DB
    ]


def _how_far(output: OutputComparison) -> str:
    if output.shape_changes:
        where = counted(output.shape_changes, "feed")
        return f"has another shape than the original's in {where}, so rows are no pairs there"
    return f"DIVERGED from the original's ({output.sqnr_db:.1f} dB SQNR)"


def kept_open(result: Model) -> list[str]:
    """Say, if so, that weights stayed as they are because callers may set them."""
    weights = [v for v in result.graph.inputs if v.data is not None and v.data.ndim > 1]
    if not weights:
        return []
    which = "weight is an input" if len(weights) == 1 else "weights are inputs"
    return [
        f"{len(weights)} {which} with a default that callers may override, which passes leave "
        "alone; --passes 'canonicalize{freeze_inputs=true},...' makes constants of them"
    ]


def short_of_goals(result: PipelineResult) -> list[str]:
    """Say which goals passes did not reach, and why."""
    kept = {r.name for r in result.records if r.status is not Status.ROLLED_BACK}
    return [
        f"{remark.source}: {remark.message}"
        for remark in result.diagnostics
        if remark.code == GOAL_MISSED and remark.source in kept
    ]


def mostly_text(result: Model, size: int) -> list[str]:
    """Say, if so, that much of a file are notes on its nodes that nothing runs.

    Args:
        result: The model.
        size: Bytes of its file; one that is smaller than its text is coded, which text hardly adds
            to.
    """
    nodes = [node for _, node in result.nodes()]
    text = sum(len(n.doc) + sum(len(k) + len(v) for k, v in n.metadata.items()) for n in nodes)
    if not _MUCH_TEXT * size < text < size:
        return []
    return [
        f"{byte_text(text)} of the result are notes of the exporter on nodes, which nothing runs; "
        "--passes 'canonicalize{strip=[docs,metadata]},...' drops them"
    ]


def too_slow(budget: Budget, found: ProfileResult) -> list[str]:
    """Return which limits on the latency are clearly broken, a sentence each, as guards see it."""
    limit, most = budget.max_latency_ratio, budget.max_latency_ms
    broken = []
    if limit is not None and found.ratio is not None and exceeds(found.ratio, limit):
        broken.append(
            f"the result takes {found.ratio.value:.2f} times the original's time, "
            f"more than {limit:g}"
        )
    taken = found.model.latency.p50_ms
    if most is not None and taken > most * (1 + NOISE):
        broken.append(f"the result takes {taken:.3g} ms, more than the {most:g} ms allowed")
    return broken


def too_large(budget: Budget, sizes: tuple[int, int]) -> list[str]:
    """Return which limits on the size are broken, a sentence each.

    Args:
        budget: The limits.
        sizes: Bytes of the original and of the result.
    """
    broken = []
    before, after = sizes
    limit = budget.max_size_ratio
    if limit is not None and after > before * budget.size_limit(before):
        broken.append(
            f"the result has {after} bytes, more than {limit:g} times the original's {before}"
        )
    if budget.max_bytes is not None and after > budget.max_bytes:
        had, allowed = byte_text(after), byte_text(int(budget.max_bytes))
        broken.append(f"the result has {had}, more than the {allowed} allowed")
    return broken
