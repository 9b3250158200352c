"""Whole passes: what they take, what they keep, what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ocompress.analysis.work import work_of
from ocompress.errors import OptionError
from ocompress.ir import Model, fingerprint
from ocompress.lossy import fisher
from ocompress.pipeline import PassManager, Pipeline, Verdict
from ocompress.profiling.run_time import run_ns
from ocompress.targets import find
from passes.factorization import problem
from passes.factorization.factorize import Factorize
from passes.factorization.separable import Separable
from tests.build import Builder
from tests.passes.factorization.replaced import batches, error, net, run, smooth


@dataclass
class Judge:
    """A guard that says of each model what a rule says."""

    kind: str
    ratio: float = 0.5
    limit: float = 1.0
    judged: int = 0

    def judge(self, candidate: Model, best: Model) -> Verdict:
        self.judged += 1
        value = self.ratio if self.kind == "latency" else error(best, candidate)
        return Verdict(value <= self.limit, self.kind, "", {"ratio": value})


def work(model: Model) -> float:
    return sum(work_of(model, None).values())


def methods(details: Any) -> dict[str, str]:
    return {r["name"]: r["method"] for r in details["candidates"] if r["taken"]}


@pytest.mark.parametrize(("item", "least"), [(Factorize, 0.5), (Separable, 0.7)])
def test_work_left_is_what_was_asked_for(item: Any, least: float) -> None:
    model = net()
    after, outcome, ctx = run(item(max_macs=least), model, data=batches(0))
    assert 0.6 * least * work(model) < work(after) <= least * work(model)
    assert outcome.details["macs"]["after"] == pytest.approx(work(after), rel=0.01)
    assert outcome.details["macs"]["before"] == pytest.approx(work(model), rel=0.01)
    assert error(model, after) < 0.1
    applied = [r for r in ctx.diagnostics.remarks if r.code == "replaced"]
    assert len(applied) == outcome.counts["layers replaced"] > 1


def test_a_choice_says_what_it_made_so_that_it_can_be_made_again() -> None:
    model = net()
    after, outcome, _ = run(Factorize(exclude=("wi*",)), model, data=batches(0))
    chains = outcome.details["settled"]["chains"]
    taken = {n: m for n, m in methods(outcome.details).items() if m != "keep"}
    assert {n: text.partition(", ")[0] for n, text in chains.items()} == taken
    again = Factorize.from_options({"exclude": ["wi*"], "chains": chains})
    assert Pipeline.parse(str(again)).passes[-1] == again
    same, other, _ = run(again, model, data=batches(0))
    assert fingerprint(same) == fingerprint(after)
    assert "settled" not in other.details
    name, text = chains.popitem()
    _, fewer, ctx = run(Factorize(chains={name: text}), model, data=batches(0))
    assert {n for n, m in methods(fewer.details).items() if m != "keep"} == {name}
    assert {r.code for r in ctx.diagnostics.remarks} >= {"not-named"}
    assert len(fewer.details["candidates"]) == 2  # nothing else was tried


def test_chains_that_are_none_of_a_layers_are_told() -> None:
    model = net()
    _, outcome, ctx = run(Factorize(chains={"outer": "input, rank 5000"}), model, data=batches(0))
    assert not outcome
    (remark,) = (r for r in ctx.diagnostics.remarks if r.code == "not-offered")
    assert remark.message.startswith("'input, rank 5000' is none of its chains (")
    with pytest.raises(OptionError, match="chains"):
        run(Factorize(chains={"oter": "input, rank 8"}), model, data=batches(0))


def test_less_work_costs_more_and_data_help() -> None:
    model = net()
    found = {}
    for left in (0.8, 0.5, 0.3):
        found[left] = error(model, run(Factorize(max_macs=left), model, data=batches(0))[0])
    assert found[0.8] < found[0.5] < found[0.3]
    blind = error(model, run(Factorize(max_macs=0.5), model)[0])
    still = error(model, run(Factorize(max_macs=0.5, refit=False), model, data=batches(0))[0])
    assert found[0.5] < 0.7 * blind
    assert found[0.5] < still


def test_names_outputs_and_layers_that_are_kept_stay_as_they_are() -> None:
    model = net()
    after, _, ctx = run(Factorize(max_macs=0.6, exclude=("inner", "wide")), model, data=batches(0))
    assert [v.name for v in after.graph.outputs] == [v.name for v in model.graph.outputs]
    labels = {n.label for n in after.graph.nodes}
    assert {n.label for n in model.graph.nodes if not n.is_op("Flatten")} <= labels
    assert ctx.diagnostics.declined()["excluded"] == 2
    shapes = {n.label: n.input(1).shape for n in after.graph.nodes if n.is_op("Conv")}  # type: ignore[union-attr]
    assert shapes["inner"] == (24, 16, 3, 3)


def test_one_layer_alone() -> None:
    model = net()
    item = Factorize(max_weights=0.4, layers=("inner",))
    after, outcome, ctx = run(item, model, data=batches(0))
    assert methods(outcome.details)["inner"] != "keep"
    assert set(methods(outcome.details)) == {"inner"}
    assert ctx.diagnostics.declined()["not-named"] == 6
    factors = [n for n in after.graph.nodes if n.label.startswith("inner")]
    left = sum(v.constant.size for n in factors if (v := n.input(1)) and v.constant is not None)
    assert left <= 0.4 * 24 * 16 * 9


def test_rules_for_ranks() -> None:
    model = net()
    loose = run(Factorize(energy=0.9), model, data=batches(0))
    tight = run(Factorize(energy=0.999), model, data=batches(0))
    assert work(loose[0]) < work(tight[0]) < work(model)
    assert error(model, tight[0]) < error(model, loose[0])
    given = run(Factorize(rank=8, methods=("channel",)), model, data=batches(0))
    inner = next(r for r in given[1].details["candidates"] if r["name"] == "inner" and r["taken"])
    assert (inner["method"], inner["setting"]) == ("channel", "rank 8")
    noise = run(Factorize(evbmf=True), model, data=batches(0))
    assert "layers replaced" in noise[1].counts


def test_error_budget_is_kept() -> None:
    model = net()
    small = run(Factorize(max_error=1e-3), model, data=batches(0))
    large = run(Factorize(max_error=5e-2), model, data=batches(0))
    assert work(large[0]) < work(small[0]) <= work(model)
    for (_, outcome, _), limit in ((small, 1e-3), (large, 5e-2)):
        spent = sum(r["error"] for r in outcome.details["candidates"] if r["taken"])
        assert spent <= limit


def test_as_far_as_the_drop_lets() -> None:
    model = net()
    guard = Judge("max-drop", limit=0.01)
    after, _, _ = run(Factorize(), model, data=batches(0), guards=[guard])
    assert guard.judged > 2
    assert error(model, after) <= 0.01
    assert work(after) < 0.9 * work(model)
    none, outcome, ctx = run(
        Factorize(), model, data=batches(0), guards=[Judge("max-drop", limit=-1.0)]
    )
    assert not outcome
    assert work(none) == work(model)
    assert ctx.diagnostics.declined()["too-lossy"] > 3


def test_what_is_not_faster_is_given_up() -> None:
    model = net()
    guard = Judge("latency", ratio=1.0)
    after, outcome, ctx = run(Factorize(max_macs=0.6), model, data=batches(0), guards=[guard])
    assert not outcome
    assert work(after) == work(model)
    assert ctx.diagnostics.declined()["not-faster"] >= 1
    rows = outcome.details["candidates"]
    assert all("ms" in r for r in rows)
    assert all(r["taken"] == (r["method"] == "keep") for r in rows)


def test_every_candidate_that_lost_says_why() -> None:
    _, outcome, _ = run(Factorize(max_macs=0.5), net(), data=batches(0))
    rows = outcome.details["candidates"]
    assert {"channel", "input", "spatial 0", "tucker", "cp"} <= {r["method"] for r in rows}
    assert all(r["taken"] or r["why"] for r in rows)
    assert sum(r["taken"] for r in rows) == len({r["name"] for r in rows})
    kept = [r for r in rows if r["method"] == "keep"]
    assert all(r["bytes"] < k["bytes"] and r["macs"] < k["macs"]
               for k in kept for r in rows if r["name"] == k["name"] and r is not k)  # fmt: skip


def test_a_shared_weight_is_replaced_for_all_its_readers() -> None:
    b = Builder(8)
    x = b.input("x", ["n", 16])
    weight = b.const((b.rng.standard_normal((16, 4)) @ b.rng.standard_normal((4, 16)) / 8)
                     .astype(np.float32))  # fmt: skip
    h = b.op("Relu", b.op("Gemm", x, weight, b.weight(16), to="one"))
    b.output(b.op("Gemm", h, weight, b.weight(16), to="two"), ["n", 16])
    model = b.model()
    rng = np.random.default_rng(0)
    data = [{"x": rng.standard_normal((64, 16)).astype(np.float32)} for _ in range(4)]
    after, outcome, _ = run(Factorize(rank=4, methods=("channel",)), model, data=data)
    assert outcome.counts["layers replaced"] == 1
    gemms = [n for n in after.graph.nodes if n.is_op("Gemm")]
    assert len(gemms) == 4
    assert len({id(n.input(1)) for n in gemms}) == 2


def test_a_matrix_that_is_also_read_turned_is_left_alone() -> None:
    b = Builder(8)
    weight = b.const((b.rng.standard_normal((16, 4)) @ b.rng.standard_normal((4, 16)) / 8)
                     .astype(np.float32))  # fmt: skip
    h = b.op("Relu", b.op("Gemm", b.input("x", ["n", 16]), weight, b.weight(16), transB=1))
    b.output(b.op("Gemm", h, weight, b.weight(16), to="two"), ["n", 16])
    model = b.model()
    rng = np.random.default_rng(0)
    data = [{"x": rng.standard_normal((64, 16)).astype(np.float32)} for _ in range(4)]
    _, outcome, ctx = run(Factorize(rank=4, methods=("channel",)), model, data=data)
    assert not outcome
    assert ctx.diagnostics.declined("factorize")["shared-weight"] == 2


def test_bad_options() -> None:
    with pytest.raises(OptionError, match="max_macs and rank are mutually exclusive"):
        run(Factorize(max_macs=0.5, rank=3), net())
    with pytest.raises(OptionError, match="factorize: layers names 'nope'"):
        run(Factorize(layers=("nope",)), net())
    with pytest.raises(OptionError, match="did you mean 'tucker'"):
        Factorize(methods=("tuker",))


def test_a_layer_that_could_not_be_replaced_is_not_called_so() -> None:
    """What reads logarithms of negative numbers sees nothing to fit to."""
    b = Builder(9)
    x = b.input("x", ["n", 16])
    weight = b.const(smooth(b.rng, (16, 16)))
    b.output(b.op("Gemm", x, b.weight(16, 16), b.weight(16), to="good"), ["n", 16])
    b.output(b.op("Gemm", b.op("Log", x), weight, b.weight(16), to="bad"), ["n", 16])
    model = b.model()
    data = [{"x": -np.ones((8, 16), np.float32) - at} for at in range(4)]
    after, outcome, ctx = run(Factorize(rank=4, layers=("bad",)), model, data=data)
    assert not outcome
    assert ctx.diagnostics.declined()["not-held"] == 1
    assert not [r for r in ctx.diagnostics.remarks if r.code == "replaced"]
    assert len(after.graph.nodes) == len(model.graph.nodes)


def test_a_goal_that_no_form_reaches_costs_nothing() -> None:
    model = net()
    item = Factorize(max_macs=0.5, layers=("point",))
    after, outcome, ctx = run(item, model, data=batches(0))
    assert not outcome
    assert work(after) == work(model)
    assert ctx.diagnostics.declined()["not-reached"] == 1


def test_wide_layers_go_by_each_output_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What errors cost is a square of the outputs elsewhere: gigabytes for a vocabulary."""
    monkeypatch.setattr(fisher, "MOST_OUTPUTS", 40)
    monkeypatch.setattr(problem, "MOST_OUTPUTS", 40)
    model = net()
    after, outcome, _ = run(
        Factorize(methods=("channel",), max_weights=0.7, layers=("point", "wide")),
        model,
        data=batches(0),
    )
    assert outcome.counts["layers replaced"] == 2
    assert error(model, after) < 0.1


@pytest.mark.parametrize(("target", "rank"), [("x86-avx2", 24), ("x86-avx512", 16)])
def test_ranks_are_multiples_of_what_the_target_likes(target: str, rank: int) -> None:
    b = Builder(3)
    weight = b.const(smooth(b.rng, (32, 32, 3, 3)))
    b.output(b.op("Conv", b.input("x", ["n", 32, 6, 6]), weight), ["n", 32, 4, 4])
    item = Factorize(methods=("spatial",), max_weights=0.6)  # a rank of 28 at most
    result = PassManager(target=find(target)).run(Pipeline((item,)), b.model())
    shapes = [v.data.shape for v in result.model.graph.initializers.values() if v.data is not None]
    assert (rank, 32) in [shape[:2] for shape in shapes]


def test_time_once_quantized_may_be_limited() -> None:
    b = Builder(seed=2)
    x = b.input("x", ["n", 128, 24, 24])
    low = b.rng.standard_normal((128, 16)) @ b.rng.standard_normal((16, 128 * 9))
    weight = (low / 100).astype(np.float32).reshape(128, 128, 3, 3)
    b.op("Conv", x, b.const(weight), b.weight(128), pads=[1] * 4, to="y")
    b.output("y", ["n", 128, 24, 24])
    model, target = b.model(), find("x86-vnni")
    whole = run_ns(model, target, None, as_integers=True)
    for share, limit in ((0.95, 0.95), (0.01, 1.0)):  # nothing is as fast as that
        item = Factorize(max_time=share)
        result = PassManager(target=target).run(Pipeline((item,)), model).model
        assert run_ns(result, target, None, as_integers=True) <= limit * whole * 1.0001
        assert (len(result.graph.nodes) > 1) == (share > 0.5)
