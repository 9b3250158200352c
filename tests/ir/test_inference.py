"""Inference of shapes is not led into memory that no machine has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np
import onnx
import pytest
from onnx import GraphProto, ModelProto
from onnx import TensorProto as T

from ocompress.ir import Model, from_proto, inference, propagation, to_proto
from tests.build import Builder
from tests.graphs import protos

LONG = 2 * propagation.LONGEST_LIST
HUGE = (1 << 63) - 1
ONES = onnx.numpy_helper.from_array(np.ones(1, np.int64))


def sliced(extent: int) -> Model:
    """Return a model that slices where an input with some elements says."""
    b = Builder()
    x = b.input("x", [20, 10])
    starts = b.input("starts", [extent], T.INT64)
    h = b.op("Slice", x, starts, b.input("ends", [1], T.INT64))
    b.op("Relu", h, to="y")
    b.output("y", [None, None])
    return b.model()


def ints(b: Builder, *numbers: int) -> str:
    return b.const(np.array(numbers, np.int64))


def filled(b: Builder, _: str, extent: int) -> str:
    return b.op("ConstantOfShape", ints(b, extent), value=ONES)


def expanded(b: Builder, _: str, extent: int) -> str:
    return b.op("Expand", ints(b, 7), ints(b, extent))


def tiled(b: Builder, _: str, extent: int) -> str:
    return b.op("Tile", b.op("Tile", ints(b, 7), ints(b, 8)), ints(b, extent // 8))


def counted(b: Builder, _: str, extent: int) -> str:
    scalars = (b.const(np.array(n, np.int64)) for n in (0, extent, 1))
    return b.op("Range", *scalars)


def padded(b: Builder, _: str, extent: int) -> str:
    return b.op("Pad", ints(b, 7), ints(b, extent - 1, 0))


def resized(b: Builder, x: str, extent: int) -> str:
    scales = b.const(np.array([1, extent / 20], np.float32))
    return b.op("Reshape", b.op("Resize", x, "", scales), ints(b, -1))


def computed(b: Builder, x: str, extent: int) -> str:
    """Return a list whose extent is known only once values are propagated."""
    rows = b.op("Gather", b.op("Shape", x), ints(b, 0))
    times = b.op("Mul", b.op("Mul", rows, ints(b, extent // 8)), ints(b, 4))
    return b.op("ConstantOfShape", times, value=ONES)


def computed_twice(b: Builder, x: str, extent: int) -> str:
    """Return a list whose extent is that of another list times a number."""
    short = computed(b, x, 8)
    short = b.op("Add", short, short)
    times = b.op("Mul", b.op("Shape", short), ints(b, extent // 8))
    return b.op("ConstantOfShape", times, value=ONES)


MAKERS = (filled, expanded, tiled, counted, padded, resized, computed, computed_twice)


def longer(
    make: Callable[[Builder, str, int], str], extent: int, opset: int = 18, given: int = T.INT64
) -> Model:
    """Return a model that makes a list of some extent and adds it to itself."""
    b = Builder()
    made = make(b, b.input("x", [2, 10]), extent)
    b.op("Identity", b.op("Add", made, made), to="y")
    b.output("y", None, given)
    return b.model(opset=opset)


def added(model: Model) -> Any:
    """Return the shape of the sum in such a model, as it is recorded."""
    value = model.graph.nodes[-2].outputs[0]
    return None if value is None else value.shape


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs(attribute.g)


def types(graph: GraphProto) -> dict[tuple[int, str], Any]:
    """Return what is known of values, symbols that inference invents left out."""
    found = {}
    for number, inner in enumerate(graphs(graph)):
        for info in (*inner.value_info, *inner.output):
            tensor = info.type.tensor_type
            dims = [d.dim_value or d.dim_param for d in tensor.shape.dim]
            known = [None if str(d).startswith("unk__") else d for d in dims]
            found[number, info.name] = tensor.elem_type, tensor.HasField("shape"), known
    return found


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return extents of the tensors with one axis that nodes read as values were propagated."""
    found: list[int] = []
    real = onnx.shape_inference.infer_shapes

    def infer_shapes(proto: ModelProto, *, data_prop: bool = False) -> ModelProto:
        result = real(proto, data_prop=data_prop)
        if data_prop:
            read = {name for node in result.graph.node for name in node.input}
            for info in (*result.graph.input, *result.graph.value_info):
                dims = info.type.tensor_type.shape.dim
                if info.name in read and len(dims) == 1:
                    found.append(dims[0].dim_value)
        return result

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", infer_shapes)
    return found


@pytest.mark.parametrize("make", MAKERS)
def test_no_values_are_propagated_from_long_lists(
    make: Callable[[Builder, str, int], str], told: list[int]
) -> None:
    for extent in (200, LONG):
        told.clear()
        model = longer(make, extent)
        inference.infer_types(model)
        assert added(model) == (extent,)
        assert (extent in told) == (extent == 200)


@pytest.mark.parametrize("extent", [1, LONG, 1 << 32, HUGE])
def test_extents_of_inputs_that_are_long_lists_are_held_back(extent: int, told: list[int]) -> None:
    model = sliced(extent)
    inference.infer_types(model)
    assert (extent in told) == (extent == 1)
    assert model.graph.inputs[1].shape == (extent,)


def test_names_that_are_no_text_are_held_back(told: list[int]) -> None:
    proto = to_proto(longer(filled, LONG))
    content = proto.SerializeToString().replace(b"constantofshape", b"constantofshap\xff")
    model = from_proto(ModelProto.FromString(content))
    inference.infer_types(model)
    assert added(model) == (LONG,)
    assert LONG not in told


def test_an_old_expand_does_not_make_as_many_axes_as_a_long_list_has_elements() -> None:
    def by_list(b: Builder, x: str, extent: int) -> str:
        return b.op("Expand", x, filled(b, x, extent))

    model = longer(by_list, 1 << 40, opset=9, given=T.FLOAT)
    inference.infer_types(model)
    assert added(model) is None
    model = longer(by_list, 3, opset=9, given=T.FLOAT)
    inference.infer_types(model)
    assert added(model) is not None
    assert len(added(model)) == 3


@pytest.mark.parametrize("name", sorted(protos()))
def test_as_much_is_found_as_with_all_values_propagated(name: str) -> None:
    proto = to_proto(from_proto(protos()[name]))
    del proto.graph.value_info[:]
    expected = types(onnx.shape_inference.infer_shapes(proto, data_prop=True).graph)
    found = types(propagation.inferred(proto).graph)
    assert {k: found.get(k) for k in expected} == expected


def test_what_is_beyond_all_memory_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def infer_shapes(*_: object, **__: object) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", infer_shapes)
    assert not inference.infer_types(sliced(1))


def test_an_attribute_of_no_graphs_has_no_bodies() -> None:
    b = Builder()
    b.output(b.op("MaxPool", b.input("x", [1, 2, 4, 4]), kernel_shape=[2, 2]))
    proto = to_proto(b.model())
    proto.graph.node[0].attribute.add(name="pads", type=onnx.AttributeProto.GRAPHS)
    inference.infer_types(from_proto(proto))  # no error


@pytest.mark.parametrize("channels", [4, 40])
def test_layers_with_sparse_weights_have_a_shape(channels: int) -> None:
    """Small and large ones alike; files keep them sparse."""
    b = Builder()
    x = b.input("x", ["n", 3, 8, 8])
    h = b.op("Conv", x, b.weight(channels, 3, 3, 3), pads=[1] * 4)
    b.output(
        b.op("Relu", b.op("Conv", h, b.const(np.zeros((channels, channels, 3, 3), "f4"), "w")))
    )
    proto = to_proto(b.model())
    del proto.graph.initializer[-1]
    values = onnx.helper.make_tensor("w", T.FLOAT, [2], [1.0, 2.0])
    places = onnx.helper.make_tensor("", T.INT64, [2], [1, 5])
    shape = [channels, channels, 3, 3]
    proto.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, places, shape))
    model = from_proto(proto)
    assert inference.infer_types(model)
    assert model.graph.nodes[1].output.shape == ("n", channels, 6, 6)
    assert len(to_proto(model).graph.sparse_initializer) == 1


@pytest.mark.parametrize("shape", [None, ["rows", None]])
def test_an_output_that_declares_no_rank_gets_the_one_it_has(shape: list[Any] | None) -> None:
    b = Builder()
    b.op("MatMul", b.input("x", ["n", 4]), b.weight(4, 3), to="y")
    b.output("y", shape)
    model = b.model()
    output = model.graph.outputs[0]
    if shape is None:
        output.set_type(output.dtype, None)
    inference.infer_types(model)
    assert output.shape == (("n", 3) if shape is None else ("rows", None))
