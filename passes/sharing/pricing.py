"""What errors of weights cost at the model's outputs, for all weights in one currency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ocompress.ir import Model
from ocompress.lossy.ablation import Change, Factors, Trial, tried
from ocompress.lossy.fisher import alone
from ocompress.lossy.layer_weights import LayerWeight
from ocompress.pipeline import Context
from passes.pruning import costs
from passes.pruning.corrected_costs import corrected
from passes.pruning.patterns import Pattern
from passes.sharing.in_turn import InTurn
from passes.sharing.layer_problem import cost_of, damped
from passes.sharing.rounding import plain

DEEPEST = 0.96
"""Share of zeros up to which the order in which weights go is found in every layer."""
_TRIED = 3.0
"""Bits a weight, about, at which weights whose inputs are not known are tried."""

_RIDGES = (0.1, 0.4, 1.6)
"""Ridges tried for what errors of rounding do, relative to the mean variance of the inputs."""
_TRIED_COST = 0.02
"""What roundings of a layer cost that are tried: little enough for gradients to tell."""


@dataclass(frozen=True)
class Priced:
    """What errors of a weight cost.

    Attributes:
        costs: What setting each weight to zero adds, of the weight's shape, never less for one that
            goes later.
        curvature: What errors of outputs cost: (groups, outputs, outputs) or (groups, outputs).
        seen: Whether data tell what the layer reads.
        ridge: The ridge of what errors of inputs do that is best on samples left out, relative to
            their mean variance; None if that was not found out.
    """

    costs: np.ndarray
    curvature: np.ndarray
    seen: bool
    ridge: float | None = None


def priced(
    model: Model, weights: Sequence[LayerWeight], ctx: Context, *, seen: bool
) -> dict[int, Priced]:
    """Find out what errors of weights cost.

    Those that data tell about are priced by optimal brain surgeon and the Fisher information of
    the model's outputs, as `prune` does; others by their squared error relative to their power.
    Where there are data, each is tried alone and its price put right.

    Args:
        model: The model as it is.
        weights: Its weights.
        ctx: Has the data, if there are any.
        seen: Whether the data may be looked at.

    Returns:
        By id of the weight's value.
    """
    measured = {}
    if seen:
        question = costs.Question("obs", Pattern(), DEEPEST, DEEPEST)
        measured = costs.measure(model, weights, question, ctx)
    right = corrected(model, weights, measured, ctx) if measured else {}
    found = {}
    for weight in weights:
        known = measured.get(id(weight.value))
        if known is not None and known.curvature is not None:
            after = right[id(weight.value)].costs
            before = float(known.costs.sum(dtype=np.float64))
            factor = float(after.sum(dtype=np.float64)) / before if before > 0 else 1.0
            found[id(weight.value)] = Priced(after, known.curvature * factor, seen=True)
    blind = [w for w in weights if id(w.value) not in found]
    return found | _blind(model, blind, ctx if seen else None)


def priced_for_many(
    model: Model, weights: Sequence[LayerWeight], ctx: Context, *, seen: bool
) -> dict[int, Priced]:
    """Find out what errors of weights cost that will mostly not be zero.

    What setting each to zero costs is what errors of rounding cost: those to come make up for both.
    Instead of a layer of few weights, one that is finely rounded is tried to put prices right.

    Args:
        model: The model as it is.
        weights: Its weights.
        ctx: Has the data, if there are any.
        seen: Whether the data may be looked at.

    Returns:
        By id of the weight's value.
    """
    made: dict[int, Priced] = {}
    trials: dict[str, Trial] = {}
    for view in costs.Views(model, weights, ctx, "the weights alone") if seen else ():
        weight, matrix = view.candidate, view.site.matrix(view.candidate.array.astype(np.float64))
        ridge, times = _proven(view)
        in_turn = InTurn.of(damped(view.hessian, ridge or _RIDGES[0]), view.curvature)
        lost = view.site.weight(times * np.square(matrix) * in_turn.cost).astype(np.float32)
        made[id(weight.value)] = Priced(lost, times * view.curvature, seen=True, ridge=ridge)
        trials[weight.name] = _finely_rounded(view, matrix)
    factors = tried(model, trials, ctx) if trials else Factors()
    found = {}
    for weight in weights:
        known = made.get(id(weight.value))
        if known is not None:
            by = factors.of(weight.name)
            lost, curvature = known.costs * np.float32(by), known.curvature * by
            found[id(weight.value)] = replace(known, costs=lost, curvature=curvature)
    blind = [w for w in weights if id(w.value) not in found]
    return found | _blind(model, blind, ctx if seen else None)


def _proven(view: costs.View) -> tuple[float | None, float]:
    """Return the ridge with which errors that are passed on do least on samples left out.

    Where rows are few, errors go where these few do not look, but others do.

    Returns:
        The ridge, None where rows are many; and how many times as much errors do on other samples
        as those at hand tell.
    """
    if not view.parts:
        return None, 1.0
    fit, judge = (view.hessian_of(sums) for sums, _ in view.parts)
    share = view.parts[0][0].count / max(view.sums.count, 1)
    done = {}
    for ridge in _RIDGES:
        in_turn = InTurn.of(damped(fit, ridge), alone(view.curvature))
        done[ridge] = in_turn.on(judge), float(in_turn.variance.mean())
    best = min(done, key=lambda ridge: done[ridge][0])
    elsewhere, here = done[best]
    return best, 1 + share * max(elsewhere / max(here, 1e-300) - 1, 0.0)


def _finely_rounded(view: costs.View, matrix: np.ndarray) -> Trial:
    """Return a layer rounded to nearest so finely that gradients say what it costs."""
    single = np.einsum("gii->gi", view.hessian)[:, :, None] * alone(view.curvature)[:, None]
    rms = float(np.sqrt(np.square(matrix).mean()))
    step = min(float(np.sqrt(12 * _TRIED_COST / max(single.sum(), 1e-300))), rms)
    off = np.rint(matrix / step) * step - matrix
    weight, array = view.candidate, view.site.weight(matrix + off).astype(np.float32)
    shift = view.shift(view.site.weight(off))
    changes = [
        Change(node.label, at, array, shift)
        for node in weight.nodes
        for at, value in enumerate(node.inputs)
        if value is weight.value
    ]
    return Trial(changes, cost_of(view.hessian, view.curvature, off))


def flat(weight: LayerWeight, array: np.ndarray) -> np.ndarray:
    """Return an array of a weight's shape as (1, the rest, outputs)."""
    last = np.moveaxis(array, weight.form.out_axis, -1)
    return last.reshape(1, -1, last.shape[-1])


def unflat(weight: LayerWeight, matrix: np.ndarray) -> np.ndarray:
    """Return what `flat` made (1, the rest, outputs) of, in the weight's shape."""
    shape, axis = weight.form.shape, weight.form.out_axis
    rest = [extent for at, extent in enumerate(shape) if at != axis]
    return np.ascontiguousarray(np.moveaxis(matrix.reshape(*rest, shape[axis]), -1, axis))


def _blind(model: Model, weights: Sequence[LayerWeight], ctx: Context | None) -> dict[int, Priced]:
    """Price weights by their power, put right by trying them where there are data."""
    each = {w.name: relative(w) for w in weights}
    trials = {}
    if ctx is not None:
        for weight in weights:
            matrix = flat(weight, weight.array.astype(np.float64))
            power = float(np.square(matrix).mean(axis=1).mean())
            price = float(each[weight.name].mean()) * power * 4.0**-_TRIED
            made = plain(matrix, each[weight.name], price, 24)
            array = unflat(weight, made.matrix).astype(np.float32)
            change = Change(weight.nodes[0].label, place(weight), array, None)
            trials[weight.name] = Trial([change], made.error)
    times = tried(model, trials, ctx) if ctx is not None and trials else None
    found = {}
    for weight in weights:
        factor = times.of(weight.name) if times is not None else 1.0
        curvature = each[weight.name] * factor
        squares = np.square(flat(weight, weight.array.astype(np.float64))) * curvature[:, None]
        lost = unflat(weight, squares).astype(np.float32)
        found[id(weight.value)] = Priced(lost, curvature, seen=False)
    return found


def place(weight: LayerWeight) -> int:
    """Return which input of its first node a weight is."""
    return next(at for at, v in enumerate(weight.nodes[0].inputs) if v is weight.value)


def relative(weight: LayerWeight) -> np.ndarray:
    """Return what squared errors of each output cost, relative to its power: (1, outputs).

    Rows of an embedding table are looked up one by one: there it is the power of the table.
    """
    power = np.square(flat(weight, weight.array.astype(np.float64))).sum(axis=1)
    mean = max(float(power.mean()), 1e-300)
    if weight.nodes[0].is_op("Gather"):
        power = np.full_like(power, mean)
    found: np.ndarray = 1 / (np.maximum(power, 1e-3 * mean) * power.size)
    return found
