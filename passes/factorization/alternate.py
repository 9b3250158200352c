"""Multilinear least squares: making factors fit in the metric of the inputs, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from passes.factorization.problem import Problem

AXES = "cuvwxyz"
"""Letters of the input axes of a tensor: channels, then the spatial ones."""
_ENOUGH = 1e-3
"""Rounds end when one makes the error smaller by less than this part."""
_RIDGE = 1e-3


def letters(problem: Problem) -> str:
    """Return the letters of the axes of a problem's tensor; `n` is its outputs."""
    return AXES[: problem.tensor.ndim - 1] + "n"


def product(terms: Sequence[str], factors: Sequence[np.ndarray], result: str) -> np.ndarray:
    """Return the tensor that factors stand for.

    Args:
        terms: Letters of the axes of each factor.
        factors: The factors, with an axis for each letter.
        result: Letters of the axes of the result.
    """
    found: np.ndarray = np.einsum(f"{','.join(terms)}->{result}", *factors, optimize="greedy")
    return found


@dataclass(frozen=True)
class Effort:
    """How long factors are fitted.

    Attributes:
        rounds: How often all factors are, at most.
        steps: Steps of conjugate gradients for each.
    """

    rounds: int
    steps: int


@dataclass(frozen=True)
class Bounds:
    """What fitting leaves as it is.

    Attributes:
        fixed: Positions of factors that stay.
        masks: By position of a factor, which of its elements may be other than 0.
    """

    fixed: Sequence[int] = ()
    masks: Mapping[int, np.ndarray] = field(default_factory=dict)


FREE = Bounds()


def alternate(
    problem: Problem,
    terms: Sequence[str],
    factors: Sequence[np.ndarray],
    effort: Effort,
    bounds: Bounds = FREE,
) -> list[np.ndarray]:
    """Fit each factor in turn with the others fixed, last factor first.

    With all factors but one fixed the error is a quadratic function of that one; its minimum is
    approached by conjugate gradients (Hestenes and Stiefel, 1952), which need no more than
    products with the metric: alternating least squares for any multilinear form.

    Args:
        problem: What is approximated.
        terms: Letters of the axes of each factor.
        factors: Where to start from, with an axis for each letter.
        effort: How long to go on.
        bounds: What stays as it is.

    Returns:
        The factors; their error is never larger than that of the start.
    """
    moving = [at for at in reversed(range(len(factors))) if at not in bounds.fixed]
    if not moving:
        return list(factors)
    # single precision is twice as fast, and what is left of an error is far above its rounding;
    # squares of large weights and inputs would not fit in it, so both are brought to about 1
    size, metric = _power_of_two(problem.tensor), problem.metric
    problem = Problem(
        (problem.tensor / size).astype(np.float32),
        None if metric is None else (metric / _power_of_two(metric)).astype(np.float32),
        problem.scale,
    )
    found = [f / size if at == moving[0] else f for at, f in enumerate(factors)]
    found = [f.astype(np.float32) for f in found]
    result = letters(problem)
    inverses = {at: _inverse(problem, terms[at]) for at in moving}
    before = problem.error(product(terms, found, result))
    floor = problem.power() * 1e-6
    for _ in range(effort.rounds):
        if before <= floor:
            break
        for at in moving:
            precondition = _preconditioner(terms, found, at, inverses[at])
            mask = bounds.masks.get(at)
            found[at] = _fit(problem, terms, found, at, effort.steps, mask, precondition)
        after = problem.error(product(terms, found, result))
        if after >= before * (1 - _ENOUGH):
            break
        before = after
    found = [f.astype(np.float64) for f in found]
    found[moving[0]] *= size
    return found


def _power_of_two(array: np.ndarray) -> float:
    """Return about the largest magnitude, as a power of two: to divide by it rounds nothing."""
    largest = float(np.abs(array).max(initial=0.0))
    return float(2.0 ** np.floor(np.log2(largest))) if 0 < largest < np.inf else 1.0


def _fit(
    problem: Problem,
    terms: Sequence[str],
    factors: Sequence[np.ndarray],
    at: int,
    steps: int,
    mask: np.ndarray | None,
    precondition: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Return factor `at` after some steps of preconditioned conjugate gradients."""
    result = letters(problem)
    free = 1.0 if mask is None else mask
    others = [f for i, f in enumerate(factors) if i != at]
    names = [t for i, t in enumerate(terms) if i != at]
    forth = f"{terms[at]},{','.join(names)}->{result}"
    back = f"{result},{','.join(names)}->{terms[at]}"
    path_forth = np.einsum_path(forth, factors[at], *others, optimize="greedy")[0]
    path_back = np.einsum_path(back, problem.tensor, *others, optimize="greedy")[0]

    def weighed(factor: np.ndarray) -> np.ndarray:
        """Return what the normal equations make of a factor."""
        tensor = np.einsum(forth, factor, *others, optimize=path_forth)
        return gathered(tensor)

    def gathered(tensor: np.ndarray) -> np.ndarray:
        flat = problem.weighed(tensor.reshape(problem.matrix.shape))
        back_to: np.ndarray = np.einsum(
            back, flat.reshape(problem.tensor.shape), *others, optimize=path_back
        )
        return back_to * free

    solution = factors[at].copy()
    residual = gathered(problem.tensor) - weighed(solution)
    step = direction = precondition(residual) * free
    power = first = float((residual * step).sum())
    for _ in range(steps):
        if power <= first * 1e-8 or power <= 0:
            break
        across = weighed(direction)
        bend = float((direction * across).sum())
        if bend <= 0:
            break
        solution = solution + power / bend * direction
        residual = residual - power / bend * across
        step = precondition(residual) * free
        after = float((residual * step).sum())
        direction = step + after / power * direction
        power = after
    return solution


def _inverse(problem: Problem, term: str) -> np.ndarray | None:
    """Return about the inverse of the metric of a factor's own input axes; None if it is plain."""
    own = [AXES.index(letter) for letter in term if letter in letters(problem)[:-1]]
    if not own or problem.metric is None:
        return None
    marginal = problem.marginal(own)
    damped = marginal + _RIDGE * np.trace(marginal) / len(marginal) * np.eye(len(marginal))
    found: np.ndarray = np.linalg.inv(damped)
    return found


def _preconditioner(
    terms: Sequence[str], factors: Sequence[np.ndarray], at: int, inverse: np.ndarray | None
) -> Callable[[np.ndarray], np.ndarray]:
    """Return about the inverse of a factor's normal equations.

    It is the inverse of the metric of the factor's own input axes, and the diagonal of the rest.
    """
    term, names = terms[at], [t for i, t in enumerate(terms) if i != at]
    inner = [letter for letter in term if letter not in AXES]
    shared = "".join(letter for letter in inner if any(letter in name for name in names))
    squares = [np.square(f) for i, f in enumerate(factors) if i != at]
    level = np.einsum(f"{','.join(names)}->{shared}", *squares, optimize="greedy")
    level = np.maximum(level, 1e-6 * float(np.max(level, initial=0)) + 1e-30)
    spread = level.reshape([level.shape[shared.index(x)] if x in shared else 1 for x in term])
    places = [at for at, letter in enumerate(term) if letter not in inner]

    def apply(residual: np.ndarray) -> np.ndarray:
        scaled = residual / spread
        if inverse is None:
            plain: np.ndarray = scaled
            return plain
        front = np.moveaxis(scaled, places, range(len(places)))
        solved = (inverse @ front.reshape(len(inverse), -1)).reshape(front.shape)
        found: np.ndarray = np.moveaxis(solved, range(len(places)), places)
        return found

    return apply
