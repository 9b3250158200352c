"""A model whose run never ends."""

from __future__ import annotations

import numpy as np
import onnx

from tests.build import Builder

Entries = list[tuple[str, int, list[int] | None]]


def endless(trips: int = 1 << 60) -> onnx.ModelProto:
    """Return x -> y [n, 16], the sum of as many x as there are trips."""
    info, node = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    inputs: Entries = [
        ("i", onnx.TensorProto.INT64, []),
        ("go", onnx.TensorProto.BOOL, []),
        ("s", 1, None),
    ]
    outputs: Entries = [("go_on", onnx.TensorProto.BOOL, []), ("next", 1, None)]
    body = onnx.helper.make_graph(
        [node("Identity", ["go"], ["go_on"]), node("Add", ["s", "x"], ["next"])],
        "body",
        [info(*entry) for entry in inputs],
        [info(*entry) for entry in outputs],
    )
    b = Builder()
    x = b.input("x", ["n", 16])
    b.op("Loop", b.const(np.int64(trips)), b.const(np.array(True)), x, to="y", body=body)
    b.output("y", ["n", 16])
    return b.proto()
