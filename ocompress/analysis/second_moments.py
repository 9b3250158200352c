"""Second moments of activations, which weigh the errors of the weights they meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.analysis.statistics import Accumulator, Wish


@dataclass(frozen=True)
class SecondMoments(Wish):
    """Asks for the mean of 2 x x^T over all rows x of a value, the last axis being a row.

    That is the Hessian, up to a constant, of the squared output error of a matrix product by
    its weights.

    Attributes:
        rows: Rows of a batch that count, spread evenly over it; bounds the time of a batch.
    """

    rows: int = 4096

    def start(self) -> Accumulator:
        """Make a fresh accumulator."""
        return SecondMomentsAccumulator(self.rows)


class SecondMomentsAccumulator(Accumulator):
    """Sums in float32, 4 * inputs^2 bytes, however many batches come."""

    def __init__(self, rows: int) -> None:
        """Start with nothing seen."""
        self._rows = rows
        self._sum: np.ndarray | None = None
        self._count = 0
        self._finite = True

    def update(self, batch: np.ndarray) -> None:
        """Take in one batch; one whose last extent differs from the first is ignored."""
        if batch.size == 0 or batch.ndim == 0:
            return
        rows = batch.reshape(-1, batch.shape[-1])
        step = -(-len(rows) // self._rows)
        if step > 1:
            step += 1 - step % 2  # odd, so that it visits even and odd positions alike
        sample = rows[::step].astype(np.float32, copy=False)
        if not np.isfinite(sample).all():
            self._finite = False
            return
        if self._sum is None:
            self._sum = np.zeros((sample.shape[1],) * 2, np.float32)
        if self._sum.shape[0] == sample.shape[1]:
            self._sum += sample.T @ sample
            self._count += len(sample)

    def result(self) -> np.ndarray | None:
        """Return the moments, float32 of shape (inputs, inputs).

        None if nothing was seen, or something that is not finite.
        """
        if self._sum is None or not self._finite:
            return None
        self._sum *= np.float32(2.0 / self._count)
        return self._sum
