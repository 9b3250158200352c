"""What the outputs of a model lose by each grid and by each rounded weight, one at a time."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from ocompress.analysis import quantized
from ocompress.analysis.one_layer import round_value
from ocompress.analysis.sensitivity import Edit, affordable, sensitivity
from ocompress.diagnostics import Severity
from ocompress.errors import RuntimeFailureError
from ocompress.io.dataset import Dataset
from ocompress.ir import Graph, Model, Value, edit
from ocompress.pipeline import Context
from passes.quantization.grids import integer_values
from passes.quantization.scheme import ActivationGrid, Scheme
from passes.quantization.units import Unit

T = TypeVar("T")
_SAMPLES = 4
_MOST_GRIDS, _MOST_WEIGHTS = 48, 16
_FEWEST = 8
_LOWEST_DB = -60.0
"""What NaN and infinities that the model does not have count as: far worse than no output."""
_MOST_WORK = 1e11
"""Multiply-accumulates that measuring may take, about."""


@dataclass(frozen=True)
class OutputHarm:
    """What a variant of a model does to its outputs.

    Attributes:
        noise: Noise over signal power of the part that is worst off, by which `quant` chooses.
        cost: The same harm in the currency of all moves, see `ocompress.planning.Move`.
    """

    noise: float
    cost: float

    def part(self, share: float) -> OutputHarm:
        """Return a share of it."""
        return OutputHarm(self.noise * share, self.cost * share)


@dataclass(frozen=True)
class Noise:
    """Noise over signal power of the part of the outputs that is worst off.

    Attributes:
        parts: Units, by id of their nodes, and the noise that is there if any of them is an
            integer operator: of the grid of a value for all that make or read it, of a weight for
            its unit.
        worth: What a unit of noise costs in the currency of all moves.
    """

    parts: Sequence[tuple[Collection[int], float]]
    worth: float = 1.0

    def of(self, unit: Unit) -> float:
        """Return the noise if a unit alone were an integer operator."""
        return self.total([unit])

    def total(self, units: Sequence[Unit]) -> float:
        """Return the noise of several units together, as if parts were independent."""
        there = {at for u in units for at in self._of_node.get(id(u.node), ())}
        return sum(self.parts[at][1] for at in sorted(there))

    @cached_property
    def _of_node(self) -> dict[int, list[int]]:
        """Positions of the parts that concern a node, by its id."""
        found: dict[int, list[int]] = {}
        for at, (nodes, _) in enumerate(self.parts):
            for node in nodes:
                found.setdefault(node, []).append(at)
        return found


def grouped_grids(
    model: Model, scheme: Scheme, units: Sequence[Unit]
) -> tuple[dict[int, set[int]], list[Sequence[Value]]]:
    """Return who touches each value with a grid, and values that are measured together.

    Neighbours in the graph share a measurement where there are many, and then its noise.

    Args:
        model: In float.
        scheme: The grids of all units.
        units: The units, in graph order.

    Returns:
        By id of the value, the ids of the nodes that make or read it; and runs of values.
    """
    touching = _touching(units, scheme)
    groups = grouped([v for v, _ in touching.values()], model, _MOST_GRIDS)
    return {id(v): nodes for v, nodes in touching.values()}, groups


def grid_variants(
    groups: Sequence[Sequence[Value]], grids: Mapping[int, ActivationGrid]
) -> dict[str, Edit]:
    """Return variants of a model in which the values of one group are on their grids.

    Args:
        groups: The values.
        grids: The grid of each, by id.
    """
    return {f"g{i}": _round_values(group, grids) for i, group in enumerate(groups)}


def measure_weights(
    model: Model, scheme: Scheme, units: Sequence[Unit], macs: float, ctx: Context
) -> list[tuple[Collection[int], float]]:
    """Round one weight at a time and return its noise for the unit that reads it.

    Args:
        model: In float.
        scheme: The weights of all units.
        units: The units, in graph order.
        macs: Multiply-accumulates of a sample.
        ctx: Has the data.
    """
    groups = grouped([u for u in units if u.weight is not None], model, _MOST_WEIGHTS)
    variants = {f"w{i}": _round_weights(group, scheme) for i, group in enumerate(groups)}
    found = noise_of(model, variants, macs, ctx, "quant: quantizing one weight at a time")
    return [
        ((id(u.node),), found[f"w{i}"].noise / len(group))
        for i, group in enumerate(groups)
        for u in group
    ]


def scaled_to(noise: Noise, units: Sequence[Unit], there: OutputHarm) -> Noise:
    """Return noise that adds up to what a quantized model really has.

    Where layers suppress what the ones before them did, the parts add up to far too much.

    Args:
        noise: Of parts one at a time.
        units: What is quantized.
        there: What is there with all of them quantized.
    """
    added, known = noise.total(units), there.noise > 0
    scale = min(2.0, max(0.05, there.noise / added)) if added > 0 and known else 1.0
    worth = there.cost / there.noise if known else 1.0
    return Noise([(nodes, part * scale) for nodes, part in noise.parts], worth)


def _touching(units: Sequence[Unit], scheme: Scheme) -> dict[int, tuple[Value, set[int]]]:
    """Return each value with a grid of its own, by id, and the nodes that make or read it.

    What a unit only moves has the grid of what it moves, so the two count as one.
    """
    known = integer_values(units)
    home: dict[int, int] = {}
    found: dict[int, tuple[Value, set[int]]] = {}
    for unit in units:
        moved = id(unit.data[0][1]) if unit.same_grid else None
        for value in (*(v for _, v in unit.data), *unit.outputs):
            key = id(value)
            if moved is not None and key != moved:
                home[key] = home.get(moved, moved)
            key = home.get(key, key)
            if key in known or key in found:
                found.setdefault(key, (value, set()))[1].add(id(unit.node))
    return {key: pair for key, pair in found.items() if id(pair[0]) in scheme.grids}


def _round_values(values: Sequence[Value], grids: Mapping[int, ActivationGrid]) -> Edit:
    named = {v.name: grids[id(v)] for v in values}

    def change(model: Model) -> bool:
        places = _places(model, named)
        for name, (value, graph) in places.items():
            grid = named[name]
            round_value(value, graph, quantized.TensorGrid(grid.scale, grid.zero_point, grid.dtype))
        return bool(places)

    return change


def _round_weights(units: Sequence[Unit], scheme: Scheme) -> Edit:
    rounded = {u.weight.name: scheme.weights[id(u.weight)] for u in units if u.weight is not None}

    def change(model: Model) -> bool:
        for graph in model.graph.graphs():
            for name in rounded.keys() & graph.initializers.keys():
                edit.set_weight(graph.initializers[name], rounded[name].dequantize())
        return True

    return change


def _places(model: Model, names: Collection[str]) -> dict[str, tuple[Value, Graph]]:
    found: dict[str, tuple[Value, Graph]] = {}
    for graph in model.graph.graphs():
        made = (v for n in graph.nodes for v in n.outputs if v is not None)
        for value in (*graph.inputs, *made):
            if value.name in names:
                found[value.name] = (value, graph)
    return found


def grouped(items: Sequence[T], model: Model, most: int) -> list[Sequence[T]]:
    """Cut items into runs of neighbours, few enough to be measured one by one.

    Args:
        items: In graph order.
        model: What is loaded anew for every run of neighbours; a large one is loaded less often.
        most: Runs at most.
    """
    size = -(-len(items) // min(most, max(_FEWEST, affordable(model)))) or 1
    return [items[i : i + size] for i in range(0, len(items), size)]


def noise_of(
    model: Model,
    variants: Mapping[str, Edit],
    macs: float,
    ctx: Context,
    stage: str,
    *,
    unmade: float = 0.0,
    samples: int = _SAMPLES,
    data: Dataset | None = None,
) -> dict[str, OutputHarm]:
    """Return what each variant of a model does to its outputs.

    Args:
        model: Not changed.
        variants: What to change, by name.
        macs: Multiply-accumulates of a sample, 0 if nobody knows.
        ctx: Has the data.
        stage: What progress is called.
        unmade: Noise of a variant that cannot be made.
        samples: Samples at most.
        data: What is run; None is what passes are fitted to.
    """
    work = macs * max(1, len(variants))
    samples = int(min(samples, max(2, _MOST_WORK / work))) if work else samples

    def progress(done: int, total: int) -> None:
        ctx.progress(stage, done, total)

    noise = dict.fromkeys(variants, OutputHarm(unmade, unmade))
    if not variants:
        return noise
    try:
        store = ctx.store if data is None else None  # it is about the data of the pass
        found = sensitivity(
            model, variants, data or ctx.data, progress, samples=samples, store=store
        )
    except RuntimeFailureError as error:
        why = f"noise was not measured, so time alone decides: {error}"
        ctx.remark(Severity.WARNING, "noise-unknown", why)
        return noise
    for name, one in found.items():
        worst = max(one.sqnr_db, _LOWEST_DB)
        there = 1.0 if math.isnan(worst) else float(10 ** (-worst / 10))
        noise[name] = OutputHarm(there, one.cost if math.isfinite(one.cost) else there)
    return noise
