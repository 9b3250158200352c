"""Einsum becomes MatMul where it is one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ocompress.analysis.linear_layer import LARGEST_COPY, Refusal
from ocompress.ir import DType, Facet, Graph, Model, Node, Value, edit
from ocompress.pipeline import Context, Numerics, Outcome, Pass
from passes.canonical import einsum
from passes.canonical.einsum import Equation, OddEquation, Product

_KINDS = (DType.FLOAT, DType.FLOAT16, DType.DOUBLE, DType.INT32, DType.INT64)


class EinsumToMatMul(Pass):
    """Write sums of products over two operands as MatMul, with Transpose and Reshape around it.

    Before: y = Einsum(x, W, "bsd,dhk->bshk"); s = Einsum(q, k, "bqhd,bkhd->bhqk")
    After:  y = Reshape(MatMul(x, W'), [0, 0, h, k]); s = MatMul(Transpose(q), Transpose(k))
    Constants are laid out anew, so that their product is a layer like any other. Of two
    operands the constant one is multiplied from the right.
    An Einsum of one operand that only changes the order of axes becomes a Transpose.
    Leaves alone: other numbers of operands (operands), letters that repeat within a term
    (repeated-letter), sums over axes that one operand alone has (summed-operand), products
    without a sum or with a vector (no-product), ranks and extents that a Reshape would have to
    know (unknown-rank, unknown-shape), equations that cannot be read (odd-equation), element
    types without a kernel (no-kernel).
    Numerics: rounding only.
    """

    name = "einsum-to-matmul"
    internal = True
    numerics = Numerics.ROUNDING
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES | Facet.TYPES
    reads = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.TYPES | Facet.OPSET

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Rewrite in the main graph and in bodies."""
        done = 0
        for graph, node in model.nodes():
            if not node.is_op("Einsum"):
                continue
            equation = node.attr("equation", "")
            try:
                _rewrite(graph, node)
            except OddEquation as odd:
                ctx.skip(node, odd.refusal.code, odd.refusal.why)
            else:
                now = "MatMul" if node.is_op("Einsum") else node.op_type
                ctx.applied(node, "rewritten", f"{equation!r} is computed by a {now}")
                done += 1
        return Outcome(self.may_change, {"Einsum made products": done}) if done else Outcome()


def _rewrite(graph: Graph, node: Node) -> None:
    operands = [v for v in node.inputs if v is not None]
    equation = einsum.read(str(node.attr("equation", "")), [v.rank for v in operands])
    if len(operands) == 1:
        _reorder(node, equation)
        return
    if len(operands) != 2:
        why = f"it has {len(operands)} operands; only pairs are products of matrices"
        raise OddEquation(Refusal("operands", why))
    dtype = operands[0].dtype or operands[1].dtype
    if dtype not in _KINDS:
        raise OddEquation(Refusal("no-kernel", "the runtime has no MatMul for its element type"))
    if operands[0].constant is not None and operands[1].constant is None:
        operands.reverse()
        equation = Equation(equation.terms[::-1], equation.result)
    _Rewrite(graph, node, equation, operands).run()


def _reorder(node: Node, equation: Equation) -> None:
    term = equation.terms[0]
    if len(term) != len(equation.result):
        raise OddEquation(Refusal("summed-operand", "it sums over an axis of its only operand"))
    node.op_type = "Transpose" if term else "Identity"
    node.set_attr("equation", None)
    if term:
        node.set_attr("perm", [term.index(axis) for axis in equation.result])


class _Rewrite:
    """One Einsum of two operands on its way to a MatMul."""

    def __init__(
        self, graph: Graph, node: Node, equation: Equation, operands: Sequence[Value]
    ) -> None:
        self._graph, self._node = graph, node
        self._result = equation.result
        self._product: Product = einsum.product(equation)
        self._operands, self._terms = operands, equation.terms
        self._dtype = operands[0].dtype or operands[1].dtype
        self._extents: dict[str, int] = {}
        for value, term in zip(operands, equation.terms, strict=True):
            self._learn(value, term)

    def _learn(self, value: Value, term: Sequence[str]) -> None:
        if value.shape is None:
            return
        if len(value.shape) != len(term):
            why = f"{value.name!r} has {len(value.shape)} axes, its term {len(term)}"
            raise OddEquation(Refusal("odd-equation", why))
        for axis, extent in zip(term, value.shape, strict=True):
            if isinstance(extent, int):
                known = self._extents.setdefault(axis, extent)
                if known != extent and axis in self._product.inner:
                    raise OddEquation(Refusal("odd-equation", f"{axis!r} has two extents"))

    def run(self) -> None:
        """Decide first, so that nothing is changed where something is not known."""
        product = self._product
        for value, term in zip(self._operands, self._terms, strict=True):
            if value.shape is None:  # an operator that nobody knows made it
                value.set_type(self._dtype, (None,) * len(term))
        split = self._target(product.made, len(product.columns))
        folded = [
            self._folded(at, layout, lead)
            for at, layout, lead in (
                (0, product.left, len(product.left) - len(product.inner)),
                (1, product.right, len(product.batch)),
            )
        ]
        left, right = (
            self._laid_out(at, layout, target)
            for at, (layout, target) in enumerate(
                zip((product.left, product.right), folded, strict=True)
            )
        )
        label = self._node.label
        matmul = self._graph.add_op("MatMul", [left, right], name=f"{label}_matmul")
        made = matmul.output
        if split is not None:
            made = self._reshaped(made, split, f"{label}_split")
        perm = [product.made.index(axis) for axis in self._result]
        if perm != sorted(perm):
            attrs = {"perm": perm}
            made = self._graph.add_op("Transpose", [made], name=f"{label}_out", attrs=attrs).output
        made.set_type(self._node.output.dtype, self._node.output.shape)
        edit.replace(self._node.output, made)
        self._graph.remove(self._node)
        if self._node.name:  # so that names in options go on fitting
            self._graph.names.release(matmul.name)
            matmul.name = self._node.name
            self._graph.names.claim(matmul.name)

    def _target(self, layout: Sequence[str], last: int) -> list[int] | None:
        """Return what a Reshape needs to split the last axis, None if it stays one."""
        if last == 1:
            return None
        extents = [self._extents.get(axis) for axis in layout[-last:]]
        if sum(e is None for e in extents) > 1:
            raise OddEquation(Refusal("unknown-shape", "the extents of its result are not known"))
        lead = [0] * (len(layout) - last)
        return [*lead, *(-1 if e is None else e for e in extents)]

    def _folded(self, at: int, layout: Sequence[str], lead: int) -> list[int] | None:
        """Return what a Reshape needs so that inner axes are one, and columns are one."""
        inner, columns = self._product.inner, self._product.columns if at else ()
        if len(inner) == 1 and len(columns) <= 1:
            return None
        merged = [self._extent(inner), *([self._extent(columns)] if at else [])]
        if merged.count(-1) > 1 or any(not self._extents.get(a, 1) for a in layout):
            raise OddEquation(Refusal("unknown-shape", "the extents of its operands are not known"))
        return [*[0] * lead, *merged]

    def _extent(self, axes: Sequence[str]) -> int:
        if any(axis not in self._extents for axis in axes):
            return -1
        return math.prod(self._extents[axis] for axis in axes)

    def _laid_out(self, at: int, layout: Sequence[str], target: list[int] | None) -> Value:
        value, term = self._operands[at], self._terms[at]
        perm = [term.index(axis) for axis in layout]
        if value.constant is not None and not self._stays(value):
            turned = np.ascontiguousarray(value.constant.transpose(perm))
            if target is not None:
                lead = [e or turned.shape[i] for i, e in enumerate(target)]
                turned = turned.reshape(lead)
            same = perm == sorted(perm) and target is None
            return value if same else self._graph.constant(value.name, turned)
        name = f"{self._node.label}_{'right' if at else 'left'}"
        if perm != sorted(perm):
            value = self._graph.add_op("Transpose", [value], name=name, attrs={"perm": perm}).output
        return value if target is None else self._reshaped(value, target, name)

    def _stays(self, value: Value) -> bool:
        """Whether another layout of a constant would make the file larger."""
        shared = value.use_count > 1 and value.file_bytes > LARGEST_COPY
        return shared or value.packed is not None

    def _reshaped(self, value: Value, target: list[int], name: str) -> Value:
        shape = self._graph.constant(f"{name}_shape", np.asarray(target, np.int64))
        return self._graph.add_op("Reshape", [value, shape], name=name).output
