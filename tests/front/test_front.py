"""The public front, as a Python program uses it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T

import ocompress
from ocompress import Budget, Context, Model, Outcome, Pass
from ocompress.errors import DataError, OptionError, PassError, UnsupportedModelError
from ocompress.front import Request
from ocompress.front.judging import far_off
from ocompress.front.samples import open_samples
from ocompress.front.survey import survey
from ocompress.ir import Facet, edit, fingerprint, to_proto
from ocompress.pipeline import Numerics, Pipeline
from ocompress.report import document, to_text
from ocompress.report.tables_outcome import quality
from ocompress.runtime import Session
from tests.build import Builder
from tests.graphs import ZOO

X = np.random.default_rng(0).standard_normal((20, 16)).astype(np.float32)


class Scale(Pass):
    """Multiply every weight; for tests of budgets."""

    name = "scale"
    numerics = Numerics.LOSSY
    goals = ("factor",)
    factor: float = ocompress.option(1.0, help="Factor.")

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Multiply."""
        for value in model.graph.initializers.values():
            if value.data is not None and value.data.ndim == 2:
                edit.set_weight(value, (value.data * self.factor).astype(value.data.dtype))
        return Outcome(Facet.WEIGHTS, {"scaled": 1})


class Rename(Scale):
    """Break the interface; for tests of the last check."""

    name = "rename"

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Rename the output."""
        model.graph.rename(model.graph.outputs[0], "other")
        return Outcome(Facet.ALL, {"renamed": 1})


def test_a_report_of_data_that_nothing_was_held_out_of_says_nothing_of_fitted_samples() -> None:
    done = ocompress.optimize(
        ZOO["mlp"](), passes="quant-weights", data=X, held_out=0.0, max_drop=0.5, measure=False
    )
    found = json.loads(to_text(document("optimize", {}, done.to_json())))
    figures = [v["figures"] for v in found["passes"][1]["verdicts"]]
    assert any("value" in f for f in figures)
    assert not any("seen" in f for f in figures)


def test_a_share_that_is_asked_for_is_held_out_of_many_samples_too() -> None:
    many = {"x": np.zeros((30_000, *X.shape[1:]), np.float32)}
    for share, held in ((None, 5_000), (0.2, 6_000)):
        request = Request(data=many, held_out=share)
        found = open_samples(request, ZOO["mlp"](), apart=True)
        assert found.judged_on is not None
        assert found.judged_on.samples == held


def test_every_public_name_is_there() -> None:
    for name in ocompress.__all__:
        assert getattr(ocompress, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'optimise'"):
        _ = ocompress.optimise
    assert set(dir(ocompress)) == set(ocompress.__all__)


@pytest.mark.parametrize("recorded", [False, True])
def test_inner_types_are_written_if_the_file_had_them(tmp_path: Path, recorded: bool) -> None:
    source, output = tmp_path / "in.onnx", tmp_path / "out.onnx"
    proto = to_proto(ZOO["mlp"]())
    del proto.graph.value_info[:]
    onnx.save(onnx.shape_inference.infer_shapes(proto) if recorded else proto, source)
    assert bool(onnx.load(source).graph.value_info) == recorded
    done = ocompress.optimize(source, output, passes="canonicalize", measure=False)
    assert bool(onnx.load(output).graph.value_info) == recorded
    assert done.pipeline.model.graph.nodes[0].output.shape is not None


def test_models_and_data_in_memory(tmp_path: Path) -> None:
    model = ZOO["mlp"]()
    before = fingerprint(model)
    done = ocompress.optimize(model, passes="prune", data={"x": X}, measure=False)
    assert done.held
    assert done.output is None
    assert fingerprint(model) == before
    assert fingerprint(done.model) != before
    ocompress.save(done.model, tmp_path / "m.onnx")
    assert fingerprint(ocompress.load(tmp_path / "m.onnx")) == fingerprint(done.model)


@pytest.mark.parametrize(("factor", "held"), [(1.0001, True), (-1.0, False)])
def test_budget_keeps_what_held(factor: float, held: bool, tmp_path: Path) -> None:
    model = ZOO["mlp"]()
    plain = ocompress.optimize(model, passes="canonicalize", measure=False)
    done = ocompress.optimize(
        model,
        tmp_path / "m.onnx",
        passes=[Scale(factor=factor)],
        data=[{"x": X}],
        budget=Budget(max_drop=0.05),
        measure=False,
    )
    assert done.held is held
    assert bool(done.broken) is not held
    kept = fingerprint(ocompress.load(tmp_path / "m.onnx"))
    assert (kept == fingerprint(plain.model)) is not held


def test_broken_result_is_never_written(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"old")
    with pytest.raises(PassError, match="not written"):
        ocompress.optimize(ZOO["mlp"](), tmp_path / "m.onnx", passes=[Rename()], measure=False)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("m.onnx", b"old")]


class Crooked(Scale):
    """Say that outputs stay as they are, and change them."""

    name = "crooked"
    numerics = Numerics.EXACT


@pytest.mark.parametrize("data", [None, {"x": X}])
def test_a_pass_that_lies_is_named_and_nothing_wrong_is_written(
    data: dict[str, np.ndarray] | None, tmp_path: Path
) -> None:
    plain = ocompress.optimize(ZOO["mlp"](), passes="canonicalize", measure=False)
    done = ocompress.optimize(
        ZOO["mlp"](),
        tmp_path / "m.onnx",
        passes=[Crooked(factor=1.01)],
        data=data,
        measure=False,
    )
    assert not done.held
    assert len(done.broken) == 1
    assert "crooked was rolled back: 'crooked' is meant to keep the outputs" in done.broken[0]
    written = ocompress.load(tmp_path / "m.onnx")
    assert fingerprint(written) == fingerprint(plain.model)


def test_what_cannot_be_run_is_said_to_be_unchecked() -> None:
    b = Builder()
    b.op("Reshape", b.input("x", ["n", 4]), b.input("s", [2], T.INT64), to="y")
    b.output("y", ["a", "b"])
    done = ocompress.optimize(b.model(), passes="canonicalize")
    assert any("NOT CHECKED" in r for r in done.remarks)


@pytest.mark.parametrize("limit", [None, 0.9])
def test_outputs_far_off_are_said_aloud_where_nothing_limits_the_drop(limit: float | None) -> None:
    done = ocompress.optimize(
        ZOO["mlp"](),
        passes=[Scale(factor=0.8)],
        data={"x": X},
        budget=Budget(max_drop=limit),
        measure=False,
    )
    assert done.held
    assert any("DIVERGED" in r for r in done.remarks) is (limit is None)


@pytest.mark.parametrize("factor", [0.0, -1.0])
def test_an_output_that_collapsed_is_a_failure_without_any_limit(factor: float) -> None:
    done = ocompress.optimize(
        ZOO["mlp"](),
        passes=[Scale(factor=factor)],
        data={"x": X},
        budget=Budget(max_latency_ratio=None),
    )
    assert not done.held
    (why,) = done.broken
    assert why.startswith("scale was rolled back: output 'y' collapsed: its decisions agree in")


def test_request_checks_itself() -> None:
    with pytest.raises(OptionError, match="are mutually exclusive"):
        Request(passes="prune", recipe="r.toml")
    with pytest.raises(OptionError, match="synthetic data cannot show"):
        Request(passes="prune", synthetic=3, budget=Budget(max_drop=0.1))
    with pytest.raises(DataError, match="'quant' needs calibration data"):
        Request(passes="quant").check()
    with pytest.raises(OptionError, match="must be above 0"):
        Budget(max_size_ratio=0)
    settings = Request(passes=Pipeline.parse("prune"), target="arm64").settings()
    assert settings["target"] == "arm64"
    assert settings["max_latency_ratio"] is None  # it cannot be timed here


def test_size_limit_forgives_names_but_not_weights() -> None:
    budget = Budget()
    assert budget.size_limit(10_000_000) == pytest.approx(1.01)
    assert budget.size_limit(4096) == pytest.approx(2.0)
    assert Budget(max_size_ratio=0.5).size_limit(10_000_000) == pytest.approx(0.505)


def test_large_models_are_judged_by_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocompress.front.bench.LARGE", 1000)
    ocompress.save(ZOO["mlp"](), tmp_path / "in.onnx", external_data=True)
    done = ocompress.optimize(
        tmp_path / "in.onnx", tmp_path / "out.onnx", passes="prune", external_data=True
    )
    assert done.held
    assert done.profile is None
    assert [c.name for c in done.validation.structure][-1] == "runs[basic]"
    assert any("too large" in r for r in done.remarks)


def test_a_model_the_runtime_cannot_load_is_refused_even_when_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocompress.front.bench.LARGE", 0)
    b = Builder()
    b.op("Relu", b.op("MatMul", b.input("x", ["n", 4]), b.weight(5, 3)), to="y")
    b.output("y", ["n", 3])
    ocompress.save(b.model(), tmp_path / "in.onnx")
    with pytest.raises(ocompress.errors.OcompressError):
        ocompress.optimize(tmp_path / "in.onnx", tmp_path / "out.onnx", passes="prune")
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize(
    ("name", "inputs"), [("initializers_as_inputs", ["x"]), ("overridable_default", ["x", "scale"])]
)
def test_survey_lists_what_callers_may_give(name: str, inputs: list[str]) -> None:
    assert [t.name for t in survey(ZOO[name]()).inputs] == inputs


@pytest.mark.parametrize("passes", ["prune-channels", "canonicalize{freeze_inputs=true},quant"])
def test_weights_that_callers_may_set(passes: str) -> None:
    """Exporters used to list all initializers as inputs; who gets nothing for it is told why."""
    proto = to_proto(ZOO["initializers_as_inputs"]())
    proto.ir_version = 8
    done = ocompress.optimize(proto, passes=passes, measure=False, synthetic=16)
    said = [r for r in done.remarks if "1 weight is an input" in r and "freeze_inputs=true" in r]
    assert bool(said) == (passes == "prune-channels")
    left = {r.code for r in done.pipeline.diagnostics if r.source == "prune-channels"}
    assert left == ({"dynamic-weight"} if said else set())


def test_survey_counts_work_on_the_data() -> None:
    b = Builder()
    x = b.input("x", ["n", "t", 16])
    b.op("MatMul", x, b.weight(16, 4), to="y")
    b.output("y", ["n", "t", 4])
    assert survey(b.model()).cost.unknown
    counted = survey(b.model(), data={"x": np.ones((2, 5, 16), np.float32)}).cost
    assert counted.total_macs == 5 * 16 * 4


@pytest.mark.parametrize("given", ["labels", "metric", "samples", "preprocess"])
def test_what_only_makes_sense_with_data_is_refused_without(given: str) -> None:
    value = {"samples": 3}.get(given, "x")
    with pytest.raises(OptionError, match="need data"):
        ocompress.validate(ZOO["mlp"](), ZOO["mlp"](), **{given: value})  # type: ignore[arg-type]
    if given == "preprocess":
        with pytest.raises(OptionError, match="needs a folder"):
            ocompress.profile(ZOO["mlp"](), preprocess="x")


@pytest.mark.parametrize("constant", [True, False])
def test_names_that_the_runtime_mixes_up(constant: bool, tmp_path: Path) -> None:
    """A constant of a branch hides an outer one; ONNX Runtime takes the outer one at times."""
    inner = Builder()
    inner.op("Add", "h", inner.const(np.full(4, 5, np.float32), "k"), to="same")
    inner.output("same")
    b = Builder()
    b.op("Relu", b.input("x", ["n", 4]), to="h")
    condition = b.const(np.array(True), "c")
    if not constant:
        b.input("c", [], T.BOOL)
    b.op("If", condition, then_branch=inner.graph(), else_branch=inner.graph(), to="q")
    b.op("Sub", "q", b.const(np.arange(4, dtype=np.float32), "k"), to="y")
    b.output("y", ["n", 4])
    (tmp_path / "in.onnx").write_bytes(b.proto().SerializeToString())
    x = np.ones((2, 4), np.float32)
    told = Session(tmp_path / "in.onnx").run({"x": x})["y"]
    if np.array_equal(told, x + 5 - np.arange(4)):
        done = ocompress.optimize(tmp_path / "in.onnx", passes="canonicalize", measure=False)
        np.testing.assert_array_equal(Session(done.model).run({"x": x})["y"], told)
        return
    assert constant
    with pytest.raises(UnsupportedModelError, match="rename such values"):
        ocompress.optimize(tmp_path / "in.onnx", passes="canonicalize", measure=False)


class Shrink(Pass):
    """Halve every weight, which no option asks for; for tests of limits by default."""

    name = "shrink"
    numerics = Numerics.LOSSY

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Halve."""
        return Scale(factor=0.5).run(model, ctx)


def test_outputs_far_off_within_the_default_limit_are_told_what_it_counts() -> None:
    b = Builder()
    b.op("MatMul", b.input("x", ["n", 8]), b.weight(8, 5), to="y")
    b.output("y", ["n", 5])
    x = np.random.default_rng(1).standard_normal((64, 8)).astype(np.float32)
    passes = [Shrink()]
    done = ocompress.optimize(b.model(), passes=passes, data={"x": x}, measure=False)
    (said,) = [r for r in done.remarks if "DIVERGED" in r]
    assert "the default limit counts" in said
    assert "--metric error" in said


@pytest.mark.parametrize("strip", ["", "{strip=[metadata]}"])
def test_notes_on_nodes_that_make_much_of_a_file_are_told(strip: str) -> None:
    model = ZOO["mlp"]()
    for node in model.graph.nodes:
        node.metadata = {"trace": "line\n" * 1000}
    done = ocompress.optimize(model, passes=f"canonicalize{strip}", measure=False)
    assert any("strip=[docs,metadata]" in r for r in done.remarks) is not bool(strip)


def test_lists_of_other_lengths_are_told_as_such_and_not_as_decibels() -> None:
    def model(limit: float) -> Model:
        b = Builder()
        h = b.op("MatMul", b.input("x", ["n", 8]), b.weight(8, 1))
        rows = b.op("NonZero", b.op("Greater", h, b.const(np.float32(limit))))
        b.op("Gather", h, b.op("Gather", rows, b.const(np.int64(0))), to="y")
        b.output("y", ["k", 1])
        return b.model()

    x = np.random.default_rng(1).standard_normal((64, 8)).astype(np.float32)
    found = ocompress.validate(model(0.2), model(0.4), {"x": x}, max_drop=1.0)
    assert found.levels[0].outputs[0].shape_changes == 3  # fed one by one, as many as are found
    (shown,) = [f.value for f in quality(found.levels[0]) if f.label == "SQNR"]
    assert shown == "other shape in 3 feeds"
    (told,) = far_off(Budget(), replace(found, related=()), "")
    assert "has another shape than the original's in 3 feeds" in told
    assert "dB" not in told
