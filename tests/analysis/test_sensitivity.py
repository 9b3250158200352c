"""One layer at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ocompress.analysis import sensitivity as module
from ocompress.analysis.one_layer import dequantized
from ocompress.analysis.output_errors import divergences
from ocompress.analysis.sensitivity import sensitivity
from ocompress.analysis.staged import Staged
from ocompress.analysis.store import MeasurementStore
from ocompress.ir import Model, Node, Value, edit
from ocompress.runtime import Session
from tests.build import Builder, InMemory


def line() -> Model:
    b = Builder(1)
    x = b.input("x", ["n", 4])
    h = b.op("Mul", x, b.const(np.float32(1)), to="h")
    b.op("MatMul", h, b.const(np.eye(4, dtype=np.float32)), to="y")
    b.output("y", ["n", 4])
    return b.model()


def scale(name: str, factor: float) -> module.Edit:
    def change(model: Model) -> bool:
        node = next((n for _, n in model.nodes() if n.label == name), None)
        if node is None:
            return False
        weight = edit.own_weight(node, 1)
        edit.set_weight(weight, weight.data * np.float32(factor))  # type: ignore[operator]
        return True

    return change


DATA = InMemory(
    [{"x": np.array([[1, 2, 3, 4]], np.float32)}, {"x": np.array([[0, 1, 0, -2]], np.float32)}]
)


def test_the_loss_is_that_of_the_change() -> None:
    calls = []
    model = line()
    found = sensitivity(
        model,
        {"h": scale("h", 1.1), "y": scale("y", 1.0), "gone": scale("gone", 1.0)},
        DATA,
        lambda done, total: calls.append((done, total)),
    )
    assert list(found) == ["h", "y"]
    assert found["h"].sqnr_db == pytest.approx(20, abs=1e-4)
    assert found["y"].sqnr_db == math.inf
    assert found["y"].kl == 0
    assert (found["h"].kl or 0) > 1e-4
    assert calls == [(3, 3)]


def test_infinities_of_the_original_are_no_signal() -> None:
    data = InMemory([{"x": np.array([[1, 2, -np.inf, 4]], np.float32)}])
    b = Builder(1)
    h = b.op("Mul", b.input("x", ["n", 4]), b.const(np.float32(1)), to="h")
    b.op("Mul", h, b.const(np.float32(1)), to="y")
    b.output("y", ["n", 4])
    model = b.model()
    found = sensitivity(model, {"h": scale("h", 1.1), "sign": scale("y", -1)}, data)
    assert found["h"].sqnr_db == pytest.approx(20, abs=1e-4)
    assert found["sign"].sqnr_db == -math.inf


def test_outputs_too_large_to_keep_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    variants = {"h": scale("h", 1.1)}
    kept = sensitivity(line(), variants, DATA)
    monkeypatch.setattr(module, "_MOST_KEPT", 1)
    assert sensitivity(line(), variants, DATA) == kept


def test_only_so_many_samples_are_used() -> None:
    one = sensitivity(line(), {"h": scale("h", 1.5)}, DATA.take(1))
    assert sensitivity(line(), {"h": scale("h", 1.5)}, DATA, samples=1) == one


@pytest.mark.parametrize(("end", "counts"), [("Tanh", False), ("Softmax", True)])
def test_what_is_no_scores_of_classes_has_no_divergence(end: str, counts: bool) -> None:
    b = Builder(1)
    h = b.op("Mul", b.input("x", ["n", 4]), b.const(np.float32(1)), to="h")
    h = b.op("MatMul", h, b.weight(4, 20))
    attrs: dict[str, Any] = {"axis": 1} if counts else {}
    b.op(
        end,
        b.op("Reshape", h, b.const(np.array([-1, 4, 5]))),
        to="y",
        **attrs,
    )
    b.output("y", ["n", 4, 5])
    found = sensitivity(b.model(), {"h": scale("h", 1.5)}, DATA)["h"]
    assert (found.kl is not None) is counts
    if counts:  # along the axis of the classes, which is not the last
        p, q = (softmax(DATA, f, b.model()) for f in (1, 1.5))
        assert found.kl == pytest.approx(float((p * np.log(p / q)).sum(axis=1).mean()), rel=1e-4)


def softmax(data: InMemory, factor: float, model: Model) -> np.ndarray:
    assert scale("h", factor)(model)
    session = Session(model)
    return np.concatenate([session.run(feed)["y"] for feed in data]).astype(np.float64)


def test_divergence_of_scores_and_of_probabilities() -> None:
    p, q = np.array([[0.5, 0.5]]), np.array([[0.25, 0.75]])
    wanted = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert divergences(p, q)[0] == pytest.approx(wanted)
    assert divergences(np.log(p) + 7, np.log(q) - 3)[0] == pytest.approx(wanted)
    assert divergences(p, p)[0] == 0


@pytest.mark.parametrize(
    ("scales", "zeros", "attrs", "wanted"),
    [
        (np.float32(0.5), None, {}, [[0.5, 1.0], [1.5, 2.0]]),
        (np.array([1, 2], np.float32), np.array([0, 1], np.int8), {"axis": 0}, [[1, 2], [4, 6]]),
        (np.array([1, 2], np.float32), None, {}, [[1, 4], [3, 8]]),
        (np.array([[1, 2]], np.float32), None, {"axis": 0, "block_size": 2}, [[1, 4], [3, 8]]),
    ],
)
def test_constants_are_restored_as_the_operator_does(
    scales: np.ndarray, zeros: np.ndarray | None, attrs: dict[str, int], wanted: list[list[float]]
) -> None:
    values = [
        Value("c", data=np.array([[1, 2], [3, 4]], np.int8)),
        Value("s", data=np.asarray(scales)),
    ]
    if zeros is not None:
        values.append(Value("z", data=zeros))
    node = Node("DequantizeLinear", values, [Value("y")], attrs=attrs)
    assert np.array_equal(dequantized(node), np.float32(wanted))  # type: ignore[arg-type]


def test_variants_measured_together_are_as_those_measured_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = line()
    variants = {f"{name}{at}": scale(name, 1 + 0.1 * at) for at in range(9) for name in "hy"}
    made: list[Model] = []

    def counted(variant: Model, **kwargs: Any) -> Staged:
        made.append(variant)
        return Staged(variant, **kwargs)

    monkeypatch.setattr(module, "Staged", counted)
    together = sensitivity(model, variants, DATA)
    assert len(made) == 1 + 2  # the original, sixteen variants and two
    monkeypatch.setattr(module, "_TOGETHER", 1)
    alone = sensitivity(model, variants, DATA)
    assert len(made) == 3 + 1 + len(variants)
    assert together.keys() == alone.keys()
    for name, found in together.items():
        assert found.sqnr_db == pytest.approx(alone[name].sqnr_db, abs=1e-3)
        assert found.cost == pytest.approx(alone[name].cost, rel=1e-4)


@pytest.mark.parametrize(("nodes", "sessions"), [(100, 2), (4, 3), (1, 4)])
def test_large_models_are_loaded_with_fewer_others(
    monkeypatch: pytest.MonkeyPatch, nodes: int, sessions: int
) -> None:
    made: list[int] = []
    original = module._session

    def spy(model: Model, *most: int | None) -> Staged:
        made.append(len(model.graph.nodes))
        return original(model, *most)

    monkeypatch.setattr(module, "_session", spy)
    monkeypatch.setattr(module, "MOST_NODES", nodes)
    variants = {f"v{i}": scale("h", 1 + i / 10) for i in range(3)}
    found = sensitivity(line(), variants, DATA)
    assert len(made) == sessions
    assert [s.sqnr_db for s in found.values()] == pytest.approx([math.inf, 20, 13.979], abs=1e-3)


def test_the_larger_a_model_the_fewer_variants_are_affordable() -> None:
    model = line()
    few = module.affordable(model)
    assert few == module._MOST_NODES / 2
    for i in range(198):
        model.graph.add_op("Relu", [model.graph.inputs[0]], name=f"more{i}")
    assert module.affordable(model) == module._MOST_NODES / 200
    assert module.affordable(model, sharing=True) == module._MOST_SPREAD / 200


def test_what_the_original_makes_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    store, model = MeasurementStore(), line()
    wanted = sensitivity(model, {"h": scale("h", 1.1)}, DATA, store=store)
    loaded = []
    plain = module._session

    def session(model: Model, most: int | None = None) -> Staged:
        loaded.append(model)
        return plain(model, most)

    monkeypatch.setattr(module, "_session", session)
    assert sensitivity(model, {"h": scale("h", 1.1)}, DATA, store=store) == wanted
    assert model not in loaded
    assert len(loaded) == 1
    fewer = sensitivity(model, {"h": scale("h", 1.1)}, DATA, samples=1, store=store)
    assert model in loaded
    assert fewer == sensitivity(model, {"h": scale("h", 1.1)}, DATA.take(1))
