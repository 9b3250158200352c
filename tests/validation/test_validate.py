"""Validation from end to end on tiny models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.errors import DataError
from ocompress.ir import Model, edit
from ocompress.runtime import Level, Session
from ocompress.validation import Metric, ValidationResult, runs, sources, validate
from tests.build import Builder, InMemory
from tests.validation.nets import after, classifier, data, predictions

MODEL = classifier()


def names(result: ValidationResult) -> list[str]:
    return [c.name for c in result.failures]


def test_a_clone_is_exact_at_both_levels() -> None:
    result = validate(MODEL, MODEL.clone(), data())
    assert result.passed
    assert [level.level for level in result.levels] == [Level.ALL, Level.DISABLED]
    assert (result.samples, result.feeds, result.source) == (40, 5, "memory")
    first = result.levels[0].outputs[0]
    assert first.exact
    assert result.levels[0].agreement == first.agreement
    assert [o.name for o in result.between_levels] == ["y0"]


def test_the_result_is_json_in_a_stable_order() -> None:
    result = validate(MODEL, after("Mul", np.float32(1.5)), data())
    written = json.dumps(result.to_json(), allow_nan=False)
    again = json.dumps(validate(MODEL, after("Mul", np.float32(1.5)), data()).to_json())
    assert written == again
    assert list(json.loads(written))[:3] == ["structure", "related", "levels"]
    exact = validate(MODEL, MODEL, data()).to_json()["levels"][0]["outputs"][0]
    assert (exact["exact"], exact["sqnr_db"]) == (True, None)


def test_new_nan_fails() -> None:
    result = validate(MODEL, after("Sqrt"), data())
    assert names(result) == ["finite"]
    assert result.levels[0].outputs[0].new_nonfinite > 0


def nan_weights() -> Model:
    model = classifier()
    for value in model.graph.initializers.values():
        if value.data is not None and value.data.ndim == 2:
            edit.set_weight(value, np.full_like(value.data, np.nan))
    return model


def test_nothing_but_nan_is_nothing_to_compare() -> None:
    result = validate(nan_weights(), nan_weights(), data())
    assert not result.failures
    assert not result.passed
    assert "every output" in result.uncompared
    assert result.remarks == (
        "output 'y0' of the reference is NaN or infinite in every element: there is nothing to "
        "compare",
    )


def found_above(least: float) -> Model:
    """A detector's end: the scores above `least`, as many as there are."""
    build = Builder()
    scores = build.input("x", ["n", 4])
    where = build.op("NonZero", build.op("Greater", scores, build.const(np.float32(least))))
    build.op("GatherND", scores, build.op("Transpose", where, perm=[1, 0]), to="found")
    build.output("found", ["k"])
    return build.model()


def test_outputs_without_an_element_are_nothing_to_compare() -> None:
    feeds = InMemory([{"x": np.random.default_rng(0).random((12, 4), np.float32)}])
    result = validate(found_above(2), found_above(2), feeds)
    assert not result.passed
    assert "no element for any sample" in result.uncompared
    assert any("has no element for any sample" in r for r in result.remarks)
    assert validate(found_above(0.5), found_above(0.5), feeds).passed
    # what the candidate alone finds is a difference
    assert validate(found_above(2), found_above(0.5), feeds).compared


def test_numbers_where_the_reference_has_nan_are_not_the_same() -> None:
    result = validate(nan_weights(), MODEL, data())
    assert "finite" in names(result)
    output = result.levels[0].outputs[0]
    assert (output.changed_nonfinite, output.new_nonfinite) == (120, 0)
    assert not output.exact
    assert output.sqnr_db == -np.inf


def test_infinities_of_a_mask_are_equal() -> None:
    masked = after("Add", np.array([0, -np.inf, 0], np.float32))
    result = validate(masked, masked.clone(), data())
    assert result.passed
    assert result.levels[0].outputs[0].nonfinite == 40
    moved = validate(masked, after("Add", np.array([0, np.inf, 0], np.float32)), data())
    assert "finite" in names(moved)


def test_without_data_only_structure_is_checked() -> None:
    result = validate(MODEL, MODEL)
    assert not result.failures
    assert not result.compared
    assert not result.passed
    assert "--data" in result.uncompared
    assert result.levels == ()
    assert [c.name for c in result.structure][-2:] == ["runs[all]", "runs[disabled]"]


def test_a_candidate_that_does_not_load_is_a_finding() -> None:
    broken = after("NoSuchOperator", domain="nobody.knows")
    broken.opsets["nobody.knows"] = 1
    for given in (None, data()):
        result = validate(MODEL, broken, given)
        assert names(result) == ["domains", "runs[all]", "runs[disabled]"]
        assert result.levels == ()


def test_a_candidate_that_stops_running_is_a_finding() -> None:
    broken = after("Reshape", np.array([8, 3]))  # the last batch is smaller
    result = validate(MODEL, broken, data(20, 8))
    assert names(result) == ["runs[all]", "runs[disabled]"]


def test_data_that_do_not_fit_the_reference_are_an_error() -> None:
    with pytest.raises(DataError, match="do not match"):
        validate(MODEL, MODEL, InMemory([{"x": np.zeros((2, 5), np.float32)}]))


def test_labels_give_accuracy_and_its_drop() -> None:
    labels = predictions(MODEL, data())
    labels[:10] = (labels[:10] + 1) % 3
    result = validate(MODEL, MODEL, data(labels=labels))
    accuracy = result.levels[0].accuracy
    assert accuracy is not None
    assert (accuracy.reference, accuracy.candidate, accuracy.count) == (0.75, 0.75, 40)
    negative = validate(MODEL, after("Neg"), data(labels=labels)).levels[0].accuracy
    assert negative is not None
    assert negative.candidate < 0.4
    assert negative.drop.value == pytest.approx(0.75 - negative.candidate)
    assert negative.drop.low > 0.2


def test_shifted_labels_are_noticed() -> None:
    labels = np.roll(predictions(MODEL, data()), 1)
    accuracy = validate(MODEL, MODEL, data(labels=labels)).levels[0].accuracy
    assert accuracy is not None
    assert accuracy.reference < 0.9


@pytest.mark.parametrize(
    ("labels", "words"),
    [(np.zeros(39, int), "39 labels for 40 samples"), (np.full(40, 3), "go up to 3")],
)
def test_labels_that_do_not_fit_are_an_error(labels: np.ndarray, words: str) -> None:
    with pytest.raises(DataError) as caught:
        validate(MODEL, MODEL, data(labels=labels))
    assert words in str(caught.value)


@pytest.mark.parametrize("labels", [np.full(40, 0.5), np.zeros((40, 7), int)])
def test_labels_of_another_kind_leave_accuracy_out(labels: np.ndarray) -> None:
    result = validate(MODEL, MODEL, data(labels=labels))
    assert result.levels[0].accuracy is None
    assert "accuracy" in result.remarks[0]


def test_one_hot_labels_hear_how_classes_are_given() -> None:
    result = validate(MODEL, MODEL, data(labels=np.eye(3, dtype=int)[np.arange(40) % 3]))
    assert any("labels [40, 3]" in r and "not one-hot" in r for r in result.remarks)


def test_the_metric_sees_each_feed_with_its_labels() -> None:
    seen = []

    def mean_first(outputs: Mapping[str, np.ndarray], labels: Any, feeds: Any) -> np.ndarray:
        seen.append((len(labels), feeds["x"].shape))
        return outputs["y0"][:, 0]

    metric = Metric("m:mean_first", mean_first)
    labels = np.arange(20) % 3
    result = validate(MODEL, after("Sub", np.float32(0.5)), data(20, 8, labels), metric=metric)
    own = result.levels[1].metric
    assert own is not None
    assert own.drop.value == pytest.approx(0.5, abs=1e-6)
    assert own.name == "m:mean_first"
    assert [s[0] for s in seen[::3]] == [8, 8, 4]


def test_one_number_per_feed_is_weighted_by_samples() -> None:
    metric = Metric("m", lambda outputs, *_: float(len(outputs["y0"])))
    own = validate(MODEL, MODEL, data(20, 8), metric=metric).levels[0].metric
    assert own is not None
    assert own.reference == pytest.approx((8 * 8 + 8 * 8 + 4 * 4) / 20)
    assert own.count == 3


def test_large_models_run_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = after("Mul", np.float32(1.1))
    expected = validate(MODEL, candidate, data()).to_json()
    alive, most = [0], [0]

    class Counting(Session):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            alive[0] += 1
            most[0] = max(most[0], alive[0])

        def __del__(self) -> None:
            alive[0] -= 1

    monkeypatch.setattr(sources, "Session", Counting)
    monkeypatch.setattr(runs, "LARGE", 0)
    assert validate(MODEL, candidate, data()).to_json() == expected
    assert most == [1]


def test_shelf_spills_and_gives_back() -> None:
    shelf = sources.OutputShelf(in_memory=100)
    put: list[dict[str, np.ndarray]] = [
        {"a": np.arange(50), "s": np.array(["x", "yy"], object)},
        {"a": np.zeros((), np.float32)},
        {},
    ]
    for arrays in put:
        shelf.put(arrays)
    for _ in range(2):
        for got, arrays in zip(shelf, put, strict=True):
            assert list(got) == list(arrays)
            assert all(np.array_equal(got[n], arrays[n]) for n in arrays)


def several_kinds() -> Model:
    b = Builder()
    x, s = b.input("x", ["n", 4]), b.input("s", [], T.FLOAT)
    i = b.input("i", ["n"], T.INT64)
    b.op("Mul", x, s, to="float_out")
    b.op("Add", i, b.const(np.array(1)), to="int_out")
    b.op("SequenceConstruct", x, x, to="list_out")
    b.op("ReduceSum", x, to="scalar_out", keepdims=0)
    b.op("Greater", x, s, to="bool_out")
    b.op("NonZero", x, to="ragged_out")
    for name, shape, kind in [
        ("float_out", ["n", 4], T.FLOAT),
        ("int_out", ["n"], T.INT64),
        ("scalar_out", [], T.FLOAT),
        ("bool_out", ["n", 4], T.BOOL),
        ("ragged_out", [2, None], T.INT64),
    ]:
        b.output(name, shape, kind)
    from onnx import helper

    element = helper.make_tensor_type_proto(T.FLOAT, None)
    b.outputs.append(helper.make_value_info("list_out", helper.make_sequence_type_proto(element)))
    return b.model()


def test_inputs_and_outputs_of_every_kind() -> None:
    model = several_kinds()
    feed: dict[str, np.ndarray] = {
        "x": np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32),
        "s": np.array(0.5, np.float32),
        "i": np.arange(3),
    }
    result = validate(model, model.clone(), InMemory([feed, feed]))
    assert result.passed
    assert [o.name for o in result.levels[0].outputs] == [
        "float_out",
        "int_out",
        "scalar_out",
        "bool_out",
        "ragged_out",
        "list_out[0]",
        "list_out[1]",
    ]
    assert result.remarks == (
        "one result for all samples of a feed, which counts as one: 'scalar_out', 'ragged_out'",
    )
