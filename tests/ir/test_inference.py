"""Inference of shapes is not led into memory that no machine has."""

from __future__ import annotations

from typing import NoReturn

import onnx
import pytest
from onnx import ModelProto, TensorProto

from ocompress.ir import Model, inference
from tests.build import Builder

HUGE = (1 << 63) - 1


def sliced(extent: int) -> Model:
    """Return a model that slices where an input with some elements says."""
    b = Builder()
    x = b.input("x", [20, 10])
    starts = b.input("starts", [extent], TensorProto.INT64)
    h = b.op("Slice", x, starts, b.input("ends", [1], TensorProto.INT64))
    b.op("Relu", h, to="y")
    b.output("y", [None, None])
    return b.model()


@pytest.mark.parametrize("extent", [1, inference.LARGEST_EXTENT, 1 << 32, HUGE])
def test_no_extent_is_told_for_which_inference_makes_too_many_elements(
    extent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []

    def infer_shapes(proto: ModelProto, **_: object) -> ModelProto:
        told.extend(d.dim_value for i in proto.graph.input for d in i.type.tensor_type.shape.dim)
        return proto

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", infer_shapes)
    model = sliced(extent)
    inference.infer_types(model)
    assert told == [20, 10, extent if extent <= inference.LARGEST_EXTENT else 0, 1]
    assert model.graph.inputs[1].shape == (extent,)


def test_what_is_beyond_all_memory_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def infer_shapes(*_: object, **__: object) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", infer_shapes)
    assert not inference.infer_types(sliced(1))
