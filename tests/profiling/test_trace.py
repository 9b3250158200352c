"""Adding up ONNX Runtime's trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ocompress.ir import Model
from ocompress.profiling.trace import Event, shares, trace
from tests.build import Builder
from tests.profiling.nets import mlp


def node(name: str, op_type: str, start: int, duration: int) -> Event:
    args = {"op_name": op_type}
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "ts": start,
        "dur": duration,
        "args": args,
    }


def run(start: int) -> Event:
    return {"cat": "Session", "name": "model_run", "ts": start, "dur": 999, "args": {}}


def conv_net() -> Model:
    b = Builder()
    x = b.input("x", ["n", 3, 8, 8])
    h = b.op("Conv", x, b.weight(4, 3, 3, 3), to="conv")
    h = b.op("Clip", h, b.const(np.float32(0)), b.const(np.float32(6)), to="clipped")
    b.op("Conv", h, b.weight(4, 4, 3, 3), to="y")
    b.output("y", ["n", 4, 4, 4])
    return b.model()


def test_two_runs_warm_up_and_the_rest_is_averaged() -> None:
    events = []
    for index, duration in enumerate([500, 500, 10, 30]):
        events += [run(1000 * index), node("conv", "Conv", 1000 * index + 1, duration)]
        events.append(node("y", "Conv", 1000 * index + 600, 20))
    by_op, by_layer = shares(events, conv_net())
    (conv,) = by_op
    assert (conv.name, conv.calls, conv.ms, conv.share) == ("Conv", 2.0, 0.04, 1.0)
    assert [(r.name, r.ms, r.share) for r in by_layer] == [
        ("conv", 0.02, 0.5),
        ("y", 0.02, 0.5),
    ]


@pytest.mark.parametrize(
    ("kernel", "op_type", "layer"),
    [
        ("conv", "Conv", "conv"),
        ("clipped_nchwc", "Conv", "conv"),
        ("y_token_12", "QLinearConv", "y"),
        ("clipped", "Clip", "clipped"),
        ("conv_nchwc_token_3", "Conv", "conv"),
        ("fused conv", "FusedConv", "conv"),
        ("conv/MatMulAddFusion", "Conv", "conv"),
        ("Transpose_token_7", "Transpose", "(added by ONNX Runtime)"),
        ("", "ReorderOutput", "(added by ONNX Runtime)"),
    ],
)
def test_kernels_are_named_after_their_layer(kernel: str, op_type: str, layer: str) -> None:
    _, by_layer = shares([run(0), node(kernel, op_type, 1, 5)], conv_net())
    assert [r.name for r in by_layer] == [layer]


def test_bodies_are_not_counted_twice() -> None:
    events = [
        run(0),
        node("loop", "Loop", 1, 100),
        node("a", "Add", 10, 30),
        node("b", "Mul", 50, 20),
    ]
    events.append(node("after", "Relu", 101, 50))
    by_op, _ = shares(events, conv_net())
    assert {r.name: r.ms for r in by_op} == {"Loop": 0.05, "Add": 0.03, "Mul": 0.02, "Relu": 0.05}


def test_no_runs_no_table() -> None:
    assert shares([], conv_net()) == ((), ())


def test_a_real_trace_covers_the_layers() -> None:
    model = mlp()
    feeds: dict[str, Any] = {"x": np.ones((2, 4), np.float32)}
    by_op, by_layer = shares(trace(model, feeds, 1, 3), model)
    assert sum(r.share for r in by_op) == pytest.approx(1.0)
    assert sum(r.calls for r in by_layer) == sum(r.calls for r in by_op)
    assert {"hidden", "y"} <= {r.name for r in by_layer}
