"""Weights that are int8 in the file and float32 once it is loaded, at no cost in speed."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np

from ocompress.ir import Model
from passes.quantization import weight_report, weight_sites
from passes.quantization.blockwise import BlockGrid, BlockWeight
from passes.quantization.weight_emit import WeightEmitter
from passes.quantization.weight_forms import Effect, Role
from passes.quantization.weight_sites import Rules, Site

_NODES = 300
"""Bytes of the two nodes, their names and tensors that restore a weight."""
_ROWS = BlockGrid(bits=8, block=0, symmetric=True)


def store_rest(model: Model, without: Set[int]) -> list[dict[str, Any]]:
    """Store the float weights of a model, and its other large float constants, as int8.

    Args:
        model: Changed.
        without: Nodes, by id, whose weights stay as they are.

    Returns:
        A row for the report of each weight.
    """
    rules = Rules(
        form="int8",
        blocks=dict.fromkeys(Role, 0),
        op_types=weight_sites.OP_TYPES,
        exclude=(),
        smallest=0,
        kernel="fold",
        keep_slower=False,
    )
    emitter = WeightEmitter(model)
    sites = weight_sites.collect(model, rules, lambda *_: None)
    sites += _others(model, {id(s.value) for s in sites})
    rows = store([s for s in sites if _pays(s) and not _touches(s, without)], emitter)
    emitter.finish()
    return rows


def store(sites: list[Site], emitter: WeightEmitter) -> list[dict[str, Any]]:
    """Store weights as int8 with a scale per channel, tables with one per row.

    Args:
        sites: The weights.
        emitter: Writes them into its model.

    Returns:
        A row for the report of each weight.
    """
    rows = []
    for site in sites:
        integers, scales = to_int8(site.array, site.channel_axes)
        off = integers * scales - site.array
        size = float(np.linalg.norm(site.array))
        error = float(np.linalg.norm(off)) / size if size else 0.0
        looked_up = site.is_looked_up and site.role is Role.TABLE and site.array.ndim == 2
        effect = Effect.ROWS if looked_up else Effect.FOLDED
        rows.append(weight_report.row(site, effect, integers.nbytes + scales.nbytes, error))
        if looked_up:
            zeros = np.zeros(scales.shape, np.int8)
            emitter.look_up(site, BlockWeight(integers, scales, zeros, _ROWS))
        else:
            emitter.fold(site, integers, scales)
    return rows


def _others(model: Model, known: Set[int]) -> list[Site]:
    """Return what standard operators without weights read: tables of positions, masks, slopes."""
    found = []
    for graph in model.graph.graphs():
        for value in graph.initializers.values():
            array = value.constant
            readers = [node for node, _ in value.users]
            if array is None or id(value) in known or not readers or value.is_output:
                continue
            plain = all(not n.domain and not n.is_op(*weight_sites.OP_TYPES) for n in readers)
            if plain and array.dtype == np.float32 and array.ndim > 1:
                found.append(Site(value, Role.KERNEL, 1, readers))
    return [s for s in found if np.isfinite(s.array).all()]


def _pays(site: Site) -> bool:
    scales = np.prod([site.array.shape[a] for a in site.channel_axes])
    return bool(3 * site.array.size > 4 * scales + _NODES)


def _touches(site: Site, nodes: Set[int]) -> bool:
    return any(id(n) in nodes for n in site.nodes)


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
    return np.rint(array / scales).astype(np.int8), scales
