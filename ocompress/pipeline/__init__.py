"""Passes, their options and text form, pipelines, and the manager that runs them."""

from ocompress.pipeline.allowance import Allowance
from ocompress.pipeline.aside import put_aside
from ocompress.pipeline.base import Family, Numerics, Outcome, Pass
from ocompress.pipeline.choices import LayerChoice, choices_of
from ocompress.pipeline.clock import Clock
from ocompress.pipeline.context import Context
from ocompress.pipeline.guard import Equivalence, Guard, Limit, Verdict
from ocompress.pipeline.instruments import Dump, Instrument, Prefixes
from ocompress.pipeline.manager import PassManager
from ocompress.pipeline.memo import ProposalMemo
from ocompress.pipeline.options import option
from ocompress.pipeline.pipeline import Pipeline
from ocompress.pipeline.records import PassRecord, PipelineResult, Status
from ocompress.pipeline.registry import all_passes, find
from ocompress.pipeline.storage import stored_as

__all__ = [
    "Allowance",
    "Clock",
    "Context",
    "Dump",
    "Equivalence",
    "Family",
    "Guard",
    "Instrument",
    "LayerChoice",
    "Limit",
    "Numerics",
    "Outcome",
    "Pass",
    "PassManager",
    "PassRecord",
    "Pipeline",
    "PipelineResult",
    "Prefixes",
    "ProposalMemo",
    "Status",
    "Verdict",
    "all_passes",
    "choices_of",
    "find",
    "option",
    "put_aside",
    "stored_as",
]
