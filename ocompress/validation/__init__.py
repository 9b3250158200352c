"""Is the candidate still the same model? Structure, numerics, decisions, accuracy, limits."""

from ocompress.validation.accuracy_guard import AccuracyGuard
from ocompress.validation.across import validate_on
from ocompress.validation.collapse_guard import CollapseGuard
from ocompress.validation.device_result import DeviceValidation, Flips, MachineComparison
from ocompress.validation.finite_guard import FiniteGuard
from ocompress.validation.footprint import Footprint
from ocompress.validation.gate import Gate
from ocompress.validation.measures import LossUnit, Measure
from ocompress.validation.metric import Metric
from ocompress.validation.naming import AUTO, NAMES, Wanted, is_own, wanted_by
from ocompress.validation.result import (
    Check,
    Interval,
    LevelResult,
    Loss,
    OutputComparison,
    ScoreComparison,
    ValidationResult,
    WorstSample,
)
from ocompress.validation.validate import validate

__all__ = [
    "AUTO",
    "NAMES",
    "AccuracyGuard",
    "Check",
    "CollapseGuard",
    "DeviceValidation",
    "FiniteGuard",
    "Flips",
    "Footprint",
    "Gate",
    "Interval",
    "LevelResult",
    "Loss",
    "LossUnit",
    "MachineComparison",
    "Measure",
    "Metric",
    "OutputComparison",
    "ScoreComparison",
    "ValidationResult",
    "Wanted",
    "WorstSample",
    "is_own",
    "validate",
    "validate_on",
    "wanted_by",
]
