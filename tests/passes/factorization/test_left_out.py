"""Few samples: what chains seem to cost on them, and what they cost on others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ocompress.analysis import AnalysisManager
from ocompress.ir import Model, onnx_api
from ocompress.planning import Move, MoveTable
from ocompress.runtime import Session
from passes.factorization.alternate import Effort
from passes.factorization.catalogue import FORMS
from passes.factorization.choices import Chains
from passes.factorization.factorize import Factorize
from passes.factorization.forms import ChainForm, Starts
from passes.factorization.layers import LayerGroup, survey
from passes.factorization.left_out import LeftOut, error_of
from passes.factorization.problem import Problem, pose
from tests.build import Builder, InMemory
from tests.passes.pruning.on_data import context

MIX = np.linalg.qr(np.random.default_rng(7).standard_normal((96, 96)))[0]
MIX *= np.where(np.arange(96) < 4, 3, 0.3)[:, None]
"""A few directions in which inputs vary much, and many in which they vary less."""


def net() -> Model:
    rng = np.random.default_rng(0)
    b = Builder()
    left, right = (np.linalg.qr(rng.standard_normal((96, 80)))[0] for _ in range(2))
    first = (left * np.geomspace(4, 0.1, 80) @ right[:80].T).astype(np.float32)
    last = (rng.standard_normal((80, 10)) / 4).astype(np.float32)
    h = b.op("Relu", b.op("Gemm", b.input("x", ["n", 96]), b.const(first), b.weight(80)))
    b.output(b.op("Gemm", h, b.const(last), b.weight(10), to="y"), ["n", 10])
    return b.model()


def draw(samples: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((samples, 96)) @ MIX
    found: np.ndarray = rows.astype(np.float32)
    return found


def layers(model: Model, samples: int) -> list[LayerGroup]:
    data = InMemory([{"x": draw(samples, 1)}])
    ctx = replace(context(model), analyses=AnalysisManager(data))
    return list(survey(model, Factorize()._weights(model, ctx), ctx))


def form(method: str) -> ChainForm:
    return next(f for f in FORMS if f.method == method)


def test_few_samples_pose_their_parts_and_enough_do_not() -> None:
    few, many = layers(net(), 24), layers(net(), 6000)
    assert [len(layer.parts) for layer in few] == [1, 1]
    assert [layer.judges for layer in few] == [8, 8]
    assert not any(layer.parts for layer in many)
    fit, judge = few[0].parts[0]
    assert np.linalg.matrix_rank(judge.whole() - 1e-4 * np.eye(96)) >= 8 > 0
    assert not np.allclose(
        fit.curvature / np.trace(fit.curvature), judge.curvature / np.trace(judge.curvature)
    )


def test_what_a_chain_costs_is_what_samples_say_that_it_was_not_fitted_to() -> None:
    weight = np.random.default_rng(4).standard_normal((8, 6))
    near, far = (pose(weight, np.diag(np.arange(8) // 4 == part).astype(float)) for part in (0, 1))
    layer = replace(layers(net(), 6)[0], problems=[near])
    channel, effort = form("channel"), Effort(0, 0)
    power = near.power()
    seen = error_of(channel, [near], [channel.start(near)((4,))], [near])
    assert seen < 1e-3 * power
    apart = LeftOut(replace(layer, parts=[(near, far)]), effort).error(channel, (4,), seen)
    assert 0.1 * power < apart < power
    alike = LeftOut(replace(layer, parts=[(near, near)]), effort).error(channel, (4,), 0.0)
    assert alike == pytest.approx(seen)
    assert LeftOut(replace(layer, parts=[]), effort).error(channel, (4,), seen) == seen


def test_what_factors_start_from_is_found_once_for_all_ranks() -> None:
    weight = np.random.default_rng(4).standard_normal((8, 6))
    posed, found = pose(weight, np.eye(8)), list[int]()
    layer = replace(layers(net(), 6)[0], problems=[posed], parts=[(posed, posed)])
    plain = form("channel")

    def start(problem: Problem) -> Starts:
        found.append(1)
        return plain.start(problem)

    left_out = LeftOut(layer, Effort(0, 0))
    lost = [left_out.error(replace(plain, start=start), (rank,), 0.0) for rank in (1, 3, 5)]
    assert lost == sorted(lost, reverse=True)
    assert len(found) == 1


def test_ruinous_forms_are_out_of_the_running() -> None:
    table = MoveTable()
    for method, error in (("keep", 0.0), ("channel", 0.9), ("channel", 1.1)):
        table.add(Move("fc", method, "", error, 8, 8.0))
    choices = Chains({"fc": ["fc"]}, table, "macs", 0.0, {})
    choices.drop_ruinous()
    assert table.open("fc") == [0, 1]
    table.drop("fc", 1, "another reason")
    assert choices.why_kept("fc").code == "too-lossy"


@pytest.mark.parametrize("samples", [16, 32, 64])
@pytest.mark.parametrize("options", [{"max_macs": 0.4}, {"rank": 24}])
def test_with_few_data_chains_are_never_clearly_worse_than_without(
    samples: int, options: dict[str, float]
) -> None:
    model = net()
    fresh = {"x": draw(2000, 2)}
    wanted = Session(model).run(fresh)["y"]
    lost = []
    for data in (InMemory([{"x": draw(samples, 1)}]), None):
        after = model.clone()
        onnx_api.infer_types(after)
        ctx = replace(context(model), analyses=AnalysisManager(data))
        outcome = ctx.run_one(Factorize(**options), after)  # type: ignore[arg-type]
        assert outcome.changed
        lost.append(float(np.square(Session(after).run(fresh)["y"] - wanted).mean()))
    assert lost[0] < 1.1 * lost[1]
