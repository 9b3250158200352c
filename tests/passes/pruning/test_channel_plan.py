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
from ocompress.targets import find
from passes.pruning.channel_account import Account, Shares
from passes.pruning.channel_costs import Order
from passes.pruning.channel_plan import Goal, cheapest, steps_of
from tests.build import Builder

TARGET = find("x86-avx2")


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
    account = Account(model, groups, None, TARGET)
    nothing = [np.arange(0)] * 4
    half = np.arange(4)
    for at, meter in itertools.product(range(4), (account.work, account.time)):
        gone = list(nothing)
        gone[at] = half
        changed = [
            i
            for i in range(4)
            if meter.saved(i, gone, np.arange(6)) != meter.saved(i, nothing, np.arange(6))
        ]
        assert account.mingled(at) == changed == [i for i in (at - 1, at, at + 1) if 0 <= i < 4]


def order(*costs: float) -> Order:
    return Order(np.arange(len(costs)), np.cumsum(costs))


def planned(model: Model, orders: list[Order], multiple: int, goal: Goal) -> list[int]:
    groups = free(model)
    steps = [steps_of(g, o, multiple) for g, o in zip(groups, orders, strict=True)]
    return cheapest(groups, orders, steps, Account(model, groups, None, TARGET), goal)


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


@pytest.mark.parametrize(
    "goal", [Goal(0.6), Goal(None, 0.4), Goal(0.3, 0.6), Goal(1.0, 0.0), Goal(max_time=0.7)]
)
def test_steps_are_those_of_looking_at_all_groups_each_time(goal: Goal) -> None:
    model = chain(3, *([4, 6, 8] * 20), 2)
    groups = free(model)
    orders, account = drawn(groups), Account(model, groups, None, TARGET)
    steps = [steps_of(g, o, 1) for g, o in zip(groups, orders, strict=True)]
    counts = [0] * len(groups)
    saves = account.work if goal.max_time is None else account.time
    room = sum(g.size for g in groups) * (1.0 if goal.ratio is None else goal.ratio)
    while True:
        gone = [o.channels[:c] for o, c in zip(orders, counts, strict=True)]
        if any(meter.of(gone) <= limit for meter, limit in goal.limits(account)):
            break
        options = [
            (step, at, count)
            for at, own in enumerate(steps)
            for count, cost in zip(own.counts, own.costs, strict=True)
            if counts[at] < count <= counts[at] + room - sum(counts)
            for spent in [own.costs[own.counts.index(counts[at])]]
            for step in [(cost - spent) / saves.saved(at, gone, orders[at].channels[:count])]
        ]
        if not options:
            break
        _, at, counts[at] = min(options)
    assert cheapest(groups, orders, steps, account, goal) == counts


def test_twice_the_groups_take_twice_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Shares.left
    looked = 0

    def counted(*args: Any) -> float:
        nonlocal looked
        looked += 1
        return float(plain(*args))

    def work(layers: int) -> int:
        nonlocal looked
        model = chain(3, *[4] * layers, 2)
        looked, groups = 0, free(model)
        planned(model, drawn(groups), 1, Goal(None, 0.3))
        return looked

    monkeypatch.setattr(Shares, "left", counted)
    assert work(160) < 2.2 * work(80)


def squares(*widths: int, extent: int = 7) -> Model:
    b = Builder()
    x = b.input("x", ["n", widths[0], extent, extent])
    for before, after in itertools.pairwise(widths):
        made = b.op("Conv", x, b.weight(after, before, 3, 3), pads=[1, 1, 1, 1])
        x = b.op("Relu", made)
    b.output(x, ["n", widths[-1], extent, extent])
    model = b.model()
    infer_types(model)
    return model


def test_channels_go_until_kernels_are_faster() -> None:
    """Kernels compute 64 channels at once: the last 16 of 80 take as much as the next 48."""
    model = squares(64, 128, 64)
    (group,) = free(model)
    gone = np.arange(128)

    def saved(target: str, before: int, after: int, *, as_integers: bool = False) -> float:
        account = Account(model, [group], None, find(target))
        account.as_integers = as_integers
        rest = [account.time.of([gone[:n]]) for n in (before, after)]
        return (rest[0] - rest[1]) / account.time.of(account.nothing)

    once, next_ = saved("x86-avx512", 48, 64), saved("x86-avx512", 32, 48)
    assert once > 1.4 * next_
    assert saved("arm64", 48, 64) == pytest.approx(saved("arm64", 32, 48))
    whole = saved("x86-vnni", 48, 64, as_integers=True)
    assert whole == pytest.approx(saved("x86-vnni", 32, 48, as_integers=True))


def test_the_time_of_elementwise_operators_counts() -> None:
    def saved(*, squared: bool) -> float:
        b = Builder()
        made = b.op("Conv", b.input("x", ["n", 4, 32, 32]), b.weight(8, 4, 1, 1))
        made = b.op("Mul", made, made) if squared else b.op("Relu", made)
        b.output(b.op("Conv", made, b.weight(4, 8, 1, 1)), ["n", 4, 32, 32])
        model = b.model()
        infer_types(model)
        time = Account(model, free(model), None, TARGET).time
        return time.of([np.arange(0)]) - time.of([np.arange(4)])

    each = TARGET.float_costs["Mul"].element_ns
    assert saved(squared=True) - saved(squared=False) == pytest.approx(each * 4 * 32 * 32)


def test_what_no_channel_changes_does_not_count() -> None:
    model = squares(3, 4, 4, extent=2)
    (group,) = free(model)
    time = Account(model, [group], None, TARGET).time
    assert time.of([np.arange(4)]) < 0.05 * time.of([np.arange(0)])
