"""Adding up ONNX Runtime's trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ocompress.ir import Model
from ocompress.profiling.trace import Event, parting, shares, trace
from ocompress.report import tables_profile
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


def test_two_runs_warm_up_and_the_median_of_the_rest_counts() -> None:
    events = []
    for index, duration in enumerate([500, 500, 10, 30, 400]):  # the last one was disturbed
        events += [run(1000 * index), node("conv", "Conv", 1000 * index + 1, duration)]
        events.append(node("y", "Conv", 1000 * index + 600, 20))
    by_op, by_layer = shares(events, conv_net())
    (conv,) = by_op
    assert (conv.name, conv.calls, conv.ms, conv.share) == ("Conv", 2.0, 0.05, 1.0)
    assert [(r.name, r.calls, r.ms, round(r.share, 9)) for r in by_layer] == [
        ("conv", 1.0, 0.03, 0.6),
        ("y", 1.0, 0.02, 0.4),
    ]


def test_calls_of_one_run_are_added_up_before_the_median() -> None:
    events = []
    for index in range(5):
        events += [run(1000 * index), node("conv", "Conv", 1000 * index + 1, 10)]
        events.append(node("conv", "Conv", 1000 * index + 500, 30))
    events.append(node("conv", "Conv", 4999, 500))  # after the end of the last run
    _, (row,) = shares(events, conv_net())
    assert (row.calls, row.ms) == (2.0, 0.04)


def test_what_ran_in_few_of_the_runs_counts_with_its_median() -> None:
    events = [run(1000 * index) for index in range(5)]
    events += [node("conv", "Conv", 1000 * index + 1, 10) for index in range(5)]
    events.append(node("y", "Conv", 2500, 40))
    _, by_layer = shares(events, conv_net())
    assert [(r.name, r.ms) for r in by_layer] == [("conv", 0.01), ("y", 0.0)]


@pytest.mark.parametrize(
    ("p50", "said"),
    [(0.05, ""), (0.054, ""), (0.04, "profiler adds"), (0.08, "time between nodes")],
)
def test_it_is_said_why_layers_do_not_add_up_to_the_latency(p50: float, said: str) -> None:
    rows = shares([run(0), node("conv", "Conv", 1, 30), node("y", "Conv", 50, 20)], conv_net())[1]
    found = parting(rows, p50)
    assert said in found
    assert bool(found) == bool(said)
    assert parting((), p50) == ""


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


def test_the_table_closes_with_the_sum_of_all_rows() -> None:
    rows = shares([run(0), node("conv", "Conv", 1, 30), node("y", "Conv", 50, 20)], conv_net())[1]
    table = tables_profile.shares("layer", rows, most=1)
    cells = [[str(cell) for cell in column.cells] for column in table.columns]
    assert cells[0] == ["conv", "sum"]
    assert cells[2:5] == [["1", "2"], ["0.030 ms", "0.050 ms"], ["60.0 %", "100.0 %"]]
