"""Putting the grids of one layer of a quantized model into the float model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ocompress.analysis.quantized import DQ, Q, Quantization, QuantizedLayer, TensorGrid
from ocompress.analysis.sensitivity import Edit
from ocompress.ir import Graph, Model, Node, Value, edit, query


def layer_edits(found: Quantization, names: Mapping[str, str]) -> dict[str, Edit]:
    """Return for every quantized layer the edit that quantizes just it in the float model.

    A layer rounds its weights, its output, and those inputs that no quantized layer has rounded
    before: each grid is charged to one layer, or a bad one would make its readers look guilty.
    Nodes that only move codes have no grid of their own, and no edit.

    Args:
        found: The quantized model.
        names: Name in the float model of the values of the quantized one.
    """
    layers = [layer for layer in found.layers if layer.quantized]
    made = {name for layer in layers for name in layer.outputs}
    grids = {name: seen.grid for name, seen in found.values.items()}
    edits = {}
    for layer in layers:
        if _moves(layer, grids):
            continue
        inputs = {index: grids.get(name) for index, name in layer.data if name not in made}
        outputs = {names.get(name, ""): grids.get(name) for name in layer.outputs}
        sources = {index: names.get(name, "") for index, name in layer.data}
        edits[layer.node.label] = _edit(layer, sources, inputs, outputs)
    return edits


def _moves(layer: QuantizedLayer, grids: Mapping[str, TensorGrid | None]) -> bool:
    ends = {grids.get(name) for name in (*layer.outputs, *(n for _, n in layer.data))}
    return len(layer.data) == 1 and not layer.constants and len(ends) == 1


def _edit(
    layer: QuantizedLayer,
    sources: Mapping[int, str],
    inputs: Mapping[int, TensorGrid | None],
    outputs: Mapping[str, TensorGrid | None],
) -> Edit:
    def quantize(model: Model) -> bool:
        node = _find(model, layer.node)
        if node is None or not _reads(node, sources) or not _round_constants(node, layer):
            return False
        for index, grid in inputs.items():
            value = node.input(index)
            if value is not None and grid is not None and node.graph is not None:
                node.set_input(index, _rounded(node.graph, value, grid).output)
        for name, grid in outputs.items():
            made = _reach(node, name)
            if grid is not None and made is not None and node.graph is not None:
                round_value(made, node.graph, grid)
        return True

    return quantize


def dequantized(node: Node) -> np.ndarray | None:
    """Return the float32 array that a node restores from constants, None if it is computed.

    The node is a DequantizeLinear, or a Mul by scales after a Cast.

    Scales are one for all, one per index of `axis`, or one per block of `block_size` along it.
    """
    if node.is_op("Mul"):
        cast = query.made_by(node.input(0), "Cast")
        stored = query.constant(cast, 0) if cast is not None else None
        scales = query.constant(node, 1)
        return None if stored is None or scales is None else stored.astype(np.float32) * scales
    codes, scale = query.constant(node, 0), query.constant(node, 1)
    zero = query.constant(node, 2)
    if codes is None or scale is None or (zero is None and node.input(2) is not None):
        return None
    axis = int(node.attr("axis", 1))
    block = int(node.attr("block_size", 0))
    parts = [scale.astype(np.float32)]
    parts.append(np.zeros_like(parts[0]) if zero is None else zero.astype(np.float32))
    if block:
        cut = np.arange(codes.shape[axis]) // block
        parts = [np.take(p, cut, axis=axis) for p in parts]
    elif scale.size == 1:
        parts = [p.reshape(()) for p in parts]
    else:
        shape = [1] * codes.ndim
        shape[axis] = -1
        parts = [p.reshape(shape) for p in parts]
    found: np.ndarray = (codes.astype(np.float32) - parts[1]) * parts[0]
    return found


def _find(model: Model, wanted: Node) -> Node | None:
    for _, node in model.nodes():
        if node.label == wanted.label and node.op_type == wanted.op_type:
            return node
    return None


def _reads(node: Node, sources: Mapping[int, str]) -> bool:
    """Whether a node reads these values; what was folded into one model changes its weights."""
    found = {index: node.input(index) for index in sources}
    return all(v is not None and _bare(v).name == sources[index] for index, v in found.items())


def _bare(value: Value) -> Value:
    """Return what a value was before the edit of another layer rounded it."""
    quantize = query.made_by(value, DQ)
    quantize = query.made_by(quantize.input(0), Q) if quantize is not None else None
    source = quantize.input(0) if quantize is not None else None
    return value if source is None else source


def _round_constants(node: Node, layer: QuantizedLayer) -> bool:
    assert node.graph is not None
    for index, restore in layer.constants.items():
        array, old = dequantized(restore), query.constant(node, index)
        if array is None or (old is not None and old.size != array.size):
            return False
        dtype = old.dtype if old is not None else np.dtype(np.float32)
        node.set_input(index, node.graph.constant(f"{node.label}_rounded", array.astype(dtype)))
    return True


def _rounded(graph: Graph, value: Value, grid: TensorGrid) -> Node:
    scale = graph.constant(f"{value.name}_scale", np.array(grid.scale, np.float32))
    zero = graph.constant(f"{value.name}_zero_point", np.array(grid.zero_point, grid.dtype))
    quantize = graph.add_op(Q, [value, scale, zero], name=f"{value.name}_rounded")
    return graph.add_op(DQ, [quantize.output, scale, zero], name=f"{value.name}_restored")


def _reach(node: Node, name: str) -> Value | None:
    """Return the output of that name of a node or of what reads it."""
    near = [*node.outputs]
    for value in node.outputs:
        near += [] if value is None else [o for reader, _ in value.users for o in reader.outputs]
    return next((v for v in near if v is not None and v.name == name), None)


def round_value(value: Value, graph: Graph, grid: TensorGrid) -> None:
    """Make all who read a value read it rounded to a grid.

    Args:
        value: What a node makes, or an input.
        graph: The graph that it is in.
        grid: What it is rounded to.
    """
    restore = _rounded(graph, value, grid)
    quantize = query.made_by(restore.input(0), Q)
    assert quantize is not None
    if value.producer is not None:
        if edit.replace(value, restore.output):
            quantize.set_input(0, value)
        return
    for node, index in value.users:
        if node is not quantize:
            node.set_input(index, restore.output)
