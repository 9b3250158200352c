"""How often models are loaded: what does not change is loaded once, not once for every layer."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from ocompress.analysis import portions
from ocompress.analysis.linear_rows import Site, site_of
from ocompress.analysis.portions import FeedSizes, portion
from ocompress.ir import Model, edit, onnx_api
from ocompress.lossy import input_moments
from ocompress.lossy.applying import jobs_behind, twins_of
from ocompress.lossy.refit import refit
from ocompress.runtime import Session
from passes.pruning.branches import find_branches, fit_affine
from passes.pruning.prune_channels import PruneChannels
from tests.build import Builder, InMemory
from tests.counting import counting
from tests.passes.pruning.on_data import batches, context, run


def chain(depth: int) -> Model:
    """Convolutions in a row, the last of them added to its input; [n, 4, 8, 8] to [n, 5]."""
    b = Builder()
    h = b.op("Relu", b.op("Conv", b.input("x", ["n", 4, 8, 8]), b.weight(16, 4, 3, 3), to="first"))
    for at in range(depth):
        h = b.op("Relu", b.op("Conv", h, b.weight(16, 16, 1, 1), b.weight(16), to=f"c{at}"))
    h = b.op("Add", b.op("Conv", h, b.weight(16, 16, 1, 1), to="last"), h)
    pooled = b.op("Flatten", b.op("GlobalAveragePool", h))
    b.output(b.op("Gemm", pooled, b.weight(16, 5), to="y"), ["n", 5])
    model = b.model()
    onnx_api.infer_types(model)
    return model


def residual(depth: int) -> Model:
    """Residual branches in a row."""
    b = Builder()
    h = b.op("Conv", b.input("x", ["n", 4, 8, 8]), b.weight(16, 4, 1, 1), to="first")
    for at in range(depth):
        branch = b.op("Relu", b.op("Conv", h, b.weight(16, 16, 1, 1), to=f"c{at}"))
        h = b.op("Add", h, branch, to=f"a{at}")
    b.output(b.op("GlobalAveragePool", h, to="y"), ["n", 16, 1, 1])
    model = b.model()
    onnx_api.infer_types(model)
    return model


def sites(model: Model) -> list[Site]:
    found = (site_of(node) for node in model.graph.nodes)
    return [site for site in found if isinstance(site, Site)]


@pytest.mark.parametrize(("most", "loaded"), [(1 << 30, 1), (0, 6)])
def test_what_layers_read_is_looked_at_in_few_sessions(
    most: int, loaded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = chain(4)
    wanted = [(s.node.label, [s]) for s in sites(model)]
    expected = [sums for _, _, sums in input_moments.look(model, wanted, context(model))]
    monkeypatch.setattr(portions, "MOST_BYTES", most)
    with counting(monkeypatch) as counts:
        found = list(input_moments.look(model, wanted, context(model)))
    assert counts["sessions"] == loaded
    assert [label for label, _, _ in found] == [label for label, _ in wanted]
    for (_, _, sums), same in zip(found, expected, strict=True):
        assert sums is not None
        assert same is not None
        np.testing.assert_allclose(sums.xx, same.xx, rtol=1e-4, atol=1e-5)


def test_the_original_is_loaded_once_however_many_layers_and_candidates_are_fitted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fitted(depth: int) -> list[int]:
        model = chain(depth)
        ctx = context(model)
        loaded = []
        for factor in (0.7, 0.8):
            candidate = model.clone()
            twins = twins_of(candidate, model)
            weight = candidate.graph.nodes[0].inputs[1]
            assert weight is not None
            assert weight.data is not None
            edit.set_weight(weight, weight.data * np.float32(factor))
            jobs = jobs_behind(candidate, ["first"], ["first"])
            with counting(monkeypatch) as counts:
                assert len(refit(model, candidate, twins, jobs, ctx)) == depth + 2
            loaded.append(counts["sessions"])
        return loaded

    assert fitted(2) == [5, 4]  # one for each layer of the candidate; the original's only once
    assert fitted(5) == [8, 7]


def test_a_candidate_that_is_fitted_runs_every_node_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, ran = chain(4), Counter[str]()
    candidate = model.clone()
    twins = twins_of(candidate, model)
    jobs = jobs_behind(candidate, ["first"], ["first"])
    ctx = context(model)
    load = Session.__init__

    def loaded(self: Session, part: Model, **options: Any) -> None:
        ran.update(node.label for node in part.graph.nodes)
        load(self, part, **options)

    for original in (1, 0):  # which is known the second time
        ran.clear()
        with monkeypatch.context() as patch:
            patch.setattr(Session, "__init__", loaded)
            refit(model, candidate, twins, jobs, ctx)
        before_last = [n.label for n in model.graph.nodes if n.label != "y"]
        assert {label: ran[label] for label in before_last} == dict.fromkeys(
            before_last, original + 1
        )


def test_a_pass_loads_a_session_more_for_a_layer_more(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    for depth in (2, 6):
        with counting(monkeypatch) as counts:
            _, outcome, _ = run(PruneChannels(ratio=0.4, multiple=1), chain(depth))
        assert outcome.counts["groups cut"] > 1
        counted.append(counts["sessions"])
    assert counted[1] - counted[0] == 4


def test_branches_are_looked_at_in_one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    model = residual(5)
    branches = find_branches(model)
    found = []
    for most, loaded in ((1 << 30, 1), (0, 5)):
        monkeypatch.setattr(portions, "MOST_BYTES", most)
        with counting(monkeypatch) as counts:
            found.append(fit_affine(model, branches, InMemory(batches(model))))
        assert counts["sessions"] == loaded
    together, alone = found
    assert together.keys() == alone.keys() == {id(branch.add) for branch in branches}
    for key, affine in together.items():
        np.testing.assert_allclose(affine.scale, alone[key].scale, rtol=1e-4, atol=1e-5)


def test_a_portion_takes_as_many_as_fit_and_one_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(*sizes: float) -> list[float]:
        return portion((size, size) for size in sizes)

    monkeypatch.setattr(portions, "MOST_BYTES", 7)
    assert taken(3, 3, 3, 1) == [3, 3]
    assert taken(9, 1) == [9]
    assert taken(math.inf, 1) == [math.inf]
    assert taken(1, math.inf) == [1]
    assert taken() == []
    monkeypatch.setattr(portions, "MOST_THINGS", 2)
    assert taken(1, 2, 3) == [1, 2]


def test_sizes_are_those_of_the_first_feed() -> None:
    model = chain(1)
    found = FeedSizes(model, InMemory(batches(model, count=2, each=16)))
    made = {n.label: n.output for n in model.graph.nodes}
    assert found.of(model.graph.inputs[0]) == 16 * 4 * 8 * 8 * 4
    assert found.of(made["first"]) == 16 * 16 * 6 * 6 * 4
