"""Text of files that is no UTF-8 is kept as it is, wherever the format has text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx import TensorProto as T

from ocompress.io import load_model, save_model
from ocompress.ir import fingerprint, from_proto, strings, text, to_proto
from ocompress.runtime import Session
from tests.build import Builder
from tests.ir import hidden
from tests.ir.test_round_trip import normal, rich

MARK, ODD = b"@Q@", b"\xff\xfe\xfd"


def odd(proto: ModelProto) -> ModelProto:
    """Put a byte that is no UTF-8 wherever the model has the mark."""
    marked = ModelProto()
    marked.ParseFromString(proto.SerializeToString().replace(MARK, ODD))
    return marked


def everywhere() -> ModelProto:
    """Return a model that runs, with the mark in every text that a runtime has no use for."""
    b = Builder()
    x = b.input("x@Q@", ["n@Q@", 16])
    h = b.op("MatMul", x, b.const(np.ones((16, 8), np.float32), "w@Q@"), to="h@Q@")
    h = b.op("Relu", h, to="r@Q@")
    big = np.linspace(-1, 1, 20_000, dtype=np.float32).reshape(8, -1)
    b.op("MatMul", h, b.const(big, "big@Q@"), to="y@Q@")
    b.output("y@Q@", ["n@Q@", 2500])
    proto = b.proto()
    proto.doc_string = proto.producer_name = proto.domain = "@Q@ doc"
    helper.set_model_props(proto, {"key@Q@": "value@Q@"})
    graph = proto.graph
    graph.name = graph.doc_string = "graph@Q@"
    graph.metadata_props.add(key="g@Q@", value="@Q@")
    graph.node[0].doc_string = "node@Q@"
    graph.node[0].metadata_props.add(key="l@Q@", value="@Q@")
    graph.initializer[0].doc_string = "tensor@Q@"
    graph.value_info.append(helper.make_tensor_value_info("h@Q@", T.FLOAT, ["n@Q@", 8], "value@Q@"))
    graph.quantization_annotation.add(tensor_name="h@Q@").quant_parameter_tensor_names.add(
        key="SCALE_TENSOR", value="s@Q@"
    )
    return odd(proto)


def test_every_text_survives() -> None:
    for proto in (everywhere(), odd(_marked(rich()))):
        model = from_proto(proto)
        assert normal(to_proto(model)) == normal(proto)
        assert normal(to_proto(model.clone())) == normal(proto)
        assert fingerprint(model) == fingerprint(model.clone())
        assert "\udcff\udcfe\udcfd" in text(model)


def string_tensor(name: str, *texts: bytes) -> TensorProto:
    return TensorProto(name=name, data_type=T.STRING, dims=[len(texts)], string_data=texts)


def _marked(proto: ModelProto) -> ModelProto:
    """Mark names of an operator, a domain, an attribute, a sparse tensor, and texts inside."""
    custom = proto.graph.node[-1]
    custom.op_type, custom.domain, custom.overload = "Cust@Q@m", "com@Q@example", "o@Q@"
    custom.attribute.append(helper.make_attribute("a@Q@", "text@Q@"))
    custom.attribute.append(helper.make_attribute("t@Q@", string_tensor("t", b"@Q@", b"b")))
    proto.opset_import.add(domain="com@Q@example", version=1)
    proto.graph.initializer.append(string_tensor("strings", b"a@Q@", b"b"))
    return proto


def test_attributes_and_arrays_hold_such_text() -> None:
    model = from_proto(odd(_marked(rich())))
    node = model.graph.nodes[-1]
    assert node.attr("a\udcff\udcfe\udcfd") == "text\udcff\udcfe\udcfd"
    assert node.attr("t\udcff\udcfe\udcfd").tolist() == ["\udcff\udcfe\udcfd", "b"]
    node.set_attr("t\udcff\udcfe\udcfd", node.attr("t\udcff\udcfe\udcfd"))
    assert node.attr("t\udcff\udcfe\udcfd").tolist() == ["\udcff\udcfe\udcfd", "b"]
    held = model.graph.initializers["strings"].data
    assert held is not None
    assert held.tolist() == ["a\udcff\udcfe\udcfd", "b"]


def test_hiding_names_of_bodies_too() -> None:
    proto = hidden.loop_state("")
    raw = proto.SerializeToString().replace(b"\x01h", b"\x01\xff").replace(b"\x01w", b"\x01\xfe")
    x = np.array([-1.5, 0.25, 2, 3], np.float32)
    wanted = Session(hidden.loop_state("_in").SerializeToString()).run({"x": x})["y"]
    model = from_proto(ModelProto.FromString(raw))
    np.testing.assert_array_equal(Session(model).run({"x": x})["y"], wanted)


@pytest.mark.parametrize("external", [False, True])
def test_files_keep_such_text(external: bool, tmp_path: Path) -> None:
    model = from_proto(everywhere())
    save_model(model, tmp_path / "m.onnx", external=external)
    assert text(load_model(tmp_path / "m.onnx")) == text(model)


def test_the_runtime_is_given_names_that_it_takes() -> None:
    model = from_proto(everywhere())
    hidden_value = model.graph.nodes[1].output
    session = Session(model, extra_outputs=[hidden_value])
    assert [spec.name for spec in session.inputs] == ["x\udcff\udcfe\udcfd"]
    assert [spec.name for spec in session.outputs] == ["y\udcff\udcfe\udcfd", "r\udcff\udcfe\udcfd"]
    x = np.ones((2, 16), np.float32)
    plain = from_proto(ModelProto.FromString(everywhere().SerializeToString().replace(ODD, MARK)))
    wanted = Session(plain).run({"x@Q@": x})["y@Q@"]
    got = session.run({"x\udcff\udcfe\udcfd": x})
    np.testing.assert_array_equal(got["y\udcff\udcfe\udcfd"], wanted)
    assert session.run({"x\udcff\udcfe\udcfd": x}, ["r\udcff\udcfe\udcfd"])[
        "r\udcff\udcfe\udcfd"
    ].shape == (2, 8)
    assert model.graph.inputs[0].name == "x\udcff\udcfe\udcfd"


def test_text_that_can_be_printed() -> None:
    assert strings.readable("ok ü") == "ok ü"
    assert strings.readable("a\udcff") == "a\\xff"
    assert strings.decoded(b"\xffa") == "\udcffa"
    assert strings.encoded("\udcffa") == b"\xffa"
