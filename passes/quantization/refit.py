"""Fitting the weights of integer layers to what the integer layers before them leave."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ocompress.analysis.second_moments import Folded, SecondMoments
from ocompress.analysis.segment_runner import Walk
from ocompress.analysis.windows import Window, window_of
from ocompress.pipeline import Context
from passes.quantization.drafting import Draft
from passes.quantization.reconstruct import (
    MOST_INPUTS,
    Reconstruction,
    ReconstructionProblem,
    reconstruct,
)
from passes.quantization.rounding import GridRounding
from passes.quantization.scheme import Scheme
from passes.quantization.units import Unit
from passes.quantization.weights import QuantizedWeight, WeightGrid, walks_of

_ROWS = 2048
_ROWS_PER_INPUT = 8
"""Rows that second moments are taken of, at least, and for each input."""


def refit(
    draft: Draft,
    units: Sequence[Unit],
    scheme: Scheme,
    rounding: GridRounding,
    ctx: Context,
) -> dict[int, Reconstruction]:
    """Round the weights of units anew, in `scheme`, to what the layers before them leave.

    Layer after layer: each reads what the layers before it make with their new weights.

    Args:
        draft: The model with weights rounded to nearest; layers get their new ones on the way.
        units: What becomes integers in the float model.
        scheme: Weights and biases are replaced.
        rounding: How numbers become integers.
        ctx: Has the data.

    Returns:
        What was found out, by id of the unit's node.
    """
    found: dict[int, Reconstruction] = {}
    order = {id(node): at for at, node in enumerate(draft.model.graph.nodes)}
    pairs = zip(units, draft.twins, strict=True)
    fitted = [(u, t) for u, t in pairs if _can_be_fitted(u) and id(t.node) in order]
    fitted.sort(key=lambda pair: order[id(pair[1].node)])
    walk = Walk(draft.model, ctx.data)
    for done, (unit, twin) in enumerate(fitted):
        ctx.progress("quant: rounding weights", done, len(fitted))
        walk.before(twin.node)
        seen = _moments(unit, twin, walk, ctx.data.samples)
        if seen is None or not seen.judge.count or seen.fit.x.shape != _shape(unit):
            continue
        made = reconstruct(_problem(unit, scheme, rounding), seen)
        found[id(unit.node)] = made
        _take(unit, scheme, made)
        _show(unit, twin, scheme)
    ctx.progress("quant: rounding weights", len(fitted), len(fitted))
    return found


def _moments(unit: Unit, twin: Unit, walk: Walk, samples: int) -> Folded | None:
    """Return the moments of what a unit reads in the quantized model, as far as that is."""
    source = twin.node.input(0)
    assert source is not None
    sums = _observer(unit, walk.feeds, samples).start()
    for seen in walk.peek([source]):
        sums.update(seen[source.name])
    found: Folded | None = sums.result()
    return found


def _show(unit: Unit, twin: Unit, scheme: Scheme) -> None:
    """Let the layers behind read what the unit makes with its new weight and bias."""
    graph, rule = twin.node.graph, unit.rule
    assert graph is not None
    assert rule.weight is not None
    weight = scheme.weights[id(unit.weight)].dequantize().astype(np.float32)
    twin.node.set_input(rule.weight, graph.constant("fitted", weight))
    bias = scheme.biases.get(id(unit.node))
    if bias is not None and rule.bias is not None:
        twin.node.set_input(rule.bias, graph.constant("fitted", bias.astype(np.float32)))


def _observer(unit: Unit, feeds: int, samples: int) -> SecondMoments:
    wanted = max(_ROWS, _ROWS_PER_INPUT * _shape(unit)[1])
    feeds = max(1, feeds)
    return SecondMoments(-(-wanted // feeds), _window(unit), -(-samples // feeds))


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


def _problem(unit: Unit, scheme: Scheme, rounding: GridRounding) -> ReconstructionProblem:
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
    return ReconstructionProblem(weight, unit.groups, first, rounding.limit, walks, bias)


def _take(unit: Unit, scheme: Scheme, made: Reconstruction) -> None:
    integers = np.ascontiguousarray(np.moveaxis(made.weight.integers, 0, unit.axis))
    weight = QuantizedWeight(integers, made.weight.scales, unit.axis)
    scheme.weights[id(unit.weight)] = weight
    if made.bias is not None and unit.rule.bias is not None:
        scheme.biases[id(unit.node)] = made.bias
