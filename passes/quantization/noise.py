"""What the outputs of a model lose when one unit after the other becomes an integer operator."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ocompress.analysis import quantized
from ocompress.analysis.one_layer import layer_edits
from ocompress.analysis.sensitivity import Edit, sensitivity
from ocompress.ir import Model
from ocompress.pipeline import Context
from passes.quantization.drafting import Draft
from passes.quantization.units import Unit

T = TypeVar("T")
_SAMPLES = 4
_MOST_VARIANTS, _FEWEST_VARIANTS = 64, 12
_MOST_LOADED = 2e9
"""Bytes of weights that are loaded in all, about."""
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


def measure(model: Model, draft: Draft, units: Sequence[Unit], macs: float, ctx: Context) -> Noise:
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
    groups = grouped([u for u in units if u.node.label in edits], model)
    variants = {str(i): _together([edits[u.node.label] for u in g]) for i, g in enumerate(groups)}
    measured = noise_of(model, variants, macs, ctx, "quant: quantizing one layer at a time")
    by_node: dict[int, float] = {}
    for index, group in enumerate(groups):
        by_node.update((id(u.node), measured[str(index)] / len(group)) for u in group)
    return Noise(by_node)


def grouped(items: Sequence[T], model: Model) -> list[Sequence[T]]:
    """Cut items into runs of neighbours, few enough to be measured one by one.

    Args:
        items: In graph order.
        model: What is loaded anew for every run of neighbours; a large one is loaded less often.
    """
    most = int(_MOST_LOADED / max(1, model.weight_bytes))
    size = -(-len(items) // min(_MOST_VARIANTS, max(_FEWEST_VARIANTS, most))) or 1
    return [items[i : i + size] for i in range(0, len(items), size)]


def noise_of(
    model: Model, variants: Mapping[str, Edit], macs: float, ctx: Context, stage: str
) -> dict[str, float]:
    """Return noise over signal power of the worst output for each variant of a model.

    Args:
        model: Not changed.
        variants: What to change, by name; one that cannot be made counts as noise alone.
        macs: Multiply-accumulates of a sample, 0 if nobody knows.
        ctx: Has the data.
        stage: What progress is called.
    """
    work = macs * max(1, len(variants))
    samples = int(min(_SAMPLES, max(2, _MOST_WORK / work))) if work else _SAMPLES

    def progress(done: int, total: int) -> None:
        ctx.progress(stage, done, total)

    found = sensitivity(model, variants, ctx.data, progress, samples=samples) if variants else {}
    noise = {}
    for name in variants:
        one = found.get(name)
        broken = one is None or math.isnan(one.sqnr_db)
        noise[name] = 1.0 if one is None or broken else float(10 ** (-one.sqnr_db / 10))
    return noise


def _together(edits: Sequence[Edit]) -> Edit:
    def change(model: Model) -> bool:
        return all(edit(model) for edit in edits)

    return change
