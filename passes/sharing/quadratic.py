"""What the weight of one layer may cost, and fitting numbers that many weights share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ocompress.lossy.fisher import across, alone

_ROUNDS, ROUGH, FINE = 60, 1e-3, 1e-6


@dataclass(frozen=True)
class Quadratic:
    """The cost of a weight W: tr(G D^T H D) for its difference D from a target.

    Attributes:
        target: The weight that would cost nothing, (groups, inputs, outputs), float64.
        hessian: H, what an error does at the layer's outputs, (groups, inputs, inputs); None if
            nothing is known of the inputs, which then count alike and singly.
        curvature: G, what errors of outputs cost, (groups, outputs, outputs) in pairs, or (groups,
            outputs).
    """

    target: np.ndarray
    hessian: np.ndarray | None
    curvature: np.ndarray

    def slope(self, off: np.ndarray) -> np.ndarray:
        """Return half of the gradient of the cost at a difference from the target."""
        return across(off if self.hessian is None else self.hessian @ off, self.curvature)

    def cost(self, matrix: np.ndarray) -> float:
        """Return what a weight costs, (groups, inputs, outputs)."""
        off = matrix - self.target
        return float((off * self.slope(off)).sum())

    def power(self) -> np.ndarray:
        """Return what an error of each input costs by itself, outputs aside: (groups, inputs)."""
        if self.hessian is None:
            return np.ones(self.target.shape[:2])
        return np.asarray(np.einsum("gii->gi", self.hessian))

    def weights(self) -> np.ndarray:
        """Return what a squared error of each weight costs by itself."""
        return np.asarray(self.power()[:, :, None] * alone(self.curvature)[:, None])


@dataclass(frozen=True)
class Share:
    """Which of some numbers each weight is made of: factor x number, summed over shares.

    Attributes:
        index: Position of the number, int, of the weight's shape or one that broadcasts to it.
        factor: What it is multiplied by, of the same kind.
    """

    index: np.ndarray
    factor: np.ndarray


def weight_of(numbers: np.ndarray, shares: Sequence[Share]) -> np.ndarray:
    """Return the weight that shared numbers make, (groups, inputs, outputs)."""
    return np.asarray(sum(share.factor * numbers[share.index] for share in shares))


class Linear(Protocol):
    """Weights that are linear in some numbers, [n]."""

    def weight(self, numbers: np.ndarray) -> np.ndarray:
        """Return the weight that numbers make, (groups, inputs, outputs)."""
        ...

    def sums(self, slope: np.ndarray) -> np.ndarray:
        """Return what the slopes of all weights say of each number: the transpose, [n]."""
        ...

    def squares(self, weights: np.ndarray) -> np.ndarray:
        """Return what a squared error of each number costs by itself, [n].

        Args:
            weights: What a squared error of each weight does.
        """
        ...


@dataclass(frozen=True)
class _Shared:
    """Weights that are sums of shared numbers.

    Attributes:
        shares: What every weight is made of.
        size: How many numbers there are.
    """

    shares: Sequence[Share]
    size: int

    def weight(self, numbers: np.ndarray) -> np.ndarray:
        return weight_of(numbers, self.shares)

    def sums(self, slope: np.ndarray) -> np.ndarray:
        """Add up over all weights what each says of the numbers that it is made of."""
        shape, total = slope.shape, np.zeros(self.size)
        for share in self.shares:
            each = (slope * share.factor).reshape(-1)
            total += np.bincount(_wide(share.index, shape), each, self.size)
        return total

    def squares(self, weights: np.ndarray) -> np.ndarray:
        shape, total = weights.shape, np.zeros(self.size)
        for share in self.shares:
            each = _wide(np.square(share.factor) * weights, shape)
            total += np.bincount(_wide(share.index, shape), each, self.size)
        return total


def fitted(
    problem: Quadratic,
    shares: Sequence[Share],
    start: np.ndarray,
    tolerance: float = ROUGH,
    rounds: int = _ROUNDS,
) -> np.ndarray:
    """Return the shared numbers that cost least, see `least_squares`.

    Args:
        problem: The layer.
        shares: What every weight is made of.
        start: Numbers to start from, [n]; those that no weight is made of stay.
        tolerance: Part of the gradient at the start that may be left; `FINE` for what is kept.
        rounds: Of conjugate gradients, at most.
    """
    return least_squares(problem, _Shared(shares, start.size), start, tolerance, rounds)


def least_squares(
    problem: Quadratic,
    linear: Linear,
    start: np.ndarray,
    tolerance: float = ROUGH,
    rounds: int = _ROUNDS,
) -> np.ndarray:
    """Return the numbers whose weight costs least: linear least squares, in closed form.

    The normal equations are solved by conjugate gradients (Hestenes and Stiefel, 1952), because
    products with H and G are cheap and the matrix of the equations is not.

    Args:
        problem: The layer.
        linear: What weights numbers make.
        start: Numbers to start from, [n].
        tolerance: Part of the gradient at the start that may be left; `FINE` for what is kept.
        rounds: Of conjugate gradients, at most.
    """
    problem = _single(problem)

    def slope(numbers: np.ndarray, target: np.ndarray | float) -> np.ndarray:
        return linear.sums(problem.slope(linear.weight(numbers).astype(np.float32) - target))

    seen = linear.squares(problem.weights())
    inverse = np.where(seen > 0, 1 / np.maximum(seen, 1e-300), 0.0)
    numbers = start.astype(np.float64)
    residual = -slope(numbers, problem.target)
    direction = step = residual * inverse
    power = float(residual @ step)
    enough = tolerance**2 * power
    for _ in range(min(rounds, 2 * start.size)):
        if power <= enough or power <= 0:
            break
        turned = slope(direction, 0.0)
        bend = float(direction @ turned)
        if bend <= 0:
            break
        numbers = numbers + power / bend * direction
        residual = residual - power / bend * turned
        step = residual * inverse
        before, power = power, float(residual @ step)
        direction = step + power / before * direction
    return numbers


def _single(problem: Quadratic) -> Quadratic:
    """Return a problem in single precision, what outputs cost of the size of 1."""
    costs = problem.curvature / max(float(alone(problem.curvature).max()), 1e-300)
    hessian = problem.hessian
    if hessian is not None:
        hessian = (hessian / max(float(problem.power().max()), 1e-300)).astype(np.float32)
    return Quadratic(problem.target.astype(np.float32), hessian, costs.astype(np.float32))


def _wide(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(array, shape).reshape(-1)
