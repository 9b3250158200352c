"""The pass `entropy`: levels of few bits in place of weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ocompress.archive.grids import find_grid
from ocompress.errors import OptionError
from ocompress.io import pack_model, save_model
from ocompress.ir import Model, onnx_api
from ocompress.lossy.ablation import Change, Trial, tried
from ocompress.lossy.engine import Plan
from ocompress.lossy.layer_weights import Rules
from ocompress.pipeline import Context, Guard, Outcome, Verdict
from passes.pruning import costs
from passes.pruning.prune import Prune
from passes.sharing import building
from passes.sharing.building import BuiltLevels
from passes.sharing.entropy import Entropy
from passes.sharing.layer_problem import cost_of
from passes.sharing.pricing import priced_for_many
from passes.sharing.walking import collected
from tests.build import Builder
from tests.passes.pruning.on_data import Fake, context, error, run, weight_of
from tests.passes.pruning.test_prune_with_data import net


def rounded(
    model: Model, *, data: bool = True, guards: Sequence[Guard] = (), **options: Any
) -> tuple[Model, Outcome, Context]:
    return run(Entropy(smallest=0, **options), model, data=data, guards=guards)


def levels_of(array: np.ndarray) -> np.ndarray:
    """Return the levels of an array by looking at it: multiples of a step, all exact."""
    least = float(np.abs(array[array != 0]).min())
    for part in range(1, 64):
        found = array.astype(np.float64) / (least / part)
        if np.array_equal(found, np.rint(found)):
            return np.asarray(found)
    raise AssertionError("no step divides all weights")


def test_weights_and_biases_are_multiples_of_a_step() -> None:
    model, outcome, _ = rounded(net(), bits=2.5)
    assert outcome.counts == {"weights rounded": 4}
    for array in model.weights():
        if array.dtype == np.float32 and array.any():
            assert np.abs(levels_of(array)).max() < 2**12
            assert not np.signbit(array[array == 0]).any()
    rows = outcome.details["levels"]
    assert [r["name"] for r in rows] == ["c0", "c1", "c3", "y"]
    by_label = {n.label: n for n in model.graph.nodes}
    for row in rows[:3]:
        weight = weight_of(by_label[row["name"]])
        assert weight is not None
        assert row["sparsity"] == pytest.approx(float((weight == 0).mean()))
        assert row["largest"] <= np.abs(levels_of(weight)).max()


@pytest.mark.parametrize("data", [True, False])
def test_an_encoder_finds_the_grids(data: bool) -> None:
    model, _, _ = rounded(net(), data=data, bits=2.0)
    for node in model.graph.nodes:
        weight = weight_of(node)
        if weight is not None and weight.ndim > 1:
            by_output = weight.reshape(len(weight), -1) if node.op_type == "Conv" else weight.T
            rows = len(by_output) if data else 1
            grid = find_grid(np.ascontiguousarray(by_output), rows, by_output.shape[1])
            assert grid is not None
            assert np.abs(grid.levels).max() < 2**8


def test_as_many_bits_as_are_asked_for() -> None:
    lost = []
    for bits in (1.5, 5.0):
        model, outcome, _ = rounded(net(), bits=bits)
        assert outcome.details["bits"] == pytest.approx(bits, rel=0.1)
        lost.append(error(net(), model))
    assert lost == sorted(lost, reverse=True)
    assert lost[1] < 0.05 * lost[0]


def test_layers_that_make_up_for_each_other_lose_less_for_the_same_bits() -> None:
    model = net()
    fitted = error(model, rounded(model, bits=2.0)[0])
    alone = error(model, rounded(model, bits=2.0, fit=False)[0])
    assert fitted < 0.6 * alone


def test_zeros_of_prune_stay() -> None:
    pruned, _, _ = run(Prune(protect_ends=False, smallest=0, sparsity=0.6), net())
    model, _, _ = rounded(pruned, bits=2.0)
    for before, after in zip(pruned.graph.nodes, model.graph.nodes, strict=True):
        old, new = weight_of(before), weight_of(after)
        if old is not None and new is not None and old.ndim > 1:
            assert not new[old == 0].any()


def test_it_goes_as_far_as_the_limit_lets() -> None:
    bits = []
    for limit in (0.01, 0.1):

        def rule(candidate: Model, _: Model, limit: float = limit) -> Verdict:
            lost = error(net(), candidate)
            figures = {"drop": lost, "limit": limit}
            return Verdict(lost <= limit, "max-drop", "", figures)

        guard = Fake("max-drop", rule)
        model, outcome, _ = rounded(net(), guards=[guard])
        assert 0.1 * limit < error(net(), model) <= limit
        assert guard.asked < 10
        bits.append(outcome.details["bits"])
    assert bits[1] < 0.8 * bits[0]


def test_without_data_it_goes_by_the_weights() -> None:
    model, outcome, _ = rounded(net(), data=False, bits=4.0)
    assert outcome.details["bits"] == pytest.approx(4.0, rel=0.1)
    assert error(net(), model) < 0.05
    assert all("predicted_error" not in row for row in outcome.details["levels"])


def test_a_shared_weight_is_rounded_once() -> None:
    model, outcome, _ = rounded(net(shared=True), bits=3.0)
    assert outcome.counts == {"weights rounded": 4}
    by_label = {n.label: n for n in model.graph.nodes}
    assert by_label["c1"].inputs[1] is by_label["c2"].inputs[1]


def test_tables_when_they_are_named() -> None:
    b = Builder()
    table = b.weight(200, 16)
    h = b.op("Gather", table, b.input("ids", ["n", 4], 7))
    b.output(b.op("MatMul", h, b.weight(16, 8), to="y"), ["n", 4, 8])
    for op_types, count in ((("MatMul",), 1), (("Gather", "MatMul"), 2)):
        _, outcome, _ = rounded(b.model(), data=False, op_types=op_types)
        assert outcome.counts == {"weights rounded": count}


def test_weights_that_are_zero_are_left_alone() -> None:
    b = Builder()
    h = b.op("Gemm", b.input("x", ["n", 8]), b.const(np.zeros((8, 8), np.float32)), to="none")
    b.output(b.op("Gemm", h, b.weight(8, 4), to="y"), ["n", 4])
    _, outcome, ctx = rounded(b.model())
    assert ctx.diagnostics.declined("entropy")["all-zero"] == 1
    assert outcome.counts == {"weights rounded": 1}


def test_unknown_operators_are_refused() -> None:
    with pytest.raises(OptionError, match="op_types names 'Add'"):
        Entropy(op_types=("Add",))


def test_the_archive_takes_the_bytes_that_are_asked_for(tmp_path: Path) -> None:
    model, outcome, _ = rounded(net(), data=False, max_size=1800)
    assert outcome.counts == {"weights rounded": 4}
    save_model(model, tmp_path / "m.onnx")
    pack_model(tmp_path / "m.onnx", tmp_path / "m.ocz")
    assert 0.9 * 1800 < (tmp_path / "m.ocz").stat().st_size <= 1800


def test_the_finest_rounding_of_a_size_is_found() -> None:
    model = net()
    found = Entropy(smallest=0).propose(model, context(model, data=False))
    tried = []
    sizes: dict[int, int] = {}
    make = found._build

    def build(plan: Plan) -> BuiltLevels:
        built = make(plan)
        sizes[id(built.model)] = sum(move.bytes for move in plan.values()) + 400
        return built

    def archived(made: Model) -> int:
        tried.append(sizes[id(made)])
        return tried[-1]

    found._build, found._archived = build, archived
    for most in (700, 1500, 3000):
        plan = found.fitting(most)
        assert 0.95 * most < sum(move.bytes for move in plan.values()) + 400 <= most
    assert len(tried) < 24
    assert found.fitting(300) == {}
    assert {reason.code for reason in found.reasons.values()} == {"too-large"}


def test_bits_and_bytes_are_not_both_asked_for() -> None:
    with pytest.raises(OptionError, match="both bits and max_size"):
        Entropy(bits=1.0, max_size=1000)


def test_what_was_built_to_count_bits_is_not_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[float] = []

    def build(model: Model, plan: Plan, ctx: Context | None) -> BuiltLevels:
        made = building.build(model, plan, ctx)
        built.append(made.bits)
        return made

    monkeypatch.setattr("passes.sharing.entropy.build", build)
    model = net()
    Entropy(smallest=0, bits=1.5).run(model, context(model, data=False))
    assert len(set(built)) == len(built) > 1


def test_the_order_of_zeros_is_found_only_where_there_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []
    measure = costs.measure

    def watched(*given: Any) -> Any:
        asked.append(True)
        return measure(*given)

    monkeypatch.setattr(costs, "measure", watched)
    rounded(net(), bits=3.0)
    assert not asked
    rounded(net(), bits=1.0)
    assert asked


@pytest.mark.parametrize("samples", [4, 96])
def test_prices_foretell_what_fine_roundings_do(samples: int) -> None:
    model = net()
    onnx_api.infer_types(model)
    ctx = context(model, samples=samples)
    rules = Rules(Entropy().op_types, (), False, True, 0)
    weights = collected(model, rules, ctx)
    found = priced_for_many(model, weights, ctx, seen=True)
    views = {v.candidate.name: v for v in costs.Views(model, weights, ctx, "")}
    trials = {}
    for weight in weights:
        view, own = views[weight.name], found[id(weight.value)]
        step = np.abs(weight.array).max() / 11
        off = np.rint(weight.array / step) * step - weight.array
        foretold = cost_of(view.hessian, own.curvature, view.site.matrix(off))
        change = Change(weight.nodes[0].label, 1, weight.array + off, view.shift(off))
        trials[weight.name] = Trial([change], foretold)
    times = tried(model, trials, context(model))
    assert times.each.keys() == trials.keys()
    assert all(0.3 < by < 3 for by in times.each.values())
    assert samples > 4 or any(own.ridge is not None for own in found.values())
