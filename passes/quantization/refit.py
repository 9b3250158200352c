"""Fitting the weights of integer layers to what the integer layers before them leave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from ocompress.analysis.observe import observe
from ocompress.analysis.second_moments import Folded, SecondMoments
from ocompress.analysis.statistics import merge
from ocompress.analysis.windows import Window, window_of
from ocompress.pipeline import Context
from passes.quantization.drafting import Draft, Rounding
from passes.quantization.reconstruct import MOST_INPUTS, Problem, Reconstruction, reconstruct
from passes.quantization.scheme import Scheme
from passes.quantization.units import Unit
from passes.quantization.weights import QuantizedWeight, WeightGrid, walks_of

_ROWS = 2048
_ROWS_PER_INPUT = 8
"""Rows that second moments are taken of, at least, and for each input."""
_MOST_BYTES = 1 << 29


def refit(
    draft: Draft,
    units: Sequence[Unit],
    scheme: Scheme,
    rounding: Rounding,
    ctx: Context,
) -> dict[int, Reconstruction]:
    """Round the weights of units anew, in `scheme`, to what the layers before them leave.

    Args:
        draft: The model with weights rounded to nearest.
        units: What becomes integers in the float model.
        scheme: Weights and biases are replaced.
        rounding: How numbers become integers.
        ctx: Has the data.

    Returns:
        What was found out, by id of the unit's node.
    """
    found: dict[int, Reconstruction] = {}
    fitted = [(u, t) for u, t in zip(units, draft.twins, strict=True) if _can_be_fitted(u)]
    done = 0
    for load in _loads(fitted):
        wishes = {id(u.node): _wish(u, ctx) for u, _ in load}
        names = {id(u.node): _reads(t) for u, t in load}
        wanted = merge([{names[key]: frozenset({wish})} for key, wish in wishes.items()])
        stage = "quant: looking at quantized layers"
        moments = observe(draft.model, ctx.data, wanted, partial(ctx.progress, stage))
        for unit, _ in load:
            done += 1
            ctx.progress("quant: rounding weights", done, len(fitted))
            key = id(unit.node)
            seen: Folded | None = moments.get((names[key], wishes[key]))
            if seen is not None and seen.judge.count and seen.fit.x.shape == _shape(unit):
                found[key] = reconstruct(_problem(unit, scheme, rounding), seen)
                _take(unit, scheme, found[key])
    return found


def _loads(fitted: Sequence[tuple[Unit, Unit]]) -> Iterator[list[tuple[Unit, Unit]]]:
    """Cut units into runs whose moments fit into memory together."""
    load: list[tuple[Unit, Unit]] = []
    held = 0
    for pair in fitted:
        groups, inputs = _shape(pair[0])
        size = 8 * groups * inputs**2
        if load and held + size > _MOST_BYTES:
            yield load
            load, held = [], 0
        load.append(pair)
        held += size
    if load:
        yield load


def _reads(twin: Unit) -> str:
    source = twin.node.input(0)
    assert source is not None
    return source.name


def _wish(unit: Unit, ctx: Context) -> SecondMoments:
    wanted = max(_ROWS, _ROWS_PER_INPUT * _shape(unit)[1])
    return SecondMoments(-(-wanted // max(1, len(ctx.data))), _window(unit))


def _shape(unit: Unit) -> tuple[int, int]:
    """Return the groups of a unit and the inputs of one of its output channels."""
    assert unit.weight is not None
    assert unit.weight.constant is not None
    return unit.groups, unit.weight.constant.size // _channels(unit)


def _can_be_fitted(unit: Unit) -> bool:
    if unit.weight is None or unit.weight.constant is None or unit.weight.use_count > 1:
        return False
    padded = unit.node.attr("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    return padded and _shape(unit)[1] <= MOST_INPUTS


def _channels(unit: Unit) -> int:
    assert unit.weight is not None
    assert unit.weight.constant is not None
    return max(1, int(unit.weight.constant.shape[unit.axis]))


def _window(unit: Unit) -> Window | None:
    if not unit.node.is_op("Conv"):
        return None
    assert unit.weight is not None
    assert unit.weight.constant is not None
    return window_of(
        unit.weight.constant.shape[2:],
        unit.groups,
        strides=unit.node.attr("strides"),
        dilations=unit.node.attr("dilations"),
        pads=None if unit.node.attr("auto_pad", "NOTSET") == "VALID" else unit.node.attr("pads"),
    )


def _problem(unit: Unit, scheme: Scheme, rounding: Rounding) -> Problem:
    assert unit.weight is not None
    assert unit.weight.constant is not None
    rounded = scheme.weights[id(unit.weight)]
    weight = np.moveaxis(unit.weight.constant, unit.axis, 0)
    first = QuantizedWeight(np.moveaxis(rounded.integers, unit.axis, 0), rounded.scales, 0)
    pairs = rounding.weight_grid(unit) is WeightGrid.PAIRS
    walks = walks_of(weight.shape[1:], unit.orders) if pairs else []
    bias = None
    if unit.rule.bias is not None and rounding.bias_correction:
        value = unit.node.input(unit.rule.bias)
        bias = value.constant if value is not None else np.zeros(len(weight))
    return Problem(weight, unit.groups, first, rounding.limit, walks, bias)


def _take(unit: Unit, scheme: Scheme, made: Reconstruction) -> None:
    integers = np.ascontiguousarray(np.moveaxis(made.weight.integers, 0, unit.axis))
    weight = QuantizedWeight(integers, made.weight.scales, unit.axis)
    scheme.weights[id(unit.weight)] = weight
    if made.bias is not None and unit.rule.bias is not None:
        scheme.biases[id(unit.node)] = made.bias
