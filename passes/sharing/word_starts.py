"""Words by expectation maximization, each block by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ocompress.lossy.fisher import alone

_EM_ROUNDS, _STILL = 24, 1e-3
"""Of expectation maximization, at most; and the share of its cost that one has to save."""
_LOOKED_AT = 1 << 14
"""Blocks from which the first words are drawn."""
_RIDGE = 1e-4


def split(matrix: np.ndarray, block: int) -> np.ndarray:
    """Return the blocks of a matrix (groups, inputs, outputs): (groups, blocks, outputs, block)."""
    groups, inputs, outputs = matrix.shape
    return np.moveaxis(matrix.reshape(groups, inputs // block, block, outputs), 2, 3)


def joined(blocks: np.ndarray) -> np.ndarray:
    """Return the matrix of what `split` returned."""
    groups, count, outputs, block = blocks.shape
    return np.ascontiguousarray(np.moveaxis(blocks, 3, 2)).reshape(groups, count * block, outputs)


@dataclass(frozen=True)
class BlockMetric:
    """What errors of blocks cost, each by itself.

    Attributes:
        grams: In blocks, (groups, blocks, block, block).
        outputs: In outputs, (groups, outputs).
    """

    grams: np.ndarray
    outputs: np.ndarray

    @classmethod
    def of(cls, hessian: np.ndarray, curvature: np.ndarray, block: int) -> BlockMetric:
        """Return what errors cost that all other inputs make up for as far as they can.

        Args:
            hessian: (groups, inputs, inputs).
            curvature: (groups, outputs, outputs) or (groups, outputs).
            block: Inputs of a block.
        """
        groups, inputs = hessian.shape[:2]
        count = inputs // block
        lifted = hessian.copy()
        diagonal = np.einsum("gii->gi", lifted)
        diagonal += _RIDGE * np.maximum(diagonal.mean(axis=1, keepdims=True), 1e-30)
        tiles = np.linalg.inv(lifted).reshape(groups, count, block, count, block)
        return cls(np.linalg.inv(np.einsum("gbibj->gbij", tiles)), alone(curvature))

    @classmethod
    def plain(cls, groups: int, blocks: int, outputs: int, block: int) -> BlockMetric:
        """Return the metric in which all weights count alike."""
        grams = np.broadcast_to(np.eye(block), (groups, blocks, block, block))
        return cls(grams, np.ones((groups, outputs)))

    def of_outputs(self, some: slice) -> BlockMetric:
        """Return the metric of some of the outputs."""
        return replace(self, outputs=self.outputs[:, some])

    def nearest(self, blocks: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the word next to each block, and what its error costs.

        Args:
            blocks: (groups, blocks, outputs, block).
            words: (words, block).

        Returns:
            Two arrays (groups, blocks, outputs).
        """
        codes = np.empty(blocks.shape[:3], np.intp)
        costs = np.empty(blocks.shape[:3])
        for at in np.ndindex(*blocks.shape[:2]):
            turned = words @ self.grams[at]
            power = (turned * words).sum(axis=1)
            mine = blocks[at]
            far = power - 2 * (mine @ turned.T)
            codes[at] = far.argmin(axis=1)
            own = ((mine @ self.grams[at]) * mine).sum(axis=1)
            costs[at] = np.take_along_axis(far, codes[at][:, None], 1)[:, 0] + own
        return codes, costs.clip(0) * self.outputs[:, None]

    def sums(
        self, blocks: np.ndarray, codes: np.ndarray, words: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what the best words for given codes solve: bend @ word = slope.

        Args:
            blocks: (groups, blocks, outputs, block).
            codes: Word of each, (groups, blocks, outputs).
            words: How many there are.

        Returns:
            Arrays (words, block, block) and (words, block).
        """
        groups, each, outputs = codes.shape
        block = blocks.shape[3]
        flat = (np.arange(groups * each)[:, None] * words + codes.reshape(-1, outputs)).reshape(-1)
        weights = np.broadcast_to(self.outputs[:, None], codes.shape).reshape(-1)
        sums = np.bincount(flat, weights, groups * each * words).reshape(-1, words)
        grams = self.grams.reshape(-1, block * block)
        bend = (sums.T @ grams).reshape(words, block, block)
        pulled = (blocks @ self.grams) * self.outputs[:, None, :, None]
        slope = [
            np.bincount(codes.reshape(-1), pulled[..., at].reshape(-1), words)
            for at in range(block)
        ]
        return bend, np.stack(slope, axis=1)


Layers = Sequence[tuple[np.ndarray, BlockMetric]]
"""Blocks of each layer, (groups, blocks, outputs, block), and what errors of them cost."""


def start(layers: Layers, count: int, seed: int) -> np.ndarray:
    """Return words by expectation maximization, weights counting as much as errors of them cost.

    Stock and others (And the Bit Goes Down, 2020) do so with the inputs' second moments; here what
    the outputs cost counts too. Words that no block takes are put beside the dearest ones.

    Args:
        layers: What the words are for; they may be of several layers.
        count: Words.
        seed: Draws.
    """
    rng = np.random.default_rng(seed)
    words = _drawn(layers, count, rng)
    before = np.inf
    for _ in range(_EM_ROUNDS):
        found = [metric.nearest(blocks, words) for blocks, metric in layers]
        total = float(sum(costs.sum() for _, costs in found))
        if total >= before * (1 - _STILL):
            break
        before = total
        words = _refilled(means(layers, [c for c, _ in found], words), layers, found)
    return words


def means(layers: Layers, codes: Sequence[np.ndarray], words: np.ndarray) -> np.ndarray:
    """Return the words with the least error for given codes; unused ones stay.

    Args:
        layers: What the words are for.
        codes: Word of each block, by layer.
        words: (words, block).
    """
    count, block = words.shape
    sums = [m.sums(b, c, count) for (b, m), c in zip(layers, codes, strict=True)]
    bend, slope = sum(s for s, _ in sums), sum(s for _, s in sums)
    assert isinstance(bend, np.ndarray)
    assert isinstance(slope, np.ndarray)
    level = np.einsum("kii->k", bend) / block
    used = level > 0
    found = words.copy()
    lifted = bend[used] + 1e-9 * level[used, None, None] * np.eye(block)
    found[used] = np.linalg.solve(lifted, slope[used, :, None])[..., 0]
    return found


def _drawn(layers: Layers, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw words among the blocks, in proportion to what they cost so far (k-means++)."""
    block = layers[0][0].shape[3]
    flat = np.concatenate([blocks.reshape(-1, block) for blocks, _ in layers])
    levels = np.concatenate(
        [
            (np.einsum("gbii->gb", m.grams)[:, :, None] * m.outputs[:, None]).reshape(-1)
            for _, m in layers
        ]
    )
    some = np.arange(len(flat))
    if len(some) > _LOOKED_AT:
        some = rng.choice(len(flat), _LOOKED_AT, replace=False)
    mean = np.concatenate([m.grams.reshape(-1, block, block) for _, m in layers]).mean(axis=0)
    whitened = flat[some] @ np.linalg.cholesky(mean / max(np.trace(mean), 1e-300))
    weights = levels[some] + 1e-12 * levels.mean()
    squares = np.square(whitened).sum(axis=1)
    chosen: list[int] = []
    for _ in range(min(count, len(some))):
        sums = np.cumsum(weights * squares)
        at = int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))
        chosen.append(min(at, len(some) - 1))
        far = np.square(whitened - whitened[chosen[-1]]).sum(axis=1)
        squares = np.minimum(squares, far) if len(chosen) > 1 else far
    return flat[some[chosen]].copy()


def _refilled(
    words: np.ndarray, layers: Layers, found: Sequence[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Make words that no block takes equal to blocks that cost most."""
    codes, costs = (
        np.concatenate([each.reshape(-1) for each in c]) for c in zip(*found, strict=True)
    )
    empty = np.flatnonzero(np.bincount(codes, minlength=len(words)) == 0)
    if len(empty):
        flat = np.concatenate([blocks.reshape(-1, words.shape[1]) for blocks, _ in layers])
        dearest = np.argsort(-costs, kind="stable")[: len(empty)]
        words[empty[: len(dearest)]] = flat[dearest]
    return words
