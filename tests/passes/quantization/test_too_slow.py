"""What happens when integers are slower on the machine at hand than the table says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from ocompress.ir import Model, Node, from_proto, query, to_proto
from ocompress.pipeline import Guard, PassManager, Pipeline, PipelineResult, Status, Verdict
from ocompress.planning import Cell
from ocompress.profiling import layer_times
from ocompress.targets import find
from passes.quantization import choosing, timing
from passes.quantization.costing import MeasuredTimes
from passes.quantization.matching import find_units
from passes.quantization.placement import PlacementProblem
from passes.quantization.timing import part
from passes.quantization.weight_forms import Effect
from tests.build import Builder, InMemory
from tests.passes.quantization.runs import data_for
from tests.passes.quantization.test_choosing import chain


def integers(model: Model) -> int:
    return sum(n.is_op("QuantizeLinear") for _, n in model.nodes())


@dataclass
class Clock:
    """A latency guard whose figures are made up."""

    ratio: Callable[[Model], float]
    kind: str = "latency"
    limit: float = 1.0
    judged: list[float] = field(default_factory=list)

    def judge(self, candidate: Model, best: Model) -> Verdict:
        ratio = self.ratio(candidate)
        self.judged.append(ratio)
        figures = {"ratio": ratio, "low": ratio - 0.01, "high": ratio + 0.01}
        return Verdict(ratio <= 1.05, "latency", f"it takes {ratio:.2f} times as long", figures)


def run(model: Model, guard: Guard, text: str = "quant") -> PipelineResult:
    manager = PassManager(
        target=find("portable"), data=InMemory(data_for(model, 6)), guards=[guard]
    )
    return manager.run(Pipeline.parse(text), from_proto(to_proto(model)))


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make up times of layers; return a list with an entry for each time they are asked for."""
    asked: list[int] = []

    def measured(_: Any, units: Sequence[Any], __: Any) -> MeasuredTimes:
        asked.append(len(units))
        cells = {id(u.node): Cell(1e6, 3e5) for u in units}
        return MeasuredTimes(cells, 1e4, frozenset(cells))

    monkeypatch.setattr(choosing, "measure_times", measured)
    monkeypatch.setattr(choosing, "share_of", lambda *_: 1.0)
    return asked


def test_integers_that_are_always_too_slow_leave_the_storage_of_weights(timed: list[int]) -> None:
    model = chain(3)
    result = run(model, Clock(lambda m: 1.5 if integers(m) else 1.0))
    record = result.records[-1]
    assert str(record.status) == "applied"
    assert not integers(result.model)
    assert record.counts["weights stored as int8"] == 3
    assert result.model.weight_bytes < 0.3 * model.weight_bytes
    assert record.weight_bytes[1] < 0.3 * record.weight_bytes[0]
    (note,) = [r for r in result.diagnostics if r.code == "too-slow-here"]
    assert "weights alone" in note.message
    assert "1.50 times" in note.message
    assert len(timed) == 1
    assert {r["choice"] for r in record.details["nodes"]} == {"float"}


def test_what_is_slow_only_once_it_is_whole_still_leaves_the_storage(timed: list[int]) -> None:
    looks: list[int] = []

    def ratio(model: Model) -> float:
        looks.append(integers(model))
        return 1.2 if integers(model) and len(looks) > 1 else 0.4

    result = run(chain(3), Clock(ratio))  # the first look is at a draft
    assert str(result.records[-1].status) == "applied"
    assert not integers(result.model)
    assert result.records[-1].counts["weights stored as int8"] == 3
    assert len(timed) <= 1


def islands() -> Model:
    """Return a large and a small convolution, each between operators that stay in float."""
    b = Builder()
    h = b.op("Conv", b.input("x", ["n", 64, 24, 24]), b.weight(64, 64, 3, 3), to="large")
    h = b.op("Tanh", b.op("MaxPool", b.op("Tanh", h), kernel_shape=[3, 3], strides=[1, 1]))
    b.output(b.op("Tanh", b.op("Conv", h, b.weight(16, 64, 3, 3), to="small")))
    return b.model()


@pytest.mark.parametrize(("most", "left"), [(2, {"large", "small"}), (1, {"large"}), (0, set())])
def test_fewer_integers_are_tried_before_none(most: int, left: set[str]) -> None:
    def convolutions(model: Model) -> set[str]:
        found = [n for _, n in model.nodes() if n.is_op("Conv")]
        return {n.label for n in found if query.made_by(n.input(1), "DequantizeLinear")}

    guard = Clock(lambda m: 0.9 if len(convolutions(m)) <= most else 1.4)
    result = run(islands(), guard, "quant{costs=table,noise_price=0}")
    assert convolutions(result.model) == left
    assert str(result.records[-1].status) == "applied"
    said = [r for r in result.diagnostics if r.code == "too-slow-here"]
    assert len(said) == (most < 2)


@pytest.mark.parametrize(("ratio", "again"), [(None, 0), (0.9, 1), (0.1, 1)])
def test_layers_are_timed_when_prediction_and_measurement_part(
    timed: list[int], ratio: float | None, again: int
) -> None:
    model = chain(3)
    foreseen = run(model, Clock(lambda _: 0.5), "quant{costs=table}").records[-1]
    time = next(r["time"] for r in foreseen.details["selections"] if r["chosen"])
    result = run(model, Clock(lambda _: time if ratio is None else ratio))
    assert len(timed) == again
    assert result.records[-1].details["times"] == ("measured" if again else "table")


def test_layers_are_timed_where_the_table_says_that_nothing_pays(timed: list[int]) -> None:
    b = Builder()
    b.output(b.op("Conv", b.input("x", ["n", 8, 3, 3]), b.weight(8, 8, 1, 1)))
    model = b.model()
    assert not integers(run(model, Clock(lambda _: 0.5), "quant{costs=table}").model)
    assert not timed
    assert integers(run(model, Clock(lambda _: 0.5)).model)
    assert timed == [1]


def test_prediction_and_measurement_part_by_more_than_an_interval() -> None:
    def verdict(low: float, high: float) -> Verdict:
        return Verdict(True, "latency", "", {"low": low, "high": high})

    assert not part(0.5, verdict(0.55, 0.7))
    assert part(0.5, verdict(0.6, 0.7))
    assert part(0.5, verdict(0.3, 0.4))
    assert not part(0.5, Verdict(True, "latency", "", {}))


def test_measured_conversions_count_where_they_are() -> None:
    model = chain(3)
    units = find_units(model, lambda *_: None)
    cells = {id(u.node): Cell(1e6, 9e5) for u in units}

    def problem(conversions: float) -> PlacementProblem:
        measured = MeasuredTimes(cells, conversions, frozenset(cells))
        return PlacementProblem(units, lambda _: 4e4, find("portable"), measured)

    assert problem(2e5).everything().ns == pytest.approx(2.7e6 + 2e5)
    assert len(problem(2e5).solve().chosen) == 3
    assert not problem(4e5).solve().chosen
    mixed = MeasuredTimes(cells, 8e5, frozenset([id(units[1].node)]))  # goes in and out once more
    between = PlacementProblem(units, lambda _: 4e4, find("portable"), mixed)
    assert between.everything().ns < 2.7e6 + 5e5
    warier = problem(2e5).with_conversions(4.0)
    assert warier.everything().ns == pytest.approx(2.7e6 + 8e5)


def test_times_are_of_nodes_whatever_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    model = chain(2)
    for _, node in model.nodes():
        node.name = ""
    spent = {"Conv": 5e4, "Relu": 7e3, "QuantizeLinear": 3e3, "DequantizeLinear": 2e3}

    def times(models: Sequence[Model], *_: Any, **__: Any) -> list[Mapping[Node | None, float]]:
        found: list[dict[Node | None, float]] = []
        for at, one in enumerate(models):
            found.append({n: spent[n.op_type] * (1 + at) for _, n in one.nodes()})
            found[-1][None] = 1e3
        return list(found)

    monkeypatch.setattr(timing, "time_layers", times)
    seen: list[MeasuredTimes] = []

    def measured_times(*given: Any) -> MeasuredTimes:
        seen.append(timing.measure_times(*given))
        return seen[-1]

    monkeypatch.setattr(choosing, "measure_times", measured_times)
    run(model, Clock(lambda _: 1.0), "quant{costs=measured}")
    (measured,) = seen
    assert len(measured.cells) == 2
    # in float the Relu is the unit's too
    assert {c.float_ns for c in measured.cells.values()} == {5e4 + 7e3}
    assert {c.int8_ns for c in measured.cells.values()} == {1e5}
    assert measured.conversions > 1e3


def test_conversions_are_timed_between_every_other_layer() -> None:
    model = chain(5)
    units = find_units(model, lambda *_: None)
    convs = [n for _, n in model.nodes() if n.is_op("Conv")]
    assert [u.node for u in timing.every_other(units)] == convs[::2]
    shared = chain(3)
    first, second, third = (n for _, n in shared.nodes() if n.is_op("Conv"))
    third.set_input(1, first.inputs[1])
    found = timing.every_other(find_units(shared, lambda *_: None))
    assert [u.node for u in found] == [first, third]
    first.set_input(1, second.inputs[1])
    third.set_input(1, second.inputs[1])
    assert len(timing.every_other(find_units(shared, lambda *_: None))) == 3


@pytest.mark.parametrize(("taken", "left"), [(0.0, 0.0), (2e3, 2e3), (9e3, 3e3)])
def test_what_the_profiler_takes_is_left_out_of_each_kernel(
    taken: float, left: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (n for _, n in chain(2).nodes() if n.is_op("Conv"))
    kernels = 4 * [(first, "Conv", 9.0), (second, "Conv", 3.0), (None, "", 4.0), (None, "", 6.0)]
    profiled = SimpleNamespace(turn=lambda _: None, traces=lambda: [[], []])
    monkeypatch.setattr(layer_times, "Profiled", lambda *_: profiled)
    monkeypatch.setattr(layer_times, "kernel_times", lambda *_: (kernels, 4))
    (found,) = layer_times.time_layers([chain(2)], {}, rounds=1, seconds=0.0, taken=taken)
    assert found == {first: 9e3 - left, second: 3e3 - left, None: 1e4 - 2 * left}


def attention() -> Model:
    b = Builder(3)
    x = b.input("x", ["n", 48])
    h = b.op("Relu", b.op("MatMul", x, b.weight(48, 96)))
    b.output(b.op("MatMul", h, b.weight(96, 48)))
    return b.model()


@pytest.mark.parametrize("options", ["", "kernel=dequantize", "form=int4", "form=int4 fit=hqq"])
@pytest.mark.parametrize("slow", [False, True])
def test_weights_are_folded_where_their_integer_kernel_is_slower(options: str, slow: bool) -> None:
    def ratio(model: Model) -> float:
        return 1.3 if slow and any(n.is_op("DequantizeLinear") for _, n in model.nodes()) else 1.0

    model = attention()
    result = run(model, Clock(ratio), f"quant-weights{{smallest=1 {options}}}")
    record = result.records[-1]
    codes = [d.code for d in result.diagnostics.of("quant-weights")]
    if slow and "kernel" in options:  # it is what the user asked for
        assert record.status is Status.ROLLED_BACK
        return
    assert record.status is Status.APPLIED
    assert ("does-not-pay" in codes) == slow
    kinds = {r["latency"] for r in record.details["weights"]}
    assert kinds == {Effect.FOLDED if slow else Effect.FUSED}
    assert len(to_proto(result.model).SerializeToString()) < 0.4 * len(
        to_proto(model).SerializeToString()
    )
