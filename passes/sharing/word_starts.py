"""Words by expectation maximization, each block by itself."""

from __future__ import annotations

from dataclasses import dataclass

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

    def means(self, blocks: np.ndarray, codes: np.ndarray, words: np.ndarray) -> np.ndarray:
        """Return the words with the least error for given codes; unused ones stay."""
        count, block = words.shape
        groups, each, outputs = codes.shape
        flat = (np.arange(groups * each)[:, None] * count + codes.reshape(-1, outputs)).reshape(-1)
        weights = np.broadcast_to(self.outputs[:, None], codes.shape).reshape(-1)
        sums = np.bincount(flat, weights, groups * each * count).reshape(-1, count)
        grams = self.grams.reshape(-1, block * block)
        bend = (sums.T @ grams).reshape(count, block, block)
        pulled = (blocks @ self.grams) * self.outputs[:, None, :, None]
        slope = np.stack(
            [
                np.bincount(codes.reshape(-1), pulled[..., at].reshape(-1), count)
                for at in range(block)
            ],
            axis=1,
        )
        level = np.einsum("kii->k", bend) / block
        used = level > 0
        found = words.copy()
        lifted = bend[used] + 1e-9 * level[used, None, None] * np.eye(block)
        found[used] = np.linalg.solve(lifted, slope[used, :, None])[..., 0]
        return found


def start(blocks: np.ndarray, metric: BlockMetric, count: int, seed: int) -> np.ndarray:
    """Return words by expectation maximization, weights counting as much as errors of them cost.

    Stock and others (And the Bit Goes Down, 2020) do so with the inputs' second moments; here what
    the outputs cost counts too. Words that no block takes are put beside the dearest ones.

    Args:
        blocks: (groups, blocks, outputs, block).
        metric: What errors cost.
        count: Words.
        seed: Draws.
    """
    rng = np.random.default_rng(seed)
    words = _drawn(blocks, metric, count, rng)
    before = np.inf
    for _ in range(_EM_ROUNDS):
        codes, costs = metric.nearest(blocks, words)
        total = float(costs.sum())
        if total >= before * (1 - _STILL):
            break
        before = total
        words = _refilled(metric.means(blocks, codes, words), blocks, codes, costs)
    return words


def _drawn(
    blocks: np.ndarray, metric: BlockMetric, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw words among the blocks, in proportion to what they cost so far (k-means++)."""
    block = blocks.shape[3]
    flat = blocks.reshape(-1, block)
    levels = np.einsum("gbii->gb", metric.grams)[:, :, None] * metric.outputs[:, None]
    some = np.arange(len(flat))
    if len(some) > _LOOKED_AT:
        some = rng.choice(len(flat), _LOOKED_AT, replace=False)
    mean = metric.grams.mean(axis=(0, 1))
    whitened = flat[some] @ np.linalg.cholesky(mean / max(np.trace(mean), 1e-300))
    weights = levels.reshape(-1)[some] + 1e-12 * levels.mean()
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
    words: np.ndarray, blocks: np.ndarray, codes: np.ndarray, costs: np.ndarray
) -> np.ndarray:
    """Make words that no block takes equal to blocks that cost most."""
    used = np.bincount(codes.reshape(-1), minlength=len(words)) > 0
    empty = np.flatnonzero(~used)
    if len(empty):
        dearest = np.argsort(-costs.reshape(-1), kind="stable")[: len(empty)]
        words[empty[: len(dearest)]] = blocks.reshape(-1, words.shape[1])[dearest]
    return words
