"""Rounding layer after layer, each on what the layers before it now make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ocompress.analysis.linear_rows import Site
from ocompress.coding import level_bits
from ocompress.ir import Model, Node, edit
from ocompress.lossy.engine import Plan
from ocompress.lossy.fisher import alone
from ocompress.lossy.least_squares import Fit
from ocompress.lossy.refit import Job, fitted_biases, set_bias
from ocompress.pipeline import Context
from passes.sharing.descent import RoundingProblem
from passes.sharing.fitting import fitting
from passes.sharing.layer_problem import LayerProblem, precision_of
from passes.sharing.offers import Rounding, round_alone
from passes.sharing.rounding import short, step_for
from passes.sharing.walking import Walked, walk
from passes.sharing.waves import solve_best

_STEP_BITS = 64
"""What a step takes in a file, about."""


@dataclass(frozen=True)
class Levels:
    """What became of a weight.

    Attributes:
        bits: Of the weight and its biases in a coded file, estimated.
        zeros: Share of zeros.
        largest: Largest magnitude of a level.
        error: What the layer costs at the model's outputs, as far as that is known.
    """

    bits: float
    zeros: float
    largest: int
    error: float | None = None


@dataclass(frozen=True)
class BuiltLevels(Walked[Levels]):
    """A model on levels."""

    @property
    def bits(self) -> float:
        """Bits of all weights that were rounded."""
        return sum(row.bits for row in self.rows.values())


def build(model: Model, plan: Plan, ctx: Context | None) -> BuiltLevels:
    """Return the model with its weights on levels.

    Args:
        model: Not changed.
        plan: The roundings.
        ctx: Has the data that the layers are fitted to; None rounds each weight by itself.
    """
    return BuiltLevels(**vars(walk(model, plan, Rounding, ctx, _job, _alone)))


def _alone(model: Model, move: Rounding) -> Levels | None:
    levels = round_alone(model, move)
    return None if levels is None else _levels(levels)


def _job(part: str, move: Rounding, nodes: Sequence[Node], made: dict[str, Levels]) -> Job:
    """Return the job that fits a layer, and puts it on levels, the cheapest weights zero."""

    def solve(layer: LayerProblem, site: Site) -> tuple[np.ndarray, Levels]:
        original = site.layer.weight
        mask = site.matrix(move.kept(original))
        problem = RoundingProblem(**vars(layer), mask=mask, price=move.price)
        rounded, matrix = solve_best(problem, site if move.waves else None)
        weight = site.weight(matrix).astype(original.dtype)
        row = replace(_levels(rounded.levels), error=rounded.error)
        return site.matrix(weight.astype(np.float64)), row

    def write(sites: Sequence[Site], fitted: Fit, row: Levels) -> Levels | None:
        bits = _store(sites, fitted, move)
        return None if bits is None else replace(row, bits=row.bits + bits)

    priced = move.priced
    return fitting(part, move, nodes, made, priced.curvature, solve, write, priced.ridge)


def _store(sites: Sequence[Site], fitted: Fit, move: Rounding) -> float | None:
    """Set a weight and the biases, and return the bits of the biases; None if they do not fit."""
    biases = fitted_biases(sites, fitted)
    if biases is None:
        return None
    site = sites[0]
    value = site.node.inputs[site.layer.weight_at]
    assert value is not None
    edit.set_weight(value, site.weight(fitted.matrix).astype(site.layer.weight.dtype))
    cost = alone(move.priced.curvature).mean()
    exact = step_for(move.price, float(cost))
    bits = 0.0
    for site, bias in zip(sites, biases, strict=True):
        if not bias.size:
            continue
        largest = float(np.abs(bias).max()) / exact
        step = short(np.asarray(exact), largest, precision_of(bias))
        levels = np.rint(bias.astype(np.float64) / step)
        set_bias(site, (levels * step + 0.0).astype(bias.dtype))
        bits += level_bits(levels[None, :, None]) + _STEP_BITS
    return bits


def _levels(levels: np.ndarray) -> Levels:
    zeros = 1 - np.count_nonzero(levels) / max(levels.size, 1)
    largest = int(np.abs(levels).max(initial=0))
    return Levels(level_bits(levels) + _STEP_BITS, zeros, largest)
