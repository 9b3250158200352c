"""What is built ahead changes when trials are there, and nothing about which are asked for."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ocompress.auto import (
    Chain,
    Laboratory,
    Ledger,
    Made,
    OutOfTimeError,
    PlanBounds,
    PlanGoal,
    PlanSearch,
    Step,
    chosen_families,
)
from ocompress.auto import foresight as module
from ocompress.errors import DataError, WorkerLostError
from ocompress.io import CacheFiles
from tests.auto.test_search import World

POWER = {"int8": (1.0, 0.01), "channels": (1.0, 0.3), "factorize": (0.9, 0.3), "layers": (0.1, 9)}


@dataclass
class Slow:
    """Builders that are done in a random order, whenever somebody waits for one of them."""

    count: int
    seed: int = 0
    world: World = field(default_factory=lambda: World(POWER))
    begun: list[str] = field(default_factory=list)
    busiest: int = 0
    settles: str = ""
    open: list[tuple[Chain, Future[Made]]] = field(default_factory=list)

    def begin(self, chain: Chain, seconds: float) -> Future[Made]:
        assert seconds > 0
        self.begun.append(str(chain))
        future: Future[Made] = Future()
        self.open.append((chain, future))
        self.busiest = max(self.busiest, len(self.open))
        if not self.count:
            self.finish()
        return future

    def finish(self) -> None:
        place = random.Random(f"{self.seed} {len(self.begun)}").randrange(len(self.open))
        chain, future = self.open.pop(place)
        (trial,) = self.world.evaluate([chain])
        named = self.settles or f"after {len(self.begun)}"
        settled = {"quant": {"in_float": [named]}}
        made = Made(trial=replace(trial, seconds=0.0), key=str(chain), settled=settled)
        future.set_result(made)


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[Slow], None]:
    """Let time pass for builders: one is done whenever the search waits."""

    def patched(slow: Slow) -> None:
        monkeypatch.setattr(module, "wait", lambda *_, **__: slow.finish())

    return patched


def searched(slow: Slow) -> PlanSearch:
    laboratory = Laboratory(1000, slow)
    search = PlanSearch(laboratory, PlanGoal.LATENCY, chosen_families(PlanGoal.LATENCY))
    search.run()
    return search


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_same_is_asked_for_however_many_build(count: int, wait: Callable[[Slow], None]) -> None:
    alone = searched(Slow(0))
    for seed in range(3):
        slow = Slow(count, seed)
        wait(slow)
        search = searched(slow)
        assert list(search.laboratory.trials) == list(alone.laboratory.trials)
        assert search.best == alone.best
        assert len(slow.begun) == len(set(slow.begun))  # nothing is built twice


def test_two_builders_are_kept_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, turns = Slow(2), list[int]()

    def both_at_once(*given: object, **more: object) -> None:
        del given, more
        turns.append(len(slow.open))
        for _ in range(min(2, len(slow.open))):
            slow.finish()

    monkeypatch.setattr(module, "wait", both_at_once)
    trials = searched(slow).laboratory.trials
    assert len(trials) / len(turns) >= 1.5  # as many times faster, if all take equally long
    assert len(slow.begun) <= 1.2 * len(trials)  # few guesses are wrong


def test_a_chain_that_kills_its_workers_is_none_to_take(wait: Callable[[Slow], None]) -> None:
    class Deadly(Slow):
        def begin(self, chain: Chain, seconds: float) -> Future[Made]:
            if "prune-channels" not in str(chain):
                return super().begin(chain, seconds)
            future: Future[Made] = Future()
            future.set_exception(WorkerLostError("3 were killed"))
            return future

    slow = Deadly(2)
    wait(slow)
    search = searched(slow)
    lost = [t for c, t in search.laboratory.trials.items() if "prune-channels" in c]
    assert lost
    assert all(t.why == "3 were killed" and not t.held for t in lost)
    assert search.best is not None
    assert "factorize" in str(search.best.chain)


def test_whatever_else_fails_ends_the_search() -> None:
    class Broken(Slow):
        def begin(self, chain: Chain, seconds: float) -> Future[Made]:
            future: Future[Made] = Future()
            future.set_exception(DataError("no such file"))
            return future

    with pytest.raises(DataError, match="no such file"):
        searched(Broken(2))


def test_time_ends_what_is_being_built(wait: Callable[[Slow], None]) -> None:
    slow = Slow(2)
    wait(slow)
    laboratory = Laboratory(1000, slow)
    first, second = Chain(), next(iter(_chains()))
    assert [t.chain for t in laboratory.evaluate([first])] == [first]
    laboratory.asked = lambda: True
    with pytest.raises(OutOfTimeError):
        list(laboratory.evaluate([second]))


def test_nothing_is_built_while_a_model_is_timed_on_this_machine(
    wait: Callable[[Slow], None],
) -> None:
    slow = Slow(3)
    wait(slow)
    seen: list[int] = []

    def clock(_: object) -> float:
        seen.append(len(slow.open))
        return 0.5

    laboratory = Laboratory(1000, slow, clock=clock)
    chains = list(_chains())
    trials = list(laboratory.evaluate(chains))
    assert slow.busiest == len(chains)  # but built side by side
    assert seen == [0] * len(chains)
    assert all(t.latency == 0.5 for t in trials)
    laboratory.expect([only(Chain())])
    assert str(Chain()) not in slow.begun


def only(chain: Chain) -> module.Walk:
    yield chain


def _chains() -> list[Chain]:
    families = chosen_families(PlanGoal.LATENCY, ["int8", "dynamic"])
    return [Chain.of([Step(family)]) for family in families if family.lever is None]


def test_what_the_clock_found_is_found_once_while_nothing_else_is_built(
    wait: Callable[[Slow], None], tmp_path: Path
) -> None:
    slow, ledger = Slow(3), Ledger(CacheFiles(tmp_path, ".json", 1 << 20))
    wait(slow)
    laboratory = Laboratory(1000, slow, clock=lambda _: 0.5, ledger=ledger)
    chain, other = _chains()[:2]
    laboratory._foresight.begin(other)
    found = laboratory.settled(chain, other)
    assert slow.begun == [str(other), str(chain)]
    assert slow.busiest == 1
    assert found == {"quant": {"in_float": ["after 2"]}}
    assert str(chain) not in laboratory.trials
    again = Laboratory(1000, slow, clock=lambda _: 0.5, ledger=ledger)
    assert again.settled(chain, other) == found
    assert len(slow.begun) == 2
    assert Laboratory(1000, slow, ledger=ledger).settled(chain, other) == {}
    assert Laboratory(1000, slow, clock=lambda _: 0.5, alone=False).settled(chain, other) == {}


def test_where_the_clock_chose_nothing_else_nothing_is_settled(
    wait: Callable[[Slow], None], tmp_path: Path
) -> None:
    slow, ledger = Slow(3), Ledger(CacheFiles(tmp_path, ".json", 1 << 20))
    wait(slow)
    slow.settles = "always the same"
    laboratory = Laboratory(1000, slow, clock=lambda _: 0.5, ledger=ledger)
    chain, other = _chains()[:2]
    list(laboratory.evaluate([other]))
    assert laboratory.settled(chain, other) == {}
    assert Laboratory(1000, slow, clock=lambda _: 0.5, ledger=ledger).settled(chain, other) == {}
    assert slow.begun == [str(other), str(chain)]
    forgetful = Laboratory(1000, slow, clock=lambda _: 0.5)
    list(forgetful.evaluate([other]))
    assert forgetful.settled(chain, other) == forgetful.settled(chain, other) == {}
    assert slow.begun[2:] == [str(other), str(chain)]


@pytest.mark.parametrize(("limit", "holds"), [(1.05, True), (0.5, False)])
def test_no_clock_rules_out_the_model_that_is_only_put_in_order(limit: float, holds: bool) -> None:
    bounds = PlanBounds(latency=limit)
    laboratory = Laboratory(1000, Slow(0), clock=lambda _: 1.2, bounds=bounds)
    plain, *others = laboratory.evaluate([Chain(), *_chains()])
    assert plain.held is holds
    assert not any(trial.held for trial in others)
