"""Prunes a model and checks what holds for every result."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import helper

from ocompress.ir import Model, onnx_api, text
from ocompress.pipeline import Outcome
from passes.pruning.prune import Prune
from tests.build import Builder
from tests.contract.harness import check, context


@dataclass(frozen=True)
class Result:
    before: Model
    after: Model
    outcome: Outcome
    codes: Counter[str]

    def weight(self, name: str) -> np.ndarray:
        value = next(
            g.initializers[name] for g in self.after.graph.graphs() if name in g.initializers
        )
        assert value.data is not None
        return value.data

    def zeros(self, *names: str) -> int:
        return sum(int((self.weight(n) == 0).sum()) for n in names)


def prune(model: Model, **options: Any) -> Result:
    onnx_api.infer_types(model)
    before = model.clone()
    kept = {id(w): w.copy() for w in before.weights()}
    ctx = context(model)
    outcome = ctx.run_one(Prune(**{"criterion": "l2", "refit": False, **options}), model)
    assert bool(outcome) == (text(before) != text(model))
    for w in before.weights():
        np.testing.assert_array_equal(w, kept[id(w)])  # arrays are shared: never edited in place
    check(model)
    return Result(before, model, outcome, ctx.diagnostics.declined())


def stack(dtype: Any = np.float32, widths: tuple[int, ...] = (32, 64, 48, 40, 10)) -> Builder:
    """A chain of Gemm layers `fc0..`, weights `w0..` of growing scale."""
    b = Builder()
    code = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    h = b.input("x", ["n", widths[0]], code)
    for i, (k, n) in enumerate(itertools.pairwise(widths)):
        w = b.const((b.rng.standard_normal((k, n)) * (i + 1)).astype(dtype), f"w{i}")
        h = b.op("Gemm", h, w, to=f"fc{i}")
    b.output(h, ["n", widths[-1]], code)
    return b
