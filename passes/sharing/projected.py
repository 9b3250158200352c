"""Making the model of projected weights: layer after layer, each on what those before now make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ocompress.analysis.linear_rows import Site, bias_place
from ocompress.analysis.regression import Regression, RegressionSums
from ocompress.ir import Model, Node, edit
from ocompress.lossy import Plan
from ocompress.lossy.applying import jobs_behind, twins_of
from ocompress.lossy.fisher import alone
from ocompress.lossy.layer_weights import LayerWeight, weight_of
from ocompress.lossy.least_squares import Fit
from ocompress.lossy.refit import Built, Job, fitted_biases, refit, set_bias
from ocompress.pipeline import Context
from passes.sharing.layers import Layer, refitted
from passes.sharing.quadratic import Quadratic

_FEW = 0.5
"""Part of the weights up to which different values are a form that a fit would ruin."""


class Code(Protocol):
    """A form of a weight that says it in few bits."""

    @property
    def method(self) -> str:
        """What it is, in a word."""
        ...

    @property
    def setting(self) -> str:
        """How far it goes, for people."""
        ...

    def nbytes(self, layer: Layer) -> int:
        """Return about what a packed file holds of a layer."""
        ...

    def solve(self, problem: Quadratic, layer: Layer, *, quick: bool = False) -> np.ndarray:
        """Return the weight of this form that costs least, (groups, inputs, outputs).

        Args:
            problem: What errors cost; the best weight is not that of the layer.
            layer: The layer as it was.
            quick: Whether about what it costs is all that matters.
        """
        ...


@dataclass(frozen=True, eq=False)
class Projection:
    """Puts a weight into a form.

    Attributes:
        readers: Labels of the nodes that read it.
        index: Input of the first of them.
        code: The form.
        curvature: What errors of outputs cost.
        seen: Whether data tell what the layer reads.
    """

    readers: tuple[str, ...]
    index: int
    code: Code
    curvature: np.ndarray
    seen: bool

    def apply(self, model: Model) -> bool:
        """Project the weight by itself."""
        node = next((n for _, n in model.nodes() if n.label == self.readers[0]), None)
        found = weight_of(node) if node is not None else None
        if node is None or found is None:
            return False
        layer = Layer(LayerWeight(*found, [node]))
        matrix = self.code.solve(layer.alone(), layer)
        edit.set_weight(found[0], layer.array(matrix).astype(layer.weight.array.dtype))
        return True


def build(model: Model, plan: Plan, ctx: Context | None) -> Built:
    """Return a model with weights projected, and the layers behind them fitted.

    Args:
        model: Not changed.
        plan: The projections.
        ctx: Has the data that layers are fitted to; None projects each weight by itself.
    """
    clone = model.clone()
    twins = twins_of(clone, model)
    by_label = {n.label: n for _, n in clone.nodes()}
    moves = {part: m.edit for part, m in plan.items() if isinstance(m.edit, Projection)}
    done: set[str] = set()
    fits: Mapping[int, Fit] = {}
    if ctx is not None and moves:
        jobs = [
            _job(part, move, [by_label[r] for r in move.readers], done)
            for part, move in moves.items()
            if move.seen and all(r in by_label for r in move.readers)
        ]
        jobs += _behind(clone, moves)
        fits = refit(model, clone, twins, jobs, ctx)
    labels = {id(n): n.label for n in clone.graph.nodes}
    for part, move in moves.items():
        if part not in done and move.apply(clone):
            done.add(part)
    return Built(clone, {labels[key]: one for key, one in fits.items()}, frozenset(done))


def _behind(model: Model, moves: Mapping[str, Projection]) -> list[Job]:
    """Return the jobs that fit layers that keep their weights, unless those have a form as well."""
    readers = {reader for move in moves.values() for reader in move.readers}
    first = [n.label for n in model.graph.nodes if n.label in readers]
    found = []
    for job in jobs_behind(model, first[:1], readers):
        weight = weight_of(job.nodes[0])
        if weight is None or weight[0].data is None:
            continue
        array = weight[0].data
        if len(np.unique(array)) > _FEW * np.count_nonzero(array):
            found.append(job)
    return found


def _job(part: str, move: Projection, nodes: Sequence[Node], done: set[str]) -> Job:
    """Return the job that puts a layer into its form."""
    value = nodes[0].inputs[move.index]
    assert value is not None
    assert value.data is not None
    found = weight_of(nodes[0])
    assert found is not None
    weight = LayerWeight(*found, list(nodes))
    original = value.data

    def store(sites: Sequence[Site], fit: Fit, sums: RegressionSums | None) -> Fit | None:
        whole = sums.whole() if sums is not None else None
        if whole is None:
            return None
        if bias_place(sites[0]) is None:
            whole = whole.about_zero()
        layer = Layer(weight, sites[0])
        start = layer.matrix(original.astype(np.float64))
        problem = refitted(start, whole, fit.damping, move.curvature)
        matrix = move.code.solve(problem, layer)
        array = layer.array(matrix).astype(original.dtype)
        made = _made(whole, fit, layer.matrix(array.astype(np.float64)), move)
        biases = fitted_biases(sites, made)
        if biases is None:
            return None
        edit.set_weight(value, array)
        for site, bias in zip(sites, biases, strict=True):
            set_bias(site, bias)
        done.add(part)
        return made

    return Job(nodes, masked=False, store=store)


def _made(whole: Regression, fit: Fit, matrix: np.ndarray, move: Projection) -> Fit:
    """Return what is told of a layer: the error of its outputs, by what they cost."""
    bias = whole.bias(matrix)
    weights = alone(move.curvature)
    power = max(float((weights * whole.yy).sum()), 1e-30)
    after = float((weights * whole.errors(matrix, bias)).sum()) / power
    return replace(fit, matrix=matrix, bias=bias, after=after)
