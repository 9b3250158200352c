"""What cuts of channels save together."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from ocompress.analysis.channels import ChannelGroups, Group
from ocompress.analysis.manager import AnalysisManager
from ocompress.ir import Model
from ocompress.ir.onnx_api import infer_types
from passes.pruning.channel_account import Account
from passes.pruning.channel_costs import Order
from passes.pruning.channel_plan import Goal, cheapest, steps_of
from tests.build import Builder


def chain(*widths: int) -> Model:
    b = Builder()
    x = b.input("x", ["n", widths[0], 4, 4])
    for before, after in itertools.pairwise(widths):
        x = b.op("Relu", b.op("Conv", x, b.weight(after, before, 1, 1)))
    b.output(x, ["n", widths[-1], 4, 4])
    model = b.model()
    infer_types(model)
    return model


def free(model: Model) -> list[Group]:
    found = AnalysisManager(None).get(ChannelGroups(), model)
    return [g for g in found if g.refusal is None and g.cuts]


def test_savings_depend_on_the_groups_next_to_one() -> None:
    model = chain(3, 8, 8, 8, 8, 2)
    groups = free(model)
    assert len(groups) == 4
    account = Account(model, groups, None)
    nothing = [np.arange(0)] * 4
    half = np.arange(4)
    for at in range(4):
        gone = list(nothing)
        gone[at] = half
        changed = [
            i
            for i in range(4)
            if account.saved(i, gone, np.arange(6)) != account.saved(i, nothing, np.arange(6))
        ]
        assert account.mingled(at) == changed == [i for i in (at - 1, at, at + 1) if 0 <= i < 4]


def order(*costs: float) -> Order:
    return Order(np.arange(len(costs)), np.cumsum(costs))


def planned(model: Model, orders: list[Order], multiple: int, goal: Goal) -> list[int]:
    groups = free(model)
    steps = [steps_of(g, o, multiple) for g, o in zip(groups, orders, strict=True)]
    return cheapest(groups, orders, steps, Account(model, groups, None), goal)


def test_channels_beyond_the_goal_come_back() -> None:
    """Four of the one group and two of the other come first; one of the two was not needed."""
    model = chain(3, 8, 3, 8, 3)
    first = order(5.0, 0.0, 0.0, 0.0, 5.0, 5.0, 5.0, 5.0)
    between = order(9.0, 9.0, 9.0)
    last = order(0.1, 1.2, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0)
    assert planned(model, [first, between, last], 1, Goal(None, 0.7)) == [4, 0, 1]
    cheap = order(0.1, 0.2, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0)  # gone for next to nothing: it stays so
    assert planned(model, [first, between, cheap], 1, Goal(None, 0.7)) == [4, 0, 2]


def test_no_run_is_longer_than_there_is_room() -> None:
    """The run that pays most takes four channels; two may go."""
    model = chain(3, 8, 3)
    assert planned(model, [order(4.0, 0.1, 0.1, 0.1, 9.0, 9.0, 9.0, 9.0)], 1, Goal(0.25)) == [2]


def drawn(groups: list[Group]) -> list[Order]:
    rng = np.random.default_rng(4)
    return [order(*rng.exponential(size=g.size)) for g in groups]


@pytest.mark.parametrize("goal", [Goal(0.6), Goal(None, 0.4), Goal(0.3, 0.6), Goal(1.0, 0.0)])
def test_steps_are_those_of_looking_at_all_groups_each_time(goal: Goal) -> None:
    model = chain(3, *([4, 6, 8] * 20), 2)
    groups = free(model)
    orders, account = drawn(groups), Account(model, groups, None)
    steps = [steps_of(g, o, 1) for g, o in zip(groups, orders, strict=True)]
    counts = [0] * len(groups)
    room = sum(g.size for g in groups) * (1.0 if goal.ratio is None else goal.ratio)
    while True:
        gone = [o.channels[:c] for o, c in zip(orders, counts, strict=True)]
        if goal.max_macs is not None and account.of(gone) <= goal.max_macs * account.total:
            break
        options = [
            (step, at, count)
            for at, own in enumerate(steps)
            for count, cost in zip(own.counts, own.costs, strict=True)
            if counts[at] < count <= counts[at] + room - sum(counts)
            for spent in [own.costs[own.counts.index(counts[at])]]
            for step in [(cost - spent) / account.saved(at, gone, orders[at].channels[:count])]
        ]
        if not options:
            break
        _, at, counts[at] = min(options)
    assert cheapest(groups, orders, steps, account, goal) == counts


def test_twice_the_groups_take_twice_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Account._left
    looked = 0

    def counted(*args: Any) -> float:
        nonlocal looked
        looked += 1
        return plain(*args)

    def work(layers: int) -> int:
        nonlocal looked
        model = chain(3, *[4] * layers, 2)
        looked, groups = 0, free(model)
        planned(model, drawn(groups), 1, Goal(None, 0.3))
        return looked

    monkeypatch.setattr(Account, "_left", counted)
    assert work(160) < 2.2 * work(80)
