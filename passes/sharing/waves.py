"""Rounding layers that read pictures by their coefficients: weights as sums of few cosines.

What neighbouring places hold is alike, and so are their weights. One by one, many weights have to
make up for one another; as sums of cosines, few numbers say the same. Archives find the sums by
looking at the weights (`archive.cosines`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ocompress.analysis.linear_rows import Site
from ocompress.archive.cosines import Plane, cosines, planes_of, summed, taken_apart
from ocompress.coding import level_bits
from ocompress.lossy.fisher import alone
from passes.factorization.rewriting import flattens
from passes.sharing.descent import RoundingProblem
from passes.sharing.fine_rounding import is_fine, solve_fine
from passes.sharing.layer_problem import cost_of
from passes.sharing.rounding import ZERO_BITS, Rounded, solve

_LEAST = 8
"""Places along an axis below which sums of cosines say little more than weights: LeNet-5, whose
dense layer reads 4 x 4 places and whose kernels are 5 x 5, lost more with them (on training images
that nothing was fitted to, 0.019 nats instead of 0.015 at 0.25 bits)."""
_GAIN = 0.1
"""Bits a weight, as forecast for many bits, from which on they are tried."""
_RIDGE, _SCARCE = 0.3, 0.4
"""Of each coefficient's variance: at most, and for each input per row. A ridge that is the same for
all would charge errors of fine waves, of which pictures have little, for more than they do."""
_FLAT = 0.01
_NATURAL = 4
"""Axes of pictures in a batch."""


@dataclass(frozen=True)
class Waves:
    """The coefficients of a layer's weights.

    Attributes:
        plane: How its inputs lie.
    """

    plane: Plane

    def coefficients(self, matrix: np.ndarray) -> np.ndarray:
        """Return the coefficients of weights, (groups, inputs, outputs)."""
        return _along_inputs(matrix, lambda rows: taken_apart(rows, self.plane))

    def values(self, levels: np.ndarray) -> np.ndarray:
        """Return the sums of cosines of whole coefficients, whole numbers too, float64."""
        return _along_inputs(levels, lambda rows: summed(rows.astype(np.int64), self.plane) * 1.0)

    def metric(self, hessian: np.ndarray) -> np.ndarray:
        """Return what errors of coefficients do, given what errors of weights do."""
        half = self._seen(hessian.transpose(0, 2, 1))
        whole = self._seen(half.transpose(0, 2, 1))
        return np.asarray((whole + whole.transpose(0, 2, 1)) / 2)

    def _seen(self, matrix: np.ndarray) -> np.ndarray:
        down, across = cosines(self.plane.down), cosines(self.plane.across)

        def seen(rows: np.ndarray) -> np.ndarray:
            turned = self.plane.turned(rows)
            found = np.einsum("yv,rbyxs,xu->rbvus", down, turned, across, optimize=True)
            return np.asarray(found.reshape(rows.shape))

        return _along_inputs(matrix, seen)

    def sizes(self, inputs: int) -> np.ndarray:
        """Return the squared length of each wave, (inputs,)."""
        down, across = (np.square(cosines(n)).sum(0) for n in (self.plane.down, self.plane.across))
        one = np.repeat(np.outer(down, across).reshape(-1), self.plane.apart)
        return np.tile(one, inputs // len(one)).astype(np.float64)


def solve_best(problem: RoundingProblem, site: Site | None) -> tuple[Rounded, np.ndarray]:
    """Round a layer, by its coefficients if that costs less.

    Args:
        problem: The layer.
        site: How it reads its weight; None if coefficients are not wanted.

    Returns:
        What came of it, and the weight, (groups, inputs, outputs).
    """
    plain = _solve(problem)
    waves = None if site is None else _promising(problem, site)
    if site is None or waves is None:
        return plain, plain.matrix
    posed = _posed(problem, waves)
    found = _solve(posed)
    matrix = found.levels * 0.0 if found.step.ndim else waves.values(found.levels) * found.step
    single = matrix.astype(site.layer.weight.dtype).astype(np.float64)
    if not (single == matrix).all():
        return plain, plain.matrix  # there is no type for so many digits
    before = cost_of(
        posed.hessian, posed.curvature, waves.coefficients(plain.matrix) - posed.target
    )
    saved = problem.price * (level_bits(plain.levels) - level_bits(found.levels))
    if found.error >= before + saved:
        return plain, plain.matrix
    return found, matrix + 0.0


def _solve(problem: RoundingProblem) -> Rounded:
    return solve_fine(problem) if is_fine(problem) else solve(problem)


def _posed(problem: RoundingProblem, waves: Waves) -> RoundingProblem:
    """Return the problem of finding coefficients."""
    inputs = problem.target.shape[1]
    target = waves.coefficients(problem.target)
    level = problem.ridge[:, None] * np.ones(inputs)
    raw = problem.hessian - level[:, :, None] * np.eye(inputs)
    hessian = waves.metric(raw)
    own = np.einsum("gii->gi", hessian)
    share = min(_RIDGE, _SCARCE * inputs / max(problem.rows, 1))
    own += share * own + _FLAT * level * waves.sizes(inputs)
    cost = np.square(target) * own[:, :, None] * alone(problem.curvature)[:, None]
    largest = [float(np.abs(m).max(initial=0.0)) for m in (problem.target, target)]
    digits = int(np.ceil(np.log2(max(largest[0], 1e-300) / max(largest[1], 1e-300))))
    return replace(
        problem,
        target=target,
        hessian=hessian,
        free=problem.free.any(axis=1, keepdims=True) & np.ones_like(problem.free),
        mask=cost > problem.price * ZERO_BITS,
        precision=max(problem.precision - max(digits, 0), 1),
    )


def _promising(problem: RoundingProblem, site: Site) -> Waves | None:
    """Return the coefficients that say most in few bits, None if weights do as well."""
    if not _closed(problem.free):
        return None
    planes = [Waves(plane) for plane in _planes(site)]
    gains = [_gain(problem, waves) for waves in planes]
    if not gains or max(gains) < _GAIN:
        return None
    return planes[int(np.argmax(gains))]


def _closed(free: np.ndarray) -> bool:
    """Whether zeros stay zero as sums of cosines: none, or those of whole outputs."""
    return bool((free.any(axis=1) == free.all(axis=1)).all())


def _gain(problem: RoundingProblem, waves: Waves) -> float:
    """Return about how many bits a weight takes less, where bits are many."""
    before = _logarithms(problem.hessian, problem.target)
    after = _logarithms(waves.metric(problem.hessian), waves.coefficients(problem.target))
    return float((before - after).mean() / 2)


def _logarithms(hessian: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    cost = np.einsum("gii->gi", hessian) * np.square(matrix).mean(axis=2)
    return np.asarray(np.log2(np.maximum(cost, 1e-12 * cost.max(initial=1e-300))))


def _planes(site: Site) -> Iterator[Plane]:
    """Yield how the inputs of a layer may lie in pictures."""
    if site.window is not None:
        kernel = site.layer.form.shape[2:]
        if not site.transposed and len(kernel) == 2 and min(kernel) >= _LEAST:
            yield from _within(site, [(kernel[0], kernel[1], 1)])
        return
    if not flattens(site):
        return
    maker = site.layer.data.producer
    source = maker.inputs[0] if maker is not None else None
    shape = None if source is None else source.shape
    extents = [n for n in shape[1:] if isinstance(n, int)] if shape is not None else []
    if shape is not None and len(shape) == len(extents) + 1 == _NATURAL:
        first, second, last = extents
        yield from _within(site, [(second, last, 1), (first, second, last)])
        return
    squares = (p for p in planes_of(site.inputs) if p.down == p.across >= _LEAST)
    yield from squares


def _within(site: Site, found: Sequence[tuple[int, int, int]]) -> Iterator[Plane]:
    known = set(planes_of(site.inputs))
    for plane in (Plane(*sizes) for sizes in found):
        if min(plane.down, plane.across) >= _LEAST and plane in known:
            yield plane


def _along_inputs(matrix: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    groups, inputs, outputs = matrix.shape
    rows = np.ascontiguousarray(matrix.transpose(0, 2, 1)).reshape(-1, inputs)
    found: np.ndarray = change(rows).reshape(groups, outputs, inputs).transpose(0, 2, 1)
    return found
