"""What carries lossy passes: moves and their choice, what errors cost, fitting.

A lossy pass knows these names, `Model` and `edit` of `ocompress.ir`, and `option` and `Context` of
`ocompress.pipeline`; docs/architecture.md shows one.
"""

from ocompress.lossy.ablation import costs_alone
from ocompress.lossy.engine import LossyPass, Plan, Proposal
from ocompress.lossy.table_proposal import TableProposal
from ocompress.planning import KEEP, Edit, Move, MoveTable

__all__ = [
    "KEEP",
    "Edit",
    "LossyPass",
    "Move",
    "MoveTable",
    "Plan",
    "Proposal",
    "TableProposal",
    "costs_alone",
]
