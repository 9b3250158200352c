"""Layers that read channels, as these go one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from ocompress.lossy.inverses import inverse_of, kind_of
from passes.pruning.obs import damped

if TYPE_CHECKING:
    from passes.pruning.channel_costs import Reader

_LATE = 256
"""Inputs that are gone before the matrix of those that are left hears of it: one large product
reads and writes it once."""


class State(Protocol):
    """A reader of which some channels are gone."""

    def matrix(self) -> np.ndarray:
        """Return the weights as they are now, (inputs, outputs)."""
        ...

    def scaled(self) -> np.ndarray:
        """Return the same, scaled as `Reader.scaled` does."""
        ...

    def scores(self) -> np.ndarray:
        """Return what taking each channel costs now, (channels,); 0 for those that are gone."""
        ...

    def take(self, channels: np.ndarray) -> None:
        """Remove channels, given by number, (removed,)."""
        ...


class Surgery:
    """A reader whose weights make up for the channels that went."""

    def __init__(self, reader: Reader) -> None:
        """Invert what errors cost."""
        inputs = len(reader.hessian)
        kind = kind_of(inputs)
        self._rows, self._plain = reader.rows, reader.plain
        self._there = self._rows >= 0
        self._gone = np.zeros(len(self._rows), bool)
        # of inputs that are left, or were when the inverse last heard of it: their numbers, the
        # places of all, which of them went since
        self._live, self._place = np.arange(inputs), np.arange(inputs)
        self._dead = np.zeros(inputs, bool)
        self._inverse = inverse_of(damped(reader.hessian[None])[0])
        self._factors, self._across = np.zeros((2, inputs, 0), kind)
        # weights of inputs that never vary say nothing, but a ridge would charge for them
        varies = np.diagonal(reader.hessian)[:, None] > 0
        self._matrix: np.ndarray = (reader.scaled() * varies).astype(kind)
        safe = self._rows.clip(0)
        blocks = self._inverse[safe[:, :, None], safe[:, None, :]].astype(np.float64)
        pairs = self._there[:, :, None] & self._there[:, None, :]
        self._blocks = np.where(pairs, blocks, np.eye(self._rows.shape[1]))

    def matrix(self) -> np.ndarray:
        """Return the weights as they are now, (inputs, outputs)."""
        return self._plain(self.scaled())

    def scaled(self) -> np.ndarray:
        """Return the same, scaled as `Reader.scaled` does."""
        found = np.zeros((len(self._place), self._matrix.shape[1]))
        found[self._live] = self._matrix
        return found

    def scores(self) -> np.ndarray:
        """Return what taking each channel costs now, (channels,)."""
        found, open_ = np.zeros(len(self._rows)), ~self._gone
        there = self._there[open_]
        weights = self._matrix[self._place[self._rows[open_].clip(0)]] * there[:, :, None]
        inner = (weights @ weights.transpose(0, 2, 1)).astype(np.float64)
        found[open_] = np.einsum("cii->c", np.linalg.solve(self._blocks[open_], inner))
        return found

    def take(self, channels: np.ndarray) -> None:
        """Remove channels, given by number, (removed,); the others compensate."""
        rows = self._rows[channels]
        rows = np.unique(rows[rows >= 0])
        self._gone[channels] = True
        if not rows.size:
            return
        at = self._place[rows]
        across = self._inverse[:, at] - self._factors @ self._across[at].T
        across[self._dead] = 0  # whatever rounding left between them and the rest
        block = across[at].astype(np.float64)
        factor = np.linalg.solve(block, across.T.astype(np.float64)).T.astype(across.dtype)
        self._matrix -= factor @ self._matrix[at]
        self._matrix[at] = 0
        self._dead[at] = True
        safe = self._place[self._rows.clip(0)]
        left, right = (part[safe] * self._there[:, :, None] for part in (factor, across))
        self._blocks -= left @ right.transpose(0, 2, 1)
        self._factors = np.hstack([self._factors, factor])
        self._across = np.hstack([self._across, across])
        if self._factors.shape[1] >= _LATE:
            self._tell()

    def _tell(self) -> None:
        """Let the inverse hear of what went."""
        left = ~self._dead
        inverse = self._inverse[np.ix_(left, left)]
        factors, across = self._factors[left], self._across[left]
        for start in range(0, len(inverse), _LATE):
            inverse[start : start + _LATE] -= factors[start : start + _LATE] @ across.T
        self._inverse, self._matrix = inverse, self._matrix[left]
        self._live, self._dead = self._live[left], self._dead[left]
        self._place[:] = 0  # nobody asks for those that are gone
        self._place[self._live] = np.arange(len(self._live))
        self._factors, self._across = np.zeros((2, len(inverse), 0), inverse.dtype)


class Missing:
    """A reader whose weights stay as they are."""

    def __init__(self, reader: Reader) -> None:
        """Begin with all channels."""
        self._rows = reader.rows
        self._matrix = reader.scaled()
        self._hessian = reader.hessian
        self._missing = np.zeros_like(self._matrix)
        self._plain = reader.matrix
        self._gone = np.zeros(len(reader.matrix), bool)

    def matrix(self) -> np.ndarray:
        """Return the weights that are left, (inputs, outputs)."""
        found: np.ndarray = np.where(self._gone[:, None], 0, self._plain)
        return found

    def scaled(self) -> np.ndarray:
        """Return the same, scaled as `Reader.scaled` does."""
        found: np.ndarray = np.where(self._gone[:, None], 0, self._matrix)
        return found

    def scores(self) -> np.ndarray:
        """Return by how much the error grows if each channel goes too, (channels,)."""
        safe, there = self._rows.clip(0), self._rows >= 0
        weights = np.where(there[:, :, None], self._matrix[safe], 0)
        blocks = self._hessian[safe[:, :, None], safe[:, None, :]]
        own = (weights * (blocks @ weights)).sum(axis=(1, 2))
        with_others = (weights * self._missing[safe]).sum(axis=(1, 2))
        found: np.ndarray = own + 2 * with_others
        return found

    def take(self, channels: np.ndarray) -> None:
        """Remove channels, given by number, (removed,)."""
        rows = self._rows[channels]
        rows = np.unique(rows[rows >= 0])
        self._gone[rows] = True
        self._missing += self._hessian[:, rows] @ self._matrix[rows]
