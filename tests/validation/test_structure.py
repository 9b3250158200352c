"""Checks without data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T

import ocompress.validation.structure as structure
from ocompress.ir import Model
from ocompress.validation.result import Check
from ocompress.validation.structure import structure_checks
from tests.build import Builder
from tests.validation.nets import classifier


def checks(reference: Model, candidate: Model, **given: Any) -> dict[str, Check]:
    return {c.name: c for c in structure_checks(reference, candidate, **given)}


def failed(reference: Model, candidate: Model, **given: Any) -> list[str]:
    return [n for n, c in checks(reference, candidate, **given).items() if not c.passed]


def relu(
    shape_in: Any = ("n", 4), shape_out: Any = ("n", 4), dtype: int = T.FLOAT, out: str = "y"
) -> Model:
    b = Builder()
    b.op("Relu", b.input("x", shape_in, dtype), to=out)
    b.output(out, shape_out, dtype)
    return b.model()


def test_a_clone_passes() -> None:
    model = classifier()
    assert failed(model, model.clone()) == []


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        (relu(), relu(dtype=T.DOUBLE), ["inputs", "outputs"]),
        (relu(), relu(out="z"), ["outputs"]),
        (relu(), relu(("m", 4), ("m", 4)), []),
        (relu(), relu((None, 4), (None, 4)), []),
        (relu(), relu((1, 4), (1, 4)), ["inputs", "outputs"]),
        (relu(), relu(("n", 5), ("n", 5)), ["inputs", "outputs"]),
        (relu((1, 4), (1, 4)), relu(("n", 4), (1, 4)), []),
        (relu((1, 4), (1, 4)), relu((1, 4), ("n", 4)), ["outputs"]),
        (relu(("n", 4), None), relu(("n", 4), ("n", 4)), []),
        (relu(("n", 4), ("n", None)), relu(("n", 4), ("n", 4)), []),
        (relu(), relu(("n", 4), ("n", 4, 1)), ["checker?", "outputs"]),
    ],
)
def test_interface(old: Model, new: Model, wrong: list[str]) -> None:
    assert failed(old, new) == [w for w in wrong if not w.endswith("?")]


def test_defaults_of_old_files_may_become_constants() -> None:
    old, new = Builder(), Builder()
    for b in (old, new):
        w = b.const(np.ones((4,), np.float32), "w")
        b.op("Add", b.input("x", ["n", 4]), w, to="y")
        b.output("y", ["n", 4])
    old.input("w", [4])
    assert failed(old.model(ir_version=3), new.model()) == []
    extra = classifier()
    gone = extra.clone()
    gone.graph.inputs.clear()
    assert checks(extra, gone)["inputs"].message == "input 'x' is gone"


def gelu(domain: str) -> Model:
    b = Builder()
    b.op("Gelu", b.input("x", ["n", 4]), to="y", domain=domain)
    b.output("y", ["n", 4])
    return b.model(**{domain.replace(".", "_"): 1})


def test_domains() -> None:
    plain, contrib = relu(), gelu("com.microsoft")
    assert contrib.domains() == {"com.microsoft"}
    assert failed(plain, contrib) == ["domains"]
    assert failed(contrib, contrib) == []
    assert failed(plain, contrib, allowed_domains=["com.microsoft"]) == []
    assert failed(plain, contrib, declared=["com.microsoft"]) == []
    assert failed(plain, contrib, declared=["com.microsoft"], allowed_domains=[]) == ["domains"]
    assert failed(contrib, contrib, allowed_domains=[]) == ["domains"]


def test_the_checker_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = classifier(), classifier()
    bad.graph.nodes[0].set_attr("no_such_attribute", 1)
    assert failed(good, bad) == ["checker"]
    assert "no_such_attribute" in checks(good, bad)["checker"].message
    assert failed(bad, bad) == []
    monkeypatch.setattr(structure, "_WHOLE_BELOW", 0)  # as if the weights were large
    assert failed(good, bad) == ["checker"]
    assert failed(good, good) == []


def test_large_weights_are_not_copied_for_the_checker(monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder()
    b.op("MatMul", b.input("x", ["n", 128]), b.weight(128, 64), to="y")
    b.output("y", ["n", 64])
    model = b.model()
    monkeypatch.setattr(structure, "_WHOLE_BELOW", 0)
    assert failed(model, model) == []
