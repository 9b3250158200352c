"""Is the candidate still the same model? Structure, numerics, decisions, accuracy, limits."""

from ocompress.validation.accuracy_guard import AccuracyGuard
from ocompress.validation.gate import Gate
from ocompress.validation.metric import Metric
from ocompress.validation.result import (
    Check,
    Interval,
    LevelResult,
    OutputComparison,
    ScoreComparison,
    ValidationResult,
    WorstSample,
)
from ocompress.validation.validate import validate

__all__ = [
    "AccuracyGuard",
    "Check",
    "Gate",
    "Interval",
    "LevelResult",
    "Metric",
    "OutputComparison",
    "ScoreComparison",
    "ValidationResult",
    "WorstSample",
    "validate",
]
