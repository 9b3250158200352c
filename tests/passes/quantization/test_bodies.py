"""Weights of the main graph that bodies of control flow read."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper

import ocompress
from tests.build import Builder


def test_weights_that_bodies_read_from_outside_are_stored_in_fewer_bits() -> None:
    b = Builder()
    first, again = b.weight(24, 40), b.weight(40, 40)
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["xt", first], ["a"]),
            helper.make_node("MatMul", ["h", again], ["c"]),
            helper.make_node("Add", ["a", "c"], ["d"]),
            helper.make_node("Tanh", ["d"], ["ho"]),
            helper.make_node("Identity", ["ho"], ["yo"]),
        ],
        "cell",
        [helper.make_tensor_value_info(n, T.FLOAT, ["n", k]) for n, k in (("h", 40), ("xt", 24))],
        [helper.make_tensor_value_info(n, T.FLOAT, ["n", 40]) for n in ("ho", "yo")],
    )
    b.input("x", ["n", 7, 24])
    b.input("h0", ["n", 40])
    axes = {"scan_input_axes": [1], "scan_output_axes": [1]}
    b.ops("Scan", ["h0", "x"], ["y", "all"], body=body, num_scan_inputs=1, **axes)
    b.output("y", ["n", 40])
    rng = np.random.default_rng(1)
    data = {
        "x": rng.standard_normal((96, 7, 24)).astype(np.float32),
        "h0": np.zeros((96, 40), np.float32),
    }
    done = ocompress.optimize(
        b.proto(21, 10), passes="quant-weights", data=data, max_drop=0.05, max_latency=None
    )
    assert done.held
    assert done.pipeline.records[-1].counts["int8 weights"] == 2
    assert isinstance(done.model, ocompress.Model | onnx.ModelProto)
