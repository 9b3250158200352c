"""Times of single nodes, whatever their names are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ocompress.errors import RuntimeFailureError
from ocompress.ir import Model
from ocompress.profiling import LayerClock, time_layers
from ocompress.profiling.trace import Profiled, kernel_times, shares, trace
from ocompress.runtime import Session
from tests.build import Builder
from tests.counting import counting

FEEDS = {"x": np.ones((1, 8, 12, 12), np.float32)}


def net(names: list[str]) -> Model:
    """Return operators, none of which another takes in, whose nodes have the names given."""
    b = Builder()
    h = b.input("x", [1, 8, 12, 12])
    for size in (1, 3, 7):
        h = b.op("Conv", h, b.weight(8, 8, size, size), pads=[size // 2] * 4)
        h = b.op("Softmax", h)
    b.output(h)
    model = b.model()
    for (_, node), name in zip(model.nodes(), names, strict=True):
        node.name = name
    return model


NAMES = {
    "none": [""] * 6,
    "one": ["same"] * 6,
    "numbered": ["a", "a_1", "a", "a_1", "a_2", "a"],
    "own": list("abcdef"),
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_every_node_has_a_time_of_its_own(names: list[str]) -> None:
    model = net(names)
    (found,) = time_layers([model], FEEDS, rounds=1, seconds=0.001)
    nodes = [node for _, node in model.nodes()]
    assert found.keys() - {None} == set(nodes)
    assert [n.name for n in nodes] == names


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_tables_by_label_hold_all_there_is(names: list[str]) -> None:
    model = net(names)
    events = trace(model, FEEDS, 1, 2)
    kernels, runs = kernel_times(events, model)
    _, by_layer = shares(events, model)
    assert sum(r.ms for r in by_layer) * runs == pytest.approx(sum(k[2] for k in kernels) / 1e3)
    assert {r.name for r in by_layer} <= {n.label for _, n in model.nodes()} | {
        "(added by ONNX Runtime)"
    }
    (by_label,) = LayerClock(FEEDS).layer_times([model])
    assert {n.label for _, n in model.nodes()} <= by_label.keys()


def test_a_model_is_loaded_once_for_all_its_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [net(NAMES["own"]), net(NAMES["none"])]
    with counting(monkeypatch) as counts:
        time_layers(models, FEEDS, rounds=4, seconds=0.001)
    assert counts["sessions"] == len(models)


def test_every_turn_has_its_own_events(tmp_path: Path) -> None:
    model = net(NAMES["own"])
    profiled = Profiled(model, FEEDS, 1, tmp_path / "trace")
    for runs in (3, 1, 5):
        profiled.turn(runs)
    for events, runs in zip(profiled.traces(), (3, 1, 5), strict=True):
        kernels, counted = kernel_times(events, model)
        assert counted == runs
        calls = Counter(node for node, _, _ in kernels if node is not None)
        assert set(calls.values()) == {runs}
        assert set(calls) == {node for _, node in model.nodes()}


@pytest.mark.parametrize("kept", [0.5, 0.0])
def test_a_trace_that_is_cut_off_is_named_as_such(
    kept: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = Session.end_profiling

    def cut(self: Session) -> Path:
        file = end(self)
        text = file.read_text()
        file.write_text("".join(text.splitlines(keepends=True)[: int(kept * text.count("\n"))]))
        return file

    monkeypatch.setattr(Session, "end_profiling", cut)
    with pytest.raises(RuntimeFailureError, match="is the disk full"):
        trace(net(NAMES["own"]), FEEDS, 1, 2)
