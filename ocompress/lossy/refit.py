"""Fitting what is left of a model, layer after layer, to the original's outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ocompress.analysis.linear_rows import MOST_INPUTS, Site, bias_place, site_of
from ocompress.analysis.lockstep import Lockstep, Lost, Twins
from ocompress.analysis.regression import RegressionSums
from ocompress.analysis.weight_form import rounded
from ocompress.diagnostics import Severity
from ocompress.ir import Model, Node, edit
from ocompress.lossy.fisher import row_weights
from ocompress.lossy.least_squares import Fit, fit
from ocompress.pipeline import Context

Store = Callable[[Sequence[Site], Fit, RegressionSums | None], Fit | None]
"""Puts what was fitted to some layers in their place, or something like it; None if it cannot.

It is given the layers, in order of execution, the fit, and the sums that it was made from.
"""


@dataclass(frozen=True)
class Job:
    """A weight to fit.

    Attributes:
        nodes: Layers that read it, in the model that is fitted.
        masked: Whether weights that are zero stay zero.
        store: What puts the result in place; None sets weight and bias.
        curvature: What errors of outputs cost, where zeros stay zero; see `least_squares.fit`.
        by_place: Whether rows count by what errors there cost (`row_weights`). What is not free to
            change, as zeros and palettes, was chosen by rows that all count alike, and fits them.
    """

    nodes: Sequence[Node]
    masked: bool = True
    store: Store | None = None
    curvature: np.ndarray | None = None
    by_place: bool = False


@dataclass(frozen=True)
class Built:
    """A model that was made from a plan.

    Attributes:
        model: The model.
        fits: What fitting did, by label of the layer.
        done: The parts whose move was made; a layer that nothing finite reaches, or whose type
            cannot hold what was fitted, stays as it is.
    """

    model: Model
    fits: Mapping[str, Fit] = field(default_factory=dict)
    done: frozenset[str] = frozenset()


def refit(
    reference: Model,
    model: Model,
    twins: Mapping[int, Node],
    jobs: Sequence[Job],
    ctx: Context,
    *,
    lost: Lost | None = None,
) -> dict[int, Fit]:
    """Fit weights and biases, first layer first, each to what the layers before it now make.

    What can be changed is changed in place of the model; a layer that cannot be seen keeps its
    weight.

    Args:
        reference: The original.
        model: What is fitted.
        twins: The original's node by id of the model's.
        jobs: What is fitted, in any order.
        ctx: Has the data.
        lost: What values of the original lack in the model, by name and axis; None if nothing.

    Returns:
        What came of it, by id of the job's first node in order of execution.
    """
    ready = _paired(model, twins, jobs)
    plan = [pairs for _, pairs in ready]
    weighed = [p.reference for job, pairs in ready if job.by_place for p in pairs]
    lockstep = Lockstep(
        reference,
        model,
        ctx.data,
        lost=lost,
        seed=ctx.seed,
        store=ctx.store,
        plan=plan,
        weights=row_weights(reference, weighed, ctx),
    )
    found = {}
    stage = f"{ctx.source}: refitting layers"
    for done, (job, pairs) in enumerate(ready, 1):
        ctx.progress(stage, done - 1, len(ready))
        sums = lockstep.sums(pairs)
        site = pairs[0].candidate
        if sums is None:
            why = "its outputs do not correspond to the original's: its weights are not fitted"
            ctx.remark(Severity.NOTE, "other-places", why, site.node)
            continue
        parts, whole = sums.parts(), sums.whole()
        if parts is not None and whole is not None and whole.x.shape[1] == site.inputs:
            start = site.matrix(site.layer.weight.astype(np.float64))
            mask = start != 0 if job.masked else None
            biased = bias_place(site) is not None
            made = fit(parts, whole, start, mask, biased=biased, curvature=job.curvature)
            kept = (job.store or stored)([p.candidate for p in pairs], made, sums)
            if kept is not None:
                found[id(site.node)] = kept
        ctx.progress(stage, done, len(ready))
    return found


def _paired(
    model: Model, twins: Mapping[int, Node], jobs: Sequence[Job]
) -> list[tuple[Job, list[Twins]]]:
    """Return the jobs that can be done, in order of execution, as are the layers of each."""
    order = {id(n): at for at, n in enumerate(model.graph.nodes)}
    ready = []
    for job in jobs:
        found_pairs = (_pair(n, twins.get(id(n))) for n in job.nodes if id(n) in order)
        good = [p for p in found_pairs if p is not None]
        # a weight and its transpose are no one matrix
        forms = {p.candidate.layer.form for p in good}
        if len(good) == len(job.nodes) and len(forms) == 1:
            ready.append((job, sorted(good, key=lambda p: order[id(p.candidate.node)])))
    return sorted(ready, key=lambda pair: order[id(pair[1][0].candidate.node)])


def _pair(node: Node, twin: Node | None) -> Twins | None:
    ours = site_of(node)
    theirs = site_of(twin) if twin is not None else None
    if not isinstance(ours, Site) or not isinstance(theirs, Site):
        return None
    if ours.inputs > MOST_INPUTS:
        return None
    return Twins(theirs, ours)


def stored(sites: Sequence[Site], made: Fit, _: RegressionSums | None = None) -> Fit | None:
    """Put a fitted weight and biases in their place; None if the weight's type cannot hold them.

    Args:
        sites: The layers.
        made: What was fitted.
    """
    site = sites[0]
    old = site.layer.weight
    weight = rounded(site.weight(made.matrix), old.dtype)
    biases = fitted_biases(sites, made)
    if weight is None or biases is None:
        return None
    value = site.node.inputs[site.layer.weight_at]
    assert value is not None
    edit.set_weight(value, weight)
    for other, bias in zip(sites, biases, strict=True):
        set_bias(other, bias)
    return made


def fitted_biases(sites: Sequence[Site], made: Fit) -> list[np.ndarray] | None:
    """Return the bias of each layer in the weight's type; None if it cannot hold one.

    It is empty where there is no place for a bias.
    """
    biases = [_bias(s, made) for s in sites]
    return None if any(b is None for b in biases) else [b for b in biases if b is not None]


def shift_bias(site: Site, shift: np.ndarray) -> None:
    """Add to what is added to a layer's outputs; nothing where there is no place for it.

    Args:
        site: The layer.
        shift: One number per output channel, [channels].
    """
    place = bias_place(site)
    if place is None:
        return
    node, index = place
    value = node.input(index)
    old = site.layer.bias() if node is site.node else value.constant if value is not None else None
    total = (0 if old is None else old.reshape(-1).astype(np.float64)) + shift
    bias = rounded(total, site.layer.weight.dtype)
    if bias is not None:
        set_bias(site, bias)


def _bias(site: Site, made: Fit) -> np.ndarray | None:
    """Return the bias of a layer in the weight's type; empty where there is none to set."""
    place = bias_place(site)
    if place is None:
        return np.zeros(0)
    exact = made.bias.reshape(-1)
    node, index = place
    if node is not site.node:  # an Add behind: what is fitted comes on top
        value = node.inputs[index]
        assert value is not None
        assert value.constant is not None
        exact = exact + value.constant.astype(np.float64)
    return rounded(exact, site.layer.weight.dtype)


def set_bias(site: Site, bias: np.ndarray) -> None:
    """Set what is added to a layer's outputs, where there is a place for it.

    Args:
        site: The layer.
        bias: One number per output channel, [channels]; empty for none.
    """
    place = bias_place(site)
    if place is None or not bias.size:
        return
    node, index = place
    if node is not site.node:
        edit.set_weight(edit.own_weight(node, index), bias)
    else:
        site.layer.set_bias(site.layer.as_bias(bias))
