"""What the outputs of a model lose when one unit after the other becomes an integer operator."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ocompress.analysis import quantized
from ocompress.analysis.one_layer import layer_edits
from ocompress.analysis.sensitivity import Edit, sensitivity
from ocompress.ir import Model
from ocompress.pipeline import Context
from passes.quantization.refit import Draft
from passes.quantization.units import Unit

_SAMPLES = 4
_MOST_VARIANTS = 64
_MOST_WORK = 1e11
"""Multiply-accumulates that measuring may take, about."""


@dataclass(frozen=True)
class Noise:
    """Noise over signal power of the worst output, unit by unit, each measured alone.

    Attributes:
        by_node: By id of the unit's node; what only moves integers has none.
    """

    by_node: Mapping[int, float]

    def of(self, unit: Unit) -> float:
        """Return the noise of a unit, 0 if it adds none of its own."""
        return self.by_node.get(id(unit.node), 0.0)

    def total(self, units: Sequence[Unit]) -> float:
        """Return the noise of several units together, as if they were independent."""
        return sum(self.of(u) for u in units)


def measure(
    model: Model, draft: Draft, units: Sequence[Unit], macs: float, ctx: Context
) -> Noise:
    """Quantize units one at a time, with the grids and weights of a draft.

    Neighbours in the graph share a measurement where there are many, and then its noise.

    Args:
        model: In float.
        draft: The same with all units quantized.
        units: The units, in graph order.
        macs: Multiply-accumulates of a sample.
        ctx: Has the data.
    """
    found = quantized.read(draft.model)
    edits = layer_edits(found, {name: name for name in found.values})
    alone = [u for u in units if u.node.label in edits]
    size = -(-len(alone) // _MOST_VARIANTS) or 1
    groups = [alone[i : i + size] for i in range(0, len(alone), size)]
    samples = int(min(_SAMPLES, max(2, _MOST_WORK / max(1.0, macs * max(1, len(groups))))))
    variants = {str(i): _together([edits[u.node.label] for u in g]) for i, g in enumerate(groups)}

    def progress(done: int, total: int) -> None:
        ctx.progress("quant: quantizing one layer at a time", done, total)

    measured = sensitivity(model, variants, ctx.data, progress, samples=samples)
    by_node: dict[int, float] = {}
    for index, group in enumerate(groups):
        one = measured.get(str(index))
        noise = 1.0 if one is None or math.isnan(one.sqnr_db) else 10 ** (-one.sqnr_db / 10)
        by_node.update((id(u.node), noise / len(group)) for u in group)
    return Noise(by_node)


def _together(edits: Sequence[Edit]) -> Edit:
    def change(model: Model) -> bool:
        return all([edit(model) for edit in edits])

    return change


