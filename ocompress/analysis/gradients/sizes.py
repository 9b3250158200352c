"""What seeds of squares are relative to: how far outputs are from the means of their channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ocompress.analysis.gradients.seedings import Currency, Joined, Seeding
from ocompress.analysis.output_parts import OutputPart, Spread, parts_of
from ocompress.analysis.scales import within_unit


def sized(
    seeding: Seeding | Joined, outputs: Sequence[np.ndarray], axis: int | None = None
) -> Seeding | Joined:
    """Return a seeding whose squares are relative to what losses will be counted by.

    An offset that all samples share is nothing that could be lost: next to it, errors of what
    tells samples apart would look like nothing.

    Args:
        seeding: How seeds of an output are drawn.
        outputs: What the model makes of some feeds, each of the output's rank, at least one.
        axis: Axis of the channels, not negative, if they are a part of an output that has others.
    """
    if isinstance(seeding, Joined):
        pieces = [
            sized(part, [np.take(a, there, seeding.axis) for a in outputs], seeding.axis)
            for there, part in zip(seeding.channels, seeding.parts, strict=True)
        ]
        return replace(seeding, parts=pieces)
    if seeding.currency is not Currency.SQUARES:
        return seeding
    known = _together(outputs)
    parts = parts_of(known, seeding)
    if len(parts) > 1:
        sizes = [_size(part, outputs) for part in parts]
        groups = [np.asarray(part.channels) for part in parts]
        made = [replace(seeding, size=size) for size in sizes]
        return Joined(parts[0].axis % known.ndim, groups, made)
    (part,) = parts
    if axis is not None:
        there = np.arange(known.shape[axis])
        part = OutputPart("", axis - known.ndim, there, within_unit(known), seeding)
    return replace(seeding, size=_size(part, outputs))


def _size(part: OutputPart, outputs: Sequence[np.ndarray]) -> float:
    spread = Spread(part)
    for output in outputs:
        spread.update(output)
    # what a single sample has of a column does not spread
    return math.sqrt(spread.variance if spread.is_known else spread.power or 1.0)


def _together(outputs: Sequence[np.ndarray]) -> np.ndarray:
    """Return outputs one behind the other, those of other extents than the first left out."""
    first = outputs[0]
    alike = [a for a in outputs if a.ndim and a.shape[1:] == first.shape[1:]]
    made = np.concatenate(alike) if alike else first
    return np.nan_to_num(np.asarray(made, np.float64), posinf=0.0, neginf=0.0)
