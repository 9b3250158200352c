"""Writing weights of fewer bits into the graph, so that ONNX Runtime makes the most of them.

The tensors stand in the graph of the operator that reads them, right before it and in their
final layout: ONNX Runtime fuses within one graph only, and some versions lose the sign of
integers that are transposed or reshaped after they were dequantized.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ocompress.ir import DType, Graph, Model, Node, Value, edit, packed, schemas
from passes.quantization import packing
from passes.quantization.blockwise import BlockWeight
from passes.quantization.units import merging_reader, merging_sum
from passes.quantization.weight_forms import Role
from passes.quantization.weight_site import WeightSite
from passes.quantization.weight_sites import row_bias

CONTRIB = "com.microsoft"


class WeightEmitter:
    """Rewrites a model, weight by weight; `finish` drops the float ones."""

    def __init__(self, model: Model) -> None:
        """Prepare for a model.

        Args:
            model: Changed by the other methods.
        """
        self._model = model
        self._homes = {
            id(v): graph for graph in model.graph.graphs() for v in graph.initializers.values()
        }
        self._old: list[Value] = []

    def finish(self) -> None:
        """Remove the weights and biases that nobody reads any more."""
        for value in self._old:
            graph = self._homes[id(value)]
            if value.use_count == 0 and graph.initializers.get(value.name) is value:
                del graph.initializers[value.name]
                graph.names.release(value.name)

    # -- floats of fewer bits ---------------------------------------------------------------

    def narrow(self, site: WeightSite, dtype: DType) -> None:
        """Round a weight to narrower floats; every reader is served, whatever it is.

        A table is looked up in them. All else is for files to hold: runtimes widen it at load.
        """
        value, array = site.value, site.array.astype(dtype.numpy)
        if not site.in_rows:
            edit.set_weight(value, array.astype(np.float32))
            packed.cast(value, dtype, self._homes[id(value)])
            return
        self._old.append(value)
        table = self._home(site).constant(f"{value.name}_{dtype.name.lower()}", array)
        for node in site.nodes:
            found = _copy_gather(node, table, f"{value.name}_rows")
            self._take_over(node, _cast(node.graph, found, f"{value.name}_float"))

    # -- integers ---------------------------------------------------------------------------

    def dequantize(self, site: WeightSite, weight: BlockWeight) -> None:
        """Put a DequantizeLinear before the operators of a matrix or of convolutions."""
        value, home = site.value, self._home(site)
        self._old.append(value)
        whole = _dequantized(home, site, weight)
        for node in site.nodes:
            if node.is_op("Gemm"):
                self._straighten(node)
            if site.role is Role.MATRIX and merging_reader(node) is not None:
                self._set_apart(node, len(weight.integers))
            elif site.role is Role.MATRIX and merging_sum(node) is not None:
                _as_gemm(node)
            node.set_input(1, whole)

    def look_up(self, site: WeightSite, weight: BlockWeight) -> None:
        """Look up integers and dequantize the rows found, never the table."""
        home, name = self._home(site), site.value.name
        self._old.append(site.value)
        bits = weight.grid.bits
        integers, zeros = weight.integers, weight.zero_points
        if bits < 8:
            integers, zeros = packing.unsigned(weight)
            integers = packing.pack_stripes(integers, bits)
        table = home.constant(f"{name}_q", integers)
        block = weight.grid.block if weight.scales.shape[1] > 1 else 0
        readers = [reader for node in site.nodes for reader, _ in node.output.users]
        apart = bool(block) and any(reader.is_op("MatMul", "Gemm") for reader in readers)
        scale = home.constant(f"{name}_scale", weight.scales / 2 if apart else weight.scales)
        zero = None
        if bits < 8 or not weight.grid.symmetric:
            zero = home.constant(f"{name}_zero_point", zeros)
        for node in site.nodes:
            assert node.graph is not None
            rows = _unpacked(node.graph, _copy_gather(node, table, f"{name}_rows"), bits)
            scales = _copy_gather(node, scale, f"{name}_scales")
            shifts = _copy_gather(node, zero, f"{name}_shifts") if zero is not None else None
            restored = _restored(node.graph, (rows, scales, shifts), block)
            self._take_over(node, _doubled(node.graph, restored) if apart else restored)

    def matmul_nbits(self, site: WeightSite, weight: BlockWeight, accuracy_level: int) -> None:
        """Put MatMulNBits in place of operators, packed integers inside."""
        home, name = self._home(site), site.value.name
        self._old.append(site.value)
        integers, scales, zeros = packing.for_matmul_nbits(weight)
        inputs: list[Value | None] = [
            home.constant(f"{name}_packed", integers),
            home.constant(f"{name}_scale", scales),
            None if weight.grid.symmetric else home.constant(f"{name}_zero_point", zeros),
        ]
        channels, width = weight.integers.shape
        attrs = {
            "K": width,
            "N": channels,
            "bits": weight.grid.bits,
            "block_size": weight.grid.block,
            "accuracy_level": accuracy_level,
        }
        for node in site.nodes:
            assert node.graph is not None
            if node.is_op("Gemm"):
                self._straighten(node)
            bias = node.input(2) if node.is_op("Gemm") else None
            operands = [node.input(0), *inputs, *([None, bias] if bias is not None else [])]
            made = node.graph.add_op(
                "MatMulNBits",
                operands if bias is not None or inputs[2] is not None else operands[:3],
                name=node.output.name,
                domain=CONTRIB,
                attrs=attrs,
            )
            self._take_over(node, made.output)
        self._model.opsets.setdefault(CONTRIB, 1)

    # -- pieces -----------------------------------------------------------------------------

    def _home(self, site: WeightSite) -> Graph:
        return site.graph or self._homes[id(site.value)]

    def _take_over(self, node: Node, made: Value) -> None:
        old = node.output
        made.set_type(old.dtype, old.shape)
        assert node.graph is not None
        edit.replace(old, made)
        node.graph.remove(node)

    def _straighten(self, node: Node) -> None:
        """Make a Gemm one that fuses: with the weight as it multiplies and a row as bias."""
        row, bias = row_bias(node), node.input(2)
        node.set_attr("transB", None)
        if row is None or bias is None or bias.shape == row.shape:
            return
        assert node.graph is not None
        self._old.append(bias)
        node.set_input(2, node.graph.constant(bias.name, np.ascontiguousarray(row)))

    def _set_apart(self, node: Node, channels: int) -> None:
        """Add the bias of a product by itself, zeros if need be, before its activation.

        ONNX Runtime would merge Relu and Clip into the product and then no longer fuse it with
        the DequantizeLinear; a bias that a product without one is followed by it takes along.
        """
        graph, reader, bias = node.graph, merging_reader(node), node.input(2)
        assert graph is not None
        assert reader is not None
        if bias is None:
            zeros = np.zeros(channels, np.float32)
            bias = graph.constant(f"{node.output.name}_bias", zeros)
        node.set_inputs(node.inputs[:2])
        biased = graph.add_op("Add", [node.output, bias], name=f"{node.output.name}_biased").output
        biased.set_type(node.output.dtype, node.output.shape)
        reader.set_input(0, biased)
        _as_gemm(node)


def modernize(model: Model) -> bool:
    """Raise the IR version to what the opset's types need; say whether that changed anything."""
    lowest = schemas.lowest_ir_version(model.opset) if model.opset >= 21 else 0
    if model.shell.ir_version >= lowest:
        return False
    model.shell.ir_version = lowest
    return True


def _as_gemm(node: Node) -> None:
    """Make a product of matrices one that ONNX Runtime does not merge with what is added to it."""
    data = node.input(0)
    if node.is_op("MatMul") and data is not None and data.rank == 2:
        node.op_type = "Gemm"


def _dequantized(home: Graph, site: WeightSite, weight: BlockWeight) -> Value:
    grid, name = weight.grid, site.value.name
    integers, scales, zeros = weight.integers, weight.scales, weight.zero_points
    if site.role is Role.KERNEL:
        integers, attrs = integers.reshape(site.array.shape), {"axis": 0}
    elif grid.block:
        integers, scales, zeros = integers.T, scales.T, zeros.T
        attrs = {"axis": 0, "block_size": grid.block}
    else:
        integers, attrs = integers.T, {"axis": 1}
    if not grid.block:
        scales, zeros = scales[:, 0], zeros[:, 0]
    inputs = [
        home.constant(f"{name}_q", packing.as_tensor(integers, grid.dtype)),
        home.constant(f"{name}_scale", np.ascontiguousarray(scales)),
    ]
    if not grid.symmetric:
        zero = packing.as_tensor(zeros, grid.dtype)
        inputs.append(home.constant(f"{name}_zero_point", zero))
    made = home.add_op("DequantizeLinear", inputs, name=f"{name}_dq", attrs=attrs).output
    made.set_type(DType.FLOAT, integers.shape)
    return made


def _copy_gather(node: Node, table: Value, name: str) -> Value:
    assert node.graph is not None
    attrs = {"axis": axis} if (axis := node.attr("axis", 0)) else None
    return node.graph.add_op("Gather", [table, node.input(1)], name=name, attrs=attrs).output


def _cast(graph: Graph | None, value: Value, name: str) -> Value:
    assert graph is not None
    return graph.add_op("Cast", [value], name=name, attrs={"to": int(DType.FLOAT)}).output


def _unpacked(graph: Graph, rows: Value, bits: int) -> Value:
    """Return the integers of packed rows, stripe by stripe."""
    if bits == 8:
        return rows
    mask = graph.constant(f"{rows.name}_mask", np.array((1 << bits) - 1, np.uint8))
    stripes: Iterable[Value] = (
        _stripe(graph, rows, shift, mask if shift + bits < 8 else None)
        for shift in range(0, 8, bits)
    )
    name = f"{rows.name}_unpacked"
    return graph.add_op("Concat", list(stripes), name=name, attrs={"axis": -1}).output


def _stripe(graph: Graph, rows: Value, shift: int, mask: Value | None) -> Value:
    name = f"{rows.name}_stripe"
    if shift:
        by = graph.constant(f"{rows.name}_shift", np.array(shift, np.uint8))
        attrs = {"direction": "RIGHT"}
        rows = graph.add_op("BitShift", [rows, by], name=name, attrs=attrs).output
    return rows if mask is None else graph.add_op("BitwiseAnd", [rows, mask], name=name).output


def _doubled(graph: Graph, rows: Value) -> Value:
    """Keep a DequantizeLinear away from a product, which would take it for an integer one."""
    two = graph.constant(f"{rows.name}_two", np.array(2, np.float32))
    return graph.add_op("Mul", [rows, two], name=f"{rows.name}_doubled").output


def _restored(graph: Graph, parts: tuple[Value, Value, Value | None], block: int) -> Value:
    """Return float rows from integers, scales and zero points that were looked up.

    With one scale a row, DequantizeLinear is not used: it takes the scale of a single row that
    was looked up for one of a whole tensor, and then refuses blocks.
    """
    rows, scales, shifts = parts
    name = f"{rows.name}_float"
    if block:
        inputs = [rows, scales] if shifts is None else [rows, scales, shifts]
        attrs = {"axis": -1, "block_size": block}
        return graph.add_op("DequantizeLinear", inputs, name=name, attrs=attrs).output
    whole = _cast(graph, rows, name)
    if shifts is not None:
        zeros = _cast(graph, shifts, f"{shifts.name}_float")
        whole = graph.add_op("Sub", [whole, zeros], name=name).output
    return graph.add_op("Mul", [whole, scales], name=name).output
