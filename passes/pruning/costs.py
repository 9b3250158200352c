"""What it costs to take each weight, by the criterion that was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.analysis.linear_rows import MOST_INPUTS, Site, bias_place
from ocompress.analysis.regression import Regression
from ocompress.diagnostics import Severity
from ocompress.ir import Model
from ocompress.lossy import input_moments
from ocompress.lossy.fisher import alone, curvature, curvature_parts
from ocompress.lossy.layer_weights import LayerWeight, sites_of
from ocompress.lossy.least_squares import round_work
from ocompress.pipeline import Context
from passes.pruning import obs
from passes.pruning.patterns import Pattern

CRITERIA = ("auto", "l1", "l2", "strength", "wanda", "taylor", "obs")
DATA_FREE = ("l1", "l2")
_SEEN = 0.5
"""Rows per input below which what goes is also judged on samples left out: few rows span few
directions, and taking all that none of them needs seems to cost nothing."""
Parts = Sequence[tuple[Regression, np.ndarray]]
"""Sums and curvature of the samples to fit to and of those to judge by; none of enough samples."""


@dataclass(frozen=True)
class Costed:
    """The costs of a weight.

    Attributes:
        costs: One number per weight, float32, of the weight's shape.
        probe: The weight with the cheapest gone and the others fitted anew, to be tried alone;
            None if the criterion makes none.
        probe_error: What the criterion says the error of `probe` costs.
        shift: What `probe` adds to each output channel in the mean, less what the weight did,
            for a bias to make up for; None where there is none.
        curvature: What errors of outputs cost, (groups, outputs, outputs) or (groups, outputs).
        left_out: Whether `probe` was fitted to a part of the samples only, and the others are to
            tell what it costs.
    """

    costs: np.ndarray
    probe: np.ndarray | None = None
    probe_error: float = 0.0
    shift: np.ndarray | None = None
    curvature: np.ndarray | None = None
    left_out: bool = False


@dataclass(frozen=True)
class Question:
    """What is asked of a criterion.

    Attributes:
        criterion: One of `CRITERIA` that needs data.
        pattern: Which weights go together.
        sparsity: About the share of weights that will go.
        deepest: The largest share that any layer was asked to lose.
        rounds: Of fitting after each step; `measure` knows.
    """

    criterion: str
    pattern: Pattern
    sparsity: float
    deepest: float
    rounds: int = 0


def measure(
    model: Model, candidates: Sequence[LayerWeight], question: Question, ctx: Context
) -> dict[int, Costed]:
    """Measure on data what it costs to take each weight.

    Args:
        model: The model as it is.
        candidates: Weights, in order of use.
        question: What is asked.
        ctx: Has the data.

    Returns:
        By id of the candidate's value; those that cannot be seen are left out, with a remark.
    """
    seen: list[tuple[LayerWeight, list[Site]]] = []
    for candidate in candidates:
        sites = sites_of(candidate.nodes, model)
        if isinstance(sites, Refusal):
            _blind(candidate, sites.code, sites.why, ctx)
        elif sites[0].inputs > MOST_INPUTS:
            why = f"{sites[0].inputs} inputs are too many to look at pairs of"
            _blind(candidate, "too-wide", why, ctx)
        else:
            seen.append((candidate, sites))
    every = [s for _, sites in seen for s in sites]
    curvatures, halves = curvature(model, every, ctx), curvature_parts(model, every, ctx)
    first = (sites[0] for _, sites in seen)
    works = [
        round_work((s.groups, s.inputs, s.outputs), curvatures.get(s.node.output.name))
        for s in first
    ]
    question = replace(question, rounds=obs.rounds_for(works, obs.least_kept(question.deepest)))
    found = {}
    for candidate, sites, sums in input_moments.look(model, seen, ctx):
        if sums is None:
            _blind(candidate, "unseen", "nothing finite reached it", ctx)
            continue
        own = _curvature_of(sites, sums, candidate, curvatures)
        parts = []
        for at, part in enumerate(sums.parts or ()):
            known = {name: both[at] for name, both in halves.items()}
            parts.append((part, _curvature_of(sites, part, candidate, known)))
        site = sites[0]
        found[id(candidate.value)] = _cost(candidate, site, sums, own, question, parts)
    return found


def _blind(candidate: LayerWeight, code: str, why: str, ctx: Context) -> None:
    """Say that data tell nothing of a weight; it is pruned all the same."""
    ctx.remark(Severity.NOTE, code, f"{why}: falling back to magnitude", candidate.nodes[0])


def _curvature_of(
    sites: Sequence[Site],
    sums: Regression,
    candidate: LayerWeight,
    curvatures: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Return what an error of each output costs; relative to its power where nothing is known."""
    known = [curvatures[s.node.output.name] for s in sites if s.node.output.name in curvatures]
    if len(known) == len(sites):
        total: np.ndarray = np.sum(known, axis=0)
        return total
    matrix = sites[0].matrix(candidate.array.astype(np.float64))
    power = (matrix * (sums.xx @ matrix)).sum(axis=1)
    relative: np.ndarray = np.full(power.shape, 1 / max(float(power.sum()), 1e-30))
    return relative


def _cost(
    candidate: LayerWeight,
    site: Site,
    sums: Regression,
    metric: np.ndarray,
    question: Question,
    parts: Parts,
) -> Costed:
    matrix = site.matrix(candidate.array.astype(np.float64))
    if question.criterion == "obs":
        return _surgeon(candidate, site, sums, metric, question, parts)
    about_zero = sums.about_zero()
    power = np.einsum("gii->gi", about_zero.xx)
    if question.criterion == "strength":
        power = _per_kernel(site, np.einsum("gii->gi", sums.xx))
    costs = np.square(matrix) * power[:, :, None]
    if question.criterion == "taylor":
        costs = costs * alone(metric)[:, None]
    else:
        # relative to what the layer puts out, or layers could not be compared
        costs /= max(float((matrix * (about_zero.xx @ matrix)).sum()), 1e-30)
    return Costed(site.weight(costs).astype(np.float32), curvature=metric)


def _per_kernel(site: Site, variance: np.ndarray) -> np.ndarray:
    """Give all taps of an input channel its mean variance; (groups, inputs)."""
    if site.window is None:
        return variance
    taps = int(np.prod(site.window.kernel))
    mean = variance.reshape(site.groups, -1, taps).mean(axis=2, keepdims=True)
    return np.repeat(mean, taps, axis=2).reshape(variance.shape)


def _surgeon(
    candidate: LayerWeight,
    site: Site,
    sums: Regression,
    metric: np.ndarray,
    question: Question,
    parts: Parts,
) -> Costed:
    biased = bias_place(site) is not None

    def hessian(seen: Regression) -> np.ndarray:
        return seen.xx if biased else seen.about_zero().xx

    pattern, form = question.pattern, candidate.form
    units = obs.Units()
    if pattern.is_block:
        units = obs.Units(site.matrix(pattern.numbers(form)), pattern.sizes(form))
    matrix = site.matrix(candidate.array.astype(np.float64))
    least = obs.least_kept(question.deepest)
    asked = obs.SurgeonProblem(matrix, hessian(sums), metric, units, question.rounds, least)
    tried = None
    if parts and sums.count < _SEEN * site.inputs:
        (fit, within), (judge, other) = parts
        own = replace(asked, hessian=hessian(fit), curvature=within, judge=(hessian(judge), other))
        tried = obs.trace(own, question.sparsity)
        asked = replace(asked, shares=tried.shares)
    traced = obs.trace(asked, question.sparsity)
    tried = tried or traced
    shift = None
    if biased:
        shift = np.einsum("gi,gio->go", sums.x, tried.probe - matrix).reshape(-1)
    probe = site.weight(tried.probe)
    left_out = tried is not traced
    return Costed(site.weight(traced.costs), probe, traced.probe_error, shift, metric, left_out)
