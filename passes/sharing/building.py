"""Rounding layer after layer, each on what the layers before it now make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ocompress.analysis.linear_rows import Site, bias_place
from ocompress.analysis.regression import RegressionSums
from ocompress.coding import level_bits
from ocompress.ir import Model, Node, edit
from ocompress.lossy.engine import Plan
from ocompress.lossy.fisher import alone
from ocompress.lossy.least_squares import Fit
from ocompress.lossy.refit import Built, Job, fitted_biases, set_bias
from ocompress.pipeline import Context
from passes.sharing.descent import RoundingProblem
from passes.sharing.layer_problem import layer_problem, precision_of, relative_error
from passes.sharing.offers import Rounding, round_alone
from passes.sharing.rounding import short, solve, step_for
from passes.sharing.walking import walk

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
class BuiltLevels(Built):
    """A model on levels.

    Attributes:
        levels: What became of each part.
    """

    levels: Mapping[str, Levels] = field(default_factory=dict)

    @property
    def bits(self) -> float:
        """Bits of all weights that were rounded."""
        return sum(row.bits for row in self.levels.values())


def build(model: Model, plan: Plan, ctx: Context | None) -> BuiltLevels:
    """Return the model with its weights on levels.

    Args:
        model: Not changed.
        plan: The roundings.
        ctx: Has the data that the layers are fitted to; None rounds each weight by itself.
    """
    moves = {part: m.edit for part, m in plan.items() if isinstance(m.edit, Rounding)}
    clone, fits, made = walk(model, moves, ctx, _job, _alone)
    return BuiltLevels(clone, fits, frozenset(made), made)


def _alone(model: Model, move: Rounding) -> Levels | None:
    levels = round_alone(model, move)
    return None if levels is None else _levels(levels)


def _job(part: str, move: Rounding, nodes: Sequence[Node], made: dict[str, Levels]) -> Job:
    """Return the job that fits a layer, and puts it on levels, the cheapest weights zero."""
    value = nodes[0].inputs[move.index]
    assert value is not None
    assert value.data is not None
    original = value.data
    kept = move.kept(original)

    def store(sites: Sequence[Site], fit: Fit, sums: RegressionSums | None) -> Fit | None:
        whole = sums.whole() if sums is not None else None
        if whole is None:
            return None
        if bias_place(sites[0]) is None:
            whole = whole.about_zero()
        layer = layer_problem(sites[0], original, fit, whole, move.priced.curvature)
        rounded = solve(
            RoundingProblem(**vars(layer), mask=sites[0].matrix(kept), price=move.price)
        )
        weight = sites[0].weight(rounded.matrix).astype(original.dtype)
        matrix = sites[0].matrix(weight.astype(np.float64))
        bias = whole.bias(matrix)
        after = relative_error(whole, matrix, bias, move.priced.curvature)
        fitted = replace(fit, matrix=matrix, bias=bias, after=after)
        bits = _store(sites, fitted, weight, move)
        if bits is None:
            return None
        row = _levels(rounded.levels)
        made[part] = replace(row, bits=row.bits + bits, error=rounded.error)
        return fitted

    return Job(nodes, masked=False, store=store)


def _store(sites: Sequence[Site], fitted: Fit, weight: np.ndarray, move: Rounding) -> float | None:
    """Set a weight and the biases, and return the bits of the biases; None if they do not fit."""
    biases = fitted_biases(sites, fitted)
    if biases is None:
        return None
    value = sites[0].node.inputs[sites[0].layer.weight_at]
    assert value is not None
    edit.set_weight(value, weight)
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
