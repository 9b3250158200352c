"""The normal equations of one factor while the others are fixed, as small as they can be written.

The error of a form A is tr((W - A)^T M (W - A)), M the metric of the inputs. To try a factor in it
takes a product of M with a tensor of all outputs. But the equations do not need the outputs. Those
of a factor that alone has them fall apart, output by output, into the same matrix: M as the other
factors see it. Those of a factor that has none need products of pairs of the others alone, summed
over the outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from passes.factorization.preconditioning import Apply
from passes.factorization.problem import AXES, PAIRWISE, Problem

OUTPUTS = "n"
_DAMPING = 1e-11
_LARGEST = 6.0
"""Work of taking a matrix apart, relative to a product with the metric, up to which that pays."""


_LESS = 0.7
"""Part of the work of a product with the metric that another way to an error takes at most."""


@dataclass(frozen=True)
class Solved:
    """A factor that leaves the least error while the others are fixed.

    Attributes:
        factor: The factor.
        before: The error that there was.
        after: The error that is left.
    """

    factor: np.ndarray
    before: float
    after: float


@dataclass(frozen=True)
class _Letters:
    """Axes of a factor and of what the others make: its own inputs, its ranks, other inputs."""

    own: str
    ranks: str
    rest: str

    @staticmethod
    def of(problem: Problem, term: str) -> _Letters:
        inputs = AXES[: problem.tensor.ndim - 1]
        own = "".join(x for x in inputs if x in term)
        ranks = "".join(x for x in term if x not in AXES and x != OUTPUTS)
        return _Letters(own, ranks, "".join(x for x in inputs if x not in term))


@dataclass(frozen=True)
class _Split:
    """A factor whose equations are the same for each place of one of its axes.

    Attributes:
        across: Letter of that axis: the outputs, or the only axis that leads to them.
        behind: What leads to them, as a position; None if the axis is theirs.
        before: Positions of the other factors, which see inputs.
        names: Letters of the other axes.
    """

    across: str
    behind: int | None
    before: Sequence[int]
    names: _Letters

    @staticmethod
    def of(problem: Problem, terms: Sequence[str], at: int) -> _Split | None:
        term, others = terms[at], [i for i in range(len(terms)) if i != at]
        behind = None
        if OUTPUTS not in term:
            behind = next(
                (i for i in others if terms[i][:-1] in [*term] and OUTPUTS in terms[i]), -1
            )
            if behind < 0:
                return None
            others.remove(behind)
        across = OUTPUTS if behind is None else terms[behind][:-1]
        names = _Letters.of(problem, term.replace(across, ""))
        if any(x in terms[i] for i in others for x in names.own + across + OUTPUTS):
            return None
        return _Split(across, behind, others, names)


def solvable(
    problem: Problem, terms: Sequence[str], factors: Sequence[np.ndarray], at: int
) -> bool:
    """Whether `solved` knows the best factor: no other one has its inputs, and it is not too large.

    Args:
        problem: What is approximated.
        terms: Letters of the axes of each factor.
        factors: The factors.
        at: Which one is meant.
    """
    split = _Split.of(problem, terms, at)
    if split is None:
        return False
    size = float(factors[at].size) / factors[at].shape[terms[at].index(split.across)]
    return bool(size**3 <= _LARGEST * len(problem.matrix) * float(problem.matrix.size))


def solved(
    problem: Problem, terms: Sequence[str], factors: Sequence[np.ndarray], at: int
) -> Solved:
    """Return the best factor with the others fixed, by one factorization.

    Args:
        problem: What is approximated.
        terms: Letters of the axes of each factor.
        factors: The factors.
        at: Which one is solved for; it has to be `solvable`.
    """
    found = _equations(problem, terms, factors, at)
    normal, pairs, left = found.normal, found.pairs, found.left
    # to solve for the change makes the error no larger, however much the damping keeps
    change = np.linalg.solve(_damped(normal), left)
    if pairs is not None:
        change = np.linalg.solve(_damped(pairs), change.T).T
    after = found.error - float((change * (2 * left - _times(normal @ change, pairs))).sum())
    factor = (found.flat + change).reshape(found.shape).transpose(np.argsort(found.turned))
    return Solved(factor, max(0.0, found.error), max(0.0, after))


def error_of(problem: Problem, terms: Sequence[str], factors: Sequence[np.ndarray]) -> float:
    """Return what factors cost, without making the tensor where the last one's equations are less.

    Args:
        problem: What is approximated.
        terms: Letters of the axes of each factor.
        factors: The factors.
    """
    last = len(terms) - 1
    split = _Split.of(problem, terms, last)
    if split is not None and split.behind is None:
        inputs, outputs = problem.matrix.shape
        size = factors[last].size // outputs
        own = int(np.prod([problem.tensor.shape[AXES.index(x)] for x in split.names.own]))
        if size // own * (inputs + size) < _LESS * inputs * outputs:
            return max(0.0, _equations(problem, terms, factors, last).error)
    shown = f"{','.join(terms)}->{AXES[: problem.tensor.ndim - 1]}{OUTPUTS}"
    return problem.error(np.einsum(shown, *factors, optimize=PAIRWISE))


@dataclass(frozen=True)
class _Equations:
    """What the equations of a factor are, with its axes in another order.

    Attributes:
        normal: (ranks times own inputs) squared, what they make of each output.
        pairs: What they make of pairs of outputs; None if these are apart.
        flat: The factor as it is, (ranks times own inputs, outputs).
        left: What the factor lacks to fulfil them.
        error: What it costs.
        shape: Its extents in that order of axes.
        turned: Which axis is at each place.
    """

    normal: np.ndarray
    pairs: np.ndarray | None
    flat: np.ndarray
    left: np.ndarray
    error: float
    shape: tuple[int, ...]
    turned: Sequence[int]


def _equations(
    problem: Problem, terms: Sequence[str], factors: Sequence[np.ndarray], at: int
) -> _Equations:
    split = _Split.of(problem, terms, at)
    assert split is not None
    names, term = split.names, terms[at]
    seen = np.ones(())
    if split.before:
        shown = f"{','.join(terms[i] for i in split.before)}->{names.rest + names.ranks}"
        seen = np.einsum(shown, *(factors[i] for i in split.before), optimize=PAIRWISE)
    ranks = int(np.prod(seen.shape[len(names.rest) :]))
    normal, wanted = _seen_through(problem, names, seen.reshape(-1, ranks))
    turned = [term.index(x) for x in names.ranks + names.own + split.across]
    start = factors[at].transpose(turned)
    flat = start.reshape(len(normal), -1)
    pairs = None
    if split.behind is not None:
        behind = factors[split.behind]
        wanted, pairs = wanted @ behind.T, behind @ behind.T
    left = wanted - _times(normal @ flat, pairs)
    error = problem.power() - float((flat * (wanted + left)).sum())
    return _Equations(normal, pairs, flat, left, error, start.shape, turned)


def _times(array: np.ndarray, pairs: np.ndarray | None) -> np.ndarray:
    return array if pairs is None else array @ pairs


def _damped(normal: np.ndarray) -> np.ndarray:
    level = max(_DAMPING * float(np.trace(normal)) / len(normal), 1e-300)
    found: np.ndarray = normal + level * np.eye(len(normal))
    return found


def _seen_through(
    problem: Problem, names: _Letters, seen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrix of the equations of each output, and what they are to give.

    Args:
        problem: What is approximated.
        names: Axes of the factor.
        seen: What the others make, (other inputs, ranks).

    Returns:
        (ranks times own inputs) squared, and (ranks times own inputs, outputs).
    """
    rest, ranks = seen.shape
    own = len(problem.matrix) // rest
    drawn = problem.turned(problem.drawn, names.rest + names.own)
    wanted = (seen.T @ drawn.reshape(rest, -1)).reshape(ranks * own, -1)
    if problem.metric is None:
        normal = np.einsum("rs,op->rosp", seen.T @ seen, np.eye(own))
        return normal.reshape(ranks * own, -1), wanted
    metric = problem.metric_by(names.rest + names.own)
    half = (seen.T @ metric.reshape(rest, -1)).reshape(ranks * own, rest, own)
    normal = np.tensordot(half, seen, (1, 0)).reshape(ranks, own, own, ranks)
    normal = normal.transpose(0, 1, 3, 2).reshape(ranks * own, -1)
    return (normal + normal.T) / 2, wanted


def pairs_of(
    problem: Problem, terms: Sequence[str], factors: Sequence[np.ndarray], at: int, steps: int
) -> tuple[Apply, np.ndarray] | None:
    """Return what the normal equations make of a factor that has no outputs.

    Args:
        problem: What is approximated, in single precision.
        terms: Letters of the axes of each factor.
        factors: The factors.
        at: Which one is meant.
        steps: How often it will be asked.

    Returns:
        That, and about the products of pairs of ranks, (ranks, ranks), to tell them apart by; None
        if outputs have to be looked at, or if that takes less.
    """
    term, others = terms[at], [t for i, t in enumerate(terms) if i != at]
    names = _Letters.of(problem, term)
    if problem.metric is None or OUTPUTS in term or any(x in t for t in others for x in names.own):
        return None
    inputs, outputs = problem.matrix.shape
    extents = tuple(factors[at].shape[term.index(x)] for x in names.ranks)
    ranks = int(np.prod(extents))
    own = factors[at].size // ranks
    rest = inputs // own
    once = inputs * ranks * (inputs + rest * ranks)
    if once * steps + (rest * ranks) ** 2 * outputs > inputs * inputs * outputs * steps:
        return None
    arrays = [f for i, f in enumerate(factors) if i != at]
    shown = f"{','.join(others)}->{names.ranks + names.rest + OUTPUTS}"
    made = np.einsum(shown, *arrays, optimize=PAIRWISE).reshape(ranks * rest, -1)
    pairs = (made @ made.T).reshape(ranks, rest, ranks, rest).transpose(0, 1, 3, 2)
    spread = np.ascontiguousarray(pairs).reshape(ranks, -1)
    metric = problem.metric_of_pairs(names.own, names.rest)
    turned = [term.index(x) for x in names.own + names.ranks]

    def apply(factor: np.ndarray) -> np.ndarray:
        moved = factor.transpose(turned)
        across = (moved.reshape(own, ranks) @ spread).reshape(-1, ranks)
        made: np.ndarray = (metric @ across).reshape(moved.shape)
        return made.transpose(np.argsort(turned))

    marginal = problem.marginal([AXES.index(x) for x in names.rest])
    level: np.ndarray = np.einsum("ruvs,uv->rs", pairs, marginal, optimize=True)
    return apply, level
