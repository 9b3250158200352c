"""Parts of an output that are in units of their own, as boxes in pixels beside scores.

An error of half a pixel and one of half a score are not the same thing. Counted together, the part
with the larger numbers is all that counts: a detector can lose every score at 48 dB. So errors are
counted part by part, each relative to its own spread.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ocompress.analysis.gradients.seeds import Currency, Joined, Seeding
from ocompress.analysis.running import Running, RunningColumns
from ocompress.analysis.scales import Scales, scales_along, scales_of, within_unit

_UNIT_SPREAD = 1e-4
"""Least variance that errors of probabilities are relative to: one that never fires has none, and
is judged as if it varied by a hundredth."""
_EMBEDDING = 64
"""Columns from which on they are an embedding rather than numbers that mean something each."""
_FLOOR = 1e-6
"""Variance beside the mean square that a constant is judged by: errors are relative to its size."""
_ROUNDING = {2: 1e-6}
_OF_FLOATS = 1e-11
"""Variance beside the mean square, by the bytes of a number, up to which an output is a constant
but for rounding. Pressures in pascal and years vary by far more, however large they are."""


@dataclass(frozen=True)
class OutputPart:
    """Channels of an output that are in one unit.

    Attributes:
        name: What reports call it: empty where it is the whole, else its channels, `4..84`.
        axis: Axis of the channels, counted from the end (negative).
        channels: Indices along it; None for all.
        within_unit: Whether its values are probabilities.
        seeding: What kind of values it holds, None if they are of several.
    """

    name: str = ""
    axis: int = -1
    channels: np.ndarray | None = field(default=None, compare=False)
    within_unit: bool = False
    seeding: Seeding | None = field(default=None, compare=False)

    def of(self, output: np.ndarray) -> np.ndarray:
        """Return the part's elements, of the output's rank."""
        if self.channels is None or output.ndim < -self.axis:
            return output
        there = self.channels[self.channels < output.shape[self.axis]]
        taken: np.ndarray = np.take(output, there, self.axis)
        return taken

    def by_channel(self, output: np.ndarray) -> np.ndarray | None:
        """Return the part's elements [elements of a channel, channels], None without channels."""
        of_whole = self.seeding.axis if self.seeding is not None else self.axis
        axis = of_whole if self.channels is None else self.axis
        if not -output.ndim < axis < output.ndim or axis == 0:
            return None
        taken = np.moveaxis(self.of(output), axis, -1)
        return taken.reshape(math.prod(taken.shape[:-1]), taken.shape[-1])


@dataclass
class Spread:
    """What errors of a part are relative to, from data that stream by.

    A column of temperatures beside one of pressures differs from it whatever the input is, which
    nobody has to explain: what counts is how far each channel is from its own mean.
    """

    part: OutputPart
    _seen: Running = field(default_factory=Running)
    _channels: RunningColumns = field(default_factory=RunningColumns)
    _bytes: int = 8

    def update(self, output: np.ndarray) -> None:
        """Take in one feed's output, any shape; values that are not finite do not count."""
        self._seen.update(self.part.of(output))
        self._channels.update(self.part.by_channel(output))
        self._bytes = output.dtype.itemsize

    @property
    def variance(self) -> float:
        """What squared errors are relative to, per element; above 0."""
        if not self._seen.count:
            return 1.0
        within = self._channels.variance
        found, square = self._seen.variance if within is None else within, self._seen.mean_square
        if self.part.within_unit:
            return max(found, _UNIT_SPREAD)
        constant = found <= _ROUNDING.get(self._bytes, _OF_FLOATS) * square
        return (max(found, _FLOOR * square) if constant else found) or 1.0

    @property
    def is_known(self) -> bool:
        """Whether any channel was seen more than once."""
        return self._channels.variance is not None or not self._channels.whole

    @property
    def power(self) -> float:
        """Mean square, of probabilities no less than `variance` is; 0 if all is zero."""
        square = self._seen.mean_square
        return max(square, _UNIT_SPREAD) if self.part.within_unit else square


def parts_of(output: np.ndarray, seeding: Seeding | Joined) -> tuple[OutputPart, ...]:
    """Part an output by unit.

    1. By the inputs of the Concat that makes it, where they are of different kinds.
    2. What is no scores of classes or probabilities also by size: along the axis whose channels
       differ most, see `scales_of`. Columns of numbers, one for each sample, also by how far they
       are from their means.

    Args:
        output: What the original makes of some data, any shape and float type.
        seeding: What kind of output it is, see `seeding_of`.
    """
    values = np.nan_to_num(np.asarray(output, np.float64), posinf=0.0, neginf=0.0)
    found = tuple(_parts(values, seeding, OutputPart()))
    return found if len(found) > 1 else (replace(found[0], name="", channels=None),)


def _parts(
    values: np.ndarray, seeding: Seeding | Joined, whole: OutputPart
) -> Iterator[OutputPart]:
    """Yield the parts of a piece of an output; `whole` says which piece."""
    if isinstance(seeding, Joined):
        axis = seeding.axis % values.ndim - values.ndim
        if whole.channels is not None and whole.axis != axis:
            yield whole  # a part lies along one axis
            return
        for channels, kind in zip(seeding.channels, seeding.parts, strict=True):
            yield from _parts(np.take(values, channels, axis), kind, _piece(whole, axis, channels))
        return
    found = None
    if seeding.currency is Currency.SQUARES:
        along = whole.axis if whole.channels is not None else None
        found = scales_of(values) if along is None else scales_along(values, along)
        if found is None and values.ndim == 2 and 0 < values.shape[1] < _EMBEDDING:
            found = _by_deviation(values)
    if found is None:
        known = seeding.currency is not Currency.SQUARES or whole.channels is not None
        yield replace(whole, within_unit=known and within_unit(values), seeding=seeding)
        return
    for group in found.groups:
        piece, there = _piece(whole, found.axis, group), np.take(values, group, found.axis)
        yield replace(piece, within_unit=within_unit(there), seeding=seeding)


def _by_deviation(values: np.ndarray) -> Scales | None:
    """Group columns by how far they are from their means, whatever these are."""
    if not len(values) or within_unit(values):
        return None
    return scales_along(values - values.mean(axis=0), -1)


def _piece(whole: OutputPart, axis: int, channels: np.ndarray) -> OutputPart:
    taken = channels if whole.channels is None else whole.channels[channels]
    return OutputPart(_name(taken), axis, taken)


def _name(channels: Sequence[int] | np.ndarray) -> str:
    """Return channels as runs: `0..3`, `4,6..9`."""
    indices = np.asarray(channels)
    runs = np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1)
    texts = [f"{r[0]}" if len(r) == 1 else f"{r[0]}..{r[-1]}" for r in runs]
    return ",".join(texts) if len(texts) <= 3 else f"{texts[0]},{texts[1]},..."
