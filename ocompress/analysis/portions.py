"""How many values are looked at in one go: as many as fit into memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TypeVar

import numpy as np

from ocompress.analysis.observe import static_bytes
from ocompress.analysis.shapes import with_shapes
from ocompress.io.dataset import Dataset
from ocompress.ir import Model, Value

MOST_BYTES = 64 << 20
"""Bytes of what is made of one feed and of what is kept of all, at most, unless one value alone
takes more."""
MOST_THINGS = 256
"""Things that are looked at in one session, at most: large ones take more than linear time to
load."""
T = TypeVar("T")


def portion(ahead: Iterable[tuple[T, float]]) -> list[T]:
    """Return the first of some things, as many as fit; one at least.

    Args:
        ahead: Things with their bytes; one that does not fit is taken of it, too.
    """
    found: list[T] = []
    held = 0.0
    for thing, size in islice(ahead, MOST_THINGS):
        held += size
        if found and held > MOST_BYTES:
            break
        found.append(thing)
    return found


class FeedSizes:
    """How many bytes values have, as far as the shapes of the first feed tell."""

    def __init__(self, model: Model, data: Dataset) -> None:
        """Infer all shapes.

        Args:
            model: Not changed.
            data: Feeds that fit it.
        """
        first, own = next(iter(data), {}), {v.name for v in model.graph.inputs}
        shapes = {n: a.shape for n, a in first.items() if n in own and isinstance(a, np.ndarray)}
        typed = with_shapes(model, shapes)
        made = (v for n in typed.graph.nodes for v in n.outputs if v is not None)
        values = (*typed.graph.inputs, *made)
        self._bytes: Mapping[str, int | None] = {v.name: static_bytes(v) for v in values}

    def of(self, value: Value) -> float:
        """Return the bytes of a value of the main graph; infinite if they are not known."""
        found = self._bytes.get(value.name)
        return float("inf") if found is None else found
