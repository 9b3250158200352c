"""Weights that are int8 in the file and float32 once it is loaded, at no cost in speed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from ocompress.ir import DType, Model
from passes.quantization import fitting, weight_report, weight_sites
from passes.quantization.blockwise import BlockGrid, BlockWeight
from passes.quantization.weight_emit import WeightEmitter
from passes.quantization.weight_forms import BITS, HALVES, Effect, Role
from passes.quantization.weight_site import SiteRules, WeightSite
from passes.storage.blocked import BlockedIntegers
from passes.storage.holding import put_in_blocks, put_on_grid

_NODES = 300
"""Bytes of the two nodes, their names and tensors that restore a weight."""
_MOST_LOST = 0.25
"""Part of a table that may become zeros."""
_LEAST_BLOCK = 8
Fit = Callable[[np.ndarray, BlockGrid], BlockWeight]
"""Chooses the integers of rows, [channels, inputs], on a grid."""
_ROWS = BlockGrid(bits=8, block=0, symmetric=True)


def store(sites: list[WeightSite], emitter: WeightEmitter) -> list[dict[str, Any]]:
    """Store weights as int8 with a scale per channel, tables with one per row.

    Args:
        sites: The weights.
        emitter: Of their model; writes look-ups.

    Returns:
        A row for the report of each weight.
    """
    rows = []
    for site in sites:
        integers, scales = to_int8(site.array, site.channel_axes)
        whole = site.array.astype(np.float64)
        off = integers * scales - whole
        size = float(np.linalg.norm(whole))
        error = float(np.linalg.norm(off)) / size if size else 0.0
        array = site.array
        in_rows = all(weight_sites.looks_up_rows(node, array) for node in site.nodes)
        looked_up = site.in_rows and in_rows
        effect = Effect.ROWS if looked_up else Effect.FOLDED
        rows.append(weight_report.row(site, effect, integers.nbytes + scales.nbytes, error))
        if looked_up:
            zeros = np.zeros(scales.shape, np.int8)
            emitter.look_up(site, BlockWeight(integers, scales, zeros, _ROWS))
        else:
            put_on_grid(site.value, integers, scales)
    return rows


def store_in_blocks(
    sites: list[WeightSite], grids: Mapping[Role, BlockGrid], fit: Fit
) -> list[dict[str, Any]]:
    """Store weights as integers with a scale for each block, which runtimes restore at load.

    Args:
        sites: The weights.
        grids: Their integers. A row is cut into equal blocks, so those are smaller where its length
            asks for it.
        fit: Chooses the integers of rows on a grid.

    Returns:
        A row for the report of each weight.
    """
    found = []
    for site in sites:
        axes, grid = site.channel_axes, grids[site.role]
        turn = (*axes, *(a for a in range(site.array.ndim) if a not in axes))
        count = math.prod(site.array.shape[a] for a in axes)
        rows = site.array.transpose(turn).reshape(count, -1)
        weight = fit(rows, replace(grid, block=even_block(rows.shape[1], grid.block)))
        zeros = None if grid.symmetric else weight.zero_points
        held = BlockedIntegers(weight.integers, weight.scales, zeros, grid.bits)
        error = fitting.weight_error(rows, weight)
        found.append(weight_report.row(site, Effect.FOLDED, held.nbytes, error))
        put_in_blocks(site.value, held, axes)
    return found


def even_block(inputs: int, most: int) -> int:
    """Return the largest number of inputs up to some that divides all of them; 0 for all.

    Blocks of very few inputs take more than they are worth.
    """
    return next((n for n in range(min(most, inputs), _LEAST_BLOCK - 1, -1) if inputs % n == 0), 0)


def store_halves(
    sites: list[WeightSite], emitter: WeightEmitter, form: str
) -> list[dict[str, Any]]:
    """Store weights as floats of 16 bits.

    Args:
        sites: The weights.
        emitter: Writes them into its model.
        form: `fp16` or `bf16`.

    Returns:
        A row for the report of each weight.
    """
    dtype = DType[HALVES[form].upper()]
    rows = []
    for site in sites:
        off = site.array.astype(dtype.numpy).astype(np.float32) - site.array
        effect = Effect.ROWS if site.in_rows else Effect.FOLDED
        size = float(np.linalg.norm(site.array))
        error = float(np.linalg.norm(off)) / size if size else 0.0
        rows.append(weight_report.row(site, effect, site.array.nbytes // 2, error))
        emitter.narrow(site, dtype)
    return rows


def others(model: Model, known: Set[int]) -> list[WeightSite]:
    """Return what standard operators without weights read: tables of positions, masks, slopes."""
    found = []
    for graph in model.graph.graphs():
        for value in graph.initializers.values():
            array = value.constant
            readers = [node for node, _ in value.users]
            if array is None or id(value) in known or not readers or value.is_output:
                continue
            plain = all(not n.domain and not n.is_op(*weight_sites.OP_TYPES) for n in readers)
            if plain and array.dtype == np.float32 and max(array.shape, default=0) < array.size:
                found.append(WeightSite(value, Role.KERNEL, 1, readers))
    return [s for s in found if np.isfinite(s.array).all()]


def elementwise(model: Model, known: Sequence[WeightSite], rules: SiteRules) -> list[WeightSite]:
    """Return large constants of operators without weights that may be stored, too.

    A table whose elements would mostly become zeros, for a few are far larger than all others
    (a mask among numbers), is not among them.

    Args:
        model: Has the constants.
        known: The weights that are stored anyway.
        rules: How; those that fold, so that any operator may read the result.
    """
    found = []
    for site in others(model, {id(s.value) for s in known}):
        named = any(fnmatchcase(n.label, p) for n in site.nodes for p in rules.exclude)
        if named or weight_sites.check_array(site.array, rules) is not None:
            continue
        if rules.form in HALVES:
            stored = site.value.file_bytes - 2 * site.array.size > _NODES
        elif BITS[rules.form] < 8:
            stored = site.is_selected
        else:
            lost = (to_int8(site.array, site.channel_axes)[0] == 0) & (site.array != 0)
            stored = pays(site) and float(lost.mean()) <= _MOST_LOST
        if stored:
            found.append(site)
    return found


def pays(site: WeightSite) -> bool:
    """Whether a weight takes fewer bytes as int8, scales and nodes counted."""
    scales = np.prod([site.array.shape[a] for a in site.channel_axes])
    return bool(site.value.file_bytes - site.array.size > 4 * scales + _NODES)


def to_int8(array: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Round an array to -127..127 with a scale for each index of some axes.

    Args:
        array: Float32.
        axes: The axes whose indices have a scale of their own.

    Returns:
        int8 of the same shape, and float32 scales that broadcast with it.
    """
    others = tuple(a for a in range(array.ndim) if a not in axes)
    scales = np.abs(array).max(axis=others, keepdims=True, initial=0.0) / np.float32(127)
    scales = np.where(scales >= np.finfo(np.float32).tiny, scales, np.float32(1))
    scales = scales.astype(np.float32)
    with np.errstate(over="ignore"):
        fits = np.isfinite(np.float32(127) * scales)  # the largest floats would become infinite
    scales = np.where(fits, scales, np.nextafter(scales, np.float32(0)))
    return np.rint(array / scales).clip(-127, 127).astype(np.int8), scales
