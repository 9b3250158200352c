"""Builds linear layers in all forms, runs one pass, compares with the original."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from ocompress.ir import Model, edit, from_proto, onnx_api, text, to_proto
from ocompress.pipeline import Outcome, find
from tests.build import Builder
from tests.contract.harness import check, context, outputs

CHANNELS_IN, CHANNELS_OUT = 6, 4


@dataclass(frozen=True)
class Result:
    """A pass that ran on a model."""

    before: Model
    after: Model
    outcome: Outcome
    codes: Counter[str]

    @property
    def ops(self) -> Counter[str]:
        return Counter(node.op_type for _, node in self.after.nodes())

    def same(self, tolerance: float = 2e-6) -> None:
        """Compare outputs, relative to the range of each."""
        check(self.after)
        left, right = outputs(self.before), outputs(self.after)
        assert left.keys() == right.keys()
        for name, wanted in left.items():
            got = right[name].astype(np.float64)
            reach = float(np.abs(wanted.astype(np.float64)).max())
            assert reach > 0
            np.testing.assert_allclose(got, wanted.astype(np.float64), 0, tolerance * reach)
            assert right[name].dtype == wanted.dtype


def run(name: str, model: Model) -> Result:
    """Run a pass once on a model with inferred types, those of its outputs included."""
    model = from_proto(onnx.shape_inference.infer_shapes(to_proto(model)))
    onnx_api.infer_types(model)
    before = model.clone()
    ctx = context(model)
    outcome = ctx.run_one(find(name)(), model)
    assert bool(outcome) == (text(before) != text(model))
    edit.remove_dead(model.graph)
    return Result(before, model, outcome, ctx.diagnostics.declined())


def linear(b: Builder, kind: str, x: str, *, dtype: Any = np.float32, to: str = "") -> str:
    """Add a layer of `CHANNELS_IN` to `CHANNELS_OUT` channels; `kind` is `op[:variant]`."""
    op, _, variant = kind.partition(":")
    i, o = CHANNELS_IN, CHANNELS_OUT
    bias = [] if "nobias" in variant else [b.weight(o, dtype=dtype)]
    if op.startswith("Conv"):
        rank, groups = (3, 1) if op.endswith("3") else (1, 1) if op.endswith("1") else (2, 1)
        groups = 2 if "group" in variant else 1
        attrs: dict[str, Any] = {"group": groups}
        if "pad" in variant:
            attrs["pads"] = [1, 0] * rank
        if "stride" in variant:
            attrs |= {"strides": [2] * rank, "dilations": [2] * rank}
        taps = [1 if "point" in variant else 3] * rank
        name = op.rstrip("123")
        shape = (o, i // groups) if name == "Conv" else (i, o // groups)
        return b.op(name, x, b.weight(*shape, *taps, dtype=dtype), *bias, to=to, **attrs)
    if op == "MatMul":
        return b.op("MatMul", x, b.weight(i, o, scale=0.4, dtype=dtype), to=to)
    attrs = {"alpha": 0.5, "beta": 2.0} if "alpha" in variant else {}
    flip_a, flip_b = "ta" in variant, "tb" in variant
    weight = b.weight(*((o, i) if flip_b else (i, o)), scale=0.4, dtype=dtype)
    if "scalar" in variant:
        bias = [b.const(np.asarray(0.3, dtype))]
    if "matrix" in variant:
        bias = [b.weight(3, o, dtype=dtype)]
    return b.op("Gemm", x, weight, *bias, to=to, transA=flip_a, transB=flip_b, **attrs)


def data_shape(kind: str) -> list[Any]:
    op, _, variant = kind.partition(":")
    if op.startswith("Conv"):
        rank = 3 if op.endswith("3") else 1 if op.endswith("1") else 2
        return ["n", CHANNELS_IN, *[7] * rank]
    if "ta" in variant:
        return [CHANNELS_IN, 3]
    return [3, CHANNELS_IN] if "matrix" in variant else ["n", CHANNELS_IN]


CONVS = [
    "Conv",
    "Conv:nobias",
    "Conv:group",
    "Conv:group,nobias,pad,stride",
    "Conv1:pad",
    "Conv3:stride",
    "ConvTranspose",
    "ConvTranspose:nobias,pad",
    "ConvTranspose:group,stride",
    "ConvTranspose1:group,nobias",
    "ConvTranspose3",
]
GEMMS = [
    "Gemm",
    "Gemm:nobias,tb",
    "Gemm:alpha,tb",
    "Gemm:alpha,ta",
    "Gemm:alpha,nobias",
    "Gemm:scalar,alpha",
    "Gemm:matrix,alpha,tb",
]
