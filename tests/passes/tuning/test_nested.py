"""One model with several budgets."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ocompress.errors import OptionError
from ocompress.io import load_model, save_model
from ocompress.ir import Model, Value, edit
from ocompress.pipeline import PassManager, Pipeline, PipelineResult
from ocompress.runtime import Session
from passes.tuning.nested import Nested
from tests.build import Builder, InMemory
from tests.contract.harness import TARGET

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="PyTorch is not installed: pip install ocompress[tune]",
)


def net(*, taken: str = "x") -> Model:
    """Convolutions around a sum, a normalization, and two outputs."""
    b = Builder(4)
    x = b.input(taken, ["n", 2, 8, 8])
    h = b.op("Relu", b.op("Conv", x, b.weight(16, 2, 3, 3), b.weight(16), pads=[1] * 4))
    g = b.op("Conv", h, b.weight(24, 16, 3, 3), b.weight(24), pads=[1] * 4)
    g = b.op("Conv", b.op("Relu", g), b.weight(16, 24, 3, 3), b.weight(16), pads=[1] * 4)
    h = b.op("Relu", b.op("Add", g, h))
    f = b.op("Flatten", b.op("GlobalAveragePool", h))
    b.op("Gemm", f, b.weight(16, 5), b.weight(5), to="y")
    b.op("Tanh", b.op("Gemm", f, b.weight(16, 3), b.weight(3)), to="z")
    b.output("y", ["n", 5])
    b.output("z", ["n", 3])
    return b.model()


X = np.random.default_rng(1).standard_normal((160, 2, 8, 8)).astype(np.float32)


def nested(options: str, model: Model | None = None) -> PipelineResult:
    model = model or net()
    data = InMemory([{model.graph.inputs[0].name: X}])
    manager = PassManager(target=TARGET, data=data)
    return manager.run(Pipeline.parse(f"nested{{{options}}}"), model)


@cache
def untrained() -> PipelineResult:
    return nested("budgets=[0.3,0.6] epochs=0")


def made(model: Model, budget: int | None = None) -> list[np.ndarray]:
    more = {} if budget is None else {"budget": np.array(budget)}
    found = Session(model).run({"x": X, **more})
    shares = np.exp(found["y"] - found["y"].max(axis=1, keepdims=True))
    return [shares / shares.sum(axis=1, keepdims=True), found["z"]]


def apart(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    return sum(float(np.square(a - b).mean()) for a, b in zip(one, other, strict=True))


def test_the_whole_net_is_the_default() -> None:
    model = untrained().model
    for budget in (None, 2):
        assert apart(made(net()), made(model, budget)) < 1e-10
    losses = [apart(made(net()), made(model, budget)) for budget in (0, 1)]
    assert min(losses) > 1e-4
    work = untrained().records[-1].details["macs"]
    assert work[0] < work[1] <= 0.6 * work[2]
    assert work[0] <= 0.3 * work[2]


def test_weights_are_there_once() -> None:
    model, before = untrained().model, net()

    def large(m: Model) -> list[tuple[int, ...]]:
        arrays = [v.data for v in m.graph.initializers.values() if v.data is not None]
        return sorted(a.shape for a in arrays if a.ndim > 1)

    assert large(model) == large(before)
    assert all(not body.initializers for body in model.graph.graphs() if body is not model.graph)
    assert model.weight_bytes < before.weight_bytes + 2600  # vectors, and where weights are


def test_a_budget_is_chosen_at_load(tmp_path: Path) -> None:
    save_model(untrained().model, tmp_path / "n.onnx")
    model = load_model(tmp_path / "n.onnx")
    wanted = made(model, 0)
    edit.set_weight(model.graph.initializers["budget"], np.array(0))
    assert apart(made(model), wanted) == 0


def test_a_name_that_is_taken_is_left() -> None:
    result = nested("epochs=0", net(taken="budget"))
    assert result.records[-1].details["input"] == "budget_1"
    found = Session(result.model).run({"budget": X, "budget_1": np.array(0)})
    assert found["y"].shape == (160, 5)


@needs_torch
def test_all_budgets_are_trained_together() -> None:
    before = untrained().model
    result = nested("budgets=[0.3,0.6] epochs=20 lr=0.02")
    for budget in (0, 1):
        losses = [apart(made(net()), made(m, budget)) for m in (before, result.model)]
        assert losses[1] < 0.1 * losses[0]
    assert apart(made(net()), made(result.model)) < 0.01
    held = result.records[-1].details["held_out"]
    assert held["after"] < 0.1 * held["before"]


@pytest.mark.parametrize(
    ("options", "model", "code"),
    [("epochs=0 exclude=*", net(), "no-budget")],
)
def test_what_cannot_be_nested_is_named(options: str, model: Model, code: str) -> None:
    result = nested(options, model)
    assert code in [r.code for r in result.diagnostics.of("nested")]
    assert not any(n.op_type == "If" for n in result.model.graph.nodes)


def test_outputs_that_all_nets_have_in_common_stay_as_they_are() -> None:
    model = net()
    constant = Value("c", data=np.arange(3, dtype=np.float32))
    model.graph.initializers["c"] = constant
    model.graph.set_outputs([model.graph.outputs[0], constant, model.graph.outputs[1]])
    result = nested("epochs=0", model)
    assert [v.name for v in result.model.graph.outputs] == ["y", "c", "z"]
    for budget in (0, 1):
        found = Session(result.model).run({"x": X, "budget": np.array(budget)})
        assert list(found["c"]) == [0, 1, 2]
        assert (found["y"].shape, found["z"].shape) == ((160, 5), (160, 3))


def test_a_budget_that_is_not_reached_is_told() -> None:
    result = nested("budgets=[0.5,0.5,0.001] epochs=0")
    told = [r.message for r in result.diagnostics.of("nested") if r.code == "goal-missed"]
    assert [text.partition(":")[0] for text in told] == ["budgets=0.001 was not reached"]
    goals = result.records[-1].details["goals"]
    assert [(row["asked"], row["missed"]) for row in goals] == [(0.5, False), (0.001, True)]
    assert not any(row["missed"] for row in untrained().records[-1].details["goals"])


@pytest.mark.parametrize("budgets", [(), (0.0,), (1.0,), (0.5, 2.0)])
def test_budgets_are_shares(budgets: tuple[float, ...]) -> None:
    with pytest.raises(OptionError, match="shares above 0 and below 1"):
        Nested(budgets=budgets)


def test_the_other_nets_go_where_the_default_is_final() -> None:
    model = untrained().model.clone()
    wanted = made(model, 0)
    edit.set_weight(model.graph.initializers["budget"], np.array(0))
    done = (
        PassManager(target=TARGET)
        .run(Pipeline.parse("canonicalize{freeze_inputs=true}"), model)
        .model
    )
    assert not any(n.op_type == "If" for n in done.graph.nodes)
    assert done.weight_bytes < 0.6 * net().weight_bytes
    assert apart(made(done), wanted) < 1e-9
