"""Few samples that mislead are not believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ocompress.analysis import AnalysisManager
from ocompress.ir import Facet, Model, edit, onnx_api
from ocompress.lossy import remembering
from ocompress.lossy.rehearsing import misled
from ocompress.pipeline import Context, Guard, Numerics, Outcome, Pass, Verdict, option
from passes.pruning.prune import Prune
from passes.pruning.prune_channels import PruneChannels
from passes.pruning.prune_heads import PruneHeads
from tests.build import Builder, InMemory
from tests.passes.pruning.on_data import context, error, run


class Scale(Pass):
    """Scale all weights, with data otherwise than without."""

    name = "scale-all"
    numerics = Numerics.LOSSY
    may_change = Facet.WEIGHTS
    goals = ("seen",)
    seen: float = option(1.0, help="By how much with data.")
    blind: float = option(1.0, help="By how much without.")

    def run(self, model: Model, ctx: Context) -> Outcome:
        for value in list(model.graph.initializers.values()):
            assert value.data is not None
            by = self.seen if ctx.has_data else self.blind
            edit.set_weight(value, value.data * np.float32(by))
        if ctx.has_data:
            assert not misled(self, self, model, ctx)  # no rehearsal of a rehearsal
        return Outcome(Facet.WEIGHTS)


class Drop:
    kind = "max-drop"
    limit = 0.01

    def judge(self, candidate: Model, best: Model) -> Verdict:
        raise NotImplementedError


def net() -> Model:
    b = Builder()
    h = b.op("Relu", b.op("Gemm", b.input("x", ["n", 24]), b.weight(24, 32), b.weight(32)))
    b.output(b.op("Gemm", h, b.weight(32, 6), b.weight(6), to="y"), ["n", 6])
    model = b.model()
    onnx_api.infer_types(model)
    return model


def asked(item: Pass, samples: int = 24, guards: Sequence[Guard] = ()) -> tuple[bool, Context]:
    model = net()
    data = InMemory([{"x": np.random.default_rng(3).standard_normal((samples, 24), np.float32)}])
    ctx = replace(context(model, guards=guards), analyses=AnalysisManager(data))
    return misled(item, item, model, ctx), ctx


def test_who_does_worse_on_samples_left_out_is_misled() -> None:
    found, ctx = asked(Scale(seen=0.5, blind=0.9))
    assert found
    (remark,) = ctx.diagnostics.remarks
    assert remark.code == "few-samples"
    assert "24 samples" in remark.message
    found, ctx = asked(Scale(seen=0.9, blind=0.5))
    assert not found
    assert not ctx.diagnostics.remarks


@pytest.mark.parametrize(("samples", "rehearsed"), [(5, False), (6, True), (32, True), (33, False)])
def test_few_samples_are_rehearsed_and_no_others(samples: int, rehearsed: bool) -> None:
    assert asked(Scale(seen=0.5, blind=0.9), samples)[0] is rehearsed


def test_a_difference_that_chance_makes_does_not_count() -> None:
    assert not asked(Scale(seen=0.9, blind=0.91))[0]
    assert asked(Scale(seen=0.88, blind=0.91))[0]


def test_enough_samples_and_limits_on_the_drop_need_no_rehearsal() -> None:
    item, aimless = Scale(seen=0.5, blind=0.9), Scale(blind=1.5)
    assert not asked(item, samples=33)[0]
    assert not asked(item, samples=5)[0]
    assert asked(item, guards=[Drop()])[0]  # it has a goal: nothing else stops it
    assert not asked(aimless, guards=[Drop()])[0]
    model = net()
    assert not misled(item, item, model, context(model, data=False))
    assert not misled(item, item, model, replace(context(model), previewing=True))


def test_what_a_fixed_pipeline_says_is_done_without_a_rehearsal() -> None:
    item = Scale(seen=0.5, blind=0.9)
    misleading, ctx = asked(item)
    assert misleading
    assert not misled(item, item, net(), replace(ctx, fixed=True))


@pytest.mark.parametrize("kind", [Prune, PruneChannels, PruneHeads])
def test_pruning_goes_by_the_weights_then(
    kind: type[Prune | PruneChannels], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Pass] = []

    def say(_: Pass, blind: Pass, *__: object) -> bool:
        told.append(blind)
        return True

    monkeypatch.setattr(remembering, "misled", say)
    goal: dict[str, Any] = {"sparsity": 0.5} if kind is Prune else {"ratio": 0.5}
    model = net()
    with_data, without = (run(kind(**goal), model, data=data)[0] for data in (True, False))
    assert error(with_data, without) < 1e-9
    assert [getattr(p, "criterion", "") for p in told] == ["l2", "l2"]
    assert run(kind(**goal, criterion="obs"), model)
    assert len(told) == 2
