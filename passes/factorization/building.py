"""Making a model of chosen chains, first layer first, all behind fitted to what they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ocompress.analysis.linear_rows import MOST_INPUTS, Site, bias_place, site_of
from ocompress.analysis.regression import RegressionSums
from ocompress.ir import Model, Node
from ocompress.lossy.applying import jobs_behind, twins_of
from ocompress.lossy.least_squares import Fit
from ocompress.lossy.refit import Built, Job, fitted_biases, refit, set_bias
from ocompress.pipeline import Context
from passes.factorization.absorbing import absorb
from passes.factorization.alternate import Effort
from passes.factorization.forms import ChainForm, Ranks
from passes.factorization.layers import problems_of
from passes.factorization.rewriting import factored, holds, put
from passes.factorization.steps import Step
from passes.factorization.writing import layer_of

_FLOPS = 6e11
"""Operations spent on fitting the factors of a layer, about."""


class HasForms(Protocol):
    """A pass that knows forms by their names."""

    def forms(self) -> Sequence[ChainForm]:
        """Return the forms."""
        ...


@dataclass(frozen=True)
class ChainEdit:
    """Puts a chain in place of a layer.

    Attributes:
        item: The pass that knows the form.
        labels: Labels of the nodes that share the layer's weight, in order of execution.
        form: Name of the form.
        ranks: Its ranks.
        curvature: What errors of outputs cost, (groups, outputs, outputs) in pairs or (groups,
            outputs).
        shape: What the layer reads, or what is flattened before it.
    """

    item: HasForms
    labels: tuple[str, ...]
    form: str
    ranks: Ranks
    curvature: np.ndarray
    shape: tuple[int, ...] = ()

    def apply(self, model: Model) -> bool:
        """Put the chain of the layer's own weight in its place."""
        sites = [s for n in self.nodes(model) if isinstance(s := site_of(n), Site)]
        if len(sites) < len(self.labels):
            return False
        matrix = sites[0].matrix(sites[0].layer.weight.astype(np.float64))
        made = Fit(matrix, np.zeros(matrix.shape[::2]), 0.0, 0.0, 0.0)
        return self.store(sites, made, None) is not None

    def nodes(self, model: Model) -> list[Node]:
        """Return the layer's nodes in a model."""
        found = (model.labelled(label) for label in self.labels)
        return [n for n in found if n is not None and n.graph is model.graph]

    def store(self, sites: Sequence[Site], made: Fit, sums: RegressionSums | None) -> Fit | None:
        """Put the chain of a fitted weight in place of layers, see `refit.Job`."""
        form = next(f for f in self.item.forms() if f.name == self.form)
        return _store(self, form, sites, made, sums)


def build(
    model: Model,
    chains: Mapping[str, ChainEdit],
    takes: Callable[[Node], bool],
    ctx: Context | None,
) -> Built:
    """Return the model with some layers replaced.

    Args:
        model: Not changed.
        chains: What becomes of parts.
        takes: Says which other layers may be fitted.
        ctx: Has the data that layers are fitted to; None fits none.
    """
    clone = model.clone()
    twins = twins_of(clone, model)
    if ctx is None:
        done = frozenset(part for part, chain in chains.items() if chain.apply(clone))
        _finish(clone, chains.values())
        return Built(clone, done=done)
    labels = {id(node): node.label for node in clone.graph.nodes}
    ours = {label for chain in chains.values() for label in chain.labels}
    left = [n.label for n in clone.graph.nodes if n.label not in ours and not takes(n)]
    jobs = [
        Job(c.nodes(clone), masked=False, store=c.store, by_place=True) for c in chains.values()
    ]
    jobs += jobs_behind(clone, ours, {*ours, *left}, masked=False)
    fits = refit(model, clone, twins, jobs, ctx)
    _finish(clone, chains.values())
    found = {labels[key]: made for key, made in fits.items()}
    # a part is called after its first node
    return Built(clone, found, frozenset(part for part in chains if part in found))


def _finish(model: Model, chains: Iterable[ChainEdit]) -> None:
    """Let weights take in the orders of channels that chains brought along."""
    labels = {label for chain in chains for label in chain.labels}
    absorb([n for n in model.graph.nodes if n.is_op("Gather") and layer_of(n.label, labels)])
    model.sort()


def _store(
    target: ChainEdit,
    form: ChainForm,
    sites: Sequence[Site],
    made: Fit,
    sums: RegressionSums | None,
) -> Fit | None:
    """Put a chain in place of layers, as close to a fitted weight as its ranks allow."""
    site = sites[0]
    whole = sums.whole() if sums is not None and site.inputs <= MOST_INPUTS else None
    known = None if whole is None else whole.shrunk()
    problems = problems_of(site, made.matrix, known, target.curvature, target.shape or None)
    every = []
    for problem in problems:
        seen = form.sees(problem)
        factors = form.start(seen)(target.ranks)
        inputs, outputs = problem.matrix.shape
        products = _FLOPS / (2.0 * inputs * inputs * outputs * len(problems))
        effort = Effort(int(min(products / 25, 8)), 8) if whole is not None else Effort(0, 0)
        every.append(form.fitted(seen, factors, effort))
    chain = factored(form, problems, every)
    matrix = chain.matrix()
    if whole is None or sums is None:
        return made if _put(sites, chain.links(), None) else None
    biased = bias_place(site) is not None
    bias = whole.bias(matrix) if biased else np.zeros_like(made.bias)
    after = _judged(sums, matrix, bias, biased=biased)
    result = Fit(matrix, bias, made.after, after, 1.0)
    biases = fitted_biases(sites, result)
    return result if biases is not None and _put(sites, chain.links(), biases) else None


def _put(sites: Sequence[Site], steps: Sequence[Step], biases: Sequence[np.ndarray] | None) -> bool:
    if not holds(sites[0], steps):
        return False
    for site, bias in zip(sites, biases or (), strict=biases is not None):
        set_bias(site, bias)  # before the chain puts it where it belongs
    return put(sites, steps)


def _judged(sums: RegressionSums, matrix: np.ndarray, bias: np.ndarray, *, biased: bool) -> float:
    """Return the error on the samples that the weight was not fitted to, relative to power."""
    parts = sums.parts()
    if parts is None:
        return 0.0
    judge = parts[1] if biased else parts[1].about_zero()
    power = max(float(judge.yy.sum()), 1e-30)
    return float(judge.errors(matrix, bias).sum()) / power
