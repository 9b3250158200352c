"""Weights stored in fewer bits stay so through lossy passes."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.ir import DType, Model, edit, from_proto, to_proto
from ocompress.ir.serialized_size import serialized_bytes
from ocompress.pipeline import Allowance, Limit, PassManager, Pipeline, Status, Verdict
from ocompress.pipeline.storage import as_kept, keep_narrow, stored_as
from ocompress.runtime import Session
from ocompress.targets import Arch, Target
from tests.build import Builder, InMemory, feeds
from tests.pipeline.passes import Scale

TARGET = Target(name="test", arch=Arch.ANY)


def build(half: Any = np.float16, *, scale: float = 0.2) -> Model:
    b = Builder()
    h = b.input("x", ["n", 32])
    for name, shape in (("one", (32, 64)), ("two", (64, 48)), ("three", (48, 16))):
        weight = (b.rng.standard_normal(shape) * scale).astype(half)
        b.ops("Cast", [b.const(weight, f"{name}_half")], [name], to=T.FLOAT)
        h = b.op("Relu", b.op("MatMul", h, name))
    b.op("Identity", h, to="y")
    b.output("y", ["n", 16])
    return b.model()


def run(model: Model, passes: str) -> Any:
    data = InMemory([feeds(model, seed, batch=64) for seed in range(2)])
    return PassManager(target=TARGET, data=data).run(Pipeline.parse(passes), model)


def written(model: Model) -> Model:
    return from_proto(to_proto(model))


@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize(
    "passes",
    ["prune{sparsity=0.5,protect_ends=false}", "factorize{rank=8}", "prune-channels{ratio=0.6}"],
)
def test_lossy_passes_see_the_weights_and_keep_their_type(passes: str, half: Any) -> None:
    model = build(half)
    result = run(model, passes)
    assert result.records[-1].status is Status.APPLIED, result.diagnostics.remarks
    assert serialized_bytes(result.model) < serialized_bytes(model) + 1500
    constants = written(result.model).graph.initializers.values()
    kinds = {v.dtype for v in constants if v.data is not None and v.data.size >= 200}
    assert kinds == {DType[np.dtype(half).name.upper()]}


@pytest.mark.parametrize("passes", ["quant{keep_slower=true}", "quant-weights{keep_slower=true}"])
def test_integers_replace_them(passes: str) -> None:
    model = build()
    result = run(model, passes)
    assert serialized_bytes(result.model) < 0.8 * serialized_bytes(model)
    kinds = {v.dtype for v in written(result.model).graph.initializers.values()}
    assert DType.INT8 in kinds
    assert DType.FLOAT16 not in kinds


def test_the_form_they_have_is_not_stored_anew() -> None:
    result = run(build(), "quant-weights{form=fp16}")
    assert result.records[-1].status is Status.UNCHANGED
    assert result.diagnostics.declined("quant-weights") == {"already-quantized": 3}


def test_canonicalize_alone_makes_nothing_larger() -> None:
    model = build()
    result = run(model, "canonicalize")
    assert [n.op_type for n in result.model.graph.nodes] == ["MatMul", "Relu"] * 3
    assert serialized_bytes(result.model) < serialized_bytes(model) + 300


def test_float32_models_stay_float32() -> None:
    b = Builder()
    b.op("MatMul", b.input("x", ["n", 32]), b.weight(32, 32), to="y")
    b.output("y", ["n", 32])
    model = b.model()
    after = model.clone()
    value = next(iter(after.graph.initializers.values()))
    edit.set_weight(value, np.full((32, 32), 0.1, np.float32))
    assert stored_as(model) is None
    assert keep_narrow(model, after) == 0
    assert value.packed is None


def test_what_16_bits_cannot_hold_stays_float32() -> None:
    before = run(build(), "canonicalize").model
    after = before.clone()
    one, two, _ = after.graph.initializers.values()
    edit.set_weight(one, np.full((32, 64), 1e6, np.float32))
    edit.set_weight(two, np.full((64, 48), 0.1, np.float32))
    assert keep_narrow(before, after) == 1
    assert one.packed is None
    assert two.packed is not None
    assert two.data is not None
    assert two.data[0, 0] == np.float16(0.1)


def test_a_single_weight_in_16_bits_stays_so_among_others() -> None:
    b = Builder()
    table = (b.rng.standard_normal((60, 16)) * 0.2).astype(np.float16)
    b.ops("Cast", [b.const(table, "half")], ["table"], to=T.FLOAT)
    h = b.op("Gather", "table", b.input("ids", ["n", 3], T.INT64))
    h = b.op("Relu", b.op("MatMul", h, b.const(np.ones((16, 128), np.float32), "wide")))
    b.output(b.op("MatMul", h, b.weight(128, 8)), ["n", 3, 8])
    before = run(b.model(), "canonicalize").model
    assert stored_as(before) is None
    cut = before.clone()
    weights = cut.graph.initializers
    edit.set_weight(weights["table"], table[:, ::2].astype(np.float32))
    edit.set_weight(weights["wide"], np.full((8, 128), 0.1, np.float32))
    for after in (as_kept(before, cut), cut):
        if after is cut:
            assert keep_narrow(before, cut) == 1
        held = written(after).graph.initializers
        kinds = [
            (v.dtype, v.shape) for v in held.values() if v.data is not None and v.data.size > 400
        ]
        assert (DType.FLOAT16, (60, 8)) in kinds
        assert (DType.FLOAT, (8, 128)) in kinds


def test_a_pass_is_told_of_the_weights_as_they_will_be_held() -> None:
    seen: list[Model] = []

    class Watching:
        kind, limit = Limit.DROP, 0.0

        def judge(self, candidate: Model, best: Model) -> Verdict:
            seen.append(candidate)
            return Verdict(True, self.kind, "")

    before = run(build(), "canonicalize").model
    after = before.clone()
    edit.set_weight(after.graph.initializers["two"], np.full((64, 48), 0.1, np.float32))
    Allowance([Watching()]).judged(Limit.DROP, after, before)
    (judged,) = (m.graph.initializers["two"].data for m in seen)
    assert judged is not None
    assert judged[0, 0] == np.float16(0.1)
    mine = after.graph.initializers["two"].data
    assert mine is not None
    assert mine[0, 0] == np.float32(0.1)


def test_what_is_held_in_integers_still_is_with_other_steps() -> None:
    b = Builder()
    h = b.op("Relu", b.op("MatMul", b.input("x", ["n", 64]), b.weight(64, 64)))
    b.op("MatMul", h, b.weight(64, 64), to="y")
    b.output("y")
    model = b.model()
    manager = PassManager(target=TARGET)
    once = manager.run(Pipeline.parse("quant-weights{kernel=fold}"), model).model
    (fold,) = (p for p in Pipeline.parse("quant-weights{kernel=fold}").passes if p.goals)
    twice = manager.run(Pipeline.of([fold, Scale(by=2.0)]), model).model
    assert twice.weight_bytes == once.weight_bytes < 0.3 * model.weight_bytes
    x = feeds(model)
    ratio = Session(written(twice)).run(x)["y"] / Session(written(once)).run(x)["y"]
    assert np.allclose(ratio, 4, rtol=1e-4)
