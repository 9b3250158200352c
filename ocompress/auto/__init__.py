"""Planning: which passes, in which order, how far each, measured on whole models."""

from ocompress.auto.chain import Chain, Step
from ocompress.auto.families import FAMILIES, Family, chosen_families
from ocompress.auto.goal import Bounds, Goal
from ocompress.auto.laboratory import Laboratory, Meters, OutOfTimeError
from ocompress.auto.ledger import Ledger
from ocompress.auto.plan import Plan
from ocompress.auto.search import Search
from ocompress.auto.trial import Trial

__all__ = [
    "FAMILIES",
    "Bounds",
    "Chain",
    "Family",
    "Goal",
    "Laboratory",
    "Ledger",
    "Meters",
    "OutOfTimeError",
    "Plan",
    "Search",
    "Step",
    "Trial",
    "chosen_families",
]
