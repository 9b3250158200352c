"""Codebooks: words of a few neighbouring weights, and which word each block of a layer is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from passes.sharing.layer_problem import LayerProblem, cost_of, in_parts
from passes.sharing.shared_values import fitted_values
from passes.sharing.word_starts import BlockMetric, joined, split, start

_PARTS = 16
_TIMES, _ROUNDS = 2, 3
"""How often all starts anew, and how often words and choices of words take turns each time."""
_STEPS, _LAST_STEPS = 12, 60
"""Of conjugate gradients for words, in between and at last."""


@dataclass(frozen=True)
class CodedLayer:
    """A layer made of words.

    Attributes:
        words: (words, block), float64.
        codes: Word of each block, (groups, blocks, outputs).
        idle: Blocks that stay zero, of the same shape; they have the first word, which is zero.
            None if there are none.
    """

    words: np.ndarray
    codes: np.ndarray
    idle: np.ndarray | None = None

    @property
    def matrix(self) -> np.ndarray:
        """The weight, (groups, inputs, outputs), float64."""
        return joined(self.words[self.codes])


def encode(
    problem: LayerProblem, block: int, count: int, seed: int = 0
) -> tuple[CodedLayer, float]:
    """Make a layer of words.

    Blocks of inputs get their words in parts, and what is left is fitted after each. Then words, in
    closed form, and choices of words, one block at a time, take turns: neither can make the error
    larger. With the words that this found, it begins again.

    Args:
        problem: The layer; blocks of zeros stay so, other zeros need not.
        block: Inputs of a block.
        count: Words.
        seed: Draws.

    Returns:
        The layer, and what it costs at the model's outputs.
    """
    metric = BlockMetric.of(problem.hessian, problem.curvature, block)
    blocks, idle = split(problem.target, block), idle_blocks(problem.free, block)
    if idle is not None:
        blocks = np.where(idle[..., None], 0.0, blocks)
    words = with_zero(start([(blocks, metric)], count, seed), idle)
    best: tuple[CodedLayer, float] | None = None
    for _ in range(_TIMES):
        coded = _in_parts(problem, metric, words, idle)
        for _ in range(_ROUNDS):
            coded = refitted(problem, coded, _STEPS)
            if not _descend(problem, coded):
                break
        coded = refitted(problem, coded, _LAST_STEPS)
        off = coded.matrix - problem.target
        error = cost_of(problem.hessian, problem.curvature, off)
        if best is not None and error >= best[1]:
            break
        best, words = (coded, error), coded.words
    assert best is not None
    return best


def idle_blocks(free: np.ndarray, block: int) -> np.ndarray | None:
    """Return the blocks of zeros only, bool (groups, blocks, outputs); None if there are none.

    Args:
        free: Which weights are not zero, (groups, inputs, outputs).
        block: Inputs of a block.
    """
    found = np.asarray(~split(free, block).any(axis=3))
    return found if found.any() else None


def with_zero(words: np.ndarray, idle: np.ndarray | None) -> np.ndarray:
    """Return words the first of which is zero, if some blocks are to have that."""
    if idle is None:
        return words
    least = int(np.square(words).sum(axis=1).argmin())
    found = np.concatenate([words[least : least + 1], np.delete(words, least, axis=0)])
    found[0] = 0.0
    return found


def _in_parts(
    problem: LayerProblem, metric: BlockMetric, words: np.ndarray, idle: np.ndarray | None
) -> CodedLayer:
    """Choose a word for each block, in parts of the inputs, what is left fitted after each."""
    count, block = problem.target.shape[1] // words.shape[1], words.shape[1]
    groups, _, outputs = problem.target.shape
    codes = np.zeros((groups, count, outputs), np.intp)

    def place(matrix: np.ndarray, taken: np.ndarray) -> np.ndarray:
        own = taken[::block] // block
        part = replace(metric, grams=metric.grams[:, own])
        found, _ = part.nearest(split(matrix[:, taken], block), words)
        codes[:, own] = found if idle is None else np.where(idle[:, own], 0, found)
        return joined(words[codes[:, own]])

    order = np.random.default_rng(0).permutation(count)
    rows = order[:, None] * block + np.arange(block)
    parts = [p.reshape(-1) for p in np.array_split(rows, min(_PARTS, len(rows)))]
    mask = np.ones(problem.target.shape, bool)
    if idle is not None:
        mask = joined(np.repeat(~idle[..., None], block, axis=3))
    in_parts(problem, mask, parts, place)
    return CodedLayer(words, codes, idle)


def refitted(problem: LayerProblem, coded: CodedLayer, steps: int) -> CodedLayer:
    """Return the words with the least error for given codes."""
    block = coded.words.shape[1]
    own = joined(coded.codes[..., None] * block + np.arange(block))
    moves = np.ones(coded.words.size, bool)
    if coded.idle is not None:
        moves[:block] = False
    values = fitted_values(problem, coded.words.reshape(-1), own, moves, steps)
    return replace(coded, words=values.reshape(coded.words.shape))


def chosen_anew(problem: LayerProblem, coded: CodedLayer) -> CodedLayer:
    """Return a layer whose blocks have moved to where they are best, as the words are by now."""
    moved = replace(coded, codes=coded.codes.copy())
    _descend(problem, moved)
    return moved


def _descend(problem: LayerProblem, coded: CodedLayer) -> int:
    """Choose the best word for each block in turn, given all others; return how many moved."""
    block = coded.words.shape[1]
    off = coded.matrix - problem.target
    moved = 0
    for group in range(len(off)):
        for at in range(coded.codes.shape[1]):
            rows = slice(at * block, (at + 1) * block)
            seen = problem.hessian[group, rows] @ off[group]
            curvature = problem.curvature[group]
            slope = seen @ curvature if curvature.ndim == 2 else seen * curvature
            gram = problem.hessian[group, rows, rows]
            moved += _choose(off[group, rows], coded, (group, at), slope, gram, curvature)
    return moved


def _choose(
    off: np.ndarray,
    coded: CodedLayer,
    at: tuple[int, int],
    slope: np.ndarray,
    gram: np.ndarray,
    curvature: np.ndarray,
) -> int:
    """Choose the words of one block of inputs for all outputs, one after the other.

    Args:
        off: Errors of the block, (block, outputs); changed in place.
        coded: Whose codes are changed in place.
        at: Group and block.
        slope: Half of what the cost grows by with each error, (block, outputs).
        gram: What errors in the block do, (block, block).
        curvature: What errors of outputs cost, (outputs, outputs) or (outputs,).

    Returns:
        How many moved.
    """
    words, codes = coded.words, coded.codes[at]
    single = np.diagonal(curvature) if curvature.ndim == 2 else curvature
    turned = words @ gram
    power = (turned * words).sum(axis=1)

    def apart(codes: np.ndarray) -> np.ndarray:
        found: np.ndarray = power - 2 * (turned[codes] @ words.T) + power[codes][:, None]
        return found

    along = slope.T @ words.T
    here = np.take_along_axis(along, codes[:, None], 1)
    gains = 2 * (along - here) + single[:, None] * apart(codes)
    best = gains.min(axis=1)
    if coded.idle is not None:
        best = np.where(coded.idle[at], 0.0, best)
    moved = 0
    for output in np.argsort(best, kind="stable"):
        if best[output] >= 0:
            break
        now, gain = codes[output], gains[output]
        if curvature.ndim == 2 and moved:  # others that moved changed what it is worth
            pull = words @ slope[:, output]
            gain = 2 * (pull - pull[now]) + single[output] * apart(codes[output : output + 1])[0]
        word = int(gain.argmin())
        if gain[word] >= -1e-12 * abs(best[output]):
            continue
        off[:, output] += words[word] - words[now]
        codes[output] = word
        moved += 1
        if curvature.ndim == 2:
            slope += np.outer(turned[word] - turned[now], curvature[output])
    return moved
