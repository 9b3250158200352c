"""What a pass may change and what an analysis reads: the currency of cache invalidation."""

from __future__ import annotations

from enum import Flag, auto


class Facet(Flag):
    """One aspect of a model.

    A pass says truthfully which facets it changed, an analysis which it reads; a cached answer
    is stale when the two meet.
    """

    NONE = 0
    TOPOLOGY = auto()
    """Nodes, edges, attributes."""
    WEIGHTS = auto()
    """Values of constants."""
    TYPES = auto()
    """Recorded element types and shapes of values."""
    NAMES = auto()
    """Names of nodes and inner values."""
    OPSET = auto()
    """Operator-set versions and IR version."""
    METADATA = auto()
    """Documentation and metadata entries."""
    STORAGE = auto()
    """The form in which files hold constants, whose values are the same."""
    ALL = TOPOLOGY | WEIGHTS | TYPES | NAMES | OPSET | METADATA | STORAGE
