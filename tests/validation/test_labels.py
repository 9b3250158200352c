"""Labels of some samples: they count, and tell how sure of itself an original may be."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.ir import Model
from ocompress.runtime import Session
from ocompress.validation import Gate, validate
from ocompress.validation.accuracy_guard import AccuracyGuard
from tests.build import Builder
from tests.validation.nets import after, classifier, data

MODEL = classifier()


def some_labels(samples: int) -> np.ndarray:
    """Draw labels of three in four samples from the classifier's probabilities."""
    logits = np.concatenate([Session(MODEL).run(f)["y0"] for f in data(samples)])
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    rng = np.random.default_rng(0)
    drawn = np.array([rng.choice(3, p=row) for row in p])
    return np.where(np.arange(samples) % 4 == 3, -1, drawn)


def test_labels_of_some_samples_count_and_correct_the_others() -> None:
    sharp, other = after("Mul", np.float32(8)), after("Mul", np.array([8, 4, 4], np.float32))
    labels = some_labels(400)
    calm = validate(MODEL, other, data(400)).levels[0].loss
    plain = validate(sharp, other, data(400)).levels[0].loss
    level = validate(sharp, other, data(400, labels=labels)).levels[0]
    assert calm
    assert plain
    assert level.loss
    assert level.accuracy
    assert level.loss.unit == "expected"
    assert 6 < level.loss.temperature < 11
    far = abs(plain.drop.value - calm.drop.value)
    assert abs(level.loss.drop.value - calm.drop.value) < 0.15 * far
    known = labels >= 0
    found = np.concatenate([Session(sharp).run(f)["y0"] for f in data(400)]).argmax(1)
    assert (level.accuracy.count, level.accuracy.unlabelled) == (300, 100)
    assert level.accuracy.reference == pytest.approx((found == labels)[known].mean())


def test_what_optimize_limits_validate_measures() -> None:
    sharp, other = after("Mul", np.float32(8)), after("Mul", np.array([8, 4, 4], np.float32))
    samples = data(400, labels=some_labels(400))
    guard = AccuracyGuard(sharp, samples, 1.0).judge(other, sharp)
    result = validate(sharp, other, samples, gate=Gate(max_drop=0.0))
    assert result.levels[0].loss
    assert guard.figures["drop"] == pytest.approx(result.levels[0].loss.drop.value)
    (check,) = result.gate
    assert "expected accuracy" in check.message
    assert check.value == pytest.approx(guard.figures["drop"])
    own = AccuracyGuard(sharp, samples, 1.0, metric="accuracy").judge(other, sharp)
    assert result.levels[0].accuracy
    assert own.figures["drop"] == pytest.approx(result.levels[0].accuracy.drop.value)


def test_labels_of_something_else_correct_nothing() -> None:
    sharp = after("Mul", np.float32(8))
    noise = np.random.default_rng(1).integers(0, 3, 400)
    for labels in (noise, np.where(np.arange(400) < 9, 0, -1)):
        loss = validate(sharp, sharp, data(400, labels=labels)).levels[0].loss
        assert loss
        assert loss.temperature == 1


def test_no_label_at_all_is_said() -> None:
    result = validate(MODEL, MODEL, data(labels=np.full(40, -1)))
    assert result.levels[0].accuracy is None
    assert "no sample has a label" in result.remarks[0]


def tagger(last: str) -> Model:
    """Make `[n, 4] -> [n, 5, 3]` scores of classes for each token, or one probability [n, 1]."""
    b = Builder(0)
    x = b.input("x", ["n", 4])
    if last == "Sigmoid":
        b.op("Sigmoid", b.op("Gemm", x, b.weight(4, 1)), to="y0")
        b.output("y0", ["n", 1])
    else:
        h = b.op("Gemm", x, b.weight(4, 15))
        b.op(last, b.op("Reshape", h, b.const([-1, 5, 3])), to="y0", axis=-1)
        b.output("y0", ["n", 5, 3])
    return b.model()


@pytest.mark.parametrize(("last", "shape"), [("Softmax", (40, 5)), ("Sigmoid", (40,))])
def test_labels_of_tokens_and_of_one_probability(last: str, shape: tuple[int, ...]) -> None:
    model = tagger(last)
    found = np.concatenate([Session(model).run(f)["y0"] for f in data()])
    decided = found.argmax(-1) if last == "Softmax" else (found[:, 0] > 0.5).astype(int)
    labels = np.where(np.random.default_rng(0).random(shape) < 0.3, -100, decided)
    labels[0] = -100
    labels.ravel()[-1] = 1 - decided.ravel()[-1] % 2  # one that is wrong
    level = validate(model, model, data(labels=labels)).levels[0]
    assert level.accuracy
    assert level.loss
    counted = (labels >= 0).reshape(40, -1).sum(1)
    right = (decided == labels).reshape(40, -1).sum(1)
    shares = right[counted > 0] / counted[counted > 0]
    assert (level.accuracy.count, level.accuracy.unlabelled) == (len(shares), 40 - len(shares))
    assert level.accuracy.reference == pytest.approx(shares.mean()) != 1.0
    assert level.loss.temperature < 0.9  # labels are surer than the model is
    AccuracyGuard(model, data(labels=labels), 0.1, metric="expected")
