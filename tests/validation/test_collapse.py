"""Outputs that a constant could replace, and those that are only worse."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.analysis.randomness import random_outputs
from ocompress.ir import Model
from ocompress.validation import validate
from ocompress.validation.collapse import Collapse
from tests.build import Builder, InMemory
from tests.validation.nets import after, classifier, data

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((96, 10)).astype(np.float32) * 3
EMBEDDING = RNG.standard_normal((64, 128)).astype(np.float32)
AGES = RNG.uniform(20, 80, (96, 1)).astype(np.float32)
RARE = (RNG.random((32, 200)) < 0.01).astype(np.float32) * 0.9


def boxes_and_scores(scores: np.ndarray) -> np.ndarray:
    boxes = np.random.default_rng(1).uniform(50, 600, (8, 4, 60))
    return np.concatenate([boxes, scores], axis=1).astype(np.float32)


SCORES = np.where(RNG.random((8, 6, 60)) < 0.05, 0.8, 0.01)


def identity(like: np.ndarray) -> Model:
    """Make a model whose output has the rank of an array."""
    b = Builder(0)
    kind = {"f": T.FLOAT, "i": T.INT64, "b": T.BOOL}[like.dtype.kind]
    shape = ["n", *like.shape[1:]]
    b.op("Identity", b.input("x", shape, kind), to="y")
    b.output("y", shape, kind)
    return b.model()


def loss(reference: np.ndarray, candidate: np.ndarray, batch: int = 8) -> str:
    watched = Collapse(identity(reference))
    for first in range(0, len(reference), batch):
        span = slice(first, first + batch)
        made = {"y": reference[span]}, {"y": candidate[span]}
        watched.update(*made, len(made[0]["y"]))
    return watched.losses().get("y", "")


def noisy(array: np.ndarray, db: float) -> np.ndarray:
    noise = np.random.default_rng(5).standard_normal(array.shape)
    noise *= np.sqrt(np.square(array).mean() / 10 ** (db / 10))
    return (array + noise).astype(array.dtype)


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True), np.float32)


WEATHER = np.random.default_rng(5).standard_normal((96, 1))
OFFSETS = np.array([1013, 293])


def shuffled(array: np.ndarray) -> np.ndarray:
    """Return the outputs for other samples, which is what an unrelated model amounts to."""
    return array[np.random.default_rng(2).permutation(len(array))]


LOST: dict[str, tuple[np.ndarray, np.ndarray, str]] = {
    "zeros": (LOGITS, np.zeros_like(LOGITS), "no better than chance"),
    "one class": (LOGITS, np.tile(LOGITS[:1], (96, 1)), "no better than chance"),
    "unrelated": (LOGITS, shuffled(LOGITS), "no better than chance"),
    "logits on an offset": (LOGITS + 100, shuffled(LOGITS) + 100, "no better than chance"),
    "probabilities": (softmax(LOGITS), np.full_like(LOGITS, 0.1), "no better than chance"),
    "class ids": (LOGITS.argmax(1), shuffled(LOGITS).argmax(1), "no better than chance"),
    "embedding": (EMBEDDING, noisy(EMBEDDING, 0.5), "error is as large as its signal"),
    "opposite embedding": (EMBEDDING, -EMBEDDING, "no better than chance"),
    "ages": (AGES, np.full_like(AGES, 50), "the same for every input"),
    "pressures": (1013 + 8 * WEATHER, np.full_like(WEATHER, 1013), "the same for every input"),
    "one of each": (WEATHER + OFFSETS, 0 * WEATHER + OFFSETS, "the same for every input"),
    "rare": (RARE, np.zeros_like(RARE), ""),
    "scores beside boxes": (
        boxes_and_scores(SCORES),
        boxes_and_scores(np.zeros_like(SCORES)),
        "in channels 4..9",
    ),
}


@pytest.mark.parametrize("name", LOST)
def test_what_a_constant_could_replace_is_lost(name: str) -> None:
    reference, candidate, says = LOST[name]
    said = loss(reference, candidate)
    assert said
    assert says in said
    assert loss(reference, reference.copy()) == ""


def nearly_tied() -> np.ndarray:
    """Return outputs whose largest elements hardly differ, beside others that do."""
    rng = np.random.default_rng(3)
    others, tied = rng.normal(-5, 3, (64, 96)), 9 + 1e-3 * rng.standard_normal((64, 32))
    return np.concatenate([others, tied], axis=1).astype(np.float32)


WORSE: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "8 dB": (LOGITS, noisy(LOGITS, 8)),
    "another temperature": (LOGITS, LOGITS * 4),
    "half of the embedding": (EMBEDDING, noisy(EMBEDDING, 5)),
    "ties": (nearly_tied(), noisy(nearly_tied(), 10)),
    "a few points": (LOGITS, np.where(np.arange(96)[:, None] % 3, LOGITS, shuffled(LOGITS))),
    "constant reference": (np.ones_like(LOGITS), noisy(np.ones_like(LOGITS), 30)),
    "nothing fires": (boxes_and_scores(SCORES * 0.01), boxes_and_scores(np.zeros_like(SCORES))),
    "scores a little off": (boxes_and_scores(SCORES), boxes_and_scores(SCORES * 0.8)),
    "masks": (LOGITS > 0, noisy(LOGITS, 8) > 0),
    "one sample": (LOGITS[:1], noisy(LOGITS[:1], 10)),
}


@pytest.mark.parametrize("name", WORSE)
def test_what_is_only_worse_is_not_lost(name: str) -> None:
    assert loss(*WORSE[name]) == ""


@pytest.mark.parametrize(("size", "lost"), [(10.0, True), (0.05, False)])
def test_a_part_that_is_next_to_nothing_beside_another_holds_nothing(
    size: float, lost: bool
) -> None:
    faint = np.random.default_rng(6).standard_normal((8, 6, 60)) * size
    reference, candidate = boxes_and_scores(faint), boxes_and_scores(np.zeros_like(faint))
    assert bool(loss(reference, candidate)) is lost


@pytest.mark.parametrize("batch", [1, 7, 96])
def test_batches_do_not_matter(batch: int) -> None:
    assert "chance" in loss(LOGITS, shuffled(LOGITS), batch)
    assert loss(LOGITS, noisy(LOGITS, 10), batch) == ""


def test_infinities_are_no_signal() -> None:
    masked, noise = LOGITS.copy(), noisy(LOGITS, 10)
    masked[:, 3] = noise[:, 3] = -np.inf
    assert loss(masked, noise) == ""
    assert loss(masked, np.where(np.isinf(masked), masked, 0)) != ""


def test_an_output_that_is_always_empty_is_lost() -> None:
    watched = Collapse(identity(LOGITS))
    watched.update({"y": LOGITS}, {"y": LOGITS[:0]}, 96)
    assert watched.losses() == {"y": "it is empty for every input"}
    watched = Collapse(identity(LOGITS))
    watched.update({"y": LOGITS}, {"y": LOGITS[:50]}, 96)  # another number of boxes is no proof
    assert watched.losses() == {}


# -- random operators ------------------------------------------------------------------------


def drawing(wrap: Callable[[Builder, str], str]) -> Model:
    b = Builder(0)
    x = b.input("x", ["n", 4])
    b.op("Identity", wrap(b, x), to="y")
    b.output("y", ["n", 4])
    b.op("Relu", x, to="z")
    b.output("z", ["n", 4])
    return b.model()


def test_random_outputs_are_named_and_not_judged() -> None:
    model = drawing(lambda b, x: b.op("RandomNormalLike", x))
    assert list(random_outputs(model)) == ["y"]
    x = {"x": RNG.standard_normal((40, 4)).astype(np.float32)}
    found = validate(model, model.clone(), InMemory([x]))
    assert found.passed
    assert any("'y' depends on the random node" in r for r in found.remarks)


def test_dropout_is_random_only_in_training() -> None:
    assert not random_outputs(drawing(lambda b, x: b.op("Dropout", x)))
    half, none, yes, no = np.float32(0.5), np.float32(0), np.array(True), np.array(False)
    for ratio, mode, found in ((half, yes, ["y"]), (half, no, []), (none, yes, [])):
        model = drawing(partial(_dropout, ratio, mode))
        assert list(random_outputs(model)) == found


def _dropout(ratio: object, mode: object, b: Builder, x: str) -> str:
    return b.op("Dropout", x, b.const(np.asarray(ratio)), b.const(np.asarray(mode)))


# -- from end to end -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "candidate", [classifier(seed=9), after("Mul", np.float32(0)), after("Neg")]
)
def test_unrelated_models_do_not_pass_without_a_gate(candidate: Model) -> None:
    found = validate(classifier(), candidate, data())
    assert [c.name for c in found.failures] == ["related"]
    assert "output 'y0' collapsed" in found.failures[0].message


def test_models_of_other_interfaces_do_not_pass() -> None:
    other = classifier(outputs=2)
    assert "outputs" in [c.name for c in validate(classifier(), other, data()).failures]
