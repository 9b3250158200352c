"""Which channels hang together, so that one can be taken out of a model without a trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ocompress.analysis.channels.group import CONSTANT, CONSUMER, PRODUCER, Cut, Group, Part, Sink
from ocompress.analysis.channels.grouping import find_groups
from ocompress.analysis.channels.parameters import (
    Element,
    numbers,
    shape_elements,
    slice_bounds,
)
from ocompress.analysis.channels.relation import Repair, Stop
from ocompress.analysis.channels.shuffle import Shuffle, shuffle_at
from ocompress.analysis.manager import Analysis, AnalysisManager
from ocompress.ir import Facet, Model

__all__ = [
    "CONSTANT",
    "CONSUMER",
    "PRODUCER",
    "ChannelGroups",
    "Cut",
    "Element",
    "Group",
    "Part",
    "Repair",
    "Shuffle",
    "Sink",
    "Stop",
    "numbers",
    "shape_elements",
    "shuffle_at",
    "slice_bounds",
]


@dataclass(frozen=True)
class ChannelGroups(Analysis[tuple[Group, ...]]):
    """The groups of coupled channels of a model.

    Shapes must be recorded (`infer-shapes`), and what can be constant should be (`canonicalize`).

    Attributes:
        split: Where a Reshape splits an axis, as for the heads of an attention, which part is
            followed if both can be: `inner` makes channels of the positions within a head, each
            across all heads; `outer` makes them of whole heads.
    """

    reads: ClassVar[Facet] = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.TYPES | Facet.OPSET
    of_nodes: ClassVar[bool] = True

    split: str = "inner"

    def __post_init__(self) -> None:
        """Check the choice."""
        if self.split not in ("inner", "outer"):
            msg = f"split={self.split!r} is neither 'inner' nor 'outer'"
            raise ValueError(msg)

    def compute(self, model: Model, analyses: AnalysisManager) -> tuple[Group, ...]:
        """Follow the channels of every linear layer."""
        return find_groups(model, inner=self.split == "inner")
