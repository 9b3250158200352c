"""What it costs to take each weight, by the criterion that was chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
        ruined: Whether `probe` made outputs NaN or infinite.
    """

    costs: np.ndarray
    probe: np.ndarray | None = None
    probe_error: float = 0.0
    shift: np.ndarray | None = None
    curvature: np.ndarray | None = None
    left_out: bool = False
    ruined: bool = False


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


@dataclass(frozen=True)
class View:
    """What data tell of a weight.

    Attributes:
        candidate: The weight.
        site: Its first layer.
        sums: What its layers read, with no targets.
        curvature: What errors of outputs cost, (groups, outputs, outputs) or (groups, outputs);
            relative to the power of the outputs where no gradient tells.
        parts: Sums and curvature of samples to fit to and to judge by, where they are scarce.
    """

    candidate: LayerWeight
    site: Site
    sums: Regression
    curvature: np.ndarray
    parts: Parts

    @property
    def hessian(self) -> np.ndarray:
        """What an error does at the outputs, (groups, inputs, inputs): biases make up for means."""
        return self.hessian_of(self.sums)

    def hessian_of(self, sums: Regression) -> np.ndarray:
        """Return what an error does at the outputs by sums over some of the samples."""
        return sums.xx if self._biased else sums.about_zero().xx

    def shift(self, off: np.ndarray) -> np.ndarray | None:
        """Return what an error of the weight's shape adds to the mean of each output channel.

        Returns:
            None where there is no bias to make up for it.
        """
        if not self._biased:
            return None
        found: np.ndarray = np.einsum("gi,gio->go", self.sums.x, self.site.matrix(off))
        return found.reshape(-1)

    @property
    def _biased(self) -> bool:
        return bias_place(self.site) is not None


class Views:
    """Looks at what weights do, one after the other, in order of execution."""

    def __init__(
        self, model: Model, candidates: Sequence[LayerWeight], ctx: Context, instead: str
    ) -> None:
        """Sort out what cannot be seen, with a remark, and measure Fisher information.

        Args:
            model: The model as it is.
            candidates: Weights, in order of use.
            ctx: Has the data.
            instead: What the others go by, for people.
        """
        self._model, self._ctx, self._instead = model, ctx, instead
        self._seen: list[tuple[LayerWeight, list[Site]]] = []
        for candidate in candidates:
            sites = sites_of(candidate.nodes, model)
            if isinstance(sites, Refusal):
                self._blind(candidate, sites.code, sites.why)
            elif sites[0].inputs > MOST_INPUTS:
                why = f"{sites[0].inputs} inputs are too many to look at pairs of"
                self._blind(candidate, "too-wide", why)
            else:
                self._seen.append((candidate, sites))
        every = [s for _, sites in self._seen for s in sites]
        self._curvatures = curvature(model, every, ctx)
        self._halves = curvature_parts(model, every, ctx)

    @property
    def works(self) -> list[float]:
        """Operations of a round of conjugate gradients for each weight."""
        first = (sites[0] for _, sites in self._seen)
        known = self._curvatures
        return [
            round_work((s.groups, s.inputs, s.outputs), known.get(s.node.output.name))
            for s in first
        ]

    def __iter__(self) -> Iterator[View]:
        """Yield what is seen of each; the others get a remark."""
        for candidate, sites, sums in input_moments.look(self._model, self._seen, self._ctx):
            if sums is None:
                self._blind(candidate, "unseen", "nothing finite reached it")
                continue
            parts = []
            for at, part in enumerate(sums.parts or ()):
                known = {name: both[at] for name, both in self._halves.items()}
                parts.append((part, _curvature_of(sites, part, candidate, known)))
            own = _curvature_of(sites, sums, candidate, self._curvatures)
            yield View(candidate, sites[0], sums, own, parts)

    def _blind(self, candidate: LayerWeight, code: str, why: str) -> None:
        """Say that data tell nothing of a weight; something is made of it all the same."""
        message = f"{why}: falling back to {self._instead}"
        self._ctx.remark(Severity.NOTE, code, message, candidate.nodes[0])


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
    views = Views(model, candidates, ctx, "magnitude")
    rounds = obs.rounds_for(views.works, obs.least_kept(question.deepest))
    question = replace(question, rounds=rounds)
    return {
        id(v.candidate.value): _cost(v.candidate, v.site, v.sums, v.curvature, question, v.parts)
        for v in views
    }


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
