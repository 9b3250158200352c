"""Layers whose weights are projected: as matrices, with what their errors cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.analysis.linear_rows import MOST_INPUTS, Site, bias_place
from ocompress.analysis.regression import Regression
from ocompress.diagnostics import Severity
from ocompress.ir import Model, Node
from ocompress.lossy import input_moments
from ocompress.lossy.fisher import curvature
from ocompress.lossy.layer_weights import LayerWeight, sites_of, weight_of
from ocompress.pipeline import Context
from passes.sharing.pricing import flat, relative, unflat
from passes.sharing.quadratic import Quadratic

DAMPING = 0.1
"""Largest ridge, relative to the mean variance of the inputs: more would charge errors of rounding
for what inputs hardly do."""


@dataclass(frozen=True)
class Layer:
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
        mean: Mean of what it reads, (groups, inputs), where a bias makes up for it; else None.
        seen: Whether data tell what it reads.
    """

    layer: Layer
    problem: Quadratic
    mean: np.ndarray | None = None
    seen: bool = False

    def shift(self, matrix: np.ndarray) -> np.ndarray | None:
        """Return what another weight adds to the mean of each output; None without a bias."""
        if self.mean is None:
            return None
        off = matrix - self.problem.target
        return np.asarray(np.einsum("gi,gio->go", self.mean, off).reshape(-1))


def layer_of(node: Node) -> Layer | None:
    """Return the layer of a node by itself; None if it has no weight."""
    found = weight_of(node)
    return None if found is None else Layer(LayerWeight(*found, [node]))


def measured(model: Model, weights: Sequence[LayerWeight], ctx: Context | None) -> list[Measured]:
    """Find out what errors of weights cost, by data or, where those say nothing, by themselves.

    Args:
        model: The model as it is.
        weights: Its weights.
        ctx: Has the data; None to go by the weights alone.

    Returns:
        A layer for every weight, in their order.
    """
    seen: list[tuple[LayerWeight, list[Site]]] = []
    for weight in weights if ctx is not None else ():
        sites = sites_of(weight.nodes, model)
        if isinstance(sites, Refusal):
            _say(weight, sites.code, sites.why, ctx)
        elif sites[0].inputs > MOST_INPUTS:
            why = f"{sites[0].inputs} inputs are too many to look at pairs of"
            _say(weight, "too-wide", why, ctx)
        else:
            seen.append((weight, sites))
    found: dict[int, Measured] = {}
    if ctx is not None and seen:
        curvatures = curvature(model, [s for _, sites in seen for s in sites], ctx)
        for weight, sites, sums in input_moments.look(model, seen, ctx):
            if sums is None:
                _say(weight, "unseen", "nothing finite reached it", ctx)
                continue
            known = [curvatures.get(s.node.output.name) for s in sites]
            found[id(weight.value)] = _seen(weight, sites[0], sums, known)
    return [found.get(id(w.value)) or _alone(w) for w in weights]


def _alone(weight: LayerWeight) -> Measured:
    layer = Layer(weight)
    return Measured(layer, layer.alone())


def _seen(
    weight: LayerWeight, site: Site, sums: Regression, known: Sequence[np.ndarray | None]
) -> Measured:
    layer = Layer(weight, site)
    target = layer.matrix(weight.array.astype(np.float64))
    biased = bias_place(site) is not None
    hessian = (sums if biased else sums.about_zero()).xx
    costs = [c for c in known if c is not None]
    if len(costs) == len(known):
        total = np.asarray(np.sum(costs, axis=0))
    else:  # relative to what the layer puts out, or layers could not be compared
        power = (target * (hessian @ target)).sum(axis=1)
        total = np.full(power.shape, 1 / max(float(power.sum()), 1e-30))
    problem = Quadratic(target, damped(hessian, DAMPING), total)
    return Measured(layer, problem, sums.x if biased else None, seen=True)


def damped(hessian: np.ndarray, ridge: float) -> np.ndarray:
    """Return products of inputs with a ridge, relative to their mean variance."""
    found = hessian.copy()
    diagonal = np.einsum("gii->gi", found)
    diagonal += np.maximum(diagonal.mean(axis=1, keepdims=True), 1e-30) * ridge
    return found


def refitted(
    start: np.ndarray, sums: Regression, damping: float | None, costs: np.ndarray
) -> Quadratic:
    """Return what errors of a layer cost on what it reads now, about the best weight for that.

    Args:
        start: The weight of the original's layer, (groups, inputs, outputs).
        sums: Of what it reads now and of what the original's layer makes, about zero for a layer
            without a bias.
        damping: The ridge that proved itself, relative to the mean variance; None if none did.
        costs: What errors of outputs cost.
    """
    hessian = damped(sums.shrunk().xx, min(DAMPING, damping or DAMPING))
    # what the samples do not tell about is to stay as it is
    told = 1 - sums.shares[:, None, None]
    wanted = told * sums.xy + (hessian - told * sums.xx) @ start
    return Quadratic(np.linalg.solve(hessian, wanted), hessian, costs)


def _say(weight: LayerWeight, code: str, why: str, ctx: Context | None) -> None:
    if ctx is not None:
        ctx.remark(Severity.NOTE, code, f"{why}: going by the weights alone", weight.nodes[0])
