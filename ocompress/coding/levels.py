"""An estimate of what levels cost that is cheap enough for the inner loop of a quantizer.

It does not depend on whether numba is there, as the coder's own count does in practice: a count of
millions of values takes minutes without.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

_PRIOR = 0.5
"""Levels of each kind that are taken as seen before the first."""
_TAIL = 15
"""Magnitudes that are counted one by one; larger ones cost what a code for any number does."""
_NEIGHBOUR, _SHARE = 6.0, 0.8
"""How many levels the input before counts for, and how much of what a row tells is believed."""


@dataclass(frozen=True)
class LevelRates:
    """Bits of levels of a matrix, from how frequent such levels are.

    Whether a level is zero depends on its input and its output, its magnitude on neither.

    Attributes:
        zero: Bits of a zero, (groups, inputs, outputs).
        other: Bits to say that a level is no zero, the same shape.
        sizes: Bits of the sign and the magnitude, by magnitude from 1 on.
    """

    zero: np.ndarray
    other: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, levels: np.ndarray) -> LevelRates:
        """Look at levels, whole numbers in the shape (groups, inputs, outputs)."""
        used = levels != 0
        odds = _log_odds(used, 2) + _log_odds(used, 1) - _log_odds(used, (1, 2))
        return cls(_bits(odds), _bits(-odds), _sizes(np.abs(levels[used]).astype(np.int64)))

    def at(self, inputs: np.ndarray | slice) -> LevelRates:
        """Return those of some inputs, given as indices (inputs,)."""
        return replace(self, zero=self.zero[:, inputs], other=self.other[:, inputs])

    def of_outputs(self, outputs: np.ndarray) -> LevelRates:
        """Return those of some outputs, given as indices (outputs,)."""
        zero, other = self.zero[:, :, outputs], self.other[:, :, outputs]
        return replace(self, zero=zero, other=other)

    def bits(self, levels: np.ndarray) -> np.ndarray:
        """Return the bits of each level, of the shape that was looked at."""
        size = np.abs(levels)
        last = len(self.sizes)
        large = self.other + self.sizes[np.clip(size, 1, last).astype(np.intp) - 1]
        if size.max(initial=0) > last:
            large = large + _beyond(size - last)
        found: np.ndarray = np.where(size == 0, self.zero, large)
        return found


def level_bits(levels: np.ndarray) -> float:
    """Estimate the bits of levels in the shape (groups, inputs, outputs), learning included.

    Zero flags go input by input; each is predicted from the share of levels that are no zeros so
    far, in its row and in its column, and magnitudes from those so far.
    """
    if not levels.size:
        return 0.0
    used = levels != 0
    return _flag_bits(used) + _size_bits(np.abs(levels[used]).astype(np.int64))


def _flag_bits(used: np.ndarray) -> float:
    """Return the bits of zero flags, coded in order, from counts so far."""
    groups, inputs, outputs = used.shape
    flat = used.reshape(groups * inputs, outputs).astype(np.float64)
    before = np.arange(len(flat))[:, None]
    place = np.arange(outputs)[None, :]
    sums = flat.sum(axis=1)
    above = np.concatenate([[0.0], np.cumsum(sums)[:-1]])[:, None]
    along = np.cumsum(flat, axis=1) - flat
    whole = (above + along + _PRIOR) / (before * outputs + place + 2 * _PRIOR)
    row = (np.cumsum(flat, axis=0) - flat + _PRIOR) / (before + 2 * _PRIOR)
    # the column before it tells about a column until it has told enough itself
    last = np.concatenate([whole[:1, 0], (sums[:-1] + _PRIOR) / (outputs + 2 * _PRIOR)])[:, None]
    column = (along + _NEIGHBOUR * last) / (place + _NEIGHBOUR)
    odds = _logit(column) + _SHARE * (_logit(row) - _logit(whole))
    return float(_bits(np.where(flat > 0, -odds, odds)).sum())


def _size_bits(sizes: np.ndarray) -> float:
    """Return the bits of signs and of magnitudes in unary, each digit adaptive."""
    found = float(len(sizes) + _beyond(sizes - _TAIL).sum())
    counts = np.bincount(np.minimum(sizes, _TAIL))
    left = len(sizes)
    for count in counts[1:]:
        found += _adaptive(left, int(count))
        left -= int(count)
    return found


def _beyond(excess: np.ndarray) -> np.ndarray:
    """Return the bits of what a magnitude has beyond those that are counted (Elias, 1975)."""
    found: np.ndarray = 2 * np.log2(1 + np.maximum(excess, 0))
    return found


def _adaptive(count: int, ones: int) -> float:
    """Return the bits of flags under adaptive counts (Krichevsky and Trofimov, 1981), about."""
    if not count:
        return 0.0
    share = (ones + _PRIOR) / (count + 2 * _PRIOR)
    entropy = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
    return float(count * entropy + 0.5 * np.log2(count + 1) + 1)


def _log_odds(used: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    count = used.sum(axis=axis, keepdims=True)
    whole = used.size / max(count.size, 1)
    found: np.ndarray = np.log((count + _PRIOR) / (whole - count + _PRIOR))
    return found


def _logit(share: np.ndarray) -> np.ndarray:
    inside = np.clip(share, 1e-4, 1 - 1e-4)
    found: np.ndarray = np.log(inside / (1 - inside))
    return found


def _bits(odds: np.ndarray) -> np.ndarray:
    """Return the bits of what has a probability of 1 / (1 + exp(odds))."""
    found: np.ndarray = np.logaddexp(0, odds) / np.log(2)
    return found


def _sizes(sizes: np.ndarray) -> np.ndarray:
    """Return the bits of sign and magnitude of each size from 1 on."""
    counts = np.bincount(np.minimum(sizes, _TAIL + 1), minlength=_TAIL + 2)[1:].astype(np.float64)
    at_least = np.cumsum(counts[::-1])[::-1]
    more = (at_least[1:] + _PRIOR) / (at_least[:-1] + 2 * _PRIOR)
    going_on = np.concatenate([[0.0], np.cumsum(-np.log2(more))[:-1]])
    found: np.ndarray = 1 + going_on - np.log2(1 - more)
    return found
