"""Forms as tensors: exact at full rank, best where the data say so, never worse when fitted."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ocompress.lossy.fisher import MOST_OUTPUTS
from passes.factorization import group_forms, left_out, starts
from passes.factorization.alternate import Effort
from passes.factorization.catalogue import FORMS, METHODS, named
from passes.factorization.forms import ChainForm
from passes.factorization.problem import Problem, pose
from passes.factorization.rewriting import factored

SHAPES = [
    (8, 3, 3, 12),
    (6, 5, 3, 4),
    (4, 7, 7, 6),
    (5, 3, 7),
    (3, 2, 3, 3, 5),
    (8, 1, 1, 16),
    (16, 8),
    (8, 16),
]
GRID = (2, 6, 7)


def problem(shape: tuple[int, ...], seed: int = 0, *, grid: tuple[int, ...] = ()) -> Problem:
    """A random weight with inputs and outputs that hang together."""
    rng = np.random.default_rng(seed)
    tensor = rng.standard_normal(shape)
    inputs = int(np.prod(shape[:-1]))
    rows = rng.standard_normal((4 * inputs, inputs)) @ rng.standard_normal((inputs, inputs))
    mixed = rng.standard_normal((shape[-1], 2 * shape[-1]))
    return pose(tensor, rows.T @ rows / len(rows), mixed @ mixed.T, grid)


def pairs() -> list[tuple[ChainForm, Problem]]:
    every = [problem(shape) for shape in SHAPES]
    every.append(problem((int(np.prod(GRID)), 9), grid=GRID))
    every += [one_by_one(problem(shape)) for shape in ((4, 3, 3, 10), (6, 12))]
    return [(f, p) for p in every for f in FORMS if f.refusal(p) is None]


def one_by_one(posed: Problem) -> Problem:
    """The same weight with outputs that count one by one, as those of very wide layers do."""
    each = np.sqrt(posed.each)
    return Problem(posed.plain(posed.tensor) * each, posed.metric, each, posed.grid)


def approximation(
    form: ChainForm, posed: Problem, ranks: tuple[int, ...], effort: Effort
) -> np.ndarray:
    seen = form.sees(posed)
    factors = form.fitted(seen, form.start(seen)(ranks), effort)
    return factored(form, [posed], [factors]).tensors[0]


@pytest.mark.parametrize(
    ("form", "posed"),
    pairs(),
    ids=lambda x: x.name if isinstance(x, ChainForm) else str(x.tensor.shape),
)
def test_full_rank_is_exact_and_fewer_cost_more(form: ChainForm, posed: Problem) -> None:
    seen = form.sees(posed)
    most = form.most(seen)
    assert [a.shape for a in form.start(seen)(most)] == form.shapes(seen, most)
    plain = posed.plain(posed.tensor).reshape(posed.tensor.shape)
    exact = approximation(form, posed, most, Effort(0, 0)).reshape(plain.shape)
    np.testing.assert_allclose(exact, plain, atol=1e-6 * np.abs(plain).max())
    errors = []
    for part in (1, 2, 4):
        ranks = tuple(max(1, m // part) for m in most)
        tensor = approximation(form, posed, ranks, Effort(2, 5)).reshape(posed.tensor.shape)
        errors.append(posed.error(posed.scaled(tensor)))
    assert all(a <= b + 1e-6 * posed.power() for a, b in itertools.pairwise(errors))
    if most[-1] > 1 and not (form.ranks == "s" and posed.outputs < posed.taps):
        assert errors[-1] > 1e-4 * posed.power()


@pytest.mark.parametrize(
    ("form", "posed"),
    pairs(),
    ids=lambda x: x.name if isinstance(x, ChainForm) else str(x.tensor.shape),
)
def test_fitting_never_makes_it_worse(form: ChainForm, posed: Problem) -> None:
    seen = form.sees(posed)
    ranks = tuple(max(1, m // 2) for m in form.most(seen))
    before = form.start(seen)(ranks)
    after = form.fitted(seen, before, Effort(4, 6))
    old, new = (seen.error(form.approximation(seen, f)) for f in (before, after))
    assert new <= old * (1 + 1e-5) + 1e-9 * seen.power()
    if not form.closed and old > 1e-3 * seen.power():
        assert new < old


def test_outputs_that_count_one_by_one_need_no_matrix() -> None:
    lean = one_by_one(problem((4, 3, 3, 10)))
    full = Problem(lean.tensor, lean.metric, np.diag(lean.scale))
    random = np.random.default_rng(5).standard_normal(lean.tensor.shape)
    assert lean.error(lean.scaled(random)) == pytest.approx(full.error(full.scaled(random)))
    np.testing.assert_allclose(lean.plain(lean.tensor), full.plain(full.tensor))
    np.testing.assert_allclose(np.diag(lean.curvature), full.curvature)
    for form in named(["channel", "spatial"]):
        ranks = tuple(max(1, m // 2) for m in form.most(form.sees(lean)))
        one, other = (approximation(form, p, ranks, Effort(0, 0)) for p in (lean, full))
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-8)
    single, pairs = (pose(random, None, m) for m in (lean.curvature, np.diag(lean.curvature)))
    np.testing.assert_allclose(single.tensor, pairs.tensor)
    np.testing.assert_allclose(single.scale, pairs.scale)
    wide = pose(np.ones((2, MOST_OUTPUTS + 1)), None, np.full(MOST_OUTPUTS + 1, 4.0))
    assert wide.scale.shape == (MOST_OUTPUTS + 1,)
    assert wide.power() == pytest.approx(2 * 4 * (MOST_OUTPUTS + 1), rel=1e-5)


@pytest.mark.parametrize(("form", "posed"), pairs())
@pytest.mark.parametrize("share", [8, 1])
def test_errors_are_those_of_the_tensor_that_factors_stand_for(
    form: ChainForm, posed: Problem, share: int
) -> None:
    """Few ranks and all of them: what needs no tensor says the same, for other samples, too."""
    seen = form.sees(posed)
    factors = form.start(seen)(tuple(max(1, m // share) for m in form.most(seen)))
    made = factored(form, [posed], [factors])
    tensor = made.tensors[0].reshape(posed.tensor.shape)
    judge = Problem(
        posed.scaled(posed.plain(posed.tensor)), posed.whole() + 1, posed.scale, posed.grid
    )
    judge = Problem(2 * judge.tensor, judge.metric, 2 * judge.scale, judge.grid)
    small = 1e-9 * posed.power()
    assert form.error(posed, factors) == pytest.approx(
        posed.error(posed.scaled(tensor)), rel=1e-6, abs=small
    )
    other = judge.error(judge.scaled(tensor))
    assert form.plain_error(judge, made.factors[0]) == pytest.approx(other, rel=1e-6, abs=small)
    assert left_out.error_of(form, [posed], [factors], [judge]) == pytest.approx(
        other, rel=1e-6, abs=small
    )


def test_output_rank_is_the_optimum() -> None:
    """No factors of the same rank have a smaller error: the Eckart-Young bound, whitened."""
    posed = problem((6, 3, 3, 10))
    form = named(["channel"])[0]
    root = np.linalg.cholesky(posed.whole())
    values = np.linalg.svd(root.T @ posed.matrix, compute_uv=False)
    for rank in (1, 3, 7):
        tensor = approximation(form, posed, (rank,), Effort(0, 0)) @ posed.scale
        bound = float(np.square(values[rank:]).sum())
        assert posed.error(tensor) == pytest.approx(bound, rel=1e-6)


def test_what_data_tell_beats_the_weights_alone() -> None:
    """Inputs that hardly vary may be lost; without data they weigh as much as all others."""
    rng = np.random.default_rng(3)
    tensor = rng.standard_normal((8, 3, 3, 12))
    spread = np.geomspace(1, 1e-3, 8).repeat(9)
    posed = pose(tensor, np.diag(spread))
    blind = pose(tensor)
    for form in FORMS:
        if form.refusal(posed) is not None:
            continue
        ranks = tuple(max(1, m // 3) for m in form.most(posed))
        with_data = approximation(form, posed, ranks, Effort(3, 6))
        without = approximation(form, blind, ranks, Effort(3, 6))
        if form.method == "depthwise-first":  # channels are apart there: nothing to trade
            assert posed.error(with_data) <= posed.error(without) * 1.02
        else:
            assert posed.error(with_data) < 0.8 * posed.error(without), form.name


def test_marginals_add_up_to_the_trace() -> None:
    posed = problem((4, 3, 2, 5))
    for axes in ([0], [1], [0, 2], [0, 1, 2]):
        assert np.trace(posed.marginal(axes)) == pytest.approx(np.trace(posed.whole()))
    np.testing.assert_allclose(posed.marginal([0, 1, 2]), posed.whole())


def test_every_method_has_a_form() -> None:
    assert {f.method for f in FORMS} == set(METHODS)
    assert [f.name for f in named(["spatial"])] == ["spatial 0", "spatial 1"]


def test_the_metric_is_damped_but_alike() -> None:
    tensor = np.ones((3, 2))
    metric = np.diag([1.0, 0.0, 0.0])
    posed = pose(tensor, metric)
    assert posed.error(np.zeros((3, 2))) == pytest.approx(2, rel=1e-3)
    assert np.linalg.eigvalsh(posed.whole()).min() > 0


def test_what_stands_behind_a_projection_is_solved_for() -> None:
    """A projection on all channels leaves the problem as it was."""
    posed = problem((4, 3, 3, 5))
    seen = starts.seen_through(posed, np.eye(4), np.zeros((4, 3, 3, 5)))
    np.testing.assert_allclose(seen.tensor, posed.tensor, atol=1e-6)
    np.testing.assert_allclose(seen.whole(), posed.whole(), atol=1e-9)


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("form", [*named(["tucker", "cp"]), *group_forms.named(["blocks"], (2, 4))])
def test_metrics_are_inverted_once_and_only_where_there_are_any(
    form: ChainForm, seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    posed = problem((8, 3, 3, 12))
    if not seen:
        posed = pose(posed.plain(posed.tensor).reshape(posed.tensor.shape))
    ranks = (form.every(posed) or form.of_rank(posed, 4))[0]
    whole, start = form.sees(posed), form.start(form.sees(posed))(ranks)
    inverted: list[bytes] = []  # what ranks share changes from turn to turn, a metric does not
    plain = np.linalg.inv

    def counted(matrix: np.ndarray) -> np.ndarray:
        inverted.append(matrix.tobytes())
        return plain(matrix)

    monkeypatch.setattr(np.linalg, "inv", counted)
    factors = form.fitted(whole, start, Effort(rounds=5, steps=1))
    assert form.error(posed, factors) <= form.error(posed, start) * (1 + 1e-6)
    assert len(inverted) == len(set(inverted))
    assert bool(inverted) is seen
