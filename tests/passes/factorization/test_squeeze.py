"""Convolutions as a squeeze and two expansions, whatever their attributes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from ocompress.errors import OptionError
from ocompress.ir import Model
from passes.factorization import rectifying
from passes.factorization.alternate import Effort
from passes.factorization.catalogue import named
from passes.factorization.problem import pose
from passes.factorization.squeeze import Squeeze
from passes.factorization.squeeze_forms import FIRE
from passes.factorization.steps import ChainLink, Fork
from tests.build import Builder
from tests.passes.factorization.chains import conv, cost, kinds, lost, posed, through
from tests.passes.factorization.replaced import batches, error, net, run
from tests.passes.factorization.test_factorize import Judge, work

CONVS: list[tuple[tuple[int, ...], int, dict[str, Any]]] = [
    ((6, 5, 3, 3), 1, {"pads": [1, 1, 1, 1]}),
    ((8, 4, 3, 3), 2, {"pads": [0, 1, 2, 1], "strides": [2, 1]}),
    ((6, 3, 5, 3), 1, {"dilations": [1, 2], "pads": [2, 2, 2, 2]}),
    ((12, 3, 2, 4), 3, {"strides": [2, 3], "pads": [1, 0, 0, 3]}),
    ((5, 4, 3), 1, {"pads": [1, 1], "dilations": [2]}),
    ((6, 4, 7, 7), 1, {"pads": [3, 3, 3, 3], "strides": [2, 2]}),
    ((6, 4, 3, 3), 1, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ((6, 4, 3, 3), 1, {"auto_pad": "VALID"}),
    ((6, 4, 1, 3), 1, {"pads": [2, 1, 0, 2]}),
    ((4, 3, 2, 3, 3), 1, {"pads": [1, 1, 1, 0, 1, 1], "strides": [1, 2, 1]}),
]


def centred(rng: np.random.Generator, shape: tuple[int, ...], outer: int) -> np.ndarray:
    """A weight of which every second output of a group looks at the centre of the kernel alone."""
    weight = rng.standard_normal(shape).reshape(outer, shape[0] // outer, shape[1], -1)
    tap = int(np.ravel_multi_index([(k - 1) // 2 for k in shape[2:]], shape[2:]))
    away = np.arange(weight.shape[-1]) != tap
    weight[:, ::2, :, away] = 0
    return weight.reshape(shape)


@pytest.mark.parametrize("case", CONVS, ids=str)
def test_exact_at_full_rank_and_where_outputs_are_pointwise(
    case: tuple[tuple[int, ...], int, dict[str, Any]],
) -> None:
    shape, outer, attrs = case
    rng = np.random.default_rng(1)
    dense = conv(rng.standard_normal(shape), outer, **attrs)
    whole = through(dense, FIRE)
    assert whole is not None
    assert kinds(whole) == ["Conv", "Conv"]
    assert lost(dense, whole) < 1e-5
    wide = shape[0] // outer // 2
    model = conv(centred(rng, shape, outer), outer, **attrs)
    after, other = (through(m, FIRE, (wide, shape[1])) for m in (model, dense))
    assert after is not None
    assert other is not None
    assert lost(model, after) < 1e-5
    assert lost(dense, other) > 1e-2
    assert kinds(after).count("Concat") == 1
    first, *others = [n for n in after.graph.nodes if n.is_op("Conv")]
    convs = [first, *sorted(others, key=lambda n: n.label == "y")]
    shapes = [n.input(1).shape for n in convs]  # type: ignore[union-attr]
    ones = (1,) * (len(shape) - 2)
    assert shapes == [
        (shape[1] * outer, shape[1], *ones),
        ((shape[0] // outer - wide) * outer, shape[1], *ones),
        (wide * outer, shape[1], *shape[2:]),
    ]
    assert [n.attr("group") for n in convs] == [outer] * 3


def test_what_would_be_padded_less_than_nothing_is_cut() -> None:
    rng = np.random.default_rng(2)
    for pads, cut in (([1, 1, 1, 1], 0), ([0, 0, 0, 0], 1), ([2, 0, 2, 1], 1)):
        model = conv(centred(rng, (6, 4, 3, 3), 1), pads=pads)
        after = through(model, FIRE, (3, 4))
        assert after is not None
        assert kinds(after).count("Slice") == cut
        assert lost(model, after) < 1e-5


def test_a_computed_bias_goes_to_both_branches() -> None:
    model = conv(centred(np.random.default_rng(3), (6, 4, 3, 3), 1), bias=False)
    after = through(model, FIRE, (3, 4))
    assert after is not None
    assert lost(model, after) < 1e-5
    assert kinds(after).count("Gather") == 3


def test_outputs_in_order_need_no_gather() -> None:
    weight = np.random.default_rng(4).standard_normal((6, 4, 3, 3))
    weight[:3, :, [0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 0, 2, 0, 1, 2]] = 0
    model = conv(weight, pads=[1, 1, 1, 1])
    after = through(model, FIRE, (3, 4))
    assert after is not None
    assert lost(model, after) < 1e-5
    assert kinds(after) == ["Conv", "Conv", "Conv", "Concat"]


def test_outputs_that_need_the_kernel_least_do_without() -> None:
    rng = np.random.default_rng(5)
    need = np.array([0.9, 0.1, 0.8, 0.05, 0.7, 0.01])
    tensor = rng.standard_normal((4, 3, 3, 6)) * need
    tensor[:, 1, 1] = rng.standard_normal((4, 6))
    _, core, wide = FIRE.start(pose(tensor))((3, 4))
    assert wide.tolist() == [True, False, True, False, True, False]
    narrow = core[..., ~wide].reshape(4, 9, 3)
    assert not np.delete(narrow, 4, axis=1).any()
    assert narrow[:, 4].all()
    steps = FIRE.links([np.eye(4), core, wide])
    assert isinstance(steps[0], ChainLink)
    assert isinstance(steps[1], Fork)
    assert steps[1].order.tolist() == [3, 0, 4, 1, 5, 2]


def test_only_convolutions_with_a_kernel() -> None:
    rng = np.random.default_rng(6)
    assert FIRE.refusal(pose(rng.standard_normal((8, 1, 1, 8)))) == "its kernel has a single tap"
    assert FIRE.refusal(pose(rng.standard_normal((8, 8)))) is not None
    assert FIRE.refusal(pose(rng.standard_normal((8, 3, 8)))) is None


@pytest.mark.parametrize("effort", [Effort(0, 0), Effort(3, 6)], ids=str)
def test_more_channels_and_more_whole_outputs_cost_less(effort: Effort) -> None:
    problem = posed(np.random.default_rng(7).standard_normal((8, 3, 3, 12)))
    for every in ([(12, 2), (12, 4), (12, 6), (12, 8)], [(2, 8), (4, 8), (8, 8), (12, 8)]):
        errors = [cost(FIRE, problem, ranks, effort) for ranks in every]
        assert all(a > b for a, b in itertools.pairwise(errors))
        assert errors[0] > 0.1
        assert errors[-1] < 1e-6


def test_all_outputs_whole_is_the_form_with_fewer_inputs() -> None:
    problem = posed(np.random.default_rng(8).standard_normal((8, 3, 3, 12)))
    plain = named(["input"])[0]
    for rank in (2, 5):
        ours, theirs = (
            cost(form, problem, ranks, Effort(6, 8))
            for form, ranks in ((FIRE, (12, rank)), (plain, (rank,)))
        )
        assert ours == pytest.approx(theirs, rel=0.02)


def test_fitting_helps_and_leaves_the_branches() -> None:
    problem = posed(np.random.default_rng(9).standard_normal((8, 3, 3, 12)))
    start, fitted = (cost(FIRE, problem, (6, 5), e) for e in (Effort(0, 0), Effort(6, 8)))
    assert fitted < 0.97 * start
    before = FIRE.start(problem)((6, 5))
    _, core, wide = FIRE.fitted(problem, before, Effort(6, 8))
    narrow = core[..., ~wide].reshape(5, 9, 6)
    assert not np.delete(narrow, 4, axis=1).any()
    assert (wide == before[2]).all()


def test_what_data_tell_beats_the_weights_alone() -> None:
    rng = np.random.default_rng(10)
    tensor = rng.standard_normal((8, 3, 3, 12))
    known = pose(tensor, np.diag(np.geomspace(1, 1e-3, 8).repeat(9)))
    factors = [FIRE.start(p)((6, 3)) for p in (known, pose(tensor))]
    with_data, without = (known.error(FIRE.approximation(known, f)) for f in factors)
    assert with_data < 0.8 * without


def residual() -> Model:
    """Two convolutions with a shortcut between them."""
    b = Builder(7)
    x = b.input("x", ["n", 4, 10, 10])
    h = b.op("Relu", b.op("Conv", x, b.weight(16, 4, 3, 3), b.weight(16), to="stem", pads=[1] * 4))
    weight = b.const(centred(b.rng, (24, 16, 3, 3), 1).astype(np.float32) / 8)
    g = b.op("Relu", b.op("Conv", h, weight, b.weight(24), to="inner", pads=[1] * 4))
    weight = b.const(centred(b.rng, (16, 24, 3, 3), 1).astype(np.float32) / 8)
    g = b.op("Conv", g, weight, b.weight(16), to="outer", pads=[1] * 4)
    h = b.op("Relu", b.op("Add", g, h))
    h = b.op("Flatten", b.op("GlobalAveragePool", h))
    b.output(b.op("Gemm", h, b.weight(16, 10), b.weight(10), to="y"), ["n", 10])
    return b.model()


def test_pass_keeps_the_work_and_the_names() -> None:
    model = residual()
    after, outcome, ctx = run(Squeeze(max_macs=0.7), model, data=batches(0))
    assert 0.45 * work(model) < work(after) <= 0.7 * work(model)
    assert outcome.counts["layers replaced"] >= 2
    assert error(model, after) < 2e-3
    assert {"stem", "inner", "outer", "y"} <= {n.label for n in after.graph.nodes}
    assert [v.name for v in after.graph.outputs] == [v.name for v in model.graph.outputs]
    used = {v.name for n in after.graph.nodes for v in n.inputs if v is not None}
    assert set(after.graph.initializers) <= used
    assert ctx.diagnostics.declined()["too-small"] == 1
    # the layer behind takes in the order of one, the sum cannot take in that of the other
    assert kinds(after).count("Concat") == 2
    assert kinds(after).count("Gather") == 1
    unfitted = run(Squeeze(max_macs=0.7, refit=False), model, data=batches(0))[0]
    blind = run(Squeeze(max_macs=0.7, data_free=True), model, data=batches(0))[0]
    assert error(model, after) < min(error(model, unfitted), error(model, blind))


def test_layers_by_groups_and_of_one_tap() -> None:
    model = net()
    after, outcome, ctx = run(Squeeze(max_weights=0.6), model, data=batches(0))
    taken = {r["name"]: r["method"] for r in outcome.details["candidates"] if r["taken"]}
    assert taken["grouped"] == taken["inner"] == "fire"
    assert taken["point"] == "keep"
    codes = ctx.diagnostics.declined()
    assert codes["no-form"] >= 1
    assert codes["op-type"] == 2
    assert error(model, after) < 0.1
    given = run(Squeeze(rank=6, layers=("inner",)), model)[1].details["candidates"]
    assert [r["setting"] for r in given if r["taken"]] == ["squeeze 6, expand 12 whole"]


def test_default_spends_a_small_error_alone() -> None:
    for model in (residual(), net()):
        after, outcome, _ = run(Squeeze(), model, data=batches(0))
        rows = outcome.details["candidates"]
        assert sum(r["error"] for r in rows if r["taken"]) <= 0.01
        assert error(model, after) < 0.02


def test_what_is_not_faster_or_too_lossy_is_given_up() -> None:
    model = residual()
    slow, outcome, ctx = run(
        Squeeze(max_macs=0.6), model, data=batches(0), guards=[Judge("latency", ratio=1.0)]
    )
    assert not outcome
    assert work(slow) == work(model)
    assert ctx.diagnostics.declined()["not-faster"] >= 1
    guard = Judge("max-drop", limit=-1.0)
    none, outcome, ctx = run(Squeeze(), model, data=batches(0), guards=[guard])
    assert not outcome
    assert work(none) == work(model)
    assert ctx.diagnostics.declined()["too-lossy"] >= 2


@pytest.mark.parametrize(
    "options",
    [
        {"max_macs": -0.1},
        {"max_weights": 1.01},
        {"energy": 2.0},
        {"rank": -1},
        {"rank": 4, "max_macs": 0.5},
        {"evbmf": True},
        {"exclude": ("nothing",)},
    ],
    ids=str,
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        run(Squeeze(**options), residual())


def test_a_relu_between_squeeze_and_expansions_costs_little_at_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = residual()
    plain, *_ = run(Squeeze(max_macs=0.7), model, data=batches(0))
    after, *_ = run(Squeeze(max_macs=0.7, relu=True), model, data=batches(0))
    squeezes = [n for n in after.graph.nodes if n.is_op("Conv") and "_factor_1" in n.label]
    read = [n.output.users for n in squeezes]
    between = [[r.op_type for r, _ in users] for users in read]
    assert between.count(["Relu"]) == 2
    assert kinds(after).count("Relu") == kinds(plain).count("Relu") + 2
    assert error(model, after) == pytest.approx(error(model, plain), rel=0.1)
    monkeypatch.setattr(rectifying, "_KEPT", 0.0)
    cut, *_ = run(Squeeze(max_macs=0.7, relu=True), model, data=batches(0))
    assert error(model, cut) > 10 * error(model, after)
