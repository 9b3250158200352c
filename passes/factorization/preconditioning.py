"""About the inverse of the normal equations of one factor, for conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from passes.factorization.problem import AXES, PAIRWISE, Problem

Apply = Callable[[np.ndarray], np.ndarray]
"""Makes an array of the shape of a factor of one."""
_RIDGE = 1e-3
_RANKS_RIDGE = 1e-6


def guess(
    problem: Problem,
    terms: Sequence[str],
    factors: Sequence[np.ndarray],
    at: int,
    pairs: np.ndarray | None,
) -> Apply:
    """Return about the inverse of a factor's normal equations.

    It is the inverse of the metric of the factor's own input axes, times that of the products of
    its ranks; where outputs or other inputs are among its axes, times that of each rank alone.

    Args:
        problem: What is approximated.
        terms: Letters of the axes of each factor.
        factors: The factors.
        at: Which one is meant.
        pairs: Products of pairs of its ranks, (ranks, ranks), if they are known.
    """
    own = [letter for letter in terms[at] if letter in AXES]
    inverse = None
    if own and problem.metric is not None:
        inverse = problem.inverse([AXES.index(letter) for letter in own], _RIDGE)
    if pairs is None:
        return _by_each(terms, factors, at, inverse)
    return _by_pairs(terms[at], inverse, pairs)


def _by_pairs(term: str, inverse: np.ndarray | None, pairs: np.ndarray) -> Apply:
    level = max(float(np.trace(pairs)) / len(pairs), 1e-30)
    damped = pairs.astype(np.float64) + _RANKS_RIDGE * level * np.eye(len(pairs))
    apart = np.linalg.inv(damped).astype(pairs.dtype)
    turned = sorted(range(len(term)), key=lambda at: term[at] not in AXES)

    def apply(residual: np.ndarray) -> np.ndarray:
        moved = residual.transpose(turned)
        flat = moved.reshape(-1, len(pairs)) @ apart
        solved = flat if inverse is None else inverse @ flat
        found: np.ndarray = solved.reshape(moved.shape).transpose(np.argsort(turned))
        return found

    return apply


def _by_each(
    terms: Sequence[str], factors: Sequence[np.ndarray], at: int, inverse: np.ndarray | None
) -> Apply:
    term, names = terms[at], [t for i, t in enumerate(terms) if i != at]
    inner = [letter for letter in term if letter not in AXES]
    shared = "".join(letter for letter in inner if any(letter in name for name in names))
    squares = [np.square(f) for i, f in enumerate(factors) if i != at]
    level = np.einsum(f"{','.join(names)}->{shared}", *squares, optimize=PAIRWISE)
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
