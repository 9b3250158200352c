"""Multilinear least squares: making factors fit in the metric of the inputs, one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from passes.factorization.normal_equations import pairs_of, solvable, solved
from passes.factorization.preconditioning import Apply, guess
from passes.factorization.problem import AXES, PAIRWISE, Problem, power_of_two

_ENOUGH = 1e-3
"""Rounds end when one makes the error smaller by less than this part."""


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
    found: np.ndarray = np.einsum(f"{','.join(terms)}->{result}", *factors, optimize=PAIRWISE)
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
    """Fit each factor in turn with the others fixed, again and again.

    With all factors but one fixed the error is a quadratic function of that one: alternating least
    squares for any multilinear form. Factors whose equations fall apart are solved for, the last
    one beforehand, too. The others are brought nearer to the minimum by conjugate gradients
    (Hestenes and Stiefel, 1952), which need no more than products with the metric.

    Args:
        problem: What is approximated.
        terms: Letters of the axes of each factor.
        factors: Where to start from, with an axis for each letter.
        effort: How long to go on.
        bounds: What stays as it is.

    Returns:
        The factors; their error is never larger than that of the start.
    """
    found = [np.asarray(f, np.float64) for f in factors]
    free = [at for at in reversed(range(len(factors))) if at not in bounds.fixed]
    if not free or not effort.rounds:
        return found
    exact = [at for at in free if at not in bounds.masks and solvable(problem, terms, found, at)]
    if free[0] in exact:
        best = solved(problem, terms, found, free[0])
        before, error = best.before, best.after
    else:
        before = error = problem.error(product(terms, found, letters(problem)))
    floor = problem.power() * 1e-6
    if before <= floor:
        return found
    if exact and exact[0] == free[0]:
        found[free[0]] = best.factor
    for _ in range(effort.rounds):
        before = error
        for at in (at for at in free if at not in exact):
            mask = bounds.masks.get(at)
            found[at], gained = _approached(problem, terms, found, at, effort.steps, mask)
            error -= gained
        for at in reversed(exact):
            best = solved(problem, terms, found, at)
            found[at], error = best.factor, best.after
        if error <= floor or error >= before * (1 - _ENOUGH):
            break
    return found


def _approached(
    problem: Problem,
    terms: Sequence[str],
    factors: Sequence[np.ndarray],
    at: int,
    steps: int,
    mask: np.ndarray | None,
) -> tuple[np.ndarray, float]:
    """Return factor `at` after some steps of preconditioned conjugate gradients.

    Single precision does: see `Problem.single`.

    Returns:
        The factor, and by how much the error is smaller.
    """
    single, (weight, metric) = problem.single, problem.sizes
    sizes = [1.0 if i == at else power_of_two(f) for i, f in enumerate(factors)]
    size = weight / float(np.prod(sizes))
    others = [(f / s).astype(np.float32) for f, s in zip(factors, sizes, strict=True)]
    others[at] = (factors[at] / size).astype(np.float32)
    system = _system(single, terms, others, at, steps, mask)
    found, gained = _descended(system, others[at], steps)
    return found.astype(np.float64) * size, gained * weight**2 * metric


@dataclass(frozen=True)
class _System:
    """Normal equations of a factor.

    Attributes:
        apply: What they make of a factor.
        wanted: What they are to make.
        guess: About their inverse.
    """

    apply: Apply
    wanted: np.ndarray
    guess: Apply


def _system(
    problem: Problem,
    terms: Sequence[str],
    factors: Sequence[np.ndarray],
    at: int,
    steps: int,
    mask: np.ndarray | None,
) -> _System:
    """Return the normal equations of factor `at`."""
    others = [f for i, f in enumerate(factors) if i != at]
    names = [t for i, t in enumerate(terms) if i != at]
    free = np.float32(1) if mask is None else mask
    result = letters(problem)
    forth = f"{terms[at]},{','.join(names)}->{result}"
    back = f"{result},{','.join(names)}->{terms[at]}"
    path_forth = np.einsum_path(forth, factors[at], *others, optimize=PAIRWISE)[0]
    path_back = np.einsum_path(back, problem.tensor, *others, optimize=PAIRWISE)[0]

    def gathered(flat: np.ndarray) -> np.ndarray:
        tensor = flat.reshape(problem.tensor.shape)
        back_to: np.ndarray = np.einsum(back, tensor, *others, optimize=path_back)
        return back_to

    def through(factor: np.ndarray) -> np.ndarray:
        tensor = np.einsum(forth, factor, *others, optimize=path_forth)
        return gathered(problem.weighed(tensor.reshape(problem.matrix.shape)))

    small = pairs_of(problem, terms, factors, at, steps) if mask is None else None
    apply, pairs = (through, None) if small is None else small
    back_from = guess(problem, terms, factors, at, pairs)
    return _System(
        lambda f: apply(f) * free, gathered(problem.drawn) * free, lambda f: back_from(f) * free
    )


def _descended(system: _System, start: np.ndarray, steps: int) -> tuple[np.ndarray, float]:
    """Return what some steps of preconditioned conjugate gradients make of a factor, and gain."""
    solution = start.copy()
    residual = system.wanted - system.apply(solution)
    step = direction = system.guess(residual)
    power = first = float((residual * step).sum())
    gained = 0.0
    for _ in range(steps):
        if power <= first * 1e-8 or power <= 0:
            break
        across = system.apply(direction)
        bend = float((direction * across).sum())
        if bend <= 0:
            break
        gained += power / bend * power
        solution = solution + power / bend * direction
        residual = residual - power / bend * across
        step = system.guess(residual)
        after = float((residual * step).sum())
        direction = step + after / power * direction
        power = after
    return solution, gained
