"""A body that hides outer names computes the same through the compiler's form and every pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper

from ocompress.errors import InvalidModelError
from ocompress.io import load_model, save_model
from ocompress.ir import Model, Node, Value, from_proto, to_proto
from ocompress.runtime import Level, Session
from tests.ir import hidden
from tests.passes.canonical.exact import run

X = np.array([-1.5, 0.25, 2, 3], np.float32)
KINDS = pytest.mark.parametrize("kind", hidden.KINDS)


def result(model: Model) -> np.ndarray:
    return Session(model, level=Level.DISABLED).run({"x": X})["y"]


def wanted(kind: str) -> np.ndarray:
    proto = hidden.KINDS[kind]("_in")
    return Session(proto.SerializeToString(), level=Level.DISABLED).run({"x": X})["y"]


def names(model: Model) -> list[str]:
    found: list[str] = []
    for graph in model.graph.graphs():
        found += [v.name for v in (*graph.inputs, *graph.initializers.values())]
        found += [v.name for n in graph.nodes for v in n.outputs if v is not None]
    return found


@KINDS
def test_reading_and_writing_changes_nothing(kind: str) -> None:
    model = from_proto(hidden.KINDS[kind](""))
    model.verify()
    np.testing.assert_array_equal(result(model), wanted(kind))
    assert [v.name for v in (*model.graph.inputs, *model.graph.outputs)] == ["x", "y"]


@KINDS
@pytest.mark.parametrize("name", ["canonicalize", "share-initializers", "inline-functions"])
def test_exact_passes_change_nothing(kind: str, name: str) -> None:
    ran = run(name, from_proto(hidden.KINDS[kind]("")), types=False)
    np.testing.assert_allclose(result(ran.after), wanted(kind), 1e-6)


@pytest.mark.parametrize("kind", ["loop_state", "scan"])
def test_the_runtime_computes_the_same_where_it_loads_what_hides(kind: str) -> None:
    proto = hidden.KINDS[kind]("")
    got = Session(proto.SerializeToString(), level=Level.DISABLED).run({"x": X})["y"]
    np.testing.assert_array_equal(got, wanted(kind))


def test_no_name_of_a_body_is_that_of_an_outer_value() -> None:
    found = names(from_proto(hidden.nested("")))
    assert len(found) == len(set(found))


def test_names_of_the_main_graph_stay() -> None:
    model = from_proto(hidden.made_in_body(""))
    made = [v.name for n in model.graph.nodes for v in n.outputs if v is not None]
    assert made == ["v", "t", "v_1", "out", "y"]


def test_branches_beside_each_other_get_names_of_their_own() -> None:
    bodies = {
        key: helper.make_graph(
            [hidden.node(operator, ["x"], ["v"])], key, [], [hidden.info("v", T.FLOAT, [4])]
        )
        for key, operator in (("then_branch", "Neg"), ("else_branch", "Abs"))
    }
    model = from_proto(hidden.model([hidden.node("If", ["yes"], ["y"], **bodies)], hidden.STEPS))
    assert [node.output.name for _, node in model.nodes()] == ["y", "v", "v_1"]


def test_what_refers_to_a_hiding_value_by_name_follows_it() -> None:
    proto = hidden.loop_state("")
    body = proto.graph.node[2].attribute[0].g
    body.ClearField("initializer")
    values = helper.make_tensor("w", T.FLOAT, [2], [2.0, 2.0])
    indices = helper.make_tensor("", T.INT64, [2], [1, 3])
    body.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    note = body.quantization_annotation.add(tensor_name="h")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="w")
    written = to_proto(from_proto(proto)).graph.node[2].attribute[0].g
    state, weight = written.input[2].name, written.sparse_initializer[0].values.name
    assert (state, weight) == ("h_1", "w_1")
    assert list(written.node[0].input) == [state, weight]
    assert written.quantization_annotation[0].tensor_name == state
    assert written.quantization_annotation[0].quant_parameter_tensor_names[0].value == weight


def test_files_keep_what_bodies_compute(tmp_path: Path) -> None:
    save_model(from_proto(hidden.nested("")), tmp_path / "m.onnx")
    np.testing.assert_array_equal(result(load_model(tmp_path / "m.onnx")), wanted("nested"))


def test_a_pass_that_hides_a_name_is_caught() -> None:
    model = from_proto(hidden.loop_state(""))
    body = next(model.graph.nodes[2].subgraphs())
    body.add(Node("Neg", [body.inputs[2]], [Value("v")]))
    with pytest.raises(InvalidModelError, match="'v' is made twice"):
        model.verify()
