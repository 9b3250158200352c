"""What the installed onnx package says of operators over time."""

from __future__ import annotations

from typing import Any

from onnx import FunctionProto, helper

from ocompress.ir import Node, Value, schemas


def _node(op_type: str, inputs: int = 1, outputs: int = 1, **attrs: object) -> Node:
    made = [Value(f"o{i}") for i in range(outputs)]
    return Node(op_type, [Value(f"i{i}") for i in range(inputs)], made, attrs=dict(attrs))


def test_is_redefined() -> None:
    assert schemas.is_redefined("Clip", 11)
    assert not schemas.is_redefined("Clip", 10)
    assert not schemas.is_redefined("NoSuchOperator", 11)


def test_misfit_names_what_is_gone() -> None:
    assert "'min'" in schemas.misfit(_node("Clip", min=0.0), 11)
    assert "default of 'axis'" in schemas.misfit(_node("Softmax"), 13)
    assert "any more" in schemas.misfit(_node("Scatter", 3), 11)
    assert "another number" in schemas.misfit(_node("Resize", 2), 11)
    assert "another number" in schemas.misfit(_node("BatchNormalization", 5, 5), 14)


def test_wider_types_fit() -> None:
    assert schemas.misfit(_node("Relu"), 14) == ""
    assert schemas.misfit(_node("Softmax", axis=1), 13) == ""


def test_optional_outputs() -> None:
    assert schemas.optional_outputs(_node("MaxPool", 1, 2), 17) == {1}
    assert schemas.optional_outputs(_node("TopK", 2, 2), 17) == frozenset()
    assert schemas.optional_outputs(_node("NoSuchOperator"), 17) == frozenset()


def test_lowest_ir_version() -> None:
    assert schemas.lowest_ir_version(17) == 8
    assert schemas.lowest_ir_version(21) == 10
    assert schemas.lowest_ir_version(0) == schemas.lowest_ir_version(1) == 3
    assert schemas.lowest_ir_version(10_000) >= schemas.lowest_ir_version(21)


def test_functions_at_another_opset() -> None:
    def function(op_type: str, **attrs: Any) -> FunctionProto:
        node = helper.make_node(op_type, ["a"], ["b"], **attrs)
        return helper.make_function("my", "F", ["a"], ["b"], [node], [helper.make_opsetid("", 10)])

    assert schemas.means_the_same(function("LeakyRelu"), 10, 17)
    assert not schemas.means_the_same(function("LeakyRelu"), 17, 10)
    assert not schemas.means_the_same(function("Clip", min=0.0), 10, 17)
    assert schemas.means_the_same(function("Neg"), 14, 13)
