"""Errors of outputs, part by part."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ocompress.analysis.gradients.seeds import Joined, Seeding, seeding_of
from ocompress.analysis.output_errors import OutputErrors, divergences, output_parts
from ocompress.ir import Model
from ocompress.ir.onnx_api import infer_types
from ocompress.runtime import Session
from tests.build import Builder, feeds

RNG = np.random.default_rng(3)


def detector(end: str) -> Model:
    """Boxes in pixels beside scores, then what exporters put behind the Concat."""
    b = Builder()
    x = b.input("x", [1, 6, 40])
    boxes = b.op(
        "Mul", b.op("Sigmoid", b.op("Conv", x, b.weight(4, 6, 1))), b.const(np.float32(640))
    )
    scores = b.op(
        "Sigmoid", b.op("Conv", x, b.weight(5, 6, 1), b.const(np.full(5, -3, np.float32)))
    )
    h = b.op("Concat", boxes, scores, axis=1)
    if end == "transposed":
        h = b.op("Transpose", h, perm=[0, 2, 1])
    elif end == "sliced":
        h = b.op("Slice", h, b.const([0]), b.const([30]), b.const([2]))
    elif end == "scaled":
        h = b.op("Mul", b.op("Div", h, b.const(np.float32(640))), b.const(np.float32(640)))
    b.output(h)
    return b.model()


def made(model: Model) -> dict[str, np.ndarray]:
    infer_types(model)
    return Session(model).run(feeds(model))


def errors(model: Model, factor: float, channels: slice) -> OutputErrors:
    """Return the errors of an output of which some channels are multiplied."""
    outputs = made(model)
    (name,) = outputs
    found = OutputErrors(output_parts(model, outputs))
    changed = outputs[name].copy()
    axis = 1 if changed.shape[1] == 9 else 2
    np.moveaxis(changed, axis, 0)[channels] *= np.float32(factor)
    found.update(outputs, {name: changed})
    return found


@pytest.mark.parametrize("end", ["concat", "transposed", "sliced", "scaled"])
def test_lost_scores_show_beside_boxes_in_pixels(end: str) -> None:
    model = detector(end)
    (output,) = made(model).values()
    scores = np.moveaxis(output, 1 if output.shape[1] == 9 else 2, -1)[..., 4:].reshape(-1, 5)
    lost = errors(model, 0.0, slice(4, 9)).result()
    assert lost.sqnr_db == pytest.approx(0, abs=1e-6)
    assert lost.cost == pytest.approx(np.square(scores).mean() / scores.var(0, ddof=1).mean())
    assert lost.kl is None
    off = errors(detector(end), 1.1, slice(0, 4)).result()
    assert off.sqnr_db == pytest.approx(20, abs=0.01)


def test_outputs_of_their_own_add_up() -> None:
    y = RNG.standard_normal((4, 8))
    y = (y - y.mean(0)) / y.std(0)
    outputs = {"y": y, "z": 1e4 * y}
    b = Builder()
    for name in outputs:
        b.op("Tanh", b.input(f"x_{name}", [4, 8]), to=name)
        b.output(name)
    model = b.model()
    infer_types(model)
    found = OutputErrors(output_parts(model, outputs))
    found.update(outputs, {name: array * 1.1 for name, array in outputs.items()})
    assert found.result().cost == pytest.approx(2 * 0.01 * 3 / 4)
    assert found.result().sqnr_db == pytest.approx(20)


def test_what_is_infinite_in_the_original_does_not_count() -> None:
    found = OutputErrors({"y": output_parts(*masked())["y"]})
    _, outputs = masked()
    changed = {"y": np.where(np.isfinite(outputs["y"]), outputs["y"] * 1.1, outputs["y"])}
    found.update(outputs, changed)
    assert found.result().sqnr_db == pytest.approx(20)
    assert math.isfinite(found.result().kl or 0)
    found.update(outputs, {"y": np.full_like(outputs["y"], np.nan)})
    assert found.result().sqnr_db == -math.inf


def masked() -> tuple[Model, dict[str, np.ndarray]]:
    """Logits some of which are masked out."""
    b = Builder()
    h = b.op("MatMul", b.input("x", [4, 8]), b.weight(8, 6))
    b.op("Add", h, b.const(np.array([0, 0, 0, 0, -np.inf, -np.inf], np.float32)), to="y")
    b.output("y")
    model = b.model()
    return model, made(model)


def test_an_output_that_is_always_zero_says_nothing_beside_others() -> None:
    outputs = {"y": np.zeros((4, 8)), "z": RNG.standard_normal((4, 8))}
    b = Builder()
    for name in outputs:
        b.op("Tanh", b.input(f"x_{name}", [4, 8]), to=name)
        b.output(name)
    model = b.model()
    infer_types(model)
    found = OutputErrors(output_parts(model, outputs))
    found.update(outputs, {"y": outputs["y"] + 1e-6, "z": outputs["z"] * 1.1})
    assert found.result().sqnr_db == pytest.approx(20)


def test_classes_that_cannot_be_leave_the_divergence_finite() -> None:
    scores = np.array([[1.0, 2.0, -np.inf]])
    assert divergences(scores, scores)[0] == 0
    assert math.isfinite(divergences(scores, np.array([[1.0, 2.0, 3.0]]))[0])


@pytest.mark.parametrize("factors", [[1e4, 1e4, 1e-3], [1e4, 1e-3, 1e4]])
def test_regressions_of_very_different_size_are_no_logits(factors: list[float]) -> None:
    b = Builder()
    h = b.op("MatMul", b.input("x", [32, 8]), b.weight(8, 3))
    b.op("Mul", h, b.const(np.array(factors, np.float32)), to="y")
    b.output("y")
    model = b.model()
    outputs = made(model)
    found = seeding_of(model.graph.outputs[0], outputs["y"], model)
    assert isinstance(found, Joined)
    assert len(found.channels) == 2
    seeds = found.draw(outputs["y"], 32, np.random.default_rng(0))
    relative = (seeds * outputs["y"]).std(axis=0)  # each part weighs alike, so no channel is lost
    assert relative.max() / relative.min() < 10
    assert seeds.shape == outputs["y"].shape


def test_a_few_samples_do_not_part_an_output() -> None:
    b = Builder()
    b.op("Tanh", b.input("x", [1, 4]), to="y")
    b.output("y")
    model = b.model()
    infer_types(model)
    few = np.array([[100.0, 3.0, 0.1, 50.0]])
    assert isinstance(seeding_of(model.graph.outputs[0], few, model), Seeding)


def test_variants_are_compared_each_by_itself() -> None:
    model = detector("concat")
    outputs = made(model)
    (name,) = outputs
    together = OutputErrors(output_parts(model, outputs))
    for factor in (1.1, 1.0, 0.5):
        together.update(outputs, {name: outputs[name] * np.float32(factor)}, str(factor))
    for factor in (1.1, 1.0, 0.5):
        alone = OutputErrors(output_parts(model, outputs))
        alone.update(outputs, {name: outputs[name] * np.float32(factor)})
        assert together.result(str(factor)) == alone.result()
    assert together.result("1.1") != together.result("0.5")


def test_every_feed_of_the_original_counts_once_however_many_variants() -> None:
    scores = [RNG.standard_normal((4, 8)) * size for size in (1, 3)]
    b = Builder()
    b.output(b.op("Relu", b.input("x", [4, 8]), to="y"), [4, 8])
    one, two = (OutputErrors(output_parts(b.model(), {"y": scores[0]})) for _ in range(2))
    for array in scores:
        one.update({"y": array}, {"y": array + 0.1})
        for variant in ("", "other"):
            two.update({"y": array}, {"y": array + 0.1}, variant)
    assert one.result() == two.result() == two.result("other")


def test_an_offset_that_all_samples_share_hides_no_error() -> None:
    x = RNG.standard_normal((200, 3)).astype(np.float32)
    model = _numbers()
    seen = {}
    for offset in (0, 1000):
        original = {"y": (6 * x + np.float32(offset)).astype(np.float32)}
        found = OutputErrors(output_parts(model, original))
        found.update(original, {"y": original["y"] + 3 * np.sign(x)})
        seen[offset] = found.result()
    assert seen[1000].cost == pytest.approx(seen[0].cost, rel=0.02)
    assert seen[1000].cost == pytest.approx(9 / 36, rel=0.2)
    assert seen[1000].sqnr_db > seen[0].sqnr_db + 30


def _numbers() -> Model:
    b = Builder()
    b.op("Tanh", b.input("x", ["n", 3]), to="y")
    b.output("y", ["n", 3])
    model = b.model()
    infer_types(model)
    return model


def test_outputs_without_elements_cost_nothing() -> None:
    b = Builder()
    for name in ("y", "z"):
        b.op("Tanh", b.input(f"x_{name}", ["n", 3]), to=name)
        b.output(name)
    model = b.model()
    infer_types(model)
    original = {"y": RNG.standard_normal((9, 3)), "z": np.zeros((9, 0))}
    found = OutputErrors(output_parts(model, original))
    found.update(original, {"y": original["y"] * 1.1, "z": np.zeros((9, 0))})
    assert found.result().cost == pytest.approx(0.01, rel=0.5)
