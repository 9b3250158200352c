"""Constants that a file computes of something smaller."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ocompress.io import load_model, save_model
from ocompress.ir import DType, Graph, Model, edit, from_proto, packed, serialized_size, to_proto
from ocompress.pipeline import PassManager, Pipeline
from ocompress.runtime import Session
from tests.build import Builder, feeds
from tests.contract.harness import TARGET


def build(half: type = np.float16, size: int = 200) -> Model:
    """Return a product by a weight that is exact in 16 bits, and packed."""
    b = Builder()
    exact = b.rng.standard_normal((size, 100)).astype(half).astype(np.float32)
    b.op("Gemm", b.input("x", ["n", size]), b.const(exact, "w"), b.weight(100), to="y")
    b.output("y", ["n", 100])
    model = b.model()
    assert packed.cast(model.graph.initializers["w"], DType.FLOAT16, model.graph)
    return model


def test_the_file_is_smaller_and_computes_the_same(tmp_path: Path) -> None:
    model = build()
    save_model(model, tmp_path / "m.onnx")
    size = (tmp_path / "m.onnx").stat().st_size
    assert size < 200 * 100 * 2 + 1500
    assert serialized_size.serialized_bytes(model) == size
    again = load_model(tmp_path / "m.onnx")
    assert [n.op_type for n in again.graph.nodes] == ["Cast", "Gemm"]
    for one in (again, model.clone()):
        got = Session(one).run(feeds(model))["y"]
        assert np.array_equal(got, Session(model).run(feeds(model))["y"])


def test_sizes_of_large_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(size=800)
    save_model(model, tmp_path / "m.onnx", external=True)
    size = sum(f.stat().st_size for f in tmp_path.iterdir())
    monkeypatch.setattr(serialized_size, "_COPY_BELOW", 0)
    assert abs(serialized_size.serialized_bytes(model) - size) < 5000  # external data are aligned
    assert [n.op_type for n in load_model(tmp_path / "m.onnx").graph.nodes] == ["Cast", "Gemm"]


def test_streamed_weights(tmp_path: Path) -> None:
    model = build(size=2000)  # large enough to be written from the array
    save_model(model, tmp_path / "m.onnx")
    again = load_model(tmp_path / "m.onnx")
    halves = next(v for v in again.graph.initializers.values() if v.dtype is DType.FLOAT16)
    wanted = model.graph.initializers["w"].data
    assert halves.data is not None
    assert wanted is not None
    assert np.array_equal(halves.data.astype(np.float32), wanted)


def test_a_new_array_is_written_as_it_is() -> None:
    model = build()
    edit.set_weight(model.graph.initializers["w"], np.full((200, 100), 0.1, np.float32))
    assert [n.op_type for n in to_proto(model).graph.node] == ["Gemm"]
    assert model.weight_bytes >= 200 * 100 * 4


def test_clones_write_the_same() -> None:
    model = build()
    assert to_proto(model.clone()) == to_proto(model)
    assert model.clone().weight_bytes == model.weight_bytes < 200 * 100 * 2 + 500
    assert model.loaded_bytes >= 200 * 100 * 4


def test_what_is_not_exact_is_not_packed() -> None:
    model = Model(Graph("g"), {"": 17})
    value = model.graph.constant("w", np.full((4, 4), 0.1, np.float32))
    assert not packed.cast(value, DType.FLOAT16, model.graph)
    assert value.packed is None


def test_names_that_others_took_meanwhile() -> None:
    model = build()
    spare = model.graph.initializers["w"].packed
    assert spare is not None
    leaf = spare.leaves[0].name
    model.graph.names.release(leaf)
    model.graph.constant(leaf, np.zeros(3, np.float32))
    again = from_proto(to_proto(model))
    assert np.array_equal(
        Session(again).run(feeds(model))["y"], Session(model).run(feeds(model))["y"]
    )


def test_a_leaf_is_written_once() -> None:
    b = Builder()
    halves = b.rng.standard_normal((50, 50)).astype(np.float16)
    for name in "ab":
        b.const(halves.astype(np.float32), name)
    b.op("MatMul", b.op("MatMul", b.input("x", ["n", 50]), "a"), "b", to="y")
    b.output("y", ["n", 50])
    model = b.model()
    graph = model.graph
    assert packed.cast(graph.initializers["a"], DType.FLOAT16, graph)
    shared = graph.initializers["a"].packed
    assert shared is not None
    graph.initializers["b"].set_packed(shared)
    proto = to_proto(model)
    assert len(proto.graph.initializer) == 1
    assert [n.op_type for n in proto.graph.node] == ["Cast", "Cast", "MatMul", "MatMul"]
    assert Session(from_proto(proto)).run(feeds(model))["y"].shape == (3, 50)


def test_forms_of_several_constants_become_one() -> None:
    """Recipes count their names from zero, so those of two constants are the same."""
    b = Builder()
    for name in "ab":
        b.const(np.zeros((30, 20), np.float32), name)
    both = b.op("Concat", "a", "b", axis=0)
    b.op("MatMul", b.input("x", ["n", 60]), both, to="y")
    b.output("y", ["n", 20])
    model = b.model()
    wanted = []
    for name, seed in (("a", 1), ("b", 2)):
        integers = np.random.default_rng(seed).integers(-9, 9, (30, 20)).astype(np.int8)
        wanted.append(integers.astype(np.float32) / 4)
        recipe = packed.Recipe()
        whole = recipe.op("Cast", recipe.leaf(integers), to=int(DType.FLOAT))
        recipe.op("Mul", whole, recipe.leaf(np.array(0.25, np.float32)))
        value = model.graph.initializers[name]
        edit.set_weight(value, wanted[-1])
        value.set_packed(recipe.packed())
    made = next(n.output for n in model.graph.nodes if n.is_op("Concat"))
    nodes = packed.recipe(made)
    assert nodes is not None
    packed.pack(made, np.concatenate(wanted), nodes, model.graph)
    x = feeds(model)
    again = Session(from_proto(to_proto(model))).run(x)["y"]
    assert np.allclose(again, x["x"] @ np.concatenate(wanted), atol=1e-4)


def test_nodes_that_several_computed_constants_are_made_with_are_written_once() -> None:
    b = Builder()
    x = b.input("x", ["n", 256])
    steps = b.const(np.arange(64, dtype=np.float32)[:, None])
    many = b.op("Expand", steps, b.const(np.array([64, 64], np.int64)))
    angle = b.op("Mul", many, b.op("Transpose", many, perm=[1, 0]))
    for kind in ("Sin", "Cos", "Abs"):
        table = b.op("Reshape", b.op(kind, angle), b.const(np.array([256, 16], np.int64)))
        b.op("MatMul", x, table, to=kind)
        b.output(kind, ["n", 16])
    model = b.model()
    before = to_proto(model)
    done = PassManager(target=TARGET).run(Pipeline.parse("canonicalize"), model).model
    assert sum(v.packed is not None for v in done.graph.initializers.values()) == 3
    written = to_proto(done)
    kinds = [node.op_type for node in written.graph.node]
    assert [kinds.count(k) for k in ("Expand", "Mul", "Transpose")] == [1, 1, 1]
    assert len(written.graph.initializer) <= len(before.graph.initializer)
