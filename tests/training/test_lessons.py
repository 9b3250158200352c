"""Samples of several shapes, in feeds of their own, are lessons like all others."""

from __future__ import annotations

import importlib.util
from collections import Counter
from typing import Any

import numpy as np
import pytest

from ocompress.ir import Model
from ocompress.pipeline import PassManager, Pipeline
from ocompress.runtime import Session
from tests.build import Builder, InMemory
from tests.contract.harness import TARGET

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="PyTorch is not installed: pip install ocompress[tune]",
)
WIDTHS = (6, 9, 12)


def net(batch: Any) -> Model:
    b = Builder(4)
    x = b.input("x", [batch, 1, 6, "w"])
    h = b.op("Relu", b.op("Conv", x, b.weight(16, 1, 3, 3), b.weight(16)))
    h = b.op("Relu", b.op("Conv", h, b.weight(24, 16, 3, 3), b.weight(24)))
    h = b.op("Flatten", b.op("GlobalAveragePool", h))
    b.op("Gemm", h, b.weight(24, 5), b.weight(5), to="y")
    b.output("y", [batch, 5])
    return b.model()


def feeds(rows: int, count: int = 60) -> InMemory:
    rng = np.random.default_rng(1)
    widths = rng.choice(WIDTHS, count)
    images = [rng.standard_normal((rows, 1, 6, w)).astype(np.float32) for w in widths]
    return InMemory([{"x": image} for image in images])


@pytest.mark.parametrize(("batch", "rows"), [("n", 1), ("n", 3), (1, 1)])
def test_feeds_of_several_widths_are_learnt_from(batch: Any, rows: int) -> None:
    model, samples = net(batch), feeds(rows)
    passes = "prune{sparsity=0.7 refit=false protect_ends=false}"
    results = [
        PassManager(target=TARGET, data=samples).run(Pipeline.parse(p), model)
        for p in (passes, f"{passes},tune{{epochs=20 lr=0.03}}")
    ]
    teacher, *students = (Session(m) for m in (model, *(r.model for r in results)))
    apart = [
        np.mean([np.square(s.run(f)["y"] - teacher.run(f)["y"]).mean() for f in samples])
        for s in students
    ]
    assert apart[1] < 0.7 * apart[0]
    details = results[1].records[-1].details
    assert details["steps"] == 20 * (rows * 54 // max(8, rows * 54 // 8))


@pytest.mark.parametrize("batch", ["n", 1])
def test_batches_have_as_many_samples_as_asked_for_of_all_shapes(batch: Any) -> None:
    from ocompress.training.labels import LabelledOutput
    from ocompress.training.lessons import LABELS, learn

    model, samples = net(batch), feeds(1)
    labels = np.random.default_rng(5).integers(0, 5, samples.samples)
    of_sample = {f["x"].tobytes(): label for f, label in zip(samples, labels, strict=True)}
    data = InMemory(samples.batches, labels)
    output = LabelledOutput("y", 1, 5, lambda *_: None)
    lessons = output.taught(learn(model, data, Session(model)), data)
    for rng in (None, np.random.default_rng(0)):
        seen = Counter[bytes]()
        batches = list(lessons.batches(10, rng))
        assert len(batches) == lessons.count(10) == 6
        for pieces in batches:
            assert sum(len(f["x"]) for f, _ in pieces) == 10
            for given, wanted in pieces:
                made = Session(model).run(given)["y"]
                np.testing.assert_allclose(wanted["y"], made, rtol=1e-4, atol=1e-5)
                for image, shares in zip(given["x"], wanted[LABELS], strict=True):
                    seen[image.tobytes()] += 1
                    assert shares.argmax() == of_sample[image.tobytes()]
        assert seen == dict.fromkeys(of_sample, 1)
    shuffled = [f["x"].tobytes() for p in batches for f, _ in p]
    ordered = [f["x"].tobytes() for p in lessons.batches(10, None) for f, _ in p]
    assert shuffled != ordered
