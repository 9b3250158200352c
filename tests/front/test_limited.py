"""How far passes go of themselves, written down so that a plan goes as far."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ocompress.auto import Chain, PlanGoal, Step
from ocompress.auto.families import PlanFamily, chosen_families
from ocompress.front import Budget, Request
from ocompress.front.bench import Bench
from ocompress.front.job import run_limited
from ocompress.front.limited import Limited, chain_of
from ocompress.ir import fingerprint
from ocompress.pipeline import Pipeline, Status
from ocompress.validation.loss_meter import LossMeter
from tests.front.test_planning import DATA, smooth

FAMILIES = chosen_families(PlanGoal.LATENCY)


def family(item: str, option: str = "max_macs") -> PlanFamily:
    levers = {f: "" if f.lever is None else f.lever.option for f in FAMILIES if f.item == item}
    return next(f for f, lever in levers.items() if lever == option)


def bench() -> Bench:
    request = Request(data=DATA, budget=Budget(max_drop=0.1), target="portable")
    return Bench(request, smooth(), None, (), lossy=True)


ASKED = Chain.of(
    [
        Step(family("prune-channels", "max_time")),
        Step(family("factorize")),
        Step(family("quant", "")),
    ]
)


def test_what_limits_found_is_within_them_as_a_plan_too() -> None:
    opened = bench()
    found = Limited(opened, opened.request.budget, float("inf")).find(ASKED)
    assert found is not None
    chain = chain_of(found, ASKED)
    levels = {name: level for name, level, _ in found}
    assert 0.05 < (levels["prune-channels"] or 0) < 0.95
    request = replace(opened.request, passes=chain.pipeline())
    after = run_limited(opened, request)
    by_hand = run_limited(
        opened, replace(opened.request, passes=Pipeline.parse("prune-channels,factorize,quant"))
    )
    assert {r.name for r, _ in after} >= {"prune-channels", "quant"}
    assert all(r.status is Status.APPLIED and all(v.held for v in r.verdicts) for r, _ in after[1:])
    (_, model), (_, theirs) = after[-1], by_hand[-1]
    assert model.weight_bytes == pytest.approx(theirs.weight_bytes, rel=0.02)
    (pruned,), (same,) = (
        [m for r, m in run if r.name == "prune-channels"] for run in (after, by_hand)
    )
    assert fingerprint(pruned) == fingerprint(same)


def test_all_pipelines_are_judged_by_one_run_of_the_original(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened, runs = bench(), []
    make = LossMeter.__init__

    def made(self: LossMeter, *args: Any, **kwargs: Any) -> None:
        runs.append(self)
        make(self, *args, **kwargs)

    monkeypatch.setattr(LossMeter, "__init__", made)
    for passes in ("prune{sparsity=0.1}", "prune{sparsity=0.2}"):
        run_limited(opened, replace(opened.request, passes=Pipeline.parse(passes)))
    assert len(runs) == 1


def test_where_the_time_is_over_nothing_is_found() -> None:
    opened = bench()
    assert Limited(opened, opened.request.budget, 0.0).find(ASKED) is None


def test_where_it_fails_nothing_is_found() -> None:
    opened = bench()
    named = family("quant", "").having({"in_float": ["no such layer"]})
    asked = Chain.of([*ASKED.steps[:-1], Step(named)])
    assert Limited(opened, opened.request.budget, float("inf")).find(asked) is None


def test_options_that_say_more_than_a_level_take_the_place_of_it() -> None:
    found = [("prune-channels", 0.5, None), ("factorize", 0.4, {"max_macs": 0.4, "exclude": ["a"]})]
    chain = chain_of([*found, ("quant", None, {"in_float": ["*"]})], ASKED)
    assert str(chain) == (
        "prune-channels{max_time=0.5},factorize{max_macs=0.4 exclude=[a]},quant{in_float=[*]}"
    )
    assert [s.level for s in chain.steps] == [0.5, None, None]
