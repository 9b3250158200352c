"""How far a compression goes for a limit on latency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from ocompress.ir import Model
from ocompress.lossy.budget_search import BudgetSearch
from ocompress.pipeline import Context, Verdict
from tests.graphs import ZOO


@dataclass(frozen=True)
class Plain:
    """What a plan became: a model whose time is the share of work that is left."""

    model: Model
    share: float


class Clock:
    """A context that knows how long models take: as long as their share of the work, and 0.2."""

    def __init__(self, limit: float) -> None:
        self.limit, self.times = limit, dict[int, float]()

    def judged(self, kind: str, candidate: Model, best: Model) -> Verdict | None:
        time = self.times[id(candidate)]
        figures = {"ratio": time, "low_to_original": time, "limit": self.limit}
        return Verdict(True, kind, "no slower than it was", figures)


@pytest.mark.parametrize(("limit", "left"), [(0.7, 0.5), (0.5, 0.3), (0.25, None)])
def test_a_limit_below_one_is_reached_not_only_approached(limit: float, left: float | None) -> None:
    clock = Clock(limit)

    def build(share: float, _: bool) -> Plain:
        built = Plain(ZOO["mlp"](), share)
        clock.times[id(built.model)] = share + 0.2
        kept.append(built)
        return built

    kept: list[Plain] = []  # or another model gets the number of one that is gone
    search: BudgetSearch[Any, Plain] = BudgetSearch(
        ZOO["mlp"](), lambda share: share, build, cast("Context", clock)
    )
    found = search.nearest()
    if left is None:
        assert found is None
    else:
        assert found is not None
        assert found[0] == pytest.approx(left, abs=0.05)
