"""Words that several layers share: whole numbers, with a scale for each output of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ocompress.lossy.layer_weights import LayerWeight
from passes.sharing.planes import short
from passes.sharing.word_starts import BlockMetric, joined, split, start

_LARGEST = 127
"""Magnitude of a number of a word: files hold it in 8 bits."""


@dataclass(frozen=True, eq=False)
class CommonWords:
    """Words of several layers.

    Attributes:
        table: Whole numbers up to 127, float64 [words, block].
        unit: What a number is worth, relative to the size of an output's weights.
    """

    table: np.ndarray
    unit: float

    def nearest(self, matrix: np.ndarray, metric: BlockMetric | None) -> tuple[np.ndarray, int]:
        """Return a weight in words, each block by itself, and how many words it has.

        Args:
            matrix: (groups, inputs, outputs).
            metric: What errors cost; None if all cost alike.
        """
        blocks = split(matrix, self.table.shape[1])
        scales = short(self.unit * sizes(blocks, metric))[:, None, :, None]
        own, scaled = _in_sizes(blocks, metric, scales)
        codes, _ = scaled.nearest(own, self.table)
        return np.asarray(joined(self.table[codes] * scales)), len(np.unique(codes))


def may_share(weight: LayerWeight) -> bool:
    """Whether outputs of a weight are rows or columns, to each of which files give a scale."""
    axis = weight.form.out_axis
    if weight.array.dtype != np.float32:  # float16 would round products
        return False
    return axis == 0 or weight.array.ndim == 2


def sizes(blocks: np.ndarray, metric: BlockMetric | None) -> np.ndarray:
    """Return how large the weights of outputs are, (groups, outputs), by what errors cost."""
    if metric is None:
        power = np.square(blocks).mean(axis=(1, 3))
    else:
        turned = np.einsum("gboi,gbij,gboj->go", blocks, metric.grams, blocks, optimize=True)
        power = turned / np.maximum(np.einsum("gbii->g", metric.grams), 1e-300)[:, None]
    found = np.sqrt(power)
    least = 1e-6 * max(float(found.max(initial=0.0)), 1e-30)
    return np.asarray(np.maximum(found, least))


def common_words(
    layers: Sequence[tuple[np.ndarray, BlockMetric | None]], block: int, count: int, seed: int
) -> tuple[CommonWords, list[float]]:
    """Return words for several layers, and what each layer costs with them, its blocks singly.

    Args:
        layers: Weights, (groups, inputs, outputs), and what errors of them cost.
        block: Weights of a word.
        count: Words.
        seed: Draws.
    """
    given = []
    for matrix, metric in layers:
        blocks = split(matrix, block)
        given.append(_in_sizes(blocks, metric, sizes(blocks, metric)[:, None, :, None]))
    words = start(given, count, seed)
    unit = max(float(np.abs(words).max(initial=0.0)), 1e-30) / _LARGEST
    table = primitive(words / unit)
    costs = [float(m.nearest(b, table * unit)[1].sum()) for b, m in given]
    return CommonWords(table, unit), costs


def _in_sizes(
    blocks: np.ndarray, metric: BlockMetric | None, scales: np.ndarray
) -> tuple[np.ndarray, BlockMetric]:
    """Return blocks in units of their outputs' scales, (groups, 1, outputs, 1), and a metric."""
    metric = metric or BlockMetric.plain(*blocks.shape)
    units = np.where(scales, scales, 1.0)
    outputs = metric.outputs * np.square(units[:, 0, :, 0])
    return np.asarray(blocks / units), replace(metric, outputs=outputs)


def primitive(words: np.ndarray) -> np.ndarray:
    """Round words so that the numbers of each have no factor in common, unless all are zero.

    So a scale is found again by looking at the weights alone: it is the largest that fits.
    """
    table = np.rint(words).astype(np.int64)
    for at in np.flatnonzero(np.gcd.reduce(table, axis=1) > 1):
        table[at] = _primitive(table[at], words[at] - table[at])
    return np.asarray(table, np.float64)


def _primitive(word: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Return a word with one number moved by one, where that costs least by what is off so far."""
    for place in np.argsort(-np.abs(off), kind="stable"):
        for step in (1, -1) if off[place] > 0 else (-1, 1):
            moved = word.copy()
            moved[place] += step
            if abs(moved[place]) <= _LARGEST and np.gcd.reduce(moved) == 1:
                return moved
    moved = word.copy()
    moved[np.abs(word).argmin()] = 1
    return moved
