"""Models that are quantized already: every pass that leaves their layers alone says why."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.ir import Model
from ocompress.pipeline import PassManager, Pipeline
from ocompress.targets import find
from tests.build import Builder
from tests.graphs import ZOO


def dynamic() -> Model:
    """What tools make that quantize convolutions and products as their inputs come."""
    b = Builder()
    x = b.input("x", ["n", 8, 6, 6])

    def integers(data: str, op_type: str, *shape: int) -> str:
        name = f"{op_type.lower()}_data"
        b.ops("DynamicQuantizeLinear", [data], [name, f"{name}_scale", f"{name}_zero"])
        weight = b.const(b.rng.integers(-100, 100, shape).astype(np.int8))
        made = b.op(op_type, name, weight, f"{name}_zero")
        b.ops("Cast", [made], [f"{name}_float"], to=T.FLOAT)
        return b.op("Mul", f"{name}_float", f"{name}_scale")

    h = integers(x, "ConvInteger", 16, 8, 1, 1)
    h = b.op("Flatten", b.op("GlobalAveragePool", h))
    b.output(integers(h, "MatMulInteger", 16, 4), ["n", 4])
    return b.model()


PASSES = [
    "cluster",
    *("binarize", "circulant", "fastfood", "hash", "random-code"),
    "codebook",
    "entropy",
    "prune",
    "prune-channels",
    "prune-heads",
    "factorize",
    "separable",
    "group",
    "squeeze",
    "quant-dynamic",
    "quant-weights",
]


@pytest.mark.parametrize("build", [dynamic, ZOO["already_quantized"]])
@pytest.mark.parametrize("name", PASSES)
def test_quantized_layers_are_named(name: str, build: Callable[[], Model]) -> None:
    result = PassManager(target=find("portable")).run(Pipeline.parse(name), build())
    assert not result.records[-1].counts
    declined = result.diagnostics.declined(name)
    assert declined["already-quantized"] + declined["quantized"] >= 1
