"""A few inputs on which passes that keep the outputs are looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ocompress.io import Dataset, Feeds, synthetic_data
from ocompress.ir import Model
from ocompress.validation.equivalence import RoundingEquivalence

_SAMPLES = 4
"""Samples of the data that are looked at; enough, as passes do not depend on them."""
_LOUD = np.float32(4.0)
"""Factor on the second of two random feeds, so that limits of activations are met too."""

UNCHECKED = (
    "whether exact passes kept the outputs was NOT CHECKED, because the model was not run; "
    "give inputs with --data"
)
"""What is said where there is nothing to run the model on."""


def witness(
    original: Model, data: Dataset | None, feeds: Feeds | None, *, threads: int, seed: int
) -> RoundingEquivalence | None:
    """Choose what models are compared on.

    Args:
        original: The model that came in.
        data: The user's, whose first samples are taken.
        feeds: One call that the model runs on, None if none is known; taken where there are no
            data, with random numbers of another size beside it.
        threads: Threads within an operator.
        seed: Makes it repeatable.

    Returns:
        The comparison, None where there is nothing to run the model on.
    """
    if data is not None:
        count = _SAMPLES if feeds is not None else 1  # a large model: once is enough
        return RoundingEquivalence(list(data.take(count))[:_SAMPLES], threads=threads, seed=seed)
    if feeds is None:
        return None
    chosen: Sequence[Feeds] = [feeds]
    if feeds:
        (other,) = list(synthetic_data(original, 1, seed=seed + 1))[:1]
        chosen = [feeds, {name: _louder(np.asarray(array)) for name, array in other.items()}]
    return RoundingEquivalence(chosen, threads=threads, seed=seed)


def _louder(array: np.ndarray) -> np.ndarray:
    return (array * _LOUD).astype(array.dtype) if array.dtype.kind == "f" else array
