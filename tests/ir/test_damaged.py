"""Damaged parts of a file are named in one sentence, before any memory is taken for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, ModelProto, TensorProto, helper

from ocompress.errors import InvalidModelError
from ocompress.io import load_model
from tests.build import Builder


def conv() -> ModelProto:
    b = Builder()
    x = b.input("x", ["n", 2, 5, 5])
    h = b.op("Conv", x, b.weight(3, 2, 3, 3), pads=[1, 1, 1, 1])
    c = b.op("ConstantOfShape", b.const(np.array([1], np.int64)),
             value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0]))  # fmt: skip
    b.op("Add", h, c, to="y")
    b.output("y")
    return b.proto()


def sparse(proto: ModelProto, dims: list[int], indices: list[int]) -> None:
    values = helper.make_tensor("s", TensorProto.FLOAT, [len(indices)], [1.0] * len(indices))
    where = helper.make_tensor("i", TensorProto.INT64, [len(indices)], indices)
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, where, dims))


def pads(proto: ModelProto) -> AttributeProto:
    found: AttributeProto = proto.graph.node[0].attribute[0]
    return found


def constant(proto: ModelProto) -> TensorProto:
    found: TensorProto = proto.graph.node[1].attribute[0].t
    return found


DAMAGE: dict[str, tuple[Callable[[ModelProto], object], str]] = {
    "twice": (
        lambda p: p.graph.node[0].attribute.append(pads(p)),
        r"node 'conv\d' has attribute 'pads' twice",
    ),
    "type": (
        lambda p: pads(p).CopyFrom(helper.make_attribute("pads", 1)),
        r"attribute 'pads' of node 'conv\d' is INT instead of INTS",
    ),
    "text-for-number": (
        lambda p: pads(p).CopyFrom(helper.make_attribute("pads", "1")),
        r"attribute 'pads' of node 'conv\d' is STRING instead of INTS",
    ),
    "tensor-without-type": (
        lambda p: constant(p).ClearField("data_type"),
        r"attribute 'value' of node 'constantofshape\d' cannot be read",
    ),
    "tensor-of-unknown-type": (
        lambda p: setattr(constant(p), "data_type", 65),
        r"attribute 'value' of node 'constantofshape\d' cannot be read: .* type 65 is unknown",
    ),
    "initializer-of-unknown-type": (
        lambda p: setattr(p.graph.initializer[0], "data_type", 65),
        "initializer 'w1' cannot be read: its element type 65 is unknown to ONNX",
    ),
    "constant-without-output": (
        lambda p: p.graph.node.add(op_type="Constant", name="c"),
        "Constant node 'c' has no output",
    ),
    "constant-without-name": (
        lambda p: p.graph.node.add(op_type="Constant", name="c", output=[""]),
        "Constant node 'c' has no output",
    ),
    "tensor-of-other-shape": (
        lambda p: constant(p).dims.append(13),
        r"attribute 'value' of node 'constantofshape\d' cannot be read",
    ),
    "negative-extent": (
        lambda p: p.graph.initializer[0].dims.__setitem__(0, -1),
        "initializer 'w1' cannot be read: its shape .* negative extent",
    ),
    "huge-sparse": (
        lambda p: sparse(p, [1 << 40, 1 << 20], [3]),
        "sparse tensor 's' of shape .* cannot be held as a dense array",
    ),
    "negative-sparse": (lambda p: sparse(p, [4, -1], [3]), "sparse tensor 's' of shape"),
    "sparse-outside": (lambda p: sparse(p, [4], [2, 9]), "sparse tensor 's' has indices that do"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named(kind: str, tmp_path: Path) -> None:
    damage, words = DAMAGE[kind]
    proto = conv()
    damage(proto)
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(InvalidModelError, match=words) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


def test_the_model_is_good_without_damage(tmp_path: Path) -> None:
    onnx.save(conv(), tmp_path / "m.onnx")
    load_model(tmp_path / "m.onnx")
