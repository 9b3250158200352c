"""Weights that a pass puts on a grid: their numbers, and what files have of them."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.io.loaded import as_loaded
from ocompress.ir import DType, Model, edit, from_proto, packed, to_proto
from ocompress.pipeline.storage import keep_form, keep_narrow
from ocompress.runtime import Session
from passes.quantization.storing import to_int8
from passes.storage import forms
from passes.storage.holding import put_on_grid
from passes.storage.kinds import Scaled
from passes.storage.pack_weights import PackWeights
from tests.build import Array, Builder, feeds
from tests.contract.harness import context

SHAPES = {
    "rows": ((40, 24), (0,)),
    "columns": ((40, 24), (1,)),
    "kernels": ((16, 8, 3, 3), (0,)),
    "turned kernels": ((8, 16, 3, 3), (1,)),
    "recurrent": ((2, 24, 16), (0, 1)),
    "stacked": ((3, 24, 16), (0, 2)),
    "one scale": ((40, 24), ()),
}
BY_SHAPE = pytest.mark.parametrize(("shape", "axes"), SHAPES.values(), ids=SHAPES)


def normal(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def net(weight: Array) -> Model:
    """Add a weight to something, so that it may have any shape."""
    b = Builder()
    b.op("Add", b.input("x", list(weight.shape)), b.const(weight, "w"), to="y")
    b.output("y", list(weight.shape))
    return b.model(opset=7)


def held(shape: tuple[int, ...], axes: tuple[int, ...]) -> Model:
    model = net(normal(shape))
    value = model.graph.initializers["w"]
    put_on_grid(value, *to_int8(normal(shape), axes))
    return model


@BY_SHAPE
def test_files_hold_the_integers_and_runtimes_multiply_them(
    shape: tuple[int, ...], axes: tuple[int, ...]
) -> None:
    model = held(shape, axes)
    again = from_proto(to_proto(model))
    assert [n.op_type for n in again.graph.nodes] == ["Cast", "Mul", "Add"]
    assert {v.dtype for v in again.graph.initializers.values()} == {DType.INT8, DType.FLOAT}
    value = model.graph.initializers["w"]
    assert value.constant is not None
    assert as_loaded(model).constants["w"].tobytes() == value.constant.tobytes()
    x = feeds(model)
    plain = Session(net(value.constant)).run(x)["y"]
    assert Session(again).run(x)["y"].tobytes() == plain.tobytes()


@BY_SHAPE
def test_new_numbers_on_such_a_grid_are_held_alike(
    shape: tuple[int, ...], axes: tuple[int, ...]
) -> None:
    before = held(shape, axes)
    after = before.clone()
    integers, scales = to_int8(normal(shape, seed=1), axes)
    edit.set_weight(after.graph.initializers["w"], integers * (scales * np.float32(1.7)))
    assert after.weight_bytes > 2 * before.weight_bytes
    keep_form(before, after)
    assert after.weight_bytes == before.weight_bytes
    value = after.graph.initializers["w"]
    assert value.constant is not None
    assert as_loaded(after).constants["w"].tobytes() == value.constant.tobytes()


def test_numbers_off_the_grid_are_held_as_they_are() -> None:
    before = held((40, 24), (1,))
    after = before.clone()
    edit.set_weight(after.graph.initializers["w"], normal((40, 24), seed=3))
    keep_form(before, after)
    assert after.graph.initializers["w"].packed is None


def test_integers_do_not_say_in_what_type_the_other_weights_are() -> None:
    b = Builder()
    h = b.input("x", ["n", 64])
    for name in ("one", "two"):
        h = b.op("MatMul", h, b.const(normal((64, 64)), name))
    b.output(h)
    before = b.model()
    one, two = before.graph.initializers.values()
    edit.set_weight(one, normal((64, 64)).astype(np.float16).astype(np.float32))
    assert packed.cast(one, DType.FLOAT16, before.graph)
    put_on_grid(two, *to_int8(normal((64, 64)), (1,)))
    after = before.clone()
    edit.set_weight(after.graph.initializers["one"], normal((64, 64), seed=4))
    assert keep_narrow(before, after) == 1


@BY_SHAPE
def test_the_grid_is_found_by_looking(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    integers, scales = to_int8(normal(shape), axes or (0,))
    assert isinstance(forms.smallest(integers * scales), Scaled)


def test_what_is_held_takes_a_smaller_form_where_there_is_one() -> None:
    weight = normal((64, 64)) * (np.random.default_rng(2).random((64, 64)) < 0.1)
    b = Builder()
    b.op("MatMul", b.input("x", ["n", 64]), b.const(weight, "w"), to="y")
    b.output("y")
    model = b.model()
    value = model.graph.initializers["w"]
    put_on_grid(value, *to_int8(weight, (1,)))
    before = value.file_bytes
    assert context(model).run_one(PackWeights(), model)
    assert value.file_bytes < 0.5 * before
    assert not context(model).run_one(PackWeights(), model)


def test_what_the_runtime_does_not_restore_is_held_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weight = normal((64, 64)) * (np.random.default_rng(2).random((64, 64)) < 0.1)
    model = net(weight)
    model.opsets[""] = 13
    value = model.graph.initializers["w"]
    put_on_grid(value, *to_int8(weight, (1,)))
    held_before = value.packed
    monkeypatch.setattr("passes.storage.pack_weights._not_restored", lambda *given: given[2])
    ctx = context(model)
    assert not ctx.run_one(PackWeights(), model)
    assert value.packed is held_before
    assert [r.code for r in ctx.diagnostics.of("pack-weights")] == ["not-restored"]
