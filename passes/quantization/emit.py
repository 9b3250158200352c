"""Writing QuantizeLinear and DequantizeLinear into the graph where ONNX Runtime fuses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ocompress.ir import Graph, Model, Node, Value, edit
from passes.quantization.grids import integer_values
from passes.quantization.guards import guard_floats
from passes.quantization.placement import owners
from passes.quantization.scheme import (
    ActivationGrid,
    Scheme,
    affine_grid,
    bias_scales,
    quantize_bias,
)
from passes.quantization.units import Unit
from passes.quantization.weights import QuantizedWeight


@dataclass
class Emitter:
    """Rewrites a model for a set of integer units.

    A tensor's QuantizeLinear stands in the graph that makes it; each graph that reads the
    integers has its own DequantizeLinear, for ONNX Runtime fuses within one graph only. A weight
    is replaced by its integers once, whoever reads it.
    """

    model: Model
    units: Sequence[Unit]
    scheme: Scheme
    excluded: Sequence[Node] = ()
    """Operators that the user wants in float, whatever stands around them."""

    _parameters: dict[ActivationGrid, tuple[Value, Value]] = field(default_factory=dict)
    _integers: dict[int, Value] = field(default_factory=dict)
    _zero_points: dict[tuple[int, ...], Value] = field(default_factory=dict)
    _constants: dict[int, Value] = field(default_factory=dict)
    _dequantized: dict[tuple[int, int], Value] = field(default_factory=dict)
    _homes: dict[int, Graph] = field(default_factory=dict)
    _spread: dict[tuple[int, int], Value] = field(default_factory=dict)
    _old: dict[int, Value] = field(default_factory=dict)

    def run(self) -> None:
        """Do it all."""
        for graph in self.model.graph.graphs():
            for value in (*graph.initializers.values(), *graph.inputs):
                self._homes[id(value)] = graph
        makers, sinks = owners(self.units)
        values = integer_values(self.units)
        for unit in self.units:
            self._separate_bias(unit)
        for unit in self.units:
            self._emit_weight(unit)
            self._emit_constants(unit)
        for key, value in values.items():
            self._emit_activation(value, key in makers, sinks)
        self._drop_old()
        guard_floats(list(self.model.graph.graphs()), self.excluded)

    # -- activations ------------------------------------------------------------------------

    def _emit_activation(
        self, value: Value, made_int8: bool, sinks: Mapping[tuple[int, int], int]
    ) -> None:
        home = value.producer.graph if value.producer is not None else self._homes.get(id(value))
        assert home is not None
        scale, zero_point = self._grid_values(self.scheme.grids[id(value)], value.name)
        readers = value.users
        quantize = home.add_op("QuantizeLinear", [value, scale, zero_point], name=f"{value.name}_q")
        for node, index in readers:
            if made_int8 or (id(node), index) in sinks:
                assert node.graph is not None
                restored = self._restore(value, quantize.output, node.graph, scale, zero_point)
                node.set_input(index, restored)
        if made_int8 and value.is_output:
            restored = self._restore(value, quantize.output, home, scale, zero_point)
            edit.replace(value, restored)
            quantize.set_input(0, value)

    def _restore(
        self, value: Value, integers: Value, graph: Graph, scale: Value, zero_point: Value
    ) -> Value:
        key = id(value), id(graph)
        if key not in self._dequantized:
            node = graph.add_op(
                "DequantizeLinear",
                [integers, scale, zero_point],
                name=f"{value.name}_dq",
            )
            self._dequantized[key] = node.output
        return self._dequantized[key]

    def _grid_values(self, grid: ActivationGrid, name: str) -> tuple[Value, Value]:
        if grid not in self._parameters:
            graph = self.model.graph
            self._parameters[grid] = (
                graph.constant(f"{name}_s", np.array(grid.scale, np.float32)),
                graph.constant(f"{name}_zp", np.array(grid.zero_point, grid.dtype)),
            )
        return self._parameters[grid]

    # -- constants --------------------------------------------------------------------------

    def _emit_weight(self, unit: Unit) -> None:
        if unit.weight is None or unit.rule.weight is None:
            return
        old = unit.weight
        weight = self.scheme.weights[id(old)]
        home = self._homes[id(old)]
        if id(old) not in self._integers:
            self._old[id(old)] = old
            self._integers[id(old)] = home.constant(f"{old.name}_q", weight.integers)
            self._integers[-id(old)] = home.constant(f"{old.name}_s", weight.scales)
        integers, scales = self._integers[id(old)], self._integers[-id(old)]
        key = id(old), id(unit.graph)
        if key not in self._dequantized:
            self._dequantized[key] = self._dequantize_constant(
                unit.graph,
                [integers, scales, self._zeros(weight.scales.shape)],
                weight.axis,
                f"{old.name}_dq",
            )
        unit.node.set_input(unit.rule.weight, self._dequantized[key])
        self._emit_bias(unit, weight)

    def _emit_bias(self, unit: Unit, weight: QuantizedWeight) -> None:
        bias = self.scheme.biases.get(id(unit.node))
        if bias is None or unit.rule.bias is None:
            return
        old = unit.node.input(unit.rule.bias)
        name = old.name if old is not None else f"{unit.node.label}_bias"
        if old is not None:
            self._old[id(old)] = old
        grid = self.scheme.grids[id(unit.data[0][1])]
        scales = bias_scales(grid.scale, np.broadcast_to(weight.scales, bias.shape))
        if weight.scales.ndim == 0:
            scales = bias_scales(grid.scale, weight.scales)
        integers = unit.graph.constant(f"{name}_q", quantize_bias(bias, scales))
        scale = unit.graph.constant(f"{name}_s", scales)
        restored = self._dequantize_constant(unit.graph, [integers, scale], 0, f"{name}_dq")
        unit.node.set_input(unit.rule.bias, restored)

    def _dequantize_constant(
        self, graph: Graph, inputs: list[Value], axis: int, name: str
    ) -> Value:
        attrs = {"axis": axis} if inputs[1].rank else None
        node = graph.add_op("DequantizeLinear", inputs, name=name, attrs=attrs)
        node.name = ""  # its kernel never runs, so nobody asks for it; in small files names count
        return node.output

    def _zeros(self, shape: tuple[int, ...]) -> Value:
        """Return the zero points of a weight, without which a Gemm does not fuse; shared."""
        if shape not in self._zero_points:
            zeros = np.zeros(shape, np.int8)
            self._zero_points[shape] = self.model.graph.constant("weight_zp", zeros)
        return self._zero_points[shape]

    def _emit_constants(self, unit: Unit) -> None:
        """Quantize constant operands, which a float one would keep from fusing."""
        dtype = self.scheme.grids[id(unit.data[0][1])].dtype
        for index, value in unit.operands:
            array = value.constant
            if array is None:
                continue
            grid = affine_grid(array.min(initial=0.0), array.max(initial=0.0), dtype)
            key = id(value), id(unit.graph)
            if key not in self._dequantized:
                self._old[id(value)] = value
                scale, zero_point = self._grid_values(grid, value.name)
                home = self._homes[id(value)]
                if id(value) not in self._constants:
                    self._constants[id(value)] = home.constant(
                        f"{value.name}_q", grid.quantize(array)
                    )
                integers = self._constants[id(value)]
                self._dequantized[key] = unit.graph.add_op(
                    "DequantizeLinear",
                    [integers, scale, zero_point],
                    name=f"{value.name}_dq",
                ).output
            unit.node.set_input(index, self._dequantized[key])

    def _separate_bias(self, unit: Unit) -> None:
        """Keep ONNX Runtime from making a float Gemm of an integer MatMul and a bias after it.

        With more than two axes it does so for biases of one axis only, so the bias gets the axes of
        the product; Adds that share a bias still share it then. A product of matrices becomes the
        Gemm itself, which is not merged with what is added to it.
        """
        rank = unit.node.output.rank
        if not unit.node.is_op("MatMul") or rank is None:
            return
        if rank < 3:
            if unit.weight is not None and any(n.is_op("Add") for n, _ in unit.node.output.users):
                unit.node.op_type = "Gemm"
            return
        for node, index in unit.node.output.users:
            bias = node.input(1 - index) if node.is_op("Add") else None
            if bias is None or bias.constant is None or bias.rank != 1:
                continue
            key = id(bias), rank
            if key not in self._spread:
                home = self._homes[id(bias)]
                spread = bias.constant.reshape((1,) * (rank - 1) + bias.constant.shape)
                self._spread[key] = made = home.constant(bias.name, spread)
                self._homes[id(made)] = home
                self._old[id(bias)] = bias
            node.set_input(1 - index, self._spread[key])

    def _drop_old(self) -> None:
        for key, value in self._old.items():
            graph = self._homes[key]
            if value.use_count == 0 and graph.initializers.get(value.name) is value:
                del graph.initializers[value.name]
                graph.names.release(value.name)
