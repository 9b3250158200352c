from __future__ import annotations

import hashlib
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ocompress.io import load_data, load_model
from ocompress.ir import Model, to_proto
from ocompress.pipeline import PassManager, Pipeline
from ocompress.runtime import Session
from ocompress.targets import find

MODELS = Path(__file__).parents[2] / "models"
MANIFEST: dict[str, Any] = tomllib.loads((MODELS / "manifest.toml").read_text())
NETS = sorted(MANIFEST["net"])
SMALLER = {"mobilenet": 0.37, "transformer": 0.29}
"""Of the file's size, where small layers leave names and scales a large part."""
TOLD = {"lenet-300-100": 0.90, "lenet5": 0.915, "resnet8": 0.93}


@cache
def _test_part() -> tuple[np.ndarray, np.ndarray]:
    with np.load(MODELS / "data" / "fashion_test.npz") as stored:
        return stored["image"], stored["label"]


def accuracy(model: Model, images: int) -> float:
    session = Session(model)
    image, label = _test_part()
    hits = 0
    for start in range(0, images, 500):
        logits = session.run({"image": image[start : start + 500]})["logits"]
        hits += int((logits.argmax(1) == label[start : start + 500]).sum())
    return hits / images


@pytest.mark.parametrize("name", NETS)
def test_net_is_the_one_in_the_manifest(name: str) -> None:
    entry = MANIFEST["net"][name]
    content = (MODELS / entry["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    assert len(content) == entry["bytes"]
    assert entry["test_accuracy"] >= TOLD.get(name, 0.90)


@pytest.mark.parametrize("name", NETS)
def test_interface_is_the_same_for_all(name: str) -> None:
    model = load_model(MODELS / MANIFEST["net"][name]["file"])
    [image], [logits] = model.graph.inputs, model.graph.outputs
    assert (image.name, image.shape) == ("image", ("batch", 1, 28, 28))
    assert (logits.name, logits.shape) == ("logits", ("batch", 10))
    assert model.opset >= 17


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_accuracy_is_the_one_in_the_manifest(name: str) -> None:
    entry = MANIFEST["net"][name]
    measured = accuracy(load_model(MODELS / entry["file"]), 10_000)
    assert measured == pytest.approx(entry["test_accuracy"], abs=3e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("target", ["portable", "x86-vnni"])
def test_int8_keeps_the_accuracy(name: str, target: str) -> None:
    if target == "x86-vnni" and "vnni" not in find("host").features:
        pytest.skip("made for a machine that this one is not: its weights would clip here")
    original = load_model(MODELS / MANIFEST["net"][name]["file"])
    data = load_data(str(MODELS / "data" / "fashion_calib.npz"), original, samples=256)
    manager = PassManager(target=find(target), data=data)
    result = manager.run(Pipeline.parse("quant"), original)
    assert result.records[-1].counts
    assert accuracy(result.model, 10_000) >= accuracy(original, 10_000) - 0.003
    small = len(to_proto(result.model).SerializeToString())
    assert small <= SMALLER.get(name, 0.271) * MANIFEST["net"][name]["bytes"]


def test_pruned_and_quantized_lenet_keeps_the_accuracy() -> None:
    original = load_model(MODELS / "lenet5.onnx")
    data = load_data(str(MODELS / "data" / "fashion_calib.npz"), original, samples=256)
    manager = PassManager(target=find("portable"), data=data)
    result = manager.run(Pipeline.parse("prune,quant"), original)
    assert result.records[-1].weight_bytes[1] < 0.28 * original.weight_bytes
    assert accuracy(result.model, 5_000) >= accuracy(original, 5_000) - 0.005
