"""Choosing the levels of a layer: least error plus the price of the bits they take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.coding import LevelRates
from ocompress.lossy.fisher import across, alone
from ocompress.lossy.least_squares import conjugate_gradients
from passes.sharing.descent import LARGEST, RoundingProblem, descend

_STEP = 6 / np.log(2)
"""Squared step times what an error costs, in prices of a bit, where bits are many: an error costs
as much as the bits that a finer step takes."""
_FINEST, _COARSEST = 1.4, 5.0
"""By how much steps are larger where no level and where nearly every one is zero. Error and bits
together would be less with finer steps by some per cent, on the samples that weights are fitted
to; on others, coarse ones are better (measured on LeNet-300-100 from 1 to 8)."""
_BLOCKS = 8
"""Parts in which inputs are rounded, the others making up for each in turn."""
_FIRST_ROUNDS, _ROUNDS, _TOLERANCE = 60, 8, 1e-3
_DAMPING = 1e-9


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
        """The weight, (groups, inputs, outputs), float64; no zero has a sign, which takes bits."""
        found: np.ndarray = self.levels * along(self.step) + 0.0
        return found


def along(step: np.ndarray) -> np.ndarray:
    """Shape a step so that it multiplies levels."""
    return step if step.ndim == 0 else np.asarray(step[:, None])


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
    order = np.random.default_rng(0).permutation(problem.target.shape[1])
    variance = _variances(problem, order)
    cost = variance[:, :, None] * alone(problem.curvature)[:, None]
    level = float(cost[problem.mask].mean() if problem.mask.any() else cost.mean())
    most = float(np.abs(problem.target * problem.mask).max(initial=0.0))
    dense = float(problem.mask.mean())
    times = _COARSEST ** (1 - dense) * _FINEST**dense
    exact = max(times * step_for(problem.price, level), most / LARGEST, 1e-30)
    step = short(np.asarray(exact), most / exact, problem.precision)
    levels = _in_parts(problem, order, cost, step)
    descend(problem, levels, step)
    fitted = _fitted(problem, levels, step)
    step = short(fitted, float(np.abs(levels).max(initial=0.0)), problem.precision)
    descend(problem, levels, step, 1)
    return Rounded(levels, step, error_of(problem, levels * step))


def step_for(price: float, cost: float) -> float:
    """Return the step at which an error costs as much as the bits that a finer one takes.

    Args:
        price: What a bit costs.
        cost: What a squared error costs.
    """
    return float(np.sqrt(_STEP * price / max(cost, 1e-300)))


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
    most = float(np.abs(weight / scales[:, None]).max(initial=0.0))
    exact = max(np.sqrt(_PLAIN_STEP * price / level), most / LARGEST, 1e-30)
    step = short(np.asarray(exact), most / exact, precision) * scales
    levels = np.rint(weight / step[:, None])
    for _ in range(2):
        levels = _nearest(weight, step[:, None], cost[:, None], LevelRates.of(levels), price)
    error = float((cost[:, None] * np.square(levels * step[:, None] - weight)).sum())
    return Rounded(levels, step, error)


_PLAIN_STEP = 2 * _STEP
"""As `_STEP`, for weights that no other makes up for."""


def _variances(problem: RoundingProblem, order: np.ndarray) -> np.ndarray:
    """Return what is left of each input's variance when those to come make up for it.

    Args:
        problem: The layer.
        order: In which inputs are rounded.

    Returns:
        (groups, inputs); the less of the others there is, the nearer to the whole variance.
    """
    single = np.einsum("gii->gi", problem.hessian)
    backwards = order[::-1]
    ahead = problem.hessian[:, backwards[:, None], backwards]
    joint = np.empty_like(single)
    joint[:, backwards] = np.square(np.einsum("gii->gi", np.linalg.cholesky(ahead)))
    share = float(problem.mask.mean())
    found: np.ndarray = np.clip(joint, _DAMPING * single, single) ** share * single ** (1 - share)
    return found


def _nearest(
    wanted: np.ndarray, step: np.ndarray, cost: np.ndarray, rates: LevelRates, price: float
) -> np.ndarray:
    """Return the level next to each number, the one before it, or zero: what costs least."""
    near = np.rint(wanted / step)
    found: np.ndarray = near
    least = np.full(near.shape, np.inf)
    for levels in (near, near - np.sign(near), np.zeros_like(near)):
        charged = cost * np.square(wanted - levels * step) + price * rates.bits(levels)
        found, least = np.where(charged < least, levels, found), np.minimum(charged, least)
    return found


def _in_parts(
    problem: RoundingProblem, order: np.ndarray, cost: np.ndarray, step: np.ndarray
) -> np.ndarray:
    """Round inputs part by part, what is left fitted after each."""
    matrix, left = problem.target, problem.mask.copy()
    hessian = problem.hessian.astype(np.float32)
    wanted = problem.hessian @ problem.target
    pairs = None
    if problem.curvature.ndim == 3:  # of the size of 1, for single precision
        pairs = problem.curvature / max(float(alone(problem.curvature).max()), 1e-300)
        pairs = pairs.astype(np.float32)
    levels = np.zeros_like(matrix)
    inputs = matrix.shape[1]
    parts = min(_BLOCKS, inputs)
    rates = None
    for part, taken in enumerate(np.array_split(order, parts)):
        rest = (wanted - problem.hessian @ (levels * step)).astype(np.float32)
        start = (matrix * left).astype(np.float32)
        rounds = _ROUNDS if part else _FIRST_ROUNDS
        given = (hessian, rest, start, left, rounds, _TOLERANCE, pairs)
        matrix = conjugate_gradients(*given).astype(np.float64)
        rates = rates or LevelRates.of(np.rint(matrix / step))
        near = (matrix[:, taken], step, cost[:, taken], rates.at(taken), problem.price)
        levels[:, taken] = _nearest(*near) * problem.mask[:, taken]
        left[:, taken] = False
    return levels


def _fitted(problem: RoundingProblem, levels: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return the step with the least error of given levels."""
    seen = across(problem.hessian @ levels, problem.curvature)
    power, wanted = float((seen * levels).sum()), float((seen * problem.target).sum())
    return np.asarray(wanted / power if power > 0 and wanted > 0 else step)
