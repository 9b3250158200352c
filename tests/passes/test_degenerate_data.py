"""Passes that solve equations made from data get through data that say nothing or too much."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from ocompress.pipeline import PassManager, Pipeline
from tests.build import Builder, InMemory
from tests.contract.harness import TARGET
from tests.fuzz.program import call
from tests.graphs import protos

DATA = {
    "zero": np.zeros(16, np.float32),
    "constant": np.ones(16, np.float32),
    "tiny": np.linspace(-1e-22, 1e-22, 16, dtype=np.float32),
    "huge": np.linspace(-1e30, 1e30, 16, dtype=np.float32),
}


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("item", ["prune-channels{ratio=0.5}", "factorize{rank=2}"])
def test_no_pass_breaks(item: str, kind: str, tmp_path: Path) -> None:
    proto = protos()["mlp"]
    [given] = proto.graph.input
    width = given.type.tensor_type.shape.dim[1].dim_value
    data = np.resize(DATA[kind], (8, width))
    model, feeds, out = (str(tmp_path / name) for name in ("m.onnx", "d.npz", "o.onnx"))
    onnx.save(proto, model)
    np.savez(feeds, allow_pickle=False, **{given.name: data})
    words = ("optimize", model, out, "-p", item, "--data", feeds, "-q", "--no-profile")
    assert call(*words, "--allow-slower", "--allow-larger").fault == ""


@pytest.mark.parametrize("item", ["factorize{max_macs=0.7}", "separable", "prune-layers{count=1}"])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_values_that_outgrow_their_type_are_left_out(item: str) -> None:
    """Four layers after each other make numbers that no float32 holds; what comes before does."""
    b = Builder(3)
    h = b.op("Relu", b.op("MatMul", b.input("x", ["n", 32]), b.weight(32, 32)))
    for _ in range(4):
        weight = (b.rng.standard_normal((32, 32)) * 1e11).astype(np.float32)
        h = b.op("Add", h, b.op("Relu", b.op("MatMul", h, b.const(weight))))
    b.output(b.op("MatMul", h, b.weight(32, 4)), ["n", 4])
    rows = np.random.default_rng(0).standard_normal((48, 32)).astype(np.float32)
    data = InMemory([{"x": rows[at : at + 16]} for at in range(0, 48, 16)])
    done = PassManager(target=TARGET, data=data).run(Pipeline.parse(item), b.model())
    weights = [w for w in done.model.weights() if w.dtype.kind == "f"]
    assert all(np.isfinite(w).all() for w in weights)
    assert item != "prune-layers{count=1}" or "unseen" in done.diagnostics.declined("prune-layers")
