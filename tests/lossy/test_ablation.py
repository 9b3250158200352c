"""By what predicted costs are multiplied, for what trying each change alone showed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ocompress.analysis.left_out import parts_of
from ocompress.ir import Model
from ocompress.lossy import ablation
from ocompress.lossy.ablation import Factors, Mask, Trial, costs_alone, tried
from tests.contract.harness import context
from tests.graphs import ZOO


def factors(
    monkeypatch: pytest.MonkeyPatch, costs: Mapping[str, tuple[float, float]], **left_out: bool
) -> tuple[Factors, dict[str, Any]]:
    """Return the factors for what was seen and what was predicted, and the data of each."""
    data: dict[str, Any] = {}

    def seen(
        _: Model, variants: Iterable[str], given: Any, *__: object, **___: object
    ) -> dict[str, Any]:
        data.update(dict.fromkeys(variants, given))
        return {n: SimpleNamespace(cost=costs[n][0]) for n in variants if costs[n][0] >= 0}

    monkeypatch.setattr(ablation, "sensitivity", seen)
    model = ZOO["mlp"]()
    trials = {
        name: Trial([], predicted, left_out=left_out.get(name, False))
        for name, (_, predicted) in costs.items()
    }
    return tried(model, trials, context(model)), data


def test_what_all_are_off_by_is_the_median(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = factors(monkeypatch, {"a": (2, 1), "b": (6, 2), "c": (36, 4), "gone": (-1, 1)})
    assert found.common == pytest.approx(3)
    assert found.of("a") == pytest.approx(2)
    assert found.of("c") == pytest.approx(9)
    assert found.of("gone") == found.common


@pytest.mark.parametrize(("seen", "factor"), [(1e6, ablation._MOST), (1e-6, 1 / ablation._MOST)])
def test_a_few_samples_are_no_proof(
    monkeypatch: pytest.MonkeyPatch, seen: float, factor: float
) -> None:
    found, _ = factors(monkeypatch, {"a": (1, 1), "b": (1, 1), "odd": (seen, 1)})
    assert found.of("odd") == pytest.approx(factor)


@pytest.mark.parametrize("seen", [0.0, math.inf])
def test_what_says_nothing_does_not_count(monkeypatch: pytest.MonkeyPatch, seen: float) -> None:
    found, _ = factors(monkeypatch, {"a": (5, 1), "odd": (seen, 1)})
    assert found.common == pytest.approx(5)
    assert found.each.keys() == {"a"}
    ruined = frozenset({"odd"} if seen else ())
    assert factors(monkeypatch, {"odd": (seen, 1)})[0] == Factors(ruined=ruined)


def test_what_was_fitted_to_some_samples_is_tried_on_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = ZOO["mlp"]()
    _, data = factors(monkeypatch, {"blind": (1, 1), "fitted": (1, 1)}, fitted=True)
    parts = parts_of(context(model).data)
    assert parts is not None
    assert (data["blind"].samples, data["fitted"].samples) == (12, parts[1].samples)
    assert parts[1].samples < 12


@pytest.mark.parametrize(("many", "measured"), [(3, 8), (9, 9), (40, 12)])
def test_of_a_large_model_what_looks_cheapest_is_tried_and_the_rest_scaled(
    monkeypatch: pytest.MonkeyPatch, many: int, measured: int
) -> None:
    names = [f"e{i}" for i in range(12)]
    asked: list[str] = []

    def seen(_: Model, variants: Iterable[str], *__: object, **___: object) -> dict[str, Any]:
        asked.extend(variants)
        return {n: SimpleNamespace(cost=3.0 * predicted[n] + (n == "e5")) for n in variants}

    monkeypatch.setattr(ablation, "sensitivity", seen)
    monkeypatch.setattr(ablation, "affordable", lambda *_, **__: many)
    model = ZOO["mlp"]()
    predicted = {n: float(12 - i) for i, n in enumerate(names)}
    edits: dict[str, Any] = dict.fromkeys(names, SimpleNamespace(apply=lambda _: True))
    found = costs_alone(model, edits, context(model), predicted)
    assert asked == names[12 - measured :]
    assert found.keys() == set(names)
    assert found["e5"] == 3 * predicted["e5"] + 1
    assert {n: found[n] for n in names if n != "e5"} == pytest.approx(
        {n: 3 * predicted[n] for n in names if n != "e5"}
    )
    asked.clear()
    monkeypatch.setattr(ablation, "_FEWEST_TRIALS", 12)
    costs_alone(model, edits, context(model))
    assert asked == names


def test_moves_of_a_large_model_of_which_nothing_is_predicted_are_tried_at_even_distances(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ablation, "affordable", lambda *_, **__: 3)
    monkeypatch.setattr(ablation, "_FEWEST_TRIALS", 2)
    costs = {f"e{i}": 2.0 + 6 * (i == 8) for i in range(9)}
    asked: list[str] = []

    def seen(_: Model, variants: Iterable[str], *__: object, **___: object) -> dict[str, Any]:
        asked.extend(variants)
        return {n: SimpleNamespace(cost=costs[n]) for n in asked}

    monkeypatch.setattr(ablation, "sensitivity", seen)
    model = ZOO["mlp"]()
    edits: dict[str, Any] = dict.fromkeys(costs, SimpleNamespace(apply=lambda _: True))
    found = costs_alone(model, edits, context(model))
    assert asked == ["e0", "e4", "e8"]
    assert found == pytest.approx({**costs, **{f"e{4 + i}": 2 * 4 ** (i / 4) for i in range(4)}})


def test_of_a_large_model_every_so_many_layers_are_tried_and_the_rest_lie_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ablation, "affordable", lambda *_, **__: 3)
    monkeypatch.setattr(ablation, "_FEWEST_TRIALS", 2)
    costs = {f"e{i}": (2.0 + 6 * (i == 8), 1.0) for i in range(9)}
    found, data = factors(monkeypatch, costs)
    assert list(data) == ["e0", "e4", "e8"]
    each = [found.of(f"e{i}") for i in (2, 6, 8)]
    assert each == pytest.approx([2, 4, 8])
    found, data = factors(monkeypatch, {**costs, "e4": (-1, 1)})  # it cannot be run
    assert [found.of(f"e{i}") for i in (4, 2)] == pytest.approx([4, 2 * 2**0.5])
    monkeypatch.setattr(ablation, "_FEWEST_TRIALS", 9)
    assert len(factors(monkeypatch, costs)[1]) == 9


def test_the_more_is_tried_the_fewer_samples_it_is_tried_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = ZOO["mlp"]()
    ctx = context(model)
    monkeypatch.setattr(ablation, "work_of", lambda *_: {0: 1e8, 1: 1e8})
    assert [ablation.samples_for(model, n, ctx) for n in (1, 10, 1000)] == [512, 150, 16]


def test_what_a_mask_keeps_is_what_a_node_still_reads() -> None:
    model = ZOO["mlp"]()
    node = next(n for n in model.graph.nodes if n.is_op("Gemm", "MatMul"))
    source = node.input(0)
    assert source is not None
    assert source.shape is not None
    keep = np.arange(source.shape[-1]) != 1  # type: ignore[arg-type]
    axis = len(source.shape) - 1
    assert ablation._variant(Trial([], 0.0, [Mask(node.label, 0, axis, keep)]))(model)
    masked = node.input(0)
    assert masked is not None
    assert masked.producer is not None
    factor = masked.producer.inputs[1]
    assert factor is not None
    assert factor.constant is not None
    assert factor.constant.reshape(-1).tolist() == keep.astype(float).tolist()
    assert masked.producer.inputs[0] is source
