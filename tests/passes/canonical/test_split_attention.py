"""The standard Attention becomes products and a Softmax, and the results stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.ir import Model
from ocompress.pipeline import find
from tests.build import Builder
from tests.contract.harness import context
from tests.passes.canonical import exact, folding

NAME = "split-fused"


def attention(shapes: list[list[Any]], mask: np.ndarray | None = None, **attrs: Any) -> Model:
    b = Builder()
    operands = [b.input(name, shape) for name, shape in zip("qkv", shapes, strict=True)]
    more = [] if mask is None else [b.const(mask)]
    b.op("Attention", *operands, *more, to="y", **attrs)
    b.output("y", None)
    return b.model(23, 10)


FOUR = [[2, 3, 5, 8], [2, 3, 7, 8], [2, 3, 7, 4]]
THREE = [[2, 5, 24], [2, 7, 24], [2, 7, 12]]
HEADS = {"q_num_heads": 3, "kv_num_heads": 3}
RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("shapes", "attrs"),
    [(FOUR, {}), (FOUR, {"scale": 0.7}), (THREE, HEADS), (THREE, {**HEADS, "is_causal": 1}),
     (FOUR, {"is_causal": 1})],
)  # fmt: skip
@pytest.mark.parametrize(
    "mask",
    [None, RANDOM.standard_normal((5, 7)).astype(np.float32), RANDOM.random((2, 1, 5, 7)) < 0.6],
)
def test_an_attention(shapes: list[list[Any]], attrs: dict[str, Any], mask: Any) -> None:
    ran = folding.run(NAME, attention(shapes, mask, **attrs))
    assert (ran.ops["Attention"], ran.ops["Softmax"], ran.ops["MatMul"]) == (0, 1, 2)
    ran.same(1e-5)


def test_a_place_that_sees_nothing_is_no_nan() -> None:
    mask = np.ones((5, 7), bool)
    mask[2] = False
    folding.run(NAME, attention(FOUR, mask)).same(1e-5)


@pytest.mark.parametrize(
    ("shapes", "attrs", "code"),
    [
        (FOUR, {"softcap": 2.0}, "attention-form"),
        ([[2, 4, 5, 8], [2, 2, 7, 8], [2, 2, 7, 8]], {}, "grouped-heads"),
        ([[2, 3, "s", 8], [2, 3, "s", 8], [2, 3, "s", 8]], {"is_causal": 1}, "unknown-extent"),
    ],
)
def test_what_has_no_spelling_stays(
    shapes: list[list[Any]], attrs: dict[str, Any], code: str
) -> None:
    ran = exact.run(NAME, attention(shapes, **attrs))
    assert ran.codes == {code}
    assert ran.ops == {"Attention": 1}


def test_keys_from_before_stay() -> None:
    b = Builder()
    shape = [2, 3, 7, 8]
    operands = [b.input(n, shape) for n in "qkv"]
    past = [b.input(n, shape) for n in ("pk", "pv")]
    b.ops("Attention", [*operands, "", *past], ["y", "k2", "v2"])
    for name in ("y", "k2", "v2"):
        b.output(name, None, T.FLOAT)
    assert exact.run(NAME, b.model(23, 10)).codes == {"attention-cache"}


def test_heads_of_it_are_pruned() -> None:
    """As the exporter of PyTorch writes a block from opset 23 on."""
    b = Builder()
    x = b.input("x", ["n", 6, 24])
    fused = b.op("MatMul", x, b.weight(24, 72))
    split = b.op("Reshape", fused, b.const(np.array([-1, 6, 3, 4, 6])))
    parts = b.op("Transpose", split, perm=[2, 0, 3, 1, 4])
    q, k, v = (b.op("Gather", parts, b.const(np.array(at)), axis=0) for at in range(3))
    seen = b.op("Transpose", b.op("Attention", q, k, v), perm=[0, 2, 1, 3])
    joined = b.op("Reshape", seen, b.const(np.array([-1, 6, 24])))
    b.op("Relu", b.op("MatMul", joined, b.weight(24, 10)), to="y")
    b.output("y", ["n", 6, 10])
    model = b.model(23, 10)
    ctx = context(model)
    assert ctx.run_one(find("canonicalize")(), model)
    halved: dict[str, Any] = {"ratio": 0.5}
    assert ctx.run_one(find("prune-heads")(**halved), model)
    assert {n.inputs[1].constant.shape for _, n in model.nodes() if n.is_op("MatMul")
            and n.inputs[1] is not None and n.inputs[1].constant is not None} \
        == {(24, 36), (12, 10)}  # fmt: skip
