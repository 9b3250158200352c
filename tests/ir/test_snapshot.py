"""Snapshots: a model restored goes on as the model itself."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from ocompress.ir import DType, Model, Snapshot, packed, to_proto
from passes.storage.holding import put_on_grid
from tests.build import Builder
from tests.graphs import ZOO


def _stored_small() -> Model:
    b = Builder(seed=1)
    x = b.input("x", ["n", 8])
    levels = b.rng.integers(-9, 9, (8, 6)).astype(np.int8)
    h = b.op("MatMul", x, b.const(np.zeros((8, 6), np.float32)))
    half = b.rng.standard_normal((6, 4)).astype(np.float16).astype(np.float32)
    b.output(b.op("MatMul", h, b.const(half), to="y"), ["n", 4])
    model = b.model()
    first, second = (node.inputs[1] for _, node in model.nodes())
    assert first is not None
    assert second is not None
    put_on_grid(first, levels, np.full((1, 6), 0.5, np.float32))
    assert packed.cast(second, DType.FLOAT16, model.graph)
    return model


@pytest.mark.parametrize("name", sorted(ZOO))
def test_files_are_the_same(name: str) -> None:
    model = ZOO[name]()
    assert to_proto(Snapshot.of(model).restored()) == to_proto(model)


def test_small_forms_and_names_stay() -> None:
    model = _stored_small()
    model.graph.names.release(model.graph.names.fresh("odd"))
    again = pickle.loads(pickle.dumps(model))
    assert len(list(again.nodes())) == len(list(model.nodes())) == 2
    assert again.weight_bytes == model.weight_bytes
    assert to_proto(again) == to_proto(model)
    assert len(to_proto(again).graph.node) > 2
    assert again.graph.names.fresh("x") == model.graph.names.fresh("x")
    for one, other in zip(again.weights(), model.weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_numbers_of_the_grid_are_held_the_same_way() -> None:
    model = copy.deepcopy(_stored_small())
    value = next(v for v in model.graph.initializers.values() if v.packed and v.packed.again)
    assert value.packed is not None
    assert value.packed.again is not None
    assert value.constant is not None
    assert value.packed.again(value.constant * 2) is not None
    assert value.packed.again(np.exp(value.constant)) is None


def test_what_a_constant_and_a_small_form_share_is_one() -> None:
    model = _stored_small()
    value = next(v for v in model.graph.initializers.values() if v.packed and v.packed.again)
    assert value.packed is not None
    scale = next(v.data for v in value.packed.leaves if v.data is not None and v.data.size == 6)
    extra = model.graph.constant("extra", scale)
    extra.data = scale
    again = Snapshot.of(model).restored()
    assert to_proto(again) == to_proto(model)
