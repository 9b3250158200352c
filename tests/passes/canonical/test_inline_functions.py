"""Model-local functions become nodes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from ocompress.errors import UnsupportedModelError
from ocompress.ir import Model, from_proto, onnx_api, to_proto
from ocompress.runtime import Session
from tests.build import Builder
from tests.passes.canonical.exact import run


def _scale_shift(opset: int) -> onnx.FunctionProto:
    nodes = [
        helper.make_node("Mul", ["a", "b"], ["scaled"], name="mul"),
        helper.make_node("LeakyRelu", ["scaled"], ["c"], name="leak"),
    ]
    reference = nodes[1].attribute.add(name="alpha", ref_attr_name="slope")
    reference.type = onnx.AttributeProto.FLOAT
    return helper.make_function(
        "my", "ScaleLeak", ["a", "b"], ["c"], nodes, [helper.make_opsetid("", opset)], ["slope"]
    )


def _model(weight: np.ndarray, opset: int = 17) -> Model:
    b = Builder()
    x = b.input("x", ["n", weight.size])
    h = b.op("ScaleLeak", x, b.const(weight, "w"), domain="my", slope=0.25)
    b.op("ScaleLeak", h, "w", domain="my", slope=0.5, to="y")
    b.output("y", ["n", weight.size])
    proto = b.proto(17, my=1)
    proto.functions.append(_scale_shift(opset))
    return from_proto(proto)


def test_calls_become_nodes() -> None:
    ran = run("inline-functions", _model(np.asarray([1, -2, 3], np.float32)), types=False)
    assert ran.ops == {"Mul": 2, "LeakyRelu": 2}
    assert ran.after.functions == []
    ran.same_bits()


def test_defaults_of_attributes() -> None:
    """A call may leave out what the function gives a default; so may one in a function's body."""
    inner = _scale_shift(17)
    del inner.attribute[:]
    inner.attribute_proto.append(helper.make_attribute("slope", 0.25))
    nodes = [
        helper.make_node("ScaleLeak", ["a", "b"], ["t"], domain="my"),
        helper.make_node("ScaleLeak", ["t", "b"], ["c"], domain="my", slope=0.5),
    ]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]
    outer = helper.make_function("my", "Twice", ["a", "b"], ["c"], nodes, imports)
    b = Builder()
    b.op("Twice", b.input("x", ["n", 3]), b.weight(3), domain="my", to="y")
    b.output("y", ["n", 3])
    proto = b.proto(17, my=1)
    proto.functions.extend([inner, outer])
    ran = run("inline-functions", from_proto(proto), types=False)
    assert [n.attr("alpha") for n in ran.after.graph.nodes if n.is_op("LeakyRelu")] == [0.25, 0.5]
    ran.same_bits()


def test_operator_sets_that_only_functions_import() -> None:
    b = Builder()
    b.op("Soft", b.input("x", ["n", 3]), domain="my", to="y")
    b.output("y", ["n", 3])
    proto = b.proto(17, my=1)
    imports = [helper.make_opsetid("ai.onnx", 17), helper.make_opsetid("com.microsoft", 1)]
    gelu = helper.make_node("Gelu", ["a"], ["c"], domain="com.microsoft")
    proto.functions.append(helper.make_function("my", "Soft", ["a"], ["c"], [gelu], imports))
    ran = run("inline-functions", from_proto(proto), types=False)
    assert ran.after.opsets["com.microsoft"] == 1
    onnx_api.check(to_proto(ran.after))
    ran.same_bits()


def test_large_weights_are_not_copied() -> None:
    weight = np.linspace(-1, 1, 10_000, dtype=np.float32)
    before = _model(weight)
    ran = run("inline-functions", before, types=False)
    assert ran.after.graph.initializers["w"].data is before.graph.initializers["w"].data
    ran.same_bits()


def test_function_of_another_opset() -> None:
    ran = run("inline-functions", _model(np.asarray([1, -2, 3], np.float32), opset=15), types=False)
    assert "ScaleLeak" not in ran.ops
    ran.same_bits()


def test_models_without_functions_are_left_alone() -> None:
    b = Builder()
    b.op("Relu", b.input("x", [3]), to="y")
    b.output("y", [3])
    assert not run("inline-functions", b.model()).outcome


def test_function_that_needs_conversion() -> None:
    """Clip took its bounds as attributes at opset 10."""
    b = Builder()
    b.op("Bound", b.input("x", ["n", 2]), domain="my", to="y")
    b.output("y", ["n", 2])
    proto = b.proto(17, my=1)
    clip = helper.make_node("Clip", ["a"], ["c"], min=0.0, max=1.0)
    imports = [helper.make_opsetid("", 10)]
    proto.functions.append(helper.make_function("my", "Bound", ["a"], ["c"], [clip], imports))
    ran = run("inline-functions", from_proto(proto), types=False)
    assert ran.ops["Clip"] == 1
    x = np.asarray([[-1, 0.5], [0.25, 2]], np.float32)
    np.testing.assert_array_equal(Session(ran.after).run({"x": x})["y"], np.clip(x, 0, 1))


def test_what_cannot_be_inlined_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Model) -> None:
        msg = "no"
        raise UnsupportedModelError(msg)

    monkeypatch.setattr(onnx_api, "inline_functions", refuse)
    ran = run("inline-functions", _model(np.asarray([1, 2], np.float32)), types=False)
    assert not ran.outcome
    assert ran.codes == {"not-inlined"}


@pytest.mark.parametrize("domain", ["", "ai.onnx", "com.microsoft"])
@pytest.mark.parametrize("name", ["inline-functions", "canonicalize"])
def test_the_runtime_prefers_its_own_operators(domain: str, name: str) -> None:
    """A function may be named like one; it is never called."""
    op_type, called = ("Relu", "") if domain != "com.microsoft" else ("Gelu", domain)
    b = Builder()
    b.op(op_type, b.input("x", [3]), domain=called, to="h")
    b.op("ScaleLeak", "h", b.const(np.ones(3, np.float32)), domain="my", slope=0.25, to="y")
    b.output("y", [3])
    proto = b.proto(17, my=1, com_microsoft=1)
    imports = [helper.make_opsetid("", 17)]
    negated = [helper.make_node("Neg", ["a"], ["b"])]
    proto.functions.append(helper.make_function(domain, op_type, ["a"], ["b"], negated, imports))
    own = _scale_shift(17)
    own.opset_import.add(domain="com.microsoft", version=1)
    own.node.insert(0, helper.make_node(op_type, ["a"], ["unused"], domain=called))
    proto.functions.append(own)
    ran = run(name, from_proto(proto), types=False)
    assert ran.after.functions == []
    assert ran.outcome.counts["functions dropped"] == 1
    x = np.asarray([-1, 0.5, 2], np.float32)
    wanted = Session(proto.SerializeToString()).run({"x": x})["y"]
    np.testing.assert_allclose(Session(ran.after).run({"x": x})["y"], wanted, 1e-6)
