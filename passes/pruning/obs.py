"""In which order the weights of a layer go, by what its outputs lose, the rest making up for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.lossy.fisher import across, alone
from ocompress.lossy.inverses import variances_left
from ocompress.lossy.least_squares import conjugate_gradients, rounds_within

_DAMPING = 1e-3
_KEPT_PER_STEP = 0.78
_LEAST_KEPT = 0.012
_ROUNDS, _TOLERANCE = 80, 1e-3
_OPERATIONS = 5e12
"""Spent on fitting the weights that are left of all layers, about, at most."""
_BEYOND = 0.12
"""Part of the share that is asked for down to which the order of a layer's weights is found: where
it ends up depends on the other layers."""
_AFFORDABLE = 4e9
"""Multiplications up to which the variances are found for every output's own mask."""
_EACH = 1e6
"""What calling a routine costs, in multiplications."""
_MOST_LOST = 10.0
"""Loss on samples left out, relative to all that a layer does, beyond which it tells no more."""


@dataclass(frozen=True)
class SurgeonProblem:
    """A layer whose weights shall go.

    Attributes:
        weight: (groups, inputs, outputs), float64.
        hessian: Mean products of what it reads, about the mean if it has a bias: (groups,
            inputs, inputs).
        curvature: What errors of outputs cost, (groups, outputs, outputs) in pairs, or (groups,
            outputs).
        units: Sums an array of the weight's shape over the units that go together, and gives
            back for every element the number of its unit: see `Units`.
        rounds: Of conjugate gradients after each step, see `rounds_for`.
        least: Share of the weights down to which the order is found, see `least_kept`.
        judge: Hessian and curvature of other samples, to say what is lost there.
        shares: What is lost at least after each step, relative to all that the layer does: as
            other samples judge.
    """

    weight: np.ndarray
    hessian: np.ndarray
    curvature: np.ndarray
    units: Units
    rounds: int = _ROUNDS
    least: float = _LEAST_KEPT
    judge: tuple[np.ndarray, np.ndarray] | None = None
    shares: Sequence[float] = ()


@dataclass(frozen=True)
class Units:
    """Which weights go together.

    Attributes:
        number: For each weight the number of its unit, of the weight's shape; None if every
            weight goes alone.
        sizes: Weights in each unit; None if every weight goes alone.
    """

    number: np.ndarray | None = None
    sizes: np.ndarray | None = None

    def total(self, values: np.ndarray) -> np.ndarray:
        """Return the mean over each unit, [units], of values in the shape of the weight."""
        if self.number is None or self.sizes is None:
            return values.reshape(-1)
        sums = np.bincount(self.number.reshape(-1), values.reshape(-1), len(self.sizes))
        found: np.ndarray = sums / np.maximum(self.sizes, 1)
        return found

    def spread(self, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Give each weight the value of its unit, (units,), in a shape."""
        if self.number is None:
            return values.reshape(shape)
        found: np.ndarray = values[self.number]
        return found


@dataclass(frozen=True)
class Trace:
    """The order in which the weights of a layer go.

    Attributes:
        costs: What taking each weight adds to the layer's error, never less for one that goes
            later: a line drawn through the costs of several layers takes from each what costs
            least. Shape of the weight.
        probe: The weight without the cheapest, the rest having made up for them.
        probe_error: What the problem says the error of `probe` is.
        shares: What is lost after each step as `Problem.judge` sees it, relative to all that the
            layer does there.
    """

    costs: np.ndarray
    probe: np.ndarray
    probe_error: float
    shares: Sequence[float] = ()


def trace(
    problem: SurgeonProblem, sparsity: float, progress: Callable[[], None] = lambda: None
) -> Trace:
    """Take weights in steps, the cheapest first; after each step the others are fitted anew.

    What a weight costs is its square over the variance that is left of its input when all other
    inputs are known: optimal brain surgeon (Hassibi and Stork, 1993), many weights a step. For
    layers where finding that variance for the mask of every output is too much work it lies
    between those with all and with no other inputs, by the share that is left.

    Args:
        problem: The layer.
        sparsity: About the share of weights that will go; where `probe` is taken.
        progress: Called after each step.
    """
    taker = _Taker(problem)
    kept = 1.0
    probe: tuple[np.ndarray, float] | None = None
    shares: list[float] = []
    while kept > problem.least:
        kept *= _KEPT_PER_STEP
        taker.take(kept, problem.shares[len(shares)] if problem.shares else 0.0)
        shares.append(taker.share_lost(problem.judge) if problem.judge is not None else 0.0)
        progress()
        if probe is None or kept >= (1 - sparsity) * _KEPT_PER_STEP**0.5:
            probe = taker.matrix.astype(np.float32), taker.error
    taker.finish()
    assert probe is not None
    return Trace(taker.costs, *probe, shares)


def rounds_for(each: Iterable[float], least: float) -> int:
    """Return how many rounds may follow each step, so that all layers are soon done.

    Args:
        each: Operations of a round, layer by layer.
        least: Share of the weights at which steps end.
    """
    steps = np.log(least) / np.log(_KEPT_PER_STEP)
    return rounds_within(_OPERATIONS, float(steps) * sum(each), _ROUNDS)


def least_kept(sparsity: float) -> float:
    """Return at which share of the weights steps end.

    Args:
        sparsity: The largest share of weights that any layer was asked to lose.
    """
    return max(_LEAST_KEPT, _BEYOND * (1 - sparsity))


class _Taker:
    """Holds the state of a layer between steps."""

    def __init__(self, problem: SurgeonProblem) -> None:
        self.units = problem.units
        self.start = problem.weight.astype(np.float32)
        self.matrix = self.start.copy()
        self.mask = self.start != 0
        self.costs = np.zeros(self.start.shape, np.float32)
        self.marginal = self.error = 0.0
        # of the size of 1, for single precision
        self._level = max(float(alone(problem.curvature).max()), 1e-30)
        self._curvature = (problem.curvature / self._level).astype(np.float32)
        self._hessian = damped(problem.hessian).astype(np.float32)
        # inputs that never vary cost nothing, whatever the ridge makes of them
        self._varies = np.einsum("gii->gi", problem.hessian)[:, :, None] > 0
        self._target = self._hessian @ self.start
        self._power = (
            float((self.start * across(self._target, self._curvature)).sum()) * self._level
        )
        self._alone = np.einsum("gii->gi", self._hessian)[:, :, None]
        self._joint = variances_left(self._hessian)[:, :, None]
        self._rounds = problem.rounds
        inputs = self.start.shape[1]
        rows = self.start.shape[0] * self.start.shape[2]
        self._exact = rows * (inputs**3 + _EACH) <= _AFFORDABLE

    def share_lost(self, judge: tuple[np.ndarray, np.ndarray]) -> float:
        """Return what is lost on the samples that judge, relative to all that the layer does there.

        `judge` is their Hessian, (groups, inputs, inputs), and curvature, (groups, outputs,
        outputs) or (groups, outputs).
        """
        hessian, curvature = judge
        lost, whole = (
            float((m * across(hessian @ m, curvature)).sum())
            for m in (self.matrix - self.start, self.start)
        )
        # one sample left out may show nothing that the layer does
        return min(max(lost, 0.0) / whole, _MOST_LOST) if whole > 0 else 0.0

    def take(self, kept: float, least: float = 0.0) -> None:
        """Take weights until a share is left, and fit the rest.

        Args:
            kept: The share.
            least: Part of all that the layer does that is lost at least.
        """
        surplus = int(self.mask.sum()) - round(kept * self.mask.size)
        if surplus <= 0:
            return
        taken, scores = self._cheapest(surplus)
        self.mask &= ~taken
        self.matrix *= self.mask
        self.matrix = conjugate_gradients(
            self._hessian,
            self._target,
            self.matrix,
            self.mask,
            self._rounds,
            _TOLERANCE,
            self._curvature,
        )
        lost = self.matrix - self.start
        error = float((lost * across(self._hessian @ lost, self._curvature)).sum()) * self._level
        error = max(error, least * self._power)
        before = self.marginal
        self.marginal = max(before, (error - self.error) / max(int(taken.sum()), 1))
        self.error = max(error, self.error)
        # within a step the costs rise from the last step's to this one's, in order of score
        rank = _ranks(scores[taken])
        self.costs[taken] = before + (self.marginal - before) * rank

    def finish(self) -> None:
        """Give the weights that were never taken a cost beyond all others."""
        scores = self._scores()[self.mask]
        self.costs[self.mask] = self.marginal * (1 + _ranks(scores)) + 1e-30
        if self.units.number is not None:
            shape = self.costs.shape
            self.costs = self.units.spread(self.units.total(self.costs), shape).astype(np.float32)

    def _scores(self) -> np.ndarray:
        each = alone(self._curvature)[:, None]
        found: np.ndarray = each * np.square(self.matrix) * self._variances()
        charged: np.ndarray = found * self._varies
        return charged

    def _cheapest(self, surplus: int) -> tuple[np.ndarray, np.ndarray]:
        """Return which weights go next, in whole units, and the scores of all."""
        scores = self._scores()
        scores = self.units.spread(self.units.total(scores), scores.shape)
        open_ = np.where(self.mask, scores, np.inf).reshape(-1)
        if self.units.number is None:
            order = np.argpartition(open_, surplus - 1)[:surplus]
        else:
            order = np.argsort(open_, kind="stable")[:surplus]
            last = self.units.number.reshape(-1)[order[-1]]
            order = np.union1d(order, np.flatnonzero(self.units.number.reshape(-1) == last))
        taken = np.zeros(scores.size, bool)
        taken[order] = True
        return taken.reshape(scores.shape) & self.mask, scores

    def _variances(self) -> np.ndarray:
        """Return what is left of each input's variance, (groups, inputs, outputs)."""
        if not self._exact:
            share = self.mask.mean(axis=1, keepdims=True)
            found: np.ndarray = self._joint**share * self._alone ** (1 - share)
            return found
        result = np.ones_like(self.matrix)
        for group in range(len(self.matrix)):
            for output in range(self.matrix.shape[2]):
                rows = np.flatnonzero(self.mask[group, :, output])
                part = self._hessian[group][np.ix_(rows, rows)]
                result[group, rows, output] = 1 / np.diagonal(np.linalg.inv(part))
        return result


def damped(hessian: np.ndarray) -> np.ndarray:
    """Return a copy of (groups, inputs, inputs) with a ridge, so that it can be inverted."""
    result = hessian.astype(np.float64)
    diagonal = np.einsum("gii->gi", result)
    level = diagonal.mean(axis=1, keepdims=True)
    diagonal += np.maximum(_DAMPING * level, 1e-20 * max(float(level.max()), 1e-10))
    return result


def _ranks(scores: np.ndarray) -> np.ndarray:
    """Return numbers in (0, 1] in the order of some scores."""
    order = np.argsort(scores, kind="stable")
    ranks = np.empty(len(scores), np.float64)
    ranks[order] = np.arange(1, len(scores) + 1) / max(len(scores), 1)
    return ranks
