"""What quantization tells: a remark per operator left in float, tables for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ocompress.analysis.ranges import Histogram
from ocompress.pipeline import Context
from ocompress.planning import Choice
from ocompress.targets import Target
from passes.quantization.grids import ideal_error, integer_values
from passes.quantization.placement import Placement
from passes.quantization.reconstruct import Reconstruction
from passes.quantization.scheme import Grid, Scheme
from passes.quantization.weights import QuantizedWeight


def remark_on(placement: Placement, ctx: Context) -> None:
    """Say of every unit that stays in float why it does."""
    cells = placement.cells or [None] * len(placement.units)
    for unit, choice, cell in zip(placement.units, placement.choices, cells, strict=True):
        if choice is Choice.INT8:
            continue
        if cell is None:
            why = f"{unit.node.op_type} has no integer kernel worth using on {ctx.target.name}"
            ctx.skip(unit.node, "no-int8-kernel", why)
        else:
            why = (
                f"predicted {cell.float_ns:.0f} ns in float, {cell.int8_ns:.0f} ns in int8 "
                f"without the conversions around it, on {ctx.target.name}"
            )
            ctx.skip(unit.node, "does-not-pay", why)


def details(
    placement: Placement,
    scheme: Scheme,
    fits: Mapping[int, Reconstruction],
    histograms: Mapping[str, Histogram],
    target: Target,
) -> dict[str, Any]:
    """Return the tables of the report: nodes with choice and times, tensors with grid and error.

    Errors are signal-to-noise ratios in dB, worst first: of activations as their histogram and
    grid predict it, of weights as they came out. Of layers that were fitted, also of the output,
    with rounding to nearest and with the fit, on samples it has not seen.
    """
    return {
        "target": target.name,
        "nodes": _nodes(placement, scheme.weights, fits),
        "tensors": _tensors(placement, scheme.grids, histograms),
    }


def _nodes(
    placement: Placement,
    weights: Mapping[int, QuantizedWeight],
    fits: Mapping[int, Reconstruction],
) -> list[dict[str, Any]]:
    cells = placement.cells or [None] * len(placement.units)
    rows = []
    for unit, choice, cell in zip(placement.units, placement.choices, cells, strict=True):
        row: dict[str, Any] = {
            "node": unit.node.label,
            "op_type": unit.node.op_type,
            "choice": str(choice),
            "float_ns": None if cell is None else round(cell.float_ns),
            "int8_ns": None if cell is None else round(cell.int8_ns),
        }
        weight = weights.get(id(unit.weight)) if unit.weight is not None else None
        if weight is not None and choice is Choice.INT8 and unit.weight is not None:
            assert unit.weight.constant is not None
            row["weight_sqnr_db"] = _weight_sqnr(unit.weight.constant, weight)
        fit = fits.get(id(unit.node))
        if fit is not None and choice is Choice.INT8:
            row["output_sqnr_db_rtn"] = _decibels(fit.before)
            row["output_sqnr_db"] = _decibels(fit.after)
            row["channels_fitted"] = round(fit.moved, 3)
        rows.append(row)
    return rows


def _weight_sqnr(original: np.ndarray, weight: QuantizedWeight) -> float | None:
    power = float(np.square(original, dtype=np.float64).sum())
    noise = float(np.square(weight.dequantize() - original, dtype=np.float64).sum())
    return _decibels(noise / power) if power > 0 else None


def _tensors(
    placement: Placement, grids: Mapping[int, Grid], histograms: Mapping[str, Histogram]
) -> list[dict[str, Any]]:
    rows = []
    for key, value in integer_values(placement.chosen).items():
        histogram, grid = histograms.get(value.name), grids.get(key)
        if histogram is None or grid is None:
            continue
        rows.append(
            {
                "tensor": value.name,
                "low": histogram.low,
                "high": histogram.high,
                "scale": grid.scale,
                "zero_point": grid.zero_point,
                "dtype": grid.dtype,
                "sqnr_db": _decibels(ideal_error(histogram, grid)),
            }
        )
    return sorted(rows, key=lambda r: (r["sqnr_db"] is None, r["sqnr_db"] or 0.0, r["tensor"]))


def _decibels(ratio: float) -> float | None:
    return None if ratio <= 0 else round(-10 * float(np.log10(ratio)), 2)
