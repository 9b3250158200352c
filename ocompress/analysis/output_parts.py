"""Parts of an output that are in units of their own, as boxes in pixels beside scores.

An error of half a pixel and one of half a score are not the same thing. Counted together, the part
with the larger numbers is all that counts: a detector can lose every score at 48 dB. So errors are
counted part by part, each relative to its own spread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ocompress.analysis.gradients.seeds import Currency, Joined, Seeding

_GAP = 8.0
"""Factor between the sizes of neighbouring channels, in order of size, that parts them."""
_MOST_CHANNELS = 4096
_UNIT_SPREAD = 1e-4
"""Least variance that errors of probabilities are relative to: one that never fires has none, and
is judged as if it varied by a hundredth."""
_FLOOR = 1e-6
"""Least variance beside the mean square: of a constant, errors are relative to its size."""


@dataclass(frozen=True)
class Part:
    """Channels of an output that are in one unit.

    Attributes:
        name: What reports call it: empty where it is the whole, else its channels, `4..84`.
        axis: Axis of the channels, counted from the end (negative).
        channels: Indices along it; None for all.
        within_unit: Whether its values are probabilities.
    """

    name: str = ""
    axis: int = -1
    channels: np.ndarray | None = field(default=None, compare=False)
    within_unit: bool = False

    def of(self, output: np.ndarray) -> np.ndarray:
        """Return the part's elements, of the output's rank."""
        if self.channels is None or output.ndim < -self.axis:
            return output
        there = self.channels[self.channels < output.shape[self.axis]]
        taken: np.ndarray = np.take(output, there, self.axis)
        return taken


@dataclass
class Spread:
    """Running mean and variance of a part over data; memory does not grow with them."""

    part: Part
    _count: float = 0.0
    _sum: float = 0.0
    _squares: float = 0.0

    def update(self, output: np.ndarray) -> None:
        """Take in one feed's output; values that are not finite do not count."""
        values = np.asarray(self.part.of(output), np.float64)
        values = values[np.isfinite(values)]
        self._count += values.size
        self._sum += float(values.sum())
        self._squares += float(np.square(values).sum())

    @property
    def variance(self) -> float:
        """What squared errors are relative to, per element; above 0."""
        if not self._count:
            return 1.0
        mean, square = self._sum / self._count, self._squares / self._count
        least = _UNIT_SPREAD if self.part.within_unit else _FLOOR * square
        return max(square - mean * mean, least) or 1.0


def parts_of(output: np.ndarray, seeding: Seeding | Joined) -> tuple[Part, ...]:
    """Part an output by unit.

    1. By the inputs of the Concat that makes it, where they are of different kinds.
    2. Within each, by size: along the axis whose channels differ most, channels are put in order
       of their root mean square, and wherever the next is eight times larger a new part begins.

    Args:
        output: What the original makes of a feed, any float type.
        seeding: What kind of output it is, see `seeding_of`.
    """
    values = np.nan_to_num(np.asarray(output, np.float64), posinf=0.0, neginf=0.0)
    found = [p for part in _by_kind(values, seeding) for p in _by_size(values, part)]
    return tuple(found) if len(found) > 1 else (Part(within_unit=found[0].within_unit),)


def _by_kind(values: np.ndarray, seeding: Seeding | Joined) -> Iterator[Part]:
    if isinstance(seeding, Seeding):
        yield Part(within_unit=seeding.currency is not Currency.SQUARES and _is_unit(values))
        return
    axis = seeding.axis % values.ndim - values.ndim
    pieces = np.split(np.arange(values.shape[axis]), seeding.ends)
    for channels, kind in zip(pieces, seeding.parts, strict=True):
        piece = np.take(values, channels, axis)
        for inner in _by_kind(piece, kind):
            if inner.channels is not None and inner.axis == axis:
                channels_of = channels[inner.channels]
            else:
                channels_of = channels
            yield Part(_name(channels_of), axis, channels_of, inner.within_unit)


def _by_size(values: np.ndarray, part: Part) -> Iterator[Part]:
    piece = part.of(values)
    axes = [part.axis] if part.channels is not None else range(-piece.ndim + 1, 0)
    best: tuple[float, int, list[np.ndarray]] | None = None
    for axis in axes:
        found = _groups(piece, axis)
        if len(found[1]) > 1 and (best is None or found[0] > best[0]):
            best = (found[0], axis, found[1])
    if best is None:
        yield part
        return
    _, axis, groups = best
    for group in groups:
        channels = group if part.channels is None else part.channels[group]
        unit = part.within_unit or _is_unit(np.take(piece, group, axis))
        yield Part(_name(channels), axis, channels, unit)


def _groups(piece: np.ndarray, axis: int) -> tuple[float, list[np.ndarray]]:
    """Return the largest gap along an axis, and the channels between gaps."""
    extent = piece.shape[axis]
    others = piece.size // max(extent, 1)
    if not 1 < extent <= _MOST_CHANNELS or not others:
        return 0.0, [np.arange(extent)]
    moved = np.moveaxis(piece, axis, 0).reshape(extent, -1)
    size = np.sqrt(np.square(moved).mean(axis=1))
    floor = max(float(size.max()) * _FLOOR, np.finfo(np.float64).tiny)
    if _is_unit(piece):  # how rarely a probability fires is no unit
        return 0.0, [np.arange(extent)]
    order = np.argsort(size, kind="stable")
    steps = np.log(np.maximum(size[order], floor))
    gaps = np.diff(steps)
    cuts = np.flatnonzero(gaps > np.log(_GAP)) + 1
    groups = [np.sort(g) for g in np.split(order, cuts)]
    return float(gaps.max(initial=0.0)), sorted(groups, key=lambda g: int(g[0]))


def _is_unit(values: np.ndarray) -> bool:
    return bool(values.size) and float(values.min()) >= 0 and float(values.max()) <= 1


def _name(channels: Sequence[int] | np.ndarray) -> str:
    """Return channels as runs: `0..3`, `4,6..9`."""
    indices = np.asarray(channels)
    runs = np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1)
    texts = [f"{r[0]}" if len(r) == 1 else f"{r[0]}..{r[-1]}" for r in runs]
    return ",".join(texts) if len(texts) <= 3 else f"{texts[0]},{texts[1]},..."
