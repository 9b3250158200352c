from __future__ import annotations

import pytest

from ocompress.ir import text
from ocompress.ir.surgeon import surgeon
from tests.graphs import ZOO

# graphsurgeon drops unused constants, orders constants by first use, and inlines nothing
OTHERWISE_EQUAL = {"duplicates_and_dead_code", "overridable_default", "if_bodies", "local_function"}


@pytest.mark.parametrize("name", [n for n in ZOO if n not in OTHERWISE_EQUAL])
def test_a_visit_without_edits_changes_nothing(name: str) -> None:
    model = ZOO[name]()
    before = text(model)
    with surgeon(model):
        pass
    model.sort()
    assert text(model) == before


def test_defaults_of_inputs_stay() -> None:
    model = ZOO["overridable_default"]()
    with surgeon(model):
        pass
    scale = next(v for v in model.graph.inputs if v.name == "scale")
    assert scale.data is not None
    assert scale.data.tolist() == [2]
    assert model.graph.initializers["scale"] is scale


def test_edits_are_taken_over_and_documentation_stays() -> None:
    model = ZOO["documented"]()
    with surgeon(model) as graph:
        for node in graph.nodes:
            if node.op == "Relu":
                node.op = "Sigmoid"
    assert [n.op_type for n in model.graph.nodes] == ["MatMul", "Sigmoid"]
    assert model.graph.nodes[0].doc == "node doc"
    assert model.graph.nodes[0].metadata == {"layer": "fc1"}
    assert model.metadata == {"character": "a\nb\n", "author": "me"}


def test_a_failing_edit_leaves_the_model_alone() -> None:
    model = ZOO["mlp"]()
    before = text(model)

    def clear_and_fail() -> None:
        with surgeon(model) as graph:
            graph.nodes.clear()
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        clear_and_fail()
    assert text(model) == before
