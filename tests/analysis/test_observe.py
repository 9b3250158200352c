"""One sweep over the data: what is seen, in bodies too, and how much is held."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from ocompress.analysis import observe as module
from ocompress.analysis.expose import Probe
from ocompress.analysis.observe import observe
from ocompress.analysis.ranges import HistogramObserver
from ocompress.analysis.staged import Staged
from ocompress.ir import Model, fingerprint, from_proto
from tests.build import Builder, InMemory

OBSERVER = HistogramObserver()
RNG = np.random.default_rng(2)


def see(model: Model, batches: list[dict[str, np.ndarray]], *names: str) -> dict[str, object]:
    observers = {n: frozenset([OBSERVER]) for n in names}
    found = observe(model, InMemory(batches), observers, lambda *_: None)
    return {name: summary for (name, _), summary in found.items()}


def chain(length: int = 4, extent: int | str = "n") -> Model:
    b = Builder()
    x = b.input("x", [extent, 8])
    for index in range(length):
        x = b.op("Add", x, b.const(np.float32(index)), to=f"a{index}")
    b.output(x, [extent, 8])
    return b.model()


def batches(count: int = 3) -> list[dict[str, np.ndarray]]:
    return [{"x": RNG.standard_normal((2 + i, 8)).astype(np.float32)} for i in range(count)]


def test_inputs_inner_values_and_outputs_are_seen_once_per_batch() -> None:
    data = batches()
    model = chain()
    before = fingerprint(model)
    found = see(model, data, "x", "a1", "a3", "absent")
    everything = np.concatenate([b["x"] for b in data])
    assert set(found) == {"x", "a1", "a3"}
    for name, shift in (("x", 0), ("a1", 1), ("a3", 6)):
        histogram = found[name]
        assert histogram.elements == everything.size  # type: ignore[attr-defined]
        assert histogram.batches == 3  # type: ignore[attr-defined]
        np.testing.assert_allclose(
            histogram.high,  # type: ignore[attr-defined]
            everything.max() + shift,
            rtol=1e-6,
        )
    assert fingerprint(model) == before


def test_wide_models_are_swept_in_groups_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = batches(1) + batches(1)
    names = [f"a{i}" for i in range(4)]
    expected = see(chain(extent=2), data, *names)
    held: list[list[str]] = []
    original = module._session

    def spy(model: Model, probes: list[Probe]) -> object:
        held.append([p.name for p in probes])
        return original(model, probes)

    monkeypatch.setattr(module, "_session", spy)
    monkeypatch.setattr(module, "MOST_BYTES", 2 * 2 * 8 * 4)  # two values of the first feed
    found = see(chain(extent=2), data, *names)
    assert held == [["a0", "a1"], ["a2", "a3"]]
    for name in names:
        assert (found[name].counts == expected[name].counts).all()  # type: ignore[attr-defined]


def test_large_batches_are_cut_where_the_first_extent_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = [{"x": RNG.standard_normal((6, 8)).astype(np.float32)}]
    expected = see(chain(), data, "a0", "a2")
    monkeypatch.setattr(module, "MOST_BYTES", 2 * 2 * 8 * 4)  # two values of two samples
    found = see(chain(), data, "a0", "a2")
    for name in ("a0", "a2"):
        assert found[name].batches == 3  # type: ignore[attr-defined]
        assert found[name].elements == 48  # type: ignore[attr-defined]
        assert found[name].high == expected[name].high  # type: ignore[attr-defined]


def test_a_sample_tells_how_large_the_values_of_a_large_batch_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = InMemory([{"x": np.zeros((6, 8), np.float32)}])
    model = chain(2)
    ran: list[int] = []

    run = Staged.run

    def counted(self: Staged, feeds: Any, outputs: Any = None) -> Any:
        ran.append(len(feeds["x"]))
        return run(self, feeds, outputs)

    monkeypatch.setattr(Staged, "run", counted)
    values = [v for n in model.graph.nodes for v in n.outputs if v is not None]
    assert module._sizes(model, data, values) == {"a0": 6 * 8 * 4, "a1": 6 * 8 * 4}
    assert ran == [1]


def test_progress_counts_to_its_total() -> None:
    told: list[tuple[int, int]] = []
    observers = {"a0": frozenset([OBSERVER])}
    observe(chain(), InMemory(batches()), observers, lambda *a: told.append(a))
    assert told == [(1, 3), (2, 3), (3, 3)]


def branching() -> Model:
    def branch(name: str, factor: float) -> object:
        nodes = [
            helper.make_node("Mul", ["x", f"{name}_f"], [f"{name}_m"]),
            helper.make_node("Relu", [f"{name}_m"], [f"{name}_r"]),
        ]
        init = [numpy_helper.from_array(np.array(factor, np.float32), f"{name}_f")]
        outputs = [helper.make_tensor_value_info(f"{name}_r", T.FLOAT, ["n", 8])]
        graph = helper.make_graph(nodes, name, [], outputs, init)
        graph.value_info.append(helper.make_tensor_value_info(f"{name}_m", T.FLOAT, ["n", 8]))
        return graph

    b = Builder()
    b.input("x", ["n", 8])
    b.input("c", [], T.BOOL)
    b.ops("If", ["c"], ["y"], then_branch=branch("t", 2.0), else_branch=branch("e", -3.0))
    b.output("y", ["n", 8])
    return b.model()


def test_values_in_both_branches_of_an_if_are_seen() -> None:
    x = np.arange(-8, 8, dtype=np.float32).reshape(2, 8)
    data = [{"x": x, "c": np.array(True)}, {"x": x + 1, "c": np.array(False)}]
    found = see(branching(), data, "t_m", "e_m", "e_r")
    assert found["t_m"].low == -16.0  # type: ignore[attr-defined]
    assert found["t_m"].batches == 1  # type: ignore[attr-defined]
    assert found["e_m"].low == -24.0  # type: ignore[attr-defined]
    assert found["e_r"].low == 0.0  # type: ignore[attr-defined]


def test_a_branch_that_never_runs_has_no_statistics() -> None:
    data = [{"x": np.ones((2, 8), np.float32), "c": np.array(True)}]
    assert set(see(branching(), data, "t_m", "e_m")) == {"t_m"}


def looping(*, static: bool) -> Model:
    shape: list[int | str] = [2 if static else "n", 4]
    nodes = [
        helper.make_node("Add", ["s", "one"], ["t"]),
        helper.make_node("Identity", ["k"], ["ko"]),
    ]
    body = helper.make_graph(
        nodes,
        "body",
        [
            helper.make_tensor_value_info("i", T.INT64, []),
            helper.make_tensor_value_info("k", T.BOOL, []),
            helper.make_tensor_value_info("s", T.FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("ko", T.BOOL, []),
            helper.make_tensor_value_info("t", T.FLOAT, shape),
        ],
        [numpy_helper.from_array(np.array(1, np.float32), "one")],
    )
    b = Builder()
    b.input("x", shape)
    b.ops("Loop", [b.const(np.int64(5)), "", "x"], ["y"], body=body)
    b.output("y", shape)
    return from_proto(b.proto())


def test_every_turn_of_a_loop_is_seen_where_shapes_are_static() -> None:
    data = [{"x": np.zeros((2, 4), np.float32)}]
    found = see(looping(static=True), data, "t")
    assert (found["t"].low, found["t"].high) == (1.0, 5.0)  # type: ignore[attr-defined]
    assert found["t"].elements == 40  # type: ignore[attr-defined]
    assert see(looping(static=False), data, "t") == {}
