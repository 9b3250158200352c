"""What outputs are taken for, and what somebody may ask for instead."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.analysis.gradients.seeds import Currency, Seeding
from ocompress.errors import DataError, OptionError
from ocompress.ir import Model
from ocompress.runtime import Session
from ocompress.validation import AccuracyGuard, LossUnit, Wanted, choosing, validate, wanted_by
from ocompress.validation.box_layouts import find_boxes
from ocompress.validation.boxes import Boxes, Scoring
from ocompress.validation.choosing import choose_measures
from ocompress.validation.masks import ClassMasks, Masks
from ocompress.validation.measures import Measure
from ocompress.validation.naming import is_own
from ocompress.validation.texts import Texts
from tests.build import Builder
from tests.validation.nets import detector, heads, pictures, reader, segmenter


def chosen(model: Model, metric: str = "auto", samples: int = 8) -> dict[str, Measure]:
    feeds = next(iter(pictures(model, samples, samples)))
    return choose_measures(model, Session(model).run(feeds), wanted_by(metric) or Wanted())


def nudged(model: Model, size: float) -> Model:
    """Return the model with other weights of convolutions."""
    found = model.clone()
    rng = np.random.default_rng(7)
    for node in [n for n in found.graph.nodes if n.op_type == "Conv"]:
        weight = node.inputs[1]
        assert weight is not None
        assert weight.constant is not None
        noise = rng.standard_normal(weight.constant.shape) * (size * weight.constant.std())
        other = (weight.constant + noise).astype(np.float32)
        node.set_input(1, found.graph.constant("w", other))
    return found


def test_features_are_no_map_of_classes() -> None:
    """Of a backbone's features, the largest of neighbouring places has nothing in common."""
    b = Builder(3)
    x = b.input("x", ["n", 3, 16, 16])
    b.op("Relu", b.op("Conv", x, b.weight(32, 3, 3, 3), pads=[1] * 4), to="features")
    b.output("features", ["n", 32, 16, 16])
    (measure,) = chosen(b.model()).values()
    assert measure.unit is not LossUnit.IOU
    (asked,) = chosen(b.model(), "iou").values()
    assert asked.unit is LossUnit.IOU


@pytest.mark.parametrize(
    ("width", "like", "unit"),
    [(64, False, LossUnit.COSINE), (63, False, LossUnit.ERROR), (64, True, LossUnit.ERROR)],
)
def test_many_numbers_of_one_size_are_an_embedding(width: int, like: bool, unit: LossUnit) -> None:
    numbers = np.random.default_rng(2).standard_normal((8, width)).astype(np.float32)
    assert choosing._measure_of(numbers, Seeding(Currency.SQUARES), like=like).unit is unit


@pytest.mark.parametrize(("offset", "unit"), [(0.5, LossUnit.COSINE), (3, LossUnit.ERROR)])
def test_vectors_that_all_point_one_way_are_numbers(offset: float, unit: LossUnit) -> None:
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((8, 4, 64)) + offset * rng.standard_normal(64)
    assert choosing._measure_of(rows, Seeding(Currency.SQUARES), like=False).unit is unit
    assert choosing._measure_of(rows[:1, :1], Seeding(Currency.SQUARES), like=False).unit is (
        LossUnit.COSINE
    )


@pytest.mark.parametrize(
    ("model", "unit", "kind"),
    [
        (detector(), LossUnit.BOXES, Boxes),
        (reader(), LossUnit.CTC, Texts),
        (reader(blank=19, softmax=False), LossUnit.CTC, Texts),
        (segmenter(), LossUnit.IOU, Masks),
        (segmenter(4), LossUnit.IOU, ClassMasks),
    ],
    ids=["boxes", "text", "logits of text", "mask", "map"],
)
def test_outputs_are_told_by_what_they_look_like(model: Model, unit: LossUnit, kind: type) -> None:
    (measure,) = chosen(model).values()
    assert (measure.unit, type(measure.matching)) == (unit, kind)
    assert measure.why
    data = pictures(model)
    guard = AccuracyGuard(model, data, 1.0)
    assert guard.judge(model, model).figures["drop"] == 0.0
    near, far = (guard.judge(nudged(model, s), model).figures for s in (0.02, 0.4))
    assert 0 < near["drop"] < far["drop"] < 1
    assert near["high"] < far["high"]
    assert any(f"counted by {unit}" in sentence for sentence in guard.reasons)
    loss = validate(model, nudged(model, 0.4), data).levels[0].loss
    assert loss is not None
    assert loss.unit == unit
    assert loss.drop.value == pytest.approx(far["drop"])


def test_the_blank_is_the_class_between_characters() -> None:
    assert isinstance(matching := chosen(reader())["text"].matching, Texts)
    assert matching.blank == 0
    assert isinstance(matching := chosen(reader(blank=19))["text"].matching, Texts)
    assert matching.blank == 19


def test_a_list_of_characters_in_the_file_tells() -> None:
    model = reader(blank=5)  # blanks do not look like any
    assert chosen(model)["text"].unit is LossUnit.EXPECTED
    entry = model.shell.metadata_props.add()
    entry.key, entry.value = "character", "\n".join("abcdefghijklmnopqrs")
    measure = chosen(model)["text"]
    assert measure.unit is LossUnit.CTC
    assert "19 characters that the file lists" in measure.why


def test_tokens_are_no_texts_of_pictures() -> None:
    b = Builder(0)
    ids = b.input("x", ["n", 12], 7)
    bias = np.zeros(20, np.float32)
    bias[0] = 2.0
    h = b.op("MatMul", b.op("Gather", b.weight(30, 16), ids), b.weight(16, 20))
    b.op("Add", h, b.const(bias), to="y")
    b.output("y", ["n", 12, 20])
    model = b.model()
    feeds = {"x": np.arange(24).reshape(2, 12) % 30}
    assert choose_measures(model, Session(model).run(feeds))["y"].unit is LossUnit.EXPECTED


def test_lists_of_a_detector_count_together() -> None:
    model = detector(after=True)
    data = pictures(model, 12, 1)
    measures = chosen(model, samples=1)
    assert [n for n, m in measures.items() if m.counts] == ["boxes"]
    assert measures["boxes"].joined == ("boxes", "scores", "labels")
    guard = AccuracyGuard(model, data, 1.0)
    assert guard.judge(model, model).figures["drop"] == 0.0
    other = nudged(model, 0.2)
    drop = guard.judge(other, model).figures["drop"]
    assert 0 < drop < 0.9  # lists have other lengths, and still there is something in common
    found = validate(model, other, data).levels[0]
    assert [(o.name, len(o.losses)) for o in found.outputs] == [
        ("boxes", 1),
        ("scores", 0),
        ("labels", 0),
    ]
    assert found.loss is not None
    assert found.loss.drop.value == pytest.approx(drop)


def test_a_detector_that_finds_nothing_is_counted_by_its_numbers() -> None:
    model = detector()
    quiet = model.clone()
    scores = next(
        n
        for n in quiet.graph.nodes
        if n.op_type == "Conv" and len(n.inputs) == 3 and n.name != quiet.graph.nodes[0].name
    )
    scores.set_input(2, quiet.graph.constant("b", np.full(2, -30, np.float32)))
    guard = AccuracyGuard(quiet, pictures(model), 1.0)
    assert guard.noun == "explained variance"
    assert guard.judge(nudged(quiet, 0.3), quiet).figures["drop"] > 0


def test_the_default_limit_is_wider_where_flips_count_in_full() -> None:
    assert AccuracyGuard(segmenter(), pictures(segmenter()), 0.01, default=True).max_drop == 0.05
    asked = AccuracyGuard(segmenter(), pictures(segmenter()), 0.01)
    assert asked.max_drop == 0.01


@pytest.mark.parametrize("name", ["a", "b"])
def test_four_numbers_of_a_head_are_no_box(name: str) -> None:
    model = heads("a", "b", last="Sigmoid")
    outputs = Session(model).run({"x": np.ones((5, 4), np.float32)})
    assert choose_measures(model, outputs)[name].unit is LossUnit.ERROR


def test_units_may_be_asked_for() -> None:
    model = segmenter(4)
    assert chosen(model, "expected")["mask"].unit is LossUnit.EXPECTED
    assert chosen(model, "mask=agreement")["mask"].unit is LossUnit.AGREEMENT
    assert chosen(model, "relative")["mask"].unit is LossUnit.RELATIVE
    two = heads("a", "b:0")
    outputs = Session(two).run({"x": np.ones((5, 4), np.float32)})
    found = choose_measures(two, outputs, wanted_by("b:0=error") or Wanted())
    assert [m.unit for m in found.values()] == [LossUnit.EXPECTED, LossUnit.ERROR]
    assert all(m.counts for m in found.values())


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("boxes", "metric 'boxes' fits no output of the model (mask: iou)"),
        ("mask=boxes", "metric 'mask=boxes' does not fit the output (mask: iou)"),
        ("box=iou", "the model has no output 'box' (it has mask)"),
    ],
)
def test_what_does_not_fit_is_said(metric: str, words: str) -> None:
    model = segmenter()
    for judge in (
        lambda: AccuracyGuard(model, pictures(model), 0.1, metric=metric),
        lambda: validate(model, model, pictures(model), metric=wanted_by(metric)),
    ):
        with pytest.raises(DataError) as caught:
            judge()
        assert words in str(caught.value)


@pytest.mark.parametrize("text", ["area", "a=area", "=iou", "a=iou,b", "a=accuracy"])
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="metric"):
        wanted_by(text)


def test_functions_and_outputs_with_colons_are_told_apart() -> None:
    assert [is_own(m) for m in ("module:f", "out:0=iou", "iou")] == [True, False, False]


RNG = np.random.default_rng(0)
XY = RNG.uniform(0, 50, (1, 40, 2)).astype(np.float32)
WH = RNG.uniform(60, 90, (1, 40, 2)).astype(np.float32)
CORNERS, CENTRES = np.concatenate([XY, XY + WH], -1), np.concatenate([XY + WH, XY], -1)
P = RNG.uniform(0, 1, (1, 40, 1)).astype(np.float32)
KIND = RNG.integers(0, 9, (1, 40, 1)).astype(np.float32)
MANY = RNG.uniform(0, 1, (1, 40, 7)).astype(np.float32)
SOFT = np.concatenate([np.full((1, 40, 1), 0.9), np.full((1, 40, 2), 0.05)], -1)


def together(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts, -1).astype(np.float32)


LAYOUTS = {
    "yolo 10": (together(CORNERS, P, KIND), Boxes((4, 5), label=5, is_final=True)),
    "paddle": (together(KIND, P, CORNERS)[0], Boxes((1, 2), 2, label=0, is_final=True)),
    "yolo 7": (
        together(np.zeros_like(P), CORNERS, KIND, P)[0],
        Boxes((6, 7), 1, label=5, image=0, is_final=True),
    ),
    "caffe": (
        together(np.zeros_like(P), KIND, P, CORNERS)[None],
        Boxes((2, 3), 3, label=1, image=0, is_final=True),
    ),
    "yolo 8": (
        together(CENTRES, MANY).transpose(0, 2, 1),
        Boxes((4, 11), axis=-2, corners=False),
    ),
    "yolo 5": (together(CENTRES, P, MANY), Boxes((5, 12), corners=False, objectness=4)),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_of_one_output_are_known(name: str) -> None:
    array, layout = LAYOUTS[name]
    found = find_boxes({"out": array}, {})
    assert found is not None
    assert found.layout == layout
    assert find_boxes({"out": RNG.standard_normal(array.shape).astype(np.float32)}, {}) is None


def test_layouts_of_several_outputs_are_known() -> None:
    ssd = find_boxes({"scores": SOFT.astype(np.float32), "boxes": CORNERS}, {})
    assert ssd is not None
    assert ssd.outputs == ("boxes", "scores")
    assert ssd.layout == Boxes((4, 7), background=0)
    logits = np.log(SOFT[..., ::-1]).astype(np.float32)
    detr = find_boxes({"pred_logits": logits, "pred_boxes": CENTRES / 100}, {})
    assert detr is not None
    assert detr.layout == Boxes((4, 7), corners=False, scoring=Scoring.SOFTMAX, background=2)
    counted = find_boxes(
        {
            "num_detections": np.array([40], np.float32),
            "detection_boxes": CORNERS,
            "detection_scores": P[..., 0],
            "detection_classes": KIND[..., 0],
        },
        {},
    )
    assert counted is not None
    assert counted.outputs == ("detection_boxes", "detection_scores", "detection_classes")
    assert counted.beside == ("num_detections",)


def test_four_classes_are_no_boxes() -> None:
    """A tagger of four classes that gives scores and probabilities, or has two heads."""
    rise = np.linspace(0, 2, 4, dtype=np.float32)
    logits = RNG.standard_normal((2, 30, 4)).astype(np.float32) * 0.1 + rise
    soft = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    fires = (1 / (1 + np.exp(-logits))).astype(np.float32)
    seven = np.repeat(SOFT, 10, 1)[:, :30].astype(np.float32).repeat(2, 0)
    for other in (soft, fires):
        assert find_boxes({"logits": logits, "probs": other}, {}) is None
    assert find_boxes({"tags": soft, "kinds": seven}, {}) is None
    assert find_boxes({"boxes": logits, "kinds": seven}, {}) is not None  # of other outputs


def test_a_file_that_says_it_detects_is_believed() -> None:
    shares = together(CENTRES / 200, MANY).transpose(0, 2, 1)
    said = {"task": "detect", "names": str({i: f"c{i}" for i in range(7)})}
    assert find_boxes({"out": shares}, {}) is None
    assert find_boxes({"out": shares}, said) is not None


def test_single_outputs_of_lists_count_by_themselves_if_asked() -> None:
    model = detector(after=True)
    found = chosen(model, "scores=error", 1)
    assert found["scores"].counts
    assert found["boxes"].unit is LossUnit.BOXES
