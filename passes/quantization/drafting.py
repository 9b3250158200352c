"""Quantizing a set of units: integers for everything, in the model or in a clone of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ocompress.analysis import calibrators
from ocompress.analysis.ranges import Histogram
from ocompress.analysis.statistics import Statistics
from ocompress.ir import Model, Node
from passes.quantization import matching
from passes.quantization.emit import Emitter
from passes.quantization.grids import assign_grids, integer_values
from passes.quantization.scheme import ActivationGrid, Scheme, least_weight_scales
from passes.quantization.units import Unit
from passes.quantization.weights import (
    QuantizedWeight,
    WeightGrid,
    correct_bias,
    quantize_weight,
)

AUTO = "auto"
"""Calibration where nobody says how."""


@dataclass(frozen=True, kw_only=True)
class GridRounding:
    """How numbers become integers.

    Attributes:
        calibration: `auto`, `minmax`, `percentile`, `entropy` or `mse`.
        percentile: Per cent kept on either side.
        dtype: Of activations, `uint8`, `int8`, `uint16` or `int16`.
        symmetric: Whether activation ranges are symmetric around zero.
        seven: Whether weights have 7 bits.
        careful: Whether pairs of products may saturate.
        per_channel: Whether each output channel has its own weight scale.
        bias_correction: Whether biases compensate for the mean weight error.
    """

    calibration: str
    percentile: float
    dtype: str
    symmetric: bool
    seven: bool
    careful: bool
    per_channel: bool
    bias_correction: bool

    @property
    def limit(self) -> int:
        """Largest magnitude of an integer weight."""
        return 64 if self.seven else 127

    @property
    def chooses_ranges(self) -> bool:
        """Whether the outputs decide how ranges are chosen; 16 bits hold everything anyway."""
        return self.calibration == AUTO and not self.dtype.endswith("16")

    def range(self, histogram: Histogram, calibration: str = AUTO) -> tuple[float, float]:
        """Return what the grid of a value shall cover.

        Args:
            histogram: Its distribution.
            calibration: How that is chosen; `auto` is what the pass was given, and there the least
                squared error.
        """
        if calibration == AUTO:
            calibration = self.calibration
        if calibration == "minmax" or self.dtype.endswith("16"):
            return calibrators.minmax(histogram)
        if calibration == "percentile":
            return calibrators.percentile(histogram, self.percentile)
        if calibration == "entropy":
            return calibrators.entropy(histogram, self.symmetric)
        return calibrators.mse(histogram, self.symmetric)

    def weight_grid(self, unit: Unit) -> WeightGrid:
        """Return which integers the weight of a unit may use."""
        if self.seven:
            return WeightGrid.SEVEN
        return WeightGrid.PAIRS if self.careful and not unit.depthwise else WeightGrid.FULL


@dataclass(frozen=True)
class Draft:
    """A quantized clone of a model.

    Attributes:
        model: The clone.
        twins: Its units, in the order of the originals.
    """

    model: Model
    twins: Sequence[Unit]


@dataclass
class Drafter:
    """Makes integers of units of one model.

    Attributes:
        model: In float; not changed.
        find: Finds the units of a clone, in the same order.
        statistics: Histograms and means of activations.
        rounding: How.
        excluded: Operators that stay in float whatever stands around them.
        calibrations: How ranges of values are chosen, by name, where not as `rounding` says.
    """

    model: Model
    find: Callable[[Model], Sequence[Unit]]
    statistics: Statistics
    rounding: GridRounding
    excluded: Sequence[Node] = ()
    calibrations: Mapping[str, str] = field(default_factory=dict)
    _ranges: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    _rounded: dict[Hashable, QuantizedWeight] = field(default_factory=dict)

    def scheme(self, units: Sequence[Unit]) -> Scheme:
        """Return the integers of units, weights rounded to nearest."""
        grids = self.grids(units)
        weights = self._weights(units, grids)
        return Scheme(grids, weights, self._biases(units, weights))

    def grids(self, units: Sequence[Unit], calibration: str = AUTO) -> dict[int, ActivationGrid]:
        """Return the grid of every integer value by id, if all ranges are chosen in one way."""

        def span(name: str) -> tuple[float, float]:
            how = self.calibrations.get(name, AUTO) if calibration == AUTO else calibration
            return self._range(name, how)

        rounding = self.rounding
        return assign_grids(units, span, rounding.dtype, symmetric=rounding.symmetric)

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
            scheme: Has weights and biases of the units, where they are not rounded to nearest.
        """
        clone = self.model.clone()
        pairs = zip(self.model.nodes(), clone.nodes(), strict=True)
        nodes = {id(old): new for (_, old), (_, new) in pairs}
        twins_of = {id(u.node): u for u in self.find(clone)}
        twins = [twins_of[id(nodes[id(u.node)])] for u in units]
        excluded = [nodes[id(n)] for n in self.excluded]
        own = self.scheme(twins)
        given = scheme or Scheme()
        for unit, twin in zip(units, twins, strict=True):
            if id(unit.weight) in given.weights:
                own.weights[id(twin.weight)] = given.weights[id(unit.weight)]
            if id(unit.node) in given.biases:
                own.biases[id(twin.node)] = given.biases[id(unit.node)]
        Emitter(clone, twins, own, excluded).run()
        clone.sort()
        return Draft(clone, twins)

    def _range(self, name: str, calibration: str) -> tuple[float, float]:
        key = name, calibration
        if key not in self._ranges:
            histogram = self.statistics[name, matching.HISTOGRAM]
            self._ranges[key] = self.rounding.range(histogram, calibration)
        return self._ranges[key]

    def _weights(
        self, units: Sequence[Unit], grids: Mapping[int, ActivationGrid]
    ) -> dict[int, QuantizedWeight]:
        least: dict[int, np.ndarray] = {}
        for unit in units:
            bias = unit.bias
            if unit.weight is not None and bias is not None:
                floor = least_weight_scales(bias, grids[id(unit.data[0][1])].scale)
                key = id(unit.weight)
                least[key] = np.maximum(least[key], floor) if key in least else floor
        found: dict[int, QuantizedWeight] = {}
        for unit in units:
            key = id(unit.weight)
            if unit.weight is None or unit.weight.constant is None or key in found:
                continue
            found[key] = self._weight(unit, unit.weight.constant, least.get(key))
        return found

    def _weight(self, unit: Unit, weight: np.ndarray, least: np.ndarray | None) -> QuantizedWeight:
        """Round a weight to nearest, once: ranges of activations seldom make a difference to it."""
        assert unit.weight is not None
        grid = self.rounding.weight_grid(unit)
        if least is not None:  # what is below the scales of the widest grid changes nothing
            others = tuple(a for a in range(weight.ndim) if a != unit.axis)
            own = np.abs(weight).max(axis=others, initial=0.0) / np.float64(self.rounding.limit)
            least = least if (least > own).any() else None
        bound = None if least is None else least.tobytes()
        key = (unit.weight.name, id(weight), unit.axis, grid, tuple(unit.orders), bound)
        if key not in self._rounded:
            self._rounded[key] = quantize_weight(
                weight,
                unit.axis,
                grid,
                orders=unit.orders,
                per_channel=self.rounding.per_channel,
                least_scales=least,
            )
        return self._rounded[key]

    def _biases(
        self, units: Sequence[Unit], weights: Mapping[int, QuantizedWeight]
    ) -> dict[int, np.ndarray]:
        found: dict[int, np.ndarray] = {}
        for unit in units:
            if unit.weight is None or unit.weight.constant is None or unit.rule.bias is None:
                continue
            bias, means = unit.bias, None
            if self.rounding.bias_correction:
                means = self.statistics.get((unit.data[0][1].name, matching.mean_observer(unit)))
            if means is not None:
                weight = weights[id(unit.weight)].dequantize()
                raised = correct_bias(unit.weight.constant, weight, means, unit.axis, unit.groups)
                bias = raised if bias is None else bias.astype(np.float64) + raised
            if bias is not None:
                found[id(unit.node)] = bias
        return found
