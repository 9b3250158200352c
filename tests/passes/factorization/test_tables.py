"""Tables of embeddings that become thinner."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.ir import Model
from ocompress.runtime import Session
from passes.factorization.factorize import Factorize
from tests.build import Builder
from tests.passes.factorization.replaced import run


def net(rank: int, noise: float = 0.0) -> Model:
    b = Builder(2)
    ids = b.input("ids", ["n", 5], T.INT64)
    rows = b.rng.standard_normal((50, rank)) @ b.rng.standard_normal((rank, 16))
    rows += noise * b.rng.standard_normal((50, 16))
    h = b.op("Gather", b.const(rows.astype(np.float32), "table"), ids, to="embed")
    b.output(b.op("Relu", h, to="y"), ["n", 5, 16])
    return b.model()


def feeds(seed: int, most: int = 50) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{"ids": rng.integers(0, most, (8, 5))} for _ in range(4)]


def off(model: Model, after: Model, most: int = 50) -> float:
    lost = power = 0.0
    for feed in feeds(9, most):
        a, b = (Session(m).run(feed)["y"] for m in (model, after))
        lost, power = lost + float(np.square(a - b).sum()), power + float(np.square(a).sum())
    return lost / power


def test_a_table_of_low_rank_is_exact_and_smaller() -> None:
    model = net(4)
    after, outcome, _ = run(Factorize(tables=True, rank=4), model, data=feeds(0))
    assert outcome.counts["tables replaced"] == 1
    assert off(model, after) < 1e-9
    assert after.weight_bytes == 4 * (50 * 4 + 4 * 16)
    assert {n.label: n.op_type for n in after.graph.nodes}["embed"] == "MatMul"


def test_rows_that_data_pick_count_more() -> None:
    model = net(16)
    item = Factorize(tables=True, max_weights=0.5)
    known, blind = run(item, model, data=feeds(0, 6))[0], run(item, model)[0]
    assert off(model, known, 6) < 0.5 * off(model, blind, 6)
    assert known.weight_bytes <= 0.5 * model.weight_bytes


def test_energy_and_no_rule() -> None:
    model = net(3, 1e-3)
    _, outcome, _ = run(Factorize(tables=True, energy=0.99), model)
    assert outcome.details["tables"][0]["rank"] <= 3
    assert outcome.details["tables"][0]["power_kept"] >= 0.99
    after, outcome, ctx = run(Factorize(tables=True), model)
    assert not outcome
    assert ctx.diagnostics.declined()["no-form"] == 1
    assert after.weight_bytes == model.weight_bytes
    assert not run(Factorize(energy=0.99), model)[1]


def test_tables_that_patterns_leave_out_stay() -> None:
    model = net(4)
    item = Factorize(tables=True, rank=4, exclude=("embed",))
    after, outcome, ctx = run(item, model, data=feeds(0))
    assert not outcome
    assert ctx.diagnostics.declined()["excluded"] == 1
    assert after.weight_bytes == model.weight_bytes


def test_data_free_tables_do_not_look_at_data() -> None:
    model = net(16)
    item = Factorize(tables=True, max_weights=0.5, data_free=True)
    known, blind = run(item, model, data=feeds(0, 6))[0], run(item, model)[0]
    assert off(model, known, 6) == off(model, blind, 6)


@pytest.mark.parametrize("reader", ["MatMul", "Identity", "Gather"])
def test_a_table_that_is_read_in_another_way_stays(reader: str) -> None:
    b = Builder(2)
    ids = b.input("ids", ["n", 5], T.INT64)
    table = b.const(b.rng.standard_normal((50, 16)).astype(np.float32), "table")
    h = b.op("Gather", table, ids, to="embed")
    b.output(b.op("Relu", h, to="y"), ["n", 5, 16])
    if reader == "MatMul":  # the head of a language model that ties its embeddings
        b.op("MatMul", h, b.op("Transpose", table, perm=[1, 0]), to="z")
        b.output("z", ["n", 5, 50])
    elif reader == "Gather":
        b.op("Gather", table, b.const(np.array([3, 1])), axis=1, to="z")
        b.output("z", [50, 2])
    else:
        b.op("Identity", table, to="z")
        b.output("z", [50, 16])
    after, outcome, ctx = run(Factorize(tables=True, rank=4), b.model())
    assert "tables replaced" not in outcome.counts
    assert after.weight_bytes >= 4 * 50 * 16
    assert {n.label: n.op_type for n in after.graph.nodes}["embed"] == "Gather"
    assert ctx.diagnostics.declined("factorize")["shared-weight"] >= 1


def test_a_table_that_several_gathers_share_is_replaced_for_all() -> None:
    b = Builder(2)
    rows = b.rng.standard_normal((50, 4)) @ b.rng.standard_normal((4, 16))
    table = b.const(rows.astype(np.float32), "table")
    for name in "yz":
        h = b.op("Gather", table, b.input(f"ids_{name}", ["n", 5], T.INT64))
        b.output(b.op("Relu", h, to=name), ["n", 5, 16])
    after, outcome, _ = run(Factorize(tables=True, rank=4), b.model())
    assert outcome.counts["tables replaced"] == 1
    assert after.weight_bytes == 4 * (50 * 4 + 4 * 16)
