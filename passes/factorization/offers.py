"""What each layer could become: every form at a ladder of ranks, with error, size and time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ocompress.analysis.linear_rows import bias_place
from ocompress.analysis.work import work_of_typed
from ocompress.ir import Model, inference
from ocompress.lossy.ablation import Change, Trial
from ocompress.planning import KEEP, Edit, Move
from ocompress.profiling.run_time import prices_of_typed, run_ns_of_typed
from ocompress.targets import Target
from passes.factorization.absorbing import unmoved
from passes.factorization.alternate import Effort
from passes.factorization.choices import text_of
from passes.factorization.forms import ChainForm, Ranks
from passes.factorization.ladders import RanksOf
from passes.factorization.layers import LayerGroup
from passes.factorization.left_out import LeftOut
from passes.factorization.problem import Problem
from passes.factorization.rewriting import Factored, factored
from passes.factorization.steps import bytes_of
from passes.factorization.timing import ChainClock, alone

_LEAST_SAVED = 0.05
"""Part of the multiply-accumulates that a chain has to save, at least."""
_WORST = 0.5
"""Part of what the layer does that may be lost, at most, for a form to be worth a look."""
_PROBED = 0.6
"""Part of the multiply-accumulates left in what is tried in the model, at most."""
_HOPELESS = 4.0
"""Error over that of the best form of as much work, beyond which no fitting makes up for it."""
_CLEARLY = 1.3
"""Ratio of times by the target's table from which on a chain will not measure faster than another.
Of 479 chains of two nets no other one that was worth having was left out."""
_FLOPS = 4e10
"""Operations spent on fitting the candidates of a layer, about."""


@dataclass
class Offers:
    """All that a layer could become.

    Attributes:
        rows: The moves; the first keeps the layer.
        power: What it would cost to leave the layer out.
        probe: One that is worth trying in the model, to see what its error does.
    """

    rows: list[Move]
    power: float
    probe: Trial | None = None


@dataclass(frozen=True)
class OfferSearch:
    """What is tried.

    Attributes:
        forms: The forms.
        ranks: Gives the ranks that are tried of a form.
        timed: Whether this machine measures times.
        opset: Version of the operators.
        clock: Times layers and chains.
        chain: Makes the edit that puts a form of some ranks in place of a layer.
        named: Whether the user named ranks: then samples left out do not overrule that.
        wanted: Texts of the only chains that are tried, by name of the layer; none for all.
        target: Has a table of costs.
        hurried: Whether chains are taken for their time alone, so that one that takes longer than
            another and loses more is good for nothing.
        priced: Whether times are those of integers by the target's table instead of measured.
    """

    forms: Sequence[ChainForm]
    ranks: RanksOf
    timed: bool
    opset: int
    clock: ChainClock
    chain: Callable[[LayerGroup, ChainForm, Ranks], Edit]
    target: Target
    named: bool = False
    wanted: Mapping[str, str] = field(default_factory=dict)
    hurried: bool = False
    priced: bool = False

    def takes(self, layer: LayerGroup, form: ChainForm, ranks: Ranks) -> bool:
        """Whether a chain is to be tried for a layer."""
        wanted = self.wanted.get(layer.name)
        return wanted is None or wanted == text_of(form.name, form.setting(ranks))


def offers(layer: LayerGroup, search: OfferSearch) -> Offers:
    """Return everything a layer could become; the first keeps it.

    A chain that has as many weights as the layer or multiplies about as much is left out.

    Args:
        layer: The layer.
        search: What is tried.
    """
    site = layer.site
    plain = alone(site, layer.called, search.opset)
    keep = Move(layer.name, KEEP, "", 0.0, site.layer.weight.nbytes, layer.macs)
    once = max(_work(plain), 1.0)
    drafts = _promising(_drafts(layer, search, once))
    if search.wanted and not drafts:  # so that it can be said what there is
        search = replace(search, wanted={})
        drafts = _promising(_drafts(layer, search, once))
    effort = _effort(layer.problems[0], len(drafts) * len(layer.problems))
    power = sum(p.power() for p in layer.problems)
    # the fewer rows judge, the more has to be kept: chance alone keeps that much
    worst = _WORST * power * (1 - (layer.judges**-0.5 if layer.parts else 0.0))
    left_out = LeftOut(layer, effort)
    drafts = _judged(drafts, layer, effort, left_out, search)
    drafts = [d for d in drafts if search.named or d.judged <= worst]
    found = [keep]
    for draft in drafts:
        row = Move(
            layer.name,
            draft.form.name,
            draft.form.setting(draft.ranks),
            draft.judged,
            draft.bytes,
            layer.macs * draft.share,
            edit=search.chain(layer, draft.form, draft.ranks),
        )
        found.append(row)
    if search.timed:
        models = [plain, *(d.model for d in drafts)]
        if not search.priced:
            errors = [0.0, *(d.judged for d in drafts)] if search.hurried else None
            times = search.clock.times(models, layer.called, errors)
        else:
            times = [_priced(model, search.target) for model in models]
        found = _timed(found, times, layer)
    probe = min((d for d in drafts if d.share <= _PROBED), key=lambda d: d.judged, default=None)
    return Offers(found, power, None if probe is None else _trial(layer, probe, left_out))


@dataclass(frozen=True)
class _Draft:
    """A chain that could take a layer's place.

    Attributes:
        error: What it costs on the samples that it is fitted to.
        judged: What it costs on others.
    """

    form: ChainForm
    ranks: Ranks
    factors: list[list[np.ndarray]]
    error: float
    share: float
    bytes: int
    model: Model
    judged: float = 0.0


def _drafts(layer: LayerGroup, search: OfferSearch, once: float) -> Iterator[_Draft]:
    """Yield chains as they start, those that would save nothing or lose too much left out."""
    site = layer.site
    power = sum(p.power() for p in layer.problems)
    for form in search.forms:
        if form.refusal(layer.problems[0]) or (site.transposed and not form.transposes):
            continue
        seen = [form.sees(p) for p in layer.problems]
        tried = [r for r in search.ranks(form, seen[0]) if search.takes(layer, form, r)]
        starts = [form.start(p) for p in seen] if tried else []
        for ranks in tried:
            factors = [start(ranks) for start in starts]
            steps = unmoved(Factored(form, factors, ()).links(), layer.sites)
            size = bytes_of(steps, site.layer.weight.itemsize)
            error = _error(layer, form, factors) if size < site.layer.weight.nbytes else math.inf
            if not (math.isfinite(error) and error <= _WORST * power):
                continue  # before a model is made, which takes longest
            model = alone(site, layer.called, search.opset, steps)
            share = _work(model) / once
            if model is not None and share <= 1 - _LEAST_SAVED:
                yield _Draft(form, ranks, factors, error, share, size, model)


def _promising(drafts: Iterable[_Draft]) -> list[_Draft]:
    """Leave out what starts much worse than something that multiplies no more."""
    every = list(drafts)
    return [
        d
        for d in every
        if d.error <= _HOPELESS * min(o.error for o in every if o.share <= d.share * (1 + 1e-9))
    ]


def _judged(
    drafts: Sequence[_Draft],
    layer: LayerGroup,
    effort: Effort,
    left_out: LeftOut,
    search: OfferSearch,
) -> list[_Draft]:
    """Fit chains and judge them; what is good for nothing is left out as soon as that is known.

    Where time alone counts, that is what another chain beats that takes clearly less by the table.
    """
    ns = [_ns(d.model, search) if search.hurried else 0.0 for d in drafts]
    found: dict[int, _Draft] = {}
    for at in sorted(range(len(drafts)), key=ns.__getitem__):
        quicker = [d.judged for other, d in found.items() if 0 < ns[other] * _CLEARLY <= ns[at]]
        if quicker and drafts[at].error > _HOPELESS * min(quicker):
            continue
        draft = _fitted(drafts[at], layer, effort)
        if quicker and draft.error >= min(quicker):
            continue
        draft = replace(draft, judged=left_out.error(draft.form, draft.ranks, draft.error))
        if not quicker or draft.judged < min(quicker):
            found[at] = draft
    return [found[at] for at in sorted(found)]


def _ns(model: Model, search: OfferSearch) -> float:
    """Return what a chain takes by the table; 0 where the table lacks some of it."""
    prices = prices_of_typed(model, search.target, as_integers=search.priced)
    each = [price.ns() for price in prices]
    return sum(each) if all(each) else 0.0


def _fitted(draft: _Draft, layer: LayerGroup, effort: Effort) -> _Draft:
    form = draft.form
    if form.closed or not effort.rounds:
        return draft
    factors = [
        form.fitted(form.sees(problem), start, effort)
        for problem, start in zip(layer.problems, draft.factors, strict=True)
    ]
    return replace(draft, factors=factors, error=_error(layer, form, factors))


def _error(layer: LayerGroup, form: ChainForm, factors: Sequence[Sequence[np.ndarray]]) -> float:
    pairs = zip(layer.problems, factors, strict=True)
    return sum(form.error(problem, every) for problem, every in pairs)


def _trial(layer: LayerGroup, probe: _Draft, left_out: LeftOut) -> Trial:
    site, problems, factors = layer.site, layer.problems, probe.factors
    if layer.parts:
        problems, factors = left_out.fitted(probe.form, probe.ranks)
    matrix = factored(probe.form, problems, factors).matrix()
    before = site.matrix(site.layer.weight.astype(np.float64))
    changes = []
    for each in layer.sites:
        shift = None
        if layer.mean is not None and bias_place(each) is not None:
            shift = np.einsum("gi,gio->go", layer.mean, matrix - before).reshape(-1)
        changes.append(Change(each.node.label, each.layer.weight_at, each.weight(matrix), shift))
    return Trial(changes, probe.judged, left_out=bool(layer.parts))


def _work(model: Model | None) -> float:
    if model is None:
        return 0.0
    for output in model.graph.outputs:  # a declared type would be kept without its shape
        output.set_type(None, None)
    inference.infer_types(model)
    return sum(work_of_typed(model).values())


def _timed(found: Sequence[Move], times: Sequence[float], layer: LayerGroup) -> list[Move]:
    each = len(layer.sites)
    return [
        replace(move, ms=ms * each if np.isfinite(ms) else None)
        for move, ms in zip(found, times, strict=True)
        if move.edit is None or np.isfinite(ms)
    ]


def _priced(model: Model | None, target: Target) -> float:
    """Return the milliseconds of a layer or chain as integers, by the target's table.

    Its work is known already, and with it its shapes.
    """
    return np.inf if model is None else run_ns_of_typed(model, target, as_integers=True) / 1e6


def _effort(problem: Problem, count: int) -> Effort:
    """Return how long the factors of each candidate are fitted, so that all are soon done.

    One step brings most of what there is to be had, as the last factor is solved for around it.
    """
    inputs, outputs = problem.matrix.shape
    products = _FLOPS / max(2.0 * inputs * inputs * outputs * max(count, 1), 1.0)
    return Effort(1, max(1, int(min(products / 5, 6)))) if products >= 1 else Effort(0, 0)
