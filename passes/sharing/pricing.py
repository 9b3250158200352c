"""What errors of weights cost at the model's outputs, for all weights in one currency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.ir import Model
from ocompress.lossy.ablation import Change, Trial, tried
from ocompress.lossy.layer_weights import LayerWeight
from ocompress.pipeline import Context
from passes.pruning import costs
from passes.pruning.corrected_costs import corrected
from passes.pruning.patterns import Pattern
from passes.sharing.rounding import plain

DEEPEST = 0.96
"""Share of zeros up to which the order in which weights go is found in every layer."""
_TRIED = 3.0
"""Bits a weight, about, at which weights whose inputs are not known are tried."""


@dataclass(frozen=True)
class Priced:
    """What errors of a weight cost.

    Attributes:
        costs: What setting each weight to zero adds, of the weight's shape, never less for one that
            goes later.
        curvature: What errors of outputs cost: (groups, outputs, outputs) or (groups, outputs).
        seen: Whether data tell what the layer reads.
    """

    costs: np.ndarray
    curvature: np.ndarray
    seen: bool


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
