"""Validation from end to end."""

from __future__ import annotations

from collections.abc import Sequence

from ocompress.io.dataset import Dataset
from ocompress.ir import Model
from ocompress.runtime import Level
from ocompress.validation.gate import Gate
from ocompress.validation.metric import Metric
from ocompress.validation.result import ValidationResult


def validate(
    reference: Model,
    candidate: Model,
    data: Dataset | None = None,
    *,
    metric: Metric | None = None,
    levels: Sequence[Level] = (Level.ALL, Level.DISABLED),
    gate: Gate | None = None,
    size_ratio: float | None = None,
    latency_ratio: float | None = None,
    threads: int = 1,
) -> ValidationResult:
    """Compare a candidate with the model it was made from.

    Args:
        reference: The original.
        candidate: What became of it.
        data: Evaluation data, with labels for task accuracy; None checks the structure only.
        metric: The user's own metric.
        levels: Optimization levels of ONNX Runtime to run the candidate at; the reference runs
            once, at the first.
        gate: Limits to judge by.
        size_ratio: Bytes of the candidate's file over the reference's, if files exist; computed
            from the serialized models otherwise.
        latency_ratio: Measured by `profile`, for a gate with `max_latency_ratio`.
        threads: Threads within an operator; 0 takes all cores.

    Raises:
        DataError: If the data do not fit the reference, or the metric fails.
        RuntimeFailureError: If the reference cannot be loaded or run. A candidate that cannot
            is a failed check.
    """
    raise NotImplementedError
