"""MatMul and Add become Gemm."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.ir import DType, Facet, Model, Node, Shape, Value, edit, query
from ocompress.pipeline import Context, Numerics, Outcome, Pass

_KINDS = (DType.FLOAT, DType.DOUBLE, DType.FLOAT16)
"""Element types ONNX Runtime has a Gemm for."""


@dataclass(frozen=True)
class _Match:
    matmul: Node
    add: Node
    bias: Value


class MergeMatMulAdd(Pass):
    """Merge the multiplication of two matrices and the addition of a bias into a Gemm.

    Before: y = Add(MatMul(a, b), c)
    After:  y = Gemm(a, b, c), c of rank 1 where it is the same for every row

    Leaves alone: operands of higher rank, which a Gemm could only take between two Reshapes
    (not-a-matrix), unknown ranks (unknown-rank), a bias that is not known to broadcast to the
    product's shape (bias-shape), element types without a Gemm kernel (no-kernel), products
    that others read (several-readers, is-output, other-graph).
    Numerics: rounding only.
    """

    name = "merge-matmul-add"
    internal = True
    numerics = Numerics.ROUNDING
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Merge every pair that can be merged."""
        counts: Counter[str] = Counter()
        for _, node in model.nodes():
            match = _match(node)
            if isinstance(match, Refusal):
                ctx.skip(node, match.code, match.why)
            elif match is not None:
                _rewrite(match)
                counts["Gemm made"] += 1
            if node.is_op("Gemm") and _flatten_bias(node):
                counts["biases flattened"] += 1
        return Outcome(self.may_change, dict(counts)) if counts else Outcome()


def _match(node: Node) -> _Match | Refusal | None:
    """Look for `Add` behind a `MatMul`; None if there is none or it adds no bias."""
    if not node.is_op("MatMul") or len(node.inputs) != 2:
        return None
    readers = [(n, at) for n, at in node.output.users if n.is_op("Add")]
    biases = [(n, v) for n, at in readers if (v := n.input(1 - at)) is not None]
    biases = [(n, v) for n, v in biases if v.data is not None]
    if not biases:
        return None
    add, bias = biases[0]
    if node.output.is_output:
        return Refusal("is-output", "its product is an output of the graph")
    if node.output.use_count > 1:
        return Refusal("several-readers", "its product is read by several nodes")
    if add.graph is not node.graph:
        return Refusal("other-graph", "the Add is in the body of another node")
    return _refused(node, bias) or _Match(node, add, bias)


def _refused(node: Node, bias: Value) -> Refusal | None:
    left, right = (None if v is None else v.shape for v in node.inputs)
    if left is None or right is None or bias.shape is None:
        return Refusal("unknown-rank", "the rank of an operand is not known")
    if len(left) != 2 or len(right) != 2:
        return Refusal("not-a-matrix", "an operand is not of rank 2")
    if not _broadcasts(bias.shape, (left[0], right[1])):
        return Refusal("bias-shape", "the bias is not known to broadcast to the product's shape")
    if bias.dtype not in _KINDS:
        return Refusal("no-kernel", "the runtime has no Gemm for its element type")
    return None


def _broadcasts(bias: Shape, product: Shape) -> bool:
    if len(bias) > 2:
        return False
    pairs = zip(reversed(bias), reversed(product), strict=False)
    return all(b == 1 or (isinstance(b, int) and b == p) for b, p in pairs)


def _rewrite(match: _Match) -> None:
    """Turn the MatMul into the Gemm, so that names in options go on fitting."""
    graph = match.matmul.graph
    assert graph is not None
    match.matmul.op_type = "Gemm"
    match.matmul.set_input(2, match.bias)
    edit.replace(match.add.output, match.matmul.output)
    graph.remove(match.add)


def _flatten_bias(gemm: Node) -> bool:
    """Bring a bias that is the same for every row, one row of it or one number, to rank 1."""
    bias, value = query.constant(gemm, 2), gemm.input(2)
    product = gemm.output.shape
    columns = product[1] if product is not None and len(product) == 2 else None
    if bias is None or value is None or value.data is None or not isinstance(columns, int):
        return False
    per_column = bias.size == columns and bias.shape[-1:] == (columns,)
    if bias.shape == (columns,) or not (per_column or bias.size == 1):
        return False
    row = np.broadcast_to(bias.reshape(-1), (columns,))
    edit.set_weight(edit.own_weight(gemm, 2), np.array(row))
    return True
