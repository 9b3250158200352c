"""Weights as sums of few signs: each output has a few numbers, and each weight signs of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_rows import MOST_INPUTS
from ocompress.lossy.feedback import Feedback
from ocompress.lossy.fisher import across, alone
from passes.sharing.quadratic import FINE, ROUGH, Quadratic, Share, fitted

ROUNDS, _STILL = 8, 2e-3
"""How often codes and scales are fitted in turn, at most, and the part of the cost that a round
has to save for another one to follow."""
_BLOCK = 64
"""Inputs whose slopes are updated one by one; the others follow block by block."""
_MANTISSA = 11
"""Bits of a scale: it is exact in float16, and sums of several are exact in float32."""
_LEAST_HALF, _MOST_HALF = 2.0**-10, 60000.0
"""Between these, the largest number has all its bits in float16, and others as many as matter."""
_FEWEST_OUTPUTS = 32
"""Outputs that share the numbers of inputs, at least."""
_MOST_BLIND = 1024
"""Inputs that get numbers without data, at most: a matrix of their pairs is made only for that."""
_OCTAVES = 6
"""Half octaves that inputs may differ from the median by, up and down."""
_SQUARE_ROOT = 23 / 16
"""About the square root of two, in so few bits that products with words are exact."""


def signs_of(planes: int) -> np.ndarray:
    """Return the words of so many signs, (2 ** planes, planes), those of code 0 all negative."""
    bits = np.arange(1 << planes)[:, None] >> np.arange(planes) & 1
    return np.asarray(2.0 * bits - 1)


TERNARY = np.array([[0.0], [1.0], [-1.0]])
"""The words of one sign or none; code 0 is zero."""


def columns_of(problem: Quadratic) -> np.ndarray | None:
    """Return what weights of each input are divided by to be alike: (1, inputs); None if they are.

    It takes half octaves about the median, which few bits say.

    Args:
        problem: The layer; one of several groups has none, and one of few outputs, because what
            they would take is not worth it.
    """
    groups, inputs, outputs = problem.target.shape
    most = MOST_INPUTS if problem.hessian is not None else _MOST_BLIND
    if groups > 1 or outputs < _FEWEST_OUTPUTS or inputs > most:
        return None
    sizes = np.sqrt(np.square(problem.target).mean(axis=2))
    level = float(np.median(sizes[sizes > 0])) if sizes.any() else 0.0
    if level <= 0:
        return None
    half = np.rint(2 * np.log2(np.maximum(sizes / level, 1e-9))).clip(-_OCTAVES, _OCTAVES)
    found = np.exp2(half // 2) * np.where(half % 2, _SQUARE_ROOT, 1.0)
    return found if (found != found[0, 0]).any() else None


def by_columns(problem: Quadratic, columns: np.ndarray) -> Quadratic:
    """Return the same layer for weights that are divided by a number for each input.

    Args:
        problem: The layer.
        columns: (groups, inputs).
    """
    hessian = problem.hessian
    if hessian is None:
        hessian = np.square(columns)[:, :, None] * np.eye(columns.shape[1])
    else:
        hessian = columns[:, :, None] * hessian * columns[:, None]
    return Quadratic(problem.target / columns[:, :, None], hessian, problem.curvature)


@dataclass(frozen=True)
class Signed:
    """A layer in words.

    Attributes:
        words: Signs of each word, (words, planes).
        scales: What signs of a plane are multiplied by, (groups, planes, outputs).
        codes: The word of each weight, (groups, inputs, outputs).
    """

    words: np.ndarray
    scales: np.ndarray
    codes: np.ndarray

    @property
    def table(self) -> np.ndarray:
        """What each word stands for, (groups, words, outputs)."""
        return np.asarray(self.words @ self.scales)

    @property
    def matrix(self) -> np.ndarray:
        """The weight, (groups, inputs, outputs)."""
        return np.take_along_axis(self.table, self.codes, axis=1) + 0.0


def solve(
    problem: Quadratic,
    words: np.ndarray,
    free: np.ndarray | None = None,
    rounds: int = ROUNDS,
) -> Signed:
    """Find words and scales of a layer that cost little.

    Two starts are tried: the nearest words, and words that are taken input by input while the
    inputs that follow make up for the errors, as in optimal brain quantization (Frantar et al.,
    2022). From the better one, scales are fitted in closed form and words changed one by one to
    where they cost least, in turn.

    Args:
        problem: The layer.
        words: Signs of each word, (words, planes).
        free: Which weights may have another code than 0; None for all.
        rounds: How often scales and words are changed in turn, at most.
    """
    scales = _residual_scales(problem, words)
    starts = [nearest(problem.target, words @ scales)]
    if problem.hessian is not None:
        starts.append(_fed_back(problem, words @ scales))
    found = None
    for codes in starts:
        kept = codes if free is None else codes * free
        coded, cost = _rescaled(problem, Signed(words, scales, kept))
        if found is None or cost < found[1]:
            found = coded, cost
    assert found is not None
    coded, cost = found
    for _ in range(rounds):
        moved = _descended(problem, coded, free)
        better, less = _rescaled(problem, moved)
        if less >= cost:
            break
        coded, before, cost = better, cost, less
        if cost > (1 - _STILL) * before:
            break
    return min(((coded, cost), _rescaled(problem, coded, FINE)), key=lambda pair: pair[1])[0]


def short(scales: np.ndarray) -> np.ndarray:
    """Round numbers to so few bits that float16 has them, and that sums of a few are exact.

    Where float16 would lose more of the larger ones, only their bits are as few.
    """
    largest = float(np.abs(scales).max(initial=0.0))
    if _LEAST_HALF < largest < _MOST_HALF:
        return scales.astype(np.float16).astype(np.float64)
    mantissa, exponent = np.frexp(scales)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, _MANTISSA)), exponent - _MANTISSA))


def nearest(wanted: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return the word next to each number, (groups, inputs, outputs).

    Args:
        wanted: (groups, inputs, outputs).
        table: (groups, words, outputs).
    """
    least = np.full(wanted.shape, np.inf)
    codes = np.zeros(wanted.shape, np.int64)
    for at in range(table.shape[1]):
        off = np.abs(wanted - table[:, at, None])
        better = off < least
        codes[better], least = at, np.minimum(off, least)
    return codes


def _residual_scales(problem: Quadratic, words: np.ndarray) -> np.ndarray:
    """Return scales plane by plane, each for what those before it leave; or the ternary one."""
    weights, left = problem.power()[:, :, None], np.abs(problem.target)
    if len(words) == len(TERNARY):
        return _ternary_scale(left, weights)
    total = np.maximum(weights.sum(axis=1), 1e-300)
    scales = []
    for _ in range(words.shape[1]):
        scales.append((left * weights).sum(axis=1) / total)
        left = np.abs(left - scales[-1][:, None])
    return np.stack(scales, axis=1)


def _ternary_scale(sizes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the scale of the weights above the threshold that costs least, by trying them all."""
    order = np.argsort(-sizes, axis=1)
    each = np.take_along_axis(np.broadcast_to(weights, sizes.shape), order, axis=1)
    above = np.cumsum(np.take_along_axis(sizes, order, axis=1) * each, axis=1)
    count = np.maximum(np.cumsum(each, axis=1), 1e-300)
    best = (np.square(above) / count).argmax(axis=1)[:, None]
    taken = [np.take_along_axis(sums, best, axis=1) for sums in (above, count)]
    return np.asarray(taken[0] / taken[1])


def _fed_back(problem: Quadratic, table: np.ndarray) -> np.ndarray:
    """Return words taken input by input, what is left of the inputs making up for each."""
    assert problem.hessian is not None
    order = np.argsort(-problem.power().sum(axis=0), kind="stable")
    feedback = Feedback.of(problem.hessian[:, order[:, None], order])
    sweep = feedback.sweep(problem.target[:, order])
    codes = np.empty(problem.target.shape, np.int64)
    for at in range(len(order)):
        codes[:, at] = nearest(sweep.wanted[:, at, None], table)[:, 0]
        sweep.give(at, np.take_along_axis(table, codes[:, at, None], axis=1)[:, 0])
    back = np.empty_like(codes)
    back[:, order] = codes
    return back


def _rescaled(problem: Quadratic, coded: Signed, tolerance: float = ROUGH) -> tuple[Signed, float]:
    """Fit the scales of given codes; return what they cost, too."""
    groups, planes, outputs = coded.scales.shape
    index = np.arange(groups * outputs).reshape(groups, 1, outputs)
    shares = [
        Share(index + at * groups * outputs, coded.words[:, at][coded.codes])
        for at in range(planes)
    ]
    start = coded.scales.transpose(1, 0, 2).reshape(-1)
    given = (problem, shares, start)
    numbers = fitted(*given, tolerance)
    scales = short(numbers.reshape(planes, groups, outputs).transpose(1, 0, 2))
    found = Signed(coded.words, scales, coded.codes)
    return found, problem.cost(found.matrix)


def _descended(problem: Quadratic, coded: Signed, free: np.ndarray | None) -> Signed:
    """Change every code to where it costs least, the others as they are, input by input."""
    table, codes = coded.table, coded.codes.copy()
    matrix = coded.matrix
    if problem.hessian is None and problem.curvature.ndim == 2:
        codes = nearest(problem.target, table)
        return Signed(coded.words, coded.scales, codes if free is None else codes * free)
    power, single = problem.power(), alone(problem.curvature)
    inputs = matrix.shape[1]
    for start in range(0, inputs, _BLOCK):
        block = slice(start, min(start + _BLOCK, inputs))
        off = matrix - problem.target
        if problem.hessian is None:
            within = power[:, block, None] * np.eye(block.stop - start)
            slope = across(off[:, block], problem.curvature)
        else:
            within = problem.hessian[:, block, block]
            slope = across(problem.hessian[:, block] @ off, problem.curvature)
        for at in range(block.stop - start):
            place = start + at
            bend = np.maximum(power[:, place, None] * single, 1e-300)
            wanted = matrix[:, place] - slope[:, at] / bend
            best = nearest(wanted[:, None], table)[:, 0]
            if free is not None:
                best *= free[:, place]
            by = np.take_along_axis(table, best[:, None], axis=1)[:, 0] - matrix[:, place]
            taken, across_by = _together(by, slope[:, at], bend, power[:, place], problem)
            if across_by is None:
                continue
            codes[:, place] = np.where(taken, best, codes[:, place])
            matrix[:, place] += by * taken
            slope += within[:, :, at, None] * across_by[:, None]
    return Signed(coded.words, coded.scales, codes)


def _together(
    by: np.ndarray, slope: np.ndarray, bend: np.ndarray, power: np.ndarray, problem: Quadratic
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return which outputs of one input change together, and what that does to the slopes.

    Outputs make up for one another: where all changes together do not pay, the half that gains
    most by itself is looked at, and half of that.

    Args:
        by: What each output would change by, (groups, outputs).
        slope: Half of the gradient, of the same shape.
        bend: Half of its derivative.
        power: What errors of the input cost, (groups,).
        problem: The layer.
    """
    gain = by * (2 * slope + bend * by)
    taken = gain < 0
    while taken.any():
        change = by * taken
        seen = across(change[:, None], problem.curvature)[:, 0]
        whole = float((2 * change * slope + power[:, None] * change * seen).sum())
        alone_gain = float((gain * taken).sum())
        if whole <= 0.5 * alone_gain:
            return taken, seen
        least = np.median(gain[taken])
        fewer = taken & (gain < least)
        taken = fewer if fewer.any() else np.zeros_like(taken)
    return taken, None
