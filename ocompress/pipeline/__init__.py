"""Passes, their options and text form, pipelines, and the manager that runs them."""

from ocompress.pipeline.base import Family, Numerics, Outcome, Pass
from ocompress.pipeline.context import Context
from ocompress.pipeline.guard import Equivalence, Guard, Timer, Verdict
from ocompress.pipeline.instruments import Dump, Instrument
from ocompress.pipeline.manager import PassManager
from ocompress.pipeline.options import option
from ocompress.pipeline.pipeline import Pipeline
from ocompress.pipeline.records import PassRecord, PipelineResult, Status
from ocompress.pipeline.registry import all_passes, find

__all__ = [
    "Context",
    "Dump",
    "Equivalence",
    "Family",
    "Guard",
    "Instrument",
    "Numerics",
    "Outcome",
    "Pass",
    "PassManager",
    "PassRecord",
    "Pipeline",
    "PipelineResult",
    "Status",
    "Timer",
    "Verdict",
    "all_passes",
    "find",
    "option",
]
