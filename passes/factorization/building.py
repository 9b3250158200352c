"""Making a model of chosen chains, first layer first, all behind fitted to what they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ocompress.analysis.linear_rows import MOST_INPUTS, Site, bias_place, site_of
from ocompress.analysis.regression import RegressionSums
from ocompress.ir import Model, Node
from ocompress.lossy.least_squares import Fit
from ocompress.lossy.refit import Built, Job, fitted_biases, refit, set_bias
from ocompress.pipeline import Context
from passes.factorization.absorbing import absorb
from passes.factorization.alternate import Effort
from passes.factorization.forms import Form, Ranks
from passes.factorization.layers import problems_of
from passes.factorization.rewriting import factored, holds, put
from passes.factorization.steps import Step

_FLOPS = 6e11
"""Operations spent on fitting the factors of a layer, about."""


@dataclass(frozen=True)
class Target:
    """What becomes of a layer.

    Attributes:
        form: Its form.
        ranks: Its ranks.
        minds: What errors of outputs cost, (groups, outputs, outputs) in pairs or (groups,
            outputs).
        shape: What it reads, or what is flattened before it.
    """

    form: Form
    ranks: Ranks
    minds: np.ndarray
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Chained(Built):
    """A model of chains.

    Attributes:
        replaced: The parts that became one; a layer that nothing finite reaches, or whose type
            cannot hold the factors, stays.
    """

    replaced: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Builder:
    """Puts chains into clones of a model.

    Attributes:
        model: The model; not changed.
        parts: Labels of the nodes of every layer that could be changed, by part.
        fit: Whether layers are fitted to data.
        ctx: Has the data.
    """

    model: Model
    parts: Mapping[str, Sequence[str]]
    fit: bool
    ctx: Context

    def build(self, targets: Mapping[str, Target], *, fit: bool | None = None) -> Chained:
        """Return the model with some layers replaced.

        Args:
            targets: What becomes of parts.
            fit: Whether layers are fitted, instead of what the builder says.
        """
        clone = self.model.clone()
        by_label = {n.label: n for n in clone.graph.nodes}
        nodes = {part: [by_label[x] for x in labels] for part, labels in self.parts.items()}
        if not (self.fit if fit is None else fit):
            done = set()
            for part, target in targets.items():
                sites = [s for n in nodes[part] if isinstance(s := site_of(n), Site)]
                matrix = sites[0].matrix(sites[0].layer.weight.astype(np.float64))
                made = Fit(matrix, np.zeros(matrix.shape[::2]), 0.0, 0.0, 0.0)
                if _store(target, sites, made, None) is not None:
                    done.add(part)
            self._finish(clone, targets)
            return Chained(clone, replaced=frozenset(done))
        pairs = zip(clone.graph.nodes, self.model.graph.nodes, strict=True)
        twins = {id(node): twin for node, twin in pairs}
        labels = {id(node): node.label for node in clone.graph.nodes}
        jobs = _jobs(clone, nodes, targets)
        fits = refit(self.model, clone, twins, jobs, self.ctx)
        self._finish(clone, targets)
        found = {labels[key]: made for key, made in fits.items()}
        done = {part for part in targets if part in found}  # a part is called after its first node
        return Chained(clone, found, frozenset(done))

    def _finish(self, model: Model, targets: Mapping[str, Target]) -> None:
        """Let weights take in the orders of channels that chains brought along."""
        starts = tuple(f"{label}_factor" for part in targets for label in self.parts[part])
        absorb([n for n in model.graph.nodes if n.is_op("Gather") and n.label.startswith(starts)])
        model.sort()


def _jobs(
    model: Model, nodes: Mapping[str, Sequence[Node]], targets: Mapping[str, Target]
) -> list[Job]:
    """Return what is replaced, and every layer behind the first of them to be fitted."""
    order = {id(n): at for at, n in enumerate(model.graph.nodes)}
    first = min(order[id(n)] for part in targets for n in nodes[part])
    jobs = []
    for part, readers in nodes.items():
        target = targets.get(part)
        if target is not None:
            jobs.append(Job(readers, masked=False, store=partial(_store, target)))
        elif min(order[id(n)] for n in readers) > first:
            jobs.append(Job(readers, masked=False))
    return jobs


def _store(
    target: Target, sites: Sequence[Site], made: Fit, sums: RegressionSums | None
) -> Fit | None:
    """Put a chain in place of layers, as close to a fitted weight as its ranks allow."""
    site = sites[0]
    whole = sums.whole() if sums is not None and site.inputs <= MOST_INPUTS else None
    known = None if whole is None else whole.shrunk()
    problems = problems_of(site, made.matrix, known, target.minds, target.shape or None)
    every = []
    for problem in problems:
        seen = target.form.sees(problem)
        factors = target.form.start(seen)(target.ranks)
        inputs, outputs = problem.matrix.shape
        products = _FLOPS / (2.0 * inputs * inputs * outputs * len(problems))
        effort = Effort(int(min(products / 25, 8)), 8) if whole is not None else Effort(0, 0)
        every.append(target.form.fitted(seen, factors, effort))
    chain = factored(target.form, problems, every)
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
    put(sites, steps)
    graph = sites[0].node.graph
    assert graph is not None
    graph.sort()
    return True


def _judged(sums: RegressionSums, matrix: np.ndarray, bias: np.ndarray, *, biased: bool) -> float:
    """Return the error on the samples that the weight was not fitted to, relative to power."""
    parts = sums.parts()
    if parts is None:
        return 0.0
    judge = parts[1] if biased else parts[1].about_zero()
    power = max(float(judge.yy.sum()), 1e-30)
    return float(judge.errors(matrix, bias).sum()) / power
