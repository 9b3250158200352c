"""Graphs with vectors where Range demands scalars: the runtime does not load them as they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from onnx import TensorProto as T

from ocompress.ir import Model
from tests.build import Builder


def _number(b: Builder, number: float, *, vectors: bool, dtype: type = np.int64) -> str:
    return b.const(np.full((1,) if vectors else (), number, dtype))


def _start(*, vectors: bool) -> Model:
    b = Builder()
    limit = b.input("limit", [], T.INT64)
    start = _number(b, -2, vectors=vectors)
    b.op("Range", start, limit, b.const(np.array(1)), to="y")
    b.output("y", ["k"], T.INT64)
    return b.model()


def _all(*, vectors: bool) -> Model:
    """Make positions that are added to what comes in."""
    b = Builder()
    x = b.input("x", [2, 4])
    bounds = [_number(b, n, vectors=vectors, dtype=np.float32) for n in (0.0, 2.0, 0.5)]
    b.op("Add", x, b.op("Range", *bounds), to="y")
    b.output("y", [2, 4])
    return b.model()


def _in_a_body(*, vectors: bool) -> Model:
    b = Builder()
    x = b.input("x", [3])
    branches = []
    for seed, op in enumerate(("Add", "Sub")):
        inner = Builder(seed)
        zero, one = (inner.const(np.array(n, np.float32), f"{op}{n}") for n in (0, 1))
        three = inner.const(np.full((1,) if vectors else (), 3, np.float32), f"{op}_end")
        steps = inner.op("Range", zero, three, one, to=f"{op}_steps")
        inner.output(inner.op(op, x, steps, to=f"{op}_out"), [3])
        branches.append(inner.graph(op))
    b.op(
        "If", b.input("flag", [], T.BOOL), then_branch=branches[0], else_branch=branches[1], to="y"
    )
    b.output("y", [3])
    return b.model()


_ALL = {"range_start": _start, "range_of_floats": _all, "range_in_a_body": _in_a_body}
RANGES: dict[str, Callable[[], Model]] = {n: partial(f, vectors=True) for n, f in _ALL.items()}
TWINS: dict[str, Callable[[], Model]] = {n: partial(f, vectors=False) for n, f in _ALL.items()}
"""The same with scalars: what the outputs are meant to be."""
