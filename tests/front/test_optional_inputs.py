"""Inputs that may be left out, given and left out: defaults of the file, and optional types."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

import ocompress
from ocompress import front
from ocompress.analysis.segment_runner import Walk
from ocompress.errors import DataError
from ocompress.front.survey import survey
from ocompress.io import as_dataset
from ocompress.ir import Model, from_proto
from ocompress.runtime import Session
from tests.build import Builder

X = np.random.default_rng(0).standard_normal((24, 16)).astype(np.float32)
DEFAULT, GIVEN = np.full(32, 1.5, np.float32), np.full(32, 0.25, np.float32)


def hidden(b: Builder) -> str:
    return b.op("MatMul", b.input("x", ["n", 16]), b.weight(16, 32), to="first")


def with_default() -> Model:
    """Return a net whose hidden values are multiplied by `extra`, which has a default."""
    b = Builder()
    h = hidden(b)
    b.input("extra", [32])
    b.const(DEFAULT, "extra")
    h = b.op("Relu", b.op("Mul", h, "extra"), to="scaled")
    b.output(b.op("MatMul", h, b.weight(32, 12), to="y"), ["n", 12])
    return b.model()


def with_optional_type() -> Model:
    """Return a net whose hidden values get `extra` added if it is there."""
    b = Builder()
    h = hidden(b)
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(T.FLOAT, [32]))
    b.inputs.append(helper.make_value_info("extra", kind))
    there, without = Builder(), Builder()
    there.op("Add", h, there.op("OptionalGetElement", "extra", to="element"), to="more")
    there.output("more")
    without.op("Identity", h, to="same")
    without.output("same")
    has = b.op("OptionalHasElement", "extra")
    branches = {"then_branch": there.graph(), "else_branch": without.graph()}
    h = b.op("Relu", b.op("If", has, **branches), to="scaled")
    b.output(b.op("MatMul", h, b.weight(32, 12), to="y"), ["n", 12])
    made = b.proto(opset=18)
    onnx.checker.check_model(made)
    return from_proto(made)


def feeds(*given: bool) -> list[dict[str, np.ndarray]]:
    rows = np.array_split(X, len(given))
    return [
        {"x": x, "extra": GIVEN} if there else {"x": x}
        for x, there in zip(rows, given, strict=True)
    ]


MODELS = pytest.mark.parametrize("make", [with_default, with_optional_type])
DATA = pytest.mark.parametrize(
    "data",
    [{"x": X}, {"x": X, "extra": GIVEN}, feeds(True, False, True), feeds(False, True, True)],
    ids=["left-out", "given", "given-first", "left-out-first"],
)
Make = Callable[[], Model]


@MODELS
@DATA
def test_models_are_compared_with_and_without_them(make: Make, data: object) -> None:
    model = make()
    assert front.validate(model, model, data).passed  # type: ignore[arg-type]


@MODELS
def test_they_are_timed_and_surveyed(make: Make) -> None:
    data = feeds(True, False)
    assert [i.name for i in front.profile(make(), data=data, seconds=0.01).inputs] == ["x", "extra"]
    assert not [p.problem for p in survey(make(), data=data).prospects if p.problem]


@MODELS
@DATA
@pytest.mark.parametrize(
    "passes",
    [
        "quant{costs=table,keep_slower=true}",
        "factorize{rank=4}",
        "prune{sparsity=0.5,protect_ends=false}",
    ],
)
def test_passes_take_them(make: Make, data: object, passes: str) -> None:
    made = ocompress.optimize(make(), passes=passes, data=data, measure=False)  # type: ignore[arg-type]
    assert made.pipeline.records[-1].counts
    names = {v.name for v in made.pipeline.model.graph.inputs}
    assert names == {"x", "extra"}


@MODELS
@pytest.mark.parametrize("given", [(True, False), (False, True), (False, False), (True, True)])
def test_a_walk_feeds_what_each_feed_gives(make: Make, given: tuple[bool, ...]) -> None:
    model = make()
    data = as_dataset(feeds(*given), model)
    scaled = next(v for n in model.graph.nodes for v in n.outputs if v and v.name == "scaled")
    assert scaled.producer is not None
    walk = Walk(model, data)
    walk.past(next(n for n in model.graph.nodes if n.label == "first"))
    session = Session(model, extra_outputs=[scaled])
    for feed, seen in zip(data, walk.peek([scaled]), strict=True):
        wanted = session.run(feed, ["scaled"])["scaled"]
        np.testing.assert_allclose(seen["scaled"], wanted, rtol=1e-5, atol=1e-6)


def test_none_is_left_out() -> None:
    model = with_optional_type()
    (feed,) = as_dataset([{"x": X, "extra": None}], model)
    assert list(feed) == ["x"]
    with pytest.raises(DataError, match="'x'"):
        list(as_dataset([{"x": None}], model))
