"""Parts of an output that are in units of their own, as boxes in pixels beside scores.

An error of half a pixel and one of half a score are not the same thing. Counted together, the part
with the larger numbers is all that counts: a detector can lose every score at 48 dB. So errors are
counted part by part, each relative to its own spread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ocompress.analysis.gradients.seeds import Currency, Joined, Seeding
from ocompress.analysis.running import Running
from ocompress.analysis.scales import scales_along, scales_of, within_unit

_UNIT_SPREAD = 1e-4
"""Least variance that errors of probabilities are relative to: one that never fires has none, and
is judged as if it varied by a hundredth."""
_FLOOR = 1e-6
"""Least variance beside the mean square: of a constant, errors are relative to its size."""


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


@dataclass
class Spread:
    """What errors of a part are relative to, from data that stream by."""

    part: OutputPart
    _seen: Running = field(default_factory=Running)

    def update(self, output: np.ndarray) -> None:
        """Take in one feed's output, any shape; values that are not finite do not count."""
        self._seen.update(self.part.of(output))

    @property
    def variance(self) -> float:
        """What squared errors are relative to, per element; above 0."""
        if not self._seen.count:
            return 1.0
        least = _UNIT_SPREAD if self.part.within_unit else _FLOOR * self._seen.mean_square
        return max(self._seen.variance, least) or 1.0

    @property
    def power(self) -> float:
        """Mean square, of probabilities no less than `variance` is; 0 if all is zero."""
        square = self._seen.mean_square
        return max(square, _UNIT_SPREAD) if self.part.within_unit else square


def parts_of(output: np.ndarray, seeding: Seeding | Joined) -> tuple[OutputPart, ...]:
    """Part an output by unit.

    1. By the inputs of the Concat that makes it, where they are of different kinds.
    2. What is no scores of classes or probabilities also by size: along the axis whose channels
       differ most, see `scales_of`.

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
    if found is None:
        known = seeding.currency is not Currency.SQUARES or whole.channels is not None
        yield replace(whole, within_unit=known and within_unit(values), seeding=seeding)
        return
    for group in found.groups:
        piece, there = _piece(whole, found.axis, group), np.take(values, group, found.axis)
        yield replace(piece, within_unit=within_unit(there), seeding=seeding)


def _piece(whole: OutputPart, axis: int, channels: np.ndarray) -> OutputPart:
    taken = channels if whole.channels is None else whole.channels[channels]
    return OutputPart(_name(taken), axis, taken)


def _name(channels: Sequence[int] | np.ndarray) -> str:
    """Return channels as runs: `0..3`, `4,6..9`."""
    indices = np.asarray(channels)
    runs = np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1)
    texts = [f"{r[0]}" if len(r) == 1 else f"{r[0]}..{r[-1]}" for r in runs]
    return ",".join(texts) if len(texts) <= 3 else f"{texts[0]},{texts[1]},..."
