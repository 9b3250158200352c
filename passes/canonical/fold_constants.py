"""Constant folding."""

from __future__ import annotations

import numpy as np

from ocompress.diagnostics import Severity
from ocompress.errors import OcompressError
from ocompress.ir import (
    DType,
    Facet,
    Graph,
    Model,
    Node,
    Value,
    edit,
    onnx_api,
    packed,
    schemas,
)
from ocompress.pipeline import Context, Outcome, Pass
from ocompress.runtime import Level, Session
from passes.canonical.growth import free_growth, size_of, sort_out

_MOST_GROWTH = 1 << 26
"""Bytes, and the part of all weights, that nodes that hang together may add to the file."""
_KEPT = {"Constant", "DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"}
_GROWING = {
    *("CenterCropPad", "ConstantOfShape", "Expand", "EyeLike", "OneHot", "Pad"),
    *("Range", "Resize", "Tile", "Upsample"),
}
_FOLDABLE = {
    *(DType.FLOAT, DType.DOUBLE, DType.FLOAT16, DType.BOOL, DType.STRING),
    *(DType.INT8, DType.INT16, DType.INT32, DType.INT64),
    *(DType.UINT8, DType.UINT16, DType.UINT32, DType.UINT64),
}


class FoldConstants(Pass):
    """Compute nodes whose inputs are all constant, all of them in one run of the runtime.

    Before: y = Mul(x, Transpose(w)); z = MatMul(x, Cast(w16))
    After:  y = Mul(x, w'), w' computed; z = MatMul(x, w32), which files go on holding as Cast(w16)
    A result that takes more bytes than what it is computed from is a constant to all passes, and
    is written to files in the smaller form for as long as no pass changes it.
    Leaves alone: random nodes, control flow and QuantizeLinear and DequantizeLinear, which fold
    back into the floats they save; results that would make the file larger and cannot be written
    in a smaller form (grows): of a constant that something else reads too, of integers of 8 bits,
    and outputs; nodes that may grow to a size nobody knows (unknown-size) or that the runtime
    cannot compute (not-computable).
    Numerics: exact; the kernels are those the model would run on.
    """

    name = "fold-constants"
    internal = True
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES | Facet.TYPES
    reads = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.TYPES | Facet.OPSET

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Collect, compute, replace."""
        limit = free_growth(model)
        candidates = _candidates(model, ctx)
        found = sort_out(candidates, limit)
        for node, growth in found.costly.items():
            why = f"its result and those beside it would add {growth / 1024:.1f} KiB to the file"
            ctx.skip(node, "grows", why)
        if not found.folded and not found.packed:
            return Outcome()
        needed = {id(n) for end in found.packed for n in packed.recipe(end.output) or ()}
        needed.update(id(n) for n in found.folded)
        nodes = [n for n in candidates if id(n) in needed]
        wanted = _frontier(found.folded) + [n.output for n in found.packed]
        arrays = _Evaluation(model, ctx).compute(nodes, wanted)
        folded = sum(_replace(node, arrays) for node in reversed(found.folded))
        kept = _pack(model, found.packed, arrays)
        if not folded and not kept:
            return Outcome()
        counts = {"nodes folded": folded, "constants kept in their smaller form": kept}
        return Outcome(self.may_change, {k: n for k, n in counts.items() if n})


def _pack(model: Model, ends: list[Node], arrays: dict[int, np.ndarray]) -> int:
    """Make constants of what nodes compute, beside the largest constant they are computed from."""
    homes = {id(v): g for g in model.graph.graphs() for v in g.initializers.values()}
    done = 0
    for node in ends:
        value = node.output
        nodes = packed.recipe(value)
        if nodes is None or id(value) not in arrays or node.graph is None:
            continue
        read = [v for n in nodes for v in n.inputs if v is not None and v.constant is not None]
        largest = max(read, key=lambda v: v.file_bytes, default=None)
        home = node.graph if largest is None else homes.get(id(largest), node.graph)
        packed.pack(value, arrays[id(value)], nodes, home)
        homes[id(value)] = home
        done += 1
    return done


def _candidates(model: Model, ctx: Context) -> list[Node]:
    known: set[int] = set()
    nodes = []
    for _, node in model.nodes():
        if _is_computable(node, known) and _is_bounded(node, ctx):
            nodes.append(node)
            known.update(id(v) for v in node.outputs if v is not None)
    return nodes


def _is_computable(node: Node, known: set[int]) -> bool:
    if node.domain or node.bodies or node.op_type in _KEPT or onnx_api.is_random(node):
        return False
    fixed = all(v is None or v.constant is not None or id(v) in known for v in node.inputs)
    live = [v for v in node.outputs if v is not None and v.use_count]
    return fixed and bool(live) and all(v.dtype in _FOLDABLE for v in live)


def _is_bounded(node: Node, ctx: Context) -> bool:
    made = [size_of(v) for v in node.outputs if v is not None and v.use_count]
    if any(size is None for size in made):
        if node.op_type not in _GROWING:
            return True
        if all(v is None or v.constant is not None for v in node.inputs):
            ctx.skip(node, "unknown-size", "the size of its result is not known beforehand")
        return False
    read = sum(size_of(v) or 0 for v in node.inputs if v is not None)
    growth = sum(size for size in made if size is not None) - read
    if growth <= _MOST_GROWTH or node.op_type not in _GROWING:
        return True
    ctx.skip(node, "grows", f"its result is {growth / 2**20:.1f} MiB larger than its inputs")
    return False


def _frontier(nodes: list[Node]) -> list[Value]:
    inside = {id(node) for node in nodes}
    return [
        value
        for node in nodes
        for value in node.outputs
        if value is not None
        and (value.is_output or any(id(reader) not in inside for reader, _ in value.users))
    ]


def _replace(node: Node, arrays: dict[int, np.ndarray]) -> bool:
    live = [v for v in node.outputs if v is not None and v.use_count]
    if any(id(v) not in arrays for v in live):
        return False
    edit.to_constants(node, [None if v is None else arrays.get(id(v)) for v in node.outputs])
    return True


class _Evaluation:
    """Runs constant nodes; where a run fails, the halves are tried, down to single nodes."""

    def __init__(self, model: Model, ctx: Context) -> None:
        self._model, self._ctx = model, ctx
        self._arrays: dict[int, np.ndarray] = {}
        self._loadable: bool | None = None

    def compute(self, nodes: list[Node], wanted: list[Value]) -> dict[int, np.ndarray]:
        """Return the arrays of values by id; of those wanted where all goes well."""
        try:
            self._run(nodes, wanted)
        except OcompressError as error:
            if len(nodes) > 1 and not self._is_loadable():
                return self._arrays
            if len(nodes) == 1:
                why = f"the runtime cannot compute it: {error}"
                self._ctx.skip(nodes[0], "not-computable", why)
                return self._arrays
            for part in (nodes[: len(nodes) // 2], nodes[len(nodes) // 2 :]):
                ready = self._ready(part)
                if ready:
                    self.compute(ready, _live_outputs(ready))
        return self._arrays

    def _is_loadable(self) -> bool:
        """Whether the runtime knows the opset at all; says so once if it does not."""
        if self._loadable is None:
            probe = Graph("probe")
            node = probe.add_op(
                "Identity", [probe.constant("c", np.zeros(1, np.float32))], name="y"
            )
            node.output.set_type(DType.FLOAT, (1,))
            probe.set_outputs([node.output])
            self._loadable = True
            try:
                Session(self._wrapped(probe), level=Level.DISABLED)
            except OcompressError as error:
                self._loadable = False
                why = f"no constants are folded at opset {self._model.opset}: {error}"
                self._ctx.remark(Severity.DECLINED, "not-computable", why)
        return self._loadable

    def _ready(self, nodes: list[Node]) -> list[Node]:
        known = set(self._arrays)
        ready = []
        for node in nodes:
            if all(v is None or v.constant is not None or id(v) in known for v in node.inputs):
                ready.append(node)
                known.update(id(v) for v in node.outputs if v is not None)
        return ready

    def _run(self, nodes: list[Node], wanted: list[Value]) -> None:
        graph, scope = Graph("constants"), dict[int, Value]()
        for node in nodes:
            inputs = [None if v is None else self._source(graph, scope, v) for v in node.inputs]
            outputs = [None if v is None else _result(graph, scope, v) for v in node.outputs]
            copy = graph.add(Node(node.op_type, inputs, outputs))
            copy.attributes.update(node.attributes)
        graph.set_outputs(scope[id(v)] for v in wanted)
        model = self._wrapped(graph)
        made = Session(model, level=Level.DISABLED).run({})
        for value in wanted:
            self._arrays[id(value)] = np.asarray(made[scope[id(value)].name])

    def _wrapped(self, graph: Graph) -> Model:
        model = Model(graph, {"": self._model.opset})
        model.shell.ir_version = schemas.lowest_ir_version(self._model.opset)
        return model

    def _source(self, graph: Graph, scope: dict[int, Value], value: Value) -> Value:
        if id(value) not in scope:
            array = value.constant if value.constant is not None else self._arrays[id(value)]
            scope[id(value)] = graph.constant("c", array)
        return scope[id(value)]


def _result(graph: Graph, scope: dict[int, Value], value: Value) -> Value:
    scope[id(value)] = Value(graph.names.fresh("v"), dtype=value.dtype)
    return scope[id(value)]


def _live_outputs(nodes: list[Node]) -> list[Value]:
    return [v for node in nodes for v in node.outputs if v is not None and v.use_count]
