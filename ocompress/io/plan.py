"""What was decided on how arrays become feeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ocompress.io.arrays import ArraySource
from ocompress.io.inputs import InputSpec

MOST_SAMPLES = 32
"""Samples in a batch when the model leaves the batch free."""
MOST_BYTES = 16 << 20
"""Bytes of inputs in such a batch."""

Used = Mapping[str, tuple[InputSpec, ArraySource]]
"""Inputs with their arrays, by name."""


@dataclass(frozen=True, slots=True)
class BatchUnit:
    """The smallest feed that a model takes.

    Attributes:
        rows: Leading indices it is made of; every feed holds a multiple of them.
        alone: Whether every feed holds exactly that many.
        samples: Samples that so many rows are; fewer than rows where the model makes one result
            of several rows.
    """

    rows: int = 1
    alone: bool = False
    samples: int = 1


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How arrays become feeds.

    Attributes:
        cut: Names of the arrays that are read in pieces.
        constant: Names of the arrays that go whole into every feed.
        count: Rows: leading indices of the arrays in `cut`.
        group: Rows in a feed.
        unit: The smallest feed.
        dropped: Names of those in `cut` of which a row is a whole feed, its axis dropped.
        steps: How many leading indices a row of an array takes, where that is more than one.
        axes: Axis along which an array is cut, where that is not the first.
        loose: Whether an array beside the rows has extents that the model leaves free, as the
            edges of a graph beside its nodes: then there are single rows or there is one feed.
    """

    cut: tuple[str, ...]
    constant: tuple[str, ...]
    count: int
    group: int
    unit: BatchUnit = field(default_factory=BatchUnit)
    dropped: frozenset[str] = frozenset()
    steps: Mapping[str, int] = field(default_factory=dict)
    axes: Mapping[str, int] = field(default_factory=dict)
    loose: bool = False

    @property
    def whole(self) -> bool:
        """Whether the arrays say what a feed is: one leading index, or all there is."""
        return bool(self.dropped) or not self.cut

    def samples(self, rows: int) -> int:
        """Return how many samples so many rows are."""
        return rows // self.unit.rows * self.unit.samples
