"""Everything a file holds survives being read and written."""

from __future__ import annotations

import onnx
import pytest
from onnx import ModelProto, helper
from onnx import TensorProto as T

from ocompress.ir import fingerprint, from_proto, text, to_proto
from tests.build import Builder, feeds
from tests.graphs import ZOO


def normal(proto: ModelProto) -> str:
    """Return a text of the proto in which only order that ONNX ignores was removed."""
    copy = ModelProto()
    copy.CopyFrom(proto)
    for graph in _graphs(copy.graph):
        info = sorted(graph.value_info, key=lambda v: v.name)
        del graph.value_info[:]
        graph.value_info.extend(info)
        for node in graph.node:
            if not node.domain:
                node.ClearField("domain")  # some writers spell out that it is empty
    return str(copy)


def _graphs(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    found = [graph]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found += _graphs(attribute.g)
    return found


def rich() -> ModelProto:
    """Return a model with something in every field that files use."""
    b = Builder()
    x = b.input("x", ["n", 4])
    h = b.op("MatMul", x, b.weight(4, 4))
    b.op("Relu", h, to="y")
    b.output("y", ["n", 4])
    proto = b.proto(com_example=3)
    proto.doc_string, proto.domain, proto.model_version = "model doc", "org.example", 7
    helper.set_model_props(proto, {"character": "a\nß\n"})
    graph = proto.graph
    graph.doc_string = "graph doc"
    graph.metadata_props.add(key="g", value="1")
    graph.initializer[0].doc_string = "tensor doc"
    graph.node[0].doc_string = "node doc"
    graph.node[0].metadata_props.add(key="layer", value="fc1")
    graph.value_info.append(helper.make_tensor_value_info(h, T.FLOAT, ["n", 4], "value doc"))
    graph.value_info[0].metadata_props.add(key="v", value="2")
    graph.input[0].doc_string = "pixels"
    note = graph.quantization_annotation.add(tensor_name=h)
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="s")
    values = helper.make_tensor("sp", T.FLOAT, [2], [1.0, 2.0])
    indices = helper.make_tensor("", T.INT64, [2], [1, 5])
    graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 4]))
    graph.node.append(helper.make_node("Custom", ["sp"], ["c", "", "d"], domain="com.example"))
    proto.functions.append(
        helper.make_function("com.example", "F", ["a"], ["b"], [], [helper.make_opsetid("", 17)])
    )
    return proto


def test_every_field_survives() -> None:
    proto = rich()
    assert normal(to_proto(from_proto(proto))) == normal(proto)


def test_every_field_survives_cloning() -> None:
    proto = rich()
    assert normal(to_proto(from_proto(proto).clone())) == normal(proto)


@pytest.mark.parametrize("name", ZOO)
def test_zoo_survives(name: str) -> None:
    proto = to_proto(ZOO[name]())
    assert normal(to_proto(from_proto(proto))) == normal(proto)
    assert normal(to_proto(from_proto(proto).clone())) == normal(proto)


def test_replaced_sparse_weight_is_written_dense() -> None:
    model = from_proto(rich())
    value = model.graph.initializers["sp"]
    assert value.data is not None
    assert value.data.tolist() == [[0, 1, 0, 0], [0, 2, 0, 0]]
    value.data = value.data * 2
    proto = to_proto(model)
    assert not proto.graph.sparse_initializer
    assert {i.name for i in proto.graph.initializer} == {"w1", "sp"}


def test_clone_is_independent() -> None:
    model = ZOO["if_bodies"]()
    before = text(model)
    copy = model.clone()
    for graph, node in copy.nodes():
        for name, value in graph.initializers.items():
            assert value.data is not None, name
            value.data = value.data + 1
        node.name += "_renamed"
    assert text(model) == before
    assert text(copy) != before


def test_loaded_weights_are_read_only() -> None:
    for weight in ZOO["mlp"]().weights():
        with pytest.raises(ValueError, match="read-only"):
            weight[...] = 0


def test_fingerprint_sees_one_changed_weight() -> None:
    one, two = ZOO["mlp"](), ZOO["mlp"]()
    assert fingerprint(one) == fingerprint(two)
    value = next(iter(two.graph.initializers.values()))
    assert value.data is not None
    changed = value.data.copy()
    changed.flat[-1] += 1e-6
    value.data = changed
    assert fingerprint(one) != fingerprint(two)


def test_feeds_fill_every_required_input() -> None:
    assert set(feeds(ZOO["if_bodies"]())) == {"x", "flag"}
    assert set(feeds(ZOO["overridable_default"]())) == {"x"}
