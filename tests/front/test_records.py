"""What is recorded of the types of inner values in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import ocompress
from ocompress.ir import from_proto
from tests.build import Builder


def chain() -> onnx.ModelProto:
    b = Builder()
    h = b.input("x", ["n", 16])
    for at in range(3):
        h = b.op("Relu", b.op("MatMul", h, b.weight(16, 16), to=f"product{at}"), to=f"relu{at}")
    b.op("MatMul", h, b.weight(16, 4), to="y")
    b.output("y", ["n", 4])
    return b.proto()


@pytest.mark.parametrize("known", [0, 2])
def test_files_record_the_types_that_the_original_recorded(known: int, tmp_path: Path) -> None:
    proto = onnx.shape_inference.infer_shapes(chain())
    del proto.graph.value_info[known:]
    kept = {info.name for info in proto.graph.value_info}
    data = np.random.default_rng(0).standard_normal((40, 16)).astype(np.float32)
    ocompress.optimize(
        from_proto(proto),
        tmp_path / "o.onnx",
        passes="quant-dynamic{smallest=1}",
        data=data,
        max_drop=1.0,
        measure=False,
    )
    written = onnx.load(tmp_path / "o.onnx").graph
    found = {info.name for info in written.value_info}
    made = {name for node in written.node for name in node.output} - {"y"}
    assert len(made) > 7
    assert found == made & kept
