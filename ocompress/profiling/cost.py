"""What a model holds and computes: parameters, bytes, multiply-accumulates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ocompress.ir import Model
from ocompress.profiling.result import Cost


def count(model: Model, shapes: Mapping[str, Sequence[int]] | None = None) -> Cost:
    """Count from the graph alone; `shapes` fixes inputs by name, an unknown batch is 1."""
    raise NotImplementedError
