"""Random feeds, for trying a pipeline out when there are no data."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from ocompress.errors import DataError
from ocompress.io.inputs import InputSpec
from ocompress.ir import DType
from ocompress.ir.strings import encoded

SYNTHETIC = "synthetic data"
"""What such data say that they come from."""
LARGEST = 1 << 31
"""Bytes of one random array; more is a damaged shape, or nothing to be made up."""
_EXTENTS = (
    *(((224, 224), 16), ((48, 320), 128), ((32, 320), 512)),
    *(((256, 256), 1024), ((640, 640), 4096), ((64, 64), 16000)),
)
"""Heights and widths of images, and other extents, that are tried in turn where any will do."""
_MOST_ELEMENTS = 1 << 22
_MOST_TRIED, _MOST_BATCH = 8, 64
"""Batches that are tried; and up to which extents that other inputs fix are."""


@dataclass(frozen=True)
class RandomArray:
    """Feeds along axis 0, each drawn from a generator of its own, so order does not matter."""

    spec: InputSpec
    shape: tuple[int, ...]
    seed: int

    @property
    def dtype(self) -> np.dtype:
        """Element type."""
        if self.spec.dtype is DType.STRING:
            return np.dtype("U8")
        return np.dtype(self.spec.dtype.numpy)

    def whole(self) -> np.ndarray:
        """Draw all feeds."""
        return np.stack([self._draw(i) for i in range(self.shape[0])])

    def rows(self, group: int, stop: int) -> Iterator[np.ndarray]:
        """Draw the first `stop` feeds, `group` at a time."""
        for start in range(0, stop, group):
            yield np.stack([self._draw(i) for i in range(start, min(start + group, stop))])

    def _draw(self, index: int) -> np.ndarray:
        name = zlib.crc32(encoded(self.spec.name))
        rng = np.random.default_rng([self.seed, name, index])
        shape = self.shape[1:]
        if self.dtype.kind == "U":
            return np.full(shape, "text")
        if self.dtype == np.uint8:
            return rng.integers(0, 256, shape, np.uint8)
        if self.spec.dtype.is_float:
            return rng.standard_normal(shape, np.float32).astype(self.dtype)
        return rng.integers(0, 2, shape).astype(self.dtype)  # a mask, a flag, or a known token


def synthetic_choices(
    specs: Sequence[InputSpec],
    samples: int,
    seed: int,
    shapes: Mapping[str, Sequence[int]],
    implied: Mapping[str, Mapping[int, int]],
) -> Iterator[dict[str, RandomArray]]:
    """Yield an array for each required input, one leading index a feed, for batches from 1 on.

    Extents that other inputs fix may be a batch, too, as that of a state is. Then come other
    extents of images and of everything else.

    Args:
        specs: The inputs.
        samples: How many samples.
        seed: Makes them repeatable.
        shapes: Shapes by input name that somebody gave.
        implied: Extents by input name and axis that weights fix.

    Raises:
        DataError: If a shape names no input or contradicts the model.
    """
    by_name = {s.name: s for s in specs}
    for name, shape in shapes.items():
        if name not in by_name:
            msg = f"shape {name!r}: the model has inputs {', '.join(by_name) or 'none'}"
            raise DataError(msg)
        if not by_name[name].fits(tuple(shape)):
            msg = f"shape {name}:{','.join(map(str, shape))} contradicts {by_name[name].text}"
            raise DataError(msg)
    wanted = [s for s in specs if s.required or s.name in shapes]
    fixed = {d for s in wanted for d in s.shape or () if isinstance(d, int)}
    batches = sorted({*range(1, _MOST_TRIED + 1), *(d for d in fixed if 0 < d <= _MOST_BATCH)})
    usual, *others = _EXTENTS
    for batch, free in (*((batch, usual) for batch in batches), *((1, free) for free in others)):
        one = {s.name: tuple(shapes.get(s.name) or _guess(s, batch, free, implied)) for s in wanted}
        if free is not usual and max(map(prod, one.values()), default=0) > _MOST_ELEMENTS:
            continue
        for spec in wanted:
            _check_size(spec, one[spec.name])
        lengths = {1 if s.axis is None else s.length(one[s.name]) for s in wanted if one[s.name]}
        per_feed = lengths.pop() if len(lengths) == 1 else 1
        feeds = max(1, -(-samples // max(per_feed, 1)))
        yield {s.name: RandomArray(s, (feeds, *one[s.name]), seed) for s in wanted}


def _check_size(spec: InputSpec, shape: tuple[int, ...]) -> None:
    """Refuse what would take too much memory before any is taken."""
    # an empty array of endless extents is refused, too: numpy cannot make it
    size = prod(max(extent, 1) for extent in shape) * _drawn_bytes(spec.dtype)
    if size > LARGEST:
        msg = (
            f"random numbers for input {spec.name!r} of shape {list(shape)} would take "
            f"{size:,} bytes; give data with --data"
        )
        raise DataError(msg)


def _drawn_bytes(dtype: DType) -> int:
    """Return what an element takes while it is drawn: small numbers are made of larger ones."""
    if dtype is DType.STRING:
        return np.dtype("U8").itemsize
    if dtype is DType.UINT8:
        return 1
    return max(dtype.numpy.itemsize, 4 if dtype.is_float else 8)


def _guess(
    spec: InputSpec,
    batch: int,
    free: tuple[tuple[int, int], int],
    implied: Mapping[str, Mapping[int, int]],
) -> tuple[int, ...]:
    shape, known = spec.shape or (), implied.get(spec.name, {})
    image = len(shape) == 4
    guessed = []
    for axis, extent in enumerate(shape):
        if isinstance(extent, int):
            guessed.append(extent)
        elif axis in known:
            guessed.append(known[axis])
        elif axis == spec.axis:
            guessed.append(batch)
        elif image and axis >= 2:
            guessed.append(free[0][axis - 2])
        elif free == _EXTENTS[0] or axis == len(shape) - 1:
            guessed.append(free[1])
        else:  # as the batch of a state that comes second
            guessed.append(batch)
    return tuple(guessed)
