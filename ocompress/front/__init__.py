"""The public front: load, save, optimize, sweep, validate, profile."""

from ocompress.front.api import optimize
from ocompress.front.archives import load_archive, pack, unpack
from ocompress.front.budget import Budget
from ocompress.front.compare import profile, validate, validate_on
from ocompress.front.files import load, save
from ocompress.front.job import run
from ocompress.front.plan_options import PlanOptions
from ocompress.front.planning import find_plan, optimize_planned
from ocompress.front.plans import SECONDS as PLAN_SECONDS
from ocompress.front.plans import Planning, goal_named
from ocompress.front.request import Request, in_archive, storage_for
from ocompress.front.sweeping import sweep

__all__ = [
    "PLAN_SECONDS",
    "Budget",
    "PlanOptions",
    "Planning",
    "Request",
    "find_plan",
    "goal_named",
    "in_archive",
    "load",
    "load_archive",
    "optimize",
    "optimize_planned",
    "pack",
    "profile",
    "run",
    "save",
    "storage_for",
    "sweep",
    "unpack",
    "validate",
    "validate_on",
]
