"""Outputs of whole numbers that are amounts rather than labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.analysis.gradients import sweep_gradients
from ocompress.analysis.sensitivity import sensitivity
from ocompress.ir import Model, edit
from ocompress.runtime import Session
from ocompress.validation.choosing import choose_measures
from ocompress.validation.measures import LossUnit
from tests.build import Builder, InMemory

RNG = np.random.default_rng(6)
DATA = InMemory([{"x": RNG.standard_normal((24, 3, 6, 6)).astype(np.float32)} for _ in range(2)])


def net(ending: str) -> Model:
    """A picture of bytes, or labels, at the end of a convolution."""
    b = Builder()
    h = b.op("Conv", b.input("x", ["n", 3, 6, 6]), b.weight(3, 3, 3, 3), to="h", pads=[1] * 4)
    kind, dtype = T.UINT8, np.uint8
    if ending == "picture":
        h = b.op("Add", b.op("Mul", h, b.const(np.float32(40))), b.const(np.float32(120)))
        h = b.op("Round", b.op("Clip", h, b.const(np.float32(0)), b.const(np.float32(255))))
        b.ops("Cast", [h], ["y"], to=T.UINT8)
    elif ending == "quantized":
        b.op("QuantizeLinear", h, b.const(np.float32(0.05)), b.const(np.array(128, dtype)), to="y")
    elif ending == "float labels":
        b.ops("Cast", [b.op("ArgMax", h, axis=1)], ["f"], to=T.FLOAT)
        b.ops("Cast", ["f"], ["y"], to=T.UINT8)
    elif ending == "above":
        b.ops("Cast", [b.op("Greater", h, b.const(np.float32(0)))], ["y"], to=T.UINT8)
    else:
        kind = T.INT64
        b.op("ArgMax", h, to="y", axis=1)
    b.output("y", None, kind)
    return b.model()


@pytest.mark.parametrize(
    ("ending", "unit"),
    [
        ("picture", LossUnit.ERROR),
        ("quantized", LossUnit.ERROR),
        ("labels", LossUnit.AGREEMENT),
        ("float labels", LossUnit.AGREEMENT),
        ("above", LossUnit.AGREEMENT),
    ],
)
def test_amounts_are_counted_by_their_error(ending: str, unit: LossUnit) -> None:
    model = net(ending)
    (feeds, *_) = DATA
    assert choose_measures(model, Session(model).run(feeds))["y"].unit is unit


@pytest.mark.parametrize(("ending", "known"), [("picture", True), ("labels", False)])
def test_changes_before_an_amount_have_a_cost_and_a_gradient(ending: str, known: bool) -> None:
    def lose(clone: Model) -> bool:
        (node,) = (n for n in clone.graph.nodes if n.is_op("Conv"))
        weight = edit.own_weight(node, 1)
        assert weight.data is not None
        edit.set_weight(weight, weight.data * np.float32(0.9))
        return True

    model, seen = net(ending), list[Any]()
    cost = sensitivity(model, {"h": lose}, DATA)["h"].cost
    assert (cost == pytest.approx(0.01, rel=0.1)) if known else cost == 0
    missing = sweep_gradients(model, ["h"], DATA, lambda _, __, g: seen.append(g), lambda *_: None)
    assert bool(missing) is not known
    assert bool(seen) is known
