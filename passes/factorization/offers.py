"""What each layer could become: every form at a ladder of ranks, with error, size and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ocompress.analysis.linear_rows import bias_place
from ocompress.ir import Model
from ocompress.planning import KEEP, Candidate
from passes.factorization.alternate import Effort
from passes.factorization.forms import Form, Ranks, Starts
from passes.factorization.ladders import RanksOf
from passes.factorization.layers import Layer
from passes.factorization.problem import Problem
from passes.factorization.rewriting import Factored, factored
from passes.factorization.steps import bytes_of
from passes.factorization.timing import alone, milliseconds
from passes.reconstruction.trying import Change, Trial
from passes.reconstruction.work import work_of

_LEAST_SAVED = 0.05
"""Part of the multiply-accumulates that a chain has to save, at least."""
_WORST = 0.5
"""Part of what the layer does that may be lost, at most, for a form to be worth a look."""
_PROBED = 0.6
"""Part of the multiply-accumulates left in what is tried in the model, at most."""
_FLOPS = 8e10
"""Operations spent on fitting the candidates of a layer, about."""


@dataclass(frozen=True)
class Offer:
    """A form with ranks for a layer, and the row of the table that it stands for.

    Attributes:
        form: The form; None keeps the layer.
        ranks: Its ranks.
        row: Error, size and time.
    """

    form: Form | None
    ranks: Ranks
    row: Candidate


@dataclass
class Offers:
    """All that a layer could become.

    Attributes:
        rows: The offers; the first keeps the layer.
        power: What it would cost to leave the layer out.
        probe: One that is worth trying in the model, to see what its error does.
    """

    rows: list[Offer]
    power: float
    probe: Trial | None = None


@dataclass(frozen=True)
class Search:
    """What is tried.

    Attributes:
        forms: The forms.
        ranks: Gives the ranks that are tried of a form.
        timed: Whether this machine measures times.
        opset: Version of the operators.
        seed: Seeds what is fed while timing.
    """

    forms: Sequence[Form]
    ranks: RanksOf
    timed: bool
    opset: int
    seed: int


def offers(layer: Layer, search: Search) -> Offers:
    """Return everything a layer could become; the first keeps it.

    A chain that has as many weights as the layer or multiplies about as much is left out.

    Args:
        layer: The layer.
        search: What is tried.
    """
    site = layer.site
    size = site.layer.weight.nbytes
    found = [Offer(None, (), Candidate(layer.name, KEEP, "", 0.0, size, layer.macs))]
    models = [alone(site, layer.shape, search.opset)]
    once = _work(models[0])
    ready = _ready(layer, search.forms)
    rungs = {f.name: search.ranks(f, f.sees(layer.problems[0])) for f, _ in ready}
    effort = _effort(layer.problems[0], sum(map(len, rungs.values())) * len(layer.problems))
    probe: tuple[float, Factored, float] | None = None
    for form, starts in ready:
        for ranks in rungs[form.name]:
            made = _try(layer, form, starts, ranks, effort)
            if made is None:
                continue
            chain, error = made
            steps = chain.links()
            model = alone(site, layer.shape, search.opset, steps)
            bytes_ = bytes_of(steps, site.layer.weight.itemsize)
            share = _work(model) / max(once, 1.0)
            if model is None or share > 1 - _LEAST_SAVED or bytes_ >= size:
                continue
            row = Candidate(
                layer.name, form.name, form.setting(ranks), error, bytes_, layer.macs * share
            )
            found.append(Offer(form, ranks, row))
            models.append(model)
            if share <= _PROBED and (probe is None or error < probe[0]):
                probe = error, chain, share
    if search.timed:
        found = _timed(found, models, layer, search.seed)
    power = sum(p.power() for p in layer.problems)
    return Offers(found, power, None if probe is None else _trial(layer, probe[1], probe[0]))


def _trial(layer: Layer, chain: Factored, error: float) -> Trial:
    site = layer.site
    matrix = chain.matrix()
    before = site.matrix(site.layer.weight.astype(np.float64))
    changes = []
    for each in layer.sites:
        shift = None
        if layer.mean is not None and bias_place(each) is not None:
            shift = np.einsum("gi,gio->go", layer.mean, matrix - before).reshape(-1)
        changes.append(Change(each.node.label, each.layer.weight_at, each.weight(matrix), shift))
    return Trial(changes, error)


def _work(model: Model | None) -> float:
    return 0.0 if model is None else sum(work_of(model, None).values())


def _ready(layer: Layer, forms: Sequence[Form]) -> list[tuple[Form, list[Starts]]]:
    return [
        (form, [form.start(form.sees(p)) for p in layer.problems])
        for form in forms
        if form.refusal(layer.problems[0]) is None
        and (form.transposes or not layer.site.transposed)
    ]


def _try(
    layer: Layer, form: Form, starts: Sequence[Starts], ranks: Ranks, effort: Effort
) -> tuple[Factored, float] | None:
    every = [
        form.fitted(form.sees(problem), start(ranks), effort)
        for problem, start in zip(layer.problems, starts, strict=True)
    ]
    chain = factored(form, layer.problems, every)
    pairs = zip(layer.problems, chain.tensors, strict=True)
    total = sum(problem.error(tensor @ problem.scale) for problem, tensor in pairs)
    if not np.isfinite(total) or total > _WORST * sum(p.power() for p in layer.problems):
        return None
    return chain, total


def _timed(
    found: Sequence[Offer], models: Sequence[Model | None], layer: Layer, seed: int
) -> list[Offer]:
    times = milliseconds(models, layer.shape, seed)
    each = len(layer.sites)
    return [
        replace(offer, row=replace(offer.row, ms=ms * each if np.isfinite(ms) else None))
        for offer, ms in zip(found, times, strict=True)
        if offer.form is None or np.isfinite(ms)
    ]


def _effort(problem: Problem, count: int) -> Effort:
    """Return how long the factors of each candidate are fitted, so that all are soon done."""
    inputs, outputs = problem.matrix.shape
    products = _FLOPS / max(2.0 * inputs * inputs * outputs * max(count, 1), 1.0)
    steps = int(min(products / 5, 6))
    return Effort(1, steps) if steps >= 2 else Effort(0, 0)
