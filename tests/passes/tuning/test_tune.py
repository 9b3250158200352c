"""Training after pruning: nearer to the original, and nothing but values changes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from ocompress import stopping
from ocompress.analysis import MeasurementStore
from ocompress.errors import DataError, UsageError
from ocompress.io import as_dataset
from ocompress.ir import Model, edit, from_proto, text
from ocompress.pipeline import Instrument, PassManager, Pipeline, PipelineResult, Status
from ocompress.runtime import Session
from tests.build import Builder, InMemory
from tests.contract.harness import TARGET

HAS_TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(
    not HAS_TORCH, reason="PyTorch is not installed: pip install ocompress[tune]"
)


def net(outputs: str = "scores") -> Model:
    b = Builder(4)
    x = b.input("x", ["n", 1, 8, 8])
    h = b.op("Relu", b.op("Conv", x, b.weight(8, 1, 3, 3), b.weight(8), strides=[2, 2]))
    h = b.op("Relu", b.op("Gemm", b.op("Flatten", h), b.weight(72, 24), b.weight(24)))
    last = b.op("Gemm", h, b.weight(24, 5), b.weight(5))
    kinds = {"scores": "Identity", "shares": "Softmax", "other": "Tanh", "each": "Sigmoid"}
    b.op(kinds[outputs], last, to="y")
    b.output("y", ["n", 5])
    return b.model()


def data(samples: int = 160) -> InMemory:
    rng = np.random.default_rng(1)
    return InMemory([{"x": rng.standard_normal((samples, 1, 8, 8)).astype(np.float32)}])


def tuned(model: Model, passes: str, seed: int = 0) -> PipelineResult:
    manager = PassManager(target=TARGET, data=data(), seed=seed)
    return manager.run(Pipeline.parse(passes), model)


def apart(one: Model, other: Model) -> float:
    rng = np.random.default_rng(2)
    feeds = {"x": rng.standard_normal((500, 1, 8, 8)).astype(np.float32)}
    a, b = (Session(m).run(feeds)["y"] for m in (one, other))
    return float(np.square(a - b).mean())


PRUNE = "prune{sparsity=0.7 refit=false protect_ends=false}"
LEVELS = "entropy{bits=1 fit=false smallest=0}"


@needs_torch
@pytest.mark.parametrize("outputs", ["scores", "shares", "other", "each"])
def test_a_pruned_net_comes_nearer_to_the_original(outputs: str) -> None:
    model = net(outputs)
    pruned, after = (tuned(model, p).model for p in (PRUNE, f"{PRUNE},tune{{epochs=12}}"))
    assert apart(model, after) < 0.8 * apart(model, pruned)
    for one, other in zip(pruned.weights(), after.weights(), strict=True):
        if one.ndim > 1:
            np.testing.assert_array_equal(one == 0, other == 0)
    for model_ in (pruned, after):  # but for their weights they are the same
        for value in model_.graph.initializers.values():
            edit.set_weight(value, np.zeros_like(value.data))
    assert text(pruned) == text(after)


@needs_torch
def test_same_seed_gives_same_weights() -> None:
    passes = f"{PRUNE},tune{{epochs=2}}"
    first, again, other = (tuned(net(), passes, seed).model for seed in (3, 3, 4))
    pairs = list(zip(first.weights(), again.weights(), strict=True))
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert any(
        not np.array_equal(a, b) for a, b in zip(first.weights(), other.weights(), strict=True)
    )


@needs_torch
def test_of_many_samples_few_are_kept_apart() -> None:
    for samples, held in ((1_000, 100), (25_000, 2_000)):
        manager = PassManager(target=TARGET, data=as_dataset(data(samples).batches[0], net()))
        result = manager.run(Pipeline.parse(f"{PRUNE},tune{{epochs=1 batch=4096}}"), net())
        told = result.records[-1].details["samples"]
        assert told == {"fitted": samples - held, "held_out": held}


@needs_torch
def test_nothing_is_kept_that_is_no_better() -> None:
    result = tuned(net(), "tune{epochs=2}")  # it is the original
    assert result.records[-1].status is Status.UNCHANGED
    assert [r.code for r in result.diagnostics] == ["no-gain"]


@needs_torch
def test_what_is_best_is_said_by_samples_that_no_pass_was_fitted_to() -> None:
    """On those that it saw, a pass before leaves so little that training seems to lose."""
    x = np.random.default_rng(8).standard_normal((60, 1, 8, 8)).astype(np.float32)
    manager = PassManager(target=TARGET, data=as_dataset({"x": x}, net()))
    passes = "entropy{bits=1.5 smallest=0},tune{epochs=2 levels=true}"
    result = manager.run(Pipeline.parse(passes), net())
    assert result.records[-1].details["samples"] == {"fitted": 54, "held_out": 6}
    assert result.records[-1].details["held_out"]["before"] > 0.03  # 0.012 on samples that it saw


@needs_torch
def test_excluded_layers_keep_their_weights() -> None:
    pruned = tuned(net(), PRUNE).model
    result = tuned(net(), f"{PRUNE},tune{{epochs=2 exclude=gemm*}}")
    for name, value in result.model.graph.initializers.items():
        reader, _ = value.users[0]
        was = pruned.graph.initializers[name].data
        assert value.data is not None
        assert was is not None
        same = np.array_equal(value.data, was)
        assert same == reader.label.startswith("gemm")


@needs_torch
def test_samples_that_are_seen_often_are_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    from ocompress.training.lessons import altered

    seen: list[int] = []

    def noted(feeds: Any, rng: Any, **how: Any) -> Any:
        found = altered(feeds, rng, **how)
        assert found["x"].shape == feeds["x"].shape
        assert found["x"].dtype == np.float32
        assert not np.array_equal(found["x"], feeds["x"])
        seen.append(len(found["x"]))
        return found

    monkeypatch.setattr("ocompress.training.distillation.altered", noted)
    tuned(net(), f"{PRUNE},tune{{epochs=11}}")
    assert seen
    seen.clear()
    tuned(net(), f"{PRUNE},tune{{epochs=2}}")
    tuned(net(), f"{PRUNE},tune{{epochs=11 mixup=false}}")
    assert not seen


@needs_torch
def test_progress_tells_loss_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(PassManager, "_progress", lambda _, stage, *__: said.append(stage))
    tuned(net(), f"{PRUNE},tune{{epochs=2}}")
    lines = [line for line in said if line.startswith("tune: loss")]
    assert lines
    assert all("held-out" in line and "left" in line for line in lines)


def test_a_missing_package_is_named_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def without(name: str, *rest: Any) -> Any:
        return None if name == "torch" else find(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    monkeypatch.setattr(PassManager, "_advance", None)
    with pytest.raises(UsageError, match=r"pass 'tune' needs the package 'torch'.*pip install"):
        tuned(net(), f"{PRUNE},tune")


def zeros(model: Model) -> tuple[int, int]:
    """Return the zeros of matrices and kernels, and all of their elements."""
    weights = [w for w in model.weights() if w.ndim > 1]
    return sum(int((w == 0).sum()) for w in weights), sum(w.size for w in weights)


@needs_torch
@pytest.mark.parametrize("ends", ["", " minutes=0.00001"])
def test_weights_go_on_the_way(ends: str) -> None:
    model = net()
    result = tuned(model, f"tune{{sparsity=0.7 epochs=12{ends}}}")
    gone, total = zeros(result.model)
    assert gone == round(0.7 * total)
    assert result.records[-1].details["sparsity"] == pytest.approx(0.7, abs=1 / total)
    if not ends:
        at_once = tuned(model, "prune{sparsity=0.7 criterion=l1 refit=false protect_ends=false}")
        assert apart(model, result.model) < 0.5 * apart(model, at_once.model)


@needs_torch
def test_zeros_that_are_there_stay_and_count() -> None:
    pruned = tuned(net(), PRUNE).model
    after = tuned(net(), f"{PRUNE},tune{{sparsity=0.8 epochs=4}}").model
    for one, other in zip(pruned.weights(), after.weights(), strict=True):
        assert not (other[one == 0] != 0).any() or one.ndim == 1
    gone, total = zeros(after)
    assert gone == round(0.8 * total)
    fewer = tuned(net(), f"{PRUNE},tune{{sparsity=0.5 epochs=2}}").model
    assert zeros(fewer) == zeros(pruned)


class Impatient(Instrument):
    """Asks for the end of training after some steps."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Ask."""
        if done == 30:
            assert stopping.ask_for_early_end()
            assert not stopping.ask_for_early_end()


@needs_torch
@pytest.mark.parametrize(
    "passes",
    [
        f"{PRUNE},tune{{epochs=90}}",
        "tune{sparsity=0.7 epochs=90}",
        f"{LEVELS},tune{{levels=true epochs=90}}",
    ],
)
def test_the_best_so_far_is_kept_when_training_ends_early(passes: str) -> None:
    manager = PassManager(target=TARGET, data=data(), instruments=[Impatient()])
    result = manager.run(Pipeline.parse(passes), net())
    assert result.records[-1].status is Status.APPLIED
    assert result.records[-1].details["steps"] == 30
    assert "ended-early" in [r.code for r in result.diagnostics.of("tune")]
    if "sparsity=0.7 epochs" in passes:
        gone, total = zeros(result.model)
        assert gone == round(0.7 * total)
    assert not stopping.ask_for_early_end()  # nothing runs that could


@needs_torch
def test_images_are_augmented() -> None:
    from ocompress.training.lessons import altered

    rng = np.random.default_rng(0)
    image = rng.random((64, 3, 10, 12)).astype(np.float32)
    feeds: dict[str, np.ndarray] = {
        "x": image,
        "n": np.arange(64),
        "y": np.ones((64, 5), np.float32),
    }
    for kind in ("flip", "shift", "noise"):
        for turned in (False, True):
            given = {**feeds, "x": np.moveaxis(image, 1, 3) if turned else image}
            found = altered(given, np.random.default_rng(1), mixes=False, augment=(kind,))
            assert found["n"] is feeds["n"]
            assert found["y"] is feeds["y"]
            assert found["x"].dtype == np.float32
            made = np.moveaxis(found["x"], 3, 1) if turned else found["x"]
            assert made.shape == image.shape
            same = np.array([np.array_equal(a, b) for a, b in zip(made, image, strict=True)])
            assert not same.all()
            if kind == "flip":
                assert 10 < same.sum() < 54
                np.testing.assert_array_equal(made[~same], image[~same][..., ::-1])
            if kind == "shift":
                assert np.isin(made, image).all()
            if kind == "noise":
                assert np.abs(made - image).max() < 0.3 * image.std()


@needs_torch
def test_gradients_pass_signs_of_activations() -> None:
    passes = "binarize{activations=true smallest=64}"
    model = net()
    before, after = (tuned(model, p).model for p in (passes, f"{passes},tune{{epochs=100}}"))
    assert apart(model, after) < 0.95 * apart(model, before)
    kernels = [next(w for w in m.weights() if w.ndim == 4) for m in (before, after)]
    assert np.abs(kernels[1] - kernels[0]).max() > 0.1 * np.abs(kernels[0]).max()
    matrix = next(w for w in after.weights() if w.shape == (72, 24))
    assert all(len(np.unique(np.abs(column))) == 1 for column in matrix.T)


@needs_torch
def test_signs_and_choices_move_unless_told_otherwise() -> None:
    for passes in ("binarize{planes=1 smallest=64 fit=false}", "cluster{bits=2 smallest=64}"):
        ends = [
            tuned(net(), f"{passes},tune{{epochs=40 lr=0.03{more}}}")
            for more in (" levels=false", "")
        ]
        scales, signs = (end.records[-1].details["held_out"] for end in ends)
        assert signs["after"] < scales["after"] < 0.97 * scales["before"]
        for one, other in zip(*(end.model.weights() for end in ends), strict=True):
            assert len(np.unique(other)) <= len(np.unique(one)) or one.ndim == 1


@needs_torch
@pytest.mark.parametrize("first", ["", "equalize,"])
def test_signs_begin_at_weights_before_they_had_any(
    first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ocompress.training.trained import TrainedModel

    passes = f"{first}binarize{{planes=1 smallest=64 fit=false}},tune{{epochs=10}}"
    near = tuned(net(), passes)
    monkeypatch.setattr(TrainedModel, "begin_at", lambda *_: False)
    far = tuned(net(), passes)
    found = [end.records[-1].details["held_out"] for end in (near, far)]
    assert found[0]["before"] == found[1]["before"]
    assert found[0]["after"] < 0.9 * found[1]["after"]


@needs_torch
def test_a_beginning_that_does_not_pay_gives_way_to_what_came_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ocompress.training.moving_forms import Signs
    from ocompress.training.trained import TrainedModel

    def astray(student: TrainedModel, _: object) -> bool:
        for form in student.forms.values():
            if isinstance(form, Signs):
                form.begin_at(-form.exact())
        return True

    monkeypatch.setattr(TrainedModel, "begin_at", astray)
    end = tuned(net(), "binarize{planes=1 smallest=64},tune{epochs=10}")
    found = end.records[-1].details["held_out"]
    assert found["after"] < 0.97 * found["before"]


@needs_torch
@pytest.mark.parametrize(("more", "matrices"), [("", 1), (" levels=false", 0)])
def test_signs_stay_for_good_in_the_end(
    more: str, matrices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ocompress.training import distillation
    from ocompress.training.settling import Settling

    made: list[Settling] = []

    def remembered(*parts: Any) -> Settling:
        made.append(Settling(*parts))
        return made[-1]

    monkeypatch.setattr(distillation, "Settling", remembered)
    tuned(net(), f"binarize{{planes=1 smallest=64}},tune{{epochs=10{more}}}")
    leaves = made[0].leaves
    assert len(leaves) == matrices
    assert all(leaf.settled is not None and bool(leaf.settled.all()) for leaf in leaves)


@needs_torch
@pytest.mark.parametrize(
    "passes",
    [
        f"{PRUNE},tune{{epochs=12}}",
        "tune{sparsity=0.6 epochs=12}",
        f"{LEVELS},tune{{levels=true epochs=12}}",
        "binarize{planes=1 smallest=64},tune{epochs=12}",
    ],
)
def test_training_goes_on_where_it_ended(
    passes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ocompress.training import course

    def run(folder: Path | None, *hooks: Instrument) -> PipelineResult:
        samples = data()
        store = MeasurementStore(folder=folder, data=samples)
        manager = PassManager(target=TARGET, data=samples, store=store, instruments=hooks)
        return manager.run(Pipeline.parse(passes), net())

    monkeypatch.setattr(course, "_SAVE_SECONDS", 0.0)
    whole = run(None)
    run(tmp_path, Impatient())
    counted = Counter()
    again = run(tmp_path, counted)
    assert counted.steps < whole.records[-1].details["steps"]
    for one, other in zip(whole.model.weights(), again.model.weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    counted.steps = 0
    run(tmp_path, counted)  # nothing is left to do
    assert not counted.steps


@needs_torch
def test_the_teacher_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ocompress.training import distillation

    asked: list[int] = []

    class Noted(Session):
        def run(self, feeds: Any, *more: Any) -> Any:
            asked.append(len(feeds["x"]))
            return super().run(feeds, *more)

    def run(folder: Path | None, epochs: int) -> Model:
        samples = data()
        store = MeasurementStore(folder=folder, data=samples)
        manager = PassManager(target=TARGET, data=samples, store=store)
        return manager.run(Pipeline.parse(f"{PRUNE},tune{{epochs={epochs}}}"), net()).model

    monkeypatch.setattr(distillation, "Session", Noted)
    run(tmp_path, 2)
    assert sum(asked) == 2 * 160  # a single feed is both parts
    asked.clear()
    again = run(tmp_path, 3)
    assert not asked
    for one, other in zip(run(None, 3).weights(), again.weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def labelled(shape: tuple[int, ...] = (160,), high: int = 5) -> InMemory:
    labels = np.random.default_rng(5).integers(0, high, shape)
    return InMemory(data().batches, labels)


@needs_torch
@pytest.mark.parametrize("more", ["", " mixup=true"])
def test_labels_count_as_much_as_alpha_says(more: str) -> None:
    from torch import from_numpy
    from torch.nn.functional import cross_entropy

    samples = labelled()

    def entropy(alpha: float) -> float:
        manager = PassManager(target=TARGET, data=samples)
        passes = f"{PRUNE},tune{{epochs=40 lr=0.03 alpha={alpha}{more}}}"
        model = manager.run(Pipeline.parse(passes), net()).model
        scores = from_numpy(Session(model).run(samples.batches[0])["y"])
        return float(cross_entropy(scores, from_numpy(np.asarray(samples.labels))))

    none, half, all_ = (entropy(alpha) for alpha in (0.0, 0.5, 1.0))
    assert all_ < 0.95 * half < 0.9 * none


@needs_torch
@pytest.mark.parametrize(
    ("samples", "why"),
    [
        (data(), "alpha needs labels; give some with --labels"),
        (labelled(high=9), "labels go up to 8, but output 'y' has 5 classes"),
        (labelled((160, 3)), "there are 0, and labels are int64 of the shape"),
    ],
)
def test_labels_that_do_not_fit_are_refused(samples: InMemory, why: str) -> None:
    manager = PassManager(target=TARGET, data=samples)
    with pytest.raises(DataError, match=why):
        manager.run(Pipeline.parse(f"{PRUNE},tune{{epochs=1 alpha=0.5}}"), net())


class Counter(Instrument):
    """Counts steps of training."""

    steps = 0

    def progress(self, stage: str, done: int, total: int) -> None:
        """Count."""
        self.steps += stage.startswith("tune: loss")


@needs_torch
def test_outputs_whose_lengths_the_data_decide_are_named_and_not_learned_from() -> None:
    b = Builder(4)
    x = b.input("x", ["n", 1, 8, 8])
    h = b.op("Relu", b.op("Conv", x, b.weight(8, 1, 3, 3), b.weight(8), strides=[2, 2]))
    last = b.op("Gemm", b.op("Flatten", h), b.weight(72, 5), b.weight(5))
    best = b.op("ReduceMax", last, axes=[1], keepdims=0)
    kept = b.op("NonZero", b.op("Greater", best, b.const(np.float32(0.5))))
    b.op("Gather", last, b.op("Squeeze", kept), to="y")
    b.output("y", ["k", 5])
    result = tuned(b.model(), f"{PRUNE},tune{{epochs=1}}")
    assert result.records[-1].status is Status.UNCHANGED
    told = [(r.code, "'y'" in r.message) for r in result.diagnostics.of("tune")]
    assert told == [("lengths-vary", True)]


def looping(often: str) -> Model:
    """A layer in a Loop that goes round thrice, or as often as is fed; and one behind it."""
    inner = Builder(6)
    goes = inner.op("Identity", inner.input("on", [], TensorProto.BOOL))
    inner.inputs.insert(0, helper.make_tensor_value_info("i", TensorProto.INT64, []))
    held = inner.op("MatMul", inner.input("held", ["n", 64]), inner.weight(64, 64))
    inner.output(goes, [], TensorProto.BOOL)
    inner.output(inner.op("Tanh", held), ["n", 64])
    b = Builder(5)
    x = b.op("Flatten", b.input("x", ["n", 1, 8, 8]))
    b.ops("Cast", [b.op("ReduceMax", x, keepdims=0)], ["fed"], to=TensorProto.INT64)
    trips = b.const(np.array(3)) if often == "known" else "fed"
    b.op("MatMul", b.op("Loop", trips, "", x, body=inner.graph()), b.weight(64, 8), to="y")
    b.output("y", ["n", 8])
    return b.model()


@needs_torch
@pytest.mark.parametrize(("often", "code"), [("known", "tuned"), ("fed", "lengths-vary")])
def test_weights_in_bodies_are_named_and_lengths_are_known_where_a_loop_counts(
    often: str, code: str
) -> None:
    result = tuned(looping(often), f"{PRUNE},tune{{epochs=8}}")
    told = {r.code: r for r in result.diagnostics.of("tune")}
    assert set(told) == {code, "no-rule"}
    assert "4,096 weights" in told["no-rule"].message


@needs_torch
def test_outputs_that_are_not_finite_are_named_and_not_learned_from() -> None:
    b = Builder(4)
    x = b.op("Flatten", b.input("x", ["n", 1, 8, 8]))
    b.op("MatMul", x, b.weight(64, 32), to="y")
    b.output("y", ["n", 32])
    b.output(b.const(np.array([1, np.inf, np.nan], np.float32)), [3])
    result = tuned(b.model(), f"{PRUNE},tune{{epochs=8}}")
    assert [r.code for r in result.diagnostics.of("tune")] == ["not-finite", "tuned"]


@needs_torch
@pytest.mark.parametrize("only", [False, True])
def test_outputs_that_are_no_floats_are_named_and_not_learned_from(only: bool) -> None:
    b = Builder(4)
    x = b.op("Flatten", b.input("x", ["n", 1, 8, 8]))
    last = b.op("MatMul", x, b.weight(64, 32), to="y")
    b.op("ArgMax", last, to="best", axis=1)
    b.op("SplitToSequence", x, to="parts", axis=1)
    proto = b.proto()
    proto.graph.output.append(helper.make_tensor_value_info("best", TensorProto.INT64, ["n", 1]))
    if not only:
        parts = helper.make_tensor_sequence_value_info("parts", TensorProto.FLOAT, None)
        proto.graph.output.append(parts)
        proto.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 32]))
    result = tuned(from_proto(proto), f"{PRUNE},tune{{epochs=8}}")
    codes = [r.code for r in result.diagnostics.of("tune")]
    assert codes == (["not-floats"] if only else ["not-floats", "not-floats", "tuned"])
