"""What quantization tells: a remark per operator left in float, tables for the report."""

from __future__ import annotations

from collections.abc import Mapping
from glob import escape
from typing import Any

import numpy as np

from ocompress.analysis.ranges import Histogram
from ocompress.analysis.running import sqnr_db
from ocompress.analysis.statistics import Statistics
from ocompress.diagnostics import Severity
from ocompress.pipeline import Context
from ocompress.planning import Choice
from ocompress.targets import Target
from passes.quantization.choosing import Choosing
from passes.quantization.grids import ideal_error, integer_values
from passes.quantization.matching import HISTOGRAM
from passes.quantization.placement import Placement
from passes.quantization.reconstruct import Reconstruction
from passes.quantization.scheme import ActivationGrid, Scheme
from passes.quantization.units import Unit
from passes.quantization.weights import QuantizedWeight, pull_pairs_in, walks_of


def remark_on(chosen: Choosing, ctx: Context) -> None:
    """Say of every unit that stays in float why it does."""
    placement = chosen.placement
    cells = placement.cells or [None] * len(placement.units)
    refused = (chosen.refused or placement).choices
    rows = zip(
        placement.units, placement.choices, cells, chosen.fastest.choices, refused, strict=True
    )
    how = "measured" if chosen.measured else "predicted"
    if chosen.refused is not None:
        _remark_on_refusal(chosen, ctx)
    for unit, choice, cell, fastest, first in rows:
        if choice is Choice.INT8:
            continue
        if first is Choice.INT8:
            ctx.skip(unit.node, "does-not-pay", "as int8 it made the model slower here")
            continue
        if cell is None:
            why = f"{unit.node.op_type} has no integer kernel worth using on {ctx.target.name}"
            ctx.skip(unit.node, "no-int8-kernel", why)
        elif fastest is Choice.INT8 and chosen.noise is not None:
            alone = _decibels(chosen.noise.of(unit))
            why = "its neighbours stay in float" if alone is None else f"alone it costs {alone} dB"
            limit = chosen.bound or "noise_price"
            ctx.skip(unit.node, "too-noisy", f"{limit} keeps it in float: {why}")
        else:
            why = (
                f"{how} {cell.float_ns:.0f} ns in float, {cell.int8_ns:.0f} ns in int8 "
                f"without the conversions around it, on {ctx.target.name}"
            )
            ctx.skip(unit.node, "does-not-pay", why)


def _remark_on_refusal(chosen: Choosing, ctx: Context) -> None:
    assert chosen.refused is not None
    first, left = len(chosen.refused.chosen), len(chosen.placement.chosen)
    instead = f"{left} are" if left else "none is, and weights alone are stored in fewer bits"
    why = f"{first} operators as integers were too slow, so {instead}: {chosen.why}"
    ctx.remark(Severity.NOTE, "too-slow-here", why)


def details(
    chosen: Choosing,
    scheme: Scheme,
    fits: Mapping[int, Reconstruction],
    statistics: Statistics,
    target: Target,
) -> dict[str, Any]:
    """Return the tables of the report: nodes with choice and times, tensors with grid and error.

    Errors are signal-to-noise ratios in dB, worst first: of activations as their histogram and
    grid predict it, of weights as they came out. Of layers that were fitted, also of the output,
    with rounding to nearest and with the fit, on samples it has not seen. Of nodes, also of the
    model's worst output if they alone were integers.
    """
    nodes = _nodes(chosen, scheme.weights, fits, target)
    return {
        "target": target.name,
        "times": "measured" if chosen.measured else "table",
        "nodes": nodes,
        "tensors": _tensors(chosen.placement, scheme.grids, statistics),
        "selections": _selections(chosen),
        "choices": [row for row in map(_explained, nodes) if row is not None],
        "settled": _settled(chosen.placement),
    }


def _settled(placement: Placement) -> dict[str, Any]:
    """Return options that make the same choice again, without times and noise."""
    if not placement.chosen:
        return {"in_float": ["*"]}
    able = [cell is not None for cell in placement.cells] or [True] * len(placement.units)
    rows = zip(placement.units, placement.choices, able, strict=True)
    left = [u.node.label for u, choice, can in rows if choice is Choice.FLOAT and can]
    return {"in_float": [escape(label) for label in left]} if left else {"keep_slower": True}


def _explained(row: Mapping[str, Any]) -> dict[str, str] | None:
    """Return what a node computes in, and why not in the other; None where there was no choice."""
    slow, fast = row["float_ns"], row["int8_ns"]
    if slow is None or fast is None:
        return None
    known = {"name": row["node"], "chosen": row["choice"]}
    times = f"{fast:,} ns in int8, {slow:,} ns in float"
    if row["choice"] == str(Choice.FLOAT):
        noise = row.get("sqnr_db_alone")
        why = "no faster"
        if fast < slow:
            why = "conversions around it and noise cost more than it saves"
            times += "" if noise is None else f"; alone it makes noise of {noise} dB"
        return {**known, "second": str(Choice.INT8), "why": f"{why}: {times}"}
    why = "slower" if fast < slow else "numbers would have to be converted around it"
    return {**known, "second": str(Choice.FLOAT), "why": f"{why}: {times}"}


def _selections(chosen: Choosing) -> list[dict[str, Any]]:
    return [
        {
            "int8": len(s.placement.chosen),
            "time": round(s.time, 4),
            "sqnr_db": round(s.sqnr_db, 1),
            "chosen": s.placement is chosen.placement,
        }
        for s in chosen.selections
    ]


def _nodes(
    chosen: Choosing,
    weights: Mapping[int, QuantizedWeight],
    fits: Mapping[int, Reconstruction],
    target: Target,
) -> list[dict[str, Any]]:
    placement = chosen.placement
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
        if chosen.noise is not None:
            row["sqnr_db_alone"] = _decibels(chosen.noise.of(unit))
        weight = weights.get(id(unit.weight)) if unit.weight is not None else None
        if weight is not None and choice is Choice.INT8 and unit.weight is not None:
            assert unit.weight.constant is not None
            row["weight_sqnr_db"] = _weight_sqnr(unit.weight.constant, weight)
            if target.saturates and not unit.depthwise:
                row["channels_that_would_clip"] = _would_clip(unit)
        fit = fits.get(id(unit.node))
        if fit is not None and choice is Choice.INT8:
            row["output_sqnr_db_rtn"] = _decibels(fit.before)
            row["output_sqnr_db"] = _decibels(fit.after)
            row["channels_fitted"] = round(fit.moved, 3)
        rows.append(row)
    return rows


def _would_clip(unit: Unit) -> int:
    """Count the output channels that on a plain grid could clip where pairs saturate.

    They, and no others, got a narrower grid or had pairs of weights pulled in.
    """
    assert unit.weight is not None
    assert unit.weight.constant is not None
    rows = np.moveaxis(unit.weight.constant, unit.axis, 0)
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    peaks = np.abs(flat).max(axis=1, keepdims=True, initial=0.0)
    levels = np.rint(flat * (127 / np.where(peaks > 0, peaks, 1.0)))
    return int(pull_pairs_in(levels, walks_of(rows.shape[1:], unit.orders)).sum())


def _weight_sqnr(original: np.ndarray, weight: QuantizedWeight) -> float | None:
    power = float(np.square(original, dtype=np.float64).sum())
    noise = float(np.square(weight.dequantize() - original, dtype=np.float64).sum())
    return _decibels(noise / power) if power > 0 else None


def _tensors(
    placement: Placement, grids: Mapping[int, ActivationGrid], statistics: Statistics
) -> list[dict[str, Any]]:
    rows = []
    for key, value in integer_values(placement.chosen).items():
        histogram: Histogram | None = statistics.get((value.name, HISTOGRAM))
        grid = grids.get(key)
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
    return None if ratio <= 0 else round(sqnr_db(1.0, ratio), 2)
