"""What it takes to bring one node over one change of its operator's definition.

An adapter looks at a node without touching it and returns the step to take, or raises `Refusal`.
`ADAPTERS` has one for every change between opsets that is more than a wider choice of types.
"""

from passes.canonical.adapters.table import ADAPTERS, Adapter, Refusal

__all__ = ["ADAPTERS", "Adapter", "Refusal"]
