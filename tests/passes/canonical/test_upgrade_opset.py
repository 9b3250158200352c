"""Models of old opsets run the same after the upgrade."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T

from ocompress.ir import Graph, Model, from_proto, to_proto
from ocompress.pipeline import find
from ocompress.runtime import Session
from passes.canonical.adapters import ADAPTERS
from passes.canonical.adapters.sampling import nearest_mode
from passes.canonical.adapters.softmax import single_axis
from tests.build import Builder
from tests.contract.harness import check, context
from tests.passes.canonical.exact import run

Build = Callable[[Builder, str], str]
IMAGE = [2, 3, 4, 6]


def _one(op: str, *constants: object, **attrs: Any) -> Build:
    def build(b: Builder, x: str) -> str:
        return b.op(op, x, *(b.const(c) for c in constants), **attrs)

    return build


def _f(*numbers: float) -> np.ndarray:
    return np.asarray(numbers, np.float32)


def _i(*numbers: int) -> np.ndarray:
    return np.asarray(numbers, np.int64)


def _batch_norm(b: Builder, x: str) -> str:
    return b.batch_norm(x, 3)


def _scatter(b: Builder, x: str) -> str:
    rows = b.const(np.zeros(IMAGE, np.int64))
    return b.op("Scatter", x, rows, b.op("Neg", x), axis=0)


def _roi_align(b: Builder, x: str) -> str:
    boxes, batch = b.const(_f(0, 0, 3.3, 2.7).reshape(1, 4)), b.const(_i(1))
    return b.op("RoiAlign", x, boxes, batch, output_height=2, output_width=2)


def _split(b: Builder, x: str) -> str:
    b.ops("Split", [x], ["left", "right"], axis=3, split=[2, 4])
    return b.op("Concat", "right", "left", axis=3)


def _halves(b: Builder, x: str) -> str:
    b.ops("Split", [x], ["left", "right"], axis=3)
    return b.op("Concat", "right", "left", axis=3)


def _grid_sample(b: Builder, x: str) -> str:
    return b.op(
        "GridSample", x, b.const(np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 2, 3, 2))
    )


def _group_norm(b: Builder, x: str) -> str:
    y = b.op("Concat", x, x, axis=1)
    return b.op("GroupNormalization", y, b.positive(2), b.weight(2), num_groups=2)


def _per_element(b: Builder, x: str) -> str:
    b.op("BatchNormalization", x, *(b.weight(3, 4, 6) for _ in range(4)), spatial=0, to="bn")
    return "bn"


CASES: dict[str, tuple[int, int, Build]] = {
    "clip": (7, 17, _one("Clip", min=-0.5, max=0.25)),
    "clip_one_side": (10, 17, _one("Clip", max=0.25)),
    "pad": (7, 17, _one("Pad", pads=[0, 0, 1, 2, 0, 0, 0, 1], value=0.5)),
    "pad_reflect": (10, 17, _one("Pad", pads=[0, 0, 1, 2, 0, 0, 0, 1], mode="reflect")),
    "slice": (9, 17, _one("Slice", axes=[2, 3], starts=[1, -4], ends=[3, 6])),
    "slice_without_axes": (7, 17, _one("Slice", starts=[0, 1], ends=[2, 3])),
    "squeeze": (12, 17, lambda b, x: b.op("Squeeze", b.op("Unsqueeze", x, axes=[1, 4]), axes=[4])),
    "reduce_sum": (11, 17, _one("ReduceSum", axes=[1, -1], keepdims=0)),
    "reduce_sum_all": (11, 17, _one("ReduceSum")),
    "dropout": (7, 17, _one("Dropout", ratio=0.3)),
    "dropout_10": (10, 17, _one("Dropout")),
    "split": (11, 17, _split),
    "softmax_default_axis": (9, 17, _one("Softmax")),
    "softmax_middle_axis": (11, 17, _one("Softmax", axis=2)),
    "softmax_last_axis": (12, 17, _one("LogSoftmax", axis=-1)),
    "hardmax": (9, 17, _one("Hardmax", axis=0)),
    "batch_norm": (7, 17, _batch_norm),
    "batch_norm_9": (9, 17, _batch_norm),
    "scatter": (9, 17, _scatter),
    "roi_align": (10, 17, _roi_align),
    "upsample_7": (7, 17, _one("Upsample", scales=[1.0, 1.0, 2.0, 3.0])),
    "upsample_fraction": (9, 17, _one("Upsample", _f(1, 1, 1.5, 2.5))),
    "upsample_linear": (9, 17, _one("Upsample", _f(1, 1, 2, 2), mode="linear")),
    "resize_up": (10, 17, _one("Resize", _f(1, 1, 1.7, 2.0))),
    "resize_down": (10, 17, _one("Resize", _f(1, 1, 0.7, 0.4))),
    "resize_up_and_down": (10, 17, _one("Resize", _f(1, 1, 0.55, 2.3))),
    "resize_batch_and_width": (10, 17, _one("Resize", _f(2.0, 1, 1, 0.4))),
    "upsample_7_images": (7, 17, _one("Upsample", scales=[1.0, 1.0, 1.0, 2.0], mode="linear")),
    "resize_linear": (10, 17, _one("Resize", _f(1, 1, 0.7, 1.6), mode="linear")),
    "to_11": (10, 11, _one("Resize", _f(1, 1, 2.0, 2.0))),
    "to_12": (9, 12, _one("Softmax", axis=2)),
    "reduce_mean_18": (17, 18, _one("ReduceMean", axes=[1, -1])),
    "split_18": (13, 18, _halves),
    "grid_sample_20": (16, 20, _grid_sample),
    "group_norm_21": (18, 21, _group_norm),
}


def _model(opset: int, build: Build) -> Model:
    b = Builder()
    b.op("Identity", build(b, b.input("x", IMAGE)), to="y")
    b.output("y", [None] * 4)
    return b.model(opset)


@pytest.mark.parametrize("case", CASES)
def test_computes_the_same(case: str) -> None:
    opset, target, build = CASES[case]
    ran = run("upgrade-opset", _model(opset, build), opset=target)
    assert ran.after.opset == target
    assert not ran.remarks
    ran.same_bits()


def test_softmax_of_unknown_rank_is_flattened() -> None:
    b = Builder()
    b.input("shape", ["rank"], T.INT64)
    x = b.op("Reshape", b.input("x", IMAGE), "shape")
    b.op("Softmax", x, axis=2, to="y")
    b.output("y", [None] * 4)
    ran = run("upgrade-opset", b.model(9))
    assert ran.ops["Flatten"] == 1
    ran.same_bits(shape=_i(4, 3, 2, 6))


def test_softmax_keeps_its_node_when_one_axis_is_meant() -> None:
    ran = run("upgrade-opset", _model(9, _one("Softmax", axis=3)))
    assert ran.ops == {"Softmax": 1, "Identity": 1}


def test_bodies_are_upgraded() -> None:
    def branch(bound: float) -> onnx.GraphProto:
        inner = Builder()
        inner.op("Clip", "x", max=bound, to="out")
        inner.output("out", IMAGE)
        return inner.graph("branch")

    b = Builder()
    b.input("x", IMAGE)
    b.input("c", [], T.BOOL)
    b.op("If", "c", to="y", then_branch=branch(0.5), else_branch=branch(0.1))
    b.output("y", IMAGE)
    ran = run("upgrade-opset", b.model(10))
    assert ran.after.opset == 17
    for choice in (True, False):
        ran.same_bits(c=np.asarray(choice))


def test_names_and_documentation_stay() -> None:
    proto = to_proto(_model(9, _one("Softmax", axis=2)))
    proto.graph.node[0].doc_string = "why"
    proto.metadata_props.add(key="k", value="v")
    ran = run("upgrade-opset", from_proto(proto))
    assert ran.after.metadata == {"k": "v"}
    softmax = next(n for _, n in ran.after.nodes() if n.op_type == "Softmax")
    assert softmax.doc == "why"
    assert softmax.name == proto.graph.node[0].name


def test_ir_version_follows() -> None:
    ran = run("upgrade-opset", _model(9, _one("Relu")))
    assert ran.after.shell.ir_version >= 8


@pytest.mark.parametrize("opset", [17, 18, 21])
def test_newer_models_are_left_alone(opset: int) -> None:
    ran = run("upgrade-opset", _model(opset, _one("Relu")))
    assert not ran.outcome
    assert ran.after.opset == opset


@pytest.mark.parametrize(
    ("opset", "highest", "word", "build"),
    [
        (7, 8, "BatchNormalization", _per_element),
    ],
)
def test_refusal_names_the_operator(opset: int, highest: int, word: str, build: Build) -> None:
    ran = run("upgrade-opset", _model(opset, build))
    assert ran.after.opset == highest
    assert ran.codes == {"no-adapter"}
    assert word in ran.remarks[0].message


def test_broadcast_attributes_of_opset_6() -> None:
    """ONNX Runtime does not run these, so the upgraded model is compared with numpy."""
    b = Builder()
    x = b.input("x", IMAGE)
    h = b.op("Mul", x, b.const(_f(1, 2, 3)), broadcast=1, axis=1)
    b.op("Add", h, b.input("w", [4]), broadcast=1, axis=2, to="y")
    b.output("y", IMAGE)
    ran = run("upgrade-opset", b.model(6))
    data, w = np.random.default_rng(0).standard_normal(IMAGE).astype(np.float32), _f(1, 2, 3, 4)
    got = Session(ran.after).run({"x": data, "w": w})["y"]
    wanted = data * _f(1, 2, 3).reshape(3, 1, 1) + w.reshape(4, 1)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_every_breaking_change_has_an_adapter() -> None:
    """What the installed onnx removed, moved or redefined between opsets 7 and 21."""
    history: dict[str, dict[int, onnx.defs.OpSchema]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if not schema.domain:
            history.setdefault(schema.name, {})[schema.since_version] = schema
    missing = []
    for name, versions in history.items():
        numbers = sorted(versions)
        for old, new in pairwise(numbers):
            broken = _breaks(versions[old], versions[new])
            if 7 < new <= 21 and broken and (name, new) not in ADAPTERS:
                missing.append((name, new, broken))
    assert missing == []


def _breaks(old: onnx.defs.OpSchema, new: onnx.defs.OpSchema) -> str:
    if new.deprecated:
        return "deprecated"
    for name, attribute in old.attributes.items():
        if name not in new.attributes:
            return f"no {name}"
        if attribute.default_value != new.attributes[name].default_value:
            return f"other default of {name}"
    fewer = len(new.outputs) < len(old.outputs)
    return "fewer outputs" if fewer else ""


@pytest.mark.parametrize(
    ("axis", "shape", "wanted"),
    [
        (1, (2, 8), -1),
        (-1, None, -1),
        (1, None, None),
        (1, (2, 8, 1, 1), 1),
        (1, (2, 8, 4), None),
        (0, (1, 8), -1),
        (2, ("n", 8, None), -1),
        (1, ("n", None, None), None),
        (2, (3, 4), None),
    ],
)
def test_single_axis(axis: int, shape: tuple[int, ...] | None, wanted: int | None) -> None:
    assert single_axis(axis, shape) == wanted


def test_nearest_mode() -> None:
    constants = Graph("g")
    assert nearest_mode(constants.constant("s", _f(1, 2))) == "floor"
    assert nearest_mode(constants.constant("s", _f(1, 0.5))) == "ceil"
    assert nearest_mode(constants.constant("s", _f(0.5, 2))) == ""
    assert nearest_mode(None) == ""


def _to_size_of(op: str, mode: str) -> Build:
    """Resize to the size of another image, as PyTorch spells it: by quotients of extents."""

    def build(b: Builder, x: str) -> str:
        goal = b.input("goal", [2, 3, "h", "w"])
        extents = []
        for value in (goal, x):
            shape = b.op("Shape", value)
            size = b.op("Slice", shape, *(b.const(_i(n)) for n in (2, 4))) if op == "Resize" else ""
            size = size or b.op("Slice", shape, starts=[2], ends=[4], axes=[0])
            b.ops("Cast", [size], [f"{size}_f"], to=T.FLOAT)
            extents.append(f"{size}_f")
        scales = b.op("Concat", b.const(_f(1, 1)), b.op("Div", *extents), axis=0)
        return b.op(op, x, scales, mode=mode)

    return build


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("size", [(4, 6), (8, 12), (7, 16)])
def test_upsample_with_computed_scales(size: tuple[int, int], mode: str) -> None:
    ran = run("upgrade-opset", _model(9, _to_size_of("Upsample", mode)))
    assert ran.after.opset == 17
    assert ran.ops["Resize"] == 1
    ran.same_bits(goal=np.zeros((2, 3, *size), np.float32))


@pytest.mark.parametrize("size", [(8, 12), (3, 4), (3, 13), (9, 5), (4, 6), (1, 1)])
def test_nearest_resize_with_computed_scales(size: tuple[int, int]) -> None:
    ran = run("upgrade-opset", _model(10, _to_size_of("Resize", "nearest")))
    assert ran.after.opset == 17
    assert ran.ops["Resize"] == 2
    ran.same_bits(goal=np.zeros((2, 3, *size), np.float32))


def test_an_upsample_stays_one_node_where_its_scales_become_known() -> None:
    b = Builder()
    x, half = b.input("x", IMAGE), b.const(_f(0.5, 0.5, 1, 1))
    b.op("Upsample", x, b.op("Add", half, half), to="up")
    b.op("Relu", "up", to="y")
    b.output("y", IMAGE)
    model = b.model(9)
    context(model).run_one(find("canonicalize")(), model)
    assert [n.op_type for _, n in model.nodes()] == ["Resize", "Relu"]


@pytest.mark.parametrize("held", [False, True])
def test_what_files_compute_is_upgraded_too(held: bool) -> None:
    b = Builder()
    w = b.const(b.rng.standard_normal((40, 50)).astype(np.float16))
    b.ops("Cast", [b.op("Unsqueeze", w, axes=[0])], ["w"], to=T.FLOAT)
    h = b.op("MatMul", b.input("x", [1, 2, 40]), "w")
    if held:
        h = b.op("BatchNormalization", h, *(b.positive(2, 50) for _ in range(4)), spatial=0)
    b.op("Relu", h, to="y")
    b.output("y", [1, 2, 50])
    model = b.model(8)
    context(model).run_one(find("canonicalize")(), model)
    assert model.opset == (8 if held else 17)
    assert "Cast" not in {n.op_type for _, n in model.nodes()}
    check(model)
    assert model.weight_bytes < 40 * 50 * 2 + 2000
