"""How far one lever may go."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ocompress.auto.chain import Chain, Step
from ocompress.auto.families import FAMILIES, PlanFamily
from ocompress.auto.goal import PlanGoal
from ocompress.auto.line import Line
from ocompress.auto.trial import PlanTrial

CHANNELS = next(f for f in FAMILIES if f.name == "channels")
LAYERS = next(f for f in FAMILIES if f.name == "layers")


def line_of(family: PlanFamily, most: int = 6) -> Line:
    assert family.lever is not None
    return Line(family, lambda x: Chain.of([Step(family, x)]), family.lever.first, most)


def walked(line: Line, loss: Callable[[float], float], idle: bool = False) -> list[float]:
    """Walk along a line on which a level strains the limit by so much; return the levels."""
    levels = []
    while not line.done:
        chain = line.ask()
        level = chain.steps[0].level
        assert level is not None
        levels.append(level)
        strain = loss(level)
        names = (line.family.item,) if idle else ()
        line.tell(
            PlanTrial(chain=chain, held=strain <= 1, drop=strain / 100, strain=strain, idle=names)
        )
    return levels


@pytest.mark.parametrize("edge", [0.1, 0.3, 0.5, 0.8])
def test_the_edge_is_found_in_few_trials(edge: float) -> None:
    line = line_of(CHANNELS)
    levels = walked(line, lambda x: (edge / x) ** 4)
    best = line.best()
    assert best is not None
    assert len(levels) <= 6
    assert edge <= (best.chain.steps[0].level or 0) < 1.08 * edge


def test_searches_under_different_limits_come_by_the_same_levels() -> None:
    strict = walked(line_of(CHANNELS), lambda x: (0.44 / x) ** 4)
    lax = walked(line_of(CHANNELS), lambda x: (0.37 / x) ** 4)
    assert CHANNELS.lever is not None
    for level in (*strict, *lax):
        assert CHANNELS.lever.near(level) == pytest.approx(level, abs=5e-4)  # as options are
    assert len({f"{level:.6f}" for level in (*strict, *lax)}) < len(strict) + len(lax) - 1
    assert len(strict) == len(set(strict))


def test_where_levels_make_the_same_model_steps_are_wide() -> None:
    """Between 0.3 and 0.6 all levels make one model, which is hardly too lossy."""
    line = line_of(CHANNELS, most=5)
    walked(line, lambda x: 0.2 if x > 0.6 else 1.01 if x > 0.3 else 5.0)
    best = line.best()
    assert best is not None
    assert 0.6 < (best.chain.steps[0].level or 0) < 0.7


def test_an_upper_end_that_fails_sends_it_back() -> None:
    line = line_of(CHANNELS)
    levels = walked(line, lambda x: 1.2 if x < 0.7 else 0.9)
    best = line.best()
    assert best is not None
    assert min(x for x in levels if x >= 0.7) == best.chain.steps[0].level


def test_counts_go_up_until_one_fails() -> None:
    assert walked(line_of(LAYERS), lambda count: count / 2.5) == [1, 2, 3]


def test_what_does_nothing_does_not_count() -> None:
    line = line_of(CHANNELS, most=3)
    walked(line, lambda _: 0.0, idle=True)
    assert line.best() is None
    assert line.level_for(0.5) is None


def test_a_share_of_the_loss_is_a_milder_level() -> None:
    line = line_of(CHANNELS)
    walked(line, lambda x: (0.4 / x) ** 4)
    best, half = line.best(), line.level_for(0.5)
    assert best is not None
    assert half is not None
    level = best.chain.steps[0].level or 0
    assert half == pytest.approx(level * 2**0.25, rel=0.05)


def test_neighbours_that_lose_alike_do_not_say_how_steep_it_is() -> None:
    """Few samples: 0.20 at one level and 0.19 at the next is no reason to go back to all."""
    line = line_of(CHANNELS)
    for strain in (0.38, 0.40):
        line.tell(PlanTrial(chain=line.ask(), held=True, drop=strain / 100, strain=strain))
    high = max(line._levels)
    third = line.level_for(0.35)
    assert third is not None
    assert 1.1 * high < third < 1.7 * high


def test_levels_stay_where_options_are() -> None:
    for family in FAMILIES:
        if family.lever is not None and not family.lever.whole:
            ends = [str(family.make(level)) for level in (1e-9, family.lever.low)]
            assert ends[0] == ends[1]
            assert str(family.make(1e9)) == str(family.make(family.lever.high))


def trial(chain: Chain, strain: float, latency: float) -> PlanTrial:
    return PlanTrial(
        chain=chain, held=strain <= 1, drop=strain / 100, strain=strain, latency=latency
    )


def test_what_lost_little_so_far_promises_more() -> None:
    lines = [line_of(CHANNELS) for _ in range(3)]
    for line, strain in zip(lines, (0.01, 0.9, 30.0), strict=True):
        line.tell(trial(line.ask(), strain, 0.5))
    little, much, far_too_much = (line.promise(PlanGoal.LATENCY) for line in lines)
    assert little < 0.3
    assert much == pytest.approx(0.5, rel=0.02)
    assert far_too_much > 0.65


def test_a_promise_goes_on_from_the_trial_that_is_nearest() -> None:
    line = line_of(CHANNELS)
    for strain, latency in ((0.01, 0.5), (0.8, 0.44)):
        line.tell(trial(line.ask(), strain, latency))
    assert 0.4 < line.promise(PlanGoal.LATENCY) < 0.44
    assert line_of(CHANNELS).promise(PlanGoal.LATENCY) == 0
