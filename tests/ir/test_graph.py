from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from onnx import helper

from ocompress.errors import InvalidModelError
from ocompress.ir import DType, Graph, Model, Node, Value, edit, from_proto, query, text, to_proto
from tests.build import Builder
from tests.graphs import ZOO


def chain() -> tuple[Graph, Value, Node, Node]:
    graph = Graph("g")
    x = Value(graph.names.fresh("x"), dtype=DType.FLOAT, shape=(4,))
    x.is_input = True
    graph.inputs.append(x)
    first = graph.add_op("Relu", [x], name="a")
    second = graph.add_op("Sigmoid", [first.output], name="b")
    graph.set_outputs([second.output])
    return graph, x, first, second


def test_values_know_their_readers() -> None:
    _, x, first, second = chain()
    assert x.users == [(first, 0)]
    assert first.output.users == [(second, 0)]
    second.set_input(0, x)
    assert x.users == [(first, 0), (second, 0)]
    assert first.output.users == []


def test_same_value_read_twice_by_one_node_counts_twice() -> None:
    graph, x, *_ = chain()
    node = graph.add_op("Add", [x, x], name="add")
    assert [(n, i) for n, i in x.users if n is node] == [(node, 0), (node, 1)]
    assert query.only_reader(x) is None


def test_sort_puts_new_nodes_before_their_readers_and_keeps_order() -> None:
    graph, x, first, second = chain()
    late = graph.add_op("Neg", [x], name="late")
    first.set_input(0, late.output)
    graph.sort()
    assert graph.nodes == [late, first, second]


def test_sort_names_the_cycle() -> None:
    graph, _, first, second = chain()
    first.set_input(0, second.output)
    with pytest.raises(InvalidModelError, match="cycle through node 'a'"):
        graph.sort()


def test_sort_sees_what_bodies_read() -> None:
    model = ZOO["if_bodies"]()
    graph = model.graph
    scaled = graph.add_op("Neg", [graph.inputs[0]], name="scaled")
    body = next(graph.nodes[0].subgraphs())
    body.nodes[0].set_input(0, scaled.output)
    model.sort()
    assert graph.nodes[0] is scaled


def test_replace_keeps_the_name_of_an_output() -> None:
    graph, _, first, second = chain()
    name = second.output.name
    old = second.output
    assert edit.replace(old, first.output)
    assert graph.outputs == (first.output,)
    assert first.output.name == name != old.name


def test_replace_refuses_an_input_as_output() -> None:
    graph, x, _, second = chain()
    assert not edit.replace(second.output, x)
    assert graph.outputs == (second.output,)


def test_own_weight_copies_only_what_is_shared() -> None:
    model = ZOO["shared_weights"]()
    first, second = (n for n in model.graph.nodes if n.op_type == "MatMul")
    shared = first.input(1)
    mine = edit.own_weight(first, 1)
    assert mine is not shared
    assert second.input(1) is shared
    assert edit.own_weight(second, 1) is shared


def test_remove_dead_goes_through_chains_and_bodies() -> None:
    model = ZOO["duplicates_and_dead_code"]()
    assert edit.remove_dead(model.graph) == 2
    assert all(n.op_type != "Sin" for n in model.graph.nodes)
    assert "unused" not in model.graph.initializers
    assert edit.remove_dead(model.graph) == 0


def test_fresh_names_never_collide_with_nodes_or_values() -> None:
    graph, x, *_ = chain()
    made = [graph.add_op("Neg", [x], name="a") for _ in range(3)]
    names = [n.name for n in graph.nodes]
    assert len(set(names)) == len(names)
    assert [n.output.name for n in made] == ["a_1", "a_2", "a_3"]


def test_verify_names_a_dangling_input() -> None:
    graph, _, first, second = chain()
    graph.remove(first)
    with pytest.raises(InvalidModelError, match="input 0 of node 'b'"):
        Model(graph, {"": 17}).verify()
    assert second.graph is graph


def test_text_is_a_line_per_node() -> None:
    graph, *_ = chain()
    assert text(Model(graph, {"": 17})).splitlines() == [
        "model opsets[onnx:17]",
        "input x:float[4]",
        "a = Relu(x)",
        "b = Sigmoid(a)",
        "output b",
    ]


def test_unsorted_file_is_read_and_sorted() -> None:
    b = Builder()
    x = b.input("x", [2])
    b.op("Relu", b.op("Neg", x), to="y")
    b.output("y", [2])
    b.nodes.reverse()
    model = from_proto(b.proto())
    model.sort()
    assert [n.op_type for n in to_proto(model).graph.node] == ["Neg", "Relu"]


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([helper.make_node("Relu", ["nowhere"], ["y"], name="r")], "reads 'nowhere'"),
        ([helper.make_node("Relu", ["x"], ["y"])] * 2, "'y' is made twice"),
    ],
)
def test_broken_edges_are_named(nodes: list[object], message: str) -> None:
    b = Builder()
    b.input("x", [2])
    b.nodes = nodes  # type: ignore[assignment]
    b.output("y", [2])
    with pytest.raises(InvalidModelError, match=message):
        from_proto(b.proto())


def test_scalar_reads_only_single_elements() -> None:
    b = Builder()
    x = b.input("x", [2])
    b.op("Clip", x, b.const(np.float32(-1)), b.const(np.array([6], np.float32)), to="y")
    b.output("y", [2])
    node = b.model().graph.nodes[0]
    assert query.scalar(node, 1) == -1
    assert query.scalar(node, 2) == 6
    assert query.scalar(node, 0) is None
    assert query.scalar(node, 9) is None


def test_a_model_can_be_sent_to_another_process_and_edited_there() -> None:
    model = ZOO["mlp"]()
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert text(other) == text(model)
        relu = next(n for n in other.graph.nodes if n.is_op("Relu"))
        source = relu.inputs[0]
        assert source is not None
        edit.replace(relu.output, source)
        other.graph.remove(relu)
        other.verify()
        assert text(other) != text(model)
    model.verify()


def test_nodes_are_found_by_their_labels_while_the_graph_is_edited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = ZOO["if_bodies"]()
    graph = model.graph
    inner = next(graph.nodes[0].subgraphs()).nodes[0]
    assert model.labelled(inner.label) is inner
    extra = graph.add_op("Neg", [graph.inputs[0]], name="extra")
    assert model.labelled(extra.label) is extra
    with monkeypatch.context() as patch:
        patch.setattr(Model, "nodes", None)  # nodes are not gone through for what is known
        assert model.labelled(inner.label) is inner
    old, extra.name = extra.label, "another"
    assert model.labelled(old) is None
    assert model.labelled("another") is extra
    graph.remove(extra)
    assert model.labelled("another") is None
    other = model.clone()
    model.become(other)
    found = model.labelled(inner.label)
    assert found is not inner
    assert found is next(model.graph.nodes[0].subgraphs()).nodes[0]
