"""Questions about a model and its activations, answered once and cached while they hold."""

from ocompress.analysis.manager import Analysis, AnalysisManager
from ocompress.analysis.statistics import Accumulator, Observer, Observers, Statistics
from ocompress.analysis.store import MeasurementStore

__all__ = [
    "Accumulator",
    "Analysis",
    "AnalysisManager",
    "MeasurementStore",
    "Observer",
    "Observers",
    "Statistics",
]
