"""Outputs that hold values in several units: boxes in pixels, probabilities, keypoints."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from ocompress.ir import Model
from tests.build import Array, Builder
from tests.passes.quantization.runs import outputs, quantized, sqnr

PLACES = 64
"""Places of the map that a head looks at."""


def backbone(b: Builder) -> str:
    h, channels = b.input("x", ["n", 3, 16, 16]), 3
    for width in (16, 64, 64):
        h = b.op("Conv", h, b.weight(width, channels, 3, 3), b.weight(width), pads=[1] * 4)
        h, channels = b.op("Mul", h, b.op("Sigmoid", h)), width
    return b.op("MaxPool", h, kernel_shape=[2, 2], strides=[2, 2])


def head(b: Builder, h: str, width: int, bias: float = 0.0) -> str:
    shift = b.const(np.full(width, bias, np.float32))
    h = b.op("Conv", h, b.weight(width, 64, 1, 1, scale=0.2), shift)
    return b.op("Reshape", h, b.const(np.array([0, width, PLACES])))


def probabilities(b: Builder, h: str, width: int) -> str:
    return b.op("Sigmoid", head(b, h, width, -4.0))


def times(b: Builder, h: str, *factors: float) -> str:
    return b.op("Mul", h, b.const(np.array(factors, np.float32).reshape(1, -1, 1)))


def boxes(b: Builder, h: str) -> str:
    return times(b, b.op("Sigmoid", head(b, h, 4)), 640)


def yolo(b: Builder) -> str:
    """[n, 4 boxes + objectness + 8 classes, places]."""
    h = backbone(b)
    parts = boxes(b, h), probabilities(b, h, 1), probabilities(b, h, 8)
    return b.op("Concat", *parts, axis=1)


def turned(b: Builder) -> str:
    return b.op("Transpose", yolo(b), perm=[0, 2, 1])


def flat(b: Builder) -> str:
    return b.op("Reshape", yolo(b), b.const(np.array([0, -1])))


def cut(b: Builder) -> str:
    return b.op("Slice", turned(b), *(b.const(np.array([k])) for k in (0, 40, 1)))


def doubled(b: Builder) -> str:
    return b.op("Mul", yolo(b), b.const(np.float32(2)))


def scaled_at_the_end(b: Builder) -> str:
    h = backbone(b)
    h = b.op("Concat", b.op("Sigmoid", head(b, h, 4)), probabilities(b, h, 9), axis=1)
    return times(b, h, *[640.0] * 4, *[1.0] * 9)


def of_two_maps(b: Builder) -> str:
    """Parts along one axis, maps along another."""
    h = backbone(b)
    first = b.op("Concat", boxes(b, h), probabilities(b, h, 9), axis=1)
    other = b.op("Concat", boxes(b, h), probabilities(b, h, 9), axis=1)
    return b.op("Concat", first, other, axis=2)


def regressions(b: Builder) -> str:
    """[n, 4 of about 1e4 + 9 of about 1e-3, places]."""
    h = backbone(b)
    return b.op("Concat", times(b, head(b, h, 4), 1e4), times(b, head(b, h, 9), 1e-3), axis=1)


def in_two_outputs(b: Builder) -> str:
    h = backbone(b)
    b.output(boxes(b, h))
    return probabilities(b, h, 9)


def images(count: int, seed: int) -> Array:
    rough = np.random.default_rng(seed).standard_normal((count, 3, 4, 4))
    return rough.repeat(4, 2).repeat(4, 3).astype(np.float32)


BATCHES = [{"x": images(6, seed)} for seed in range(3)]
FEED = {"x": images(8, 9)}


@cache
def model_of(build: Callable[[Builder], str]) -> Model:
    b = Builder()
    b.output(build(b))
    return b.model()


def parts_of(made: list[Array], name: str) -> list[Array]:
    """Return the boxes and the rest."""
    if len(made) == 2:
        return made
    (array,) = made
    if name == "flat":
        array = array.reshape(len(array), 13, PLACES)
    elif name in ("turned", "cut"):
        array = array.swapaxes(1, 2)
    return [array[:, :4], array[:, 4:]]


BUILDS = [yolo, turned, flat, cut, doubled, scaled_at_the_end, of_two_maps, regressions]


RUNS = [(build, "quant{keep_slower=true}") for build in (*BUILDS, in_two_outputs)]
RUNS += [(build, "quant{costs=table fit=rtn}") for build in (turned, in_two_outputs)]


@pytest.mark.parametrize(("build", "text"), RUNS)
def test_every_part_stays_faithful(build: Callable[[Builder], str], text: str) -> None:
    model = model_of(build)
    result = quantized(model.clone(), text, batches=BATCHES).model
    assert any(n.is_op("QuantizeLinear") for n in result.graph.nodes)
    name = build.__name__
    before, after = (parts_of(outputs(m, FEED), name) for m in (model, result))
    for reference, other in zip(before, after, strict=True):
        assert sqnr([reference], [other]) > 20


def test_what_puts_parts_together_is_named() -> None:
    result = quantized(model_of(cut).clone(), batches=BATCHES)
    named = {r.op_type for r in result.diagnostics if r.code == "mixed-units"}
    assert named == {"Concat", "Transpose", "Slice"}


def test_parts_of_one_size_may_share_integers() -> None:
    b = Builder()
    h = backbone(b)
    b.output(b.op("Concat", head(b, h, 4), head(b, h, 9), axis=1))
    result = quantized(b.model(), batches=BATCHES)
    assert not [r for r in result.diagnostics if r.code == "mixed-units"]
    assert not [n for n in result.model.graph.nodes if n.is_op("Concat") and reads_floats(n)]


def reads_floats(node: object) -> bool:
    return any(
        v is None or v.producer is None or not v.producer.is_op("DequantizeLinear")
        for v in node.inputs  # type: ignore[attr-defined]
    )
