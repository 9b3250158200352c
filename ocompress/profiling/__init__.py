"""How fast, how big, how much memory: measured on this machine."""

from ocompress.profiling.inputs import parse_shape
from ocompress.profiling.latency_guard import (
    NOISE,
    SECOND_LOOK,
    LatencyGuard,
    exceeds,
    seems_slower,
)
from ocompress.profiling.layer_clock import LayerClock
from ocompress.profiling.layer_times import time_layers
from ocompress.profiling.profile import profile
from ocompress.profiling.result import (
    Environment,
    InputChoice,
    Latency,
    Memory,
    ModelProfile,
    ProfileResult,
    Ratio,
    TimeShare,
)
from ocompress.profiling.size_guard import SizeGuard

__all__ = [
    "NOISE",
    "SECOND_LOOK",
    "Environment",
    "InputChoice",
    "Latency",
    "LatencyGuard",
    "LayerClock",
    "Memory",
    "ModelProfile",
    "ProfileResult",
    "Ratio",
    "SizeGuard",
    "TimeShare",
    "exceeds",
    "parse_shape",
    "profile",
    "seems_slower",
    "time_layers",
]
