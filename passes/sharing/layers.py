"""Layers whose weights are projected: as matrices, with what their errors cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_rows import Site
from ocompress.ir import Model
from ocompress.lossy.layer_weights import LayerWeight
from ocompress.pipeline import Context
from passes.pruning.costs import View, Views
from passes.sharing.layer_problem import damped
from passes.sharing.pricing import flat, relative, unflat
from passes.sharing.quadratic import Quadratic


@dataclass(frozen=True)
class WeightStack:
    """A weight as a stack of matrices.

    Attributes:
        weight: The weight.
        site: How its first node reads it; None where that is not looked at, and all that is not the
            axis of the outputs is one.
    """

    weight: LayerWeight
    site: Site | None = None

    def matrix(self, array: np.ndarray) -> np.ndarray:
        """Return an array of the weight's shape as (groups, inputs, outputs)."""
        if self.site is None:
            return flat(self.weight, array)
        return np.ascontiguousarray(self.site.matrix(array))

    def array(self, matrix: np.ndarray) -> np.ndarray:
        """Return what `matrix` made of an array, in the weight's shape."""
        return unflat(self.weight, matrix) if self.site is None else self.site.weight(matrix)

    def alone(self) -> Quadratic:
        """Return what errors cost by the weight alone, relative to the power of the outputs."""
        target = self.matrix(self.weight.array.astype(np.float64))
        return Quadratic(target, None, relative(self.weight))


@dataclass(frozen=True)
class Measured:
    """A layer and what its errors cost.

    Attributes:
        layer: The layer.
        problem: What errors cost.
        view: What data tell of it; None if nothing.
    """

    layer: WeightStack
    problem: Quadratic
    view: View | None = None

    def shift(self, matrix: np.ndarray) -> np.ndarray | None:
        """Return what another weight adds to the mean of each output; None without a bias."""
        if self.view is None:
            return None
        return self.view.shift(self.layer.array(matrix - self.problem.target))


def measured(model: Model, weights: Sequence[LayerWeight], ctx: Context | None) -> list[Measured]:
    """Find out what errors of weights cost, by data or, where those say nothing, by themselves.

    Args:
        model: The model as it is.
        weights: Its weights.
        ctx: Has the data; None to go by the weights alone.

    Returns:
        A layer for every weight, in their order.
    """
    views = Views(model, weights, ctx, "the weights alone") if ctx is not None else ()
    found = {id(view.candidate.value): _seen(view) for view in views}
    return [found.get(id(w.value)) or _alone(w) for w in weights]


def _alone(weight: LayerWeight) -> Measured:
    layer = WeightStack(weight)
    return Measured(layer, layer.alone())


def _seen(view: View) -> Measured:
    layer = WeightStack(view.candidate, view.site)
    target = layer.matrix(view.candidate.array.astype(np.float64))
    return Measured(layer, Quadratic(target, damped(view.hessian), view.curvature), view)
