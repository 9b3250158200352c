"""Einsum becomes MatMul where it is one."""

from __future__ import annotations

from collections import Counter

from ocompress.analysis.linear_layer import Refusal
from ocompress.ir import DType, Facet, Graph, Model, Node, edit
from ocompress.pipeline import Context, Numerics, Outcome, Pass
from passes.canonical import einsum
from passes.canonical.contraction import Contraction, Operand, contracted, extents_of
from passes.canonical.einsum import Equation, OddEquation
from passes.canonical.growth import free_growth

_KINDS = (DType.FLOAT, DType.FLOAT16, DType.DOUBLE, DType.INT32, DType.INT64)
_WIDEST = 8
"""Bytes of an element, at most."""


class EinsumToMatMul(Pass):
    """Write sums of products as MatMul, with Transpose and Reshape around it.

    Before: y = Einsum(x, W, "bsd,dhk->bshk"); s = Einsum(q, k, "bqhd,bkhd->bhqk")
    After:  y = Reshape(MatMul(x, W'), [0, 0, h, k]); s = MatMul(Transpose(q), Transpose(k))
    Constants are laid out anew, so that their product is a layer like any other. Of two
    operands the constant one is multiplied from the right. Several operands are multiplied two
    by two, in the order that takes the fewest multiplications; constants with each other
    beforehand, unless that would make the file noticeably larger. Of a constant, letters that
    repeat are its diagonal, and axes that it alone has are summed up.
    An Einsum of one operand that only changes the order of axes becomes a Transpose.
    Leaves alone: several operands that are not multiplied as matrices in any order, or more than
    five (operands), letters that repeat within the term of an activation (repeated-letter), sums
    over axes that one activation alone has (summed-operand), products without a sum or with a
    vector (no-product), ranks and extents that a Reshape would have to
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
                _rewrite(graph, node, free_growth(model) // _WIDEST)
            except OddEquation as odd:
                ctx.skip(node, odd.refusal.code, odd.refusal.why)
            else:
                now = "MatMul" if node.is_op("Einsum") else node.op_type
                ctx.applied(node, "rewritten", f"{equation!r} is computed by a {now}")
                done += 1
        return Outcome(self.may_change, {"Einsum made products": done}) if done else Outcome()


def _rewrite(graph: Graph, node: Node, room: int) -> None:
    given = [v for v in node.inputs if v is not None]
    equation = einsum.read(str(node.attr("equation", "")), [v.rank for v in given])
    operands = [Operand(v, term, v.constant) for v, term in zip(given, equation.terms, strict=True)]
    if len(operands) == 1:
        _check_repeats(operands[0])
        _reorder(node, equation)
        return
    dtype = next((v.dtype for v in given if v.dtype is not None), None)
    if dtype not in _KINDS:
        raise OddEquation(Refusal("no-kernel", "the runtime has no MatMul for its element type"))
    extents = extents_of(operands, equation)
    operands = [_simplified(o, equation) for o in operands]
    made = Contraction(graph, node.label, operands, equation.result, dtype, extents, room).run()
    made.set_type(node.output.dtype, node.output.shape)
    edit.replace(node.output, made)
    graph.remove(node)
    last = made.producer
    while last is not None and last.op_type != "MatMul":
        last = last.inputs[0].producer if last.inputs[0] is not None else None
    if last is not None and node.name:  # so that names in options go on fitting
        graph.names.release(last.name)
        last.name = node.name
        graph.names.claim(last.name)


def _check_repeats(operand: Operand) -> None:
    if len(set(operand.term)) != len(operand.term):
        raise OddEquation(Refusal("repeated-letter", "a letter repeats in the term of an operand"))


def _simplified(operand: Operand, equation: Equation) -> Operand:
    """Return a constant's diagonal and its sums over axes that it alone has; others as they are.

    Raises:
        OddEquation: If a letter repeats in the term of what is no constant.
    """
    if operand.array is None:
        _check_repeats(operand)
        return operand
    counts = Counter(letter for term in equation.terms for letter in set(term))
    kept = tuple(a for a in dict.fromkeys(operand.term) if counts[a] > 1 or a in equation.result)
    if kept == operand.term:
        return operand
    return Operand(operand.value, kept, contracted([operand], kept), derived=True)


def _reorder(node: Node, equation: Equation) -> None:
    term = equation.terms[0]
    if len(term) != len(equation.result):
        raise OddEquation(Refusal("summed-operand", "it sums over an axis of its only operand"))
    node.op_type = "Transpose" if term else "Identity"
    node.set_attr("equation", None)
    if term:
        node.set_attr("perm", [term.index(axis) for axis in equation.result])
