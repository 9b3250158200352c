"""Einsum and the product it becomes compute the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.analysis import linear_layer
from ocompress.analysis.linear_layer import Layer
from ocompress.ir import Model, edit
from ocompress.pipeline import find
from passes.canonical import einsum
from passes.canonical.einsum import OddEquation
from tests.build import Builder
from tests.contract.harness import context
from tests.passes.canonical.folding import Result, run

EXTENTS = dict(zip("absdfhkqtveijBS", (2, 2, 5, 6, 4, 3, 7, 5, 8, 9, 4, 3, 4, 2, 5), strict=True))


def shape(term: str, extents: dict[str, int]) -> list[int]:
    return [extents[letter] for letter in term.strip() if letter.isalpha()]


def build(equation: str, constant: int | None, *, dtype: Any = np.float32, free: str = "") -> Model:
    """Build an Einsum; operand `constant` is a weight, axes of letters in `free` have no number."""
    b = Builder()
    left, _, right = equation.replace(" ", "").partition("->")
    element = {np.float32: T.FLOAT, np.float64: T.DOUBLE}[dtype]
    operands = []
    for at, term in enumerate(left.split(",")):
        if at == constant:
            operands.append(b.weight(*shape(term, EXTENTS), dtype=dtype))
            continue
        extents = [f"n_{c}" if c in free else EXTENTS[c] for c in term]
        operands.append(b.input(f"x{at}", extents, element))
    b.op("Einsum", *operands, to="y", equation=equation)
    result = right or "".join(sorted(c for c in set(left) if left.count(c) == 1 and c != ","))
    b.output("y", [None if c in free else EXTENTS[c] for c in result], element)
    return b.model()


def go(*args: Any, **kwargs: Any) -> Result:
    return run("einsum-to-matmul", build(*args, **kwargs))


LAYERS = {
    "bsd,df->bsf": {"MatMul": 1},
    "bij,jk->bik": {"MatMul": 1},
    "bsd,dhk->bshk": {"MatMul": 1, "Reshape": 1},
    "bshk,hkd->bsd": {"MatMul": 1, "Reshape": 1},
    "bsd,vd->bsv": {"MatMul": 1},
    "bd,df->bf": {"MatMul": 1},
    "bsd,df->sbf": {"MatMul": 1, "Transpose": 1},
    "bsd,df": {"MatMul": 1, "Transpose": 1},  # implicit: in alphabetic order
    "b s d , d f -> b s f": {"MatMul": 1},
    "bds,df->bfs": {"MatMul": 1, "Transpose": 2},
    "bshd,hde->bshe": {"MatMul": 1, "Transpose": 2},
    "bhsk,hkd->bsd": {"MatMul": 1, "Transpose": 1, "Reshape": 1},
    "bsd,dhk->bhsk": {"MatMul": 1, "Reshape": 1, "Transpose": 1},
}


@pytest.mark.parametrize("equation", LAYERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_operands(equation: str, dtype: Any) -> None:
    result = go(equation, 1, dtype=dtype)
    assert result.ops == LAYERS[equation]
    assert next(n for _, n in result.after.nodes() if n.op_type == "MatMul").name == "y"
    result.same()


@pytest.mark.parametrize("equation", [e for e in LAYERS if "->" in e and " " not in e])
def test_constant_first_and_free_extents(equation: str) -> None:
    left, _, right = equation.partition("->")
    turned = ",".join(reversed(left.split(","))) + "->" + right
    result = go(turned, 0, free="bs")
    assert result.ops == LAYERS[equation]
    context(result.after).run_one(find("infer-shapes")(), result.after)
    matmul = next(n for _, n in result.after.nodes() if n.op_type == "MatMul")
    assert isinstance(linear_layer.read(matmul), Layer)
    result.same()


ACTIVATIONS = {
    "bhqd,bhkd->bhqk": {"MatMul": 1, "Transpose": 1},
    "bqhd,bkhd->bhqk": {"MatMul": 1, "Transpose": 2},
    "bhqk,bkhd->bqhd": {"MatMul": 1, "Transpose": 2},
    "bij,bjk->bik": {"MatMul": 1},
    "bij,bkj->bki": {"MatMul": 1, "Transpose": 2},
    "ij,jk": {"MatMul": 1},
    "bqhd,khd->bqk": {"MatMul": 1, "Transpose": 1, "Reshape": 2},
}


@pytest.mark.parametrize("free", ["", "bqk"])
@pytest.mark.parametrize("equation", ACTIVATIONS)
def test_two_activations(equation: str, free: str) -> None:
    result = go(equation, None, free=free)
    assert result.ops == ACTIVATIONS[equation]
    result.same()


@pytest.mark.parametrize(
    ("equation", "shapes", "out"),
    [
        ("...d,df->...f", [(2, 3, 6), (6, 4)], (2, 3, 4)),
        ("...d,df", [(2, 3, 6), (6, 4)], (2, 3, 4)),
        ("...ij,...jk->...ik", [(2, 3, 4, 5), (2, 3, 5, 6)], (2, 3, 4, 6)),
        ("...ij,...jk->...ik", [(2, 1, 4, 5), (1, 3, 5, 6)], (2, 3, 4, 6)),
        ("b...d,dhk->b...hk", [(2, 3, 5, 6), (6, 2, 7)], (2, 3, 5, 2, 7)),
    ],
)
@pytest.mark.parametrize("weight", [False, True])
def test_ellipses(equation: str, shapes: Any, out: Any, weight: bool) -> None:
    b = Builder()
    second = b.weight(*shapes[1]) if weight else b.input("w", list(shapes[1]))
    b.op("Einsum", b.input("x", list(shapes[0])), second, to="y", equation=equation)
    b.output("y", list(out))
    result = run("einsum-to-matmul", b.model())
    assert result.ops["MatMul"] == 1
    assert "Einsum" not in result.ops
    result.same()


def test_one_operand_is_transposed() -> None:
    result = go("bij->jbi", None)
    assert result.ops == {"Transpose": 1}
    result.same()
    assert go("ji", None).ops == {"Transpose": 1}  # an implicit result is in alphabetic order
    scalar = go("->", None)
    assert scalar.ops == {"Identity": 1}
    scalar.same()


@pytest.mark.parametrize(
    ("equation", "code"),
    [
        ("bii,ij->bj", "repeated-letter"),
        ("bij,bij,bij->bi", "operands"),
        ("bij,jk,kd,i,j,k->bid", "operands"),
        ("bij,jk->bk", "summed-operand"),
        ("bij->bi", "summed-operand"),
        ("bi,bi->bi", "no-product"),
        ("i,j->ij", "no-product"),
        ("bj,bj->b", "no-product"),
        ("ij,j->i", "no-product"),
    ],
)
def test_left_alone(equation: str, code: str) -> None:
    b = Builder()
    left, _, right = equation.partition("->")
    terms = [
        b.input(f"x{i}", [3 if c in "ijk" else EXTENTS[c] for c in term])
        for i, term in enumerate(left.split(","))
    ]
    b.op("Einsum", *terms, to="y", equation=equation)
    b.output("y", [None] * len(right))
    result = run("einsum-to-matmul", b.model())
    assert not result.outcome
    assert result.codes == {code: 1}


CHAINS = {
    # the rank r is 2, d is 6, k is 7: through the rank it is less work
    "bsd,dr,rk->bsk": {"MatMul": 2},
    "dr,bsd,rk->bsk": {"MatMul": 2},
    "rk,dr,bsd->bsk": {"MatMul": 2},
    "bsd,dt,tk->bsk": {"MatMul": 1},  # t is as wide as they are: one matrix, multiplied beforehand
    "bsd,d,dk->bsk": {"MatMul": 1},
    "bsd,dk,k->bsk": {"MatMul": 1},
    "bshd,hde,e,h->bshe": {"MatMul": 1, "Transpose": 2},
    "bsd,dr,rhk->bshk": {"MatMul": 2, "Reshape": 1},
}
WIDE = EXTENTS | {"r": 2, "t": 9}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("equation", CHAINS)
def test_several_constants(equation: str, dtype: Any) -> None:
    b = Builder()
    element = {np.float32: T.FLOAT, np.float64: T.DOUBLE, np.int64: T.INT64}[dtype]
    left, _, right = equation.partition("->")
    operands = [
        b.input("x", ["b", "s", *shape(term[2:], WIDE)], element)
        if term.startswith("bs")
        else b.const(b.rng.integers(-9, 9, shape(term, WIDE)).astype(dtype))
        for term in left.split(",")
    ]
    b.op("Einsum", *operands, to="y", equation=equation)
    b.output("y", [None, None, *shape(right[2:], WIDE)], element)
    result = run("einsum-to-matmul", b.model())
    assert result.ops == CHAINS[equation]
    assert result.after.weight_bytes <= result.before.weight_bytes + 100  # shapes of Reshapes
    last = [n for _, n in result.after.nodes() if n.op_type == "MatMul"][-1]
    assert last.name == "y"
    result.same()


@pytest.mark.parametrize(
    ("equation", "ops"),
    [
        ("bij,jk,kd->bid", {"MatMul": 2}),
        ("bqhd,bkhd,h->bhqk", {"MatMul": 1, "Mul": 1, "Transpose": 2}),
        ("bqhd,bkhd,bkhv->bqhv", {"MatMul": 2, "Transpose": 4}),
    ],
)
def test_several_activations(equation: str, ops: dict[str, int]) -> None:
    at = equation.partition("->")[0].split(",").index("h") if ",h-" in equation else None
    result = go(equation, at)
    assert dict(result.ops) == ops
    result.same()


@pytest.mark.parametrize(
    ("equation", "ops"),
    [
        ("bi,iij->bj", {"MatMul": 1}),  # the diagonal of a constant
        ("bij,jkk->bik", {"MatMul": 1}),
        ("bij,jkq->bik", {"MatMul": 1}),  # summed over an axis that it alone has
        ("bij,jkqq->bik", {"MatMul": 1}),
        ("bij,jkkv,vve->bike", {"MatMul": 1, "Reshape": 1}),
    ],
)
def test_constants_are_simplified(equation: str, ops: dict[str, int]) -> None:
    b = Builder()
    left, _, right = equation.partition("->")
    first, *others = left.split(",")
    operands = [
        b.input("x", shape(first, EXTENTS)),
        *(b.weight(*shape(t, EXTENTS)) for t in others),
    ]
    b.op("Einsum", *operands, to="y", equation=equation)
    b.output("y", shape(right, EXTENTS))
    result = run("einsum-to-matmul", b.model())
    assert dict(result.ops) == ops
    edit.remove_dead(result.after.graph)
    assert result.after.weight_bytes < result.before.weight_bytes
    result.same()


def test_constants_are_not_multiplied_where_files_would_grow() -> None:
    found = []
    for others in (32, 3072):  # of 36 MB, ten kilobytes are little
        b = Builder()
        x = b.op("MatMul", b.input("x", ["n", 6, others]), b.weight(others, others))
        x = b.op("Reshape", x, b.const(np.array([-1, 6, 32])))
        b.op("Einsum", x, b.weight(32, 16), b.weight(6, 16), to="y", equation="nik,kl,il->nl")
        b.output("y", ["n", 16])  # one matrix of 3,072 numbers, or two of 608
        result = run("einsum-to-matmul", b.model())
        grown = result.after.weight_bytes - result.before.weight_bytes
        assert grown <= max(1024, result.before.weight_bytes // 1000)
        found.append(result.ops.get("Einsum", 0))
    assert found == [1, 0]


def test_what_constants_make_must_fit_their_type() -> None:
    b = Builder()
    tall, wide = (np.full(s, 300, np.float16) for s in ((6, 4), (4, 4)))
    x = b.input("x", [2, 6], T.FLOAT16)
    b.op("Einsum", x, b.const(tall), b.const(wide), to="y", equation="bd,dr,rk->bk")
    b.output("y", [2, 4], T.FLOAT16)
    assert run("einsum-to-matmul", b.model()).codes == {"overflow": 1}


def test_chains_within_canonicalize_become_layers() -> None:
    b = Builder()
    x = b.input("x", ["b", "s", 16])
    b.op("Einsum", x, b.weight(16, 2), b.weight(2, 12), to="y", equation="...d,dr,rk->...k")
    b.output("y", [None, None, 12])
    model = b.model()
    context(model).run_one(find("canonicalize")(), model)
    layers = [linear_layer.read(n) for _, n in model.nodes()]
    assert [type(layer) for layer in layers] == [Layer, Layer]


def test_operands_of_unknown_type() -> None:
    b = Builder()
    x = b.op("FastGelu", b.input("x", [2, 3, 16]), domain="com.microsoft")
    b.op("Einsum", x, b.weight(16, 8), to="y", equation="bsd,df->bsf")
    b.output("y", [2, 3, 8])
    model = b.model(com_microsoft=1)
    context(model).run_one(find("canonicalize")(), model)
    assert isinstance(linear_layer.read(model.graph.nodes[-1]), Layer)


def test_free_extents_that_a_reshape_would_have_to_know() -> None:
    b = Builder()
    x, y = b.input("x", ["b", "s", "d"]), b.input("w", ["d", "h", "k"])
    b.op("Einsum", x, y, to="y", equation="bsd,dhk->bshk")
    b.output("y", [None] * 4)
    assert run("einsum-to-matmul", b.model()).codes == {"unknown-shape": 1}


@pytest.mark.parametrize("text", ["ab,bc->ac->", "a1,b->ab", "ab,bc->az", "a..b,b->a", "ab"])
def test_equations_that_cannot_be_read(text: str) -> None:
    with pytest.raises(OddEquation, match=r"letter|read"):
        einsum.read(text, [2, 2])


def test_implicit_results_are_in_alphabetic_order() -> None:
    assert einsum.read("ba,Bb", [2, 2]).result == ("B", "a")
    assert einsum.read("a...,...b", [2, 2]).result == (".0", "a", "b")


def test_a_large_table_that_is_also_looked_up_is_not_stored_twice() -> None:
    b = Builder()
    table = b.weight(400, 64)
    rows = b.op("Gather", table, b.input("ids", ["b", "s"], T.INT64))
    b.op("Einsum", rows, table, to="y", equation="bsd,vd->bsv")
    b.output("y", [None, None, 400])
    model = b.model()
    before = model.weight_bytes
    context(model).run_one(find("canonicalize")(), model)
    assert "Einsum" not in {n.op_type for _, n in model.nodes()}
    assert model.weight_bytes < before + 100


@pytest.mark.parametrize("equation", ["bsd,df->bsf", "bsd,fd->bsf", "bsd,dhk->bshk"])
def test_weights_of_16_bits_stay_so(equation: str) -> None:
    b = Builder()
    term = equation.partition("->")[0].partition(",")[2]
    extents = [{"d": 60, "f": 40, "h": 4, "k": 10}[c] for c in term]
    half = b.const(b.rng.standard_normal(extents).astype(np.float16))
    b.ops("Cast", [half], ["w"], to=T.FLOAT)
    b.op("Einsum", b.input("x", ["b", "s", 60]), "w", to="y", equation=equation)
    b.output("y", ["b", "s", *([40] if "f" in equation else [4, 10])])
    model = b.model()
    context(model).run_one(find("canonicalize")(), model)
    matmul = next(n for _, n in model.nodes() if n.op_type == "MatMul")
    assert isinstance(linear_layer.read(matmul), Layer)
    assert model.weight_bytes < 60 * 40 * 2 + 600
