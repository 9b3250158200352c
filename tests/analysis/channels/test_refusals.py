"""Every reason why channels stay, with its code and the node that is named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.analysis import AnalysisManager
from ocompress.analysis.channels import ChannelGroups
from ocompress.analysis.channels.walk import Walker
from ocompress.ir import Model, onnx_api
from tests.analysis.channels.test_groups import find, finish, ints, start
from tests.build import Builder
from tests.graphs import ZOO

Middle = Callable[[Builder, str], str]


def _recurrent(b: Builder, h: str) -> str:
    h = b.op("Transpose", b.op("ReduceMax", h, axes=[3], keepdims=0), perm=[2, 0, 1])
    b.ops("GRU", [h, b.weight(1, 12, 4), b.weight(1, 12, 4)], ["bad"], hidden_size=4)
    return "bad"


def _mirrored(b: Builder, h: str) -> str:
    amounts = ints(b, 0, 1, 0, 0, 0, 1, 0, 0)
    h = b.op("Pad", h, amounts, mode="reflect", to="bad")
    return b.op("Slice", h, ints(b, 0), ints(b, 4), ints(b, 1))


def _picked(b: Builder, h: str) -> str:
    one = b.op("Gather", h, b.const(np.array(2)), axis=1, to="bad")
    return b.op("Add", h, b.op("Unsqueeze", one, ints(b, 1)))


def _read_extent(b: Builder, h: str) -> str:
    count = b.op("Gather", b.op("Shape", h, to="bad"), b.const(np.array(1)))
    return b.op("Div", h, b.op("CastLike", count, h))


def _computed(b: Builder, h: str) -> str:
    shape = b.input("shape", [4], T.INT64)
    return b.op("Reshape", h, shape, to="bad")


REFUSED: dict[str, tuple[str, Middle]] = {
    "softmax": ("softmax-axis", lambda b, h: b.op("Softmax", h, axis=1, to="bad")),
    "lrn": ("normalized-axis", lambda b, h: b.op("LRN", h, size=3, to="bad")),
    "layer norm": (
        "normalized-axis",
        lambda b, h: b.op("LayerNormalization", h, b.positive(4, 6, 6), axis=1, to="bad"),
    ),
    "p norm": ("normalized-axis", lambda b, h: b.op("LpNormalization", h, axis=1, to="bad")),
    "mean": (
        "reduced-axis",
        lambda b, h: b.op("Sub", h, b.op("ReduceMean", h, axes=[1], to="bad")),
    ),
    "maximum": (
        "reduced-axis",
        lambda b, h: b.op("Sub", h, b.op("ReduceMax", h, axes=[1], to="bad")),
    ),
    "running sum": ("mixed-axis", lambda b, h: b.op("CumSum", h, ints(b, 1), to="bad")),
    "stride": (
        "strided-slice",
        lambda b, h: b.op("Slice", h, ints(b, -1), ints(b, -9), ints(b, 1), ints(b, -1), to="bad"),
    ),
    "mirror": ("padded-axis", _mirrored),
    "recurrent": ("recurrent", _recurrent),
    "domain": ("custom-domain", lambda b, h: b.op("Gelu", h, domain="com.microsoft", to="bad")),
    "unknown": ("unknown-operator", lambda b, h: b.op("Det", h, to="bad")),
    "scaled": (
        "spatial-axis",
        lambda b, h: b.op("Resize", h, "", b.const(np.array([1, 2, 1, 1], np.float32)), to="bad"),
    ),
    "one channel": ("picked-channel", _picked),
    "quantized": (
        "quantized",
        lambda b, h: b.op(
            "QuantizeLinear", h, b.const(np.float32(1)), b.const(np.uint8(0)), to="bad"
        ),
    ),
    "extent": ("shape-read", _read_extent),
    "computed shape": ("computed-shape", _computed),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refusal(name: str) -> None:
    code, middle = REFUSED[name]
    b, h = start()
    h = middle(b, h)
    b.op("Identity", h, to="y")
    b.output("y", None)
    b.output("last", None)
    b.op("Conv", "first", b.weight(2, 4, 1, 1), to="last")
    assert _stopped(b.model(opset=17, com_microsoft=1), "bad") == code


def _stopped(model: Model, label: str) -> str | None:
    onnx_api.infer_types(model)
    walker = Walker(model, inner=True)
    first = next(n for _, n in model.nodes() if n.label == "first")
    trail, _ = walker.follow(walker.relation(first).spot(1, 0))
    return next(
        (s.code for _, s in trail.stops if s.node is not None and s.node.label == label), None
    )


def test_interface() -> None:
    b, h = start()
    model = finish(b, h, 4)
    last = find(model, "last")
    assert last.refusal is not None
    assert (last.refusal.code, last.refusal.node) == ("graph-output", None)
    assert "'last'" in last.refusal.why


def test_the_node_is_named() -> None:
    b, h = start()
    model = finish(b, b.op("Softmax", h, axis=1, to="bad"), 4)
    refusal = find(model, "first").refusal
    assert refusal is not None
    assert refusal.node is not None
    assert refusal.node.label == "bad"
    assert "'bad'" in refusal.why


def test_group_normalization() -> None:
    b, h = start()
    h = b.op("GroupNormalization", h, b.positive(4), b.weight(4), num_groups=2, to="bad")
    refusal = find(finish_at(b, h, 21), "first").refusal
    assert refusal is not None
    assert refusal.code == "normalized-axis"


def finish_at(b: Builder, h: str, opset: int) -> Model:
    b.op("Conv", h, b.weight(2, 4, 1, 1), to="last")
    b.output("last", ["n", 2, None, None])
    return b.model(opset=opset, ir_version=10)


def test_instance_normalization_passes() -> None:
    b, h = start()
    h = b.op("InstanceNormalization", h, b.positive(4), b.weight(4), to="norm")
    group = find(finish(b, h, 4), "first")
    assert group.refusal is None
    assert {(c.node.label, c.index) for c in group.constants} >= {("norm", 1), ("norm", 2)}


def test_softmax_along_another_axis_passes() -> None:
    b, h = start()
    assert find(finish(b, b.op("Softmax", h, axis=2), 4), "first").refusal is None


def test_old_softmax_goes_over_all_that_follows() -> None:
    b, h = start()
    model = finish_old(b, b.op("Softmax", h, axis=1, to="bad"))
    refusal = find(model, "first").refusal
    assert refusal is not None
    assert refusal.code == "softmax-axis"


def finish_old(b: Builder, h: str) -> Model:
    b.op("Conv", h, b.weight(2, 4, 1, 1), to="last")
    b.output("last", ["n", 2, None, None])
    return b.model(opset=11)


def test_loops_keep_what_they_read() -> None:
    model = ZOO["loop_body"]()
    refusal = find(model, "ml").refusal
    assert refusal is not None
    assert refusal.code == "control-flow"


def test_channels_that_all_go_together() -> None:
    b, h = start()
    turned = b.op("Gather", h, b.const(np.array([1, 2, 3, 0])), axis=1)
    refusal = find(finish(b, b.op("Add", h, turned), 4), "first").refusal
    assert refusal is not None
    assert refusal.code == "single-channel"


def test_a_rank_that_cannot_be_refuses_what_hangs_on_it() -> None:
    b = Builder()
    h = b.op("Relu", b.op("Gemm", b.input("x", ["n", 8]), b.weight(8, 16)))
    b.op("MatMul", h, b.weight(16, 4), to="y")
    b.output("y", [])  # the runtime only warns
    groups = AnalysisManager().get(ChannelGroups(), b.model())
    assert "unknown-shape" in {g.refusal.code for g in groups if g.refusal is not None}
