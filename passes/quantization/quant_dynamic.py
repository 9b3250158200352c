"""Integer products whose inputs are quantized anew on every run."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.diagnostics import Severity
from ocompress.ir import DType, Facet, Graph, Model, Node, Value, edit
from ocompress.lossy.layer_weights import computed_of_less, is_quantized
from ocompress.pipeline import Context, Numerics, Outcome, Pass, option
from ocompress.pipeline.naming import check_patterns
from passes import order
from passes.quantization.weights import WeightGrid, quantize_weight
from passes.quantization.widening import in_float32

_SLOW = {
    "Conv": "ConvInteger takes about 10 times as long as Conv on processors; use quant with data",
    "ConvTranspose": "it has no integer kernel",
    "LSTM": "its integer form is no standard ONNX; quant-weights makes it smaller",
    "GRU": "its integer form is no standard ONNX; quant-weights makes it smaller",
    "RNN": "its integer form is no standard ONNX; quant-weights makes it smaller",
}


class QuantDynamic(Pass):
    """Compute products with constant weights in int8, quantizing activations at run time.

    Before: y = MatMul(x, W)
    After:  q, s, z = DynamicQuantizeLinear(x); y = Cast(MatMulInteger(q, W8, z)) * (s * scales)
    Needs no data: ONNX Runtime finds the range of x on every run and fuses the rest into one
    operator. That costs a pass over x, so it pays for wide products and not for narrow ones; with
    calibration data `quant` is faster. Products of one input share its quantization. Weights are
    symmetric with a scale per output channel and, unless the target rules it out, avoid the values
    that could clip on x86-64 without VNNI. A model that computes in 16-bit floats computes in
    float32 then (computes-in-float32).
    Leaves alone: convolutions and recurrent operators (no-int8-kernel): their dynamic forms are
    slower than float or not standard ONNX; quantized ones (already-quantized), computed weights
    (dynamic-weight), stacks of matrices (not-a-matrix), other types (not-float32), NaN and
    infinities (not-finite), small products (too-small), Gemms with alpha, beta, a transposed input
    or another bias than a row (scaled-gemm), weights that something else reads (shared-weight) or
    that the file computes of less (computed-weight); what is excluded (excluded).
    A model older than opset 11 (old-opset).
    Numerics: lossy.
    """

    name = "quant-dynamic"
    numerics = Numerics.LOSSY
    weights_of = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    appetite = 0.3
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES
    after = (*order.TO_QUANTIZE, "quant")

    smallest: int = option(
        4096, help="Leave alone products whose weight has fewer elements.", at_least=1
    )
    exclude: tuple[str, ...] = option((), help="Globs of node names to leave in float.")

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Quantize every product that has an integer form."""
        check_patterns(model, self.exclude, self.name)
        if 0 < model.opset < 11:
            why = f"opset {model.opset} has no DynamicQuantizeLinear; canonicalize upgrades it"
            ctx.remark(Severity.DECLINED, "old-opset", why)
            return Outcome()
        return in_float32(model, ctx, self._quantize)

    def _quantize(self, model: Model, ctx: Context) -> Outcome:
        careful = ctx.target.saturates
        emitter = _Emitter(WeightGrid.PAIRS if careful else WeightGrid.FULL)
        done = 0
        for graph, node in list(model.nodes()):
            refusal = self._refusal(node)
            if refusal is not None:
                ctx.skip(node, refusal.code, refusal.why)
            elif node.is_op("MatMul", "Gemm"):
                emitter.rewrite(graph, node)
                done += 1
        if not done:
            return Outcome()
        emitter.finish(model)
        return Outcome(self.may_change, {"dynamic int8 products": done})

    def _refusal(self, node: Node) -> Refusal | None:
        if is_quantized(node) and not node.is_op("Gather"):
            return Refusal("already-quantized", "its weight is quantized already")
        if node.is_op(*_SLOW):
            return Refusal("no-int8-kernel", f"{node.op_type}: {_SLOW[node.op_type]}")
        if not node.is_op("MatMul", "Gemm"):
            return None
        if any(fnmatchcase(node.label, pattern) for pattern in self.exclude):
            return Refusal("excluded", "its name is excluded")
        weight, data = node.input(1), node.input(0)
        array = None if weight is None else weight.constant
        if weight is None or array is None or data is None or data.constant is not None:
            return Refusal("dynamic-weight", "its second factor is computed, not a constant")
        return _check(node, weight, array, self.smallest)


def _check(node: Node, weight: Value, array: np.ndarray, smallest: int) -> Refusal | None:
    if array.dtype != np.float32:
        return Refusal("not-float32", f"its weight is {array.dtype}, not float32")
    if array.ndim != 2:
        return Refusal("not-a-matrix", f"its weight has {array.ndim} axes, not 2")
    if not np.isfinite(array).all():
        return Refusal("not-finite", "its weight has NaN or infinite elements")
    if array.size < smallest:
        return Refusal("too-small", f"its weight has {array.size} elements, fewer than {smallest}")
    why = computed_of_less(weight)
    if why:
        return Refusal("computed-weight", why)
    if weight.is_output or any(not n.is_op(node.op_type) or i != 1 for n, i in weight.users):
        return Refusal("shared-weight", f"something else needs {weight.name!r} in float")
    if node.is_op("Gemm"):
        bias = node.input(2)
        odd = node.attr("alpha", 1.0) != 1.0 or node.attr("beta", 1.0) != 1.0
        if odd or node.attr("transA", 0) or (bias is not None and (bias.rank or 0) != 1):
            return Refusal("scaled-gemm", "it has alpha, beta, a transposed input or an odd bias")
    return None


class _Emitter:
    """Writes the integer form."""

    def __init__(self, grid: WeightGrid) -> None:
        self._grid = grid
        self._inputs: dict[tuple[int, int], tuple[Value, Value, Value]] = {}
        self._weights: dict[tuple[int, bool, int], tuple[Value, Value, Value]] = {}
        self._old: list[Value] = []

    def rewrite(self, graph: Graph, node: Node) -> None:
        data, weight, bias = node.input(0), node.input(1), node.input(2)
        assert data is not None
        assert weight is not None
        transposed = bool(node.is_op("Gemm") and node.attr("transB", 0))
        integers, scales, zeros = self._constants(graph, weight, transposed)
        name = node.output.name
        codes, scale, zero = self._quantize(graph, data)
        product = graph.add_op("MatMulInteger", [codes, integers, zero, zeros], name=f"{name}_i32")
        wide = graph.add_op(
            "Cast", [product.output], name=f"{name}_f32", attrs={"to": int(DType.FLOAT)}
        )
        both = graph.add_op("Mul", [scale, scales], name=f"{name}_scales")
        made = graph.add_op("Mul", [wide.output, both.output], name=f"{name}_scaled").output
        if bias is not None:
            made.set_type(node.output.dtype, node.output.shape)
            made = graph.add_op("Add", [made, bias], name=f"{name}_biased").output
        made.set_type(node.output.dtype, node.output.shape)
        self._old.append(weight)
        edit.replace(node.output, made)
        graph.remove(node)

    def finish(self, model: Model) -> None:
        """Remove the float weights."""
        for value in self._old:
            for graph in model.graph.graphs():
                if value.use_count == 0 and graph.initializers.get(value.name) is value:
                    del graph.initializers[value.name]
                    graph.names.release(value.name)

    def _quantize(self, graph: Graph, data: Value) -> tuple[Value, Value, Value]:
        key = id(data), id(graph)
        if key not in self._inputs:
            node = graph.add_op("DynamicQuantizeLinear", [data], name=f"{data.name}_q", outputs=3)
            first, second, third = (v for v in node.outputs if v is not None)
            self._inputs[key] = first, second, third
        return self._inputs[key]

    def _constants(
        self, graph: Graph, weight: Value, transposed: bool
    ) -> tuple[Value, Value, Value]:
        key = id(weight), transposed, id(graph)
        if key not in self._weights:
            assert weight.constant is not None
            array = weight.constant.T if transposed else weight.constant
            found = quantize_weight(array, 1, self._grid, orders=[(0,)])
            self._weights[key] = (
                graph.constant(f"{weight.name}_q", found.integers),
                graph.constant(f"{weight.name}_scale", found.scales),
                graph.constant(f"{weight.name}_zp", np.zeros(found.scales.shape, np.int8)),
            )
        return self._weights[key]
