"""Choosing words of a random table for blocks of weights: what costs least."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.lossy.feedback import Feedback
from ocompress.lossy.fisher import across, alone
from passes.sharing.planes import short
from passes.sharing.quadratic import FINE, ROUGH, Quadratic, Share, fitted

ROUNDS, _STILL = 4, 5e-3
"""How often words and scales are fitted in turn, at most, and the part of the cost that a round
has to save for another one to follow."""
_MEAN = 0.95
"""Deviation of the words of a block over that of its weights, about, where they are chosen."""
_LEAST = 1 / 8
"""Part of its scale that an output keeps whose words would fit best with the other sign."""
_AT_ONCE = 1 << 22
"""Numbers that are looked at together."""


@dataclass(frozen=True)
class WordLayer:
    """A layer of words.

    Attributes:
        table: All words, float64 [words, length].
        chosen: The word of each block, (groups, input blocks, output blocks).
        scales: What words are multiplied by, (groups, outputs).
        tall: Whether a block is inputs of one output; else it is outputs of one input.
    """

    table: np.ndarray
    chosen: np.ndarray
    scales: np.ndarray
    tall: bool

    @property
    def levels(self) -> np.ndarray:
        """Return the words in their places, (groups, inputs, outputs)."""
        words = self.table[self.chosen]
        groups, rows, columns, length = words.shape
        if self.tall:
            words = words.transpose(0, 1, 3, 2).reshape(groups, rows * length, columns)
        return np.asarray(words.reshape(groups, -1, self.scales.shape[1]))

    @property
    def matrix(self) -> np.ndarray:
        """The weight, (groups, inputs, outputs)."""
        return np.asarray(self.levels * self.scales[:, None]) + 0.0


def solve(
    problem: Quadratic,
    table: np.ndarray,
    *,
    tall: bool,
    rounds: int = ROUNDS,
    unit: float | None = None,
) -> WordLayer:
    """Find words and scales of a layer that cost little.

    Blocks are taken in turn, the inputs that follow making up for each, as in optimal brain
    quantization; then scales are fitted in closed form and words changed to where they cost least,
    in turn.

    Args:
        problem: The layer; blocks divide its inputs or its outputs.
        table: Words, [words, length].
        tall: Whether a block is inputs of one output; else it is outputs of one input.
        rounds: How often words and scales are fitted in turn, at most.
        unit: What 1 of a word stands for, relative to the size of an output's weights; None for
            words as from a normal distribution.
    """
    power = problem.power()[:, :, None]
    total = np.maximum(power.sum(axis=1), 1e-300)
    scales = np.sqrt((np.square(problem.target) * power).sum(axis=1) / total)
    scales = short(np.maximum(scales, 1e-12) * (unit or _MEAN / table.std()))
    chosen = _fed_back(problem, table, scales, tall)
    found, cost = _rescaled(problem, WordLayer(table, chosen, scales, tall))
    for _ in range(rounds if problem.hessian is not None else 0):
        better, less = _rescaled(problem, _descended(problem, found))
        if less >= cost:
            break
        found, before, cost = better, cost, less
        if cost > (1 - _STILL) * before:
            break
    return min(((found, cost), _rescaled(problem, found, FINE)), key=lambda pair: pair[1])[0]


def _rescaled(
    problem: Quadratic, words: WordLayer, tolerance: float = ROUGH
) -> tuple[WordLayer, float]:
    groups, outputs = words.scales.shape
    index = np.arange(groups * outputs).reshape(groups, 1, outputs)
    given = (problem, [Share(index, words.levels)], words.scales.reshape(-1))
    scales = fitted(*given, tolerance).reshape(groups, outputs)
    # files have no scales below 0: they find words by steps that are not
    scales = short(np.where(scales > 0, scales, _LEAST * words.scales))
    found = WordLayer(words.table, words.chosen, scales, words.tall)
    return found, problem.cost(found.matrix)


def _fed_back(problem: Quadratic, table: np.ndarray, scales: np.ndarray, tall: bool) -> np.ndarray:
    """Return words taken block by block, the inputs that follow making up for errors."""
    groups, inputs, outputs = problem.target.shape
    step = table.shape[1] if tall else 1
    order = _order(problem, step)
    target, feedback = problem.target[:, order], None
    if problem.hessian is not None:
        feedback = Feedback.of(problem.hessian[:, order[:, None], order])
    sweep = None if feedback is None else feedback.sweep(target)
    width = outputs if tall else outputs // table.shape[1]
    chosen = np.empty((groups, inputs // step, width), np.int64)
    chooser = _Chooser.of(problem, table, scales, tall)
    within = np.broadcast_to(np.eye(step), (groups, step, step))
    for at in range(0, inputs, step):
        block = slice(at, at + step)
        if feedback is not None:
            within = np.broadcast_to(feedback.left_of(block), within.shape)
        wanted = target[:, block] if sweep is None else sweep.ahead(step)
        chosen[:, at // step] = chooser.best(wanted, None, within)
        values = _placed(table, chosen[:, at // step], tall) * scales[:, None]
        if sweep is not None:
            for row in range(step):
                sweep.give(at + row, values[:, row])
    back = np.empty_like(chosen)
    back[:, order[::step] // step] = chosen
    return back


def _order(problem: Quadratic, step: int) -> np.ndarray:
    """Return inputs, those of the blocks that cost most first."""
    power = problem.power().sum(axis=0).reshape(-1, step).sum(axis=1)
    blocks = np.argsort(-power, kind="stable")
    return np.asarray((blocks[:, None] * step + np.arange(step)).reshape(-1))


def _placed(table: np.ndarray, chosen: np.ndarray, tall: bool) -> np.ndarray:
    """Return the levels of the blocks of one row of blocks, (groups, inputs, outputs)."""
    words = table[chosen]
    return np.asarray(words.swapaxes(1, 2) if tall else words.reshape(len(words), 1, -1))


@dataclass(frozen=True)
class _Chooser:
    """Chooses words for rows of blocks.

    Attributes:
        table: Words, [words, length].
        scales: (groups, outputs).
        metric: What errors within a block of outputs cost, (groups, blocks, length, length); None
            if a block is inputs of one output.
        curve: The cost of each word of such a block, (groups, blocks, words).
    """

    table: np.ndarray
    scales: np.ndarray
    metric: np.ndarray | None = None
    curve: np.ndarray | None = None

    @staticmethod
    def of(problem: Quadratic, table: np.ndarray, scales: np.ndarray, tall: bool) -> _Chooser:
        """Return what chooses for a layer."""
        if tall:
            return _Chooser(table, scales)
        costs, length = problem.curvature, table.shape[1]
        groups, outputs = costs.shape[:2]
        blocks = outputs // length
        places = np.arange(outputs).reshape(blocks, length)
        if costs.ndim == 2:
            metric = costs.reshape(groups, blocks, length)[..., None] * np.eye(length)
        else:
            metric = costs[:, places[:, :, None], places[:, None]]
        sizes = scales.reshape(groups, blocks, length)
        scaled = metric * sizes[..., None] * sizes[..., None, :]
        curve = np.einsum("wi,gbij,wj->gbw", table, scaled, table, optimize=True)
        return _Chooser(table, scales, metric, curve)

    def best(self, wanted: np.ndarray, slope: np.ndarray | None, within: np.ndarray) -> np.ndarray:
        """Return the words that cost least, (groups, blocks).

        Args:
            wanted: A row of blocks, (groups, inputs, outputs).
            slope: Half of the gradient there by what outputs cost, of the same shape; None for 0.
            within: What errors of its inputs cost, (groups, inputs, inputs).
        """
        groups, length = len(wanted), self.table.shape[1]
        if self.metric is None or self.curve is None:
            lean = (within @ wanted if slope is None else within @ wanted - slope).swapaxes(1, 2)
            curve = np.einsum("wi,gij,wj->gw", self.table, within, self.table, optimize=True)
            sizes = np.where(self.scales, self.scales, 1.0)[:, :, None]
            return _least(lean / sizes, curve[:, None], self.table)
        whole = (self.metric @ wanted.reshape(groups, -1, length, 1))[..., 0]
        if slope is not None:
            whole -= slope.reshape(whole.shape) / within
        return _least(whole * self.scales.reshape(whole.shape), self.curve, self.table)


def _least(lean: np.ndarray, curve: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return which word has the least curve - 2 x lean, for each block.

    Args:
        lean: (groups, blocks, length).
        curve: (groups, blocks or 1, words).
        table: [words, length].
    """
    groups, blocks = lean.shape[:2]
    found = np.empty((groups, blocks), np.int64)
    curve = np.broadcast_to(curve, (groups, blocks, len(table)))
    each = max(1, _AT_ONCE // (groups * len(table)))
    for at in range(0, blocks, each):
        some = slice(at, at + each)
        found[:, some] = (curve[:, some] - 2 * (lean[:, some] @ table.T)).argmin(axis=2)
    return found


def _descended(problem: Quadratic, words: WordLayer) -> WordLayer:
    """Change the word of each block to where it costs least, the others as they are."""
    assert problem.hessian is not None
    table, tall = words.table, words.tall
    step = table.shape[1] if tall else 1
    matrix, chosen = words.matrix, words.chosen.copy()
    single = alone(problem.curvature)
    chooser = _Chooser.of(problem, table, words.scales, tall)
    for row in range(chosen.shape[1]):
        block = slice(row * step, row * step + step)
        seen = problem.hessian[:, block]
        within = seen[:, :, block]
        slope = across(seen @ (matrix - problem.target), problem.curvature)
        by_output = slope / single[:, None] if tall else slope
        best = chooser.best(matrix[:, block], by_output, within)
        by = _placed(table, best, tall) * words.scales[:, None] - matrix[:, block]
        taken = _together(by, slope, within, problem, chooser)
        chosen[:, row] = np.where(taken, best, chosen[:, row])
        each = taken[:, None] if tall else np.repeat(taken, table.shape[1], axis=1)[:, None]
        matrix[:, block] += by * each
    return WordLayer(table, chosen, words.scales, tall)


def _together(
    by: np.ndarray, slope: np.ndarray, within: np.ndarray, problem: Quadratic, chooser: _Chooser
) -> np.ndarray:
    """Return which blocks of a row change together, (groups, blocks), see `planes`."""
    groups = len(by)
    turned = within @ by
    width = 1 if chooser.metric is None else chooser.table.shape[1]
    bent = turned * alone(problem.curvature)[:, None]
    if chooser.metric is not None:
        bent = (chooser.metric @ turned.reshape(groups, -1, width, 1)).reshape(by.shape)
    gain = (by * (2 * slope + bent)).sum(axis=1).reshape(groups, -1, width).sum(axis=2)
    taken = gain < 0
    while taken.any():
        each = np.repeat(taken, width, axis=1)[:, None]
        seen = across(turned * each, problem.curvature)
        whole = float((by * each * (2 * slope + seen)).sum())
        if whole <= 0.5 * float((gain * taken).sum()):
            break
        fewer = taken & (gain < np.median(gain[taken]))
        taken = fewer if fewer.any() else np.zeros_like(taken)
    return np.asarray(taken)
