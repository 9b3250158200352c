"""Weights that are made of fewer numbers by rules that a file can follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ocompress.archive.fastfood import find_fastfood
from ocompress.archive.tied_places import find_circulant, find_hashed
from passes.storage.counted import Hashed, StoredCirculant
from passes.storage.fastfood import StoredFastfood
from passes.storage.kinds import StoredForm
from passes.storage.tables import is_half


def tied(array: np.ndarray, form_of: Callable[[np.ndarray], StoredForm]) -> Iterator[StoredForm]:
    """Yield the forms of a float32 constant in which a few numbers make all values.

    Args:
        array: The constant, of two extents or more.
        form_of: Returns the form of the few, [n].
    """
    hashed = find_hashed(array.reshape(-1))
    if hashed is not None:
        yield Hashed(form_of(hashed[0]), hashed[1], array.size, is_half(hashed[0]))
    rows = array.reshape(len(array), -1)
    circulant = find_circulant(rows)
    if circulant is not None:
        yield StoredCirculant(form_of(circulant[0]), circulant[1], *rows.shape)
    blocks = find_fastfood(rows)
    if blocks is not None:
        levels = blocks.levels.reshape(-1).astype(np.float32)
        yield StoredFastfood(
            rows=form_of(blocks.rows),
            levels=form_of(levels),
            columns=form_of(blocks.columns),
            shape=(rows.shape[0], rows.shape[1]),
            size=blocks.size,
            has_zeros=not (blocks.rows.all() and blocks.columns.all()),
        )
