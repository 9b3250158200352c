"""Passes with goals say how far they came, and what kept them from going further."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from ocompress.ir import Model
from ocompress.pipeline import Pass, Verdict
from ocompress.pipeline.goals import CODE, Gauge
from passes.factorization.factorize import Factorize
from passes.pruning.prune import Prune
from passes.pruning.prune_channels import PruneChannels
from passes.pruning.prune_layers import PruneLayers
from passes.sharing.binarize import Binarize
from passes.sharing.cluster import Cluster
from passes.sharing.codebook import Codebook
from passes.sharing.entropy import Entropy
from passes.sharing.offers import Prices
from tests.passes.factorization import replaced
from tests.passes.pruning.on_data import Fake, run

Told = tuple[Mapping[str, Any], list[str]]


def told(item: Pass, model: Model, *, data: bool = False, guards: Any = ()) -> Told:
    """Run a pass; return the row of its goal and the warnings about goals."""
    _, outcome, ctx = run(item, model, data=data, guards=guards)
    (row,) = outcome.details["goals"]
    return row, [r.message for r in ctx.diagnostics if r.code == CODE]


def slow(*_: Model) -> Verdict:
    return Verdict(True, "latency", "", {"ratio": 1.0})


OUT_OF_REACH = {
    "max_macs": Factorize(max_macs=0.8, layers=("wide",), data_free=True),
    "max_weights": Factorize(max_weights=0.01, data_free=True),
    "ratio": PruneChannels(ratio=1.0),
    "sparsity": Prune(sparsity=0.9, smallest=5000),
    "mean_bits": Cluster(mean_bits=1.0, exclude=("point",)),
    "bits": Binarize(bits=1.0, smallest=1000),
    "max_size": Entropy(max_size=100),
}


@pytest.mark.parametrize("goal", OUT_OF_REACH)
def test_a_goal_that_is_missed_is_told_with_how_far_it_came(goal: str) -> None:
    item = OUT_OF_REACH[goal]
    row, warnings = told(item, replaced.net())
    assert row["missed"]
    assert (row["goal"], row["asked"]) == (goal, getattr(item, goal))
    (warning,) = warnings
    assert f"{goal}={row['asked']:g} was not reached: {row['reached']:.3g}" in warning


WITHIN_REACH = {
    "max_macs": Factorize(max_macs=0.97, data_free=True),
    "max_macs of channels": PruneChannels(max_macs=0.8),
    "ratio": PruneChannels(ratio=0.3, multiple=1),
    "sparsity": Prune(sparsity=0.5, protect_ends=False, smallest=0, depthwise=True),
    "mean_bits": Cluster(mean_bits=4.0, smallest=0),
    "mean_bits of words": Codebook(mean_bits=4.0),
    "bits": Entropy(bits=3.0),
}


@pytest.mark.parametrize("goal", WITHIN_REACH)
def test_a_goal_that_is_reached_is_no_warning(goal: str) -> None:
    row, warnings = told(WITHIN_REACH[goal], replaced.net())
    assert not row["missed"]
    assert not warnings
    assert row["reached"] == pytest.approx(row["asked"], rel=0.5)


def test_layers_that_are_not_faster_do_not_hide_that_a_goal_was_missed() -> None:
    """The guard calls everything slow, so the chains go back and all of the work is left."""
    item = Factorize(max_macs=0.9, data_free=True)
    row, (warning,) = told(item, replaced.net(), guards=[Fake("latency", slow)])
    assert row["reached"] == 1.0
    assert "not-faster" in warning


def test_branches_that_are_not_there_cannot_go() -> None:
    row, warnings = told(PruneLayers(count=3), replaced.net(), data=True)
    assert (row["reached"], row["missed"], len(warnings)) == (1, True, 1)


@pytest.mark.parametrize(("reached", "missed"), [(0.815, False), (0.817, True), (None, False)])
def test_whole_parts_may_miss_a_goal_by_a_little(reached: float | None, missed: bool) -> None:
    assert Gauge("max_macs", 0.8, reached, "").is_missed is missed


def sized(overhead: float, power: float, most: int) -> tuple[list[int], int]:
    """Search for roundings of archives whose size follows a law; return all sizes and the best."""
    made: list[int] = []

    def archived(model: Any) -> int:
        made.append(round(overhead + 1e5 * model**power))
        return made[-1]

    weight = SimpleNamespace(name="w", nodes=[], array=np.zeros(100_000))
    build = cast("Any", lambda plan: SimpleNamespace(model=plan["w"], bits=0.0))
    prices = Prices([cast("Any", weight)], cast("Any", None), build, archived, waves=False)
    plain = SimpleNamespace(price_of=lambda bits: bits)
    plans: dict[float, Any] = {}
    vars(prices)["_outlook"] = lambda _: plain
    vars(prices)["plan"] = lambda _, price: plans.setdefault(price, {"w": price})
    plan = prices.fitting(most)
    return made, prices.sizes.get(id(plan), 0)


@pytest.mark.parametrize("overhead", [0.0, 5e3, 1.5e4])
@pytest.mark.parametrize("power", [0.8, 1.0, 1.3])
def test_a_size_is_used_up_to_one_percent_in_few_archives(overhead: float, power: float) -> None:
    made, best = sized(overhead, power, 50_000)
    assert 49_500 <= best <= 50_000
    assert len(made) <= 5


def test_a_size_that_bits_do_not_change_is_given_up_soon() -> None:
    made, best = sized(-40_000, 0.0, 50_000)
    assert len(made) == 2
    assert best == 0
