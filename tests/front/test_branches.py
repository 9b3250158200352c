"""Branches that no sample takes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto as T

import ocompress
from ocompress.ir import Model
from tests.build import Builder

X = np.random.default_rng(0).standard_normal((80, 32)).astype(np.float32)
FOLD = "quant-weights{kernel=fold smallest=1}"


def forked(computed: bool) -> Model:
    """A model with weights in both branches, taken by an input or by what is computed."""
    b = Builder()
    x = b.input("x", ["n", 32])
    flag = b.input("flag", [], T.BOOL)
    if computed:
        flag = b.op("Or", flag, b.op("Less", b.op("ReduceMax", x, keepdims=0), b.weight()))
    sides = []
    for seed, name in enumerate(("yes", "no")):
        side = Builder(seed)
        side.op(
            "MatMul",
            x,
            side.const(side.rng.standard_normal((32, 16)).astype(np.float32), name + "w"),
            to=name,
        )
        side.output(name, ["n", 16])
        sides.append(side.graph(name))
    h = b.op("If", flag, to="fork", then_branch=sides[0], else_branch=sides[1])
    b.op("MatMul", h, b.weight(16, 8), to="y")
    b.output("y", ["n", 8])
    return b.model()


@pytest.mark.parametrize("computed", [False, True])
@pytest.mark.parametrize(("flag", "left"), [(True, "else_branch"), (False, "then_branch")])
def test_a_branch_that_no_sample_takes_is_told(computed: bool, flag: bool, left: str) -> None:
    data = [{"x": X[i : i + 4], "flag": np.array(flag)} for i in range(0, 80, 4)]
    done = ocompress.optimize(forked(computed), passes=FOLD, data=data, max_drop=1.0, measure=False)
    told = [r for r in done.remarks if "no sample that judges takes" in r]
    assert [f"takes {left} of If 'fork'" in r for r in told] == [True]


def test_branches_that_samples_take_are_not_told_of() -> None:
    flags = [np.array(i % 2 == 0) for i in range(80)]
    data = [{"x": X[i : i + 1], "flag": flag} for i, flag in enumerate(flags)]
    done = ocompress.optimize(forked(False), passes=FOLD, data=data, max_drop=1.0, measure=False)
    assert not [r for r in done.remarks if "no sample that judges takes" in r]
