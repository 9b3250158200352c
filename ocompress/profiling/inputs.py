"""What models are run with: the first feed of the data, or random numbers of the right shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ocompress.errors import OptionError
from ocompress.io import synthetic_data
from ocompress.io.dataset import Dataset, Feeds
from ocompress.ir import DType, Model
from ocompress.profiling.result import InputChoice


def choose(
    model: Model, data: Dataset | None, shapes: Mapping[str, Sequence[int]], seed: int
) -> tuple[Feeds, tuple[InputChoice, ...]]:
    """Choose the feed both models are run with.

    Args:
        model: Whose inputs are fed.
        data: Its first feed is taken; None makes random numbers.
        shapes: Shapes for random numbers by input name; free extents of others are guessed.
        seed: Seeds the random numbers.

    Returns:
        The feed, and what to say about each input.

    Raises:
        DataError: If a shape names no input or contradicts the model.
        UnsupportedModelError: If an input is not a tensor, so that it cannot be made up.
    """
    made = data if data is not None else synthetic_data(model, 1, seed=seed, shapes=shapes)
    feeds: Feeds = next(iter(made), {})
    declared = {v.name: v.shape for v in model.graph.inputs}
    choices = []
    for name, given in feeds.items():
        if name not in declared:
            continue
        array = np.asarray(given)
        origin, guessed = "data", []
        if data is None:
            extents = declared[name] or ()
            guessed = [
                f"{extent or f'axis {axis}'}={array.shape[axis]}"
                for axis, extent in enumerate(extents)
                if not isinstance(extent, int) and name not in shapes
            ]
            origin = "given" if name in shapes else "guessed" if guessed else "declared"
        dtype = DType.of(array).name.lower()
        choices.append(InputChoice(name, dtype, tuple(array.shape), origin, tuple(guessed)))
    return feeds, tuple(choices)


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Parse `name:1,3,224,224`, the form `--shape` takes; `name:` is a scalar.

    Raises:
        OptionError: If it has another form.
    """
    name, colon, extents = text.rpartition(":")
    try:
        shape = tuple(int(extent) for extent in extents.split(",") if extents)
    except ValueError:
        shape = (-1,)
    if not colon or not name or any(extent < 0 for extent in shape):
        msg = f"shape {text!r} is not of the form name:1,3,224,224"
        raise OptionError(msg)
    return name, shape
