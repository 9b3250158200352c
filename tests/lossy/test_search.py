"""How far lossy moves go for a limit on the drop, or on the latency."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import pytest

from ocompress.ir import Model
from ocompress.lossy.engine import Chosen, LossyPass, Plan, Proposal, choose
from ocompress.lossy.refit import Built
from ocompress.lossy.search import Search
from ocompress.pipeline import Allowance, Context, Verdict, option
from ocompress.planning import Move
from tests.graphs import ZOO


class Shares(Proposal):
    """One part, of which a share may be left; the error is what went, squared."""

    def leaving(self, share: float) -> Plan:
        left = round(share, 3)
        return {"all": Move("all", "cut", f"{left}", (1 - left) ** 2, 0, left)} if left < 1 else {}


class Cut(LossyPass):
    """Makes models that are known by the share that is left of them."""

    name = "cut-shares"
    goals = ("left",)
    left: float = option(0.0, help="Share that is left.")

    def propose(self, model: Model, ctx: Context) -> Proposal:
        return Shares({"all": ["all"]})

    def asked(self, proposal: Any) -> Plan:
        return cast("Plan", proposal.leaving(self.left))

    def build(self, model: Model, plan: Plan, ctx: Context, *, fit: bool) -> Built:
        built = Built(ZOO["mlp"](), done=frozenset(plan))
        BUILT.append((built.model, plan["all"].macs, fit))
        return built


BUILT: list[tuple[Model, float, bool]] = []
"""Every model that was made, the share that is left of it, and whether it was fitted."""


@dataclass
class Rule:
    """A guard that knows a model by its share."""

    kind: str
    rule: Callable[[float], Verdict]

    @property
    def limit(self) -> float:
        return self.rule(1.0).figures.get("limit", 0.5)

    def judge(self, candidate: Model, best: Model) -> Verdict:
        return self.rule(next(left for model, left, _ in BUILT if model is candidate))


class Judge:
    """A context with guards that go by a share."""

    source = "cut-shares"
    proposals = None

    def __init__(self, **rules: Callable[[float], Verdict]) -> None:
        named = {name.replace("_", "-"): rule for name, rule in rules.items()}
        self.allowance = Allowance([Rule(kind, rule) for kind, rule in named.items()])
        BUILT.clear()


def clock(limit: float) -> Callable[[float], Verdict]:
    """A model takes as long as its share, and 0.2."""

    def rule(share: float) -> Verdict:
        figures = {"ratio": share + 0.2, "low_to_original": share + 0.2, "limit": limit}
        return Verdict(True, "latency", "", figures)

    return rule


def drop(limit: float, times: float) -> Callable[[float], Verdict]:
    """A model loses some times its predicted error."""

    def rule(share: float) -> Verdict:
        lost = times * (1 - share) ** 2
        return Verdict(lost <= limit, "max-drop", "", {"drop": lost, "limit": limit})

    return rule


def grown(least: float) -> Callable[[float], Verdict]:
    """A model of which less is left than this takes more bytes than before."""

    def rule(share: float) -> Verdict:
        return Verdict(share >= least, "size", "it takes more", {"limit": 1.0})

    return rule


def chosen(judge: Judge, **options: Any) -> tuple[Chosen, Proposal]:
    item, model, ctx = Cut(**options), ZOO["mlp"](), cast("Context", judge)
    proposal = item.propose(model, ctx)
    return choose(item, model, proposal, ctx), proposal


@pytest.mark.parametrize(("limit", "left"), [(0.7, 0.5), (0.5, 0.3), (0.25, None)])
def test_a_limit_below_one_is_reached_not_only_approached(limit: float, left: float | None) -> None:
    found, proposal = chosen(Judge(latency=clock(limit)))
    if left is None:
        assert found.built is None
        assert proposal.reasons["all"].code == "too-slow"
    else:
        assert found.plan["all"].macs == pytest.approx(left, abs=0.05)
        assert [fit for _, _, fit in BUILT].count(True) == 1  # only the last one is fitted


@pytest.mark.parametrize(("over", "holds"), [(1.02, True), (1.04, False)])
def test_a_clock_may_be_off_by_a_little(over: float, holds: bool) -> None:
    """What is to be reached is 0.4; the plan that leaves least takes 0.1 and 0.2."""
    limit = 0.3 / over
    found, _ = chosen(Judge(latency=clock(limit)))
    assert (found.built is not None) is holds


def test_the_next_plan_is_aimed_below_the_limit() -> None:
    """The first leaves 0.507 and loses 0.243 of 0.04; aimed at 0.034 is 0.184 of what goes."""
    found, _ = chosen(Judge(max_drop=drop(0.04, 1.0)))
    assert found.plan["all"].macs == pytest.approx(1 - 0.034**0.5, abs=0.004)


@pytest.mark.parametrize("times", [0.01, 0.1, 1.0])
def test_as_far_as_the_drop_lets_in_few_tries(times: float) -> None:
    limit = 0.01
    found, _ = chosen(Judge(max_drop=drop(limit, times)))
    best = max(1 - (limit / times) ** 0.5, Shares.least)
    assert best <= found.plan["all"].macs <= best + 0.05
    assert len(BUILT) <= 4  # halving alone takes five
    assert all(fit for _, _, fit in BUILT)


def test_a_plan_that_uses_the_limit_up_is_the_last() -> None:
    found, _ = chosen(Judge(max_drop=drop(0.03, 0.16)))  # the first leaves 0.575 and loses 0.0289
    assert found.plan["all"].macs == pytest.approx(0.575, abs=0.002)
    assert len(BUILT) == 1


@pytest.mark.parametrize("limit", [0.001, 0.005, 0.05])
def test_the_first_plan_is_the_one_that_usually_costs_what_is_aimed_at(limit: float) -> None:
    found, _ = chosen(Judge(max_drop=drop(limit, 0.14)))
    assert found.plan["all"].macs == pytest.approx(1 - (0.85 * limit / 0.14) ** 0.5, abs=0.004)
    assert len(BUILT) == 1


def test_where_no_error_is_predicted_the_first_plan_is_in_the_middle() -> None:
    class Free(Shares):
        def leaving(self, share: float) -> Plan:
            return {part: replace(m, error=0.0) for part, m in super().leaving(share).items()}

    item, model = Cut(), ZOO["mlp"]()
    ctx = cast("Context", Judge(max_drop=drop(0.01, 1.0)))
    choose(item, model, Free({"all": ["all"]}), ctx)
    assert BUILT[0][1] == 0.55


def test_a_move_that_does_not_pay_is_taken_out_of_the_running() -> None:
    dropped: list[str] = []

    class Told(Shares):
        def drop(self, plan: Plan, part: str) -> None:
            dropped.append(part)

    class Slow(Judge):
        def timed(self, models: Sequence[Model]) -> list[dict[str, float]]:
            return [{"all": 1.0} for _ in models]

    rule = Verdict(True, "latency", "", {"ratio": 1.0})
    item, model, ctx = Cut(left=0.4), ZOO["mlp"](), cast("Context", Slow(latency=lambda _: rule))
    proposal = Told({"all": ["all"]})
    assert choose(item, model, proposal, ctx) == Chosen({}, None)
    assert dropped == ["all"]
    assert proposal.reasons["all"].code == "not-faster"


def test_where_nothing_holds_all_parts_say_so() -> None:
    found, proposal = chosen(Judge(max_drop=lambda _: Verdict(False, "max-drop", "")))
    assert found == Chosen()
    assert proposal.reasons["all"].code == "too-lossy"


@pytest.mark.parametrize(("runs", "code"), [(True, "too-lossy"), (False, "no-longer-runs")])
def test_what_was_not_measured_says_why_nothing_holds(runs: bool, code: str) -> None:
    verdict = Verdict(False, "max-drop", "the output 'y' is the same always", runs=runs)
    found, proposal = chosen(Judge(max_drop=lambda _: verdict))
    assert found == Chosen()
    assert proposal.reasons["all"].code == code
    assert "'y' is the same" in proposal.reasons["all"].why


def test_what_makes_the_file_larger_is_not_chosen() -> None:
    """Half of it may go; a model that left less would take more bytes, for weights are copied."""
    found, _ = chosen(Judge(max_drop=drop(0.03, 0.03), size=grown(0.5)))
    assert found.plan["all"].macs == pytest.approx(0.5, abs=0.04)
    found, proposal = chosen(Judge(max_drop=drop(0.03, 0.03), size=grown(1.0)))
    assert len(BUILT) <= 5  # halved: what would be lost says nothing of it
    assert found == Chosen()
    assert proposal.reasons["all"].code == "larger"
    assert "takes more" in proposal.reasons["all"].why


def test_a_goal_is_not_searched_for() -> None:
    found, _ = chosen(Judge(max_drop=drop(0.01, 1.0)), left=0.4)
    assert found.plan["all"].macs == 0.4
    assert len(BUILT) == 1


def test_plans_that_are_alike_are_built_once() -> None:
    class Two(Shares):
        few: ClassVar[Plan] = {"all": Move("all", "cut", "few", 0.1, 0, 0.8)}
        many: ClassVar[Plan] = {"all": Move("all", "cut", "many", 0.9, 0, 0.2)}

        def leaving(self, share: float) -> Plan:
            return self.few if share > 0.5 else self.many

    judge = Judge(max_drop=lambda share: Verdict(share > 0.5, "max-drop", ""))
    search = Search(Cut(), ZOO["mlp"](), Two({"all": ["all"]}), cast("Context", judge))
    found = search.farthest()
    assert found is not None
    assert found[0] is Two.few
    assert len(BUILT) == 2


@pytest.mark.parametrize(("times", "left"), [(0.001, [0.1]), (1.0, [0.1, 0.9])])
def test_what_is_likely_to_hold_is_judged_first(times: float, left: list[float]) -> None:
    class Likely(Shares):
        hopeful = True

    ctx = cast("Context", Judge(max_drop=drop(0.01, times)))
    found = choose(Cut(), ZOO["mlp"](), Likely({"all": ["all"]}), ctx)
    assert [share for _, share, _ in BUILT[:2]] == pytest.approx(left, abs=0.05)
    assert found.plan["all"].macs == pytest.approx(left[-1], abs=0.05)


def test_a_share_at_which_nothing_goes_is_too_large() -> None:
    class One(Shares):
        def leaving(self, share: float) -> Plan:
            return super().leaving(0.2) if share < 0.4 else {}

    ctx = cast("Context", Judge(max_drop=drop(0.9, 1.0)))
    found = choose(Cut(), ZOO["mlp"](), One({"all": ["all"]}), ctx)
    assert found.plan["all"].macs == 0.2


@pytest.mark.parametrize(
    ("further", "most_drop", "left"), [(True, 1.0, 0.25), (False, 1.0, 0.6), (True, 0.3, 0.6)]
)
def test_a_file_that_is_too_large_goes_further_within_the_drop(
    further: bool, most_drop: float, left: float
) -> None:
    class Further(Shares):
        hopeful, goes_further, least = True, further, 0.6

    ctx = Judge(
        # what is smaller than it was is held, whatever the limit
        size=lambda share: Verdict(True, "size", "", {"limit": 0.25, "ratio": share}),
        max_drop=drop(most_drop, 1.0),
    )
    found = choose(Cut(), ZOO["mlp"](), Further({"all": ["all"]}), cast("Context", ctx))
    assert found.plan["all"].macs == pytest.approx(left, abs=0.03)


def test_what_is_not_faster_falls_back_until_something_is() -> None:
    class Backwards(Cut):
        def retreats(
            self, model: Model, proposal: Any, chosen: Chosen, verdict: Verdict, ctx: Context
        ) -> Iterator[Plan]:
            assert verdict.message == "slow at 0.2"
            for left in (0.4, 0.6, 0.8):
                yield proposal.leaving(left)

    def clocked(share: float) -> Verdict:
        figures = {"ratio": 0.5 if share >= 0.6 else 1.2}
        return Verdict(True, "latency", f"slow at {share}", figures)

    judge = Judge(latency=clocked)
    item = Backwards(left=0.2)
    found = choose(item, ZOO["mlp"](), Shares({"all": ["all"]}), cast("Context", judge))
    assert found.plan["all"].macs == 0.6
    assert [share for _, share, _ in BUILT] == [0.2, 0.4, 0.6]


@pytest.mark.parametrize(("goal", "left"), [({}, 0.9), ({"left": 0.2}, 0.6)])
def test_what_it_falls_back_to_keeps_to_the_limit_on_the_drop(
    goal: dict[str, float], left: float
) -> None:
    class Sideways(Cut):
        def retreats(
            self, model: Model, proposal: Any, chosen: Chosen, verdict: Verdict, ctx: Context
        ) -> Iterator[Plan]:
            for share in (0.6, 0.9):
                yield proposal.leaving(share)

    def clocked(share: float) -> Verdict:
        return Verdict(True, "latency", "", {"ratio": 0.5 if share in (0.6, 0.9) else 1.2})

    judge = cast("Context", Judge(latency=clocked, max_drop=drop(0.04, 1.0)))
    found = choose(Sideways(**goal), ZOO["mlp"](), Shares({"all": ["all"]}), judge)
    assert found.plan["all"].macs == left


def test_a_plan_that_saves_no_time_is_not_timed() -> None:
    class Smaller(Shares):
        def is_timed(self, plan: Plan) -> bool:
            return False

    never = Judge(latency=lambda _: Verdict(False, "latency", "slow"))
    found = choose(Cut(left=0.2), ZOO["mlp"](), Smaller({"all": ["all"]}), cast("Context", never))
    assert found.plan["all"].macs == 0.2


def test_shares_that_rounding_makes_equal_are_alike_whatever_a_pass_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Shares, "finest", 1e-5)
    for judge in (Judge(latency=clock(0.7)), Judge(size=grown(0.4567), max_drop=drop(1.0, 1.0))):
        found, proposal = chosen(judge)
        assert found.share is not None
        assert found.plan == proposal.leaving(found.share)  # which an option can say
        assert len(BUILT) < 30
