"""Sums of products of gradients of pairs of a layer's outputs, batch after batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ocompress.analysis.linear_rows import Site

PLACES = 64
"""Places of a sample that products of outputs are added up over; more are sampled."""
_ROWS = 512
"""Rows that are gathered before they are multiplied, at least: to add products up takes about as
long as to make them of a few rows."""
_MOST_PLACES = 2**21
"""Places of all items of a layer that sums are kept for."""


class GradientSums:
    """Sums of products, of all items or of parts of them."""

    def __init__(self, site: Site, *, pairs: bool) -> None:
        """Add up for a layer, of pairs of its outputs or of each by itself."""
        self._site, self._pairs = site, pairs
        self._sums: dict[int, np.ndarray] = {}
        self._rows: dict[int, list[np.ndarray]] = {}

    def update(
        self, gradient: np.ndarray, parts: Sequence[np.ndarray], rng: np.random.Generator
    ) -> None:
        """Take in gradients of some items.

        Args:
            gradient: Of the layer's output, of its shape, (items, ...).
            parts: For each part which rows of items count, (items,); none for all of them.
            rng: Draws the places.
        """
        site, places = self._site, self._site.result_places(gradient)
        chosen = np.arange(places)
        if places > PLACES and self._pairs:
            chosen = rng.choice(places, PLACES, replace=False)
        seen = site.results(gradient, chosen).astype(np.float32, copy=False)
        for at, part in enumerate(parts or (np.ones(len(seen), bool),)):
            self._take(at, seen[part], places / max(len(chosen), 1))

    def totals(self) -> list[np.ndarray]:
        """Return the sum of each part, (groups, outputs, outputs) or (groups, outputs)."""
        for at in self._rows:
            self._multiply(at)
        return [self._sums[at] for at in sorted(self._sums)]

    def _take(self, at: int, seen: np.ndarray, weight: float) -> None:
        if not self._pairs:
            self._add(at, np.square(seen, dtype=np.float64).sum(axis=(0, 1)))
            return
        rows = seen.transpose(2, 3, 0, 1).reshape(*seen.shape[2:], -1)  # a copy
        gathered = self._rows.setdefault(at, [])
        gathered.append(rows * np.float32(weight**0.5))
        if sum(r.shape[2] for r in gathered) >= _ROWS:
            self._multiply(at)

    def _multiply(self, at: int) -> None:
        if not self._rows[at]:
            return
        rows = np.concatenate(self._rows[at], axis=2)
        self._rows[at] = []
        # of an array and its own transpose, BLAS makes half of what is symmetric only
        self._add(at, np.matmul(rows, rows.transpose(0, 2, 1)))

    def _add(self, at: int, made: np.ndarray) -> None:
        if at in self._sums:
            self._sums[at] += made
        else:
            self._sums[at] = made.astype(np.float64)


class PlaceSums:
    """Sums of squares of gradients over channels and draws, by item and place."""

    def __init__(self, site: Site, draws: int) -> None:
        """Add up for a layer.

        Args:
            site: The layer.
            draws: How often gradients of the same items come in a row.
        """
        self._site, self._draws, self._calls = site, draws, 0
        self._found: list[np.ndarray] = []
        self._numbers = 0

    def update(self, gradient: np.ndarray) -> None:
        """Take in gradients of the layer's output, of its shape, (items, ...)."""
        if self._numbers > _MOST_PLACES:
            return
        made = self._site.powers(gradient)
        if self._calls % self._draws == 0:
            self._found.append(made)
            self._numbers += made.size
        else:
            self._found[-1] += made
        self._calls += 1

    def total(self) -> tuple[np.ndarray, ...]:
        """Return the sums, one array (items, places), float32; none if they are of no use.

        That is so if there are too many to be kept, they differ in places, are 0 or not finite.
        """
        if self._numbers > _MOST_PLACES or len({made.shape[1] for made in self._found}) != 1:
            return ()
        whole = np.concatenate(self._found)
        return (whole,) if whole.any() and np.isfinite(whole).all() else ()
