"""Weights that several settings make smaller, chosen by bytes."""

from __future__ import annotations

from collections.abc import Sequence

from ocompress.lossy.engine import Plan
from ocompress.lossy.layer_weights import LayerWeight
from ocompress.lossy.table_proposal import TableProposal
from ocompress.pipeline.goals import Gauge
from ocompress.planning import MoveTable


class SizedProposal(TableProposal):
    """Moves that save bytes; each part is a weight.

    A share says where between the fewest and the most bytes, on a scale of their logarithm.

    Attributes:
        weights: The weights.
    """

    least, finest = 0.0, 0.025
    coarsest, largest = 0.03, 0.3
    """Parts of the bytes between which the search looks."""

    def __init__(self, weights: Sequence[LayerWeight], table: MoveTable) -> None:
        """Start with the moves of each weight."""
        super().__init__({w.name: [n.label for n in w.nodes] for w in weights}, table, "bytes")
        self.weights = weights

    def leaving(self, share: float) -> Plan:
        """Return the plan at a share of the way from the fewest bytes to the most."""
        return self.taking(self.coarsest * (self.largest / self.coarsest) ** share)

    def taking(self, part: float) -> Plan:
        """Return the plan with the least error that takes no more than a part of the bytes."""
        return self.within("bytes", part)

    def taking_bits(self, bits: float) -> Plan:
        """Return the plan with the least error that takes so many bits of a weight in the mean."""
        elements = sum(w.array.size for w in self.weights)
        size = sum(w.array.nbytes for w in self.weights)
        return self.taking(bits * elements / 8 / max(size, 1))

    def gauge(self, plan: Plan, asked: float) -> Gauge:
        """Return the gauge of `mean_bits`."""
        elements = sum(w.array.size for w in self.weights)
        left = self.table.total({}, "bytes") * (self.left(plan, "bytes") or 0.0)
        return bits_taken("mean_bits", asked, 8 * left, elements)


def bits_taken(goal: str, asked: float, bits: float, elements: int) -> Gauge:
    """Return the gauge of a goal for the mean bits of weights; of none, nothing is known."""
    reached = bits / elements if elements else None
    return Gauge(goal, asked, reached, "bits a weight, of the weights that were looked at")
