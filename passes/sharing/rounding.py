"""Choosing the levels of a layer: least error plus the price of the bits they take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.lossy.fisher import across, alone
from ocompress.lossy.least_squares import conjugate_gradients
from passes.sharing.rates import Rates

STEP = 12 * 6 / np.log(2)
"""Squared step times what an error costs, in prices of a bit. Where bits are many it would be 6 /
ln 2, at which an error costs as much as the bits that a finer step takes; where most levels are
zero, coarser steps and fewer zeros are better (measured from 1 to 64 times that)."""
_BLOCKS = 8
"""Parts in which inputs are rounded, the others making up for each in turn."""
_ROUNDS, _TOLERANCE = 12, 1e-3
_SWEEPS = 6
_STILL = 1e-4
"""Share of the levels that a sweep has to change for another one to follow."""
_DAMPING = 1e-9


@dataclass(frozen=True)
class RoundingProblem:
    """A layer to round: tr(G D^T H D) for an error D, plus a price times the bits.

    Attributes:
        target: The weight that would cost nothing, (groups, inputs, outputs), float64.
        hessian: H, what an error does at the layer's outputs, (groups, inputs, inputs).
        curvature: G, what errors of outputs cost, (groups, outputs, outputs) in pairs, or (groups,
            outputs).
        start: Where to start from: a weight that is zero where the mask drops.
        mask: Which weights are expected not to be zero.
        free: Which weights may be other than zero.
        price: What a bit costs.
        precision: Bits of a number of the weight's type.
    """

    target: np.ndarray
    hessian: np.ndarray
    curvature: np.ndarray
    start: np.ndarray
    mask: np.ndarray
    free: np.ndarray
    price: float
    precision: int = 24


@dataclass(frozen=True)
class Rounded:
    """Levels of a layer.

    Attributes:
        levels: Whole numbers, (groups, inputs, outputs).
        step: What levels are multiples of: one number, or one for each output, (groups, outputs).
        error: What the layer costs at the model's outputs.
    """

    levels: np.ndarray
    step: np.ndarray
    error: float

    @property
    def matrix(self) -> np.ndarray:
        """The weight, (groups, inputs, outputs), float64."""
        return self.levels * along(self.step)


def along(step: np.ndarray) -> np.ndarray:
    """Shape a step so that it multiplies levels."""
    return step if step.ndim == 0 else step[:, None]


def short(step: np.ndarray, largest: float, precision: int) -> np.ndarray:
    """Round a step to so few bits that its multiples are numbers of a float type, exactly.

    Whoever looks at the weight then finds step and levels by division.

    Args:
        step: Positive numbers.
        largest: About the largest multiple.
        precision: Bits of a number of the type, the leading one included.
    """
    bits = min(max(precision - int(np.ceil(np.log2(largest + 2))), 1), _STEP_BITS)
    mantissa, exponent = np.frexp(step)
    found: np.ndarray = np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)
    return found


_STEP_BITS = 12


def solve(problem: RoundingProblem) -> Rounded:
    """Round a layer.

    Inputs are rounded in parts; after each part the weights that are left are fitted anew to make
    up for its errors, as in optimal brain quantization (Frantar et al., 2022), each with the mask
    it has. Then level after level goes where error and bits together are least, zero included,
    with rates that follow (rate-distortion optimized quantization, as in CERWU, 2025). At last the
    step is fitted in closed form.

    Args:
        problem: The layer.
    """
    variance = _variances(problem)
    cost = variance[:, :, None] * alone(problem.curvature)[:, None]
    level = float(cost[problem.mask].mean() if problem.mask.any() else cost.mean())
    exact = np.sqrt(STEP * problem.price / max(level, 1e-300))
    largest = float(np.abs(problem.start).max(initial=0.0)) / exact
    step = short(np.asarray(exact), largest, problem.precision)
    levels = _in_parts(problem, cost, step)
    for _ in range(_SWEEPS):
        changed = _sweep(problem, levels, step, Rates.of(levels))
        if changed <= _STILL * levels.size:
            break
    step = short(_fitted(problem, levels, step), float(np.abs(levels).max()), problem.precision)
    _sweep(problem, levels, step, Rates.of(levels))
    return Rounded(levels, step, error_of(problem, levels * step))


def error_of(problem: RoundingProblem, matrix: np.ndarray) -> float:
    """Return what a weight, (groups, inputs, outputs), costs at the model's outputs."""
    off = matrix - problem.target
    return float((off * across(problem.hessian @ off, problem.curvature)).sum())


def plain(weight: np.ndarray, cost: np.ndarray, price: float, precision: int) -> Rounded:
    """Round a weight of whose inputs nothing is known.

    Each output has a step of its own, a power of two times that of the others: in proportion to
    what its errors cost, without as many bits.

    Args:
        weight: (groups, inputs, outputs), float64.
        cost: What squared errors of each output cost, (groups, outputs).
        price: What a bit costs.
        precision: Bits of a number of the weight's type.
    """
    level = max(float(cost.mean()), 1e-300)
    scales = np.exp2(np.rint(np.log2(level / np.maximum(cost, 1e-9 * level)) / 2))
    exact = np.sqrt(PLAIN_STEP * price / level)
    largest = np.abs(weight / scales[:, None]).max(initial=0.0) / exact
    step = short(np.asarray(exact), float(largest), precision) * scales
    levels = np.rint(weight / step[:, None])
    for _ in range(2):
        levels = _nearest(weight, step[:, None], cost[:, None], Rates.of(levels), price)
    error = float((cost[:, None] * np.square(levels * step[:, None] - weight)).sum())
    return Rounded(levels, step, error)


PLAIN_STEP = 2 * 6 / np.log(2)
"""As `STEP`, for weights that no other makes up for."""


def _variances(problem: RoundingProblem) -> np.ndarray:
    """Return what is left of each input's variance, the more others are there: (groups, inputs)."""
    single = np.einsum("gii->gi", problem.hessian)
    joint = 1 / np.einsum("gii->gi", np.linalg.inv(problem.hessian))
    share = float(problem.mask.mean())
    found: np.ndarray = np.clip(joint, _DAMPING * single, single) ** share * single ** (1 - share)
    return found


def _nearest(
    wanted: np.ndarray, step: np.ndarray, cost: np.ndarray, rates: Rates, price: float
) -> np.ndarray:
    """Return the level next to each number, the one before it, or zero: what costs least."""
    near = np.rint(wanted / step)
    found, least = near, np.full(near.shape, np.inf)
    for levels in (near, near - np.sign(near), np.zeros_like(near)):
        charged = cost * np.square(wanted - levels * step) + price * rates.bits(levels)
        found, least = np.where(charged < least, levels, found), np.minimum(charged, least)
    return found


def _in_parts(problem: RoundingProblem, cost: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Round inputs part by part, what is left fitted after each."""
    matrix, left = problem.start, problem.mask.copy()
    rates = Rates.of(np.rint(matrix / step) * problem.mask)
    hessian = problem.hessian.astype(np.float32)
    wanted = problem.hessian @ problem.target
    pairs = None
    if problem.curvature.ndim == 3:  # of the size of 1, for single precision
        pairs = problem.curvature / max(float(alone(problem.curvature).max()), 1e-300)
        pairs = pairs.astype(np.float32)
    levels = np.zeros_like(matrix)
    inputs = matrix.shape[1]
    parts = min(_BLOCKS, inputs)
    order = np.random.default_rng(0).permutation(inputs)
    for part in range(parts):
        taken = order[part::parts]
        if part:
            rest = (wanted - problem.hessian @ (levels * step)).astype(np.float32)
            start = (matrix * left).astype(np.float32)
            given = (hessian, rest, start, left, _ROUNDS, _TOLERANCE, pairs)
            matrix = conjugate_gradients(*given).astype(np.float64)
        near = (matrix[:, taken], step, cost[:, taken], rates.at(taken), problem.price)
        levels[:, taken] = _nearest(*near) * problem.mask[:, taken]
        left[:, taken] = False
    return levels


def _sweep(
    problem: RoundingProblem, levels: np.ndarray, step: np.ndarray, rates: Rates
) -> int:
    """Move every level to where error and bits together are least, the others as they are.

    Args:
        problem: The layer.
        levels: Changed in place.
        step: One number.
        rates: Bits of levels.

    Returns:
        How many levels moved.
    """
    size = float(step)
    off = levels * size - problem.target
    single = alone(problem.curvature)
    moved = 0
    for at in range(levels.shape[1]):
        slope = across(problem.hessian[:, at : at + 1] @ off, problem.curvature)[:, 0]
        row = _Row(
            levels[:, at],
            slope * size,
            problem.hessian[:, at, at, None] * single * size**2,
            problem.free[:, at],
            rates.at(slice(at, at + 1)),
            problem.price,
        )
        before = row.levels.copy()
        if problem.curvature.ndim == 2:
            row.levels[...] = row.best()[0]
        else:
            _one_by_one(row, problem, at, size)
        changed = row.levels != before
        if changed.any():
            moved += int(changed.sum())
            levels[:, at] = row.levels
            off[:, at] = row.levels * size - problem.target[:, at]
    return moved


@dataclass
class _Row:
    """All levels of one input, (groups, outputs)."""

    levels: np.ndarray
    slope: np.ndarray
    bend: np.ndarray
    free: np.ndarray
    rates: Rates
    price: float

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """Return where each level would go alone, and what that changes (negative or zero)."""
        now = self.price * self.rates.bits(self.levels[:, None])[:, 0]
        wanted = self.levels - self.slope / np.maximum(self.bend, 1e-300)
        near = np.rint(np.clip(wanted, -_FARTHEST, _FARTHEST))
        found, gain = self.levels, np.zeros_like(self.slope)
        for levels in (near, near - np.sign(near), np.zeros_like(near)):
            by = levels - self.levels
            rate = self.price * self.rates.bits(levels[:, None])[:, 0] - now
            change = by * (2 * self.slope + self.bend * by) + rate
            better = (change < gain) & self.free
            found, gain = np.where(better, levels, found), np.where(better, change, gain)
        return found, gain


_FARTHEST = 2.0**20
_MOST_MOVES = 64


def _one_by_one(row: _Row, problem: RoundingProblem, at: int, size: float) -> None:
    """Move levels of one input that make up for one another, the one that gains most first."""
    groups = np.arange(len(row.levels))
    scale = problem.hessian[:, at, at] * size**2
    for _ in range(_MOST_MOVES):
        found, gain = row.best()
        most = gain.argmin(axis=1)
        by = found[groups, most] - row.levels[groups, most]
        if not by.any():
            return
        row.levels[groups, most] += by
        row.slope = row.slope + (scale * by)[:, None] * problem.curvature[groups, most]


def _fitted(problem: RoundingProblem, levels: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return the step with the least error of given levels."""
    seen = across(problem.hessian @ levels, problem.curvature)
    power, wanted = float((seen * levels).sum()), float((seen * problem.target).sum())
    return np.asarray(wanted / power if power > 0 and wanted > 0 else step)
