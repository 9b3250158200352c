"""What replacing layers costs grows with their number, and no faster."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from ocompress.analysis import AnalysisManager
from ocompress.diagnostics import Diagnostics
from ocompress.ir import Model
from ocompress.pipeline import Context
from passes.factorization.building import ChainEdit
from passes.factorization.separable import Separable
from tests.build import Builder, InMemory
from tests.contract.harness import TARGET
from tests.counting import counting, grows


def blocks(layers: int) -> Model:
    """Return residual blocks of convolutions that are nearly separable."""
    b = Builder(3)
    h = b.input("x", ["n", 8, 5, 5])
    for at in range(layers):
        taps, mix = b.rng.standard_normal((1, 8, 3, 3)), b.rng.standard_normal((8, 8, 1, 1))
        weight = taps * mix + 0.1 * b.rng.standard_normal((8, 8, 3, 3))
        made = b.op("Conv", h, b.const(weight.astype(np.float32)), to=f"c{at}", pads=[1, 1, 1, 1])
        h = b.op("Add", h, b.op("Mul", made, b.const(np.float32(0.02))))
    b.output(h, ["n", 8, 5, 5])
    return b.model()


def context() -> Context:
    x = np.random.default_rng(1).standard_normal((12, 8, 5, 5)).astype(np.float32)
    data = AnalysisManager(InMemory([{"x": x}]))
    return Context(target=TARGET, analyses=data, diagnostics=Diagnostics())


def counted(layers: int, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Replace all layers of a net, and count what that takes."""
    model = blocks(layers)
    ctx, item = context(), Separable(rank=1)
    plan = item.asked(item.propose(model, ctx))
    with counting(monkeypatch) as counts:
        assert len(item.build(model, plan, ctx, fit=True).done) == layers
    return counts


def test_twice_the_layers_take_twice_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    grows(counted(8, monkeypatch), counted(16, monkeypatch), 2)


def test_all_chains_of_a_layer_hold_its_curvature_once() -> None:
    proposal = Separable(max_macs=0.5).propose(blocks(2), context())
    for moves in proposal.table.rows.values():
        held = {id(m.edit.curvature) for m in moves if isinstance(m.edit, ChainEdit)}
        assert len(moves) > 3
        assert len(held) == 1
