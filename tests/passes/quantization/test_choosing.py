"""What becomes integers: by time, by noise, within the budget; and how the rest is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from ocompress.analysis import quantized as quantized_model
from ocompress.analysis.one_layer import dequantized
from ocompress.errors import OptionError
from ocompress.ir import Model, from_proto, packed, query, to_proto
from ocompress.pipeline import Pass, PassManager, Pipeline, PipelineResult, Verdict
from ocompress.targets import find
from passes.quantization import choosing, selection
from passes.quantization.selection import Selection
from passes.quantization.storing import to_int8
from tests.build import Builder, InMemory
from tests.passes.quantization.runs import data_for, executed, outputs, quantized, sqnr


def chain(layers: int = 5, spoilt: int | None = None) -> Model:
    """Return convolutions worth quantizing; one may have a channel that ruins its grid."""
    b = Builder()
    h = b.input("x", ["n", 64, 24, 24])
    for index in range(layers):
        weight = b.rng.standard_normal((64, 64, 3, 3)).astype(np.float32) / 24
        after = np.ones((64, 1, 1), np.float32)
        if index == spoilt:
            after[0] = 3e3  # and the next layer hardly looks at it
        if index - 1 == spoilt:
            weight[:, 0] /= 3e3
        scaled = weight * (after[..., None] if index == spoilt else 1)
        h = b.op("Conv", h, b.const(scaled), b.weight(64), pads=[1, 1, 1, 1])
        h = b.op("Relu", h)
    b.output(h)
    return b.model()


@dataclass
class AtMost:
    """Allows so many integer convolutions."""

    most: int
    kind: str = "max-drop"
    limit: float = 1.0
    asked: list[int] = field(default_factory=list)

    def judge(self, candidate: Model, best: Model) -> Verdict:
        weights = [n.input(1) for _, n in candidate.nodes() if n.is_op("Conv")]
        count = sum(query.made_by(w, "DequantizeLinear") is not None for w in weights)
        self.asked.append(count)
        return Verdict(count <= self.most, self.kind, f"{count} convolutions", {})


def run(model: Model, text: str, *guards: AtMost) -> PipelineResult:
    manager = PassManager(target=find("portable"), data=InMemory(data_for(model, 6)), guards=guards)
    return manager.run(Pipeline.parse(text), from_proto(to_proto(model)))


@dataclass
class ByDefault(AtMost):
    """The same where nobody asked for it."""

    default: bool = True

    def restart(self) -> None:
        """Begin a pipeline."""

    def applies_to(self, item: Pass) -> bool:
        return True

    def open(self, item: Pass, best: Model, later: Sequence[Pass]) -> None:
        """Begin a pass."""

    def close(self, item: Pass, kept: Model, verdict: Verdict | None) -> None:
        """End a pass."""


@pytest.mark.parametrize(
    ("guards", "fixed", "limited"),
    [
        ((), False, False),
        ((), True, True),
        ((ByDefault(5),), False, False),
        ((AtMost(5),), False, True),
        ((ByDefault(5, default=False),), False, True),
    ],
)
def test_the_knee_is_for_those_who_say_nothing_of_what_may_be_lost(
    guards: Sequence[AtMost], fixed: bool, limited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def best(selections: Sequence[Selection], rate: float, *, limited: bool) -> int:
        asked.append(limited)
        return selection.best(selections, rate, limited=limited)

    monkeypatch.setattr(choosing, "best", best)
    model = chain(2)
    manager = PassManager(target=find("portable"), data=InMemory(data_for(model, 6)), guards=guards)
    manager.run(Pipeline.of(Pipeline.parse("quant").passes, fixed=fixed), model)
    assert asked == [limited]


def int8_count(result: PipelineResult) -> int:
    return int(result.records[-1].counts.get("int8 Conv", 0))


def test_a_layer_that_ruins_the_outputs_stays_in_float_unless_noise_has_no_price() -> None:
    model = chain(spoilt=2)
    careful, fast = run(model, "quant"), run(model, "quant{noise_price=0}")
    assert int8_count(fast) == 5
    assert 1 <= int8_count(careful) < 5
    assert careful.diagnostics.declined("quant")["too-noisy"] >= 1
    feed = data_for(model)[0]
    wanted = outputs(model, feed)
    gained = sqnr(wanted, outputs(careful.model, feed)) - sqnr(wanted, outputs(fast.model, feed))
    assert gained > 6
    rows = careful.records[-1].details["selections"]
    assert [r["time"] for r in rows] == sorted(r["time"] for r in rows)
    assert [r["sqnr_db"] for r in rows] == sorted(r["sqnr_db"] for r in rows)
    assert sum(r["chosen"] for r in rows) == 1


def test_the_fastest_choice_with_so_much_signal_over_noise_is_taken() -> None:
    model, counts = chain(), []
    feed = data_for(model)[0]
    for least in (10, 47, 50, 70):
        result = run(model, f"quant{{min_sqnr={least}}}")
        row = result.records[-1].details
        rows = row["selections"]
        chosen = next(r for r in rows if r["chosen"])
        assert chosen["sqnr_db"] >= least
        assert chosen["time"] == min(r["time"] for r in rows if r["sqnr_db"] >= least)
        assert sqnr(outputs(model, feed), outputs(result.model, feed)) > least - 4
        counts.append(int8_count(result))
        said = [d.message for d in result.diagnostics if d.code == "too-noisy"]
        assert all(f"min_sqnr={least} keeps it in float" in text for text in said)
    assert counts[0] == 5
    assert counts == sorted(counts, reverse=True)
    assert 0 < counts[1] < 5
    assert counts[3] == 0


def test_weights_that_stay_float_are_stored_within_the_noise_that_is_left() -> None:
    model = recurrent()
    coarse, fine = (
        quantized(from_proto(to_proto(model)), f"quant{{min_sqnr={least}}}") for least in (20, 90)
    )
    assert coarse.model.weight_bytes < 0.4 * model.weight_bytes
    assert fine.model.weight_bytes == model.weight_bytes


@pytest.mark.parametrize(
    "options",
    ["min_sqnr=30,noise_price=0", "min_sqnr=30,in_float=[a]", "in_float=[a],keep_slower=true"],
)
def test_options_that_contradict_each_other_are_refused(options: str) -> None:
    with pytest.raises(OptionError, match="leave all but one of them out"):
        Pipeline.parse(f"quant{{{options}}}")


def test_what_is_named_computes_in_float_and_the_rest_in_integers() -> None:
    model = chain()
    labels = [n.label for _, n in model.nodes() if n.is_op("Conv")]
    free = run(model, "quant{noise_price=0}")
    result = run(model, f"quant{{in_float=[{labels[0]},{labels[3]}]}}", AtMost(5))
    assert int8_count(result) == 3
    convs = [n for _, n in result.model.nodes() if n.is_op("Conv")]
    made = [query.made_by(n.input(1), "DequantizeLinear") is not None for n in convs]
    assert made == [False, True, True, False, True]
    assert result.model.weight_bytes == pytest.approx(free.model.weight_bytes, rel=0.02)
    with pytest.raises(OptionError, match="in_float names 'other'"):
        run(model, "quant{in_float=[other]}")


def test_a_plan_may_name_layers_that_other_samples_make_none_of() -> None:
    model = chain()
    labels = [n.label for _, n in model.nodes() if n.is_op("Conv")]
    (item,) = Pipeline.parse(f"quant{{in_float=[{labels[0]},other]}}").passes[-1:]
    manager = PassManager(target=find("portable"), data=InMemory(data_for(model, 6)))
    result = manager.run(Pipeline.of([item], fixed=True), from_proto(to_proto(model)))
    assert int8_count(result) == 4
    (said,) = (d.message for d in result.diagnostics if d.code == "not-there")
    assert "'other'" in said


@pytest.mark.parametrize("first", ["quant{noise_price=0}", "quant", "quant{min_sqnr=50}"])
def test_a_choice_says_how_it_is_made_again(first: str) -> None:
    model = chain(spoilt=2 if "sqnr" not in first else None)
    result = run(model, first)
    settled = result.records[-1].details["settled"]
    text = ",".join(
        f"{k}=[{','.join(v)}]" if isinstance(v, list) else f"{k}=true" for k, v in settled.items()
    )
    again = run(model, f"quant{{{text}}}")
    assert int8_count(result) == int8_count(again) > 0
    chosen = [n.label for _, n in result.model.nodes()]
    assert [n.label for _, n in again.model.nodes()] == chosen


def test_a_choice_of_no_integers_is_made_again_too() -> None:
    model = chain()
    result = run(model, "quant{in_float=[conv*]}")
    assert int8_count(result) == 0
    assert result.records[-1].details["settled"] == {"in_float": ["*"]}


def test_weights_that_layers_share_become_integers_together_or_not() -> None:
    b = Builder()
    shared = b.weight(64, 64, 3, 3, scale=1 / 24)
    h = b.input("x", ["n", 64, 24, 24])
    for at in range(2):
        h = b.op("Relu", b.op("Conv", h, shared, to=f"conv{at}", pads=[1, 1, 1, 1]))
    b.output(h)
    result = run(b.model(), "quant{in_float=[conv0]}")
    assert int8_count(result) == 0


@pytest.mark.parametrize("rest", ["int8", "float"])
@pytest.mark.parametrize("most", [0, 2, 3])
def test_under_a_limit_on_the_drop_as_much_becomes_integer_as_holds(most: int, rest: str) -> None:
    guard = AtMost(most)
    result = run(chain(), f"quant{{noise_price=0,rest={rest}}}", guard)
    assert int8_count(result) <= most
    assert str(result.records[-1].status) != "rolled-back"
    rows = result.records[-1].details["selections"]
    held = [r for r in rows if r["int8"] <= most]
    chosen = next(r for r in rows if r["chosen"])
    assert chosen["time"] == min(r["time"] for r in held)
    assert len(guard.asked) <= 6  # by halving, not one by one


def test_a_choice_that_turns_out_slow_is_made_again_with_measured_times() -> None:
    guard = AtMost(0, kind="latency")
    result = run(chain(2), "quant", guard)
    assert result.records[-1].details["times"] == "measured"
    assert run(chain(2), "quant{costs=table}").records[-1].details["times"] == "table"
    measured = run(chain(2), "quant{costs=measured}")
    assert measured.records[-1].details["times"] == "measured"


def recurrent() -> Model:
    b = Builder()
    x = b.input("x", [5, 2, 24])
    names = [b.weight(1, 4 * 32, 24), b.weight(1, 4 * 32, 32), b.weight(1, 8 * 32)]
    b.ops("LSTM", [x, *names], ["h", "", ""], hidden_size=32)
    b.output("h")
    return b.model()


def pieces() -> Model:
    b = Builder()
    x = b.input("x", [2, 16, 6, 6])
    h = b.op("ConvTranspose", x, b.weight(16, 24, 3, 3))
    b.output(b.op("Add", h, b.weight(1, 24, 8, 8, scale=1.0)))
    return b.model()


@pytest.mark.parametrize("build", [recurrent, pieces])
def test_weights_that_stay_float_are_int8_in_the_file_and_float_once_loaded(
    build: object, tmp_path: Path
) -> None:
    model = build() if callable(build) else None
    assert model is not None
    result = quantized(from_proto(to_proto(model)), "quant")
    assert result.model.weight_bytes < 0.4 * model.weight_bytes
    ran = executed(result.model, tmp_path)
    assert not ran["Cast"] + ran["Mul"]
    feed = data_for(model)[0]
    assert 30 < sqnr(outputs(model, feed), outputs(result.model, feed)) < 80
    assert not quantized(from_proto(to_proto(model)), "quant{rest=float}").records[-1].changed
    held = packed.unpacked(result.model)
    layers = quantized_model.read(held).layers
    seen = [c for layer in layers for c in layer.constants.values()]
    assert seen
    for node in seen:
        floats = dequantized(node)
        assert floats is not None
        assert floats.dtype == np.float32
        assert 0.01 < np.abs(floats).max() < 10
    for one in (result.model, held):
        assert not quantized(one, "quant", batches=data_for(model)).records[-1].changed


def test_a_weight_that_the_outputs_notice_too_much_stays_float() -> None:
    b = Builder()
    x = b.input("x", ["n", 40])
    weight = b.rng.standard_normal((40, 40)).astype(np.float32) * 1e-3
    weight[0] = 10.0  # so wide that the grid loses all else, and always multiplied by zero
    b.output(b.op("MatMul", x, b.const(weight)))
    batches = data_for(b.model())
    for batch in batches:
        batch["x"][:, 0] = 0
    result = quantized(b.model(), "quant", batches=batches)
    assert result.diagnostics.declined("quant").get("float-weight", 0) == 0
    assert "float-weight" in {r.code for r in result.diagnostics}
    assert not result.records[-1].counts.get("weights stored as int8")


def test_weights_of_excluded_operators_are_not_touched() -> None:
    b = Builder()
    x = b.input("x", ["n", 64])
    h = b.op("Gemm", x, b.weight(64, 64), b.weight(64))
    b.output(b.op("Gemm", b.op("Tanh", h), b.weight(64, 64), b.weight(64)))
    model = b.model()
    first = next(n.label for _, n in model.nodes() if n.is_op("Gemm"))
    result = quantized(model, f"quant{{exclude=[{first}]}}")
    held = packed.unpacked(result.model)
    arrays = [v.data for v in held.graph.initializers.values() if v.shape == (64, 64)]
    assert sorted(str(a.dtype) for a in arrays if a is not None) == ["float32", "int8"]


def test_a_limit_on_the_latency_makes_noise_cheaper() -> None:
    model = chain(spoilt=2)

    @dataclass
    class Fast(AtMost):
        """Allows models with at least so many integer convolutions."""

        limit: float = 0.5

        def judge(self, candidate: Model, best: Model) -> Verdict:
            found = super().judge(candidate, best)
            return Verdict(self.asked[-1] >= self.most, self.kind, found.message, {"ratio": 0.5})

    free = run(model, "quant")
    assert int8_count(free) < 5
    bound = run(model, "quant{costs=table}", Fast(5, kind="latency"))
    assert int8_count(bound) == 5
    torn = run(model, "quant{costs=table}", Fast(5, kind="latency"), AtMost(3))
    assert str(torn.records[-1].status) == "rolled-back"  # both at once cannot be had


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_inputs_that_hardly_vary_about_a_large_mean_do_no_harm(spread: float) -> None:
    b = Builder()
    x = b.input("x", ["n", 64])
    h = b.op("Relu", b.op("Gemm", x, b.weight(64, 64), b.weight(64)))
    b.output(b.op("Gemm", h, b.weight(64, 8), b.weight(8)))
    model = b.model()
    rng = np.random.default_rng(0)
    batches = [
        {"x": (1000 + spread * rng.standard_normal((16, 64))).astype(np.float32)} for _ in range(4)
    ]
    result = quantized(from_proto(to_proto(model)), batches=batches)
    assert result.records[-1].counts["int8 Gemm"] == 2
    assert sqnr(outputs(model, batches[0]), outputs(result.model, batches[0])) > 30


def test_the_largest_floats_stay_finite_and_biases_are_not_stored() -> None:
    b = Builder()
    x, flag = b.input("x", ["n", 64, 64]), b.input("flag", [1])
    mask = np.triu(np.full((1, 64, 64), np.finfo(np.float32).min, np.float32), 1)
    scores = b.op("Add", x, b.op("Mul", b.const(mask), flag))
    b.output(b.op("Softmax", b.op("Add", scores, b.weight(1, 1, 64)), axis=-1))
    model = b.model()
    batches = data_for(model)
    for batch in batches:
        batch["flag"][:] = 1
    result = quantized(from_proto(to_proto(model)), "quant", batches=batches)
    off = {"x": batches[0]["x"], "flag": np.zeros(1, np.float32)}
    assert np.isfinite(outputs(result.model, off)[0]).all()
    stored = [r["weight"] for r in result.records[-1].details.get("stored", [])]
    assert len(stored) <= 1
    integers, scales = to_int8(mask, (0, 1))
    assert np.isfinite(integers * scales).all()


def test_a_limit_on_the_drop_holds_for_stored_weights_too() -> None:
    model = pieces()
    guard = Untouched()
    result = run(model, "quant", guard)  # type: ignore[arg-type]
    assert str(result.records[-1].status) != "rolled-back"
    assert not result.records[-1].changed
    assert guard.asked >= 1
    assert result.model.weight_bytes == model.weight_bytes


@dataclass
class Untouched:
    """Allows nothing to be stored in fewer bits."""

    kind: str = "max-drop"
    limit: float = 1.0
    asked: int = 0

    def judge(self, candidate: Model, best: Model) -> Verdict:
        self.asked += 1
        nodes = packed.unpacked(candidate).nodes()
        held = not any(n.is_op("Cast", "DequantizeLinear") for _, n in nodes)
        return Verdict(held, self.kind, "something is stored in fewer bits", {})


def test_a_limit_on_the_size_stores_more() -> None:
    b = Builder()
    x = b.input("x", ["n", 40])
    weight = b.rng.standard_normal((40, 40)).astype(np.float32) * 1e-3
    weight[0] = 10.0
    b.output(b.op("MatMul", x, b.const(weight)))
    model = b.model()
    batches = data_for(model)
    for batch in batches:
        batch["x"][:, 0] = 0
    free = quantized(from_proto(to_proto(model)), "quant", batches=batches)
    assert not free.records[-1].changed
    manager = PassManager(target=find("portable"), data=InMemory(batches), guards=[Small()])
    bound = manager.run(Pipeline.parse("quant"), from_proto(to_proto(model)))
    assert bound.records[-1].counts["weights stored as int8"] == 1


@dataclass
class Small:
    """Allows no large float weight."""

    kind: str = "size"
    limit: float = 1.0

    def judge(self, candidate: Model, best: Model) -> Verdict:
        return Verdict(candidate.weight_bytes < 4000, self.kind, "too large", {})
