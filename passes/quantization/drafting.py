"""Quantizing a set of units: integers for everything, in a clone of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ocompress.analysis.statistics import Statistics
from ocompress.ir import Model, Node, Value
from passes.quantization import matching
from passes.quantization.emit import Emitter
from passes.quantization.grids import assign_grids, integer_values
from passes.quantization.rounding import AUTO, GridRounding, Rounder
from passes.quantization.scheme import ActivationGrid, Scheme
from passes.quantization.units import Unit


@dataclass(frozen=True)
class Draft:
    """A quantized clone of a model.

    Attributes:
        model: The clone.
        twins: Its units, in the order of the originals.
    """

    model: Model
    twins: Sequence[Unit]


def drafted(
    model: Model, units: Sequence[Unit], scheme: Scheme, excluded: Sequence[Node] = ()
) -> Draft:
    """Return a clone of a model in which units are integer operators.

    Args:
        model: In float; not changed.
        units: Of the model.
        scheme: Their integers.
        excluded: Operators that stay in float whatever stands around them.
    """
    clone = model.clone()
    pairs = zip(model.nodes(), clone.nodes(), strict=True)
    nodes = {id(old): new for (_, old), (_, new) in pairs}
    twins_of = {id(u.node): u for u in units_of(clone)}
    twins = [twins_of[id(nodes[id(u.node)])] for u in units]
    values = {id(a): id(b) for u, t in zip(units, twins, strict=True) for a, b in _values(u, t)}
    own = Scheme(
        {values[key]: grid for key, grid in scheme.grids.items() if key in values},
        {values[key]: weight for key, weight in scheme.weights.items() if key in values},
        {id(nodes[key]): bias for key, bias in scheme.biases.items()},
    )
    Emitter(clone, twins, own, [nodes[id(n)] for n in excluded]).run()
    clone.sort()
    return Draft(clone, twins)


def units_of(model: Model) -> list[Unit]:
    """Return the operators of a model that have integer kernels, in graph order."""
    return matching.find_units(model, lambda *_: None)


def _values(unit: Unit, twin: Unit) -> Iterator[tuple[Value, Value]]:
    """Yield what a unit reads and makes beside the same of its twin."""
    yield from zip((v for _, v in unit.data), (v for _, v in twin.data), strict=True)
    yield from zip(unit.outputs, twin.outputs, strict=True)
    if unit.weight is not None and twin.weight is not None:
        yield unit.weight, twin.weight


@dataclass
class Drafter:
    """Makes integers of units of one model.

    Attributes:
        model: In float; not changed.
        statistics: Histograms and means of activations.
        rounder: Makes integers of weights, each once for all drafts.
        excluded: Operators that stay in float whatever stands around them.
        calibrations: How ranges of values are chosen, by name, where not as its rounding says.
    """

    model: Model
    statistics: Statistics
    rounder: Rounder
    excluded: Sequence[Node] = ()
    calibrations: Mapping[str, str] = field(default_factory=dict)
    _ranges: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    @property
    def rounding(self) -> GridRounding:
        """How numbers become integers."""
        return self.rounder.rounding

    def scheme(self, units: Sequence[Unit]) -> Scheme:
        """Return the integers of units, weights rounded to nearest."""
        return self.rounder.scheme(units, self.grids(units), self.means(units))

    def grids(self, units: Sequence[Unit], calibration: str = AUTO) -> dict[int, ActivationGrid]:
        """Return the grid of every integer value by id, if all ranges are chosen in one way."""

        def span(name: str) -> tuple[float, float]:
            how = self.calibrations.get(name, AUTO) if calibration == AUTO else calibration
            return self._range(name, how)

        rounding = self.rounding
        return assign_grids(units, span, rounding.dtype, symmetric=rounding.symmetric)

    def means(self, units: Sequence[Unit]) -> dict[str, np.ndarray]:
        """Return the mean of each input channel, (inputs,), where a bias corrects for it.

        By label of the node.
        """
        found = {}
        for unit in units if self.rounding.bias_correction else ():
            if unit.weight is not None and unit.rule.bias is not None:
                seen = self.statistics.get((unit.data[0][1].name, matching.mean_observer(unit)))
                if seen is not None:
                    found[unit.node.label] = seen
        return found

    def values(self, units: Sequence[Unit]) -> list[str]:
        """Return the names of the values that exist as integers."""
        return [value.name for value in integer_values(units).values()]

    def recalibrate(self, calibrations: Mapping[str, str]) -> None:
        """Choose the ranges of values as is said by name, of others as `rounding` says."""
        self.calibrations = dict(calibrations)

    def draft(self, units: Sequence[Unit], scheme: Scheme | None = None) -> Draft:
        """Return a clone of the model in which units are integer operators.

        Args:
            units: Of the model.
            scheme: Their integers; None rounds weights to nearest.
        """
        return drafted(self.model, units, scheme or self.scheme(units), self.excluded)

    def _range(self, name: str, calibration: str) -> tuple[float, float]:
        key = name, calibration
        if key not in self._ranges:
            histogram = self.statistics[name, matching.HISTOGRAM]
            self._ranges[key] = self.rounding.range(histogram, calibration)
        return self._ranges[key]
