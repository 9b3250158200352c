"""Text goes where it was asked to go, and nowhere else."""

from __future__ import annotations

import pytest
from onnx import TensorProto as T
from onnx import helper

from ocompress.ir import Model, from_proto, to_proto
from ocompress.ir.serialized_size import serialized_bytes
from ocompress.pipeline import find
from tests.build import Builder
from tests.contract.harness import context
from tests.passes.canonical.exact import run


def build() -> Model:
    """Return a model with text in every place that has room for some."""
    inner = Builder()
    inner.op("Relu", "x", to="inside")
    inner.nodes[-1].doc_string = "doc of the inner node"
    inner.output("inside", [2, 3])
    other = Builder()
    other.op("Neg", "x", to="outside")
    other.output("outside", [2, 3])
    b = Builder()
    b.input("x", [2, 3])
    flag = b.input("flag", [], T.BOOL)
    b.op("If", flag, to="h", then_branch=inner.graph("t"), else_branch=other.graph("e"))
    b.op("LeakyRelu", b.op("Add", "h", b.weight(3)), to="z", alpha=0.1)
    b.op("F", "z", to="y", domain="my")
    b.output("y", [2, 3])
    proto = b.proto(my=1, ir_version=10)
    proto.doc_string = "doc of the model"
    proto.graph.doc_string = "doc of the graph"
    proto.graph.input[0].doc_string = "doc of an input"
    proto.graph.initializer[0].doc_string = "doc of a weight"
    proto.graph.node[0].doc_string = "doc of a node"
    proto.graph.node[0].metadata_props.add(key="trace", value="entry of a node")
    proto.graph.input[0].metadata_props.add(key="trace", value="entry of a value")
    proto.graph.metadata_props.add(key="trace", value="entry of a graph")
    proto.metadata_props.add(key="names", value="entry of the model")
    leaky = next(n for n in proto.graph.node if n.op_type == "LeakyRelu")
    leaky.attribute[0].doc_string = "doc of an attribute"
    body = [helper.make_node("Abs", ["a"], ["c"], doc_string="doc of a node of a function")]
    imports = [helper.make_opsetid("", 17)]
    function = helper.make_function("my", "F", ["a"], ["c"], body, imports)
    function.doc_string = "doc of a function"
    function.metadata_props.add(key="trace", value="entry of a function")
    proto.functions.append(function)
    return from_proto(proto)


def left(model: Model, word: str) -> int:
    return int(to_proto(model).SerializeToString().count(word.encode()))


@pytest.mark.parametrize("strip", ["docs", "metadata", "model-metadata"])
def test_one_kind_goes_and_the_others_stay(strip: str) -> None:
    model = build()
    assert left(model, "doc of") == 9
    assert left(model, "entry of") == 5
    ran = run("strip-text", model, strip=(strip,))
    docs, entries = {"docs": (0, 5), "metadata": (9, 1), "model-metadata": (9, 4)}[strip]
    assert left(ran.after, "doc of") == docs
    assert left(ran.after, "entry of") == entries
    assert left(ran.before, "doc of") == 9  # clones share functions
    assert left(ran.before, "entry of") == 5
    assert sum(ran.outcome.counts.values()) == 14 - docs - entries


def test_nothing_goes_unasked() -> None:
    assert not run("strip-text", build()).outcome


def test_canonicalize_hands_the_option_on() -> None:
    plain, stripped = build(), build()
    context(plain).run_one(find("canonicalize")(), plain)
    bare = find("canonicalize").from_options({"strip": ["docs", "metadata"]})
    context(stripped).run_one(bare, stripped)
    assert left(plain, "doc of a node")
    assert not left(stripped, "doc of")
    assert stripped.metadata == plain.metadata == {"names": "entry of the model"}
    assert serialized_bytes(stripped) < serialized_bytes(plain)
