"""Convolutions by groups: exact where they can be, and the order of channels that loses least."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from ocompress.errors import OptionError
from ocompress.ir import Model
from passes.factorization.alternate import Effort
from passes.factorization.direct import Direct
from passes.factorization.group import GroupConvolutions
from passes.factorization.group_forms import named
from passes.factorization.problem import pose
from tests.build import Builder
from tests.passes.factorization.chains import (
    conv,
    cost,
    kinds,
    lost,
    planted,
    posed,
    through,
)
from tests.passes.factorization.replaced import batches, error, net, run
from tests.passes.factorization.test_factorize import Judge, work

POINTS: list[tuple[tuple[int, ...], int, dict[str, Any]]] = [
    ((16, 8, 1, 1), 1, {}),
    ((16, 8, 1, 1), 1, {"strides": [2, 3]}),
    ((8, 16, 1, 1), 2, {"pads": [1, 0, 2, 1]}),
    ((24, 8, 1), 3, {"strides": [2]}),
    ((8, 12, 1), 1, {}),
    ((8, 4, 1, 1, 1), 2, {"strides": [1, 2, 1], "pads": [0, 1, 0, 1, 0, 2]}),
    ((16, 8, 1, 1), 1, {"spatial": ["h", 7]}),
    ((16, 8, 1, 1), 2, {"spatial": ["h", "w"], "strides": [2, 1]}),
]
KERNELS: list[tuple[tuple[int, ...], int, dict[str, Any]]] = [
    ((16, 8, 3, 3), 1, {"pads": [1, 0, 1, 2], "strides": [2, 1]}),
    ((12, 4, 3, 2), 2, {"dilations": [2, 1]}),
    ((8, 8, 5), 1, {"pads": [2, 2], "dilations": [2]}),
    ((8, 4, 3, 3), 1, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
]


def shuffle(groups: int) -> Direct:
    return named(["shuffle"], [groups])[0]


def blocks(*groups: int) -> Direct:
    return named(["blocks"], groups)[0]


def given(model: Model) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    found = {}
    for value in model.graph.inputs:
        extents = [d if isinstance(d, int) else 9 - at for at, d in enumerate(value.shape or ())]
        found[value.name] = rng.standard_normal(extents).astype(np.float32)
    return found


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("case", POINTS, ids=str)
def test_shuffle_is_exact_at_full_rank(
    case: tuple[tuple[int, ...], int, dict[str, Any]], groups: int
) -> None:
    shape, outer, attrs = case
    model = conv(np.random.default_rng(1).standard_normal(shape), outer, **attrs)
    after = through(model, shuffle(groups))
    assert after is not None
    assert lost(model, after, given(model)) < 1e-5
    free = sum(isinstance(d, str) for d in attrs.get("spatial", ()))
    middle = ["Gather"] if free > 1 else ["Reshape", "Transpose", "Reshape"]
    assert kinds(after) == ["Conv", *middle, "Conv"]
    assert {n.attr("group") for n in after.graph.nodes if n.is_op("Conv")} == {outer * groups}
    assert after.graph.nodes[-1].label == "y"
    less = through(model, shuffle(groups), (1,))
    assert less is not None
    rank = min(shape[0] // outer, shape[1]) // groups
    assert (lost(model, less, given(model)) > 1e-2) == (rank > 1)


@pytest.mark.parametrize("case", POINTS + KERNELS, ids=str)
def test_blocks_are_exact_in_one_group_and_where_there_are_blocks(
    case: tuple[tuple[int, ...], int, dict[str, Any]],
) -> None:
    shape, outer, attrs = case
    rng = np.random.default_rng(2)
    dense = conv(rng.standard_normal(shape), outer, **attrs)
    whole, half = through(dense, blocks(1), (1,)), through(dense, blocks(2), (2,))
    assert whole is not None
    assert half is not None
    assert lost(dense, whole, given(dense)) < 1e-5
    assert lost(dense, half, given(dense)) > 1e-2
    size = shape[0] // outer, *shape[1:]
    weight = np.concatenate([planted(rng, size, 2)[0] for _ in range(outer)])
    model = conv(weight, outer, **attrs)
    after = through(model, blocks(2), (2,))
    assert after is not None
    assert lost(model, after, given(model)) < 1e-5
    assert set(kinds(after)) == {"Gather", "Conv"}
    inner = next(n for n in after.graph.nodes if n.is_op("Conv"))
    assert (inner.label, inner.attr("group")) == ("y", 2 * outer)
    assert inner.input(1).shape == (shape[0], shape[1] // 2, *shape[2:])  # type: ignore[union-attr]


def test_blocks_that_need_no_order_get_none() -> None:
    weight = np.zeros((8, 6, 1, 1))
    weight[:4, :3], weight[4:, 3:] = 1, 2
    weight += 1e-3 * np.random.default_rng(0).standard_normal(weight.shape) * (weight > 0)
    after = through(conv(weight), blocks(2), (2,))
    assert after is not None
    assert kinds(after) == ["Conv"]


def test_a_computed_bias_is_put_in_order_too() -> None:
    weight = planted(np.random.default_rng(5), (8, 12, 1, 1), 2)[0]
    model = conv(weight, bias=False)
    after = through(model, blocks(2), (2,))
    assert after is not None
    assert kinds(after).count("Gather") == 3
    assert lost(model, after) < 1e-5


def test_forms_decline_what_they_cannot_do() -> None:
    rng = np.random.default_rng(3)
    wide, odd, matrix = (pose(rng.standard_normal(s)) for s in ((8, 3, 3, 8), (9, 1, 1, 8), (8, 8)))
    assert shuffle(2).refusal(wide) == "its kernel has several taps"
    assert blocks(2).refusal(wide) is None
    assert shuffle(3).refusal(odd) == "its channels do not divide into 3 groups"
    assert blocks(2, 4).refusal(odd) == "its channels divide into none of the groups"
    assert {shuffle(2).refusal(matrix), blocks(2).refusal(matrix)} == {"it is no convolution"}
    assert blocks(2, 4, 8).every(pose(rng.standard_normal((12, 1, 1, 8)))) == [(2,), (4,)]


@pytest.mark.parametrize("effort", [Effort(0, 0), Effort(3, 6)], ids=str)
def test_more_rank_and_fewer_groups_cost_less(effort: Effort) -> None:
    problem = posed(np.random.default_rng(6).standard_normal((16, 1, 1, 24)))
    form = shuffle(2)
    errors = [cost(form, problem, (r,), effort) for r in (1, 2, 4, 6, 8)]
    assert all(a > b for a, b in itertools.pairwise(errors))
    assert errors[0] > 0.1
    assert errors[-1] < 1e-6
    errors = [cost(blocks(2, 4, 8), problem, (g,), effort) for g in (8, 4, 2)]
    assert all(a > b for a, b in itertools.pairwise(errors))


def test_each_block_is_its_best_approximation() -> None:
    """Without data the start is the singular value decomposition of every block."""
    tensor = np.random.default_rng(7).standard_normal((12, 1, 1, 8))
    left = np.linalg.svd(tensor.reshape(2, 6, 2, 4).swapaxes(1, 2), compute_uv=False)[..., 2:]
    wanted = float(np.square(left).sum() / np.square(tensor).sum())
    assert cost(shuffle(2), pose(tensor), (2,), Effort(0, 0)) == pytest.approx(wanted, rel=1e-4)


def test_fitting_helps_where_inputs_and_outputs_hang_together() -> None:
    problem = posed(np.random.default_rng(8).standard_normal((16, 1, 1, 16)))
    for form, ranks in ((shuffle(4), (2,)), (blocks(4), (4,))):
        start, fitted = (cost(form, problem, ranks, e) for e in (Effort(0, 0), Effort(6, 8)))
        assert fitted < start * 0.995, form.name


def test_blocks_stay_blocks_when_they_are_fitted() -> None:
    problem = posed(np.random.default_rng(9).standard_normal((8, 3, 3, 12)))
    form = blocks(4)
    weight, ins, outs = form.fitted(problem, form.start(problem)((4,)), Effort(4, 6))
    away = ins[:, None] != outs[None]
    assert not np.moveaxis(weight, 0, -2)[..., away].any()
    assert np.moveaxis(weight, 0, -2)[..., ~away].all()


def points(seed: int = 3) -> Model:
    """Pointwise layers, their weights nearly blocks, around a depthwise one and a residual sum."""
    b = Builder(seed)
    x = b.input("x", ["n", 4, 10, 10])

    def point(data: str, outs: int, ins: int, to: str) -> str:
        weight = planted(b.rng, (outs, ins, 1, 1), 2, others=0.05)[0] / np.sqrt(ins)
        return b.op("Conv", data, b.const(weight.astype(np.float32)), b.weight(outs), to=to)

    h = b.op("Relu", point(x, 32, 4, "stem"))
    g = b.op("Relu", point(h, 64, 32, "expand"))
    g = b.op("Conv", g, b.weight(64, 1, 3, 3), b.weight(64), to="deep", group=64, pads=[1] * 4)
    h = b.op("Add", point(b.op("Relu", g), 32, 64, "project"), h)
    h = b.op("Flatten", b.op("GlobalAveragePool", b.op("Relu", h)))
    b.output(b.op("Gemm", h, b.weight(32, 10), b.weight(10), to="y"), ["n", 10])
    return b.model()


def test_pass_keeps_the_work_and_the_names() -> None:
    model = points()
    after, outcome, ctx = run(GroupConvolutions(max_macs=0.65), model, data=batches(0))
    assert 0.4 * work(model) < work(after) <= 0.68 * work(model)
    assert outcome.counts["layers replaced"] == 2
    assert error(model, after) < 5e-3
    assert {"stem", "expand", "deep", "project", "y"} <= {n.label for n in after.graph.nodes}
    assert [v.name for v in after.graph.outputs] == [v.name for v in model.graph.outputs]
    codes = ctx.diagnostics.declined()
    assert codes["depthwise"] == codes["op-type"] == codes["too-small"] == 1
    used = {v.name for n in after.graph.nodes for v in n.inputs if v is not None}
    assert set(after.graph.initializers) <= used
    blind = run(GroupConvolutions(max_macs=0.65, data_free=True), model, data=batches(0))[0]
    assert error(model, after) < error(model, blind)


def test_orders_move_into_the_layers_around() -> None:
    """Only what the residual sum reads has to be put in order by a node, and between groups."""
    model = points()
    item = GroupConvolutions(max_macs=0.65, methods=("blocks",), groups=(2,))
    after, outcome, _ = run(item, model, data=batches(0))
    taken = {r["name"]: r["method"] for r in outcome.details["candidates"] if r["taken"]}
    assert taken == {"expand": "blocks", "project": "blocks"}
    assert kinds(after).count("Gather") == 3
    assert error(model, after) < 5e-3
    alone = run(GroupConvolutions(max_weights=0.6, methods=("blocks",), layers=("expand",)), model)[
        0
    ]
    assert kinds(alone).count("Gather") == 1  # what it reads is read by the sum too


def test_default_spends_a_small_error_alone() -> None:
    for model in (points(), net()):
        after, outcome, _ = run(GroupConvolutions(), model, data=batches(0))
        rows = outcome.details.get("candidates", [])
        assert sum(r["error"] for r in rows if r["taken"]) <= 0.01
        assert error(model, after) < 0.02


def test_what_is_not_faster_or_too_lossy_is_given_up() -> None:
    model = points()
    slow, outcome, ctx = run(
        GroupConvolutions(max_macs=0.65),
        model,
        data=batches(0),
        guards=[Judge("latency", ratio=1.0)],
    )
    assert not outcome
    assert work(slow) == work(model)
    assert ctx.diagnostics.declined()["not-faster"] >= 1
    none, outcome, ctx = run(
        GroupConvolutions(), model, data=batches(0), guards=[Judge("max-drop", limit=-1.0)]
    )
    assert not outcome
    assert work(none) == work(model)
    assert ctx.diagnostics.declined()["too-lossy"] == 2


def test_refusal_codes() -> None:
    model = points()
    _, _, ctx = run(
        GroupConvolutions(exclude=("expand",), layers=("exp*", "stem"), max_macs=0.9), model
    )
    codes = ctx.diagnostics.declined()
    assert codes["excluded"] == codes["not-named"] == 1
    _, _, ctx = run(GroupConvolutions(groups=(5,)), model)
    assert ctx.diagnostics.declined()["no-form"] == 2


@pytest.mark.parametrize(
    "options",
    [
        {"groups": (1, 2)},
        {"groups": ()},
        {"methods": ("monarch",)},
        {"max_macs": 1.5},
        {"max_error": -1.0},
        {"max_macs": 0.5, "max_error": 0.1},
        {"evbmf": True},
        {"layers": ("nothing",)},
    ],
    ids=str,
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        run(GroupConvolutions(**options), points())


def test_rules_for_each_layer() -> None:
    model = points()
    given_rank = run(GroupConvolutions(rank=3), model)[1].details["candidates"]
    taken = [r for r in given_rank if r["taken"] and r["method"] != "keep"]
    assert taken
    assert {r["setting"] for r in taken} == {"rank 3"}
    small = run(GroupConvolutions(max_weights=0.3), model)[1].details["candidates"]
    whole = {r["name"]: r["bytes"] for r in small if r["method"] == "keep"}
    taken = [r for r in small if r["taken"] and r["method"] != "keep"]
    assert len(taken) == 2
    assert all(r["bytes"] <= 0.3 * whole[r["name"]] for r in taken)
