"""What it takes to bring one node over one change of its operator's definition.

An adapter looks at a node without touching it. It returns the step to take or raises `CannotAdapt`.
`ADAPTERS` has one for every change between opsets that is more than a wider choice of types.
"""

from passes.canonical.adapters.table import ADAPTERS, Adapter, CannotAdapt

__all__ = ["ADAPTERS", "Adapter", "CannotAdapt"]
