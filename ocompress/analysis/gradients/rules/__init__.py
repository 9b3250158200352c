"""How a gradient passes through each operator; a module per kind of operator."""

from ocompress.analysis.gradients.registry import RULES
from ocompress.analysis.gradients.rules import (
    activations,
    arithmetic,
    convolution,
    indexing,
    layout,
    linear,
    normalization,
    pooling,
    reduction,
    resize,
    slicing,
)

__all__ = [
    "RULES",
    "activations",
    "arithmetic",
    "convolution",
    "indexing",
    "layout",
    "linear",
    "normalization",
    "pooling",
    "reduction",
    "resize",
    "slicing",
]
