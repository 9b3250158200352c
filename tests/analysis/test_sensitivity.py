"""One layer at a time."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from ocompress.analysis import sensitivity as module
from ocompress.analysis.one_layer import dequantized
from ocompress.analysis.output_errors import divergences
from ocompress.analysis.sensitivity import sensitivity
from ocompress.analysis.staged import Staged
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
    variants = {f"{name}{at}": scale(name, 1 + 0.1 * at) for at in range(5) for name in "hy"}
    made: list[Model] = []

    def counted(variant: Model, **kwargs: Any) -> Staged:
        made.append(variant)
        return Staged(variant, **kwargs)

    monkeypatch.setattr(module, "Staged", counted)
    together = sensitivity(model, variants, DATA)
    assert len(made) == 1 + 2  # the original, eight variants and two
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


def forked(blocks: int) -> Model:
    """Return `blocks` residual blocks of three nodes, and what the input adds at the end."""
    b = Builder(1)
    x = value = b.input("x", ["n", 4])
    for at in range(blocks):
        inner = b.op("Tanh", b.op("MatMul", value, b.weight(4, 4), to=f"p{at}"), to=f"t{at}")
        value = b.op("Add", value, inner, to=f"s{at}")
    b.op("Add", value, x, to="y")
    b.output("y", ["n", 4])
    return b.model()


def shared(monkeypatch: pytest.MonkeyPatch, stages: int = 4) -> Counter[str]:
    """Divide every model, and count the sessions and the nodes that are loaded."""
    monkeypatch.setattr(module, "_WHOLE", 0)
    monkeypatch.setattr(module, "_STAGES", stages)
    counts: Counter[str] = Counter()
    load = Session.__init__

    def counted(self: Session, model: Model, **kwargs: Any) -> None:
        counts["sessions"] += 1
        counts["nodes"] += len(model.graph.nodes)
        load(self, model, **kwargs)

    monkeypatch.setattr(Session, "__init__", counted)
    return counts


def widen(model: Model) -> bool:
    """Read late what was made early; a node is put in, and one has a new name."""
    graph = model.graph
    late, early = model.labelled("p7"), model.labelled("p1")
    assert late is not None
    assert early is not None
    late.set_input(0, graph.add_op("Add", [late.inputs[0], early.output], name="more").output)
    return True


def cut(model: Model) -> bool:
    """Make two neighbours three elements wide."""
    first, second = model.labelled("p4"), model.labelled("s4")
    assert first is not None
    assert second is not None
    pad = model.graph.constant("pads", np.array([0, 0, 0, 1]))
    weight = edit.own_weight(first, 1)
    edit.set_weight(weight, weight.data[:, :3])  # type: ignore[index]
    inner = second.inputs[1]
    assert inner is not None
    inner.set_type(inner.dtype, None)
    second.set_input(1, model.graph.add_op("Pad", [inner, pad], name="wide").output)
    return True


def renamed(model: Model) -> bool:
    """Give an inner value another name, so that nothing that reads it is as it was."""
    assert scale("p5", 1.2)(model)
    node = model.labelled("t5")
    assert node is not None
    model.graph.rename(node.output, "another")
    return True


VARIANTS = {
    "first": scale("p0", 1.1),
    "last": scale("p9", 1.1),
    "wide": widen,
    "cut": cut,
    "renamed": renamed,
    "both": lambda model: scale("p2", 1.1)(model) and scale("p8", 0.9)(model),
    "none": lambda _: True,
    "ends": lambda model: scale("p9", 1.3)(model) and put_behind(model),
}


def put_behind(model: Model) -> bool:
    """Change what makes the output, which keeps its name."""
    node = model.labelled("y")
    assert node is not None
    negative = model.graph.add_op("Neg", [node.inputs[1]], name="negative").output
    node.set_input(1, negative)
    return True


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("stages", [4, 9, 31])
def test_variants_that_share_stages_lose_what_whole_ones_do(
    monkeypatch: pytest.MonkeyPatch, stages: int, kept: bool
) -> None:
    model = forked(10)
    wanted = sensitivity(model, VARIANTS, DATA)
    if not kept:
        monkeypatch.setattr(module, "_MOST_KEPT", 1)
    shared(monkeypatch, stages)
    found = sensitivity(model, VARIANTS, DATA)
    assert list(found) == list(wanted) == list(VARIANTS)
    for name, one in found.items():
        assert one.cost == pytest.approx(wanted[name].cost, rel=1e-3, abs=1e-9), name
    assert found["none"].cost == 0 < found["cut"].cost


def test_a_variant_loads_only_the_stages_that_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = forked(100)  # 301 nodes
    counts = shared(monkeypatch, 10)
    variants = {f"p{at}": scale(f"p{at}", 1.1) for at in range(0, 100, 5)}
    found = sensitivity(model, variants, DATA)
    assert len(found) == len(variants)
    assert counts["sessions"] == 10 + len(variants)
    assert counts["nodes"] <= 301 + len(variants) * 31


def test_what_does_not_fit_the_stages_is_loaded_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def flat(model: Model) -> bool:  # later stages were loaded for another rank
        node, axes = model.labelled("s4"), model.graph.constant("axes", np.array([0]))
        assert node is not None
        value = node.output
        raised = model.graph.add_op("Unsqueeze", [value, axes], name="raised")
        for reader, index in [use for use in value.users if use[0] is not raised]:
            reader.set_input(index, raised.output)
        raised.output.name, value.name = value.name, raised.output.name
        return True

    model = forked(10)
    wanted = sensitivity(model, {"flat": flat, "p0": scale("p0", 1.1)}, DATA)
    counts = shared(monkeypatch)
    found = sensitivity(model, {"flat": flat, "p0": scale("p0", 1.1)}, DATA)
    assert found.keys() == wanted.keys()
    assert counts["nodes"] > 2 * 31


def test_the_larger_a_model_the_fewer_variants_are_affordable() -> None:
    model = line()
    few = module.affordable(model)
    assert few == module._MOST_NODES / 2
    for i in range(198):
        model.graph.add_op("Relu", [model.graph.inputs[0]], name=f"more{i}")
    assert module.affordable(model) == module._MOST_NODES / 200
    assert module.affordable(model, sharing=True) == module._MOST_SPREAD / 200
