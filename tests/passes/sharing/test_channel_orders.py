"""Orders of channels for words, and the pass `codebook` with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ocompress.ir import Model, Node, onnx_api
from ocompress.runtime import Level, Session
from passes.sharing import reorders
from passes.sharing.channel_orders import (
    Seating,
    best_order,
    products_of,
    seats_of,
    spread,
    swap,
    swap_bounds,
)
from passes.sharing.codebook import Codebook
from passes.sharing.word_starts import BlockMetric
from passes.sharing.words import clone_in_order, orders_of
from tests.build import Builder, feeds
from tests.passes.pruning.on_data import context, error, run, weight_of


def planted(seed: int = 0, inputs: int = 32, outputs: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Return a matrix of eight words of four whose inputs were mixed, and the way back."""
    rng = np.random.default_rng(seed)
    levels = rng.standard_normal(8)[rng.integers(0, 8, (inputs // 4, outputs))]
    matrix = np.repeat(levels, 4, axis=0) * np.tile([1, 2, -1, 0.5], inputs // 4)[:, None]
    mixed = rng.permutation(inputs)
    return matrix[mixed], np.argsort(mixed)


def seating(matrix: np.ndarray, block: int = 4) -> Seating:
    inputs, outputs = matrix.shape
    rows = np.arange(inputs)[:, None]
    metric = BlockMetric.plain(1, inputs, outputs, 1)
    seats = seats_of(rows, inputs, block)
    assert seats is not None
    return Seating(seats, products_of(rows, matrix[None], metric))


@pytest.mark.parametrize("seed", [0, 2, 3, 5])
def test_a_planted_order_is_found(seed: int) -> None:
    matrix, back = planted(seed)
    own = [seating(matrix)]
    found = best_order(own, 32, 0)
    assert sorted(found) == list(range(32))
    start = spread(own, np.arange(32))
    assert spread(own, back) < 1e-3 * start
    assert spread(own, found) < 1.01 * spread(own, back)
    blocks = matrix[found].reshape(8, 4, 16).swapaxes(1, 2).reshape(-1, 4)
    assert len(np.unique(blocks.round(6), axis=0)) <= 8


@pytest.mark.parametrize("block", [2, 4])
def test_what_swaps_gain_is_linear_and_never_too_much(block: int) -> None:
    rng = np.random.default_rng(1)
    own = seating(rng.standard_normal((16, 20)) + rng.standard_normal((16, 1)), block)
    order = rng.permutation(16)
    bounds = swap_bounds(own, order)
    before = own.covariance(order)
    pull = np.linalg.inv(before) * np.linalg.det(before) ** (1 / block)
    for one, other in np.ndindex(16, 16):
        swapped = order.copy()
        swapped[[one, other]] = order[[other, one]]
        change = float((pull * (own.covariance(swapped) - before)).sum())
        assert bounds[one, other] == pytest.approx(change, abs=1e-3)
        assert spread([own], swapped) - spread([own], order) <= change + 1e-3


def test_swaps_that_are_made_at_once_keep_what_they_promise() -> None:
    cells = np.arange(48) // 4
    for seed in range(8):
        rng = np.random.default_rng(seed)
        own = seating(rng.standard_normal((48, 4)))
        order = rng.permutation(48)
        gains, start = swap_bounds(own, order), order.copy()
        made = swap(order, gains.copy(), cells, -1e-9)
        changed = np.flatnonzero(order != start)
        assert made > 1
        assert len(changed) == 2 * made
        back = {int(c): at for at, c in enumerate(start)}
        promised = sum(float(gains[at, back[int(order[at])]]) for at in changed) / 2
        assert spread([own], order) <= spread([own], start) + promised + 1e-3


def test_errors_move_with_the_inputs() -> None:
    rng = np.random.default_rng(0)
    roots = rng.standard_normal((1, 8, 8))
    errors = reorders.Errors(roots @ roots.swapaxes(1, 2), np.ones((1, 5)))
    source = rng.permutation(8)
    matrix = rng.standard_normal((1, 8, 5))
    moved = errors.moved(source)
    assert errors.hessian is not None
    assert moved.hessian is not None
    seen = matrix.swapaxes(1, 2) @ errors.hessian @ matrix
    again = matrix[:, source].swapaxes(1, 2) @ moved.hessian @ matrix[:, source]
    np.testing.assert_allclose(again, seen)
    assert moved.curvature is errors.curvature


@pytest.mark.parametrize("pairs", [True, False])
def test_errors_of_some_outputs(pairs: bool) -> None:
    rng = np.random.default_rng(0)
    curvature = rng.random((1, 6, 6)) if pairs else rng.random((1, 6))
    found = reorders.Errors(None, curvature).of_outputs(np.array([4, 1]))
    wanted = curvature[:, [4, 1]][:, :, [4, 1]] if pairs else curvature[:, [4, 1]]
    np.testing.assert_array_equal(found.curvature, wanted)


def test_no_order_is_worse_than_the_one_there_is() -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        own = [seating(rng.standard_normal((24, 6)), n) for n in (2, 4, 8)]
        assert spread(own, best_order(own, 24, 0)) < spread(own, np.arange(24))


def test_weights_count_as_much_as_errors_of_them_cost() -> None:
    rng = np.random.default_rng(0)
    rows, matrix = np.arange(6).reshape(3, 2), rng.standard_normal((1, 6, 5))
    ins, outs = rng.random(6) + 0.1, rng.random(5) + 0.1
    metric = BlockMetric(ins[None, :, None, None], outs[None])
    found = products_of(rows, matrix, metric)
    scaled = matrix[0] * np.sqrt(ins.mean() * outs)
    wanted = sum(scaled[at] @ scaled[at].T for at in ([0, 2, 4], [1, 3, 5]))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_who_are_neighbours() -> None:
    np.testing.assert_array_equal(
        seats_of(np.arange(8)[:, None], 8, 4), [[0, 1, 2, 3], [4, 5, 6, 7]]
    )
    behind = np.arange(6)[:, None] + 2  # two inputs of something else come before
    np.testing.assert_array_equal(seats_of(behind, 8, 4), [[-1, -1, 0, 1], [2, 3, 4, 5]])
    channels_last = np.arange(4)[:, None] + 4 * np.arange(9)
    np.testing.assert_array_equal(seats_of(channels_last, 36, 4), [[0, 1, 2, 3]])
    assert seats_of(np.arange(6)[:, None] + 6 * np.arange(4), 24, 4) is None
    flattened = np.arange(8)[:, None] * 9 + np.arange(9)
    assert seats_of(np.arange(3)[:, None] * 4, 12, 4) is None
    assert seats_of(flattened, 72, 9) is None
    assert seats_of(flattened, 72, 4) is None
    assert seats_of(np.arange(6)[:, None], 6, 4) is None


def two_layers(matrix: np.ndarray, width: int = 8) -> Model:
    b = Builder()
    inputs, outputs = matrix.shape
    x = b.input("x", ["n", width])
    h = b.op("Gemm", x, b.weight(width, inputs), b.weight(inputs), to="first")
    h = b.op("Relu", h)
    b.output(b.op("Gemm", h, b.const(matrix.astype(np.float32)), to="y"), ["n", outputs])
    return b.model()


def node_of(model: Model, label: str) -> Node:
    return next(n for n in model.graph.nodes if n.label == label)


def coded(model: Model, *, data: bool = True, **options: Any) -> tuple[Model, dict[str, int]]:
    given: dict[str, Any] = {"smallest": 300, "codewords": 8, "block": "4"}
    after, outcome, _ = run(Codebook(**given | options), model, data=data)
    return after, dict(outcome.counts)


_MOVED = "groups of channels put in order"


@pytest.mark.parametrize("data", [True, False])
def test_blocks_that_were_equal_in_another_order_cost_nothing(data: bool) -> None:
    model = two_layers(planted()[0])
    found, counts = coded(model, data=data)
    as_it_is, others = coded(model, data=data, permute=False)
    assert counts == {"weights encoded": 1, _MOVED: 1}
    assert others == {"weights encoded": 1}
    assert error(model, found) < 1e-3 * error(model, as_it_is)
    for name in ("first", "y"):
        now, before = (weight_of(node_of(m, name)) for m in (found, model))
        assert now is not None
        assert before is not None
        assert now.shape == before.shape
        if name == "first":
            assert not np.array_equal(now, before)
            np.testing.assert_array_equal(np.sort(now, axis=1), np.sort(before, axis=1))
    np.testing.assert_array_equal(
        weight_of(node_of(as_it_is, "first")), weight_of(node_of(model, "first"))
    )


def test_the_model_in_order_computes_the_same() -> None:
    model = two_layers(planted()[0])
    onnx_api.infer_types(model)
    item = Codebook(smallest=0, codewords=8, block="4")
    plan = item.asked(item.propose(model, context(model)))
    orders = orders_of(plan)
    assert orders
    clone, twins, _ = clone_in_order(model, orders)
    assert [twins[id(n)].label for n in model.graph.nodes] == [n.label for n in clone.graph.nodes]
    a, b = (Session(m, level=Level.DISABLED).run(feeds(model)) for m in (model, clone))
    assert a.keys() == b.keys()
    for name, array in a.items():
        np.testing.assert_allclose(b[name], array, rtol=1e-4, atol=1e-4)


def test_an_order_in_which_words_cost_more_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, back = planted()
    model = two_layers(matrix[back])
    rng = np.random.default_rng(0)
    monkeypatch.setattr(reorders, "best_order", lambda _, size, __: rng.permutation(size))
    assert coded(model)[1] == {"weights encoded": 1}


def test_blocks_of_zeros_stay_where_they_are() -> None:
    matrix = planted()[0]
    matrix[4:8, 3] = 0
    model = two_layers(matrix)
    after, counts = coded(model)
    assert counts == {"weights encoded": 1}
    found = weight_of(node_of(after, "y"))
    assert found is not None
    assert not found[4:8, 3].any()


@pytest.mark.parametrize(
    "options", [{"scope": "model", "smallest": 0}, {"permute": False}, {"exclude": ("first",)}]
)
def test_orders_are_not_asked_for(options: dict[str, Any]) -> None:
    assert _MOVED not in coded(two_layers(planted()[0]), **options)[1]


def test_all_layers_that_read_the_same_channels_have_a_say() -> None:
    b = Builder()
    matrix, _ = planted()
    h = b.op("Gemm", b.input("x", ["n", 8]), b.weight(8, 32), b.weight(32), to="first")
    h = b.op("Relu", h)
    one = b.op("Gemm", h, b.const(matrix.astype(np.float32)), to="one")
    other = b.op("Gemm", h, b.const((2 * matrix[:, ::-1]).astype(np.float32)), to="other")
    b.output(b.op("Add", one, other, to="y"), ["n", 16])
    model = b.model()
    found, counts = coded(model)
    assert counts == {"weights encoded": 2, _MOVED: 1}
    assert error(model, found) < 1e-3 * error(model, coded(model, permute=False)[0])


def test_with_mean_bits_every_move_is_made_in_the_same_order() -> None:
    model = two_layers(planted()[0], 40)
    found, counts = coded(model, codewords=None, mean_bits=0.8, block="auto", smallest=0)
    assert counts[_MOVED] == 1
    assert error(model, found) < error(
        model,
        coded(model, codewords=None, mean_bits=0.8, block="auto", smallest=0, permute=False)[0],
    )
