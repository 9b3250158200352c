"""Rounding weights and biases to integers, and the ranges that grids of activations cover."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ocompress.analysis import calibrators
from ocompress.analysis.ranges import Histogram
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


@dataclass
class Rounder:
    """Makes integers of weights, and the biases that go with them.

    Attributes:
        rounding: How.
    """

    rounding: GridRounding
    _rounded: dict[Hashable, QuantizedWeight] = field(default_factory=dict)

    def scheme(
        self,
        units: Sequence[Unit],
        grids: Mapping[int, ActivationGrid],
        means: Mapping[str, np.ndarray],
    ) -> Scheme:
        """Return the integers of units, weights rounded to nearest.

        Args:
            units: What becomes integer operators.
            grids: Of every integer value, by its id.
            means: Of each input channel, (inputs,), by label of the node, where a bias makes up for
                the mean error of the weight.
        """
        weights = self._weights(units, grids)
        return Scheme(grids, weights, _biases(units, weights, means))

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
    units: Sequence[Unit],
    weights: Mapping[int, QuantizedWeight],
    means: Mapping[str, np.ndarray],
) -> dict[int, np.ndarray]:
    found: dict[int, np.ndarray] = {}
    for unit in units:
        if unit.weight is None or unit.weight.constant is None or unit.rule.bias is None:
            continue
        bias, mean = unit.bias, means.get(unit.node.label)
        if mean is not None:
            weight = weights[id(unit.weight)].dequantize()
            raised = correct_bias(unit.weight.constant, weight, mean, unit.axis, unit.groups)
            bias = raised if bias is None else bias.astype(np.float64) + raised
        if bias is not None:
            found[id(unit.node)] = bias
    return found
