"""Planning: which passes, in which order, how far each, measured on whole models."""

from ocompress.auto.chain import Chain, Step
from ocompress.auto.families import FAMILIES, TUNING, PlanFamily, chosen_families
from ocompress.auto.goal import PlanBounds, PlanGoal
from ocompress.auto.laboratory import Laboratory
from ocompress.auto.ledger import Ledger
from ocompress.auto.partners import stored
from ocompress.auto.peer import PlanPeer
from ocompress.auto.plan import Plan
from ocompress.auto.ranking import ALIKE, BETTER, BOLD
from ocompress.auto.search import PlanSearch
from ocompress.auto.trial import PlanTrial, excess
from ocompress.auto.workshop import Builders, Made, Meters, OutOfTimeError, Workshop

__all__ = [
    "ALIKE",
    "BETTER",
    "BOLD",
    "FAMILIES",
    "TUNING",
    "Builders",
    "Chain",
    "Laboratory",
    "Ledger",
    "Made",
    "Meters",
    "OutOfTimeError",
    "Plan",
    "PlanBounds",
    "PlanFamily",
    "PlanGoal",
    "PlanPeer",
    "PlanSearch",
    "PlanTrial",
    "Step",
    "Workshop",
    "chosen_families",
    "excess",
    "stored",
]
