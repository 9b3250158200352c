"""How far passes go of themselves, written down so that a plan goes as far."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ocompress.auto import Chain, PlanGoal, Step
from ocompress.auto.families import PlanFamily, chosen_families
from ocompress.front import Budget, Request
from ocompress.front.bench import Bench
from ocompress.front.job import run_limited
from ocompress.front.limited import Limited, chain_of
from ocompress.ir import fingerprint
from ocompress.pipeline import Pipeline, Status
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
    one, same = (next(m for r, m in run if r.name == "prune-channels") for run in (after, by_hand))
    assert fingerprint(one) == fingerprint(same)


def test_where_the_time_is_over_nothing_is_found() -> None:
    opened = bench()
    assert Limited(opened, opened.request.budget, 0.0).find(ASKED) is None


def test_where_it_fails_nothing_is_found() -> None:
    opened = bench()
    named = family("quant", "").having({"in_float": ["no such layer"]})
    asked = Chain.of([*ASKED.steps[:-1], Step(named)])
    assert Limited(opened, opened.request.budget, float("inf")).find(asked) is None


def test_options_that_say_more_than_a_level_take_the_place_of_it() -> None:
    found = [("prune-channels", 0.5, None), ("factorize", None, {"chains": {"a": "input, rank 8"}})]
    chain = chain_of([*found, ("quant", None, {"in_float": ["*"]})], ASKED)
    assert str(chain) == (
        'prune-channels{max_time=0.5},factorize{chains={a="input, rank 8"}},quant{in_float=[*]}'
    )
    assert [s.level for s in chain.steps] == [0.5, None, None]
