"""Inputs with what the teacher makes of them, in batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ocompress.analysis.observe import has_free_batch
from ocompress.io.dataset import Dataset, Feeds, axes_of, cut_at, samples_in
from ocompress.ir import Model
from ocompress.runtime import Session
from ocompress.training.settings import Kept

MOST_BYTES = 4 << 30
"""Bytes of inputs and outputs that are held; samples beyond are left out."""

LABELS = " labels"
"""Name under which labels stand beside the teacher's outputs, as shares of classes."""
Batch = tuple[Feeds, Mapping[str, np.ndarray]]
"""Inputs, and the teacher's outputs for them."""


@dataclass(frozen=True)
class Lessons:
    """Inputs and what the teacher makes of them.

    Attributes:
        parts: Batches that can be cut anywhere, one for each shape of a sample, or feeds as they
            came, which stay whole.
        unit: Rows that stay together; 0 if feeds stay whole.
        samples: Number of samples.
        left_out: Samples for which there was no room.
        places: Of parts that can be cut, which rows of the data each has, counted over all feeds.
    """

    parts: list[Batch]
    unit: int
    samples: int
    left_out: int
    places: list[np.ndarray] = field(default_factory=list)

    def batches(self, size: int, rng: np.random.Generator | None) -> Iterator[list[Batch]]:
        """Iterate once over all of them, in random order if there is a generator.

        Args:
            size: Samples of a batch. What is left over is left out in random order.
            rng: Source of the order.

        Yields:
            A batch, in pieces: samples of different shapes do not go into one array.
        """
        each, counts = self._each(size), self._counts()
        total, starts = sum(counts), np.cumsum([0, *counts])
        units = np.arange(total) if rng is None else rng.permutation(total)
        whole = total - total % each if rng is not None and total >= each else total
        for start in range(0, whole, each):
            chosen = units[start : start + each]
            owners = np.searchsorted(starts, chosen, side="right") - 1
            yield [self._piece(at, chosen[owners == at] - starts[at]) for at in np.unique(owners)]

    def _piece(self, at: int, units: np.ndarray) -> Batch:
        feeds, wanted = self.parts[at]
        if not self.unit:
            return feeds, wanted
        rows = (units[:, None] * self.unit + np.arange(self.unit)).reshape(-1)
        return _rows(feeds, rows), _rows(wanted, rows)

    def _counts(self) -> list[int]:
        """Return how many units each part has that stay together: rows, or feeds."""
        if not self.unit:
            return [1] * len(self.parts)
        return [len(next(iter(feeds.values()))) // self.unit for feeds, _ in self.parts]

    def _each(self, size: int) -> int:
        """Return how many units make up a batch."""
        rows = self.unit or max(1, round(self.samples / len(self.parts)))
        return max(1, size // rows)

    def infinite(self) -> set[str]:
        """Return the outputs of the teacher that are not numbers, or infinite, somewhere."""
        return {n for _, made in self.parts for n, a in made.items() if not np.isfinite(a).all()}

    @property
    def can_be_mixed(self) -> bool:
        """Whether sums of samples are samples: all inputs are floats, with a row for each."""
        return self.unit == 1 and all(a.dtype.kind == "f" for a in self.parts[0][0].values())

    def count(self, size: int) -> int:
        """Return the number of batches of a pass over all samples in random order."""
        return max(1, sum(self._counts()) // self._each(size))


def _rows(arrays: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: array[rows] for name, array in arrays.items()}


def floats_of(made: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the outputs that are tensors of floats, float32."""
    tensors = {n: a for n, a in made.items() if isinstance(a, np.ndarray)}  # no sequences or maps
    return {n: a.astype(np.float32) for n, a in tensors.items() if a.dtype.kind == "f"}


_AUGMENTED, _SHIFT, _NOISE = 4, 0.1, 0.05
"""Axes of a batch of images; part of their extent that they are moved by, and noise in proportion
to their deviation, at most."""


def altered(
    feeds: Feeds, rng: np.random.Generator, *, mixes: bool, augment: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Return other samples that are made of some.

    Args:
        feeds: Arrays, a row for each sample. Only floats are changed, and only images, with two
            axes of planes, are flipped, moved and made noisy.
        rng: Source of all choices.
        mixes: Whether to add two samples each, in random shares (mixup; Zhang et al., 2018).
        augment: `flip`, from left to right, every other; `shift`, by up to a tenth, edges going
            on outside; `noise`.
    """
    found = {name: np.asarray(array) for name, array in feeds.items()}
    for name, array in found.items():
        if augment and array.ndim == _AUGMENTED and array.dtype.kind == "f":
            found[name] = _augmented(array, rng, augment)
    return _mixed(found, rng) if mixes else found


def _augmented(images: np.ndarray, rng: np.random.Generator, kinds: Collection[str]) -> np.ndarray:
    down, across = (1, 2) if images.shape[3] < min(images.shape[1:3]) else (2, 3)  # NHWC or NCHW
    rows = np.arange(len(images))
    found = images
    if "flip" in kinds:
        turned = rng.random(len(rows)) < 0.5
        found = np.where(turned[:, None, None, None], np.flip(found, across), found)
    if "shift" in kinds:
        for axis in (down, across):
            extent = found.shape[axis]
            most = max(1, int(_SHIFT * extent))
            by = rng.integers(-most, most + 1, len(rows))
            places = (np.arange(extent) + by[:, None]).clip(0, extent - 1)
            shape = [len(rows) if a == 0 else extent if a == axis else 1 for a in range(4)]
            found = np.take_along_axis(found, places.reshape(shape), axis)
    if "noise" in kinds:
        size = _NOISE * float(found.std()) * rng.random((len(rows), 1, 1, 1))
        found = found + size * rng.standard_normal(found.shape)
    return np.ascontiguousarray(found, images.dtype)


def _mixed(feeds: Feeds, rng: np.random.Generator) -> dict[str, np.ndarray]:
    rows = len(next(iter(feeds.values())))
    other, share = rng.permutation(rows), rng.random(rows)
    found = {}
    for name, array in feeds.items():
        part = share.reshape(-1, *[1] * (array.ndim - 1)).astype(array.dtype)
        found[name] = part * array + (1 - part) * array[other]
    return found


def learn(teacher: Model, data: Dataset, session: Session, kept: Kept | None = None) -> Lessons:
    """Run the teacher once over data.

    Args:
        teacher: The model.
        data: Inputs.
        session: The teacher, loaded.
        kept: What the teacher makes of them is looked for there first, and kept afterwards.
    """
    known = _known(kept)
    parts: list[Batch] = []
    held = taken = 0
    for feed in data:
        floats = known[len(parts)] if len(parts) < len(known) else floats_of(session.run(feed))
        held += sum(a.nbytes for a in (*feed.values(), *floats.values()))
        if parts and held > MOST_BYTES:
            break
        parts.append((feed, floats))
        taken += samples_in(data, feed)
    if kept is not None and len(known) < len(parts):
        _keep(kept, parts)
    unit = cut_at(data) if has_free_batch(teacher) and not axes_of(data) else 0
    left_out = max(0, data.samples - taken)
    if not unit or not all(_is_cut(part, unit) for part in parts):
        return Lessons(parts, 0, taken, left_out)
    joined, places = _by_shape(parts)
    return Lessons(joined, unit, taken, left_out, places)


def _by_shape(parts: Sequence[Batch]) -> tuple[list[Batch], list[np.ndarray]]:
    """Join batches whose samples have one shape; return which rows of all each has, too."""
    alike: dict[object, list[int]] = {}
    for at, part in enumerate(parts):
        shapes = ((name, a.shape[1:]) for arrays in part for name, a in sorted(arrays.items()))
        alike.setdefault(tuple(shapes), []).append(at)
    rows = np.cumsum([0, *(len(next(iter(feeds.values()))) for feeds, _ in parts)])
    joined: list[Batch] = [
        (_joined([parts[i][0] for i in g]), _joined([parts[i][1] for i in g]))
        for g in alike.values()
    ]
    places = [np.concatenate([np.arange(rows[i], rows[i + 1]) for i in g]) for g in alike.values()]
    return joined, places


def _known(kept: Kept | None) -> list[dict[str, np.ndarray]]:
    """Return what is kept of a teacher's outputs, feed by feed."""
    names, *arrays = (kept.load() if kept is not None else None) or (np.zeros(0, str),)
    each = len(names)
    starts = range(0, len(arrays), each) if each else ()
    return [dict(zip(names.tolist(), arrays[at : at + each], strict=True)) for at in starts]


def _keep(kept: Kept, parts: Sequence[Batch]) -> None:
    names = sorted(parts[0][1])
    kept.save((np.array(names), *(made[name] for _, made in parts for name in names)))


def _is_cut(part: Batch, unit: int) -> bool:
    """Whether all arrays of a part have a row for each sample."""
    extents = {len(a) if a.ndim else 0 for arrays in part for a in arrays.values()}
    return len(extents) == 1 and extents.pop() % unit == 0


def _joined(parts: list[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
