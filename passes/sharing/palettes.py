"""Palettes: a few values that all weights of a layer, or of some of its outputs, share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

STARTS = ("linear", "density", "kmeans++")
_ROUNDS = 64
"""Of k-means, at most: where values are many, the last ones move hardly anything."""
_DRAWS = 8
"""Starts of k-means++ that are tried."""
_LOOKED_AT = 1 << 14
"""Numbers from which k-means++ draws, evenly among all in their order."""


@dataclass(frozen=True)
class Palettes:
    """Tables of values, and which one each output has.

    Attributes:
        tables: Values in rising order, (palettes, values), float64; where weights are zero, zero is
            among them, and is exact.
        which: Palette of each output, int (groups, outputs).
    """

    tables: np.ndarray
    which: np.ndarray

    def nearest(self, wanted: np.ndarray) -> np.ndarray:
        """Return the place in its table of the value next to each number.

        Args:
            wanted: (groups, ..., outputs).
        """
        middles = (self.tables[:, 1:] + self.tables[:, :-1]) / 2
        if len(self.tables) == 1:
            return np.searchsorted(middles[0], wanted)
        own = self.which.reshape(len(self.which), *(1,) * (wanted.ndim - 2), -1)
        found: np.ndarray = (wanted[..., None] > middles[own]).sum(axis=-1)
        return found

    def values(self, places: np.ndarray) -> np.ndarray:
        """Return the values at places in tables, (groups, ..., outputs)."""
        own = self.which.reshape(len(self.which), *(1,) * (places.ndim - 2), -1)
        found: np.ndarray = self.tables[own, places]
        return found

    def rounded(self, dtype: np.dtype[np.generic]) -> Palettes:
        """Return the same with values that a type of floats has."""
        return replace(self, tables=self.tables.astype(dtype).astype(np.float64))


def find(
    values: np.ndarray,
    weights: np.ndarray,
    count: int,
    start: str,
    *,
    zero: bool = False,
    seed: int = 0,
) -> np.ndarray:
    """Cluster numbers by k-means (Lloyd, 1982), each with a weight.

    Args:
        values: Numbers, [n].
        weights: How much each counts, [n].
        count: Clusters, at most.
        start: One of `STARTS`: evenly spaced, as many numbers between neighbours, or drawn in
            proportion to what they cost so far (Arthur and Vassilvitskii, 2007), the best of a few.
        zero: Whether zero is one of them, and stays.
        seed: Draws.

    Returns:
        Centroids in rising order, [count]; the last is repeated where numbers are fewer.
    """
    order = np.argsort(values, kind="stable")
    line = _Line.of(values[order], np.maximum(weights[order], 1e-30 * weights.max(initial=1e-300)))
    free = max(min(count - zero, len(np.unique(values))), 1)
    rng = np.random.default_rng(seed)
    tries = _DRAWS if start == "kmeans++" else 1
    found = [line.lloyd(_start(line, free, start, rng), zero=zero) for _ in range(tries)]
    best = min(found, key=line.cost)
    return np.concatenate([best, np.full(count - len(best), best[-1])])


@dataclass(frozen=True)
class _Line:
    """Numbers in rising order, and sums up to each of them."""

    values: np.ndarray
    weight: np.ndarray
    first: np.ndarray
    second: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, weights: np.ndarray) -> _Line:
        sums = (np.concatenate([[0.0], np.cumsum(weights * values**p)]) for p in range(3))
        return cls(values, *sums)

    def parts(self, centroids: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return weight, first and second moment of what is next to each centroid."""
        inner = np.searchsorted(self.values, (centroids[1:] + centroids[:-1]) / 2)
        ends = np.concatenate([[0], inner, [len(self.values)]])
        return tuple(np.diff(total[ends]) for total in (self.weight, self.first, self.second))

    def cost(self, centroids: np.ndarray) -> float:
        weight, first, second = self.parts(centroids)
        return float((second - 2 * centroids * first + centroids**2 * weight).sum())

    def lloyd(self, centroids: np.ndarray, *, zero: bool) -> np.ndarray:
        """Move centroids to the means of what is next to them; a zero stays."""
        if zero:
            centroids = np.append(centroids[centroids != 0], 0.0)
        centroids = np.sort(centroids)
        for _ in range(_ROUNDS):
            weight, first, second = self.parts(centroids)
            used = weight > 0
            moved = np.where(used, first / np.where(used, weight, 1), centroids)
            if zero:
                moved[np.flatnonzero(centroids == 0)[0]] = 0.0
            costs = second - 2 * moved * first + moved**2 * weight
            moved = np.sort(_refilled(moved, used, costs, weight, zero=zero))
            if np.array_equal(moved, centroids):
                break
            centroids = moved
        return centroids


def _refilled(
    centroids: np.ndarray, used: np.ndarray, costs: np.ndarray, weight: np.ndarray, *, zero: bool
) -> np.ndarray:
    """Put empty centroids beside those that cost most, a deviation away."""
    empty = np.flatnonzero(~used & ~(zero & (centroids == 0)))
    dearest = np.argsort(-costs, kind="stable")
    for at, most in zip(empty, dearest, strict=False):
        if costs[most] > 0:
            centroids[at] = centroids[most] + np.sqrt(costs[most] / weight[most])
    return centroids


def _start(line: _Line, count: int, start: str, rng: np.random.Generator) -> np.ndarray:
    values = line.values
    if start == "linear":
        return np.linspace(values[0], values[-1], count)
    if start == "density":
        shares = (np.arange(count) + 0.5) / count * line.weight[-1]
        return np.unique(values[np.searchsorted(line.weight[1:-1], shares)])
    some = slice(None, None, -(-len(values) // _LOOKED_AT))
    values, weights = values[some], np.diff(line.weight)[some]
    found = [float(values[_draw(weights, rng)])]
    squares = np.square(values - found[0])
    while len(found) < count and squares.any():
        found.append(float(values[_draw(weights * squares, rng)]))
        squares = np.minimum(squares, np.square(values - found[-1]))
    return np.unique(found)


def _draw(weights: np.ndarray, rng: np.random.Generator) -> int:
    sums = np.cumsum(weights)
    return int(min(np.searchsorted(sums, rng.random() * sums[-1], side="right"), len(sums) - 1))
