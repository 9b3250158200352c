"""What came second in a choice of moves, and why it lost."""

from __future__ import annotations

import numpy as np

from ocompress.planning import Move, MoveTable, runners_up


def move(part: str, setting: str, error: float, macs: float) -> Move:
    return Move(part, "rank" if setting else "keep", setting, error, 0, macs)


def table(*rows: Move) -> MoveTable:
    found = MoveTable()
    for row in rows:
        found.add(row)
    return found


def test_the_second_is_what_costs_least_at_the_price_of_the_choice() -> None:
    # `a` says that a unit is worth 1 to 3, so b's 40 comes next: 0.4 more for 20 less, at 0.02
    found = table(
        *(move("a", "", 0.0, 100), move("a", "50", 0.5, 50), move("a", "10", 1.7, 10)),
        *(move("b", "", 0.0, 100), move("b", "60", 0.6, 60), move("b", "40", 1.1, 40)),
        *(move("b", "5", 90.0, 5), move("c", "", 0.0, 10)),
    )
    a, b = runners_up(found, {"a": 1, "b": 1}, "macs")  # nothing else could become of c
    assert (a["name"], a["chosen"]) == ("a", "rank, 50")
    assert (b["chosen"], b["second"]) == ("rank, 60", "rank, 40")
    assert b["why"] == "saves 20 multiply-adds more, but error 1.1, not 0.6"


def test_it_is_what_a_slightly_other_limit_would_take() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(20):
        found = MoveTable()
        for part in "abcdef":
            found.add(move(part, "", 0.0, 1000))
            shares = np.sort(rng.uniform(0.1, 0.9, 5))[::-1]
            for share in shares:
                error = float((1 / share - 1) * rng.uniform(0.2, 2))
                found.add(move(part, f"{share:.3f}", error, 1000 * share))
        choice = found.within("macs", 3000)
        other = next(
            c for limit in range(2990, 1000, -10) if (c := found.within("macs", limit)) != choice
        )
        (changed, *_) = [p for p in choice if choice[p] != other[p]]
        rows = {r["name"]: r for r in runners_up(found, choice, "macs")}
        hits += rows[changed]["second"] == f"rank, {found.rows[changed][other[changed]].setting}"
    assert hits >= 10


def test_why_says_what_differs_or_what_took_it_out() -> None:
    found = table(
        *(move("a", "", 0.0, 2e6), move("a", "8", 0.1, 1e6)),
        *(move("b", "", 0.0, 100), move("b", "4", 0.2, 150)),
        *(move("c", "", 0.0, 100), move("c", "4", 0.2, 50)),
    )
    found.drop("c", 1, "it measures no faster")
    a, b, c = runners_up(found, {"a": 1}, "macs")
    assert a["why"] == "saves 1 M multiply-adds less: error 0, not 0.1, is not worth that"
    assert (b["chosen"], b["why"]) == ("as it is", "saves nothing more, and error 0.2, not 0")
    assert c["why"] == "it measures no faster"


def test_the_price_lies_between_what_was_worth_it_and_what_was_not() -> None:
    """A unit is worth more than 1, which `a` paid, and less than 9, which it did not."""
    rows = [
        *(move("a", "", 0.0, 100), move("a", "50", 50.0, 50), move("a", "10", 410.0, 10)),
        # at 3 a unit `less` comes next, at 9 `more` would
        *(move("b", "", 0.0, 100), move("b", "less", 200.0, 90), move("b", "more", 450.0, 50)),
    ]
    found = {r["name"]: r for r in runners_up(table(*rows), {"a": 1}, "macs")}
    assert found["b"]["second"] == "rank, less"


def test_where_nothing_was_paid_the_price_is_half_of_what_was_not() -> None:
    rows = [
        *(move("a", "", 0.0, 100), move("a", "50", 100.0, 50)),
        # at 1 a unit `less` comes next, at 2 `more` would
        *(move("b", "", 0.0, 100), move("b", "less", 50.0, 90), move("b", "more", 110.0, 50)),
    ]
    found = {r["name"]: r for r in runners_up(table(*rows), {}, "macs")}
    assert found["b"]["second"] == "rank, less"
