"""What making a weight of words costs, told by some of its outputs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ocompress.lossy.layer_weights import Rules, collect, sites_of
from passes.sharing import word_costs
from passes.sharing.word_settings import Asked
from tests.build import Builder
from tests.passes.pruning.on_data import context

SETTINGS = [(4, 16), (2, 16), (4, 64)]
OUTPUTS = 4096


def costs(view: Any, ticks: list[int]) -> dict[tuple[int, int], float]:
    b = Builder()
    b.output(b.op("MatMul", b.input("x", (8, 64)), b.weight(64, OUTPUTS)))
    model = b.model()
    rules = Rules(("MatMul",), (), False, True, 0)
    (weight,) = collect(model, rules, context(model, data=False))
    sites = sites_of(weight.nodes, model)
    assert isinstance(sites, list)
    asked = Asked("auto", 16, searched=True, seed=0)
    found = word_costs.word_costs(weight, sites[0], view, SETTINGS, asked, lambda: ticks.append(1))
    return dict(found.errors)


def seen(pairs: bool) -> Any:
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((200, 64)) * rng.uniform(0.2, 2, 64)
    single = rng.uniform(0.1, 3, (1, OUTPUTS))
    loud = rng.uniform(0, 0.3, (1, OUTPUTS))  # errors add up from output to output
    curvature = (
        single[:, :, None] * np.eye(OUTPUTS) + loud[:, :, None] * loud[:, None] if pairs else single
    )
    return SimpleNamespace(
        hessian=(rows.T @ rows)[None] / 200, curvature=curvature, shift=lambda _: None
    )


@pytest.mark.parametrize("kind", ["alone", "singly", "pairs"])
def test_some_outputs_tell_what_all_would_cost(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    view = None if kind == "alone" else seen(kind == "pairs")
    ticks: list[int] = []
    some = costs(view, ticks)
    assert len(ticks) == len(SETTINGS)
    monkeypatch.setattr(word_costs, "_enough", lambda *_: slice(None))
    every = costs(view, ticks)
    for setting in SETTINGS:
        assert some[setting] == pytest.approx(every[setting], rel=0.1)
    assert some[SETTINGS[0]] == every[SETTINGS[0]]  # it is tried in the model, so as a whole
    assert all(some[s] != every[s] for s in SETTINGS[1:])
