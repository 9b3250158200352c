"""What errors of outputs cost, in pairs, or one by one where there are too many."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from ocompress.analysis import AnalysisManager
from ocompress.analysis.linear_rows import Site, site_of
from ocompress.analysis.work import one_sample, work_of
from ocompress.lossy import fisher, gradient_sums
from ocompress.lossy.fisher import across, alone, curvature, row_weights
from ocompress.lossy.gradient_sums import PLACES, GradientSums, PlaceSums
from passes.pruning.channel_costs import Reader
from tests.build import Builder, InMemory
from tests.passes.pruning.on_data import context
from tests.passes.pruning.test_prune_with_data import net


def test_of_wide_layers_the_diagonal_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    model = net()
    sites = [s for n in model.graph.nodes if isinstance(s := site_of(n), Site)]
    pairs = curvature(model, sites, context(model))
    monkeypatch.setattr(fisher, "MOST_OUTPUTS", 1)
    monkeypatch.setattr(gradient_sums, "PLACES", 1 << 20)
    single = curvature(model, sites, context(model))
    monkeypatch.setattr(fisher, "MOST_OUTPUTS", 1 << 20)
    whole = curvature(model, sites, context(model))
    assert pairs.keys() == single.keys()
    assert single
    for name, each in single.items():
        assert each.ndim == (2 if whole[name].shape[1] > 1 else 3)
        np.testing.assert_allclose(
            each.reshape(alone(whole[name]).shape), alone(whole[name]), rtol=1e-4
        )


def sums(outputs: int, *, pairs: bool = True) -> GradientSums:
    b = Builder()
    x = b.input("x", ["n", 1, "h", "w"])
    y = b.op("Conv", x, b.weight(outputs, 1, 1, 1))
    b.output(y, ["n", outputs, "h", "w"])
    site = site_of(b.model().graph.nodes[0])
    assert isinstance(site, Site)
    return GradientSums(site, pairs=pairs)


def test_rows_count_by_how_uncertain_a_sample_is_and_where_it_is_looked_at() -> None:
    b = Builder()
    same = np.eye(2, dtype=np.float32)[:, :, None, None]
    h = b.op("Conv", b.input("x", ["n", 2, 2, 2]), b.const(same), to="h")
    looked = np.zeros((8, 2), np.float32)
    looked[[0, 4], [0, 1]] = 1  # at the first place of each channel only
    y = b.op("MatMul", b.op("Flatten", h), b.const(looked))
    b.output(b.op("Softmax", y), ["n", 2])
    x = np.random.default_rng(0).normal(0, 0.1, (12, 2, 2, 2)).astype(np.float32)
    x[6:, 0] += 9  # surely of the first class
    model = b.model()
    feeds = InMemory([{"x": x[:5]}, {"x": x[5:]}])
    ctx = replace(context(model), analyses=AnalysisManager(feeds))
    sites = [s for n in model.graph.nodes if isinstance(s := site_of(n), Site)]
    found = row_weights(model, sites, ctx)["h"]
    assert found.shape == (12, 4)
    np.testing.assert_allclose(found.mean(), 1, rtol=1e-5)
    np.testing.assert_allclose(found[:, 1:], found.min(), rtol=1e-5)
    assert found[:6, 0].min() > 10 * found[6:, 0].max()


def test_places_are_added_up_over_draws_until_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site, gradient = sums(2)._site, np.full((3, 2, 4, 4), 2, np.float32)
    made = PlaceSums(site, 2)
    for _ in range(4):
        made.update(gradient)
    np.testing.assert_array_equal(made.total()[0], np.full((6, 16), 2 * 2 * 4))
    made.update(gradient[:, :, :2])
    assert not made.total()  # feeds of several extents have no places in common
    monkeypatch.setattr(gradient_sums, "_MOST_PLACES", 47)
    few = PlaceSums(site, 1)
    few.update(gradient)
    assert not few.total()


@pytest.mark.parametrize("side", [16, 1])
def test_sampled_places_stand_for_all(side: int) -> None:
    assert 4 * PLACES == 16 * 16
    made, rng = sums(2), np.random.default_rng(0)
    for _ in range(5):
        made.update(np.ones((3, 2, side, side), np.float32), (), rng)
    (total,) = made.totals()
    np.testing.assert_allclose(total, np.full((1, 2, 2), 5 * 3 * side**2))


@pytest.mark.parametrize("pairs", [True, False])
def test_items_that_judge_are_the_second_part(pairs: bool) -> None:
    made, rng = sums(2, pairs=pairs), np.random.default_rng(0)
    items = np.random.default_rng(1).standard_normal((9, 2, 4, 4)).astype(np.float32)
    judges = np.arange(9) % 3 == 1
    for at in range(0, 9, 3):  # as batch after batch
        own = judges[at : at + 3]
        made.update(items[at : at + 3], (~own, own), rng)
    for total, part in zip(made.totals(), (~judges, judges), strict=True):
        rows = items[part].transpose(1, 0, 2, 3).reshape(2, -1).astype(np.float64)
        expected = rows @ rows.T if pairs else np.square(rows).sum(axis=1)
        np.testing.assert_allclose(total[0], expected, rtol=1e-5)


def test_rows_that_are_gathered_count_as_others(monkeypatch: pytest.MonkeyPatch) -> None:
    items = np.random.default_rng(1).standard_normal((9, 3, 4, 4)).astype(np.float32)
    expected = np.einsum("nihw,njhw->ij", *[items.astype(np.float64)] * 2)
    for rows in (1, 100, 512):
        monkeypatch.setattr(gradient_sums, "_ROWS", rows)
        made = sums(3)
        for item in items:
            made.update(item[None], (), np.random.default_rng(0))
        np.testing.assert_allclose(made.totals()[0][0], expected, rtol=1e-5)


@pytest.mark.parametrize("few", [64, 0])
def test_a_weight_on_the_left_costs_what_one_on_the_right_does(
    few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fisher, "_FEW_SAMPLES", few)
    found = []
    for left in (True, False):
        b = Builder(7)
        weight = b.rng.standard_normal((16, 20)).astype(np.float32) / 4
        x = b.input("x", [16, 6])
        if left:
            made = b.op("Transpose", b.op("Gemm", b.const(weight), x, transA=1), perm=[1, 0])
        else:
            made = b.op("Gemm", x, b.const(weight), transA=1)
        b.op("MatMul", b.op("Tanh", made), b.weight(20, 5), to="y")
        b.output("y", [6, 5])
        model = b.model()
        rows = np.random.default_rng(3).standard_normal((12, 16, 6)).astype(np.float32)
        sites = [s for n in model.graph.nodes if isinstance(s := site_of(n), Site)]
        ctx = replace(context(model), analyses=AnalysisManager(InMemory([{"x": r} for r in rows])))
        found.append(next(iter(curvature(model, sites, ctx).values())))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-9)


def test_more_draws_of_the_same_samples_mean_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    model = net()
    sites = [s for n in model.graph.nodes if isinstance(s := site_of(n), Site)]
    traces = []
    for draws in (1, 4096):
        monkeypatch.setattr(fisher, "DRAWS", draws)
        found = curvature(model, sites, context(model))
        traces.append({name: alone(each).sum() for name, each in found.items()})
    assert traces[0]
    for name, once in traces[0].items():
        assert 0.5 < traces[1][name] / once < 2


def test_large_models_get_fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    model = net()
    ctx = context(model)
    often = fisher.draws_of(model, 96, ctx)
    assert often == math.ceil(fisher.DRAWS / 96)
    work = sum(work_of(model, one_sample(model, ctx.analyses.data)).values())
    monkeypatch.setattr(fisher, "_WORK", 3.5 * 96 * 3 * work)
    assert fisher.draws_of(model, 96, ctx) == 3
    assert fisher.draws_of(model, 96 * 100, ctx) == 1


@pytest.mark.parametrize(
    ("shape", "places"), [((1, 6, 5), 5), ((40, 25), 25), ((9, 20, 20), 64), ((7,), 1)]
)
def test_outputs_at_many_places_need_fewer_draws(shape: tuple[int, ...], places: int) -> None:
    """Each place has a scalar of its own; the longest axis may be that of classes."""
    b = Builder()
    b.output(b.op("Relu", b.input("x", ["n", *shape]), to="y"), ["n", *shape])
    model = b.model()
    data = InMemory([{"x": np.ones((4, *shape), np.float32)}])
    ctx = replace(context(model), analyses=AnalysisManager(data))
    assert fisher.draws_of(model, 4, ctx) == math.ceil(fisher.DRAWS / (4 * places))


def test_the_output_with_the_fewest_places_counts() -> None:
    b = Builder()
    x = b.input("x", ["n", 3, 8, 8])
    b.output(b.op("Relu", x, to="map"), ["n", 3, 8, 8])
    b.output(b.op("Flatten", b.op("GlobalAveragePool", x), to="classes"), ["n", 3])
    model = b.model()
    data = InMemory([{"x": np.ones((4, 3, 8, 8), np.float32)}])
    ctx = replace(context(model), analyses=AnalysisManager(data))
    assert fisher.draws_of(model, 4, ctx) == fisher.DRAWS // 4


def test_outputs_one_by_one_are_a_diagonal_of_pairs() -> None:
    rng = np.random.default_rng(0)
    array, each = rng.standard_normal((2, 5, 4)), rng.random((2, 4)) + 0.1
    pairs = each[:, :, None] * np.eye(4)
    np.testing.assert_allclose(across(array, each), across(array, pairs))
    np.testing.assert_array_equal(alone(pairs), each)
    readers = [Reader(array[0], np.eye(5), m, np.arange(5)[:, None]) for m in (each[0], pairs[0])]
    one, other = (r.scaled() for r in readers)
    np.testing.assert_allclose(one, other, rtol=1e-6)
    for reader in readers:
        np.testing.assert_allclose(reader.plain(reader.scaled()), array[0], rtol=1e-9)


def needed(samples: int, *, spread: float, pairs: bool = True) -> np.ndarray:
    """Return what 60 outputs count where each sample needs one, some outputs more often."""
    rng = np.random.default_rng([samples, round(10 * spread)])
    often = np.arange(1, 61.0) ** -spread
    counts = np.bincount(rng.choice(60, samples, p=often / often.sum()), minlength=60)
    return np.diag(counts.astype(float))[None] if pairs else counts.astype(float)[None]


@pytest.mark.parametrize("pairs", [True, False])
def test_outputs_that_few_samples_need_are_no_more_than_others(pairs: bool) -> None:
    """As classes: what the next samples need are others."""

    def trusted(samples: int, spread: float) -> float:
        parts = [needed(n, spread=spread, pairs=pairs) for n in (2 * samples, samples)]
        return fisher._trusted(parts)

    assert trusted(20, 0.0) < 0.3
    assert trusted(5000, 1.0) > 0.95
    assert trusted(20, 0.0) < trusted(100, 1.0) < trusted(5000, 1.0)
    assert fisher._trusted([needed(60, spread=1.0, pairs=pairs)]) == 1.0
    some = needed(60, spread=1.0, pairs=pairs)
    assert fisher._trusted([some, np.zeros_like(some)]) == 1.0  # of what counts for nothing


def test_what_samples_do_not_agree_on_counts_alike() -> None:
    often = np.arange(1, 61.0) / 60
    total = (np.diag(often) - np.outer(often, often) / often.sum())[None]  # of class scores
    level = float(alone(total).mean())
    for trusted in (1.0, 0.4, 0.0):
        for whole in (total, alone(total)):
            found = alone(fisher._floored(whole, trusted))
            np.testing.assert_allclose(
                found - found.mean(), trusted * (alone(total) - level), atol=1e-9
            )
        bare = fisher._floored(total, trusted) - fisher._FLOOR * level * np.eye(60)
        assert abs(bare.sum()) < 1e-9  # what is added to all scores still costs nothing


def test_only_of_classes_other_samples_need_others(monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder(3)
    h = b.op("Relu", b.op("Gemm", b.input("x", ["n", 8]), b.weight(8, 12), to="h"))
    b.op("Softmax", b.op("Gemm", h, b.weight(12, 6), to="scores"), to="y")
    b.output("y", ["n", 6])
    b.op("Gemm", h, b.weight(12, 4), to="z")
    b.output("z", ["n", 4])
    model = b.model()
    x = np.random.default_rng(4).standard_normal((40, 8)).astype(np.float32)
    ctx = replace(context(model), analyses=AnalysisManager(InMemory([{"x": x}])))
    sites = [s for n in model.graph.nodes if isinstance(s := site_of(n), Site)]
    before = curvature(model, sites, ctx)
    monkeypatch.setattr(fisher, "_trusted", lambda _: 0.0)
    after = curvature(model, sites, ctx)
    assert set(after) == {"h", "scores", "z"}
    np.testing.assert_array_equal(before["h"], after["h"])
    for name in ("scores", "z"):
        assert np.ptp(alone(after[name])) < 1e-9 < np.ptp(alone(before[name]))
    parts = fisher.curvature_parts(model, sites, ctx)
    assert np.ptp(alone(parts["scores"][0])) < 1e-9 < np.ptp(alone(parts["scores"][1]))
