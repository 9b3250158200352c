"""Pruning that looks at data: what goes, and how the rest makes up for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ocompress.diagnostics import Severity
from ocompress.errors import DataError
from ocompress.ir import Model, onnx_api
from ocompress.pipeline import Context, Guard, Outcome, Verdict
from passes.pruning.prune import Prune
from tests.build import Builder
from tests.passes.pruning.on_data import Fake, Stopwatch, context, error, run


def net(*, shared: bool = False) -> Model:
    """Convolutions, a residual Add and a Gemm over correlated inputs."""
    b = Builder()
    x = b.input("x", ["n", 4, 8, 8])
    h = b.op("Relu", b.op("Conv", x, b.weight(16, 4, 3, 3), b.weight(16), to="c0"))
    w = b.const(b.rng.standard_normal((16, 16, 3, 3)).astype(np.float32) / 12, "w")
    g = b.op("Relu", b.op("Conv", h, w, b.weight(16), to="c1", pads=[1, 1, 1, 1]))
    if shared:
        g = b.op("Relu", b.op("Conv", g, w, b.weight(16), to="c2", pads=[1, 1, 1, 1]))
    s = b.op("Add", g, h)
    z = b.op("Conv", s, b.weight(8, 16, 1, 1), to="c3")
    p = b.op("Flatten", b.op("GlobalAveragePool", z))
    b.output(b.op("Gemm", p, b.weight(8, 5), to="y"), ["n", 5])
    return b.model()


def pruned(
    model: Model, *, guards: Sequence[Guard] = (), **options: Any
) -> tuple[Model, Outcome, Context]:
    return run(Prune(protect_ends=False, smallest=0, **options), model, guards=guards)


def zeros(model: Model) -> float:
    weights = [w for w in model.weights() if w.ndim > 1]
    return float(sum((w == 0).sum() for w in weights) / sum(w.size for w in weights))


def test_surgery_loses_less_than_any_other_criterion() -> None:
    model = net()
    lost = {}
    for criterion in ("l1", "strength", "wanda", "taylor", "obs"):
        after, outcome, _ = pruned(model, criterion=criterion, sparsity=0.6)
        assert outcome.details["criterion"] == criterion
        assert abs(zeros(after) - 0.6) < 1e-3
        lost[criterion] = error(model, after)
    plain = error(model, pruned(model, criterion="l2", refit=False, sparsity=0.6)[0])
    assert lost["obs"] == min(lost.values())
    assert lost["obs"] < 0.25 * plain
    assert lost["l1"] < 0.5 * plain  # what is left was fitted


@pytest.mark.parametrize(("samples", "part"), [(16, 0.6), (32, 0.5), (64, 0.35)])
def test_few_samples_of_inputs_that_have_nothing_in_common_do_no_harm(
    samples: int, part: float
) -> None:
    b = Builder()
    h = b.op("Relu", b.op("Gemm", b.input("x", ["n", 48]), b.weight(48, 64), b.weight(64)))
    b.output(b.op("Gemm", h, b.weight(64, 24), b.weight(24), to="y"), ["n", 24])
    model = b.model()
    lost = {}
    for options in ({}, {"criterion": "l2", "refit": False}):
        item = Prune(protect_ends=False, smallest=0, **options)  # type: ignore[arg-type]
        after, _, _ = run(item, model, samples=samples)
        lost[len(options)] = error(model, after)
    assert lost[0] < part * lost[2]


def test_rows_tell_what_fitting_did() -> None:
    _, outcome, _ = pruned(net(), sparsity=0.6)
    assert outcome.details["criterion"] == "obs"
    rows = [r for r in outcome.details["layers"] if r["pruned"]]
    assert len(rows) >= 3
    assert all(r["refitted_error"] <= r["output_error"] < 1 for r in rows)
    assert any(r["refitted_error"] < r["output_error"] for r in rows)


def test_rows_tell_what_all_together_cost_and_that_zeros_take_their_time() -> None:
    _, outcome, _ = pruned(net(), sparsity=0.6, guards=[Stopwatch()], exclude=("c0",))
    rows = {r["name"]: r for r in outcome.details["layers"]}
    assert list(rows) == ["c0", "c1", "c3", "y"]
    assert rows["c0"]["code"] == "excluded"
    sizes = [16 * 4 * 9, 16 * 16 * 9, 8 * 16, 8 * 5]
    assert [r["ms_before"] for r in rows.values()] == sizes
    assert [r["ms_predicted"] for r in rows.values()] == sizes
    assert [r["ms_after"] for r in rows.values()] == sizes
    found = outcome.details["error"]
    costs = [r["predicted_error"] for r in rows.values() if r.get("pruned")]
    assert found["predicted"] == pytest.approx(sum(costs))
    assert 0.1 < found["reached"] / found["predicted"] < 3


@pytest.mark.parametrize(
    ("pattern", "axes"), [("kernel", (2, 3)), ("vector", (0,)), ("filter", (1, 2, 3))]
)
def test_units_go_together(pattern: str, axes: tuple[int, ...]) -> None:
    after, _, _ = pruned(net(), pattern=pattern, sparsity=0.4)
    weight = after.graph.initializers["w"].data
    assert weight is not None
    gone = (weight == 0).all(axis=axes)
    np.testing.assert_array_equal(gone, (weight == 0).any(axis=axes))
    assert abs(zeros(after) - 0.4) < 0.05


def test_n_of_m() -> None:
    model = net()
    after, _, _ = pruned(model, pattern="2:4")
    weight = after.graph.initializers["w"].data
    assert weight is not None
    groups = (weight != 0).reshape(16, 4, 4, 3, 3).sum(axis=2)
    np.testing.assert_array_equal(groups, np.full_like(groups, 2))
    plain, _, _ = pruned(model, pattern="2:4", criterion="l2", refit=False)
    assert error(model, after) < 0.5 * error(model, plain)


def test_a_shared_weight_is_fitted_to_all_its_readers() -> None:
    model = net(shared=True)
    after, outcome, _ = pruned(model, sparsity=0.5)
    row = next(r for r in outcome.details["layers"] if r["name"] == "c1")
    assert row["refitted_error"] < row["output_error"]
    plain, _, _ = pruned(model, criterion="l2", refit=False, sparsity=0.5)
    assert error(model, after) < 0.5 * error(model, plain)


def test_pruning_again_changes_nothing() -> None:
    once, _, _ = pruned(net(), sparsity=0.6)
    _, outcome, _ = pruned(once, sparsity=0.6)
    assert not outcome


def test_a_criterion_that_needs_data_says_so() -> None:
    model = net()
    onnx_api.infer_types(model)
    ctx = context(model, data=False)
    with pytest.raises(DataError, match="data"):
        ctx.run_one(Prune(criterion="obs", protect_ends=False, smallest=0), model)


def test_layers_in_bodies_go_by_magnitude() -> None:
    b = Builder()
    x = b.input("x", ["n", 4, 8, 8])
    h = b.op("Conv", x, b.weight(16, 4, 3, 3), to="c0")
    then, other = Builder(seed=1), Builder(seed=2)
    for branch, kind in ((then, "Relu"), (other, "Neg")):
        name = f"inner{kind}"
        branch.op(
            "Conv",
            h,
            branch.const(branch.rng.standard_normal((8, 16, 1, 1)).astype("f"), f"w{kind}"),
            to=name,
        )
        branch.output(branch.op(kind, name), ["n", 8, 6, 6])
    flag = b.op("Greater", b.op("ReduceSum", h, keepdims=0), b.const(np.float32(0)), to="flag")
    b.op("If", flag, to="i", then_branch=then.graph("then"), else_branch=other.graph("else"))
    b.output(
        b.op("Gemm", b.op("Flatten", b.op("GlobalAveragePool", "i")), b.weight(8, 5), to="y"),
        ["n", 5],
    )
    model = b.model()
    after, _, ctx = pruned(model, sparsity=0.5)
    notes = [r for r in ctx.diagnostics.remarks if r.code == "in-body"]
    assert len(notes) == 2
    assert {r.severity for r in notes} == {Severity.NOTE}
    assert "in-body" not in ctx.diagnostics.declined()
    inner = [
        g.initializers["wRelu"].data for g in after.graph.graphs() if "wRelu" in g.initializers
    ]
    assert inner[0] is not None
    assert np.count_nonzero(inner[0]) == 64


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_limit_on_the_drop_says_how_many_go(scope: str) -> None:
    model = net()

    def rule(candidate: Model, best: Model) -> Verdict:
        return Verdict(error(best, candidate) < 1e-3, "max-drop", "")

    guard = Fake("max-drop", rule)
    after, outcome, _ = pruned(model, guards=[guard], scope=scope)
    assert outcome.counts["zeros made"] > 0
    assert 0 < error(model, after) < 1e-3
    assert guard.asked == 7  # it tells no figures, so what is open is halved
    farther, _, _ = pruned(model, sparsity=zeros(after) + 0.05, scope=scope)
    assert error(model, farther) > 1e-3


def test_a_goal_is_not_searched_for_and_nothing_goes_where_nothing_may() -> None:
    never = Fake("max-drop", lambda *_: Verdict(False, "max-drop", ""))
    after, _, _ = pruned(net(), guards=[never], sparsity=0.4)
    assert abs(zeros(after) - 0.4) < 1e-3
    assert never.asked == 0
    after, outcome, ctx = pruned(net(), guards=[never])
    assert not outcome
    assert zeros(after) == 0
    assert ctx.diagnostics.declined()["too-lossy"] == 4


@pytest.mark.parametrize(
    ("criterion", "protect", "share"),
    [("auto", None, 0.9), ("taylor", None, 0.9), ("l2", None, 0.6), ("auto", True, 0.6)],
)
def test_ends_are_left_alone_where_no_costs_are_measured(
    criterion: str, protect: bool | None, share: float
) -> None:
    model = _ends()
    item = Prune(sparsity=0.9, criterion=criterion, protect_ends=protect, smallest=0, refit=False)
    after, outcome, ctx = run(item, model)
    assert zeros(after) == pytest.approx(share, abs=1e-3)
    assert outcome.details["sparsity"] == pytest.approx(zeros(after))
    ends = {"first-layer": 1, "last-layer": 1} if share < 0.9 else {}
    assert dict(ctx.diagnostics.declined()) == ends


def _ends() -> Model:
    """Three layers of 400, 1,600 and 400 weights: two thirds are between the ends."""
    b = Builder()
    h = b.op("Flatten", b.op("GlobalAveragePool", b.input("x", ["n", 4, 8, 8])))
    h = b.op("Relu", b.op("Gemm", h, b.weight(4, 100)))
    h = b.op("Relu", b.op("Gemm", h, b.weight(100, 16)))
    b.output(b.op("Gemm", h, b.weight(16, 25), b.weight(25), to="y"), ["n", 25])
    return b.model()
