"""Choosing the levels of a layer most of which are not zero: many bits a weight."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ocompress.coding import LevelRates
from passes.sharing.descent import LARGEST, RoundingProblem, descend
from passes.sharing.in_turn import InTurn
from passes.sharing.layer_problem import error_of
from passes.sharing.rounding import (
    FINEST,
    STEP_BITS,
    Rounded,
    fitted_step,
    nearest,
    short,
    step_for,
)

_MANY, _FREE = 0.5, 0.95
"""Shares of the weights that are not going to be zero, and that may be other than zero, from which
on errors are passed on: those that may not cannot make up for others."""
_SWEEPS = 3
_GROUP_BITS = 5
"""Bits of the step of a group: what a finer one gains is less than it takes."""
_WIDEST = 8.0
"""Largest step of a group, relative to the median, and one over the smallest."""


def is_fine(problem: RoundingProblem) -> bool:
    """Return whether most weights of a layer are not going to be zero."""
    return float(problem.mask.mean()) > _MANY and float(problem.free.mean()) > _FREE


def solve_fine(problem: RoundingProblem) -> Rounded:
    """Round a layer most of whose weights are not zero.

    Each weight goes to the level, the one before it, or zero, where error and bits together are
    least, and its error is passed on to those to come (GPTQ, in inputs and in outputs). Then level
    after level goes where error and bits are least, given all others. Groups, of which nothing is
    passed on, have steps of their own, finer where errors do more.

    Args:
        problem: The layer.
    """
    in_turn = InTurn.of(problem.hessian, problem.curvature)
    scales = _scales(in_turn)
    most = float(np.abs(problem.target / scales[:, None, None]).max(initial=0.0))
    cost = in_turn.variance.mean(axis=1) * in_turn.by_output.mean(axis=1) * np.square(scales)
    exact = max(FINEST * step_for(problem.price, float(cost.mean())), most / LARGEST, 1e-30)
    bits = STEP_BITS if len(scales) == 1 else _GROUP_BITS
    steps = short(exact * scales, most / exact, problem.precision, bits)
    own, in_turn = _in_steps(problem, steps), in_turn.in_steps(steps)
    levels = in_turn.fill(own.target, _Placing(own, LevelRates.of(np.rint(own.target))))
    one = np.asarray(1.0)
    descend(own, levels, one, _SWEEPS, at_once=True)
    step = steps[:, None, None]
    if len(steps) == 1:
        largest = float(np.abs(levels).max(initial=0.0))
        step = short(steps[0] * fitted_step(own, levels, one), largest, problem.precision)
    return Rounded(levels, step, error_of(problem, levels * step))


def _scales(in_turn: InTurn) -> np.ndarray:
    """Return the step of each group relative to that of the one in the middle, (groups,)."""
    cost = in_turn.variance.mean(axis=1) * in_turn.by_output.mean(axis=1)
    logs = np.log(np.maximum(cost, 1e-300)) / -2
    wide = np.log(_WIDEST)
    found: np.ndarray = np.exp(np.clip(logs - np.median(logs), -wide, wide))
    return found


def _in_steps(problem: RoundingProblem, steps: np.ndarray) -> RoundingProblem:
    """Return the problem of finding whole numbers of steps, (groups,)."""
    each = steps[:, None, None]
    return replace(problem, target=problem.target / each, hessian=problem.hessian * each**2)


@dataclass
class _Placing:
    """Puts weights on whole numbers.

    Attributes:
        problem: What they should be, and what bits cost.
        rates: What levels cost.
    """

    problem: RoundingProblem
    rates: LevelRates

    def __call__(
        self, wanted: np.ndarray, cost: np.ndarray, at: int, outputs: np.ndarray
    ) -> np.ndarray:
        rates = self.rates.at(slice(at, at + 1)).of_outputs(outputs)
        one, price = np.asarray(1.0), self.problem.price
        near = nearest(wanted[:, None], one, cost[:, None], rates, price)[:, 0]
        return np.asarray(near * self.problem.free[:, at, outputs])
