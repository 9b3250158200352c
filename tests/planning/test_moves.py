"""The table of candidates: what is dropped, and that the choice is the best there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ocompress.planning import KEEP, Move, MoveTable, Resource


def table(seed: int, parts: int = 4, each: int = 5) -> MoveTable:
    rng = np.random.default_rng(seed)
    made = MoveTable()
    for part in range(parts):
        work = float(rng.uniform(50, 100))
        made.add(Move(f"p{part}", KEEP, "", 0.0, 400, work, work / 10))
        for at in range(each):
            share = float(rng.uniform(0.1, 0.95))
            error = float((1 - share) ** 2 * rng.uniform(0.5, 2))
            row = Move(f"p{part}", "m", f"{at}", error, int(400 * share), work * share, share)
            made.add(row)
    return made


def best(made: MoveTable, limit: float) -> float:
    """The least error within a limit, by trying everything."""
    found = np.inf
    for picked in itertools.product(*(range(len(rows)) for rows in made.rows.values())):
        choice = dict(zip(made.rows, picked, strict=True))
        if made.total(choice, "macs") <= limit:
            found = min(found, made.error(choice))
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 1.0])
def test_the_choice_is_the_best_there_is(seed: int, share: float) -> None:
    made = table(seed)
    limit = made.total({}, "macs") * share
    choice = made.within("macs", limit)
    wanted = best(made, limit)
    if np.isfinite(wanted):
        assert made.total(choice, "macs") <= limit * (1 + 1e-9)
        assert made.error(choice) <= wanted * 1.02 + 1e-9
    else:
        least = {part: made.least(part, "macs") for part in made.rows}
        assert choice == least


def test_nothing_is_changed_when_nothing_has_to_be() -> None:
    made = table(0)
    assert set(made.within("macs", made.total({}, "macs")).values()) == {0}
    assert set(made.cheapest("macs", 0.0).values()) == {0}


@pytest.mark.parametrize("seed", range(4))
def test_the_cheapest_keeps_to_the_error(seed: int) -> None:
    made = table(seed)
    loose, tight = (made.cheapest("macs", e) for e in (0.5, 0.05))
    assert made.error(tight) <= 0.05
    assert made.error(loose) <= 0.5
    assert made.total(loose, "macs") < made.total(tight, "macs") < made.total({}, "macs")


def test_what_is_out_of_the_running_is_never_taken() -> None:
    made = table(1)
    taken = made.within("macs", made.total({}, "macs") * 0.6)
    part = next(p for p, at in taken.items() if at)
    made.drop(part, taken[part], "too loud")
    made.drop(part, taken[part], "a later reason")
    again = made.within("macs", made.total({}, "macs") * 0.6)
    assert again[part] != taken[part]
    lines = {(r["name"], r["method"], r["setting"]): r for r in made.lines(again)}
    lost = made.rows[part][taken[part]]
    assert lines[part, lost.method, lost.setting]["why"] == "too loud"
    assert sum(r["taken"] for r in made.lines(again)) == len(made.rows)


def test_slower_candidates_are_dropped_with_a_reason() -> None:
    made = MoveTable()
    made.add(Move("a", KEEP, "", 0.0, 10, 100, 1.0))
    made.add(Move("a", "fast", "1", 0.1, 5, 50, 0.5))
    made.add(Move("a", "slow", "1", 0.1, 5, 50, 0.995))
    made.add(Move("a", "worse", "1", 0.2, 5, 60, 0.6))
    made.add(Move("a", "other", "1", 0.2, 5, 40, 0.6))
    made.drop_slower("ms", "no faster", margin=0.01)
    assert made.lost == {("a", 2): "no faster"}
    assert made.open("a") == [0, 1, 3, 4]


def test_misuse_is_refused() -> None:
    made = MoveTable()
    with pytest.raises(ValueError, match="keeps the part"):
        made.add(Move("a", "fast", "", 0.0, 1, 1.0))
    made.add(Move("a", KEEP, "", 0.0, 1, 1.0))
    with pytest.raises(ValueError, match="was not timed"):
        made.total({}, "ms")


def test_the_cheapest_choice_is_that_of_a_limit_it_keeps_to() -> None:
    """Where nothing reaches a limit, the choice that takes least is no answer to it."""
    made = MoveTable()
    made.add(Move("a", KEEP, "", 0.0, 10, 100.0))
    made.add(Move("a", "m", "costly", 0.4, 10, 60.0))
    made.add(Move("a", "m", "fine", 0.01, 10, 90.0))
    found = made.cheapest("macs", 0.4)
    assert found == {"a": 1}
    asked: list[float] = []
    within = made.within

    def seen(resource: Resource, limit: float) -> dict[str, int]:
        asked.append(limit)
        return within(resource, limit)

    made.within = seen  # type: ignore[method-assign]
    made.cheapest("macs", 0.4)
    assert min(asked[-3:]) > 59.9  # the halving ends where the choice just fits


def test_what_saves_exactly_nothing_is_dropped() -> None:
    made = MoveTable()
    made.add(Move("a", KEEP, "", 0.0, 10, 100))
    made.add(Move("a", "m", "same", 0.1, 10, 50))
    made.add(Move("a", "m", "less", 0.1, 9, 50))
    made.drop_slower("bytes", "no smaller")
    assert made.open("a") == [0, 2]
