"""Seeds: which currency an output gets, and what the draws amount to on the average."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ocompress.analysis.gradients import Currency, sweep_gradients
from ocompress.analysis.gradients.seeds import Joined, Seeding, choose, seeding_of
from ocompress.ir import Model
from ocompress.ir.onnx_api import infer_types
from ocompress.runtime import Session
from tests.build import Builder, InMemory, feeds

F = np.float32


def softmax(z: Any) -> Any:
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def classifier(last: str = "") -> Model:
    b = Builder()
    x = b.input("x", ["n", 6])
    h = b.op("Tanh", b.op("Gemm", x, b.weight(5, 6, scale=1), transB=1), to="h")
    z = b.op("Gemm", h, b.weight(4, 5, scale=1), b.weight(4, scale=1), to="z", transB=1)
    if last:
        b.op(last, z, to="y", axis=-1)
    b.output("y" if last else "z", ["n", 4])
    return b.model()


@pytest.mark.parametrize("last", ["", "Softmax", "LogSoftmax"])
def test_mean_squares_are_the_diagonal_of_the_fisher_information(last: str) -> None:
    """At the logits the matrix is diag(p) - p p'; W' (..) W before them, exactly."""
    model = classifier(last)
    rows, draws = np.random.default_rng(1).standard_normal((3, 6)).astype(F), 5000
    x = rows.repeat(draws, axis=0)
    values = {v.name: v for n in model.graph.nodes for v in n.outputs if v is not None}
    extra = [] if values["z"].is_output else [values["z"]]
    z = Session(model, extra_outputs=extra).run({"x": rows}, ["z"])["z"].astype(np.float64)
    weight = next(v.data for v in model.graph.initializers.values() if v.shape == (4, 5))
    assert weight is not None
    seen: list[Any] = []
    data = InMemory([{"x": x}])
    assert not sweep_gradients(model, ["h"], data, lambda *a: seen.append(a[2]), lambda *_: None)
    squares = np.square(seen[0].astype(np.float64)).reshape(3, draws, 5).mean(axis=1)
    p = softmax(z)
    for row in range(3):
        information = np.diag(p[row]) - np.outer(p[row], p[row])
        exact = np.diag(weight.T @ information @ weight)
        np.testing.assert_allclose(squares[row], exact, rtol=0.15)


def test_the_score_of_a_small_change_is_the_divergence_that_it_makes() -> None:
    rng = np.random.default_rng(2)
    z = rng.standard_normal((1, 6))
    change = 0.05 * rng.standard_normal((1, 6))
    p, q = softmax(z), softmax(z + change)
    divergence = float((p * np.log(p / q)).sum())
    seeding = Seeding(Currency.LOGITS)
    scores = [float((seeding.draw(z, 1, rng) * change).sum()) ** 2 / 2 for _ in range(3000)]
    np.testing.assert_allclose(np.mean(scores), divergence, rtol=0.1)


def test_bernoulli_draws() -> None:
    rng = np.random.default_rng(3)
    p = np.full((1, 1, 40, 50), 0.2)
    seeds = Seeding(Currency.BERNOULLI).draw(p, 1, rng)
    np.testing.assert_allclose(np.mean(seeds.astype(np.float64) ** 2), 1 / (0.2 * 0.8), rtol=0.1)
    assert set(np.unique(seeds)) == {F(-2.5), F(2.5)}
    assert np.isfinite(Seeding(Currency.BERNOULLI).draw(np.array([0.0, 1.0]), 1, rng)).all()


def test_square_draws_stand_for_the_relative_squared_error() -> None:
    rng = np.random.default_rng(4)
    y = 7 * rng.standard_normal((4, 1000))
    change = rng.standard_normal((4, 1000))
    seeding = Seeding(Currency.SQUARES)
    scores = [np.square((seeding.draw(y, 4, rng) * change).sum(axis=1)) for _ in range(2000)]
    expected = np.square(change).sum(axis=1) / (1000 * np.mean(y**2))
    np.testing.assert_allclose(np.mean(scores, axis=0), expected, rtol=0.2)


def test_seeds_of_probabilities_lead_to_those_of_their_scores() -> None:
    rng = np.random.default_rng(5)
    p = softmax(rng.standard_normal((2, 5, 3))).transpose(0, 2, 1)
    p[0, :, 0] = [0, 1, 0]  # a class that never comes has no gradient
    scores = [Seeding(Currency.PROBABILITIES, axis=1).draw(p, 2, rng) for _ in range(2000)]
    seeds = np.array(scores, np.float64)
    assert np.isfinite(seeds).all()
    at_scores = p * (seeds - (p * seeds).sum(axis=2, keepdims=True))
    found = np.einsum("nbcq,nbdq->bqcd", at_scores, at_scores) / len(seeds)
    exact = p.transpose(0, 2, 1)[..., None] * (np.eye(3) - p.transpose(0, 2, 1)[:, :, None])
    np.testing.assert_allclose(found, exact, atol=0.02)


def test_one_draw_of_a_sure_model_tells_as_much_as_any_other() -> None:
    rng = np.random.default_rng(6)
    z = np.array([[9.0, 0.0, 0.0]])
    squares = [np.square(Seeding(Currency.LOGITS).draw(z, 1, rng)).sum() for _ in range(50)]
    assert max(squares) < 3 * np.mean(squares)


def _ending(shape: list[int], *ops: tuple[str, dict[str, Any]], linear: str = "") -> Model:
    b = Builder()
    x = b.input("x", shape)
    if linear == "Conv":
        x = b.op("Conv", x, b.weight(8, shape[1], 1, 1))
    elif linear:
        x = b.op("MatMul", x, b.weight(shape[-1], 8))
    for op, attrs in ops:
        x = b.op(op, x, *(b.const(v) for v in attrs.get("with", ())), **_plain(attrs))
    b.op("Identity", x, to="y")
    b.output("y")
    return b.model()


def _plain(attrs: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in attrs.items() if k != "with"}


ENDINGS: list[tuple[list[int], str, tuple[tuple[str, dict[str, Any]], ...], Currency]] = [
    ([2, 6], "MatMul", (), Currency.LOGITS),
    ([2, 6], "MatMul", (("Add", {"with": [np.ones(8, F)]}),), Currency.LOGITS),
    ([2, 5, 6], "MatMul", (), Currency.LOGITS),
    ([2, 6], "MatMul", (("Tanh", {}),), Currency.SQUARES),
    ([2, 6], "MatMul", (("LpNormalization", {"axis": -1}),), Currency.SQUARES),
    ([2, 5, 6], "MatMul", (("Softmax", {"axis": -1}),), Currency.PROBABILITIES),
    ([2, 5, 6], "MatMul", (("Softmax", {"axis": 1}),), Currency.PROBABILITIES),
    ([2, 5, 6], "MatMul", (("LogSoftmax", {"axis": -1}),), Currency.LOGITS),
    ([2, 6], "MatMul", (("Sigmoid", {}),), Currency.BERNOULLI),
    ([1, 3, 4, 4], "Conv", (), Currency.LOGITS),
    ([1, 3, 4, 4], "Conv", (("Sigmoid", {}),), Currency.BERNOULLI),
    ([1, 8, 4, 4], "Conv", (("DepthToSpace", {"blocksize": 2}),), Currency.SQUARES),
    ([1, 3, 4, 4], "Conv", (("Relu", {}), ("GlobalAveragePool", {})), Currency.LOGITS),
]


@pytest.mark.parametrize(("shape", "linear", "ops", "expected"), ENDINGS)
def test_how_an_output_is_counted(
    shape: list[int],
    linear: str,
    ops: tuple[tuple[str, dict[str, Any]], ...],
    expected: Currency,
) -> None:
    model = _ending(shape, *ops, linear=linear)
    infer_types(model)
    made = Session(model).run(feeds(model))["y"]
    found = seeding_of(model.graph.outputs[0], made, model)
    assert isinstance(found, Seeding)
    assert found.currency is expected


def test_boxes_leave_something_to_the_scores_beside_them() -> None:
    b = Builder()
    x = b.input("x", ["n", 6, 10])
    boxes = b.op("Exp", b.op("Conv", x, b.weight(4, 6, 1)), to="boxes")
    scores = b.op("Sigmoid", b.op("Conv", x, b.weight(3, 6, 1)), to="scores")
    b.op("Concat", boxes, scores, to="y", axis=1)
    b.output("y")
    model = b.model()
    infer_types(model)
    made = Session(model).run(feeds(model))["y"]
    found = seeding_of(model.graph.outputs[0], made, model)
    assert isinstance(found, Joined)
    rng = np.random.default_rng
    drawn = found.draw(made, 3, rng(1))
    generator = rng(1)
    alone = Seeding(Currency.SQUARES).draw(made[:, :4], 3, generator)
    np.testing.assert_array_equal(drawn[:, :4], alone)
    alone = Seeding(Currency.BERNOULLI).draw(made[:, 4:], 3, generator)
    np.testing.assert_array_equal(drawn[:, 4:], alone)


def test_parts_are_told_apart_in_files_that_record_no_shapes() -> None:
    b = Builder()
    x = b.input("x", ["n", 6, 10])
    flat = b.const(np.array([0, -1], np.int64))
    boxes = b.op("Reshape", b.op("Exp", b.op("Conv", x, b.weight(4, 6, 1))), flat)
    scores = b.op("Reshape", b.op("Sigmoid", b.op("Conv", x, b.weight(9, 6, 1))), flat)
    b.op("Concat", boxes, scores, to="y", axis=1)
    b.output("y")
    model = b.model()
    piece = model.graph.nodes[-1].inputs[0]
    assert piece is not None
    assert piece.shape is None
    found = choose(model, Session(model).run(feeds(model)), {})["y"]
    assert isinstance(found, Joined)
    assert [len(there) for there in found.channels] == [40, 90]
    assert piece.shape is None  # the model itself is not changed


def test_parts_of_one_kind_are_counted_together() -> None:
    b = Builder()
    x = b.input("x", ["n", 6])
    b.op(
        "Concat",
        b.op("MatMul", x, b.weight(6, 4)),
        b.op("MatMul", x, b.weight(6, 3)),
        to="y",
        axis=-1,
    )
    b.output("y")
    model = b.model()
    infer_types(model)
    made = Session(model).run(feeds(model))["y"]
    assert isinstance(seeding_of(model.graph.outputs[0], made, model), Seeding)


def test_a_softmax_that_is_spelled_out_is_known_by_its_values() -> None:
    b = Builder()
    x = b.input("x", [2, 5])
    powers = b.op("Exp", x)
    total = b.op("ReduceSum", powers, b.const(np.array([1], np.int64)))
    b.op("Div", powers, total, to="y")
    b.output("y")
    model = b.model()
    infer_types(model)
    made = Session(model).run(feeds(model))["y"]
    found = seeding_of(model.graph.outputs[0], made, model)
    assert found == Seeding(Currency.PROBABILITIES, -1)


@pytest.mark.parametrize(("classes", "currency"), [(False, "squares"), (True, "logits")])
def test_two_numbers_are_no_classes_unless_they_move_as_logits_do(
    classes: bool, currency: str
) -> None:
    b = Builder()
    weight = np.random.default_rng(7).standard_normal((6, 2)).astype(F)
    weight[:, 1] = -weight[:, 0] if classes else weight[:, 1]
    x = b.input("x", ["n", 6])
    b.op("MatMul", x, b.const(weight), to="y")
    b.output("y", ["n", 2])
    b.op("Softmax", b.op("MatMul", x, b.weight(6, 5)), to="z")
    b.output("z", ["n", 5])
    model = b.model()
    infer_types(model)
    feed = {"x": np.random.default_rng(8).standard_normal((32, 6)).astype(F)}
    made = Session(model).run(feed)["y"]
    found = seeding_of(model.graph.outputs[0], made, model)
    assert isinstance(found, Seeding)
    assert found.currency == currency
