"""Data that a Python caller holds in memory, in the forms in which people have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ocompress.errors import DataError
from ocompress.io.inputs import InputSpec, expected, given

Arrays = dict[str, np.ndarray]


def held(data: object, specs: Sequence[InputSpec]) -> Arrays | list[Arrays]:
    """Return arrays of samples by input name, or feeds.

    Args:
        data: Arrays by input name; one array where the model has one input; a list of feeds, each
            of them such a dict or array. What converts itself to a NumPy array is one.
        specs: The inputs of the model.

    Raises:
        DataError: If it is anything else.
    """
    if isinstance(data, Mapping) or is_array(data):
        return _arrays(data, specs, "data in memory")
    if isinstance(data, Sequence | Iterator) and not isinstance(data, str | bytes):
        feeds = [_arrays(feed, specs, f"feed {at} in memory") for at, feed in enumerate(data)]
        if not feeds:
            msg = "data in memory are empty: there is no feed"
            raise DataError(msg)
        return feeds
    raise DataError(_wrong("data in memory", data))


def is_array(thing: object) -> bool:
    """Whether something is an array, or converts itself to one: tensors of frameworks do."""
    return hasattr(thing, "__array__")


def as_array(thing: object, what: str) -> np.ndarray:
    """Return an array.

    Args:
        thing: The array, or what converts to one.
        what: What it is, for messages.

    Raises:
        DataError: If it does not convert.
    """
    try:
        return np.asarray(thing)
    except Exception as error:  # tensors on devices or with gradients have errors of their own
        msg = f"{what} cannot be read as an array: {error}"
        raise DataError(msg) from error


def as_labels(thing: object) -> np.ndarray:
    """Return labels, one a sample.

    Raises:
        DataError: If they are no array with an axis of samples.
    """
    labels = as_array(thing, "labels in memory")
    if not labels.ndim:
        msg = f"labels in memory are of type {type(thing).__name__}; give an array, one a sample"
        raise DataError(msg)
    return labels


def _arrays(thing: object, specs: Sequence[InputSpec], what: str) -> Arrays:
    if isinstance(thing, Mapping):
        named = given(thing, specs)
        return {k: as_array(v, f"array {k!r} of {what}") for k, v in named.items()}
    if not is_array(thing):
        raise DataError(_wrong(what, thing))
    required = [s.name for s in specs if s.required]
    if len(required) != 1:
        msg = (
            f"{what} hold one array but the model wants {expected(specs)}; give a dict from "
            "names of inputs to arrays"
        )
        raise DataError(msg)
    return {required[0]: as_array(thing, what)}


def _wrong(what: str, thing: object) -> str:
    return (
        f"{what} are of type {type(thing).__name__}; give a dict from names of inputs to arrays, "
        "an array if the model has one input, or a list of such feeds"
    )
