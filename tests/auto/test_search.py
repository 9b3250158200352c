"""What is tried, and what is taken, in a world of known costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, cast

import pytest

from ocompress.auto import (
    TUNING,
    Chain,
    Laboratory,
    OutOfTimeError,
    PlanFamily,
    PlanGoal,
    PlanSearch,
    PlanTrial,
    Step,
    chosen_families,
)
from ocompress.auto.foresight import Walk
from ocompress.errors import OptionError


@dataclass
class World:
    """Chains lose and gain as formulas say; whatever has no formula changes nothing.

    Attributes:
        power: By family, how strongly its level counts for the time, and how much it loses; `… in
            float` is what it does in chains that hold numbers as they are.
        most: Trials that there is time for.
        left: Part of what is lost that training leaves.
        aside: Shares of the time that were set aside.
    """

    power: dict[str, tuple[float, float]]
    most: int = 1000
    left: float = 1.0
    aside: list[float] = field(default_factory=list)
    trials: dict[str, PlanTrial] = field(default_factory=dict)

    def expect(self, walks: Sequence[Walk]) -> None:
        """Have nobody to begin anything with."""

    def set_aside(self, share: float) -> None:
        self.aside.append(share)

    def settled(self, chain: Chain, instead: Chain) -> dict[str, Any]:
        return {}

    def evaluate(self, chains: Sequence[Chain]) -> Iterator[PlanTrial]:
        yield from map(self._one, chains)

    def _one(self, chain: Chain) -> PlanTrial:
        if len(self.trials) >= self.most:
            raise OutOfTimeError
        time, strain, idle = 1.0, 0.0, []
        for step in chain.steps:
            if step.family == TUNING:
                continue
            name = step.family.name
            if chain.numbers is None and f"{name} in float" in self.power:
                name = f"{name} in float"
            if name not in self.power:
                idle.append(step.family.item)
                continue
            gain, loss = self.power[name]
            level = 0.4 if step.level is None else step.level
            time *= level**gain
            strain += loss * (1 / level - 1) ** 2
        if any(step.family == TUNING for step in chain.steps):
            strain *= self.left
        found = PlanTrial(
            chain=chain,
            held=strain <= 1,
            drop=strain / 100,
            strain=strain,
            latency=time,
            size=1000,
            idle=tuple(idle),
        )
        self.trials[str(chain)] = found
        return found


def searched(world: World, *names: str, tuning: PlanFamily | None = None) -> PlanSearch:
    families = chosen_families(PlanGoal.LATENCY, names)
    search = PlanSearch(cast("Laboratory", world), PlanGoal.LATENCY, families, tuning=tuning)
    search.run()
    return search


def test_structure_goes_below_integers() -> None:
    best = searched(World({"int8": (1.0, 0.01), "channels": (1.0, 0.3)})).best
    assert best is not None
    assert [s.family.name for s in best.chain.steps] == ["channels", "int8"]
    assert best.strain > 0.8


def test_two_families_share_what_may_be_lost() -> None:
    world = World({"channels": (1.0, 0.3), "factorize": (0.9, 0.3)})
    best = searched(world).best
    assert best is not None
    alone = [t.latency or 1 for t in world.trials.values() if t.held and len(t.chain.steps) == 1]
    assert {s.family.name for s in best.chain.steps} == {"channels", "factorize"}
    assert (best.latency or 1) < 0.9 * min(alone)


@pytest.mark.parametrize("tuned", [False, True])
def test_with_time_to_spare_families_that_gain_more_in_float_join(tuned: bool) -> None:
    power = {"int8": (0.3, 0.01), "channels": (1.0, 0.3), "factorize in float": (2.0, 0.3)}
    best = searched(World(power), tuning=TUNING if tuned else None).best
    assert best is not None
    names = {s.family.name for s in best.chain.steps} - {"tune"}
    assert names == {"channels", "int8" if tuned else "factorize"}  # training takes that time


def test_with_time_to_spare_less_promising_families_join() -> None:
    world = World({"channels": (1.0, 0.3), "factorize": (0.6, 0.3)})
    search = searched(world)
    singles = [t for t in world.trials.values() if t.held and len(t.chain.steps) == 1]
    alone = {
        name: min(t.latency or 1 for t in singles if t.chain.steps[0].family.name == name)
        for name in world.power
    }
    assert 1.3 < alone["factorize"] / alone["channels"] < 2
    assert search.best is not None
    assert {s.family.name for s in search.best.chain.steps} == {"channels", "factorize"}


def test_the_best_is_never_worse_than_any_that_held() -> None:
    world = World({"int8": (1.0, 0.4), "dynamic": (0.5, 0.0), "channels": (1.0, 0.5)})
    best = searched(world).best
    assert best is not None
    held = [t.latency or 1 for t in world.trials.values() if t.held]
    assert (best.latency or 1) <= min(held) / 0.99


def test_passes_that_change_nothing_are_in_no_plan() -> None:
    families = {f.name: f for f in chosen_families(PlanGoal.LATENCY)}
    world = cast("Laboratory", World({"channels": (1.0, 0.3)}))
    search = PlanSearch(world, PlanGoal.LATENCY, list(families.values()))
    steps = [Step(families["heads"], 0.5), Step(families["channels"], 0.6)]
    search._evaluate([Chain.of(steps)])
    assert search.best is not None
    for trial in (search.best, *search.finalists()):
        assert [s.family.name for s in trial.chain.steps] == ["channels"]


def test_passes_that_gain_nothing_are_left_out() -> None:
    search = searched(World({"merge": (0.0, 0.0), "channels": (1.0, 0.3)}))
    assert search.best is not None
    assert any("merge-layers,prune" in text for text in search.laboratory.trials)
    for trial in (search.best, search.finalists()[0]):
        assert [s.family.name for s in trial.chain.steps] == ["channels"]


def test_nothing_pays() -> None:
    best = searched(World({"channels": (1.0, 1e9)})).best
    assert best is not None
    assert best.chain.steps == ()


def test_what_was_found_before_time_was_over_stays() -> None:
    world = World({"int8": (1.0, 0.01), "channels": (1.0, 0.3)}, most=5)
    search = PlanSearch(
        cast("Laboratory", world), PlanGoal.LATENCY, chosen_families(PlanGoal.LATENCY)
    )
    with pytest.raises(OutOfTimeError):
        search.run()
    assert search.best is not None
    assert search.best.chain.numbers is not None


def test_the_families_that_promise_most_are_gone_along_first() -> None:
    powers = {"channels": (1.0, 0.02), "factorize": (0.3, 0.2), "separable": (0.4, 0.2)}
    world = World(powers | {"heads": (0.2, 0.2)}, most=14)
    search = PlanSearch(
        cast("Laboratory", world), PlanGoal.LATENCY, chosen_families(PlanGoal.LATENCY)
    )
    with pytest.raises(OutOfTimeError):
        search.run()
    assert search.best is not None
    assert search.best.strain > 0.7  # side by side, all would be at their second trial


def test_finalists_are_what_holds_and_what_lost_a_little_too_much() -> None:
    search = searched(World({"int8": (1.0, 0.01), "channels": (1.0, 0.3)}))
    found = search.finalists()
    held, bold = ([t for t in found if t.held is held] for held in (True, False))
    trials = list(search.laboratory.trials.values())
    assert found[0] is min((t for t in trials if t.held), key=lambda t: t.latency or 1)
    assert any(not t.chain.steps for t in held)  # the model as it is, when nothing else holds
    assert bold
    assert all(1 < t.strain <= 1.5 for t in bold)
    assert any(t.strain > 1.5 for t in trials)


def test_where_nothing_keeps_all_limits_the_nearest_is_carried_out() -> None:
    search = searched(World({"channels": (1.0, 0.3)}))
    trials = search.laboratory.trials
    trials.update({k: replace(t, held=False, strain=t.strain + 2) for k, t in trials.items()})
    (nearest,) = search.finalists()
    assert nearest.strain == min(t.strain for t in trials.values())


def test_of_trials_that_are_about_as_fast_the_smallest_is_taken() -> None:
    search = searched(World({"int8": (1.0, 0.01), "dynamic": (0.99, 0.01)}))
    fast, other = search.finalists()[0], search.laboratory.trials
    assert [s.family.name for s in fast.chain.steps] == ["int8"]
    (slower,) = (t for t in other.values() if [s.family.name for s in t.chain.steps] == ["dynamic"])
    assert fast.latency is not None
    assert slower.latency is not None
    assert fast.latency < slower.latency < 1.02 * fast.latency
    other[str(slower.chain)] = replace(slower, size=500)
    assert search.finalists()[0] == other[str(slower.chain)]
    other[str(slower.chain)] = replace(slower, size=500, held=False)
    assert search.finalists()[0] == fast
    other[str(slower.chain)] = replace(slower, size=1040, drop=0.0)
    assert search.finalists()[0].drop == 0.0  # four percent of the bytes are worth no loss
    other[str(slower.chain)] = replace(slower, size=1060, drop=0.0)
    assert search.finalists()[0] == fast


@pytest.mark.parametrize(
    ("power", "chain"),
    [
        ({"int8": (1.0, 0.01), "channels": (1.0, 0.3)}, "prune-channels,quant"),
        ({"channels": (1.0, 0.3), "factorize": (0.9, 0.3)}, "prune-channels,factorize,quant"),
        (
            {"int8": (1.0, 0.01), "channels": (1.0, 0.3), "factorize": (0.9, 0.3)},
            "prune-channels,factorize,quant",
        ),
        ({"int8": (1.0, 0.01)}, None),
        ({"dynamic": (1.0, 0.01), "channels": (1.0, 0.3)}, "prune-channels,quant-dynamic"),
        ({"int8": (1.0, 0.01), "channels": (0.0, 0.5)}, "prune-channels,quant"),
        ({"int8": (1.0, 0.01), "heads": (1.0, 0.3)}, None),
    ],
)
def test_families_that_may_go_as_far_as_limits_let_are_those_of_the_best_and_one_beside(
    power: dict[str, tuple[float, float]], chain: str | None
) -> None:
    search = searched(World(power))
    assert search.best is not None
    found = search.partners.by_limits(search.best, search.families)
    otherwise = [chain.replace("-dynamic", "")] if chain and "dynamic" in chain else []
    assert [*map(str, found)] == ([] if chain is None else [chain, *otherwise])
    assert all(s.family.lever for c in found for s in c.steps[:-1])  # levels may follow


def test_what_has_no_share_of_the_work_stays_as_it_is_beside_it() -> None:
    world = World({"int8": (1.0, 0.01), "channels": (1.0, 0.3), "heads": (1.0, 0.3)})
    search = searched(world)
    assert search.best is not None
    (heads,) = (s for s in search.best.chain.steps if s.family.name == "heads")
    (found,) = search.partners.by_limits(search.best, search.families)
    assert heads in found.steps
    assert str(found) == f"{heads},prune-channels,quant"


def test_names_of_layers_of_another_structure_are_not_taken_over() -> None:
    power = {"int8": (1.0, 0.01), "channels": (1.0, 0.3), "factorize": (0.9, 0.3)}
    search = searched(Clocked(power))
    assert search.best is not None
    assert "quant{in_float=[/first]}" in str(search.best.chain)
    found = search.partners.by_limits(search.best, search.families)
    assert [*map(str, found)] == ["prune-channels,factorize,quant"]


def test_structures_that_came_near_may_go_as_far_as_limits_let_too() -> None:
    search = searched(World({"int8": (1.0, 0.01), "channels": (1.0, 0.3)}))
    best = search.best
    assert best is not None
    families = {(f.name, f.integers): f for f in search.families}
    channels, low_rank = families["channels", None], families["factorize", False]

    def trial(times: float, strain: float, *steps: Step, over: str = "") -> PlanTrial:
        time = times * (best.latency or 1)
        return replace(best, chain=Chain.of(steps), latency=time, strain=strain, over=over)

    pair = (Step(channels, 0.6), Step(low_rank, 0.5))
    near = trial(1.1, 1.4, *pair)
    own = trial(1.0, 0.5, Step(channels, 0.8))
    rows = [
        ([own], []),  # no other structure
        ([near, trial(1.2, 0.9, *pair)], ["prune-channels,factorize,quant"]),  # once
        ([trial(1.4, 0.5, *pair)], []),
        ([trial(1.1, 1.6, *pair)], []),
        ([trial(1.1, 1.0, *pair, over="too large")], []),
        (
            [near, trial(1.05, 0.9, Step(low_rank, 0.5))],
            ["factorize,quant", "prune-channels,factorize,quant"],
        ),
    ]
    for trials, more in rows:
        found = search.partners.by_limits(best, search.families, trials)
        assert [*map(str, found)] == ["prune-channels,quant", *more]


def test_few_structures_are_left_to_limits() -> None:
    search = searched(World({"int8": (1.0, 0.01), "channels": (1.0, 0.3)}))
    best = search.best
    assert best is not None
    items = [f for f in search.families if f.opens]
    chains = [
        Chain.of(Step(f, 0.5) for f in some) for n in (1, 2, 3) for some in combinations(items, n)
    ]
    trials = [replace(best, chain=chain) for chain in chains]
    assert len(search.partners.by_limits(best, search.families, trials)) == 3


def _structure(chain: Chain) -> str:
    return ",".join(str(s) for s in chain.steps if s is not chain.numbers)


@dataclass
class Clocked(World):
    """Integers with borders that the clock found are faster, or not."""

    factor: float = 0.8
    asked: list[str] = field(default_factory=list)
    shapes: set[str] = field(default_factory=set)

    def settled(self, chain: Chain, instead: Chain) -> dict[str, Any]:
        self.asked.append(str(chain))
        self.shapes.add(_structure(chain))
        assert instead.without(instead.steps[-1].family) == chain.without(chain.steps[-1].family)
        return {"quant": {"in_float": ["/first"]}} if self.factor else {}

    def _one(self, chain: Chain) -> PlanTrial:
        found = super()._one(chain)
        if "in_float" in str(chain):
            found = replace(found, latency=(found.latency or 1) * self.factor)
            self.trials[str(chain)] = found
        return found


@pytest.mark.parametrize(("factor", "taken"), [(0.8, True), (1.2, False), (0.0, False)])
def test_borders_of_integers_go_by_the_clock_and_are_then_written_down(
    factor: float, taken: bool
) -> None:
    power = {"int8": (1.0, 0.01), "channels": (1.0, 0.3), "factorize": (0.9, 0.3)}
    world = Clocked(power, factor=factor)
    best = searched(world).best
    assert best is not None
    assert all("prune-channels" in text and "costs=measured" in text for text in world.asked)
    assert _structure(best.chain) in world.shapes  # however small steps moved it afterwards
    assert ("quant{in_float=[/first]}" in str(best.chain)) is taken
    assert not any("costs=measured" in text for text in world.trials)
    assert "noise_price" not in str(best.chain) or not taken


@dataclass
class Misjudged(Clocked):
    """The table has integers slower than they are."""

    loss: float = 0.01

    def _one(self, chain: Chain) -> PlanTrial:
        found = super()._one(chain)
        if (step := chain.numbers) is not None and step.family.item == "quant":
            slower = 1.0 if "in_float" in str(step) else 3.0
            strain = found.strain + self.loss
            found = replace(found, latency=(found.latency or 1) * 0.4 * slower, strain=strain)
            found = replace(found, held=strain <= 1, drop=strain / 100)
            self.trials[str(chain)] = found
        return found


def test_integers_that_the_table_misjudges_are_found_beside_other_numbers() -> None:
    world = Misjudged({"int8": (0.0, 0.0), "dynamic": (0.5, 0.01), "channels": (1.0, 0.3)})
    best = searched(world).best
    assert best is not None
    assert "prune-channels" in str(best.chain)
    assert "quant{in_float=[/first]}" in str(best.chain)
    assert _structure(best.chain) in world.shapes


def test_integers_that_lose_too_much_and_other_goals_need_no_clock() -> None:
    world = Misjudged(
        {"int8": (0.0, 0.0), "dynamic": (0.5, 0.01), "channels": (1.0, 0.3)}, loss=2.0
    )
    searched(world)
    assert not world.asked
    other = Clocked({"entropy": (1.0, 0.01)})
    PlanSearch(cast("Laboratory", other), PlanGoal.ARCHIVE, chosen_families(PlanGoal.ARCHIVE)).run()
    assert not other.asked


@dataclass
class Noisy(World):
    """Integers lose too much or not, and less the more signal over noise they keep."""

    whole: float = 2.0

    def _one(self, chain: Chain) -> PlanTrial:
        found = super()._one(Chain.of(s for s in chain.steps if s.family.item != "quant"))
        step = next((s for s in chain.steps if s.family.item == "quant"), None)
        if step is not None:
            level = step.level or 25.0
            strain = found.strain + self.whole * (25 / level) ** 4
            time = (found.latency or 1) * (0.4 + max(level - 25, 0) / 80)
            found = replace(found, chain=chain, latency=time, held=strain <= 1)
            found = replace(found, drop=strain / 100, strain=strain)
        self.trials[str(chain)] = found
        return found


def test_integers_that_lose_too_much_are_fewer() -> None:
    world = Noisy({})
    best = searched(world).best
    assert best is not None
    (step,) = best.chain.steps
    assert step.family.item == "quant"
    assert step.level is not None
    assert 30 < step.level < 34  # 25 dB lose twice what is allowed
    assert best.strain > 0.8


def test_milder_integers_are_tried_only_where_all_of_them_lose_too_much() -> None:
    for whole, gain in ((0.5, 0.0), (2.0, 2.0)):  # they hold; or something else is faster anyway
        world = Noisy({"weights": (gain, 0.001)}, whole=whole)
        searched(world, "int8", "weights")
        assert not any(s.level for t in world.trials.values() for s in t.chain.steps)


def test_families_are_known_by_name() -> None:
    assert {f.name for f in chosen_families(PlanGoal.SIZE, ["cluster", "pack"])} == {
        "cluster",
        "pack",
    }
    with pytest.raises(OptionError, match="'chanels' is none of merge"):
        chosen_families(PlanGoal.LATENCY, ["chanels"])
    with pytest.raises(OptionError, match="entropy do nothing for latency"):
        chosen_families(PlanGoal.LATENCY, ["entropy"])


@pytest.mark.parametrize(
    "power", [{"channels": (1.0, 0.3)}, {"channels": (0.02, 0.3), "int8": (1, 0)}]
)
def test_training_lets_the_best_family_go_further(power: dict[str, tuple[float, float]]) -> None:
    plain = searched(World(power)).best
    world = World(power, left=0.3)
    best = searched(world, tuning=TUNING).best
    assert plain is not None
    assert best is not None
    assert world.aside == [0.6]  # it is done again, on all samples
    names = [s.family.name for s in best.chain.steps]
    assert names[:2] == ["channels", "tune"]  # integers come after it
    assert best.value(PlanGoal.LATENCY) < plain.value(PlanGoal.LATENCY)
    without = [c for c in world.trials if "tune" not in c]
    assert without == list(searched(World(power)).laboratory.trials)
    assert len(world.trials) - len(without) <= 4


def test_training_that_is_of_no_use_is_not_taken() -> None:
    world = World({"channels": (1.0, 0.3)}, left=1.5)
    best = searched(world, tuning=TUNING).best
    assert best is not None
    assert [s.family.name for s in best.chain.steps] == ["channels"]


def test_values_of_few_bits_are_trained_as_what_they_are() -> None:
    families = chosen_families(PlanGoal.SIZE, ["channels", "cluster", "pack"])
    chain = Chain.of([Step(TUNING), *(Step(f, 0.5 if f.lever else None) for f in families)])
    assert [s.family.name for s in chain.steps] == ["channels", "cluster", "tune", "pack"]
