"""Choosing the levels of a layer: least error plus the price of the bits they take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.coding import LevelRates
from ocompress.lossy.fisher import across, alone
from passes.sharing.descent import LARGEST, RoundingProblem, descend
from passes.sharing.layer_problem import error_of, in_parts

ZERO_BITS = 6.5
"""Bits that a weight takes that is not zero where most are: what costs less to lose is lost."""
_STEP = 6 / np.log(2)
"""Squared step times what an error costs, in prices of a bit, where bits are many: an error costs
as much as the bits that a finer step takes."""
FINEST, _COARSEST = 1.4, 5.0
"""By how much steps are larger where no level and where nearly every one is zero. Error and bits
together would be less with finer steps by some per cent, on the samples that weights are fitted
to; on others, coarse ones are better (measured on LeNet-300-100 from 1 to 8)."""
_BLOCKS = 8
"""Parts in which inputs are rounded, the others making up for each in turn."""
_DAMPING = 1e-9
STEP_BITS = 12
_BY_OUTPUT = 2
"""Axes of steps by output."""


@dataclass(frozen=True)
class Rounded:
    """Levels of a layer.

    Attributes:
        levels: Whole numbers, (groups, inputs, outputs).
        step: What levels are multiples of: one number, one for each output, (groups, outputs), or
            one for each group, (groups, 1, 1).
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
    return np.asarray(step[:, None]) if step.ndim == _BY_OUTPUT else step


def short(step: np.ndarray, largest: float, precision: int, most: int = STEP_BITS) -> np.ndarray:
    """Round a step to so few bits that its multiples are numbers of a float type, exactly.

    Whoever looks at the weight then finds step and levels by division.

    Args:
        step: Positive numbers.
        largest: About the largest multiple.
        precision: Bits of a number of the type, the leading one included.
        most: Bits that a step may have.
    """
    bits = min(max(precision - int(np.ceil(np.log2(largest + 2))), 1), most)
    mantissa, exponent = np.frexp(step)
    found: np.ndarray = np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)
    return found


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
    times = _COARSEST ** (1 - dense) * FINEST**dense
    exact = max(times * step_for(problem.price, level), most / LARGEST, 1e-30)
    step = short(np.asarray(exact), most / exact, problem.precision)
    levels = _in_parts(problem, order, cost, step)
    descend(problem, levels, step)
    fitted = fitted_step(problem, levels, step)
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
        levels = nearest(weight, step[:, None], cost[:, None], LevelRates.of(levels), price)
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


def nearest(
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
    levels = np.zeros_like(problem.target)
    rates: list[LevelRates] = []

    def place(matrix: np.ndarray, taken: np.ndarray) -> np.ndarray:
        if not rates:
            rates.append(LevelRates.of(np.rint(matrix / step)))
        near = (matrix[:, taken], step, cost[:, taken], rates[0].at(taken), problem.price)
        levels[:, taken] = nearest(*near) * problem.mask[:, taken]
        found: np.ndarray = levels[:, taken] * step
        return found

    in_parts(problem, problem.mask, np.array_split(order, min(_BLOCKS, len(order))), place)
    return levels


def fitted_step(problem: RoundingProblem, levels: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return the step with the least error of given levels, or the one given."""
    seen = across(problem.hessian @ levels, problem.curvature)
    power, wanted = float((seen * levels).sum()), float((seen * problem.target).sum())
    return np.asarray(wanted / power if power > 0 and wanted > 0 else step)
