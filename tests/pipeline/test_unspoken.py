"""Whatever keeps large constants is named, by every pass that changes weights."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

from ocompress.ir import Model, from_proto
from ocompress.pipeline import PassManager, Pipeline, all_passes, find
from ocompress.targets import Arch, Target
from tests.build import Builder, InMemory, feeds
from tests.contract.harness import context

TARGET = Target(name="test", arch=Arch.ANY)
MS = "com.microsoft"
PASSES = [
    *("prune", "prune-channels", "prune-heads", "factorize", "separable", "group", "squeeze"),
    *("quant{rest=float}", "quant-weights", "quant-weights{form=fp16}", "quant-dynamic"),
    *("entropy", "cluster", "codebook", "binarize", "circulant", "fastfood", "hash", "random-code"),
]


def _i(*numbers: int) -> np.ndarray:
    return np.asarray(numbers, np.int64)


def named(model: Model, text: str) -> dict[str, set[str]]:
    """Return the codes that a pass gave for each node."""
    data = InMemory([feeds(model, seed, batch=8) for seed in range(2)])
    if not find(text.partition("{")[0]).needs_data:
        manager = PassManager(target=TARGET)
    else:
        manager = PassManager(target=TARGET, data=data)
    result = manager.run(Pipeline.parse(text), model)
    found: dict[str, set[str]] = {}
    for remark in result.diagnostics.of(text.partition("{")[0]):
        found.setdefault(remark.node, set()).add(remark.code)
    return found


def product(b: Builder, x: str, weight: str, to: str) -> str:
    """Multiply by an operator of the runtime that has no spelling in standard ones."""
    turned = b.op("Transpose", x, perm=[1, 0, 2])
    return b.op("FusedMatMul", turned, weight, to=to, domain=MS, transBatchA=1)


def contrib() -> Model:
    """A model whose runtime operators can be run, so that passes with data can be tried."""
    b = Builder()
    x = b.input("x", ["n", 4, 32])
    h = product(b, x, b.weight(1, 32, 32), "fused")
    h = b.op("Add", h, b.weight(4, 32, scale=1.0), to="positions")
    inner, other = Builder(), Builder()
    product(inner, h, inner.weight(1, 32, 32), "inside")
    other.op("Neg", h, to="else")
    for body, name in ((inner, "inside"), (other, "else")):
        body.output(name, ["n", 4, 32])
    flag = b.op("Less", b.op("ReduceSum", x, keepdims=0), b.const(np.float32(1e9)))
    h = b.op("If", flag, to="branch", then_branch=inner.graph("t"), else_branch=other.graph("e"))
    b.op("MatMul", h, b.weight(32, 16), to="y")
    b.output("y", ["n", 4, 16])
    return b.model(com_microsoft=1)


@pytest.mark.parametrize("text", PASSES)
def test_operators_of_the_runtime_are_named_by_every_pass(text: str) -> None:
    found = named(contrib(), text)
    assert "no-rule" in found["fused"], found
    assert "no-rule" in found["inside"], found


def test_every_pass_that_changes_weights_says_which() -> None:
    kinds = {text.partition("{")[0] for text in PASSES}
    speaking = {cls.name for cls in all_passes() if cls.weights_of}
    assert kinds == speaking


@pytest.mark.parametrize("op", ["Add", "Mul", "Where", "LSTM", "Gather"])
def test_standard_operators(op: str) -> None:
    b = Builder()
    x = b.input("x", ["n", 4, 32])
    if op == "LSTM":
        b.ops("LSTM", [x, b.weight(1, 64, 32), b.weight(1, 64, 16)], ["h"], hidden_size=16)
        h = "h"
    elif op == "Gather":
        rows = b.op("Gather", b.weight(32, 40), b.const(_i(3, 1)), to="h", axis=1)
        h = b.op("Add", b.op("MatMul", x, rows), b.weight(2))
    elif op == "Where":
        h = b.op("Where", b.op("Less", x, b.const(np.float32(0))), x, b.weight(20, 1, 32), to="h")
    else:
        h = b.op(op, x, b.weight(20, 4, 32), to="h")
    b.op("Relu", h, to="y")
    b.output("y", None)
    proto = b.proto()
    proto.graph.output[0].type.tensor_type.shape.dim.add()
    proto = onnx.shape_inference.infer_shapes(proto)
    found = named(from_proto(proto), "prune")
    if op != "Gather":  # its rows are known, and fold
        assert found["h"] & {"no-rule", "recurrent"}, found


def test_numbers_in_attributes() -> None:
    b = Builder()
    x = b.input("x", ["n", 300])
    b.nodes.append(
        helper.make_node(
            "LinearRegressor",
            [x],
            ["y"],
            "regressor",
            domain="ai.onnx.ml",
            targets=2,
            coefficients=[0.5] * 600,
        )
    )
    b.output("y", ["n", 2])
    found = named(b.model(ai_onnx_ml=3), "quant-dynamic")
    assert found["regressor"] == {"no-rule"}


def test_small_constants_and_norms_are_not_worth_a_word() -> None:
    b = Builder()
    x = b.input("x", ["n", 4, 768])
    h = b.op("LayerNormalization", x, b.positive(768), b.weight(768))
    b.op("Mul", h, b.weight(4, 1), to="y")
    b.output("y", ["n", 4, 768])
    assert "no-rule" not in {c for codes in named(b.model(), "prune").values() for c in codes}


def test_functions_that_stay() -> None:
    b = Builder()
    b.op("F", b.input("x", ["n", 32]), to="y", domain="my")
    b.output("y", ["n", 32])
    proto = b.proto(my=1)
    weight = onnx.numpy_helper.from_array(b.rng.standard_normal((32, 32)).astype(np.float32))
    body = [
        helper.make_node("Constant", [], ["w"], value=weight),
        helper.make_node("MatMul", ["a", "w"], ["c"]),
    ]
    imports = [helper.make_opsetid("", 17)]
    proto.functions.append(helper.make_function("my", "F", ["a"], ["c"], body, imports))
    model = from_proto(proto)
    ctx = context(model)
    ctx.run_one(find("prune")(), model)  # without canonicalize, which would inline it
    assert ctx.diagnostics.declined("prune")["no-rule"] == 1


def test_index_tables_are_no_weights() -> None:
    b = Builder()
    table = b.const(np.zeros((40, 40), np.int64))
    b.op("Gather", table, b.input("ids", ["n"], T.INT64), to="y")
    b.output("y", ["n", 40], T.INT64)
    assert "y" not in named(b.model(), "prune")


@pytest.mark.parametrize("text", ["quant", "quant-weights", "quant-dynamic"])
def test_models_of_halves_are_no_exception(text: str) -> None:
    b = Builder()
    x = b.input("x", ["n", 4, 64], T.FLOAT16)
    half = np.float16
    h = product(b, x, b.weight(1, 64, 64, dtype=half), "fused")
    b.op("MatMul", h, b.weight(64, 64, dtype=half), to="y")
    b.output("y", ["n", 4, 64], T.FLOAT16)
    found = named(b.model(com_microsoft=1), text)
    assert found["fused"] == {"no-rule"}, found
