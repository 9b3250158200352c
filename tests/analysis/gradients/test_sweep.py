"""Sweeping over data: shapes of feeds, order, randomness, memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ocompress.analysis.gradients import Currency, sweep_gradients
from ocompress.analysis.gradients import sweep as module
from ocompress.analysis.gradients.program import Program
from ocompress.ir import Model, fingerprint
from tests.build import Builder, InMemory, feeds
from tests.counting import counting
from tests.graphs import ZOO

Array = np.ndarray
Seen = list[tuple[str, Array, Array]]
RNG = np.random.default_rng(5)


def sweep(
    model: Model,
    names: list[str],
    batches: list[dict[str, Array]],
    *,
    seed: int = 0,
    draws: int = 1,
) -> tuple[Seen, dict[str, str]]:
    seen: Seen = []
    missing = sweep_gradients(
        model,
        names,
        InMemory(batches),
        lambda name, a, g: seen.append((name, a.copy(), g.copy())),
        lambda *_: None,
        seed=seed,
        draws=draws,
    )
    return seen, missing


def net() -> Model:
    b = Builder()
    x = b.input("x", ["n", 3, 8, 8])
    h = b.op("Conv", x, b.weight(4, 3, 3, 3), b.weight(4), to="conv", pads=[1] * 4)
    h = b.op("MaxPool", b.op("Relu", h, to="relu"), kernel_shape=[2, 2], strides=[2, 2])
    h = b.op("Reshape", h, b.const(np.array([0, -1], np.int64)), to="flat")
    b.op("Gemm", h, b.weight(5, 64), b.weight(5), to="y", transB=1)
    b.output("y", ["n", 5])
    return b.model()


def images(*sizes: int) -> list[dict[str, Array]]:
    return [{"x": RNG.standard_normal((n, 3, 8, 8)).astype(np.float32)} for n in sizes]


NAMES = ["x", "conv", "flat", "y"]


def test_every_feed_draw_and_name_is_seen_in_order_with_matching_shapes() -> None:
    data, told = images(4, 4, 3), []
    model = net()
    before = fingerprint(model)
    seen: Seen = []
    missing = sweep_gradients(
        model,
        NAMES,
        InMemory(data),
        lambda *a: seen.append(a),
        lambda *a: told.append(a),
        draws=2,
    )
    assert missing == {}
    assert [name for name, _, _ in seen] == NAMES * 6
    assert [len(g) for name, _, g in seen if name == "conv"] == [4, 4, 4, 4, 3, 3]
    for name, a, g in seen:
        assert a.shape == g.shape
        assert g.dtype == np.float32
        assert np.abs(g).max() > 0, name
    np.testing.assert_array_equal(seen[0][1], data[0]["x"])
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert fingerprint(model) == before


def test_a_row_belongs_to_its_sample() -> None:
    """The gradient of the last logits alone decides that of the values before, row by row."""
    [(_, _, first), (_, _, seeds)], _ = sweep(net(), ["flat", "y"], images(4))
    weight = next(v for v in net().graph.initializers.values() if v.shape == (5, 64)).data
    assert weight is not None
    np.testing.assert_allclose(first, seeds @ weight, rtol=1e-4, atol=1e-6)


def test_the_seed_decides() -> None:
    data = images(3, 2)
    first, again, other = (sweep(net(), NAMES, data, seed=s)[0] for s in (1, 1, 2))
    assert all((a[2] == b[2]).all() for a, b in zip(first, again, strict=True))
    assert any((a[2] != b[2]).any() for a, b in zip(first, other, strict=True))
    drawn = sweep(net(), ["y"], images(20), draws=2)[0]
    assert (drawn[0][2] != drawn[1][2]).any()


def spy_on_programs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the bytes held by each program that is built from now on."""
    made: list[int] = []

    class Spied(Program):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self.held_bytes)

    monkeypatch.setattr(module, "Program", Spied)
    return made


def test_large_feeds_are_cut_and_the_sessions_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    made = spy_on_programs(monkeypatch)
    data = images(6, 6)
    whole, _ = sweep(net(), ["conv"], data)
    assert len(made) == 2  # of one sample, which is only measured, and of six
    conv, y = 6 * 4 * 8 * 8 * 4, 6 * 5 * 4
    assert made[1] == 3 * conv + y  # its gradient beside it, what comes after Relu, the logits
    monkeypatch.setattr(module, "MOST_BYTES", made[1] // 2)
    parts, _ = sweep(net(), ["conv"], data)
    assert made[3] == made[1] // 2
    assert len(made) == 4
    assert [len(g) for _, _, g in parts] == [3] * 4
    joined = np.concatenate([a for _, a, _ in parts])
    np.testing.assert_allclose(joined, np.concatenate([a for _, a, _ in whole]), 1e-5, 1e-6)


def test_shapes_that_change_share_a_few_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    made = spy_on_programs(monkeypatch)
    sweep(net(), ["conv"], images(1, 2, 1, 2, 1))
    assert len(made) == 2


def test_only_the_way_back_is_loaded_for_every_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    for sizes in ((2, 3), (2, 3, 4)):
        with counting(monkeypatch) as counts:
            sweep(net(), ["conv"], images(*sizes))
        loaded.append(counts["sessions"])
    assert loaded[1] - loaded[0] == 1


FLOAT_NETS = [
    "mlp",
    "conv_bn_relu",
    "bn_spelled_out",
    "depthwise_residual",
    "concat_split_pool",
    "conv_transpose",
    "attention",
    "nhwc",
    "shared_weights",
    "float16",
    "double",
    "no_weights",
    "rank_zero",
    "overridable_default",
    "initializers_as_inputs",
    "old_opset",
    "new_opset",
]


@pytest.mark.parametrize("name", FLOAT_NETS)
def test_the_whole_zoo_of_float_nets_is_reached(name: str) -> None:
    model = ZOO[name]()
    inner = [v.name for n in model.graph.nodes for v in n.outputs if v is not None and v.use_count]
    inputs = [v.name for v in model.graph.inputs if v.data is None]
    seen, missing = sweep(model, [*inputs, *inner], [feeds(model)])
    constants = {n for n, why in missing.items() if why.endswith("does not depend on what is fed.")}
    assert set(missing) == constants
    assert {n for n, _, _ in seen} == {*inputs, *inner} - constants
    assert all(np.isfinite(g).all() for _, _, g in seen)


def test_a_currency_may_be_chosen() -> None:
    seen: Seen = []
    sweep_gradients(
        net(),
        ["y"],
        InMemory(images(2)),
        lambda *a: seen.append(a),
        lambda *_: None,
        currencies={"y": Currency.SQUARES},
    )
    assert np.abs(seen[0][2].sum(axis=1)).min() > 1e-3  # seeds of logits sum to zero


def kept_rows() -> Model:
    """As many rows of boxes and scores as there are scores above 0."""
    b = Builder()
    x = b.input("x", ["n", 6])
    score = b.op("MatMul", x, b.weight(6, 1), to="score")
    box = b.op("MatMul", x, b.weight(6, 4), to="box")
    kept = b.op("Greater", score, b.const(np.float32(0)))
    rows = b.op("Gather", b.op("NonZero", kept), b.const(np.int64(0)), axis=0)
    b.op("Gather", box, rows, to="boxes")
    b.op("Gather", score, rows, to="scores")
    b.output("boxes", ["k", 4])
    b.output("scores", ["k", 1])
    return b.model()


def test_lengths_that_the_data_decide_may_differ_between_feeds_of_one_shape() -> None:
    rng = np.random.default_rng(8)
    data = [{"x": rng.standard_normal((5, 6)).astype(np.float32)} for _ in range(6)]
    model = kept_rows()
    seen, missing = sweep(model, ["box", "score"], data)
    assert missing == {}
    at = iter(seen)
    counts = set()
    for _ in data:
        _, _, box = next(at)
        _, score, other = next(at)
        kept = score[:, 0] > 0
        counts.add(int(kept.sum()))
        np.testing.assert_array_equal(box.any(axis=1), kept)
        np.testing.assert_array_equal(other.any(axis=1), kept)
    assert len(counts) > 1
