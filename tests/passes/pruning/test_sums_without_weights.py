"""Channels that end where queries meet keys go by what the outputs mind, as others do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ocompress.analysis import AnalysisManager
from ocompress.analysis.channels import Group
from ocompress.analysis.output_errors import divergences
from ocompress.diagnostics import Diagnostics
from ocompress.ir import Model, onnx_api
from ocompress.lossy.ablation import Mask, Trial, tried
from ocompress.lossy.channel_fisher import vanishing
from ocompress.pipeline import Context, Outcome
from ocompress.runtime import Session
from passes.pruning.prune_channels import PruneChannels
from tests.build import Builder, InMemory
from tests.contract.harness import TARGET
from tests.passes.pruning.on_data import batches, run
from tests.passes.pruning.removed import group_of, zeroed

TOKENS, WIDTH, HEADS, DEPTH = 6, 16, 2, 8
SIZE = np.array([2.0, 0.0, 1.0, 0.3, 1.5, 0.0, 0.6, 0.2])
"""How much each channel of the keys says; the queries' say more the less the keys' do."""


def net(scale: float = 1.0, *, read_elsewhere: bool = False) -> Model:
    """An attention whose keys are scaled; a layer may read the queries, too, and say a lot."""
    b = Builder(3)
    x = b.input("x", ["n", TOKENS, WIDTH])
    split = b.const(np.array([0, 0, HEADS, DEPTH], np.int64))

    def project(name: str, per_channel: np.ndarray) -> str:
        weight = b.rng.standard_normal((WIDTH, HEADS, DEPTH)) * per_channel / 4
        made = b.op("MatMul", x, b.const(weight.reshape(WIDTH, -1).astype("f")), to=name)
        return b.op("Reshape", b.op("Add", made, b.weight(HEADS * DEPTH)), split)

    q = b.op("Transpose", project("q", 3 - SIZE), perm=[0, 2, 1, 3])
    # the keys have no offset: what says nothing says exactly nothing
    weight = (b.rng.standard_normal((WIDTH, HEADS, DEPTH)) * SIZE * scale).reshape(WIDTH, -1)
    k = b.op("Reshape", b.op("MatMul", x, b.const(weight.astype("f")), to="k"), split)
    v = b.op("Transpose", project("v", np.ones(DEPTH)), perm=[0, 2, 1, 3])
    scores = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 2, 3, 1]), to="scores")
    h = b.op("MatMul", b.op("Softmax", scores, axis=-1), v)
    h = b.op("Reshape", b.op("Transpose", h, perm=[0, 2, 1, 3]), b.const(np.array([0, 0, 16])))
    if read_elsewhere:
        also = b.op("Transpose", b.op("MatMul", q, b.weight(DEPTH, DEPTH)), perm=[0, 2, 1, 3])
        h = b.op("Add", h, b.op("Reshape", also, b.const(np.array([0, 0, 16]))))
    h = b.op(
        "ReduceMean",
        b.op("Relu", b.op("MatMul", h, b.weight(16, 24), to="hidden")),
        axes=[1],
        keepdims=0,
    )
    b.output(b.op("Gemm", h, b.weight(24, 7, scale=0.3), b.weight(7), to="y"), ["n", 7])
    model = b.model()
    onnx_api.infer_types(model)
    return model


def on_many(model: Model) -> Context:
    manager = AnalysisManager(InMemory(batches(model, 0, 16, 32)))
    return Context(target=TARGET, analyses=manager, diagnostics=Diagnostics())


def cost_without(model: Model, group: Group, channels: list[int]) -> float:
    """Return twice the divergence of a model without channels where they end."""
    left, right = Session(model), Session(zeroed(model, [(group, channels)]))
    found = [divergences(left.run(f)["y"], right.run(f)["y"]) for f in batches(model, 0, 16, 32)]
    return 2 * float(np.concatenate(found).mean())


def masks(group: Group, gone: list[int]) -> list[Mask]:
    return [
        Mask(s.node.label, s.index, s.axis, np.isin(s.channel, gone, invert=True))
        for s in group.sinks
    ]


@pytest.mark.parametrize("read_elsewhere", [False, True])
def test_costs_of_small_channels_are_the_divergence_without_them(
    read_elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocompress.lossy.fisher.DRAWS", 1 << 14)  # no noise of drawing
    model = net(0.01, read_elsewhere=read_elsewhere)
    ctx = on_many(model)
    group = group_of(model, "q")
    assert group.size == DEPTH
    assert bool(group.consumers) == read_elsewhere
    information = vanishing(model, {7: group}, ctx)[7]
    np.testing.assert_allclose(information, information.T)
    np.testing.assert_array_equal(information[[1, 5]], 0)
    wanted = ([0], [2], [4], [6], [0, 4], [2, 3, 6])
    trials = {
        str(c): Trial([], float(information[np.ix_(c, c)].sum()), masks(group, c)) for c in wanted
    }
    times = tried(model, trials, ctx)
    assert times.each == pytest.approx(dict.fromkeys(trials, 1.0), rel=0.15)


def pruned(model: Model, **options: Any) -> tuple[Model, Outcome, Context]:
    return run(PruneChannels(multiple=1, **options), model)


@pytest.mark.parametrize("criterion", ["obs", "thinet", "taylor", "lasso"])
def test_they_are_compared_with_all_others_and_what_says_nothing_goes(criterion: str) -> None:
    model = net()
    _, outcome, ctx = pruned(model, criterion=criterion, ratio=0.1)
    assert "not-measured" not in ctx.diagnostics.declined()
    row = next(r for r in outcome.details["groups"] if r["name"] == "q")
    assert row["removed"] >= 2  # those whose keys say nothing, though their queries are largest
    assert row["macs_saved"] > 0
    after, outcome, _ = pruned(model, criterion=criterion, ratio=0.25, exclude=("v", "hidden"))
    row = next(r for r in outcome.details["groups"] if r["name"] == "q")
    assert row["removed"] == 2
    assert row["predicted_error"] == pytest.approx(0, abs=1e-9)
    left, right = Session(model), Session(after)
    for feeds in batches(model, 1, 2):
        np.testing.assert_allclose(left.run(feeds)["y"], right.run(feeds)["y"], atol=1e-4)


def tied() -> Model:
    """A table that is looked up and, transposed, is the last layer; half its columns say little."""
    b = Builder(5)
    words = b.const((b.rng.standard_normal((60, 16)) * np.repeat([0.3, 0.01], 8)).astype("f"))
    last = b.op("Transpose", words, perm=[1, 0])
    far = b.op("Mul", b.op("Abs", b.input("x", ["n", 4])), b.const(np.float32(30)))
    far = b.op("Min", far, b.const(np.float32(59)))
    b.ops("Cast", [far], ["ids"], to=7)
    h = b.op("Gather", words, "ids", to="words")
    inner = b.op("Relu", b.op("MatMul", h, b.weight(16, 24), to="inner"))
    h = b.op("Add", b.op("MatMul", inner, b.weight(24, 16), to="back"), h)
    b.output(b.op("MatMul", h, last, to="y"), ["n", 4, 60])
    model = b.model()
    onnx_api.infer_types(model)
    return model


def test_channels_of_a_tied_table_go_by_what_the_outputs_mind() -> None:
    """One operand of the last product has no samples: the file computes it of the table."""
    model = tied()
    group = group_of(model, "words")
    for sinks in (group.sinks, group.sinks[::-1]):
        found = vanishing(model, {0: replace(group, sinks=sinks)}, on_many(model))
        own = np.diag(found[0])
        assert own[:8].min() > 20 * own[8:].max()
    after, outcome, ctx = pruned(model, ratio=0.2)
    assert "not-measured" not in ctx.diagnostics.declined()
    row = next(r for r in outcome.details["groups"] if r["name"] == "words")
    assert 4 <= row["removed"] <= 8
    left, right = Session(model), Session(after)
    lost = [divergences(left.run(f)["y"], right.run(f)["y"]) for f in batches(model, 1, 4)]
    assert np.concatenate(lost).mean() < 0.01


def test_criteria_that_look_at_layers_only_leave_them_alone() -> None:
    _, _, ctx = pruned(net(), criterion="activation", ratio=0.1)
    assert ctx.diagnostics.declined()["not-measured"] == 1
    (told,) = (r for r in ctx.diagnostics if r.code == "not-measured")
    assert told.message.startswith("the cost of its channels cannot be measured: ")


def test_what_is_predicted_is_scaled_to_what_is_seen() -> None:
    model = net()
    ctx = on_many(model)
    group = group_of(model, "q")
    gone = [0, 2]
    exact = cost_without(model, group, gone)
    both = masks(group, gone)
    times = tried(model, {"a": Trial([], exact / 3, both), "b": Trial([], exact, both[:1])}, ctx)
    assert times.of("a") == pytest.approx(3, rel=0.05)
    assert times.of("b") == pytest.approx(1, rel=0.05)  # one operand is as good as both


def test_what_all_are_off_by_is_no_reason_not_to_tell_them_apart() -> None:
    """A sequence of places predicts their sum and measures their mean."""
    model = net()
    ctx = on_many(model)
    group = group_of(model, "q")
    gone = [0, 2]
    exact, both = cost_without(model, group, gone), masks(group, gone)
    trials = {str(k): Trial([], 1000 * k * exact, both) for k in (1, 2, 4, 100)}
    times = tried(model, trials, ctx)
    for k in (1, 2, 4):
        assert times.of(str(k)) == pytest.approx(1 / (1000 * k), rel=0.05)
    assert times.common == pytest.approx(1 / (1000 * 8**0.5), rel=0.05)
    assert times.of("100") == pytest.approx(times.common / 16)
    assert times.of("another") == times.common
