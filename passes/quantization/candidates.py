"""What could become integers, as the data show it."""

from __future__ import annotations

from collections.abc import Sequence

from ocompress.ir import Model, Node, Value
from ocompress.pipeline import Context
from passes.quantization import matching
from passes.quantization.costing import Elements
from passes.quantization.drafting import Drafter
from passes.quantization.mixing import apart
from passes.quantization.rounding import GridRounding, Rounder
from passes.quantization.units import Unit


def candidates(
    model: Model,
    units: Sequence[Unit],
    excluded: Sequence[Node],
    rounding: GridRounding,
    ctx: Context,
) -> tuple[Drafter, Sequence[Unit], Elements]:
    """Look at units on data.

    Args:
        model: In float; not changed.
        units: That have an integer kernel.
        excluded: Nodes that stay in float whatever stands around them.
        rounding: How numbers become integers.
        ctx: Has the data; is told of units that cannot become integers.

    Returns:
        What quantizes them, those that can be, and the elements of each value for one sample.
    """
    seen = ctx.statistics(model, matching.observers_of(units, means=rounding.bias_correction))
    able = apart(matching.observed(units, seen, ctx.skip), model, ctx.data, ctx.skip)
    samples = max(1, ctx.data.samples)
    sizes = {n: s.elements / samples for (n, w), s in seen.items() if w == matching.HISTOGRAM}

    def elements(value: Value) -> float:
        return float(value.constant.size) if value.constant is not None else sizes[value.name]

    return Drafter(model, seen, Rounder(rounding), excluded), able, elements
