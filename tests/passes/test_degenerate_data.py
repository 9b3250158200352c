"""Passes that solve equations made from data get through data that say nothing or too much."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

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
